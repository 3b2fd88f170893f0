//! Bounds-checked reads: the [`Cursor`] that walks a file's metadata once while it is opened, and the functions that
//! read the walked copy afterwards. Knows integers, strings and names, but neither metadata values nor tensors.
//!
//! # The private copy
//! The metadata is read, in growing steps, into one private buffer; positions in it are byte offsets in the file.
//! While walking it, the cursor turns each *framing* integer around in place, from little-endian to big-endian: string
//! lengths, array counts, value types, element types and dimension counts. These are far smaller than the width that
//! they are stored in, so their first byte is then 0; and every string of a GGUF file is followed by one of them, or by
//! the end of the metadata, where one 0 byte is pushed. So every string in the copy is NUL-terminated where it lies, and
//! C can be given pointers to it. All other integers and floats stay little-endian.

use super::copy::PrivateCopy;
use super::source::Input;
use crate::error::{Error, Result, error};
use std::fmt;

/// The first read, and the least that is read at once.
const FIRST_READ: u64 = 32 << 10;
/// The most that is read ahead: what is walked next should still lie in the cache.
const LARGEST_READ_AHEAD: u64 = 256 << 10;
/// Positions are kept as u32.
pub(super) const HARD_LIMIT: u64 = u32::MAX as u64 - 1;

/// What is being read; for messages.
#[derive(Clone, Copy)]
pub(super) enum Item {
    /// The first 24 bytes.
    Header,
    /// A metadata entry, by index; with the position of its key once that is read.
    Metadata(u64, Option<u32>),
    /// A tensor, by index; with the position of its name once that is read.
    Tensor(u64, Option<u32>),
}

/// [`Item`] with the copy that its name lies in.
pub(super) struct Described<'a>(pub(super) Item, pub(super) &'a [u8]);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Described(item, copy) = *self;
        let name = match item {
            Item::Header => return f.write_str("header"),
            Item::Metadata(index, name) => {
                write!(f, "metadata entry {index}")?;
                name
            }
            Item::Tensor(index, name) => {
                write!(f, "tensor {index}")?;
                name
            }
        };
        match name.map(|position| name_at(copy, position)) {
            Some(Ok(name)) => write!(f, " {name:?}"),
            _ => Ok(()),
        }
    }
}

/// Walks a file from its first byte. Every read is checked against the file's size and the metadata limit first.
pub(super) struct Cursor<'a> {
    input: Input<'a>,
    limit: u64,
    copy: PrivateCopy,
    position: usize,
    /// What is being read.
    pub(super) item: Item,
}

impl<'a> Cursor<'a> {
    /// A cursor at byte 0 that never goes further than `limit`.
    pub(super) fn new(input: Input<'a>, limit: u64) -> Self {
        Cursor { input, limit: limit.min(HARD_LIMIT), copy: PrivateCopy::new(), position: 0, item: Item::Header }
    }

    /// Byte offset in the file of the next read.
    pub(super) fn offset(&self) -> u64 {
        self.position as u64
    }

    /// The same as an index into the copy. Never above [`HARD_LIMIT`].
    pub(super) fn position(&self) -> u32 {
        u32::try_from(self.position).unwrap_or(u32::MAX)
    }

    /// Bytes of the file behind the cursor.
    pub(super) fn left(&self) -> u64 {
        self.input.size_bytes().saturating_sub(self.offset())
    }

    /// Size of the file in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.input.size_bytes()
    }

    /// What was read so far, and some more.
    pub(super) fn copy(&self) -> &[u8] {
        &self.copy
    }

    /// What is being read, for a message.
    pub(super) fn here(&self) -> Described<'_> {
        Described(self.item, &self.copy)
    }

    /// The `Truncated` error of `what`, which needs more bytes than there are.
    #[cold]
    fn truncated(&self, needed: impl fmt::Display, what: &str) -> Error {
        let (here, left) = (self.here(), self.left());
        error!(Truncated at self.offset(), "{here}: {what} needs {needed} bytes, {left} are left")
    }

    /// Fails where `count` things of at least `smallest` bytes each cannot fit in the rest of the file, or of what the
    /// metadata may have: before any of them is walked.
    pub(super) fn check_count(&self, count: u64, smallest: u64, what: &str) -> Result<()> {
        let needed = u128::from(count).saturating_mul(smallest.into());
        if needed > self.left().into() {
            return Err(self.truncated(needed, what));
        }
        let end = needed.saturating_add(self.offset().into());
        if end > self.limit.into() {
            return Err(self.beyond_limit(end, what));
        }
        Ok(())
    }

    #[cold]
    fn beyond_limit(&self, end: impl fmt::Display, what: &str) -> Error {
        let (here, limit) = (self.here(), self.limit);
        error!(Limit at self.offset(), "{here}: {what} ends at byte {end}, but the metadata may have {limit}")
    }

    /// Makes sure that the next `bytes` bytes lie in the copy.
    #[cold]
    fn grow(&mut self, bytes: u64, what: &str) -> Result<()> {
        if bytes > self.left() {
            return Err(self.truncated(bytes, what));
        }
        let (size, limit) = (self.input.size_bytes(), self.limit);
        let end = self.offset().saturating_add(bytes);
        if end > limit {
            return Err(self.beyond_limit(end, what));
        }
        let (filled, capacity) = (self.copy.len() as u64, self.copy.capacity() as u64);
        let ahead = filled.saturating_add((filled >> 1).clamp(FIRST_READ, LARGEST_READ_AHEAD));
        let target = ahead.min(size).min(limit).max(end);
        let too_large = |_| Error::OutOfMemory("the copy of the metadata");
        if target > capacity {
            let roomy = capacity.saturating_add(capacity >> 1).min(size).min(limit).max(target);
            self.copy.reserve(usize::try_from(roomy).map_err(too_large)?)?;
        }
        self.copy.append(&self.input, usize::try_from(target).map_err(too_large)?)
    }

    /// The next N bytes, which stay what they are unless `turn` changes them.
    #[inline(always)]
    fn next<const N: usize>(&mut self, what: &str, turn: impl FnOnce(&mut [u8; N])) -> Result<[u8; N]> {
        let position = self.position;
        if position.saturating_add(N) > self.copy.len() {
            self.grow(N as u64, what)?;
        }
        let bytes = self.copy.get_mut(position..).and_then(|rest| rest.first_chunk_mut::<N>());
        let bytes = bytes.ok_or(OUTSIDE)?;
        let before = *bytes;
        turn(bytes);
        self.position = position.saturating_add(N);
        Ok(before)
    }

    /// The next u32; it stays little-endian in the copy.
    pub(super) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.next(what, |_| ())?))
    }

    /// The next u64; it stays little-endian in the copy.
    pub(super) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.next(what, |_| ())?))
    }

    /// The next u32, turned around in the copy (see the top of this file). The caller limits it to less than 2^24.
    #[inline]
    pub(super) fn framing_u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.next(what, |bytes: &mut [u8; 4]| bytes.reverse())?))
    }

    /// The next u64, turned around in the copy (see the top of this file). The caller limits it to less than 2^56.
    #[inline]
    pub(super) fn framing_u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.next(what, |bytes: &mut [u8; 8]| bytes.reverse())?))
    }

    /// Goes over the next `bytes` bytes and returns them.
    #[inline(always)]
    pub(super) fn bytes(&mut self, bytes: u64, what: &str) -> Result<&[u8]> {
        let start = self.position;
        if bytes > self.copy.len().saturating_sub(start) as u64 {
            self.grow(bytes, what)?;
        }
        // No larger than the copy, so neither cut nor saturated.
        let end = start.saturating_add(bytes as usize);
        self.position = end;
        self.copy.get(start..end).ok_or(OUTSIDE)
    }

    /// Goes over a string.
    #[inline(always)]
    pub(super) fn string(&mut self, what: &str) -> Result<()> {
        let length = self.framing_u64(what)?;
        self.bytes(length, what).map(|_| ())
    }

    /// Goes over `count` strings: as [`Cursor::string`] so many times, but those that lie in the copy already without
    /// coming back here for each. Vocabularies have some hundred thousand.
    pub(super) fn strings(&mut self, count: u64, what: &str) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let mut position = self.position;
            let copy: &mut [u8] = &mut self.copy;
            while left > 0
                && let Some((length, rest)) =
                    copy.get_mut(position..).and_then(|rest| rest.split_first_chunk_mut::<8>())
            {
                let bytes = u64::from_le_bytes(*length);
                if bytes > rest.len() as u64 {
                    break;
                }
                length.reverse();
                position = position.saturating_add(8).saturating_add(bytes as usize);
                left = left.saturating_sub(1);
            }
            self.position = position;
            if left > 0 {
                // The next one reaches beyond the copy, or the file.
                self.string(what)?;
                left = left.saturating_sub(1);
            }
        }
        Ok(())
    }

    /// Goes over a name: a string of at most `longest` bytes that is UTF-8 without NUL. Returns its record's position.
    pub(super) fn name(&mut self, longest: u64, what: &str) -> Result<u32> {
        let (record, at) = (self.position(), self.offset());
        let length = self.framing_u64(what)?;
        if length > self.left() {
            return Err(self.truncated(length, what));
        }
        if length > longest {
            let here = self.here();
            return Err(error!(Limit at at, "{here}: {what} has {length} bytes, the longest allowed has {longest}"));
        }
        let start = self.offset();
        let name = self.bytes(length, what)?;
        let wrong = match std::str::from_utf8(name) {
            Err(wrong) => Some((wrong.valid_up_to(), "is not UTF-8")),
            Ok(_) => name.iter().position(|byte| *byte == 0).map(|nul| (nul, "holds a NUL")),
        };
        if let Some((byte, why)) = wrong {
            let here = self.here();
            return Err(error!(BadFormat at start.saturating_add(byte as u64), "{here}: {what} {why}"));
        }
        Ok(record)
    }

    /// The copy, cut where the cursor stands, with the NUL that ends its last string.
    pub(super) fn finish(self) -> Result<PrivateCopy> {
        self.copy.finish(self.position)
    }
}

/// Positions in the copy were all walked once, so this is never seen; but nothing here may panic.
const OUTSIDE: Error = Error::Internal("a position outside of the metadata");

/// The N bytes at `position` of the copy.
#[inline]
pub(super) fn array_at<const N: usize>(copy: &[u8], position: usize) -> Result<[u8; N]> {
    copy.get(position..).and_then(|rest| rest.first_chunk()).copied().ok_or(OUTSIDE)
}

/// The framing u32 at `position` of the copy.
pub(super) fn framing_u32_at(copy: &[u8], position: usize) -> Result<u32> {
    array_at(copy, position).map(u32::from_be_bytes)
}

/// The framing u64 at `position` of the copy.
#[inline]
pub(super) fn framing_u64_at(copy: &[u8], position: usize) -> Result<u64> {
    array_at(copy, position).map(u64::from_be_bytes)
}

/// Where the `bytes` bytes at `position` end.
pub(super) fn end_of(position: usize, bytes: u64) -> Result<usize> {
    let bytes = usize::try_from(bytes).map_err(|_| OUTSIDE)?;
    position.checked_add(bytes).ok_or(OUTSIDE)
}

/// The string at `position` of the copy, with the NUL behind it.
#[inline]
pub(super) fn string_with_nul_at(copy: &[u8], position: usize) -> Result<&[u8]> {
    let length = framing_u64_at(copy, position)?;
    let start = end_of(position, 8)?;
    copy.get(start..=end_of(start, length)?).ok_or(OUTSIDE)
}

/// The string at `position` of the copy.
#[inline]
pub(super) fn string_at(copy: &[u8], position: usize) -> Result<&[u8]> {
    let length = framing_u64_at(copy, position)?;
    let start = end_of(position, 8)?;
    copy.get(start..end_of(start, length)?).ok_or(OUTSIDE)
}

/// The name whose record is at `position` of the copy.
pub(super) fn name_at(copy: &[u8], position: u32) -> Result<&str> {
    std::str::from_utf8(string_at(copy, position as usize)?).map_err(|_| OUTSIDE)
}

/// The same with the NUL behind it.
pub(super) fn name_with_nul_at(copy: &[u8], position: u32) -> Result<&str> {
    std::str::from_utf8(string_with_nul_at(copy, position as usize)?).map_err(|_| OUTSIDE)
}
