//! `gguffuse verify`: whether all weights of a file are numbers.

use crate::arguments::Verify;
use crate::error::{Result, ended_with};
use crate::open::open;
use crate::stream::{self, gb_per_second};
use crate::terminal::{Output, progress};
use crate::text::{Safe, counted, thousands};
use gguffuse::gguf::{File, Tensor};
use gguffuse::matmul::{Context, ContextOptions};
use indicatif::ProgressBar;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Bytes checked between two looks of the progress bar.
const STEP: usize = 64 << 20;
/// With --compare: how often both are done, in turns.
const ROUNDS: usize = 7;

pub fn run(arguments: &Verify) -> Result<ExitCode> {
    let start = Instant::now();
    let file = open(&arguments.file)?;
    let context = Context::new(&ContextOptions { threads: arguments.threads, ..ContextOptions::default() })?;
    let bytes: u64 = file.tensors().map(|tensor| tensor.size_bytes).sum();
    let bar = progress(bytes, arguments.quiet);

    let mut found = Vec::new();
    for tensor in file.tensors() {
        bar.set_message(Safe(tensor.name).to_string());
        if let Some(block) = first_bad_block(&context, &tensor, &bar)? {
            found.push(finding(&tensor, block));
        }
    }
    bar.finish_and_clear();
    let time = start.elapsed();

    let code = ExitCode::from(u8::from(!found.is_empty()));
    ended_with(code, write(arguments, &file, &context, &found, time))
}

fn write(arguments: &Verify, file: &File, context: &Context, found: &[String], time: Duration) -> Result<()> {
    let mut out = Output::new();
    for finding in found {
        out.bad(finding)?;
    }
    if !arguments.quiet {
        let verdict = match found.len() {
            0 => "all weights are finite".to_owned(),
            bad => format!("{bad} with bad blocks"),
        };
        let bytes: u64 = file.tensors().map(|tensor| tensor.size_bytes).sum();
        let (tensors, speed) = (counted(file.tensor_count(), "tensor"), gb_per_second(bytes, time));
        let (bytes, milliseconds) = (thousands(bytes), time.as_secs_f64() * 1e3);
        out.line(format_args!("{tensors}, {bytes} bytes in {milliseconds:.1} ms ({speed:.1} GB/s): {verdict}"))?;
    }
    if arguments.compare {
        compare(&mut out, &arguments.file, context)?;
    }
    out.finish()
}

/// The first bad block of a tensor. The bar moves on.
fn first_bad_block(context: &Context, tensor: &Tensor<'_>, bar: &ProgressBar) -> Result<Option<u64>> {
    let block_bytes = tensor.tensor_type.block_bytes();
    let blocks = STEP / block_bytes;
    for (step, data) in tensor.data.chunks(blocks * block_bytes).enumerate() {
        let bad = context.validate(tensor.tensor_type, data)?;
        bar.inc(data.len() as u64);
        if let Some(bad) = bad {
            bar.inc((tensor.data.len() - step * blocks * block_bytes - data.len()) as u64);
            return Ok(Some((step * blocks) as u64 + bad));
        }
    }
    Ok(None)
}

/// Where the bad block lies, for those who want to look at it (`gguffuse tensor --block`) or to cut it out.
fn finding(tensor: &Tensor<'_>, block: u64) -> String {
    let first = block * tensor.tensor_type.block_elements() as u64;
    let at = tensor.absolute_offset + block * tensor.tensor_type.block_bytes() as u64;
    let k = tensor.dims[0];
    let (row, column) = (first / k, first % k);
    let (name, tensor_type) = (Safe(tensor.name), tensor.tensor_type.name());
    format!("{name} ({tensor_type}): block {block} is bad: row {row}, from column {column}; byte {at} of the file")
}

/// Checking against reading, each time with pages that are not mapped yet.
fn compare(out: &mut Output, path: &Path, context: &Context) -> Result<()> {
    let check = |file: &File| -> Result<Duration> {
        let start = Instant::now();
        for tensor in file.tensors() {
            context.validate(tensor.tensor_type, tensor.data)?;
        }
        Ok(start.elapsed())
    };
    let mut best = [Duration::MAX; 3];
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        best[0] = best[0].min(check(&open(path)?)?);
        let file = open(path)?;
        bytes = file.tensors().map(|tensor| tensor.size_bytes).sum();
        best[1] = best[1].min(stream::read(&file, context.threads()));
        best[2] = best[2].min(stream::read(&file, context.threads()));
    }
    let [checked, read, again] = best.map(|time| gb_per_second(bytes, time));
    out.line(format_args!(
        "fastest of {ROUNDS}: checking {checked:.1} GB/s, reading alone {read:.1} GB/s ({again:.1} with mapped pages): {:.2} of it",
        checked / read
    ))
}
