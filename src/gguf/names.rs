//! A list of named records (metadata entries, or tensors) in the copy: their positions in file order, and their order
//! by name for look-ups. Knows of a record only that it begins with its name.

use super::cursor::string_at;
use crate::error::{Error, Result};
use std::cmp::Ordering;

const OUT_OF_MEMORY: Error = Error::OutOfMemory("the directory of the file");

/// Positions of named records.
#[derive(Default)]
pub(super) struct Names {
    /// Position of each record in the copy, in file order.
    records: Vec<u32>,
    /// Indices into `records`: by name once [`Names::sort`] ran.
    sorted: Vec<u32>,
}

/// Appends, or says that memory ran out.
pub(super) fn push<T>(vector: &mut Vec<T>, item: T) -> Result<()> {
    if vector.len() == vector.capacity() {
        let more = (vector.len() >> 1).max(16);
        vector.try_reserve_exact(more).map_err(|_| OUT_OF_MEMORY)?;
    }
    vector.push(item);
    Ok(())
}

impl Names {
    /// Appends the record at `position`.
    pub(super) fn push(&mut self, position: u32) -> Result<()> {
        push(&mut self.records, position)
    }

    /// Number of records.
    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// Position of record `index`.
    pub(super) fn get(&self, index: u64) -> Option<u32> {
        usize::try_from(index).ok().and_then(|index| self.records.get(index)).copied()
    }

    /// Orders the records by `key` of their positions, until [`Names::sort`] reuses the memory.
    pub(super) fn sort_by_key<K: Ord>(&mut self, key: impl Fn(u32) -> K) -> Result<()> {
        self.fill()?;
        let records = &self.records;
        self.sorted.sort_unstable_by_key(|index| records.get(*index as usize).map(|record| key(*record)));
        Ok(())
    }

    /// The indices of all records in the order of the last sort.
    pub(super) fn sorted(&self) -> &[u32] {
        &self.sorted
    }

    /// Orders the records by name. Returns the indices of two of the same name, if there are such.
    pub(super) fn sort(&mut self, copy: &[u8]) -> Result<Option<(u32, u32)>> {
        self.records = super::source::shrink(std::mem::take(&mut self.records));
        self.fill()?;
        let records = &self.records;
        let name = |index: u32| name_of(copy, records, index);
        self.sorted.sort_unstable_by(|a, b| name(*a).cmp(name(*b)));
        let twins = self.sorted.windows(2).find_map(|pair| match pair {
            [a, b] if name(*a) == name(*b) => Some((*a.min(b), *a.max(b))),
            _ => None,
        });
        Ok(twins)
    }

    /// The index of the record called `wanted`.
    pub(super) fn find(&self, copy: &[u8], wanted: &[u8]) -> Option<u64> {
        let order = |index: &u32| -> Ordering { name_of(copy, &self.records, *index).cmp(wanted) };
        let found = self.sorted.binary_search_by(order).ok()?;
        self.sorted.get(found).map(|index| u64::from(*index))
    }

    fn fill(&mut self) -> Result<()> {
        if self.sorted.len() != self.records.len() {
            self.sorted.try_reserve_exact(self.records.len()).map_err(|_| OUT_OF_MEMORY)?;
            self.sorted.extend((0u32..).zip(&self.records).map(|(index, _)| index));
        }
        Ok(())
    }
}

/// The name of record `index`. Every position was walked, so there always is one.
fn name_of<'a>(copy: &'a [u8], records: &[u32], index: u32) -> &'a [u8] {
    let record = records.get(index as usize).copied().unwrap_or(u32::MAX);
    string_at(copy, record as usize).unwrap_or_default()
}
