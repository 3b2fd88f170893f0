//! Metadata values as text.

use crate::text::{Safe, thousands};
use gguffuse::gguf::{Array, Value};
use std::fmt::Write;

/// Whether long values are shortened.
#[derive(Clone, Copy, PartialEq)]
pub enum Detail {
    Short,
    All,
}

/// Characters of a string, and elements of an array, that are shown in short.
const SHORT_STRING: usize = 80;
const SHORT_ARRAY: usize = 6;
/// Characters of a string within an array.
const SHORT_ELEMENT: usize = 24;

/// As in "u32", or "string[262144]" for an array.
pub fn type_name(value: &Value<'_>) -> String {
    match value {
        Value::Array(array) => format!("{}[{}]", array.element_type().name(), array.len()),
        _ => value.value_type().name().to_owned(),
    }
}

/// The value on one line.
pub fn text(value: &Value<'_>, detail: Detail) -> String {
    let mut out = String::new();
    write(&mut out, value, detail, SHORT_STRING);
    out
}

/// Writing to a String does not fail.
fn write(out: &mut String, value: &Value<'_>, detail: Detail, longest: usize) {
    let _ = match value {
        Value::U8(value) => write!(out, "{value}"),
        Value::I8(value) => write!(out, "{value}"),
        Value::U16(value) => write!(out, "{value}"),
        Value::I16(value) => write!(out, "{value}"),
        Value::U32(value) => write!(out, "{value}"),
        Value::I32(value) => write!(out, "{value}"),
        Value::U64(value) => write!(out, "{value}"),
        Value::I64(value) => write!(out, "{value}"),
        // With its point or exponent, and as many digits as tell it from its neighbours.
        Value::F32(value) => write!(out, "{value:?}"),
        Value::F64(value) => write!(out, "{value:?}"),
        Value::Bool(value) => write!(out, "{value}"),
        Value::String(string) => {
            write_string(out, string.as_bytes(), detail, longest);
            Ok(())
        }
        Value::Array(array) => {
            write_array(out, array, detail);
            Ok(())
        }
        _ => write!(out, "({})", value.value_type().name()),
    };
}

fn write_string(out: &mut String, bytes: &[u8], detail: Detail, longest: usize) {
    // Bytes that are no UTF-8 are shown as U+FFFD; the JSON has them.
    let string = String::from_utf8_lossy(match detail {
        // 4 bytes at most make a character: no more than needed is looked through.
        Detail::Short => bytes.get(..4 * longest + 4).unwrap_or(bytes),
        Detail::All => bytes,
    });
    match (detail, string.char_indices().nth(longest)) {
        (Detail::Short, Some((end, _))) => {
            let _ = write!(out, "\"{}\"... ({} bytes)", Safe(&string[..end]), thousands(bytes.len() as u64));
        }
        _ => {
            let _ = write!(out, "\"{}\"", Safe(&string));
        }
    }
}

fn write_array(out: &mut String, array: &Array<'_>, detail: Detail) {
    let shown = if detail == Detail::All { usize::MAX } else { SHORT_ARRAY };
    out.push('[');
    for (index, element) in array.iter().take(shown).enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(out, &element, detail, SHORT_ELEMENT);
    }
    if array.len() > shown as u64 {
        out.push_str(", ...");
    }
    out.push(']');
}
