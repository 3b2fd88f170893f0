//! What is done with weights on a context's threads besides multiplying: checking and quantising them. The work is
//! `crate::matmul::Context`'s.

use super::arguments::{self, Out};
use super::context::{self, gguffuse_context};
use super::file::{self, gguffuse_file};
use super::guard;
use super::status::gguffuse_status;
use crate::blocks::TensorType;
use crate::error::{Error, error};
use std::ffi::c_void;

/// Checks weights: `bytes` bytes at `data` (any alignment), whole blocks of type `type`. `bad_block`: receives the index
/// of the first bad block, counted from 0, or UINT64_MAX if there is none. A bad block is a finding, not an error:
/// the status is GGUFFUSE_OK.
///
/// A block is bad when one of its scales is NaN or infinite (d, dmin, m, and the sum of Q8_1), is one that the type doesn't
/// allow (MXFP4: exponents above 252, whose largest weights overflow a float, 255 being NaN; NVFP4: above 126), or, for
/// types without scales, when its value is NaN or infinite. All other blocks dequantise to finite floats. Blocks of
/// integer types are never bad. Every bit pattern of the codes is a weight: they can't be bad.
///
/// Reads at about the speed of memory, with all threads of the context; the answer is the same for every number of them.
///
/// Errors, bad_block is not touched: GGUFFUSE_ERROR_INVALID_HANDLE, _UNSUPPORTED_TYPE, _SHAPE (not whole blocks), _ALIASING
/// (bad_block lies in data), _NULL_ARGUMENT, _MISALIGNED (bad_block), _INVALID_ARGUMENT (a length that no memory has).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_validate(
    context: *mut gguffuse_context,
    r#type: u32,
    data: *const c_void,
    bytes: usize,
    bad_block: *mut u64,
) -> gguffuse_status {
    guard(|| {
        let context = context::lookup(context)?;
        let tensor_type = TensorType::require(r#type)?;
        // SAFETY: the caller's word for its pointers and lengths.
        let (data, out) = unsafe { (arguments::bytes(data, bytes, "data")?, Out::new(bad_block, "bad_block")?) };
        if arguments::overlap(data, bad_block, 1) {
            return Err(Error::Aliasing("bad_block lies in data"));
        }
        out.write(context.validate(tensor_type, data)?.unwrap_or(u64::MAX));
        Ok(())
    })
}

/// gguffuse_validate for tensor `tensor` (an index) of an open file. Element `e` of the tensor, counted in the order in
/// which the file has them, is in block e / block_elements.
///
/// The file may be closed by another thread meanwhile; the call finishes.
///
/// Errors, bad_block is not touched: GGUFFUSE_ERROR_INVALID_HANDLE, _NOT_FOUND (index), _NULL_ARGUMENT, _MISALIGNED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_tensor_validate(
    context: *mut gguffuse_context,
    file: *mut gguffuse_file,
    tensor: u64,
    bad_block: *mut u64,
) -> gguffuse_status {
    guard(|| {
        let (context, file) = (context::lookup(context)?, file::lookup(file)?);
        let tensor = file.tensor(tensor)?;
        // SAFETY: the caller's word for its pointer.
        let out = unsafe { Out::new(bad_block, "bad_block") }?;
        out.write(context.validate(tensor.tensor_type, tensor.data)?.unwrap_or(u64::MAX));
        Ok(())
    })
}

/// gguffuse_quantize with all threads of a context, and with weights for the errors. The bytes are the same for every
/// number of threads. (gguffuse_quantize itself stays on the calling thread.)
///
/// `importance`: NULL, or k floats, finite and not negative: the squared errors of column c count importance[c] times.
/// Of the arguments of gguffuse_quantize none is different.
///
/// Errors, nothing is written: as for gguffuse_quantize, and GGUFFUSE_ERROR_INVALID_HANDLE, _INVALID_ARGUMENT (importance
/// that is negative, NaN or infinite), _MISALIGNED and _ALIASING for importance as well.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_quantize_with(
    context: *mut gguffuse_context,
    r#type: u32,
    source: *const f32,
    rows: usize,
    k: usize,
    importance: *const f32,
    out: *mut c_void,
    out_bytes: usize,
) -> gguffuse_status {
    guard(|| {
        let context = context::lookup(context)?;
        let tensor_type = TensorType::require(r#type)?;
        let elements = rows.checked_mul(k).ok_or_else(|| error!(Shape, "rows {rows} x k {k} is too large"))?;
        // SAFETY: the caller's word for its pointers and lengths.
        let source = unsafe { arguments::slice(source, elements, "source") }?;
        let importance = match importance.is_null() {
            true => None,
            // SAFETY: as above.
            false => Some(unsafe { arguments::slice(importance, k, "importance") }?),
        };
        let out = out.cast::<u8>();
        if arguments::overlap(source, out, out_bytes) {
            return Err(Error::Aliasing("out overlaps source"));
        }
        if arguments::overlap(importance.unwrap_or(&[]), out, out_bytes) {
            return Err(Error::Aliasing("out overlaps importance"));
        }
        // SAFETY: the caller's word, and no overlap with what we read.
        let out = unsafe { arguments::slice_mut(out, out_bytes, "out") }?;
        context.quantize(tensor_type, source, rows, k, importance, out)
    })
}
