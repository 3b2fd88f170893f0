//! The metadata of a file: keys, and values of 13 types, arrays of arrays among them.
//!
//! Two ways to a value: by its key, or by the index of its key and a path of element indices into nested arrays.

use super::arguments::{self, Out};
use super::file::{gguffuse_file, lookup};
use super::guard;
use super::status::gguffuse_status;
use crate::error::{Error, Result, error};
use crate::gguf::{File, Str, Value, ValueType};
use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;

/// GGUF's numbers of the metadata value types. Functions give them as uint32_t.
#[allow(dead_code)] // for C only
#[repr(u32)]
pub enum gguffuse_value_type {
    GGUFFUSE_METADATA_UINT8 = 0,
    GGUFFUSE_METADATA_INT8 = 1,
    GGUFFUSE_METADATA_UINT16 = 2,
    GGUFFUSE_METADATA_INT16 = 3,
    GGUFFUSE_METADATA_UINT32 = 4,
    GGUFFUSE_METADATA_INT32 = 5,
    GGUFFUSE_METADATA_FLOAT32 = 6,
    GGUFFUSE_METADATA_BOOL = 7,
    GGUFFUSE_METADATA_STRING = 8,
    GGUFFUSE_METADATA_ARRAY = 9,
    GGUFFUSE_METADATA_UINT64 = 10,
    GGUFFUSE_METADATA_INT64 = 11,
    GGUFFUSE_METADATA_FLOAT64 = 12,
}

/// The index of the metadata entry called `key` (NUL-terminated).
///
/// Errors of all functions on metadata: GGUFFUSE_ERROR_NOT_FOUND (key, index or an element of the path),
/// _INVALID_HANDLE, _NULL_ARGUMENT, _MISALIGNED. None of them takes memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_find(
    file: *mut gguffuse_file,
    key: *const c_char,
    index: *mut u64,
) -> gguffuse_status {
    guard(|| {
        let file = lookup(file)?;
        // SAFETY: the caller's word for its pointers.
        let (key, index) = unsafe { (arguments::string(key, "key")?, Out::new(index, "index")?) };
        index.write(find(&file, key)?);
        Ok(())
    })
}

/// The key of metadata entry `index`, 0 to metadata_count - 1: UTF-8 without NUL, `length` bytes and a terminating NUL
/// that isn't counted. Valid until the file is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_key(
    file: *mut gguffuse_file,
    index: u64,
    key: *mut *const c_char,
    length: *mut usize,
) -> gguffuse_status {
    guard(|| {
        let file = lookup(file)?;
        // SAFETY: the caller's word for its pointers.
        let (key, length) = unsafe { (Out::new(key, "key")?, Out::new(length, "length")?) };
        let name = file.metadata_key_with_nul(index)?;
        key.write(name.as_ptr().cast());
        length.write(name.len().saturating_sub(1));
        Ok(())
    })
}

/// The value type of metadata entry `index`: one of GGUFFUSE_METADATA_*.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_type(
    file: *mut gguffuse_file,
    index: u64,
    r#type: *mut u32,
) -> gguffuse_status {
    guard(|| {
        let file = lookup(file)?;
        // SAFETY: the caller's word for its pointer.
        let out = unsafe { Out::new(r#type, "type") }?;
        out.write(file.metadata(index)?.1.value_type().id());
        Ok(())
    })
}

/// The value of `key` as an unsigned integer: any integer type, or a float that holds an integer, if it fits; else
/// GGUFFUSE_ERROR_TYPE_MISMATCH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_get_u64(
    file: *mut gguffuse_file,
    key: *const c_char,
    out: *mut u64,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointers.
    guard(|| unsafe { by_key(file, key, out, |value| value.as_u64()) })
}

/// The value of `key` as a signed integer: any integer type, or a float that holds an integer, if it fits; else
/// GGUFFUSE_ERROR_TYPE_MISMATCH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_get_i64(
    file: *mut gguffuse_file,
    key: *const c_char,
    out: *mut i64,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointers.
    guard(|| unsafe { by_key(file, key, out, |value| value.as_i64()) })
}

/// The value of `key` as a double: any float type, or an integer that a double holds exactly; else
/// GGUFFUSE_ERROR_TYPE_MISMATCH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_get_f64(
    file: *mut gguffuse_file,
    key: *const c_char,
    out: *mut f64,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointers.
    guard(|| unsafe { by_key(file, key, out, |value| value.as_f64()) })
}

/// The value of `key`, a bool; else GGUFFUSE_ERROR_TYPE_MISMATCH.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_get_bool(
    file: *mut gguffuse_file,
    key: *const c_char,
    out: *mut bool,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointers.
    guard(|| unsafe { by_key(file, key, out, |value| value.as_bool()) })
}

/// The value of `key`, a string; else GGUFFUSE_ERROR_TYPE_MISMATCH. `length` bytes, which may hold NUL and need not be
/// UTF-8, and a terminating NUL that isn't counted. Valid until the file is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_get_string(
    file: *mut gguffuse_file,
    key: *const c_char,
    out: *mut *const c_char,
    length: *mut usize,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointers.
        let outs = unsafe { StringOut::new(out, length) }?;
        // SAFETY: as above.
        unsafe { with_key(file, key, |value| outs.write(value.as_string()?)) }
    })
}

/// Element type (one of GGUFFUSE_METADATA_*) and number of elements of an array; GGUFFUSE_ERROR_TYPE_MISMATCH if the
/// value isn't one.
///
/// Which value, here and in the functions below: metadata entry `index`, and in it the element `path[0]`, in that array
/// the element `path[1]`, and so on, `path_length` steps. With path_length 0 (`path` may then be NULL) it is the entry's
/// value itself. Going through an array of strings or arrays by element takes time: up to 63 elements are passed over in
/// an outermost array, all before the element in an array within an array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_array_info(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    element_type: *mut u32,
    count: *mut u64,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointers.
        let (types, counts) = unsafe { (Out::new(element_type, "element_type")?, Out::new(count, "count")?) };
        let write = |value: Value<'_>| {
            let array = value.as_array()?;
            types.write(array.element_type().id());
            counts.write(array.len());
            Ok(())
        };
        // SAFETY: as above.
        unsafe { with_path(file, index, path, path_length, write) }
    })
}

/// All elements of an array of numbers or bools at once, as they lie in the file: little-endian, without gaps, at any
/// alignment (copy them out with memcpy). `bytes` receives their size. Valid until the file is closed.
/// GGUFFUSE_ERROR_TYPE_MISMATCH for what isn't an array, and for arrays of strings or arrays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_array_data(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    data: *mut *const c_void,
    bytes: *mut usize,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointers.
        let (data, bytes) = unsafe { (Out::new(data, "data")?, Out::new(bytes, "bytes")?) };
        let write = |value: Value<'_>| {
            let array = value.as_array()?;
            let elements = array.data().ok_or_else(|| {
                error!(TypeMismatch, "elements of type {} differ in size", array.element_type().name())
            })?;
            data.write(elements.as_ptr().cast());
            bytes.write(elements.len());
            Ok(())
        };
        // SAFETY: as above.
        unsafe { with_path(file, index, path, path_length, write) }
    })
}

/// All elements of an array of strings at once: their addresses to `strings`, their lengths in bytes to `lengths`, both of
/// which have room for `capacity` elements; gguffuse_metadata_array_info tells how many are needed. Each string is as
/// gguffuse_metadata_get_string gives it. A vocabulary takes one call, which goes over it once.
///
/// Further errors: GGUFFUSE_ERROR_TYPE_MISMATCH for what isn't an array of strings, _BUFFER_TOO_SMALL, _ALIASING (`strings`
/// and `lengths` overlap), _INVALID_ARGUMENT (a capacity that no memory has).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_array_strings(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    strings: *mut *const c_char,
    lengths: *mut usize,
    capacity: usize,
) -> gguffuse_status {
    guard(|| {
        let write = |value: Value<'_>| {
            let array = value.as_array()?;
            // SAFETY: the caller's word for its pointers, which may be uninitialised memory.
            let (strings, lengths) = unsafe {
                let strings = arguments::slice_mut::<MaybeUninit<_>>(strings.cast(), capacity, "strings")?;
                if arguments::overlap(strings, lengths, capacity) {
                    return Err(Error::Aliasing("strings and lengths overlap"));
                }
                (strings, arguments::slice_mut::<MaybeUninit<_>>(lengths.cast(), capacity, "lengths")?)
            };
            if array.element_type() != ValueType::String {
                return Err(error!(TypeMismatch, "the elements are of type {}", array.element_type().name()));
            }
            if array.len() > capacity as u64 {
                return Err(error!(BufferTooSmall, "room for {capacity} strings, the array has {}", array.len()));
            }
            for ((value, string), length) in array.iter().zip(strings).zip(lengths) {
                let bytes = value.as_bytes()?;
                string.write(bytes.as_ptr().cast::<c_char>());
                length.write(bytes.len());
            }
            Ok(())
        };
        // SAFETY: as above.
        unsafe { with_path(file, index, path, path_length, write) }
    })
}

/// gguffuse_metadata_get_u64 for a value by index and path.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_element_u64(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    out: *mut u64,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointers.
    guard(|| unsafe { by_path(file, index, path, path_length, out, |value| value.as_u64()) })
}

/// gguffuse_metadata_get_i64 for a value by index and path.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_element_i64(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    out: *mut i64,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointers.
    guard(|| unsafe { by_path(file, index, path, path_length, out, |value| value.as_i64()) })
}

/// gguffuse_metadata_get_f64 for a value by index and path.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_element_f64(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    out: *mut f64,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointers.
    guard(|| unsafe { by_path(file, index, path, path_length, out, |value| value.as_f64()) })
}

/// gguffuse_metadata_get_bool for a value by index and path.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_element_bool(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    out: *mut bool,
) -> gguffuse_status {
    // SAFETY: the caller's word for its pointers.
    guard(|| unsafe { by_path(file, index, path, path_length, out, |value| value.as_bool()) })
}

/// gguffuse_metadata_get_string for a value by index and path.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_metadata_element_string(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    out: *mut *const c_char,
    length: *mut usize,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointers.
        let outs = unsafe { StringOut::new(out, length) }?;
        // SAFETY: as above.
        unsafe { with_path(file, index, path, path_length, |value| outs.write(value.as_string()?)) }
    })
}

fn find(file: &File, key: &CStr) -> Result<u64> {
    match key.to_str() {
        Ok(key) => file.find_metadata(key),
        Err(_) => Err(error!(NotFound, "the key asked for isn't UTF-8, and every key in a file is")),
    }
}

/// Hands the value of `key` to `use_it`.
///
/// # Safety
/// `key` is NULL or NUL-terminated.
unsafe fn with_key(
    file: *mut gguffuse_file,
    key: *const c_char,
    use_it: impl FnOnce(Value<'_>) -> Result<()>,
) -> Result<()> {
    let file = lookup(file)?;
    // SAFETY: the same condition.
    let key = unsafe { arguments::string(key, "key") }?;
    use_it(file.metadata(find(&file, key)?)?.1)
}

/// Hands the value at `path` in metadata entry `index` to `use_it`.
///
/// # Safety
/// `path` is NULL, misaligned, or valid to read `path_length` numbers from.
unsafe fn with_path(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    use_it: impl FnOnce(Value<'_>) -> Result<()>,
) -> Result<()> {
    let file = lookup(file)?;
    let path = match path_length {
        0 => &[],
        // SAFETY: the same condition.
        _ => unsafe { arguments::slice(path, path_length, "path") }?,
    };
    let (_, mut value) = file.metadata(index)?;
    for element in path {
        value = value.as_array()?.element(*element)?;
    }
    use_it(value)
}

/// # Safety
/// As [`with_key`]; `out` is NULL, misaligned, or writable.
unsafe fn by_key<T>(
    file: *mut gguffuse_file,
    key: *const c_char,
    out: *mut T,
    convert: impl FnOnce(Value<'_>) -> Result<T>,
) -> Result<()> {
    // SAFETY: the same conditions.
    unsafe {
        let out = Out::new(out, "out")?;
        with_key(file, key, |value| convert(value).map(|value| out.write(value)))
    }
}

/// # Safety
/// As [`with_path`]; `out` is NULL, misaligned, or writable.
unsafe fn by_path<T>(
    file: *mut gguffuse_file,
    index: u64,
    path: *const u64,
    path_length: usize,
    out: *mut T,
    convert: impl FnOnce(Value<'_>) -> Result<T>,
) -> Result<()> {
    // SAFETY: the same conditions.
    unsafe {
        let out = Out::new(out, "out")?;
        with_path(file, index, path, path_length, |value| convert(value).map(|value| out.write(value)))
    }
}

/// Where a string's address and length go.
struct StringOut(Out<*const c_char>, Out<usize>);

impl StringOut {
    /// # Safety
    /// As [`Out::new`], both.
    unsafe fn new(out: *mut *const c_char, length: *mut usize) -> Result<Self> {
        // SAFETY: the same condition.
        unsafe { Ok(StringOut(Out::new(out, "out")?, Out::new(length, "length")?)) }
    }

    fn write(self, string: Str<'_>) -> Result<()> {
        let with_nul = string.as_bytes_with_nul();
        let length = with_nul.len().checked_sub(1).ok_or(Error::Internal("a string without its NUL"))?;
        self.0.write(with_nul.as_ptr().cast());
        self.1.write(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::gguf::ValueType;

    #[test]
    fn constants_are_ggufs() {
        let numbers = include_str!("metadata.rs").lines().filter_map(|line| {
            let (name, number) =
                line.trim().strip_prefix("GGUFFUSE_METADATA_")?.strip_suffix(',')?.split_once(" = ")?;
            let name = name.to_lowercase().replace("uint", "u").replace("int", "i").replace("float", "f");
            Some((name, number.parse().ok()?))
        });
        let expected = ValueType::ALL.iter().map(|t| (t.name().to_string(), t.id()));
        assert!(numbers.eq(expected));
    }
}
