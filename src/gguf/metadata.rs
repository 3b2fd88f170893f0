//! The metadata entries of a file: walking and checking them once, and finding them afterwards. Knows nothing of
//! tensors, nor what any key means except `general.alignment`.

use super::cursor::{Cursor, Described, Item, end_of, framing_u32_at, name_at, name_with_nul_at, string_at};
use super::names::{Names, push};
use super::source::shrink;
use super::value::{CHECKPOINT_EVERY, DEEPEST_ARRAY, Value, ValueType};
use crate::error::{Error, Result, error};

/// The longest key that the format allows, in bytes.
pub(super) const LONGEST_KEY: u64 = 65_535;
/// Bytes of the smallest entry: key length, value type and a one-byte value.
pub(super) const SMALLEST_ENTRY: u64 = 13;
/// The key of the alignment of the data section and of every tensor.
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";
/// The alignment of files that do not declare one.
pub(super) const DEFAULT_ALIGNMENT: u32 = 32;

/// Where the checkpoints of an array begin. Only outermost arrays of strings or arrays have such.
#[derive(Clone, Copy)]
struct Checkpointed {
    /// Position of the array's element type.
    array: u32,
    /// Index of its first checkpoint.
    first: u32,
}

/// The directory of the metadata entries. Positions in the copy, nothing else.
#[derive(Default)]
pub(super) struct Metadata {
    names: Names,
    /// In file order, so ordered by `array`.
    checkpointed: Vec<Checkpointed>,
    checkpoints: Vec<u32>,
}

impl Metadata {
    /// Walks and checks `count` entries.
    pub(super) fn walk(cursor: &mut Cursor<'_>, count: u64) -> Result<Metadata> {
        let mut metadata = Metadata::default();
        for index in 0..count {
            cursor.item = Item::Metadata(index, None);
            let at = cursor.offset();
            let record = cursor.name(LONGEST_KEY, "the key")?;
            cursor.item = Item::Metadata(index, Some(record));
            if cursor.offset() == at.saturating_add(8) {
                return Err(error!(BadFormat at at, "metadata entry {index}: the key is empty"));
            }
            metadata.names.push(record)?;
            let value_type = value_type(cursor, "the value type")?;
            metadata.walk_value(cursor, value_type)?;
        }
        metadata.checkpointed = shrink(metadata.checkpointed);
        metadata.checkpoints = shrink(metadata.checkpoints);
        Ok(metadata)
    }

    fn walk_value(&mut self, cursor: &mut Cursor<'_>, value_type: ValueType) -> Result<()> {
        match (value_type, value_type.size_bytes()) {
            (ValueType::Bool, _) => walk_bools(cursor, 1),
            (_, Some(size)) => cursor.bytes(size as u64, "the value").map(|_| ()),
            (ValueType::String, None) => cursor.string("the string"),
            (_, None) => self.walk_array(cursor, 1),
        }
    }

    /// Walks an array at nesting `level`, 1 for the outermost. The limit on it bounds the recursion.
    fn walk_array(&mut self, cursor: &mut Cursor<'_>, level: u32) -> Result<()> {
        let at = cursor.offset();
        if level > DEEPEST_ARRAY {
            let here = cursor.here();
            return Err(error!(Limit at at, "{here}: arrays lie more than {DEEPEST_ARRAY} deep within each other"));
        }
        let array = cursor.position();
        let element_type = value_type(cursor, "the element type")?;
        let count = cursor.framing_u64("the number of elements")?;
        // A string is at least its length, an array its element type and count.
        let smallest = match (element_type, element_type.size_bytes()) {
            (_, Some(size)) => size as u64,
            (ValueType::String, None) => 8,
            (_, None) => 12,
        };
        cursor.check_count(count, smallest, "the declared number of array elements")?;
        if element_type == ValueType::Bool {
            return walk_bools(cursor, count);
        }
        if element_type.size_bytes().is_some() {
            return cursor.bytes(count.saturating_mul(smallest), "the array").map(|_| ());
        }
        if level == 1 && count > CHECKPOINT_EVERY {
            let first = u32::try_from(self.checkpoints.len()).unwrap_or(u32::MAX);
            push(&mut self.checkpointed, Checkpointed { array, first })?;
        }
        let mut left = count;
        while left > 0 {
            // In runs from checkpoint to checkpoint, so that the walk of a run has nothing else to do.
            let run = left.min(CHECKPOINT_EVERY);
            if element_type == ValueType::String {
                cursor.strings(run, "an element of the array")?;
            } else {
                for _ in 0..run {
                    self.walk_array(cursor, level.saturating_add(1))?;
                }
            }
            left = left.saturating_sub(run);
            if level == 1 && left > 0 {
                push(&mut self.checkpoints, cursor.position())?;
            }
        }
        Ok(())
    }

    /// Orders the entries by key; fails where two have the same.
    pub(super) fn sort(&mut self, copy: &[u8]) -> Result<()> {
        let Some((first, second)) = self.names.sort(copy)? else {
            return Ok(());
        };
        let record = self.names.get(second.into());
        let here = Described(Item::Metadata(second.into(), record), copy);
        Err(error!(BadFormat at record.unwrap_or(0).into(), "{here}: entry {first} has the same key"))
    }

    /// Number of entries.
    pub(super) fn count(&self) -> u64 {
        self.names.len()
    }

    /// The index of `key`.
    pub(super) fn find(&self, copy: &[u8], key: &str) -> Result<u64> {
        let found = self.names.find(copy, key.as_bytes());
        found.ok_or_else(|| error!(NotFound, "metadata key {key:?}"))
    }

    fn record(&self, index: u64) -> Result<u32> {
        let count = self.count();
        self.names.get(index).ok_or_else(|| error!(NotFound, "metadata entry {index} of {count}"))
    }

    /// The key of entry `index`.
    pub(super) fn key<'a>(&self, copy: &'a [u8], index: u64) -> Result<&'a str> {
        name_at(copy, self.record(index)?)
    }

    /// The key of entry `index`, and a NUL.
    pub(super) fn key_with_nul<'a>(&self, copy: &'a [u8], index: u64) -> Result<&'a str> {
        name_with_nul_at(copy, self.record(index)?)
    }

    /// Type and position of the value of entry `index`.
    fn locate(&self, copy: &[u8], index: u64) -> Result<(ValueType, usize)> {
        let record = self.record(index)? as usize;
        let key = string_at(copy, record)?.len() as u64;
        let position = end_of(end_of(record, 8)?, key)?;
        let value_type = ValueType::from_id(framing_u32_at(copy, position)?);
        let value_type = value_type.ok_or(Error::Internal("a value type that was not checked"))?;
        Ok((value_type, end_of(position, 4)?))
    }

    /// The value of entry `index`.
    pub(super) fn value<'a>(&'a self, copy: &'a [u8], index: u64) -> Result<Value<'a>> {
        let (value_type, position) = self.locate(copy, index)?;
        let mut checkpoints: &[u32] = &[];
        if value_type == ValueType::Array {
            let found = self.checkpointed.binary_search_by_key(&position, |entry| entry.array as usize);
            if let Some((entry, rest)) =
                found.ok().and_then(|at| self.checkpointed.get(at..)).and_then(<[_]>::split_first)
            {
                let end = rest.first().map_or(self.checkpoints.len(), |next| next.first as usize);
                checkpoints = self.checkpoints.get(entry.first as usize..end).unwrap_or_default();
            }
        }
        Value::at(copy, value_type, position, checkpoints)
    }

    /// The alignment that the file declares, or the default.
    pub(super) fn alignment(&self, copy: &[u8]) -> Result<u32> {
        let Some(index) = self.names.find(copy, ALIGNMENT_KEY.as_bytes()) else {
            return Ok(DEFAULT_ALIGNMENT);
        };
        let (value_type, position) = self.locate(copy, index)?;
        match Value::at(copy, value_type, position, &[])? {
            Value::U32(alignment) if alignment.is_power_of_two() => Ok(alignment),
            Value::U32(alignment) => Err(error!(
                BadFormat at position as u64,
                "metadata entry {index} {ALIGNMENT_KEY:?}: {alignment} is not a power of two"
            )),
            _ => Err(error!(
                TypeMismatch,
                "metadata entry {index} {ALIGNMENT_KEY:?}, byte {position}: must be of type u32, but is {}",
                value_type.name()
            )),
        }
    }
}

fn value_type(cursor: &mut Cursor<'_>, what: &str) -> Result<ValueType> {
    let at = cursor.offset();
    let id = cursor.framing_u32(what)?;
    ValueType::from_id(id).ok_or_else(|| {
        let here = cursor.here();
        error!(BadFormat at at, "{here}: {what} is {id}, the largest defined is 12")
    })
}

fn walk_bools(cursor: &mut Cursor<'_>, count: u64) -> Result<()> {
    let start = cursor.offset();
    let bytes = cursor.bytes(count, "the bool")?;
    // All of them at once is fast; which one is wrong matters only if one is.
    if bytes.iter().fold(0, |all, byte| all | byte) <= 1 {
        return Ok(());
    }
    let wrong = bytes.iter().zip(start..).find(|(byte, _)| **byte > 1);
    let (value, at) = wrong.map_or((0, start), |(byte, at)| (*byte, at));
    let here = cursor.here();
    Err(error!(BadFormat at at, "{here}: a bool is {value}, which is neither 0 nor 1"))
}
