//! The three ways to multiply. What the operands must be to each other is checked in `crate::matmul`; here only that
//! the pointers are some.

use super::arguments;
use super::context::{self, gguffuse_context};
use super::file::{self, gguffuse_file};
use super::guard;
use super::status::gguffuse_status;
use crate::blocks::TensorType;
use crate::error::{Result, error};
use crate::gguf::Tensor;
use crate::matmul::{RawMatrix, RawMatrixMut, Weights};
use std::ffi::c_void;

/// Multiplies: y[m][n] = x[m][k] * W[n][k]^T, that is y[i][j] = sum over c of x[i][c] * W[j][c].
///
/// `type`: ggml's number of W's type. `w`: W's blocks, row-major, `w_bytes` bytes at any alignment, n rows of
/// gguffuse_row_size(type, k) bytes are needed. `n`: weight rows. `k`: columns, a multiple of the type's block, at least one.
/// `x`: activations, `x_length` floats in the buffer, row i begins at x + i * x_stride; x_stride 0 means k.
/// `m`: rows of x and y. `y`: receives the product, `y_length` floats in the buffer, row i begins at y + i * y_stride;
/// y_stride 0 means n. Only the m x n elements of the product are written.
///
/// Nothing is kept after the call; to multiply the same x with several W, see gguffuse_activations_new. With m or n 0 it
/// does nothing. Several threads may use one context; two calls that write the same y race for its contents. The result
/// is the same, bit for bit, for every number of threads.
///
/// Errors, y is not touched: GGUFFUSE_ERROR_INVALID_HANDLE, _UNSUPPORTED_TYPE, _SHAPE, _BUFFER_TOO_SMALL (w, x or y),
/// _ALIASING (y overlaps x or w), _MISALIGNED (x or y), _NULL_ARGUMENT (w, x or y, even if nothing is read from it),
/// _INVALID_ARGUMENT (a length that no memory has), _OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_matmul(
    context: *mut gguffuse_context,
    r#type: u32,
    w: *const c_void,
    w_bytes: usize,
    n: usize,
    k: usize,
    x: *const f32,
    x_length: usize,
    x_stride: usize,
    m: usize,
    y: *mut f32,
    y_length: usize,
    y_stride: usize,
) -> gguffuse_status {
    guard(|| {
        let context = context::lookup(context)?;
        // SAFETY: the caller's word for its pointers and lengths.
        let w = unsafe { weights(r#type, w, w_bytes, n, k) }?;
        let (x, y) = (input(x, x_length, x_stride)?, output(y, y_length, y_stride)?);
        // SAFETY: not NULL and aligned (`input`, `output`); for the lengths, the caller's word.
        unsafe { context.matmul_raw(&w, m, x, y) }
    })
}

/// gguffuse_matmul with tensor `tensor` (an index) of an open file as W: k is its dims[0], n the product of the others.
///
/// The file may be closed by another thread meanwhile; the call finishes.
///
/// Errors: as for gguffuse_matmul, and GGUFFUSE_ERROR_NOT_FOUND (index).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_matmul_tensor(
    context: *mut gguffuse_context,
    file: *mut gguffuse_file,
    tensor: u64,
    x: *const f32,
    x_length: usize,
    x_stride: usize,
    m: usize,
    y: *mut f32,
    y_length: usize,
    y_stride: usize,
) -> gguffuse_status {
    guard(|| {
        let (context, file) = (context::lookup(context)?, file::lookup(file)?);
        let w = matrix(&file.tensor(tensor)?)?;
        let (x, y) = (input(x, x_length, x_stride)?, output(y, y_length, y_stride)?);
        // SAFETY: as in `gguffuse_matmul`.
        unsafe { context.matmul_raw(&w, m, x, y) }
    })
}

/// gguffuse_matmul for weight rows n_begin to n_end - 1 only, on the calling thread alone: for hosts that bring their
/// own threads. The arguments are those of the whole product; of y only columns n_begin to n_end - 1 are written, so
/// calls for different rows may run at the same time on one y. Together they give the same bits as one gguffuse_matmul.
///
/// Errors: as for gguffuse_matmul; n_begin > n_end or n_end > n is GGUFFUSE_ERROR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_matmul_rows(
    context: *mut gguffuse_context,
    r#type: u32,
    w: *const c_void,
    w_bytes: usize,
    n: usize,
    k: usize,
    n_begin: usize,
    n_end: usize,
    x: *const f32,
    x_length: usize,
    x_stride: usize,
    m: usize,
    y: *mut f32,
    y_length: usize,
    y_stride: usize,
) -> gguffuse_status {
    guard(|| {
        let context = context::lookup(context)?;
        // SAFETY: the caller's word for its pointers and lengths.
        let w = unsafe { weights(r#type, w, w_bytes, n, k) }?;
        let (x, y) = (input(x, x_length, x_stride)?, output(y, y_length, y_stride)?);
        // SAFETY: as in `gguffuse_matmul`.
        unsafe { context.matmul_rows_raw(&w, n_begin..n_end, m, x, y) }
    })
}

/// # Safety
/// `w` is NULL, or valid to read `w_bytes` from for `'a`, and nobody writes there.
pub(super) unsafe fn weights<'a>(
    r#type: u32,
    w: *const c_void,
    w_bytes: usize,
    n: usize,
    k: usize,
) -> Result<Weights<'a>> {
    // SAFETY: the same condition.
    let data = unsafe { arguments::bytes(w, w_bytes, "w") }?;
    Ok(Weights { tensor_type: TensorType::require(r#type)?, n, k, data })
}

/// A tensor as a matrix: all dimensions but the first are rows.
pub(super) fn matrix<'a>(tensor: &Tensor<'a>) -> Result<Weights<'a>> {
    let [k, rows @ ..] = tensor.dims;
    let n = rows.into_iter().try_fold(1u64, u64::checked_mul).and_then(|n| usize::try_from(n).ok());
    match (usize::try_from(k), n) {
        (Ok(k), Some(n)) => Ok(Weights { tensor_type: tensor.tensor_type, n, k, data: tensor.data }),
        _ => Err(error!(Shape, "tensor {:?} is too large for this machine", tensor.name)),
    }
}

pub(super) fn input(x: *const f32, length: usize, stride: usize) -> Result<RawMatrix> {
    let data = arguments::aligned(x, "x")?.as_ptr().cast_const();
    arguments::fits_in_memory(data, length, "x")?;
    Ok(RawMatrix { data, length, stride })
}

pub(super) fn output(y: *mut f32, length: usize, stride: usize) -> Result<RawMatrixMut> {
    let data = arguments::aligned(y, "y")?.as_ptr();
    arguments::fits_in_memory(data, length, "y")?;
    Ok(RawMatrixMut { data, length, stride })
}
