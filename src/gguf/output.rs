//! The layout of a file that is written, and the three places where it can go: any stream, memory, a path.

use super::cursor::HARD_LIMIT;
use super::writer::{Maker, OUT_OF_MEMORY, TensorData, Writer};
use super::{MAGIC, replace};
use crate::error::{Error, Result, error};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

impl Writer<'_> {
    /// Size of the file in bytes, as it would be written now.
    ///
    /// # Errors
    /// `Shape` where it is 2^64 or more; `Limit` where the metadata and the directory of the tensors have 4 GiB or more,
    /// which is not read.
    pub fn size_bytes(&self) -> Result<u64> {
        const TOO_LARGE: fn() -> Error = || error!(Shape, "the file has 2^64 bytes or more");
        let header = MAGIC.len().saturating_add(4 + 8 + 8) as u64;
        let entries = self.metadata.iter().map(|(key, entry)| {
            let value = entry.value.bytes().len() as u64;
            (key.len() as u64).saturating_add(value).saturating_add(8)
        });
        let records = self.tensors.iter().map(|(name, tensor)| {
            let dims = (tensor.dims().len() as u64).saturating_mul(8);
            (name.len() as u64).saturating_add(dims).saturating_add(8 + 4 + 4 + 8)
        });
        let metadata = entries.chain(records).fold(header, u64::saturating_add);
        if metadata > HARD_LIMIT {
            return Err(
                error!(Limit at metadata, "the metadata to be written end there, at most {HARD_LIMIT} bytes are read"),
            );
        }
        let alignment = u64::from(self.alignment);
        let start = metadata.checked_next_multiple_of(alignment);
        self.tensors.values().try_fold(start.ok_or_else(TOO_LARGE)?, |end, tensor| {
            let end = end.checked_add(tensor.data.size_bytes());
            end.and_then(|end| end.checked_next_multiple_of(alignment)).ok_or_else(TOO_LARGE)
        })
    }

    /// The file as bytes. Errors as for [`Writer::write_to`].
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let size = usize::try_from(self.size_bytes()?).map_err(|_| OUT_OF_MEMORY)?;
        out.try_reserve_exact(size).map_err(|_| OUT_OF_MEMORY)?;
        self.write_to(&mut out)?;
        Ok(out)
    }

    /// Writes the file to the start of `out` and returns its size. `BufferTooSmall`, and nothing is written, where `out`
    /// is shorter than [`Writer::size_bytes`]; else errors as for [`Writer::write_to`].
    pub fn write_to_slice(&self, mut out: &mut [u8]) -> Result<usize> {
        let (size, room) = (self.size_bytes()?, out.len());
        match usize::try_from(size) {
            Ok(size) if size <= room => {
                self.write_to(&mut out)?;
                Ok(size)
            }
            _ => Err(error!(BufferTooSmall, "the file has {size} bytes, the buffer {room}")),
        }
    }

    /// Writes the file at `path`. It is written beside it, brought to the disk, and then takes the name: whatever goes
    /// wrong, `path` is what it was before or the whole file, and a file that was there stays whole for those who have
    /// it open, the source of the tensors included.
    ///
    /// The file has the permissions of a new one.
    ///
    /// # Errors
    /// `InvalidArgument` where `path` has no file name or something other than a regular file is there (a symbolic link
    /// as well: it is not clear which of the two would be meant). `Io` where the operating system refuses; else as for
    /// [`Writer::write_to`].
    pub fn write_file(&self, path: &Path) -> Result<()> {
        self.size_bytes()?;
        replace::replace(path, |file| self.write_to(file))
    }

    /// Writes the file to `out`, in pieces of some KiB and each tensor at once: no buffered writer is needed.
    ///
    /// # Errors
    /// `Io` where `out` fails; `OutOfMemory`; and those of [`Writer::size_bytes`].
    pub fn write_to(&self, out: impl Write) -> Result<()> {
        self.size_bytes()?;
        let metadata = ordered(&self.metadata, |entry| entry.order)?;
        let tensors = ordered(&self.tensors, |tensor| tensor.order)?;
        let mut out = Output::new(out);
        out.write(MAGIC)?;
        out.write(&self.version.to_le_bytes())?;
        out.write(&(tensors.len() as u64).to_le_bytes())?;
        out.write(&(metadata.len() as u64).to_le_bytes())?;
        for (key, entry) in metadata {
            out.string(key)?;
            out.write(entry.value.bytes())?;
        }
        let mut offset = 0u64;
        for (name, tensor) in &tensors {
            out.string(name)?;
            out.write(&(tensor.dims().len() as u32).to_le_bytes())?;
            tensor.dims().iter().try_for_each(|dim| out.write(&dim.to_le_bytes()))?;
            out.write(&tensor.tensor_type.id().to_le_bytes())?;
            out.write(&offset.to_le_bytes())?;
            // Neither saturates: `size_bytes` added up the same.
            let end = offset.saturating_add(tensor.data.size_bytes());
            offset = end.checked_next_multiple_of(self.alignment.into()).unwrap_or(end);
        }
        out.pad(self.alignment)?;
        for (name, tensor) in &tensors {
            match tensor.data {
                TensorData::Borrowed(bytes) => out.write(bytes)?,
                TensorData::Made(size, make) => out.made(name, size, make)?,
            }
            // Behind the last tensor too: llama.cpp reads it whole.
            out.pad(self.alignment)?;
        }
        out.finish()
    }

    /// The data of all tensors that is borrowed, in any order.
    pub(crate) fn borrowed(&self) -> impl Iterator<Item = &[u8]> {
        self.tensors.values().filter_map(|tensor| match tensor.data {
            TensorData::Borrowed(bytes) => Some(bytes),
            TensorData::Made(..) => None,
        })
    }
}

/// The named things of a map, in order.
fn ordered<T>(map: &HashMap<Box<str>, T>, order: impl Fn(&T) -> u64) -> Result<Vec<(&str, &T)>> {
    let mut all: Vec<(&str, &T)> = Vec::new();
    all.try_reserve_exact(map.len()).map_err(|_| OUT_OF_MEMORY)?;
    all.extend(map.iter().map(|(name, item)| (&**name, item)));
    all.sort_unstable_by_key(|(_, item)| order(item));
    Ok(all)
}

/// Gathers small writes without taking memory, and counts bytes.
struct Output<W: Write> {
    out: W,
    written: u64,
    buffer: [u8; 8192],
    used: usize,
}

impl<W: Write> Output<W> {
    fn new(out: W) -> Self {
        Output { out, written: 0, buffer: [0; 8192], used: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.buffer.len().saturating_sub(self.used) < bytes.len() {
            self.flush()?;
        }
        let end = self.used.saturating_add(bytes.len());
        match self.buffer.get_mut(self.used..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.used = end;
                Ok(())
            }
            None => self.out.write_all(bytes).map_err(io_error),
        }
    }

    /// Has `size` bytes made: neither more nor fewer, whatever the maker does.
    fn made(&mut self, name: &str, size: u64, make: &Maker<'_>) -> Result<()> {
        let wrong = |made: u64| error!(Shape, "tensor {name:?}: {made} bytes or more were made, {size} are wanted");
        let mut left = size;
        make(&mut |bytes| {
            let rest = left.checked_sub(bytes.len() as u64);
            left = rest.ok_or_else(|| wrong(size.saturating_sub(left).saturating_add(bytes.len() as u64)))?;
            self.write(bytes)
        })?;
        if left == 0 { Ok(()) } else { Err(wrong(size.saturating_sub(left))) }
    }

    fn string(&mut self, string: &str) -> Result<()> {
        self.write(&(string.len() as u64).to_le_bytes())?;
        self.write(string.as_bytes())
    }

    fn pad(&mut self, alignment: u32) -> Result<()> {
        const ZEROS: [u8; 64] = [0; 64];
        // `size_bytes` came as far without a `None`.
        let target = self.written.checked_next_multiple_of(alignment.into()).unwrap_or(self.written);
        while let Some(missing @ 1..) = target.checked_sub(self.written) {
            self.write(ZEROS.get(..missing as usize).unwrap_or(&ZEROS))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let filled = self.buffer.get(..self.used).unwrap_or_default();
        self.used = 0;
        self.out.write_all(filled).map_err(io_error)
    }

    fn finish(mut self) -> Result<()> {
        self.flush()?;
        self.out.flush().map_err(io_error)
    }
}

fn io_error(source: io::Error) -> Error {
    Error::Io { action: "write the file", source }
}
