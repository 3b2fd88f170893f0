//! Writing GGUF files: entries and tensors are collected, checked with the reader's rules, and written in one pass.
//! Knows nothing of reading.

use super::metadata::{ALIGNMENT_KEY, LONGEST_KEY};
use super::names::push;
use super::tensor::{LONGEST_NAME, MOST_DIMENSIONS, size_bytes};
use super::value::{DEEPEST_ARRAY, ValueType};
use crate::blocks::TensorType;
use crate::error::{Error, Result, error};
use std::io::{self, Write};

const OUT_OF_MEMORY: Error = Error::OutOfMemory("the file that is written");

/// A metadata value to be written. `From` is there for plain Rust values.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum ValueInput<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    /// Any bytes.
    String(&'a [u8]),
    Array(ArrayInput<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array to be written.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum ArrayInput<'a> {
    U8(&'a [u8]),
    I8(&'a [i8]),
    U16(&'a [u16]),
    I16(&'a [i16]),
    U32(&'a [u32]),
    I32(&'a [i32]),
    F32(&'a [f32]),
    Bool(&'a [bool]),
    /// Any bytes.
    String(&'a [&'a [u8]]),
    /// Arrays within the array, at most 4 deep.
    Array(&'a [ArrayInput<'a>]),
    U64(&'a [u64]),
    I64(&'a [i64]),
    F64(&'a [f64]),
}

/// The types whose bytes are `to_le_bytes()`: conversions, type numbers and encodings.
macro_rules! plain_values {
    ($($variant:ident $plain:ty),+) => {
        $(impl From<$plain> for ValueInput<'_> {
            fn from(value: $plain) -> Self { ValueInput::$variant(value) }
        }
        impl<'a> From<&'a [$plain]> for ValueInput<'a> {
            fn from(values: &'a [$plain]) -> Self { ValueInput::Array(ArrayInput::$variant(values)) }
        })+

        impl ValueInput<'_> {
            fn value_type(&self) -> ValueType {
                match self {
                    $(ValueInput::$variant(_) => ValueType::$variant,)+
                    ValueInput::Bool(_) => ValueType::Bool,
                    ValueInput::String(_) => ValueType::String,
                    ValueInput::Array(_) => ValueType::Array,
                }
            }

            fn encode(&self, out: &mut Bytes) -> Result<()> {
                match self {
                    $(ValueInput::$variant(value) => out.push(&value.to_le_bytes()),)+
                    ValueInput::Bool(value) => out.push(&[u8::from(*value)]),
                    ValueInput::String(value) => out.string(value),
                    ValueInput::Array(array) => array.encode(out, 1),
                }
            }
        }

        impl ArrayInput<'_> {
            /// Element type and number of elements.
            fn header(&self) -> (ValueType, usize) {
                match self {
                    $(ArrayInput::$variant(values) => (ValueType::$variant, values.len()),)+
                    ArrayInput::Bool(values) => (ValueType::Bool, values.len()),
                    ArrayInput::String(values) => (ValueType::String, values.len()),
                    ArrayInput::Array(values) => (ValueType::Array, values.len()),
                }
            }

            /// Encodes an array at nesting `level`, 1 for the outermost. The limit on it bounds the recursion.
            fn encode(&self, out: &mut Bytes, level: u32) -> Result<()> {
                if level > DEEPEST_ARRAY {
                    return Err(error!(InvalidArgument, "arrays lie more than {DEEPEST_ARRAY} deep within each other"));
                }
                let (element_type, length) = self.header();
                out.push(&element_type.id().to_le_bytes())?;
                out.push(&(length as u64).to_le_bytes())?;
                match self {
                    $(ArrayInput::$variant(values) => values.iter().try_for_each(|value| out.push(&value.to_le_bytes())),)+
                    ArrayInput::Bool(values) => values.iter().try_for_each(|value| out.push(&[u8::from(*value)])),
                    ArrayInput::String(values) => values.iter().try_for_each(|value| out.string(value)),
                    ArrayInput::Array(values) => {
                        values.iter().try_for_each(|value| value.encode(out, level.saturating_add(1)))
                    }
                }
            }
        }
    };
}

plain_values!(U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, F32 f32, U64 u64, I64 i64, F64 f64);

impl From<bool> for ValueInput<'_> {
    fn from(value: bool) -> Self {
        ValueInput::Bool(value)
    }
}

impl<'a> From<&'a str> for ValueInput<'a> {
    fn from(value: &'a str) -> Self {
        ValueInput::String(value.as_bytes())
    }
}

impl<'a> From<ArrayInput<'a>> for ValueInput<'a> {
    fn from(value: ArrayInput<'a>) -> Self {
        ValueInput::Array(value)
    }
}

/// Bytes that grow without aborting.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.try_reserve(bytes.len()).map_err(|_| OUT_OF_MEMORY)?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn string(&mut self, string: &[u8]) -> Result<()> {
        self.push(&(string.len() as u64).to_le_bytes())?;
        self.push(string)
    }
}

struct TensorInput<'a> {
    name: Box<str>,
    data: &'a [u8],
    /// Where the record's fields behind the name begin in `Writer::records`, up to the offset, which is not known yet.
    fields: (usize, usize),
}

/// Collects a file's metadata and tensors, then writes them. Tensor data is borrowed, everything else copied.
pub struct Writer<'a> {
    version: u32,
    alignment: u32,
    keys: Vec<Box<str>>,
    metadata: Bytes,
    tensors: Vec<TensorInput<'a>>,
    records: Bytes,
}

impl Default for Writer<'_> {
    fn default() -> Self {
        Writer {
            version: 3,
            alignment: 32,
            keys: Vec::new(),
            metadata: Bytes::default(),
            tensors: Vec::new(),
            records: Bytes::default(),
        }
    }
}

impl<'a> Writer<'a> {
    /// An empty file of version 3 with alignment 32.
    pub fn new() -> Self {
        Writer::default()
    }

    /// Sets the version: 2 or 3, else `UnsupportedVersion`.
    pub fn version(&mut self, version: u32) -> Result<&mut Self> {
        if !matches!(version, 2 | 3) {
            return Err(error!(UnsupportedVersion, "{version}; versions 2 and 3 are written"));
        }
        self.version = version;
        Ok(self)
    }

    /// Adds a metadata entry. `general.alignment` sets the alignment of the tensors as well.
    ///
    /// # Errors
    /// `InvalidArgument` where `key` is empty, too long or holds a NUL, where arrays lie more than 4 deep, or where
    /// `general.alignment` is not a u32 that is a power of two. `OutOfMemory`. The writer is then unchanged.
    pub fn metadata(&mut self, key: &str, value: impl Into<ValueInput<'a>>) -> Result<&mut Self> {
        let value = value.into();
        check_name(key, LONGEST_KEY, "a key")?;
        if key.is_empty() {
            return Err(error!(InvalidArgument, "a key is empty"));
        }
        let alignment = match value {
            _ if key != ALIGNMENT_KEY => self.alignment,
            ValueInput::U32(alignment) if alignment.is_power_of_two() => alignment,
            _ => {
                return Err(error!(InvalidArgument, "{ALIGNMENT_KEY} is not a u32 that is a power of two"));
            }
        };
        let owned = copy_name(key)?;
        let before = self.metadata.0.len();
        let written = self.encode_entry(key, &value).and_then(|()| push(&mut self.keys, owned));
        if let Err(why) = written {
            self.metadata.0.truncate(before);
            return Err(why);
        }
        self.alignment = alignment;
        Ok(self)
    }

    fn encode_entry(&mut self, key: &str, value: &ValueInput<'_>) -> Result<()> {
        self.metadata.string(key.as_bytes())?;
        self.metadata.push(&value.value_type().id().to_le_bytes())?;
        value.encode(&mut self.metadata)
    }

    /// Adds a tensor: `dims` with the fastest first, `data` its bytes.
    ///
    /// # Errors
    /// `InvalidArgument` where `name` is longer than 64 bytes or holds a NUL, or there are more than 4 dimensions;
    /// `Shape` where rows are not whole blocks or `data` is not of the size that type and dimensions make.
    /// `OutOfMemory`. The writer is then unchanged.
    pub fn tensor(&mut self, name: &str, tensor_type: TensorType, dims: &[u64], data: &'a [u8]) -> Result<&mut Self> {
        check_name(name, LONGEST_NAME, "a tensor name")?;
        if dims.len() > MOST_DIMENSIONS as usize {
            let count = dims.len();
            return Err(error!(
                InvalidArgument,
                "tensor {name:?} has {count} dimensions, at most {MOST_DIMENSIONS} are allowed"
            ));
        }
        tensor_type.row_size(dims.first().copied().unwrap_or(1))?;
        if size_bytes(tensor_type, dims) != Some(data.len() as u64) {
            return Err(error!(
                Shape,
                "tensor {name:?}: {} bytes of data do not make {dims:?} {} elements",
                data.len(),
                tensor_type.name()
            ));
        }
        let name = copy_name(name)?;
        let before = self.records.0.len();
        let written = self.encode_shape(tensor_type, dims).and_then(|()| {
            let fields = (before, self.records.0.len());
            push(&mut self.tensors, TensorInput { name, data, fields })
        });
        if let Err(why) = written {
            self.records.0.truncate(before);
            return Err(why);
        }
        Ok(self)
    }

    fn encode_shape(&mut self, tensor_type: TensorType, dims: &[u64]) -> Result<()> {
        self.records.push(&(dims.len() as u32).to_le_bytes())?;
        dims.iter().try_for_each(|dim| self.records.push(&dim.to_le_bytes()))?;
        self.records.push(&tensor_type.id().to_le_bytes())
    }

    /// The file as bytes. Errors as for [`Writer::write_to`].
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        struct Fallible(Bytes);
        impl Write for Fallible {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let pushed = self.0.push(bytes);
                pushed.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = Fallible(Bytes::default());
        self.write_to(&mut out).map_err(|why| match why {
            Error::Io { .. } => OUT_OF_MEMORY,
            other => other,
        })?;
        Ok(out.0.0)
    }

    /// Writes the file to `out`, in many small writes before the data: use a buffered writer for files.
    ///
    /// # Errors
    /// `InvalidArgument` where two keys or two tensors have the same name; `Io` where `out` fails; `OutOfMemory`.
    pub fn write_to(&self, mut out: impl Write) -> Result<()> {
        check_unique(self.keys.iter().map(|key| &**key), self.keys.len(), "metadata entries")?;
        check_unique(self.tensors.iter().map(|tensor| &*tensor.name), self.tensors.len(), "tensors")?;
        let mut out = Counted { out: &mut out, written: 0 };
        out.write(b"GGUF")?;
        out.write(&self.version.to_le_bytes())?;
        out.write(&(self.tensors.len() as u64).to_le_bytes())?;
        out.write(&(self.keys.len() as u64).to_le_bytes())?;
        out.write(&self.metadata.0)?;
        let mut offset = 0u64;
        for tensor in &self.tensors {
            out.write(&(tensor.name.len() as u64).to_le_bytes())?;
            out.write(tensor.name.as_bytes())?;
            out.write(self.records.0.get(tensor.fields.0..tensor.fields.1).unwrap_or_default())?;
            out.write(&offset.to_le_bytes())?;
            let end = offset.checked_add(tensor.data.len() as u64);
            let next = end.and_then(|end| end.checked_next_multiple_of(self.alignment.into()));
            offset = next.ok_or_else(|| error!(Shape, "the tensors have 2^64 bytes or more"))?;
        }
        out.pad(self.alignment)?;
        for tensor in &self.tensors {
            out.write(tensor.data)?;
            // Behind the last tensor too: llama.cpp reads it whole.
            out.pad(self.alignment)?;
        }
        out.out.flush().map_err(io_error)
    }
}

struct Counted<'a, W: Write> {
    out: &'a mut W,
    written: u64,
}

impl<W: Write> Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(io_error)?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn pad(&mut self, alignment: u32) -> Result<()> {
        const ZEROS: [u8; 64] = [0; 64];
        let target = self.written.checked_next_multiple_of(alignment.into());
        let target = target.ok_or_else(|| error!(Shape, "the file has 2^64 bytes or more"))?;
        while let Some(missing @ 1..) = target.checked_sub(self.written) {
            self.write(ZEROS.get(..missing as usize).unwrap_or(&ZEROS))?;
        }
        Ok(())
    }
}

fn io_error(source: io::Error) -> Error {
    Error::Io { action: "write the file", source }
}

fn check_name(name: &str, longest: u64, what: &str) -> Result<()> {
    if name.len() as u64 > longest {
        let length = name.len();
        return Err(error!(InvalidArgument, "{what} has {length} bytes, the longest allowed has {longest}"));
    }
    if name.contains('\0') {
        return Err(error!(InvalidArgument, "{what} holds a NUL: {name:?}"));
    }
    Ok(())
}

fn copy_name(name: &str) -> Result<Box<str>> {
    let mut copy = String::new();
    copy.try_reserve_exact(name.len()).map_err(|_| OUT_OF_MEMORY)?;
    copy.push_str(name);
    Ok(copy.into_boxed_str())
}

fn check_unique<'n>(names: impl Iterator<Item = &'n str>, count: usize, what: &str) -> Result<()> {
    let mut sorted: Vec<&str> = Vec::new();
    sorted.try_reserve_exact(count).map_err(|_| OUT_OF_MEMORY)?;
    sorted.extend(names);
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(twins) => Err(error!(InvalidArgument, "two {what} are called {:?}", twins.first().unwrap_or(&""))),
        None => Ok(()),
    }
}
