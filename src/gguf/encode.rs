//! Metadata values on their way into a file: what a caller gives, and the bytes that it becomes. Knows nothing of keys,
//! tensors or files that are written.

use super::value::{Array, DEEPEST_ARRAY, Value, ValueType};
use crate::error::{Error, Result, error};

const OUT_OF_MEMORY: Error = Error::OutOfMemory("the metadata to be written");

/// A metadata value to be written. `From` is there for plain Rust values and for values of an open file.
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
    /// An array of an open file, of any type.
    OfFile(Array<'a>),
    /// Elements of a type of fixed size as they lie in files: little-endian, without gaps.
    LittleEndian(ValueType, &'a [u8]),
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

            /// The value type's number and the value, as in the file.
            pub(super) fn encode(&self) -> Result<Encoded> {
                let mut out = Encoded::default();
                out.push(&self.value_type().id().to_le_bytes())?;
                self.encode_value(&mut out)?;
                Ok(out)
            }

            fn encode_value(&self, out: &mut Encoded) -> Result<()> {
                match self {
                    $(ValueInput::$variant(value) => out.push(&value.to_le_bytes()),)+
                    ValueInput::Bool(value) => out.push(&[u8::from(*value)]),
                    ValueInput::String(value) => out.string(value),
                    ValueInput::Array(array) => array.encode(out, 1),
                }
            }
        }

        impl ArrayInput<'_> {
            /// Encodes an array at nesting `level`, 1 for the outermost. The limit on it bounds the recursion.
            fn encode(&self, out: &mut Encoded, level: u32) -> Result<()> {
                match self {
                    $(ArrayInput::$variant(values) => {
                        out.array(ValueType::$variant, values.len() as u64, level)?;
                        values.iter().try_for_each(|value| out.push(&value.to_le_bytes()))
                    })+
                    ArrayInput::Bool(values) => {
                        out.array(ValueType::Bool, values.len() as u64, level)?;
                        values.iter().try_for_each(|value| out.push(&[u8::from(*value)]))
                    }
                    ArrayInput::String(values) => {
                        out.array(ValueType::String, values.len() as u64, level)?;
                        values.iter().try_for_each(|value| out.string(value))
                    }
                    ArrayInput::Array(values) => {
                        out.array(ValueType::Array, values.len() as u64, level)?;
                        values.iter().try_for_each(|value| value.encode(out, level.saturating_add(1)))
                    }
                    ArrayInput::OfFile(array) => encode_of_file(array, out, level),
                    ArrayInput::LittleEndian(element_type, bytes) => {
                        out.array(*element_type, count_elements(*element_type, bytes)?, level)?;
                        out.push(bytes)
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

impl<'a> From<Value<'a>> for ValueInput<'a> {
    fn from(value: Value<'a>) -> Self {
        match value {
            Value::U8(value) => ValueInput::U8(value),
            Value::I8(value) => ValueInput::I8(value),
            Value::U16(value) => ValueInput::U16(value),
            Value::I16(value) => ValueInput::I16(value),
            Value::U32(value) => ValueInput::U32(value),
            Value::I32(value) => ValueInput::I32(value),
            Value::F32(value) => ValueInput::F32(value),
            Value::Bool(value) => ValueInput::Bool(value),
            Value::String(value) => ValueInput::String(value.as_bytes()),
            Value::Array(value) => ValueInput::Array(ArrayInput::OfFile(value)),
            Value::U64(value) => ValueInput::U64(value),
            Value::I64(value) => ValueInput::I64(value),
            Value::F64(value) => ValueInput::F64(value),
        }
    }
}

fn encode_of_file(array: &Array<'_>, out: &mut Encoded, level: u32) -> Result<()> {
    out.array(array.element_type(), array.len(), level)?;
    if let Some(data) = array.data() {
        return out.push(data);
    }
    array.iter().try_for_each(|element| match element {
        Value::String(string) => out.string(string.as_bytes()),
        Value::Array(inner) => encode_of_file(&inner, out, level.saturating_add(1)),
        _ => Err(Error::Internal("an array's element of another type")),
    })
}

/// How many elements `bytes` are, where they are whole and valid ones.
fn count_elements(element_type: ValueType, bytes: &[u8]) -> Result<u64> {
    let name = element_type.name();
    let Some(size) = element_type.size_bytes() else {
        return Err(error!(InvalidArgument, "elements of type {name} have no fixed size"));
    };
    if !bytes.len().is_multiple_of(size) {
        return Err(error!(InvalidArgument, "{} bytes are not whole elements of type {name}", bytes.len()));
    }
    if element_type == ValueType::Bool
        && let Some(wrong) = bytes.iter().find(|byte| **byte > 1)
    {
        return Err(error!(InvalidArgument, "a bool is {wrong}, which is neither 0 nor 1"));
    }
    Ok(bytes.len().checked_div(size).unwrap_or(0) as u64)
}

/// An encoded value. Grows without aborting.
#[derive(Default)]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    /// Arrays within each other, the outermost included; 0 for other values.
    depth: u32,
}

impl Encoded {
    /// The number of the value type, then the value.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// An array of `arrays`: encoded values, in order. `InvalidArgument` where one is no array, or lies too deep.
    pub(super) fn nest<'e>(arrays: impl ExactSizeIterator<Item = &'e Encoded>) -> Result<Encoded> {
        let mut out = Encoded::default();
        out.push(&ValueType::Array.id().to_le_bytes())?;
        out.array(ValueType::Array, arrays.len() as u64, 1)?;
        for array in arrays {
            let (value_type, value) = array.bytes.split_first_chunk().unwrap_or((&[0; 4], &[]));
            if u32::from_le_bytes(*value_type) != ValueType::Array.id() {
                return Err(error!(InvalidArgument, "what is to be an element is no array"));
            }
            out.reach(array.depth.saturating_add(1))?;
            out.push(value)?;
        }
        Ok(out)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.try_reserve(bytes.len()).map_err(|_| OUT_OF_MEMORY)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn string(&mut self, string: &[u8]) -> Result<()> {
        self.push(&(string.len() as u64).to_le_bytes())?;
        self.push(string)
    }

    /// What precedes the elements of an array at nesting `level`.
    fn array(&mut self, element_type: ValueType, length: u64, level: u32) -> Result<()> {
        self.reach(level)?;
        self.push(&element_type.id().to_le_bytes())?;
        self.push(&length.to_le_bytes())
    }

    fn reach(&mut self, level: u32) -> Result<()> {
        if level > DEEPEST_ARRAY {
            return Err(error!(InvalidArgument, "arrays lie more than {DEEPEST_ARRAY} deep within each other"));
        }
        self.depth = self.depth.max(level);
        Ok(())
    }
}
