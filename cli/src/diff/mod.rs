//! `gguffuse diff`: what is different in two files: metadata, and tensors by name. The order of either counts for nothing.

mod weights;

use crate::arguments::Diff;
use crate::error::{Result, ended_with};
use crate::info::values::{self, Detail};
use crate::open::{open, shape_text};
use crate::terminal::Output;
use crate::text::{Safe, counted};
use gguffuse::gguf::{File, Tensor, Value};
use std::process::ExitCode;

/// Where differences go: counted, and told unless nobody wants to hear them.
struct Report {
    out: Output,
    quiet: bool,
    differences: u64,
}

impl Report {
    /// Something is in one of the files only (`sign` - or +), or not the same (!).
    fn tell(&mut self, sign: char, what: &str) -> Result<()> {
        self.differences += 1;
        match self.quiet {
            true => Ok(()),
            false => self.out.line(format_args!("{sign} {what}")),
        }
    }

    /// Whether what is still to come changes nothing.
    fn is_done(&self) -> bool {
        self.quiet && self.differences > 0
    }
}

pub fn run(arguments: &Diff) -> Result<ExitCode> {
    let (a, b) = (open(&arguments.a)?, open(&arguments.b)?);
    let mut report = Report { out: Output::new(), quiet: arguments.quiet, differences: 0 };
    let written = compare(&mut report, &a, &b);
    let code = ExitCode::from(u8::from(report.differences > 0));
    ended_with(code, written.and_then(|()| report.out.finish()))
}

fn compare(report: &mut Report, a: &File, b: &File) -> Result<()> {
    metadata(report, a, b)?;
    let mut same = 0;
    for tensor in a.tensors() {
        if report.is_done() {
            return Ok(());
        }
        match b.find_tensor(tensor.name).and_then(|index| b.tensor(index)) {
            Err(_) => report.tell('-', &description(&tensor))?,
            Ok(other) => match difference(&tensor, &other)? {
                None => same += 1,
                Some(what) => report.tell('!', &what)?,
            },
        }
    }
    for tensor in b.tensors().filter(|tensor| a.find_tensor(tensor.name).is_err()) {
        report.tell('+', &description(&tensor))?;
    }
    match report.quiet {
        true => Ok(()),
        false => {
            let (different, same) = (counted(report.differences, "difference"), counted(same, "tensor"));
            report.out.line(format_args!("{different}; the same: {same}"))
        }
    }
}

fn metadata(report: &mut Report, a: &File, b: &File) -> Result<()> {
    let line = |key: &str, value: &Value<'_>| {
        format!("{}: {} {}", Safe(key), values::type_name(value), values::text(value, Detail::Short))
    };
    for index in 0..a.metadata_count() {
        let (key, value) = a.metadata(index)?;
        match b.get(key) {
            Err(_) => report.tell('-', &line(key, &value))?,
            Ok(other) if !same(&value, &other) => {
                let other = format!("{} {}", values::type_name(&other), values::text(&other, Detail::Short));
                let place = first_difference(&value, &b.get(key)?);
                report.tell('!', &format!("{} -> {other}{place}", line(key, &value)))?;
            }
            Ok(_) => {}
        }
    }
    for index in 0..b.metadata_count() {
        let (key, value) = b.metadata(index)?;
        if a.find_metadata(key).is_err() {
            report.tell('+', &line(key, &value))?;
        }
    }
    Ok(())
}

/// Whether two values are the same: type and bits.
fn same(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Array(a), Value::Array(b)) => {
            let alike = a.element_type() == b.element_type() && a.len() == b.len();
            alike
                && match (a.data(), b.data()) {
                    (Some(a), Some(b)) => a == b,
                    _ => a.iter().zip(b.iter()).all(|(a, b)| same(&a, &b)),
                }
        }
        (Value::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits(),
        (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
        (Value::Bool(a), Value::Bool(b)) => a == b,
        // What is left are integers.
        _ => {
            a.value_type() == b.value_type() && a.as_i64().ok() == b.as_i64().ok() && a.as_u64().ok() == b.as_u64().ok()
        }
    }
}

/// In arrays that look the same in short, which element is not.
fn first_difference(a: &Value<'_>, b: &Value<'_>) -> String {
    let (Value::Array(a), Value::Array(b)) = (a, b) else {
        return String::new();
    };
    match a.iter().zip(b.iter()).position(|(a, b)| !same(&a, &b)) {
        Some(index) => format!(" (first at element {index})"),
        None => String::new(),
    }
}

fn description(tensor: &Tensor<'_>) -> String {
    format!("{}: {} {}", Safe(tensor.name), tensor.tensor_type.name(), shape_text(tensor))
}

/// What is different in two tensors of one name.
fn difference(a: &Tensor<'_>, b: &Tensor<'_>) -> Result<Option<String>> {
    let what = description(a);
    if a.dims != b.dims || a.n_dims != b.n_dims {
        return Ok(Some(format!("{what} -> {} {}", b.tensor_type.name(), shape_text(b))));
    }
    let change = match a.tensor_type == b.tensor_type {
        true if a.data == b.data => return Ok(None),
        true => String::new(),
        false => format!(" -> {}", b.tensor_type.name()),
    };
    Ok(Some(format!("{what}{change}, {}", weights::compare(a, b)?)))
}
