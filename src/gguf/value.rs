//! Metadata values as a caller sees them: views into the private copy, read when asked for, and their conversions.
//! Knows nothing of keys, files or tensors.

use super::cursor::{array_at, end_of, framing_u32_at, framing_u64_at, string_with_nul_at};
use crate::error::{Error, Result, error};
use std::fmt;

/// Every how many elements of a variable size the position is remembered.
pub(super) const CHECKPOINT_EVERY: u64 = 64;
/// Arrays within arrays that are read, the outermost included.
pub(super) const DEEPEST_ARRAY: u32 = 4;

/// What a metadata value is; the discriminants are GGUF's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// Every type, in order of its number.
    pub const ALL: [ValueType; 13] = {
        use ValueType::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64]
    };

    /// The type with GGUF's number `id`.
    pub fn from_id(id: u32) -> Option<ValueType> {
        Self::ALL.get(id as usize).copied()
    }

    /// GGUF's number.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Name in lower case, as in "u32".
    pub const fn name(self) -> &'static str {
        const NAMES: [&str; 13] =
            ["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"];
        #[allow(clippy::indexing_slicing)] // const: an enum of 13 into a table of 13, `get` is not const
        NAMES[self as usize]
    }

    /// Bytes of a value; `None` where values differ in size (strings and arrays).
    pub const fn size_bytes(self) -> Option<usize> {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => Some(1),
            ValueType::U16 | ValueType::I16 => Some(2),
            ValueType::U32 | ValueType::I32 | ValueType::F32 => Some(4),
            ValueType::U64 | ValueType::I64 | ValueType::F64 => Some(8),
            ValueType::String | ValueType::Array => None,
        }
    }
}

/// A string of a file: bytes, which may hold NUL and need not be UTF-8, and in memory always a NUL behind them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Str<'a> {
    with_nul: &'a [u8],
}

impl<'a> Str<'a> {
    /// The bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.with_nul.split_last().map_or(&[], |(_, bytes)| bytes)
    }

    /// The bytes and one NUL. For C: the pointer stays valid as long as the file is open.
    pub fn as_bytes_with_nul(&self) -> &'a [u8] {
        self.with_nul
    }

    /// The text, where it is UTF-8; else `TypeMismatch`.
    pub fn to_str(&self) -> Result<&'a str> {
        std::str::from_utf8(self.as_bytes()).map_err(|wrong| error!(TypeMismatch, "the string is not UTF-8: {wrong}"))
    }
}

impl fmt::Debug for Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// A metadata value.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(Str<'a>),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// A number without its type, for the conversions.
enum Number {
    Integer(i128),
    Float(f64),
}

impl<'a> Value<'a> {
    /// The value of type `value_type` at `position` of the copy. `checkpoints` are those of an outermost array.
    pub(super) fn at(
        copy: &'a [u8],
        value_type: ValueType,
        position: usize,
        checkpoints: &'a [u32],
    ) -> Result<Value<'a>> {
        Ok(match value_type {
            ValueType::U8 => Value::U8(u8::from_le_bytes(array_at(copy, position)?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(array_at(copy, position)?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(array_at(copy, position)?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(array_at(copy, position)?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(array_at(copy, position)?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(array_at(copy, position)?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(array_at(copy, position)?)),
            ValueType::Bool => Value::Bool(array_at(copy, position)? != [0u8]),
            ValueType::U64 => Value::U64(u64::from_le_bytes(array_at(copy, position)?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(array_at(copy, position)?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(array_at(copy, position)?)),
            ValueType::String => Value::String(Str { with_nul: string_with_nul_at(copy, position)? }),
            ValueType::Array => Value::Array(Array::at(copy, position, checkpoints)?),
        })
    }

    /// The value's type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::U8(_) => ValueType::U8,
            Value::I8(_) => ValueType::I8,
            Value::U16(_) => ValueType::U16,
            Value::I16(_) => ValueType::I16,
            Value::U32(_) => ValueType::U32,
            Value::I32(_) => ValueType::I32,
            Value::F32(_) => ValueType::F32,
            Value::Bool(_) => ValueType::Bool,
            Value::String(_) => ValueType::String,
            Value::Array(_) => ValueType::Array,
            Value::U64(_) => ValueType::U64,
            Value::I64(_) => ValueType::I64,
            Value::F64(_) => ValueType::F64,
        }
    }

    fn number(&self) -> Option<Number> {
        Some(match *self {
            Value::U8(value) => Number::Integer(value.into()),
            Value::I8(value) => Number::Integer(value.into()),
            Value::U16(value) => Number::Integer(value.into()),
            Value::I16(value) => Number::Integer(value.into()),
            Value::U32(value) => Number::Integer(value.into()),
            Value::I32(value) => Number::Integer(value.into()),
            Value::U64(value) => Number::Integer(value.into()),
            Value::I64(value) => Number::Integer(value.into()),
            Value::F32(value) => Number::Float(value.into()),
            Value::F64(value) => Number::Float(value),
            Value::Bool(_) | Value::String(_) | Value::Array(_) => return None,
        })
    }

    fn integer(&self) -> Option<i128> {
        match self.number()? {
            Number::Integer(value) => Some(value),
            // Below 2^64 the cast is exact; NaN and infinities fail the comparison.
            Number::Float(value) => (value.trunc() == value && value.abs() < 2f64.powi(64)).then_some(value as i128),
        }
    }

    #[cold]
    fn mismatch(&self, wanted: &str) -> Error {
        let name = self.value_type().name();
        match self.number() {
            Some(Number::Integer(value)) => error!(TypeMismatch, "the {name} value {value} is not exactly a {wanted}"),
            Some(Number::Float(value)) => error!(TypeMismatch, "the {name} value {value} is not exactly a {wanted}"),
            None => error!(TypeMismatch, "the value is of type {name}, not {wanted}"),
        }
    }

    /// The value of any integer type, or of a float that holds an integer, where it fits; else `TypeMismatch`.
    pub fn as_u64(&self) -> Result<u64> {
        let fitting = self.integer().and_then(|value| u64::try_from(value).ok());
        fitting.ok_or_else(|| self.mismatch("u64"))
    }

    /// The value of any integer type, or of a float that holds an integer, where it fits; else `TypeMismatch`.
    pub fn as_i64(&self) -> Result<i64> {
        let fitting = self.integer().and_then(|value| i64::try_from(value).ok());
        fitting.ok_or_else(|| self.mismatch("i64"))
    }

    /// The value of any float type, or of an integer that an f64 holds exactly; else `TypeMismatch`.
    pub fn as_f64(&self) -> Result<f64> {
        match self.number() {
            Some(Number::Float(value)) => Ok(value),
            Some(Number::Integer(value)) if (value as f64) as i128 == value => Ok(value as f64),
            _ => Err(self.mismatch("f64")),
        }
    }

    /// The value of a bool; else `TypeMismatch`.
    pub fn as_bool(&self) -> Result<bool> {
        match self {
            Value::Bool(value) => Ok(*value),
            _ => Err(self.mismatch("bool")),
        }
    }

    /// The bytes of a string; else `TypeMismatch`.
    pub fn as_bytes(&self) -> Result<&'a [u8]> {
        self.as_string().map(|string| string.as_bytes())
    }

    /// The string; else `TypeMismatch`.
    pub fn as_string(&self) -> Result<Str<'a>> {
        match self {
            Value::String(string) => Ok(*string),
            _ => Err(self.mismatch("string")),
        }
    }

    /// The array; else `TypeMismatch`.
    pub fn as_array(&self) -> Result<Array<'a>> {
        match self {
            Value::Array(array) => Ok(*array),
            _ => Err(self.mismatch("array")),
        }
    }
}

/// An array of a file; read when asked for.
#[derive(Clone, Copy)]
pub struct Array<'a> {
    copy: &'a [u8],
    /// Position of every 64th element but the first, where elements differ in size and this is an outermost array.
    checkpoints: &'a [u32],
    element_type: ValueType,
    length: u64,
    /// Position of the first element.
    start: usize,
}

impl<'a> Array<'a> {
    fn at(copy: &'a [u8], position: usize, checkpoints: &'a [u32]) -> Result<Array<'a>> {
        let element_type = ValueType::from_id(framing_u32_at(copy, position)?);
        Ok(Array {
            copy,
            checkpoints,
            element_type: element_type.ok_or(Error::Internal("an element type that was not checked"))?,
            length: framing_u64_at(copy, end_of(position, 4)?)?,
            start: end_of(position, 12)?,
        })
    }

    /// Type of the elements.
    pub fn element_type(&self) -> ValueType {
        self.element_type
    }

    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All elements as they lie in the file, little-endian and at any alignment; `None` for strings and arrays.
    pub fn data(&self) -> Option<&'a [u8]> {
        let size = self.element_type.size_bytes()? as u64;
        let end = end_of(self.start, self.length.checked_mul(size)?).ok()?;
        self.copy.get(self.start..end)
    }

    /// Element `index`; `NotFound` past the end. In an outermost array at most 63 others are gone over, in arrays
    /// within arrays all before it: use [`Array::iter`] for those.
    pub fn element(&self, index: u64) -> Result<Value<'a>> {
        if index >= self.length {
            return Err(error!(NotFound, "element {index} of an array of {}", self.length));
        }
        if let Some(size) = self.element_type.size_bytes() {
            let position = end_of(self.start, index.saturating_mul(size as u64))?;
            return Value::at(self.copy, self.element_type, position, &[]);
        }
        let before = (index / CHECKPOINT_EVERY).min(self.checkpoints.len() as u64);
        let checkpoint = before.checked_sub(1).and_then(|at| self.checkpoints.get(at as usize));
        let (mut position, mut at) = match checkpoint {
            Some(position) => (*position as usize, before.saturating_mul(CHECKPOINT_EVERY)),
            None => (self.start, 0),
        };
        while at < index {
            position = skip(self.copy, self.element_type, position, DEEPEST_ARRAY)?;
            at = at.saturating_add(1);
        }
        Value::at(self.copy, self.element_type, position, &[])
    }

    /// All elements in order.
    pub fn iter(&self) -> Elements<'a> {
        Elements { array: *self, left: self.length, position: self.start }
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}; {}]", self.element_type.name(), self.length)
    }
}

/// The elements of an [`Array`].
#[derive(Clone)]
pub struct Elements<'a> {
    array: Array<'a>,
    left: u64,
    position: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        let Array { copy, element_type, .. } = self.array;
        // Neither fails: the array was walked when the file was opened.
        let value = Value::at(copy, element_type, self.position, &[]).ok()?;
        self.position = skip(copy, element_type, self.position, DEEPEST_ARRAY).ok()?;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

/// The position behind the value at `position`, of which at most `levels` are arrays within each other.
fn skip(copy: &[u8], value_type: ValueType, position: usize, levels: u32) -> Result<usize> {
    if let Some(size) = value_type.size_bytes() {
        return end_of(position, size as u64);
    }
    if value_type == ValueType::String {
        return end_of(end_of(position, 8)?, framing_u64_at(copy, position)?);
    }
    let levels = levels.checked_sub(1).ok_or(Error::Internal("arrays deeper than was checked"))?;
    let array = Array::at(copy, position, &[])?;
    if let Some(data) = array.data() {
        return end_of(array.start, data.len() as u64);
    }
    let mut position = array.start;
    for _ in 0..array.length {
        position = skip(copy, array.element_type, position, levels)?;
    }
    Ok(position)
}
