//! Where a file's bytes come from: a mapped file, a copy of it, or memory. With `system`, the only place of `gguf` with
//! unsafe code. Knows nothing of the format.
//!
//! Opening reads the metadata with `pread` into a private copy and maps the file only when that copy proved valid: what
//! was checked can then never change, whatever happens to the file.

use super::system::SystemPath;
use crate::error::{Error, Result, error};
use memmap2::{Mmap, MmapMut, MmapOptions};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file while it is being parsed: sequential reads into a private copy.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    /// An open regular file and its size in bytes when it was opened.
    File(&'a fs::File, u64),
    /// Bytes of the caller.
    Memory(&'a [u8]),
}

impl Input<'_> {
    /// Size in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Input::File(_, size) => *size,
            Input::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Reads the bytes from `offset` on, as many as `out` has.
    pub(super) fn read(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        match self {
            Input::File(file, _) => read_at(file, offset as u64, out),
            Input::Memory(bytes) => {
                let bytes = bytes.get(offset..).and_then(|rest| rest.get(..out.len()));
                out.copy_from_slice(bytes.ok_or(Error::Internal("a read outside of the file"))?);
                Ok(())
            }
        }
    }
}

/// As `read_exact_at`, but a file that has become shorter is an error of its own.
fn read_at(file: &fs::File, mut offset: u64, mut out: &mut [u8]) -> Result<()> {
    while !out.is_empty() {
        match file.read_at(out, offset) {
            Ok(0) => return Err(error!(Truncated at offset, "the file became shorter while it was opened")),
            Ok(read) => {
                out = out.split_at_mut_checked(read).map_or(&mut [], |(_, rest)| rest);
                offset = offset.saturating_add(read as u64);
            }
            Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Io { action: "read the file", source }),
        }
    }
    Ok(())
}

/// Makes an anonymous mapping longer or shorter, at another address if need be.
#[cfg(target_os = "linux")]
pub(super) fn remap(map: &mut MmapMut, bytes: usize) -> io::Result<()> {
    // SAFETY: the exclusive borrow shows that nobody holds an address in the mapping, and an anonymous one has no file
    // that could end before it does.
    unsafe { map.remap(bytes, memmap2::RemapOptions::new().may_move(true)) }
}

/// The bytes of an open file.
pub(super) enum Source {
    /// The whole file, mapped read-only.
    Mapped(Mmap),
    /// A copy of the whole file, read-only as well.
    Copied(Mmap),
    /// Memory of ours.
    Owned(Vec<u8>),
    /// Memory that outlives us.
    Borrowed(&'static [u8]),
}

impl Source {
    /// Maps `size` bytes of `file`; at least one.
    pub(super) fn map(file: &fs::File, size: u64) -> Result<Source> {
        let io = |source| Error::Io { action: "map the file", source };
        let size = usize::try_from(size).map_err(|_| io(io::Error::from(io::ErrorKind::FileTooLarge)))?;
        // SAFETY: the mapping is read-only and its bytes are only ever read as plain numbers, for which any value is
        // valid. Nothing that was checked is read from it again (see the top of this file). Another process that
        // shortens the file makes later reads of tensor data fault: documented at `File::open`.
        let map = unsafe { MmapOptions::new().len(size).map(file) }.map_err(io)?;
        Ok(Source::Mapped(map))
    }

    /// Copies all of `input`, which is not empty. The copy is a mapping of its own, so that a file larger than the memory
    /// is refused where the system keeps count, and read-only, so that tensors can't be written to either way.
    pub(super) fn copy(input: &Input<'_>) -> Result<Source> {
        const OUT_OF_MEMORY: Error = Error::OutOfMemory("the copy of the file");
        let size = usize::try_from(input.size_bytes()).map_err(|_| OUT_OF_MEMORY)?;
        let mut copy = MmapMut::map_anon(size).map_err(|_| OUT_OF_MEMORY)?;
        input.read(0, &mut copy)?;
        Ok(Source::Copied(copy.make_read_only().map_err(|_| OUT_OF_MEMORY)?))
    }

    /// All bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Source::Mapped(map) | Source::Copied(map) => map,
            Source::Owned(bytes) => bytes,
            Source::Borrowed(bytes) => bytes,
        }
    }
}

/// Opens the regular file at `path`: it and what the system knows of it. Whatever lies there, this never blocks.
pub(super) fn open_regular(path: &Path) -> Result<(fs::File, fs::Metadata)> {
    let not_regular = || error!(InvalidArgument, "{path:?} is not a regular file");
    // Without O_NONBLOCK, opening a FIFO waits for its writer. It has no effect on regular files.
    let opened = SystemPath::new(path)?.open(libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = opened.map_err(|source| match source.raw_os_error() {
        // Sockets, and devices without a driver.
        Some(libc::ENXIO | libc::ENODEV) => not_regular(),
        _ => Error::Io { action: "open the file", source },
    })?;
    let metadata = file.metadata().map_err(|source| Error::Io { action: "ask for the file's size", source })?;
    if !metadata.is_file() {
        return Err(not_regular());
    }
    Ok((file, metadata))
}

/// `shrink_to_fit` that keeps the larger allocation where the smaller one is refused; std's aborts the process then.
pub(super) fn shrink<T: Copy>(vector: Vec<T>) -> Vec<T> {
    use std::alloc::{Layout, realloc};
    let (length, capacity) = (vector.len(), vector.capacity());
    if length == 0 || size_of::<T>() == 0 {
        return Vec::new();
    }
    let (Ok(old), Ok(new)) = (Layout::array::<T>(capacity), Layout::array::<T>(length)) else {
        return vector;
    };
    if length == capacity {
        return vector;
    }
    let mut vector = std::mem::ManuallyDrop::new(vector);
    // SAFETY: the pointer is the vector's allocation, made by the global allocator with the layout of `capacity`
    // elements; the new size is not zero.
    let moved = unsafe { realloc(vector.as_mut_ptr().cast(), old, new.size()) }.cast::<T>();
    if moved.is_null() {
        // `realloc` left the old allocation alone.
        return std::mem::ManuallyDrop::into_inner(vector);
    }
    // SAFETY: `moved` holds the first `length` elements, its allocation is exactly that large, and the old vector is
    // never dropped.
    unsafe { Vec::from_raw_parts(moved, length, length) }
}
