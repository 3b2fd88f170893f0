//! `gguffuse_file`: opening, closing, what the file is.

use super::arguments::{self, Out, OutStruct, Struct, read_struct};
use super::guard;
use super::handles::{Ref, Table};
use super::status::gguffuse_status;
use crate::error::{Result, error};
use crate::gguf;
use std::ffi::{CStr, c_char, c_void};
use std::path::Path;
use std::ptr::without_provenance_mut;

/// An open GGUF file. A handle, not an address: it is never dereferenced, and any thread may use it at any time without
/// a lock. NULL, closed, or foreign handles give GGUFFUSE_ERROR_INVALID_HANDLE.
pub struct gguffuse_file {
    _opaque: [u8; 0],
}

static FILES: Table<gguf::File> = Table::new(1, "file is not an open file");

/// The file of a handle, for the rest of the call.
pub(super) fn lookup(file: *mut gguffuse_file) -> Result<Ref<'static, gguf::File>> {
    FILES.acquire(file.addr())
}

/// How to open a file. Set struct_size to sizeof(gguffuse_open_options) and all else to 0, then what you need.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct gguffuse_open_options {
    /// sizeof(gguffuse_open_options).
    pub struct_size: usize,
    /// Largest metadata accepted: all bytes before the data section. More gives GGUFFUSE_ERROR_LIMIT. 0: 256 MiB.
    pub max_metadata_bytes: u64,
    /// 1: copy the whole file to memory, which takes as much of it as the file is long. Nothing that happens to the file,
    /// or to the memory that it was opened from, is seen afterwards. 0: map the file, borrow the memory.
    pub copy: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), struct_size first, plain numbers.
unsafe impl Struct for gguffuse_open_options {}

/// What the function of this name tells; being also a function's, the name needs the word `struct` before it. Set
/// struct_size to sizeof(struct gguffuse_file_info) before the call, and all else to 0.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct gguffuse_file_info {
    /// sizeof(struct gguffuse_file_info).
    pub struct_size: usize,
    /// GGUF version, 2 or 3.
    pub version: u32,
    /// Alignment of the data section and of every tensor, in bytes.
    pub alignment: u32,
    /// Tensors; their indices are 0 to tensor_count - 1.
    pub tensor_count: u64,
    /// Metadata keys; their indices are 0 to metadata_count - 1.
    pub metadata_count: u64,
    /// Where the data section begins, in bytes from the start of the file.
    pub data_offset: u64,
    /// Size of the whole file in bytes.
    pub size_bytes: u64,
}

// SAFETY: repr(C), struct_size first, plain numbers.
unsafe impl Struct for gguffuse_file_info {}

/// Opens the GGUF file at `path` and checks all of its metadata.
///
/// `path`: NUL-terminated, in the file system's encoding (UTF-8 on Windows). `options`: NULL for defaults.
/// `out`: receives the handle, on success only; give it back with gguffuse_file_close.
///
/// The tensors' bytes are mapped, not read, unless options->copy is 1. If another program writes to a mapped file, the
/// tensors change; if one shortens it, reading a tensor whose bytes are gone is a SIGBUS, in this library's calls as well.
/// Metadata are safe from both. Three remedies: replace files by renaming (as gguffuse_writer_write_file does), which an
/// open file doesn't notice; options->copy; gguffuse_file_verify before a tensor is used, which leaves a moment in which
/// the file may still change.
///
/// Errors: GGUFFUSE_ERROR_IO, _BAD_FORMAT, _TRUNCATED, _LIMIT, _UNSUPPORTED_VERSION, _UNSUPPORTED_TYPE, _NULL_ARGUMENT,
/// _INVALID_ARGUMENT (options), _OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_file_open(
    path: *const c_char,
    options: *const gguffuse_open_options,
    out: *mut *mut gguffuse_file,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointers, as the header says.
        let (path, options, out) =
            unsafe { (arguments::string(path, "path")?, read_options(options)?, Out::new(out, "out")?) };
        out.write(issue(gguf::File::open(path_of(path)?, &options)?)?);
        Ok(())
    })
}

/// Opens a GGUF file that lies in memory. Nothing is copied but the metadata: the library reads `data` until the file
/// is closed and all calls that use it have returned, so it must stay there, unchanged, until then. With options->copy
/// all is copied, and `data` isn't used after the call.
///
/// `data`: `size` bytes at any alignment. `options`: NULL for defaults. `out`: as for gguffuse_file_open.
///
/// Errors: as for gguffuse_file_open, except GGUFFUSE_ERROR_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_file_open_memory(
    data: *const c_void,
    size: usize,
    options: *const gguffuse_open_options,
    out: *mut *mut gguffuse_file,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointers. `data` as 'static: it stays until the file is closed, the header
        // says, and the file hands nothing out that is used longer.
        let (data, options, out) =
            unsafe { (arguments::bytes(data, size, "data")?, read_options(options)?, Out::new(out, "out")?) };
        out.write(issue(gguf::File::from_static(data, &options)?)?);
        Ok(())
    })
}

/// Closes a file. Every pointer that the library gave out for it (names, keys, strings, tensor data) is invalid from now
/// on. Returns at once: calls of other threads that are using the file finish as if it were open, and its memory goes
/// with the last of them.
///
/// NULL is OK. A file that is closed already gives GGUFFUSE_ERROR_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_file_close(file: *mut gguffuse_file) -> gguffuse_status {
    guard(|| if file.is_null() { Ok(()) } else { FILES.close(file.addr()) })
}

/// Whether the file on disk is still what was opened: there at the same path, of the same size, and not written to (as
/// far as its time of modification tells). Never raises a signal. For files that were copied or opened from memory it is
/// always GGUFFUSE_OK.
///
/// Errors: GGUFFUSE_ERROR_TRUNCATED (the file is shorter: reading its tensors may be a SIGBUS; metadata may be read, and
/// the file must still be closed), _CHANGED (it was written to, or its path stands for another file or none; its tensors
/// can be read, but in a file that was written to they may be others), _IO (the system doesn't tell), _INVALID_HANDLE,
/// _OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_file_verify(file: *mut gguffuse_file) -> gguffuse_status {
    guard(|| lookup(file)?.verify())
}

/// Version, counts and layout of a file.
///
/// Errors: GGUFFUSE_ERROR_INVALID_HANDLE, _NULL_ARGUMENT, _MISALIGNED, _INVALID_ARGUMENT (struct_size).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_file_info(file: *mut gguffuse_file, out: *mut gguffuse_file_info) -> gguffuse_status {
    guard(|| {
        let file = lookup(file)?;
        // SAFETY: the caller's word for its pointer.
        let out = unsafe { OutStruct::new(out, "out") }?;
        out.write(gguffuse_file_info {
            struct_size: 0,
            version: file.version(),
            alignment: file.alignment(),
            tensor_count: file.tensor_count(),
            metadata_count: file.metadata_count(),
            data_offset: file.data_offset(),
            size_bytes: file.size_bytes(),
        });
        Ok(())
    })
}

fn issue(file: gguf::File) -> Result<*mut gguffuse_file> {
    FILES.insert(file).map(without_provenance_mut)
}

/// # Safety
/// As [`read_struct`].
unsafe fn read_options(options: *const gguffuse_open_options) -> Result<gguf::OpenOptions> {
    let defaults = gguffuse_open_options {
        struct_size: size_of::<gguffuse_open_options>(),
        max_metadata_bytes: 0,
        copy: 0,
        reserved: 0,
    };
    // SAFETY: the same condition.
    let given = unsafe { read_struct(options, defaults, "options") }?;
    let mut options = gguf::OpenOptions::default();
    if given.max_metadata_bytes != 0 {
        options.max_metadata_bytes = given.max_metadata_bytes;
    }
    if given.copy > 1 || given.reserved != 0 {
        return Err(error!(InvalidArgument, "options: copy is {}, 0 or 1 is known; reserved is 0", given.copy));
    }
    options.copy = given.copy == 1;
    Ok(options)
}

#[cfg(unix)]
pub(super) fn path_of(path: &CStr) -> Result<&Path> {
    use std::os::unix::ffi::OsStrExt;
    Ok(Path::new(std::ffi::OsStr::from_bytes(path.to_bytes())))
}

#[cfg(not(unix))]
pub(super) fn path_of(path: &CStr) -> Result<&Path> {
    let path = path.to_str();
    path.map(Path::new).map_err(|_| error!(InvalidArgument, "path is not UTF-8"))
}
