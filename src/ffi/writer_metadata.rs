//! The metadata of a file that is being made: a setter for each value type, arrays, and copies from an open file.

use super::arguments;
use super::file::{self, gguffuse_file};
use super::guard;
use super::status::gguffuse_status;
use super::writer::{exclusive, gguffuse_writer, lookup, utf8};
use crate::error::{Error, Result, error};
use crate::gguf::{ArrayInput, ValueInput, ValueType};
use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;

/// Sets metadata entry `key` (NUL-terminated UTF-8 of 1 to 65535 bytes) to a value of type GGUFFUSE_METADATA_UINT8: a new
/// entry, or another value, of any type, for a key that is there, which keeps its place.
///
/// Errors of all functions that set metadata: GGUFFUSE_ERROR_INVALID_ARGUMENT (key; or general.alignment, which sets the
/// alignment, is no UINT32 that is a power of two), _INVALID_HANDLE, _NULL_ARGUMENT, _MISALIGNED, _BUSY, _OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_u8(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: u8,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_INT8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_i8(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: i8,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_UINT16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_u16(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: u16,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_INT16.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_i16(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: i16,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_UINT32. general.alignment is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_u32(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: u32,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_INT32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_i32(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: i32,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_UINT64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_u64(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: u64,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_INT64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_i64(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: i64,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_FLOAT32.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_f32(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: f32,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_FLOAT64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_f64(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: f64,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointer.
    guard(|| unsafe { set(writer, key, value) })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_BOOL. A bool that is neither 0 nor 1, as only
/// languages other than C can pass, is a GGUFFUSE_ERROR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_bool(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    value: MaybeUninit<bool>,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller passed a byte; any byte is a valid u8, which a bool would not be.
        let value = match unsafe { value.as_ptr().cast::<u8>().read() } {
            0 => false,
            1 => true,
            other => return Err(error!(InvalidArgument, "a bool is {other}, which is neither 0 nor 1")),
        };
        // SAFETY: the caller's word for its pointer.
        unsafe { set(writer, key, value) }
    })
}

/// Like gguffuse_writer_set_u8 for a value of type GGUFFUSE_METADATA_STRING: `length` bytes, which may hold NUL and need
/// not be UTF-8; copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_string(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    string: *const c_char,
    length: usize,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointers and length.
        unsafe { set(writer, key, ValueInput::String(arguments::bytes(string.cast(), length, "string")?)) }
    })
}

/// Like gguffuse_writer_set_u8 for an array of `count` elements of a type of fixed size: any GGUFFUSE_METADATA_* but
/// _STRING and _ARRAY. `data`: the elements as gguffuse_metadata_array_data gives them, little-endian and at any
/// alignment; copied.
///
/// Further errors: GGUFFUSE_ERROR_INVALID_ARGUMENT (element_type, or a bool that is neither 0 nor 1).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_array(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    element_type: u32,
    data: *const c_void,
    count: usize,
) -> gguffuse_status {
    guard(|| {
        let found = ValueType::from_id(element_type).and_then(|found| Some((found, found.size_bytes()?)));
        let (element_type, size) =
            found.ok_or_else(|| error!(InvalidArgument, "element_type {element_type} is none of a fixed size"))?;
        let bytes = count.checked_mul(size);
        let bytes = bytes.ok_or_else(|| error!(InvalidArgument, "data: no memory has {count} elements"))?;
        // SAFETY: the caller's word for its pointers and length.
        unsafe {
            let data = arguments::bytes(data, bytes, "data")?;
            set(writer, key, ArrayInput::LittleEndian(element_type, data))
        }
    })
}

/// Like gguffuse_writer_set_u8 for an array of `count` strings; copied. `lengths`: their lengths in bytes, or NULL where
/// all of them end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_string_array(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    strings: *const *const c_char,
    lengths: *const usize,
    count: usize,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointers and length.
        unsafe {
            let strings = arguments::slice(strings, count, "strings")?;
            let lengths = if lengths.is_null() { None } else { Some(arguments::slice(lengths, count, "lengths")?) };
            let mut slices = room(count)?;
            for (index, string) in strings.iter().enumerate() {
                slices.push(match lengths.and_then(|lengths| lengths.get(index)) {
                    Some(length) => arguments::bytes(string.cast(), *length, "an element of strings")?,
                    None => arguments::string(*string, "an element of strings")?.to_bytes(),
                });
            }
            set(writer, key, ArrayInput::String(&slices))
        }
    })
}

/// Makes one array of `count` arrays that were set before, of any types: `element_keys` are their keys, in order. Those
/// entries are removed. Arrays may lie 4 deep within each other, the outermost included.
///
/// Further errors: GGUFFUSE_ERROR_NOT_FOUND (an element's key), _INVALID_ARGUMENT (an element is no array or is named
/// twice, or arrays then lie too deep).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_set_nested_array(
    writer: *mut gguffuse_writer,
    key: *const c_char,
    element_keys: *const *const c_char,
    count: usize,
) -> gguffuse_status {
    guard(|| {
        let writer = lookup(writer)?;
        // SAFETY: the caller's word for its pointers and length.
        unsafe {
            let key = utf8(arguments::string(key, "key")?, "key")?;
            let element_keys = arguments::slice(element_keys, count, "element_keys")?;
            let mut elements = room(count)?;
            for element in element_keys {
                let element = arguments::string(*element, "an element of element_keys")?;
                elements.push(utf8(element, "an element of element_keys")?);
            }
            exclusive(&writer)?.nest(key, &elements)?;
        }
        Ok(())
    })
}

/// Sets metadata entry `key` to the value that it has in `file`, of whatever type; or, with `key` NULL, all entries that
/// the file has, so that its alignment is taken over where it declares one. Nothing of the file is needed afterwards.
///
/// Further errors: GGUFFUSE_ERROR_NOT_FOUND (the file has no such key).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_copy_metadata(
    writer: *mut gguffuse_writer,
    file: *mut gguffuse_file,
    key: *const c_char,
) -> gguffuse_status {
    guard(|| {
        let (writer, file) = (lookup(writer)?, file::lookup(file)?);
        if key.is_null() {
            exclusive(&writer)?.copy_metadata(&file)?;
            return Ok(());
        }
        // SAFETY: the caller's word for its pointer.
        let key = utf8(unsafe { arguments::string(key, "key") }?, "key")?;
        exclusive(&writer)?.metadata(key, file.get(key)?)?;
        Ok(())
    })
}

/// Removes metadata entry `key`. Without general.alignment, the alignment is 32.
///
/// Errors: GGUFFUSE_ERROR_NOT_FOUND, _INVALID_ARGUMENT (key isn't UTF-8), _INVALID_HANDLE, _NULL_ARGUMENT, _BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_writer_remove_metadata(
    writer: *mut gguffuse_writer,
    key: *const c_char,
) -> gguffuse_status {
    guard(|| {
        let writer = lookup(writer)?;
        // SAFETY: the caller's word for its pointer.
        let key = utf8(unsafe { arguments::string(key, "key") }?, "key")?;
        exclusive(&writer)?.remove_metadata(key)?;
        Ok(())
    })
}

/// # Safety
/// `key` is NULL or a NUL-terminated string.
unsafe fn set<'v>(writer: *mut gguffuse_writer, key: *const c_char, value: impl Into<ValueInput<'v>>) -> Result<()> {
    let writer = lookup(writer)?;
    // SAFETY: the same condition.
    let key = utf8(unsafe { arguments::string(key, "key") }?, "key")?;
    exclusive(&writer)?.metadata(key, value)?;
    Ok(())
}

fn room<T>(count: usize) -> Result<Vec<T>> {
    let mut room = Vec::new();
    room.try_reserve_exact(count).map_err(|_| Error::OutOfMemory("the elements of an array"))?;
    Ok(room)
}
