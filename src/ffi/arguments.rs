//! Checked access to what the caller passes: pointers, strings, slices and structs. Every function says what it can
//! check; what it can't (that memory of the given length is there) is in its `# Safety`.

use crate::error::{Error, Result, error};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::NonNull;

/// A checked pointer to an output. Made before the work, written after it.
pub(super) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// # Safety
    /// `pointer` is NULL, misaligned, or valid to write a `T` to for as long as the call lasts.
    pub(super) unsafe fn new(pointer: *mut T, name: &'static str) -> Result<Self> {
        aligned(pointer, name).map(Out)
    }

    pub(super) fn write(self, value: T) {
        // SAFETY: not NULL and aligned (`new`); writable by `new`'s condition.
        unsafe { self.0.write(value) }
    }
}

/// `pointer`, unless it is NULL or misaligned.
pub(super) fn aligned<T>(pointer: *const T, name: &'static str) -> Result<NonNull<T>> {
    let pointer = NonNull::new(pointer.cast_mut()).ok_or(Error::NullArgument(name))?;
    if !pointer.is_aligned() {
        return Err(Error::Misaligned(name));
    }
    Ok(pointer)
}

/// A C string.
///
/// # Safety
/// `pointer` is NULL or a NUL-terminated string that stays unchanged for `'a`.
pub(super) unsafe fn string<'a>(pointer: *const c_char, name: &'static str) -> Result<&'a CStr> {
    let pointer = aligned(pointer, name)?;
    // SAFETY: not NULL; terminated by this function's condition.
    Ok(unsafe { CStr::from_ptr(pointer.as_ptr()) })
}

/// `length` elements. NULL is an error even for none of them.
///
/// # Safety
/// `pointer` is NULL, misaligned, or valid to read `length` elements from for `'a`, and nobody writes to them.
pub(super) unsafe fn slice<'a, T>(pointer: *const T, length: usize, name: &'static str) -> Result<&'a [T]> {
    let pointer = aligned(pointer, name)?;
    fits_in_memory(pointer.as_ptr(), length, name)?;
    // SAFETY: not NULL, aligned, and shorter than isize::MAX bytes; readable by this function's condition.
    Ok(unsafe { std::slice::from_raw_parts(pointer.as_ptr(), length) })
}

/// `length` elements to be written.
///
/// # Safety
/// As [`slice`], to be written, and nobody else uses them.
pub(super) unsafe fn slice_mut<'a, T>(pointer: *mut T, length: usize, name: &'static str) -> Result<&'a mut [T]> {
    let pointer = aligned(pointer, name)?;
    fits_in_memory(pointer.as_ptr(), length, name)?;
    // SAFETY: as in `slice`; exclusive by this function's condition.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer.as_ptr(), length) })
}

/// `length` bytes of untyped memory, at any alignment.
///
/// # Safety
/// As [`slice`].
pub(super) unsafe fn bytes<'a>(pointer: *const c_void, length: usize, name: &'static str) -> Result<&'a [u8]> {
    // SAFETY: the same condition.
    unsafe { slice(pointer.cast::<u8>(), length, name) }
}

/// No object is larger than `isize::MAX` bytes or wraps around the end of the address space: such a length is a mistake.
pub(super) fn fits_in_memory<T>(pointer: *const T, length: usize, name: &'static str) -> Result<()> {
    let bytes = length
        .checked_mul(size_of::<T>())
        .filter(|bytes| isize::try_from(*bytes).is_ok());
    match bytes.and_then(|bytes| pointer.addr().checked_add(bytes)) {
        Some(_) => Ok(()),
        None => Err(error!(InvalidArgument, "{name}: no memory has {length} elements")),
    }
}

/// Whether two pieces of memory share a byte.
pub(super) fn overlap<A, B>(a: &[A], b: *const B, b_length: usize) -> bool {
    let b_bytes = b_length.saturating_mul(size_of::<B>());
    let (a_start, b_start) = (a.as_ptr().addr(), b.addr());
    let (a_end, b_end) = (a_start.saturating_add(size_of_val(a)), b_start.saturating_add(b_bytes));
    a_start < b_end && b_start < a_end && a_start != a_end && b_start != b_end
}

/// No struct of this interface will ever be larger; a greater `struct_size` is one that nobody set.
const LARGEST_STRUCT: usize = 4096;

/// A struct of the caller that begins with its own size, so that it can grow: `struct_size` may be smaller than ours
/// (written against an older header: the rest is absent) or larger (a newer header) if all that we don't know is zero.
///
/// # Safety
/// `repr(C)`; the first field is the `usize` struct_size; all bits of every other field are valid values; no padding.
pub(super) unsafe trait Struct: Copy {}

/// The checked address and size of a caller's struct.
struct CallersStruct<T> {
    pointer: NonNull<T>,
    known_bytes: usize,
}

/// # Safety
/// `pointer` is NULL, misaligned, or points to a struct of the size that its first field says.
unsafe fn sized<T: Struct>(pointer: *const T, name: &'static str) -> Result<CallersStruct<T>> {
    let pointer = aligned(pointer, name)?;
    // SAFETY: by this function's condition the first field is there; `Struct` says that it is a usize.
    let size = unsafe { pointer.cast::<usize>().read() };
    let plausible = (size_of::<usize>()..=LARGEST_STRUCT).contains(&size) && size.is_multiple_of(align_of::<T>());
    if !plausible {
        return Err(error!(
            InvalidArgument,
            "{name}: struct_size is {size}, set it to sizeof"
        ));
    }
    let known_bytes = size.min(size_of::<T>());
    // SAFETY: by this function's condition `size` bytes are there; `known_bytes` is no more than that.
    let tail = unsafe {
        let start = pointer.cast::<u8>().add(known_bytes);
        std::slice::from_raw_parts(start.as_ptr(), size.saturating_sub(known_bytes))
    };
    if tail.iter().any(|byte| *byte != 0) {
        return Err(error!(
            InvalidArgument,
            "{name}: struct_size is {size} and what lies past the {known_bytes} bytes of this version isn't zero"
        ));
    }
    Ok(CallersStruct { pointer, known_bytes })
}

/// Copies a struct from the caller; fields that it is too short for are as in `defaults`. NULL: all defaults.
///
/// # Safety
/// `pointer` is NULL, misaligned, or points to a struct of the size that its first field says.
pub(super) unsafe fn read_struct<T: Struct>(pointer: *const T, mut defaults: T, name: &'static str) -> Result<T> {
    if pointer.is_null() {
        return Ok(defaults);
    }
    // SAFETY: the same condition.
    let source = unsafe { sized(pointer, name) }?;
    // SAFETY: `known_bytes` are readable at the source and no more than the destination, a local, has; any bits are valid.
    unsafe {
        let destination = (&raw mut defaults).cast::<u8>();
        std::ptr::copy_nonoverlapping(source.pointer.as_ptr().cast::<u8>(), destination, source.known_bytes);
    }
    Ok(defaults)
}

/// A checked struct of the caller, to be filled in.
pub(super) struct OutStruct<T>(CallersStruct<T>);

impl<T: Struct> OutStruct<T> {
    /// # Safety
    /// As [`read_struct`], and writable for as long as the call lasts.
    pub(super) unsafe fn new(pointer: *mut T, name: &'static str) -> Result<Self> {
        // SAFETY: the same condition.
        unsafe { sized(pointer, name) }.map(OutStruct)
    }

    /// Writes the fields that the caller's struct has. The caller's struct_size stays.
    pub(super) fn write(self, value: T) {
        let head = size_of::<usize>();
        let bytes = self.0.known_bytes.saturating_sub(head);
        // SAFETY: both structs have `known_bytes` bytes, of which the first field is left out.
        unsafe {
            let source = (&raw const value).cast::<u8>().add(head);
            let destination = self.0.pointer.as_ptr().cast::<u8>().add(head);
            std::ptr::copy_nonoverlapping(source, destination, bytes);
        }
    }
}
