//! Status codes, their names, and the text of the last error.

use super::call;
use crate::error::Error;
use std::ffi::{CStr, c_char};

/// What every fallible function returns. 0 is success; numbers are only ever added. A detailed text for the calling
/// thread: gguffuse_last_error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum gguffuse_status {
    /// The call did what it says.
    GGUFFUSE_OK = 0,
    /// A pointer that must not be NULL is.
    GGUFFUSE_ERROR_NULL_ARGUMENT = 1,
    /// The handle is NULL, closed, of another kind, or was never one.
    GGUFFUSE_ERROR_INVALID_HANDLE = 2,
    /// An argument lies outside of what the function accepts.
    GGUFFUSE_ERROR_INVALID_ARGUMENT = 3,
    /// The operating system refused.
    GGUFFUSE_ERROR_IO = 4,
    /// The file breaks a rule of the format.
    GGUFFUSE_ERROR_BAD_FORMAT = 5,
    /// The file ends before something that it declares.
    GGUFFUSE_ERROR_TRUNCATED = 6,
    /// A limit of this library or of the format was exceeded.
    GGUFFUSE_ERROR_LIMIT = 7,
    /// GGUF, but a version or byte order that is not read.
    GGUFFUSE_ERROR_UNSUPPORTED_VERSION = 8,
    /// A ggml type that is unknown, removed, or can't do what was asked.
    GGUFFUSE_ERROR_UNSUPPORTED_TYPE = 9,
    /// No tensor or metadata key of that name, or an index past the end.
    GGUFFUSE_ERROR_NOT_FOUND = 10,
    /// A metadata value has another type than the one asked for, or doesn't fit in it.
    GGUFFUSE_ERROR_TYPE_MISMATCH = 11,
    /// Dimensions that don't fit together, or not the type's block size.
    GGUFFUSE_ERROR_SHAPE = 12,
    /// A buffer is shorter than its shape needs.
    GGUFFUSE_ERROR_BUFFER_TOO_SMALL = 13,
    /// An output overlaps an input.
    GGUFFUSE_ERROR_ALIASING = 14,
    /// A pointer is not aligned for its type.
    GGUFFUSE_ERROR_MISALIGNED = 15,
    /// Memory could not be allocated. Nothing has changed.
    GGUFFUSE_ERROR_OUT_OF_MEMORY = 16,
    /// Called from inside of a call of the same thread, as from a signal handler; or another thread's call is using the
    /// writer. Nothing has changed.
    GGUFFUSE_ERROR_BUSY = 17,
    /// A bug in this library, caught. Please report the text of gguffuse_last_error.
    GGUFFUSE_ERROR_INTERNAL = 18,
    /// No instruction-set level of that name.
    GGUFFUSE_ERROR_UNSUPPORTED_ISA = 19,
    /// A file on disk is no longer what was opened.
    GGUFFUSE_ERROR_CHANGED = 20,
}

use gguffuse_status::*;

impl From<&Error> for gguffuse_status {
    fn from(error: &Error) -> Self {
        match error {
            Error::NullArgument(_) => GGUFFUSE_ERROR_NULL_ARGUMENT,
            Error::InvalidHandle(_) => GGUFFUSE_ERROR_INVALID_HANDLE,
            Error::InvalidArgument(_) => GGUFFUSE_ERROR_INVALID_ARGUMENT,
            Error::Io { .. } => GGUFFUSE_ERROR_IO,
            Error::BadFormat { .. } => GGUFFUSE_ERROR_BAD_FORMAT,
            Error::Truncated { .. } => GGUFFUSE_ERROR_TRUNCATED,
            Error::Limit { .. } => GGUFFUSE_ERROR_LIMIT,
            Error::UnsupportedVersion(_) => GGUFFUSE_ERROR_UNSUPPORTED_VERSION,
            Error::UnsupportedType(_) => GGUFFUSE_ERROR_UNSUPPORTED_TYPE,
            Error::NotFound(_) => GGUFFUSE_ERROR_NOT_FOUND,
            Error::TypeMismatch(_) => GGUFFUSE_ERROR_TYPE_MISMATCH,
            Error::Shape(_) => GGUFFUSE_ERROR_SHAPE,
            Error::BufferTooSmall(_) => GGUFFUSE_ERROR_BUFFER_TOO_SMALL,
            Error::Aliasing(_) => GGUFFUSE_ERROR_ALIASING,
            Error::Misaligned(_) => GGUFFUSE_ERROR_MISALIGNED,
            Error::OutOfMemory(_) => GGUFFUSE_ERROR_OUT_OF_MEMORY,
            Error::Busy(_) => GGUFFUSE_ERROR_BUSY,
            Error::Internal(_) => GGUFFUSE_ERROR_INTERNAL,
            Error::UnsupportedIsa(_) => GGUFFUSE_ERROR_UNSUPPORTED_ISA,
            Error::Changed(_) => GGUFFUSE_ERROR_CHANGED,
        }
    }
}

/// By number; the test below holds it to the enum.
const NAMES: [&CStr; 21] = [
    c"OK",
    c"NULL_ARGUMENT",
    c"INVALID_HANDLE",
    c"INVALID_ARGUMENT",
    c"IO",
    c"BAD_FORMAT",
    c"TRUNCATED",
    c"LIMIT",
    c"UNSUPPORTED_VERSION",
    c"UNSUPPORTED_TYPE",
    c"NOT_FOUND",
    c"TYPE_MISMATCH",
    c"SHAPE",
    c"BUFFER_TOO_SMALL",
    c"ALIASING",
    c"MISALIGNED",
    c"OUT_OF_MEMORY",
    c"BUSY",
    c"INTERNAL",
    c"UNSUPPORTED_ISA",
    c"CHANGED",
];

/// The name of a gguffuse_status: "OK", "TRUNCATED", "NULL_ARGUMENT", ...; "UNKNOWN" for any other number.
///
/// Returns a static string, never NULL. May be called from any thread at any time, from signal handlers as well.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_status_name(status: i32) -> *const c_char {
    let name = usize::try_from(status).ok().and_then(|number| NAMES.get(number));
    name.copied().unwrap_or(c"UNKNOWN").as_ptr()
}

/// The text of the last call that failed on this thread: what was wrong, where, and why. Calls that succeed leave it
/// alone, and so do calls from inside of a call. Texts are shortened to 511 bytes of whole UTF-8 characters.
///
/// Copies at most `capacity` bytes to `buffer`, the terminating NUL included, and returns the size that is needed for
/// all of it, NUL included: 1 when no call has failed yet. A text that doesn't fit is cut, at a whole character, and
/// still terminated. With `buffer` NULL or `capacity` 0 nothing is written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_last_error(buffer: *mut c_char, capacity: usize) -> usize {
    let room = if buffer.is_null() { 0 } else { capacity.saturating_sub(1) };
    let mut end = 0usize; // where the last character that is there in full ends, as far as it was seen
    let length = call::last_error(|index, byte| {
        if index <= room && byte & 0xc0 != 0x80 {
            end = index; // a character begins here, so the one before is complete
        }
        if index < room {
            // SAFETY: index < capacity, and the caller says that `buffer` has `capacity` bytes.
            unsafe { buffer.add(index).write(byte.cast_signed() as c_char) };
        }
    });
    if length <= room {
        end = length;
    }
    if !buffer.is_null() && capacity > 0 {
        // SAFETY: end <= room < capacity.
        unsafe { buffer.add(end).write(0) };
    }
    length.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::error;
    use crate::ffi::guard;

    #[test]
    fn names_are_the_constants_names() {
        let constants = include_str!("status.rs").lines().filter_map(|line| {
            let (name, number) = line.trim().strip_suffix(',')?.split_once(" = ")?;
            let name = name.strip_prefix("GGUFFUSE_")?;
            Some((name.strip_prefix("ERROR_").unwrap_or(name), number.parse::<i32>().ok()?))
        });
        let mut count = 0;
        for (name, number) in constants {
            // SAFETY: a static C string.
            let given = unsafe { CStr::from_ptr(gguffuse_status_name(number)) };
            assert_eq!(given.to_str(), Ok(name));
            count += 1;
        }
        assert_eq!(count, NAMES.len());
        for number in [-1, 21, i32::MIN, i32::MAX] {
            // SAFETY: a static C string.
            assert_eq!(unsafe { CStr::from_ptr(gguffuse_status_name(number)) }, c"UNKNOWN");
        }
    }

    #[test]
    fn last_error_is_cut_at_a_character() {
        guard(|| Err(error!(NotFound, "a\u{e9}\u{1f980}z")));
        let whole = "not found: a\u{e9}\u{1f980}z";
        for capacity in 0..whole.len() + 4 {
            let mut buffer = vec![0x55u8; whole.len() + 8];
            // SAFETY: the buffer is longer than `capacity`.
            let needed = unsafe { gguffuse_last_error(buffer.as_mut_ptr().cast(), capacity) };
            assert_eq!(needed, whole.len() + 1);
            if capacity > 0 {
                let text = CStr::from_bytes_until_nul(&buffer).expect("terminated");
                assert_eq!(text.to_str(), Ok(&whole[..whole.floor_char_boundary(capacity - 1)]));
            }
            assert!(buffer[capacity..].iter().all(|byte| *byte == 0x55), "overrun at {capacity}");
        }
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { gguffuse_last_error(std::ptr::null_mut(), 9) }, whole.len() + 1);
    }
}
