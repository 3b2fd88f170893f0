//! Shape checks, precision, splitting, the thread pool. (Interface; implementation follows.)

use crate::blocks::TensorType;
use crate::error::{Error, Result};
use crate::kernels::Level;

/// How exactly activations enter the product. Speed by rounding them is the caller's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 24-bit activations: the f64 product to f32 grade. The default.
    #[default]
    Exact = 0,
    /// 16-bit activations.
    High = 1,
    /// 8-bit activations, the class of ggml.
    Fast = 2,
}

/// Options of a [`Context`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ContextOptions<'a> {
    /// Threads that one call may use, the calling one included; 0 = as many as the process may run on.
    pub threads: u32,
    /// See [`Precision`].
    pub precision: Precision,
    /// Name of the highest ISA level to use; `None` = the best that the machine has. `GGUFFUSE_MAX_ISA` caps as well.
    pub max_isa: Option<&'a str>,
}

/// What a multiplication needs besides its operands: ISA level, precision, threads, scratch. May be used from any thread.
pub struct Context {}

/// Weights `[n][k]`, row-major blocks of one type.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Type of the blocks.
    pub tensor_type: TensorType,
    /// Weight rows.
    pub n: usize,
    /// Columns; a multiple of the type's block.
    pub k: usize,
    /// At least `n` rows of blocks.
    pub data: &'a [u8],
}

/// A row-major f32 matrix in the caller's memory, to be read.
#[derive(Clone, Copy, Debug)]
pub struct RawMatrix {
    /// First element.
    pub data: *const f32,
    /// Elements in the buffer.
    pub length: usize,
    /// Elements from one row to the next; 0 = contiguous.
    pub stride: usize,
}

/// A row-major f32 matrix in the caller's memory, to be written.
#[derive(Clone, Copy, Debug)]
pub struct RawMatrixMut {
    /// First element.
    pub data: *mut f32,
    /// Elements in the buffer.
    pub length: usize,
    /// Elements from one row to the next; 0 = contiguous.
    pub stride: usize,
}

impl Context {
    /// Makes a context.
    pub fn new(_options: &ContextOptions<'_>) -> Result<Context> {
        Err(Error::Internal("not written yet"))
    }

    /// The ISA level in use.
    pub fn isa(&self) -> Level {
        Level::Scalar
    }

    /// `y[m][n] = x[m][k] * w[n][k]^T`.
    pub fn matmul(
        &self,
        _w: &Weights<'_>,
        _x: &[f32],
        _x_stride: usize,
        _m: usize,
        _y: &mut [f32],
        _y_stride: usize,
    ) -> Result<()> {
        Err(Error::Internal("not written yet"))
    }

    /// As `matmul`, on raw buffers, which may be written by other threads at other columns at the same time. All
    /// checks (shape, length, alignment, aliasing) are made here.
    ///
    /// # Safety
    /// `x` and `y` are NULL-free pointers to `length` elements that stay valid during the call.
    pub unsafe fn matmul_raw(&self, _w: &Weights<'_>, _m: usize, _x: RawMatrix, _y: RawMatrixMut) -> Result<()> {
        Err(Error::Internal("not written yet"))
    }

    /// As `matmul_raw`, for weight rows `n_begin..n_end` only, on the calling thread alone.
    ///
    /// # Safety
    /// As `matmul_raw`.
    pub unsafe fn matmul_rows_raw(
        &self,
        _w: &Weights<'_>,
        _n_begin: usize,
        _n_end: usize,
        _m: usize,
        _x: RawMatrix,
        _y: RawMatrixMut,
    ) -> Result<()> {
        Err(Error::Internal("not written yet"))
    }
}
