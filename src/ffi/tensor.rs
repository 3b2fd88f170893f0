//! The tensors of a file: where each one lies.

use super::arguments::{self, Out, OutStruct, Struct};
use super::file::{gguffuse_file, lookup};
use super::guard;
use super::status::gguffuse_status;
use crate::error::{Result, error};
use crate::gguf::{File, Tensor};
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null;

/// What the function of this name tells; being also a function's, the name needs the word `struct` before it. Set
/// struct_size to sizeof(struct gguffuse_tensor_info) before the call, and all else to 0.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct gguffuse_tensor_info {
    /// sizeof(struct gguffuse_tensor_info).
    pub struct_size: usize,
    /// Name, UTF-8, NUL-terminated. Valid until the file is closed.
    pub name: *const c_char,
    /// Bytes of the name, NUL not counted.
    pub name_length: usize,
    /// ggml's number of the type, one of GGUFFUSE_TYPE_*.
    pub r#type: u32,
    /// Number of dimensions, 0 to 4.
    pub n_dims: u32,
    /// Dimensions, the fastest first: for a matrix of weights dims[0] is k and dims[1] is n. Unused ones are 1.
    pub dims: [u64; 4],
    /// Offset as the file stores it: in bytes from the start of the data section. NOT a position in the file.
    pub relative_offset: u64,
    /// Offset in bytes from the start of the file: data section + relative_offset. Here lies the tensor.
    pub absolute_offset: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The tensor's bytes, read-only, valid until the file is closed. NULL for a tensor of no bytes.
    pub data: *const c_void,
}

// SAFETY: repr(C), struct_size first, plain numbers and pointers.
unsafe impl Struct for gguffuse_tensor_info {}

/// The index of the tensor called `name` (NUL-terminated).
///
/// Errors: GGUFFUSE_ERROR_NOT_FOUND, _INVALID_HANDLE, _NULL_ARGUMENT, _MISALIGNED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_tensor_find(
    file: *mut gguffuse_file,
    name: *const c_char,
    index: *mut u64,
) -> gguffuse_status {
    guard(|| {
        let file = lookup(file)?;
        // SAFETY: the caller's word for its pointers.
        let (name, index) = unsafe { (arguments::string(name, "name")?, Out::new(index, "index")?) };
        index.write(find(&file, name)?);
        Ok(())
    })
}

/// Name, type, shape and place of tensor `index`, 0 to tensor_count - 1.
///
/// Errors: GGUFFUSE_ERROR_NOT_FOUND (index), _INVALID_HANDLE, _NULL_ARGUMENT, _MISALIGNED, _INVALID_ARGUMENT (struct_size).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_tensor_info(
    file: *mut gguffuse_file,
    index: u64,
    out: *mut gguffuse_tensor_info,
) -> gguffuse_status {
    guard(|| {
        let file = lookup(file)?;
        // SAFETY: the caller's word for its pointer.
        let out = unsafe { OutStruct::new(out, "out") }?;
        out.write(info(&file.tensor(index)?));
        Ok(())
    })
}

/// Where the bytes of the tensor called `name` begin, in bytes from the start of the file: read or map from here.
///
/// Errors: GGUFFUSE_ERROR_NOT_FOUND, _INVALID_HANDLE, _NULL_ARGUMENT, _MISALIGNED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_tensor_absolute_offset(
    file: *mut gguffuse_file,
    name: *const c_char,
    offset: *mut u64,
) -> gguffuse_status {
    guard(|| {
        let file = lookup(file)?;
        // SAFETY: the caller's word for its pointers.
        let (name, offset) = unsafe { (arguments::string(name, "name")?, Out::new(offset, "offset")?) };
        offset.write(file.tensor(find(&file, name)?)?.absolute_offset);
        Ok(())
    })
}

fn find(file: &File, name: &CStr) -> Result<u64> {
    match name.to_str() {
        Ok(name) => file.find_tensor(name),
        Err(_) => Err(error!(
            NotFound,
            "the tensor name asked for isn't UTF-8, and every name in a file is"
        )),
    }
}

fn info(tensor: &Tensor<'_>) -> gguffuse_tensor_info {
    gguffuse_tensor_info {
        struct_size: 0,
        name: tensor.name_with_nul.as_ptr().cast(),
        name_length: tensor.name.len(),
        r#type: tensor.tensor_type.id(),
        n_dims: tensor.n_dims,
        dims: tensor.dims,
        relative_offset: tensor.relative_offset,
        absolute_offset: tensor.absolute_offset,
        size_bytes: tensor.size_bytes,
        data: if tensor.data.is_empty() {
            null()
        } else {
            tensor.data.as_ptr().cast()
        },
    }
}
