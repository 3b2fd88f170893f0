//! `gguffuse_writer`: making GGUF files. Their metadata: `writer_metadata`.

use super::arguments::{self, Out, Struct, read_struct};
use super::file::path_of;
use super::guard;
use super::handles::{Ref, Table};
use super::status::gguffuse_status;
use crate::blocks::TensorType;
use crate::error::{Error, Result, error};
use crate::gguf::Writer;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::without_provenance_mut;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

/// A GGUF file that is being made. A handle, not an address: it is never dereferenced. NULL, freed, or foreign handles
/// give GGUFFUSE_ERROR_INVALID_HANDLE. Any thread may use it at any time without a lock; a call that meets another
/// thread's call that changes the same writer, or that would change a writer that is being written, gives
/// GGUFFUSE_ERROR_BUSY at once: no call waits for another.
pub struct gguffuse_writer {
    _opaque: [u8; 0],
}

/// Tried, never waited for: a lock that a fork left behind locked keeps nobody waiting.
type Locked = RwLock<Writer<'static>>;

static WRITERS: Table<Locked> = Table::new(3, "writer is not a live writer");

/// The writer of a handle, for the rest of the call.
pub(super) fn lookup(writer: *mut gguffuse_writer) -> Result<Ref<'static, Locked>> {
    WRITERS.acquire(writer.addr())
}

/// To change the writer.
pub(super) fn exclusive(writer: &Locked) -> Result<RwLockWriteGuard<'_, Writer<'static>>> {
    writer.try_write().map_err(refused)
}

/// To write the file.
fn shared(writer: &Locked) -> Result<RwLockReadGuard<'_, Writer<'static>>> {
    writer.try_read().map_err(refused)
}

#[cold]
fn refused<G>(why: TryLockError<G>) -> Error {
    match why {
        TryLockError::WouldBlock => Error::Busy("another call is using the writer"),
        TryLockError::Poisoned(_) => Error::Internal("a call on this writer panicked"),
    }
}

/// How to make a writer. Set struct_size to sizeof(gguffuse_writer_options) and all else to 0, then what you need.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct gguffuse_writer_options {
    /// sizeof(gguffuse_writer_options).
    pub struct_size: usize,
    /// GGUF version of the file, 2 or 3. 0: 3.
    pub version: u32,
    /// Alignment of the data section and of every tensor, in bytes: a power of two, written as the metadata entry
    /// general.alignment. 0: 32, without that entry.
    pub alignment: u32,
}

// SAFETY: repr(C), struct_size first, plain numbers.
unsafe impl Struct for gguffuse_writer_options {}

/// Makes a writer of a file without metadata and tensors. `options`: NULL for defaults. `out`: receives the handle, on
/// success only; give it back with gguffuse_writer_free.
///
/// Entries and tensors are written in the order in which they were added. A call that fails leaves the writer as it was.
///
/// Errors: GGUFFUSE_ERROR_UNSUPPORTED_VERSION, _INVALID_ARGUMENT (options, alignment), _NULL_ARGUMENT, _MISALIGNED,
/// _OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_new(
    options: *const gguffuse_writer_options,
    out: *mut *mut gguffuse_writer,
) -> gguffuse_status {
    guard(|| {
        let defaults =
            gguffuse_writer_options { struct_size: size_of::<gguffuse_writer_options>(), version: 0, alignment: 0 };
        // SAFETY: the caller's word for its pointers.
        let (options, out) = unsafe { (read_struct(options, defaults, "options")?, Out::new(out, "out")?) };
        let mut writer = Writer::new();
        if options.version != 0 {
            writer.version(options.version)?;
        }
        if options.alignment != 0 {
            writer.alignment(options.alignment)?;
        }
        out.write(without_provenance_mut(WRITERS.insert(RwLock::new(writer))?));
        Ok(())
    })
}

/// Frees a writer, written or not. Returns at once: calls of other threads that are using it finish, and its memory goes
/// with the last of them.
///
/// NULL is OK. A writer that is freed already gives GGUFFUSE_ERROR_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_writer_free(writer: *mut gguffuse_writer) -> gguffuse_status {
    guard(|| if writer.is_null() { Ok(()) } else { WRITERS.close(writer.addr()) })
}

/// Adds a tensor. The data is borrowed, not copied: the library reads it whenever the file is written, so it must stay
/// there until the writer is freed and all calls that use it have returned. It may be the data of a tensor of an open
/// file (gguffuse_tensor_info), which then must stay open as long.
///
/// `name`: NUL-terminated UTF-8 of at most 64 bytes. `type`: ggml's number. `dims`: `n_dims` dimensions, 0 to 4, the
/// fastest first (k, then n); NULL is allowed for none. `data`: `size` bytes at any alignment, exactly what type and
/// dimensions make: gguffuse_row_size of dims[0], times all other dimensions; NULL is allowed for none.
///
/// Errors: GGUFFUSE_ERROR_INVALID_ARGUMENT (name, a name that is there already, n_dims), _UNSUPPORTED_TYPE, _SHAPE (rows
/// that aren't whole blocks, or another size), _INVALID_HANDLE, _NULL_ARGUMENT, _MISALIGNED (dims), _BUSY,
/// _OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_add_tensor(
    writer: *mut gguffuse_writer,
    name: *const c_char,
    r#type: u32,
    n_dims: u32,
    dims: *const u64,
    data: *const c_void,
    size: usize,
) -> gguffuse_status {
    guard(|| {
        let writer = lookup(writer)?;
        // SAFETY: the caller's word for its pointer.
        let name = utf8(unsafe { arguments::string(name, "name") }?, "name")?;
        let tensor_type = TensorType::require(r#type)?;
        if n_dims > 4 {
            return Err(error!(InvalidArgument, "n_dims is {n_dims}, at most 4 are allowed"));
        }
        let dims = match n_dims {
            0 => &[],
            // SAFETY: the caller's word for its pointer and length.
            _ => unsafe { arguments::slice(dims, n_dims as usize, "dims") }?,
        };
        let data = match (data.is_null(), size) {
            (true, 0) => &[],
            // SAFETY: the caller's word. As 'static: it stays until the writer is freed, the header says, and the writer
            // hands nothing out.
            _ => unsafe { arguments::bytes(data, size, "data") }?,
        };
        exclusive(&writer)?.tensor(name, tensor_type, dims, data)?;
        Ok(())
    })
}

/// The size in bytes of the file as it would be written now.
///
/// Errors: GGUFFUSE_ERROR_LIMIT (metadata of 4 GiB or more, which isn't read), _SHAPE (2^64 bytes or more),
/// _INVALID_HANDLE, _NULL_ARGUMENT, _MISALIGNED, _BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_size(writer: *mut gguffuse_writer, bytes: *mut u64) -> gguffuse_status {
    guard(|| {
        let writer = lookup(writer)?;
        // SAFETY: the caller's word for its pointer.
        let out = unsafe { Out::new(bytes, "bytes") }?;
        out.write(shared(&writer)?.size_bytes()?);
        Ok(())
    })
}

/// Writes the file to the start of `buffer`, which has room for `capacity` bytes, and its size to `written`. Bytes past
/// the file are not touched. The writer stays as it is: it may be added to and written again.
///
/// Errors, nothing is written: GGUFFUSE_ERROR_BUFFER_TOO_SMALL (gguffuse_writer_size tells the size), _ALIASING (the
/// buffer overlaps a tensor's data), _OUT_OF_MEMORY, and those of gguffuse_writer_size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_write_memory(
    writer: *mut gguffuse_writer,
    buffer: *mut c_void,
    capacity: usize,
    written: *mut usize,
) -> gguffuse_status {
    guard(|| {
        let writer = lookup(writer)?;
        // SAFETY: the caller's word for its pointer.
        let written = unsafe { Out::new(written, "written") }?;
        let buffer = buffer.cast::<u8>();
        let writer = shared(&writer)?;
        if writer.borrowed().any(|data| arguments::overlap(data, buffer, capacity)) {
            return Err(Error::Aliasing("buffer overlaps the data of a tensor"));
        }
        // SAFETY: the caller's word, and no overlap with what we read.
        let buffer = unsafe { arguments::slice_mut(buffer, capacity, "buffer") }?;
        written.write(writer.write_to_slice(buffer)?);
        Ok(())
    })
}

/// Writes the file at `path` (NUL-terminated, in the file system's encoding). It is written under another name in the
/// same directory, brought to the disk, and then renamed: whatever goes wrong, `path` is what it was before or the whole
/// file. A file that was there is replaced, and stays whole for those who have it open: a file may be edited by copying
/// its metadata and tensors and writing it under its own name. The writer stays as it is.
///
/// Errors: GGUFFUSE_ERROR_IO, _INVALID_ARGUMENT (something other than a regular file is at path: a directory, a device, a
/// symbolic link), _OUT_OF_MEMORY, and those of gguffuse_writer_size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_write_file(
    writer: *mut gguffuse_writer,
    path: *const c_char,
) -> gguffuse_status {
    guard(|| {
        let writer = lookup(writer)?;
        // SAFETY: the caller's word for its pointer.
        let path = path_of(unsafe { arguments::string(path, "path") }?)?;
        shared(&writer)?.write_file(path)
    })
}

/// The text of a name or key.
pub(super) fn utf8<'a>(text: &'a CStr, name: &'static str) -> Result<&'a str> {
    text.to_str().map_err(|wrong| error!(InvalidArgument, "{name} isn't UTF-8: {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gguffuse_status::*;
    use std::ptr::null;

    #[test]
    fn a_writer_in_use_is_busy_and_nobody_waits() {
        let mut writer = without_provenance_mut(0);
        let mut bytes = 77;
        // SAFETY: pointers to locals; a handle.
        unsafe {
            assert_eq!(gguffuse_writer_new(null(), &mut writer), GGUFFUSE_OK);
            let locked = lookup(writer).unwrap();
            let reading = shared(&locked).unwrap();
            assert_eq!(gguffuse_writer_size(writer, &mut bytes), GGUFFUSE_OK, "two may read");
            assert_eq!(bytes, 32);
            let add = || gguffuse_writer_add_tensor(writer, c"t".as_ptr(), 24, 0, null(), c"1".as_ptr().cast(), 1);
            assert_eq!(add(), GGUFFUSE_ERROR_BUSY);
            drop(reading);
            assert_eq!(add(), GGUFFUSE_OK);
            let writing = exclusive(&locked).unwrap();
            assert_eq!(gguffuse_writer_size(writer, &mut bytes), GGUFFUSE_ERROR_BUSY);
            assert_eq!(gguffuse_writer_write_file(writer, c"/nowhere/file".as_ptr()), GGUFFUSE_ERROR_BUSY);
            assert_eq!(gguffuse_writer_free(writer), GGUFFUSE_OK, "goes with its last user");
            drop(writing);
            assert_eq!(gguffuse_writer_size(writer, &mut bytes), GGUFFUSE_ERROR_INVALID_HANDLE);
            assert_eq!(bytes, 32);
        }
    }

    #[test]
    fn a_writer_that_a_panic_left_is_not_used() {
        let mut writer = without_provenance_mut(0);
        // SAFETY: a pointer to a local; a handle.
        unsafe {
            assert_eq!(gguffuse_writer_new(null(), &mut writer), GGUFFUSE_OK);
            let panicking = guard(|| {
                let writer = lookup(writer)?;
                let _writing = exclusive(&writer)?;
                panic!("half done")
            });
            assert_eq!(panicking, GGUFFUSE_ERROR_INTERNAL);
            assert_eq!(gguffuse_writer_write_file(writer, c"/nowhere/file".as_ptr()), GGUFFUSE_ERROR_INTERNAL);
            assert_eq!(gguffuse_writer_free(writer), GGUFFUSE_OK);
        }
    }
}
