//! The tensor directory of a file: walking it once, checking every extent, and finding tensors afterwards. Knows no
//! weights: of a type only its block size.

use super::cursor::{Cursor, Described, Item, array_at, end_of, framing_u32_at, name_at, name_with_nul_at, string_at};
use super::names::Names;
use crate::blocks::TensorType;
use crate::error::{Error, Result, error};

/// The longest tensor name that the format allows, in bytes.
pub(super) const LONGEST_NAME: u64 = 64;
/// The most dimensions that the format allows.
pub(super) const MOST_DIMENSIONS: u32 = 4;
/// Bytes of the smallest record: name length, number of dimensions, type and offset.
pub(super) const SMALLEST_RECORD: u64 = 24;

/// One tensor of a file.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Name; valid UTF-8 without NUL.
    pub name: &'a str,
    /// Name and one NUL. For C: the pointer stays valid as long as the file is open.
    pub name_with_nul: &'a str,
    /// Type of the elements.
    pub tensor_type: TensorType,
    /// Number of dimensions, 0 to 4.
    pub n_dims: u32,
    /// Dimensions, the fastest first: `dims[0]` is k, `dims[1]` n. Unused ones are 1.
    pub dims: [u64; 4],
    /// Offset as stored: in bytes from the start of the data section.
    pub relative_offset: u64,
    /// Offset in bytes from the start of the file: data section start + relative offset.
    pub absolute_offset: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The tensor's bytes, read-only.
    pub data: &'a [u8],
}

/// Where the data section lies in the file.
#[derive(Clone, Copy)]
pub(super) struct DataSection {
    /// Byte offset in the file.
    pub(super) start: u64,
    /// Bytes from there to the end of the file.
    pub(super) size_bytes: u64,
    /// What offsets are multiples of: a power of two.
    pub(super) alignment: u32,
}

/// A directory record, decoded.
struct Record {
    n_dims: u32,
    dims: [u64; 4],
    type_id: u32,
    relative_offset: u64,
    /// Positions of the fields, for messages.
    dims_at: u64,
    type_at: u64,
    offset_at: u64,
}

impl Record {
    /// The record at `position` of the copy.
    fn at(copy: &[u8], position: u32) -> Result<Record> {
        let name = string_at(copy, position as usize)?.len() as u64;
        let n_dims_at = end_of(end_of(position as usize, 8)?, name)?;
        let n_dims = framing_u32_at(copy, n_dims_at)?;
        let dims_at = end_of(n_dims_at, 4)?;
        let mut at = dims_at;
        let mut dims = [1; MOST_DIMENSIONS as usize];
        for dim in dims.iter_mut().take(n_dims as usize) {
            *dim = u64::from_le_bytes(array_at(copy, at)?);
            at = end_of(at, 8)?;
        }
        let offset_at = end_of(at, 4)?;
        Ok(Record {
            n_dims,
            dims,
            type_id: u32::from_le_bytes(array_at(copy, at)?),
            relative_offset: u64::from_le_bytes(array_at(copy, offset_at)?),
            dims_at: dims_at as u64,
            type_at: at as u64,
            offset_at: offset_at as u64,
        })
    }

    fn tensor_type(&self) -> Option<TensorType> {
        TensorType::from_id(self.type_id)
    }

    /// Size in bytes; `None` from 2^64 on. The one place where dimensions are multiplied.
    fn size_bytes(&self) -> Option<u64> {
        size_bytes(self.tensor_type()?, &self.dims)
    }
}

/// Size in bytes of a tensor; `None` from 2^64 on, or if rows are not whole blocks. With a dimension of 0 it is 0,
/// however large the others are.
pub(super) fn size_bytes(tensor_type: TensorType, dims: &[u64]) -> Option<u64> {
    if dims.contains(&0) {
        return Some(0);
    }
    let (row, rows) = match dims.split_first() {
        Some((k, rows)) => (*k, rows),
        None => (1, dims),
    };
    let row = tensor_type.row_size(row).ok()?;
    rows.iter().try_fold(row, |size, dim| size.checked_mul(*dim))
}

/// The directory of the tensors. Positions in the copy, nothing else.
#[derive(Default)]
pub(super) struct Tensors {
    names: Names,
}

impl Tensors {
    /// Walks `count` records. What they say is checked by [`Tensors::check`], as the data section is not known yet.
    pub(super) fn walk(cursor: &mut Cursor<'_>, count: u64) -> Result<Tensors> {
        let mut tensors = Tensors::default();
        for index in 0..count {
            cursor.item = Item::Tensor(index, None);
            let record = cursor.name(LONGEST_NAME, "the name")?;
            cursor.item = Item::Tensor(index, Some(record));
            let at = cursor.offset();
            let n_dims = cursor.framing_u32("the number of dimensions")?;
            if n_dims > MOST_DIMENSIONS {
                let here = cursor.here();
                return Err(
                    error!(Limit at at, "{here}: it has {n_dims} dimensions, at most {MOST_DIMENSIONS} are allowed"),
                );
            }
            for _ in 0..n_dims {
                cursor.u64("a dimension")?;
            }
            cursor.u32("the type")?;
            cursor.u64("the offset")?;
            tensors.names.push(record)?;
        }
        Ok(tensors)
    }

    /// Checks each tensor and that none overlap, and orders them by name.
    pub(super) fn check(&mut self, copy: &[u8], data: DataSection) -> Result<()> {
        for index in 0..self.names.len() {
            let position = self.position(index)?;
            check_record(copy, Item::Tensor(index, Some(position)), &Record::at(copy, position)?, data)?;
        }
        self.check_overlaps(copy)?;
        let Some((first, second)) = self.names.sort(copy)? else {
            return Ok(());
        };
        let position = self.names.get(second.into());
        let here = Described(Item::Tensor(second.into(), position), copy);
        Err(error!(BadFormat at position.unwrap_or(0).into(), "{here}: tensor {first} has the same name"))
    }

    fn check_overlaps(&mut self, copy: &[u8]) -> Result<()> {
        let offset = |position| Record::at(copy, position).map_or(0, |record| record.relative_offset);
        self.names.sort_by_key(offset)?;
        let mut end = 0;
        let mut before = Item::Header;
        for index in self.names.sorted() {
            let position = self.position(u64::from(*index))?;
            let item = Item::Tensor(u64::from(*index), Some(position));
            let record = Record::at(copy, position)?;
            let size = record.size_bytes().unwrap_or(0);
            if size == 0 {
                continue;
            }
            if record.relative_offset < end {
                let (here, before) = (Described(item, copy), Described(before, copy));
                let start = record.relative_offset;
                return Err(error!(
                    BadFormat at record.offset_at,
                    "{here}: it begins at byte {start} of the data section, before {before} ends at byte {end}"
                ));
            }
            end = record.relative_offset.saturating_add(size);
            before = item;
        }
        Ok(())
    }

    /// Number of tensors.
    pub(super) fn count(&self) -> u64 {
        self.names.len()
    }

    /// The index of the tensor called `name`.
    pub(super) fn find(&self, copy: &[u8], name: &str) -> Result<u64> {
        let found = self.names.find(copy, name.as_bytes());
        found.ok_or_else(|| error!(NotFound, "tensor {name:?}"))
    }

    fn position(&self, index: u64) -> Result<u32> {
        let count = self.count();
        self.names.get(index).ok_or_else(|| error!(NotFound, "tensor {index} of {count}"))
    }

    /// Tensor `index`. `file` is the whole file.
    pub(super) fn get<'a>(&self, copy: &'a [u8], file: &'a [u8], data_start: u64, index: u64) -> Result<Tensor<'a>> {
        const UNCHECKED: Error = Error::Internal("a tensor that was not checked");
        let position = self.position(index)?;
        let record = Record::at(copy, position)?;
        let size_bytes = record.size_bytes().ok_or(UNCHECKED)?;
        let absolute_offset = data_start.saturating_add(record.relative_offset);
        let data = match size_bytes {
            // Its offset may lie behind the end of a file that has nothing else in the data section.
            0 => &[],
            _ => {
                let start = usize::try_from(absolute_offset).map_err(|_| UNCHECKED)?;
                file.get(start..end_of(start, size_bytes)?).ok_or(UNCHECKED)?
            }
        };
        Ok(Tensor {
            name: name_at(copy, position)?,
            name_with_nul: name_with_nul_at(copy, position)?,
            tensor_type: record.tensor_type().ok_or(UNCHECKED)?,
            n_dims: record.n_dims,
            dims: record.dims,
            relative_offset: record.relative_offset,
            absolute_offset,
            size_bytes,
            data,
        })
    }
}

/// Checks type, shape and extent of one tensor.
fn check_record(copy: &[u8], item: Item, record: &Record, data: DataSection) -> Result<()> {
    let here = Described(item, copy);
    let tensor_type = TensorType::require(record.type_id).map_err(|why| match why {
        Error::UnsupportedType(why) => error!(UnsupportedType, "{here}, byte {}: {why}", record.type_at),
        other => other,
    })?;
    let [k, ..] = record.dims;
    let (block, type_name) = (tensor_type.block_elements(), tensor_type.name());
    if !k.is_multiple_of(block as u64) {
        return Err(error!(
            BadFormat at record.dims_at,
            "{here}: its rows have {k} elements, not a multiple of the {block} of a {type_name} block"
        ));
    }
    let Some(size) = record.size_bytes() else {
        let dims = record.dims;
        return Err(
            error!(Truncated at record.dims_at, "{here}: {dims:?} {type_name} elements have 2^64 bytes or more"),
        );
    };
    let (start, alignment) = (record.relative_offset, data.alignment);
    if !start.is_multiple_of(alignment.into()) {
        return Err(error!(
            BadFormat at record.offset_at,
            "{here}: the offset {start} is not a multiple of the alignment {alignment}"
        ));
    }
    let fits = data.size_bytes.checked_sub(start).is_some_and(|left| size <= left);
    if !fits {
        return Err(error!(
            Truncated at record.offset_at,
            "{here}: {size} bytes at byte {start} of the data section, which has {}",
            data.size_bytes
        ));
    }
    Ok(())
}
