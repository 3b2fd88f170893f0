//! A file's metadata and tensors as JSON: complete, and written as it is read, so that a large vocabulary costs little. The
//! schema is in cli/README.md; names are only ever added to it.

use super::{Total, totals};
use crate::error::Result;
use crate::open::{bits_per_weight, elements, shape};
use crate::terminal::Output;
use gguffuse::gguf::{Array, File, Tensor, Value};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::io::Write;
use std::path::Path;

/// Grows when a program that reads an older one could misunderstand it.
const SCHEMA: u32 = 1;

#[derive(serde::Serialize)]
struct Document<'a> {
    schema: u32,
    file: String,
    version: u32,
    alignment: u32,
    size_bytes: u64,
    metadata_bytes: u64,
    data_offset: u64,
    metadata: Entries<'a>,
    tensors: Tensors<'a>,
    totals: Vec<Total>,
    total: Total,
}

pub fn write(out: &mut Output, path: &Path, file: &File) -> Result<()> {
    let (totals, total) = totals(file);
    let document = Document {
        schema: SCHEMA,
        file: path.display().to_string(),
        version: file.version(),
        alignment: file.alignment(),
        size_bytes: file.size_bytes(),
        metadata_bytes: file.metadata_bytes(),
        data_offset: file.data_offset(),
        metadata: Entries(file),
        tensors: Tensors(file),
        totals,
        total,
    };
    serde_json::to_writer(out.writer(), &document)?;
    Ok(out.writer().write_all(b"\n")?)
}

struct Entries<'a>(&'a File);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut entries = serializer.serialize_seq(Some(self.0.metadata_count() as usize))?;
        for (key, value) in (0..self.0.metadata_count()).filter_map(|index| self.0.metadata(index).ok()) {
            entries.serialize_element(&Entry { key, value })?;
        }
        entries.end()
    }
}

struct Entry<'a> {
    key: &'a str,
    value: Value<'a>,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_map(None)?;
        entry.serialize_entry("key", self.key)?;
        entry.serialize_entry("type", self.value.value_type().name())?;
        if let Value::Array(array) = self.value {
            entry.serialize_entry("element_type", array.element_type().name())?;
            entry.serialize_entry("length", &array.len())?;
        }
        entry.serialize_entry("value", &Json(self.value))?;
        entry.end()
    }
}

/// A value as JSON. What JSON has no word for becomes a string ("NaN", "Infinity", "-Infinity") or, bytes that are no
/// UTF-8, an object with their hexadecimal digits.
struct Json<'a>(Value<'a>);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Value::U8(value) => serializer.serialize_u8(value),
            Value::I8(value) => serializer.serialize_i8(value),
            Value::U16(value) => serializer.serialize_u16(value),
            Value::I16(value) => serializer.serialize_i16(value),
            Value::U32(value) => serializer.serialize_u32(value),
            Value::I32(value) => serializer.serialize_i32(value),
            Value::U64(value) => serializer.serialize_u64(value),
            Value::I64(value) => serializer.serialize_i64(value),
            Value::F32(value) if value.is_finite() => serializer.serialize_f32(value),
            Value::F64(value) if value.is_finite() => serializer.serialize_f64(value),
            Value::F32(value) => serializer.serialize_str(not_finite(value.into())),
            Value::F64(value) => serializer.serialize_str(not_finite(value)),
            Value::Bool(value) => serializer.serialize_bool(value),
            Value::String(string) => match string.to_str() {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => {
                    let digits: String = string.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                    let mut object = serializer.serialize_map(Some(1))?;
                    object.serialize_entry("bytes", &digits)?;
                    object.end()
                }
            },
            Value::Array(array) => elements_of(array, serializer),
            _ => serializer.serialize_none(),
        }
    }
}

fn elements_of<S: Serializer>(array: Array<'_>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let mut elements = serializer.serialize_seq(usize::try_from(array.len()).ok())?;
    for element in array.iter() {
        elements.serialize_element(&Json(element))?;
    }
    elements.end()
}

fn not_finite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

struct Tensors<'a>(&'a File);

impl Serialize for Tensors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.tensors().map(Record))
    }
}

struct Record<'a>(Tensor<'a>);

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let tensor = &self.0;
        let mut record = serializer.serialize_map(None)?;
        record.serialize_entry("name", tensor.name)?;
        record.serialize_entry("type", tensor.tensor_type.name())?;
        record.serialize_entry("type_id", &tensor.tensor_type.id())?;
        record.serialize_entry("shape", shape(tensor))?;
        record.serialize_entry("elements", &elements(tensor))?;
        record.serialize_entry("relative_offset", &tensor.relative_offset)?;
        record.serialize_entry("absolute_offset", &tensor.absolute_offset)?;
        record.serialize_entry("size_bytes", &tensor.size_bytes)?;
        record.serialize_entry("bits_per_weight", &bits_per_weight(tensor.tensor_type))?;
        record.end()
    }
}
