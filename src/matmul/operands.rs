//! The operands of a product and all checks of them: afterwards nothing has to be checked again.

use crate::blocks::TensorType;
use crate::error::{Error, Result, error};
use std::ops::Range;
use std::ptr::null;

/// Weights `[n][k]`: row-major blocks of one type.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Type of the blocks.
    pub tensor_type: TensorType,
    /// Weight rows.
    pub n: usize,
    /// Columns; a multiple of the type's block.
    pub k: usize,
    /// At least `n` rows of blocks, at any alignment.
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

/// Operands that fit together: every row of every matrix lies inside of its buffer.
#[derive(Clone, Debug)]
pub(super) struct Operands<'a> {
    pub(super) tensor_type: TensorType,
    /// The weights' bytes, whole rows of `row_bytes`.
    pub(super) w: &'a [u8],
    pub(super) row_bytes: usize,
    /// The weight rows wanted.
    pub(super) rows: Range<usize>,
    pub(super) k: usize,
    pub(super) m: usize,
    pub(super) x: *const f32,
    /// In elements, never 0.
    pub(super) x_stride: usize,
    pub(super) y: *mut f32,
    /// In elements, never 0.
    pub(super) y_stride: usize,
}

// SAFETY: the pointers are the caller's, who promised that they may be used during the call from the threads of the pool;
// threads write disjoint elements of `y` only.
unsafe impl Sync for Operands<'_> {}

impl<'a> Operands<'a> {
    /// Checks everything that can be checked without reading an element.
    pub(super) fn check(
        weights: &Weights<'a>,
        rows: Range<usize>,
        m: usize,
        x: RawMatrix,
        y: RawMatrixMut,
    ) -> Result<Operands<'a>> {
        Operands::of(weights, rows, m, Some(x), y)
    }

    /// As [`Operands::check`], without activations: `x` is NULL.
    pub(super) fn check_packed(
        weights: &Weights<'a>,
        rows: Range<usize>,
        m: usize,
        y: RawMatrixMut,
    ) -> Result<Operands<'a>> {
        Operands::of(weights, rows, m, None, y)
    }

    fn of(
        weights: &Weights<'a>,
        rows: Range<usize>,
        m: usize,
        x: Option<RawMatrix>,
        y: RawMatrixMut,
    ) -> Result<Operands<'a>> {
        let &Weights { tensor_type, n, k, data } = weights;
        if !tensor_type.can_matmul() {
            return Err(error!(UnsupportedType, "{} cannot be multiplied by", tensor_type.name()));
        }
        if k == 0 {
            return Err(error!(Shape, "k is 0"));
        }
        if rows.start > rows.end || rows.end > n {
            let Range { start, end } = rows;
            return Err(error!(InvalidArgument, "rows {start}..{end} do not lie in the {n} rows of the weights"));
        }
        let row_bytes = usize::try_from(tensor_type.row_size(k as u64)?)
            .map_err(|_| error!(Shape, "a row of k = {k} does not fit in memory"))?;
        let w_bytes = row_bytes.checked_mul(n).ok_or_else(|| error!(Shape, "n = {n} rows of k = {k} overflow"))?;
        let Some(w) = data.get(..w_bytes) else {
            let has = data.len();
            return Err(error!(BufferTooSmall, "the weights have {has} bytes, n = {n} and k = {k} need {w_bytes}"));
        };
        let x_stride = match &x {
            Some(x) => check_matrix("x", m, k, x.stride, x.length)?,
            None => k,
        };
        let y_stride = check_matrix("y", m, n, y.stride, y.length)?;
        let x = x.map_or(null(), |x| x.data);
        if !x.is_aligned() {
            return Err(Error::Misaligned("x"));
        }
        if !y.data.is_aligned() {
            return Err(Error::Misaligned("y"));
        }
        if m != 0 && n != 0 {
            let y_bytes = extent(m, n, y_stride) * size_of::<f32>();
            if !x.is_null() && overlap(y.data.cast(), y_bytes, x.cast(), extent(m, k, x_stride) * size_of::<f32>()) {
                return Err(Error::Aliasing("y overlaps x"));
            }
            if overlap(y.data.cast(), y_bytes, w.as_ptr(), w.len()) {
                return Err(Error::Aliasing("y overlaps the weights"));
            }
        }
        Ok(Operands { tensor_type, w, row_bytes, rows, k, m, x, x_stride, y: y.data, y_stride })
    }
}

/// Checks activations that come without weights; returns the stride.
pub(super) fn check_activations(m: usize, k: usize, x: RawMatrix) -> Result<usize> {
    if k == 0 {
        return Err(error!(Shape, "k is 0"));
    }
    // `check_matrix` looks at nothing where there are no rows.
    if k > isize::MAX as usize / size_of::<f32>() {
        return Err(error!(Shape, "a row of k = {k} does not fit in memory"));
    }
    let stride = check_matrix("x", m, k, x.stride, x.length)?;
    if !x.data.is_aligned() {
        return Err(Error::Misaligned("x"));
    }
    Ok(stride)
}

/// Elements from the first to the last one used. Checked by `check_matrix` to be within the buffer, so within `isize`.
fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    (rows - 1) * stride + columns
}

/// Checks `rows` x `columns` against a buffer of `length` elements; returns the stride.
fn check_matrix(name: &str, rows: usize, columns: usize, stride: usize, length: usize) -> Result<usize> {
    let contiguous = columns.max(1);
    let stride = if stride == 0 { contiguous } else { stride };
    if stride < columns {
        return Err(error!(Shape, "{name}_stride is {stride}, less than a row of {columns}"));
    }
    // A matrix of no columns has no elements either, whatever its rows would skip.
    if rows == 0 || columns == 0 {
        return Ok(contiguous);
    }
    let needed = (rows - 1).checked_mul(stride).and_then(|skipped| skipped.checked_add(columns));
    match needed {
        None => Err(error!(Shape, "{rows} rows of {name} with a stride of {stride} overflow")),
        Some(needed) if needed > length => {
            Err(error!(BufferTooSmall, "{name} has {length} elements, {rows} x {columns} need {needed}"))
        }
        Some(needed) if needed > isize::MAX as usize / size_of::<f32>() => {
            Err(error!(Shape, "{rows} rows of {name} do not fit in memory"))
        }
        // Where there is no second row its distance may be any number, even one that is too large in bytes.
        Some(_) if rows == 1 => Ok(contiguous),
        Some(_) => Ok(stride),
    }
}

fn overlap(a: *const u8, a_bytes: usize, b: *const u8, b_bytes: usize) -> bool {
    let (a, b) = (a.addr(), b.addr());
    a < b.saturating_add(b_bytes) && b < a.saturating_add(a_bytes)
}
