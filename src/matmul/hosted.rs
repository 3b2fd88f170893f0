//! Activations that a host's own threads pack together, row by row, for hosts that bring their threads: no copy of the
//! plain rows, which may lie anywhere, and products of any rows of them.

use super::activations::Packed;
use super::operands::Operands;
use super::scratch::Buffer;
use super::{Context, RawMatrixMut, Weights};
use crate::error::{Error, Result, error};
use crate::kernels::float_state::FloatState;
use crate::kernels::{Kernels, Rows};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Packed activation rows, each from somewhere else and by whatever thread of the host: room is made with
/// [`Context::prepare_rows`], each row packed with [`Context::pack_row_raw`], and any range of rows multiplied with
/// [`Context::matmul_row_activations_raw`], for quantised weights. The host orders these steps.
///
/// The plain rows are not copied: a product reads those that hold NaN or infinities.
#[derive(Default)]
pub struct RowActivations {
    /// Packed rows, where each plain row lies, one flag per row.
    memory: Option<Buffer>,
    all_finite: AtomicBool,
    /// The context's id; 0 = no room was made.
    context: u64,
    m: usize,
    k: usize,
}

impl RowActivations {
    /// No rows. Takes no memory.
    pub const fn new() -> RowActivations {
        RowActivations { memory: None, all_finite: AtomicBool::new(true), context: 0, m: 0, k: 0 }
    }

    /// Rows that there is room for.
    pub fn m(&self) -> usize {
        self.m
    }
}

impl Context {
    /// Makes room for `m` rows of `k` elements; what was packed before is gone. Uses no heap when there was as much room
    /// before.
    ///
    /// # Errors
    /// `Shape` where `k` is 0; `OutOfMemory`. What was packed before stays.
    pub fn prepare_rows(&self, activations: &mut RowActivations, m: usize, k: usize) -> Result<()> {
        const FAILED: Error = Error::OutOfMemory("packed activations");
        if k == 0 {
            return Err(error!(Shape, "k is 0"));
        }
        if k > isize::MAX as usize / size_of::<f32>() {
            return Err(error!(Shape, "a row of k = {k} does not fit in memory"));
        }
        let more = m.checked_mul(size_of::<*const f32>()).ok_or(FAILED)?;
        let bytes = Packed::bytes(self.precision, m, k, false)?.checked_add(more).ok_or(FAILED)?;
        let memory = match activations.memory.take_if(|memory| memory.bytes() >= bytes) {
            Some(memory) => memory,
            None => Buffer::new(bytes)?,
        };
        *activations =
            RowActivations { memory: Some(memory), all_finite: AtomicBool::new(true), context: self.id, m, k };
        Ok(())
    }

    /// Packs the `k` elements at `x` as row `row`, on the calling thread. Other threads may pack other rows meanwhile.
    ///
    /// # Errors
    /// `InvalidArgument` where there is no room for the row, or another context made it; `Misaligned` where `x` is not
    /// aligned to 4 bytes.
    ///
    /// # Safety
    /// `x` is valid for `k` elements, and stays so, unchanged, until the last product with the row. No two threads pack one
    /// row at a time, and none multiplies with it meanwhile.
    pub unsafe fn pack_row_raw(&self, activations: &RowActivations, row: usize, x: *const f32) -> Result<()> {
        let packed = self.packed_rows(activations, row..row.saturating_add(1))?;
        let sources = packed.sources.ok_or(Error::Internal("rows without sources"))?.cast_mut();
        if !x.is_aligned() {
            return Err(Error::Misaligned("x"));
        }
        let kernel = Kernels::packing(self.level).ok_or(Error::Internal("no kernel at this level"))?;
        let _float_state = FloatState::standard();
        let k = activations.k;
        let rows = Rows { x, x_stride: k, m: 1, k, out: packed.x, finite: packed.finite };
        // SAFETY: the level is available; there is room for the row, which is this thread's; the caller's promise for x.
        unsafe {
            kernel[self.precision.planes() - 1](rows);
            sources.write(x);
            if !*packed.finite {
                activations.all_finite.store(false, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The weight rows `rows` times the packed rows `x_rows`, on the calling thread: row 0 of `y` is the first of `x_rows`,
    /// and column 0 is weight row 0. The same bits as [`Context::matmul`] with these rows.
    ///
    /// # Errors
    /// As [`Context::matmul_packed_rows_raw`], and `InvalidArgument` where there is no room for `x_rows`;
    /// `UnsupportedType` for float weights, which need no packing: see [`Context::matmul_rows_raw`].
    ///
    /// # Safety
    /// As [`Context::matmul_packed_rows_raw`]. Each of `x_rows` was packed, before this call, since room was made.
    pub unsafe fn matmul_row_activations_raw(
        &self,
        w: &Weights<'_>,
        rows: Range<usize>,
        activations: &RowActivations,
        x_rows: Range<usize>,
        y: RawMatrixMut,
    ) -> Result<()> {
        if w.k != activations.k {
            return Err(error!(Shape, "the weights have k = {}, the activations k = {}", w.k, activations.k));
        }
        let packed = self.packed_rows(activations, x_rows.clone())?;
        let operands = Operands::check_packed(w, rows, x_rows.len(), y)?;
        if let Some(Kernels::Float(_)) = Kernels::of(self.level, w.tensor_type) {
            return Err(error!(UnsupportedType, "{} rows are not packed", w.tensor_type.name()));
        }
        // SAFETY: the caller's promise, and the checks.
        unsafe { self.product(&operands, Some(&packed), false) }
    }

    /// Where `rows` lie.
    fn packed_rows(&self, activations: &RowActivations, rows: Range<usize>) -> Result<Packed> {
        let &RowActivations { ref memory, ref all_finite, context, m, k } = activations;
        let Some(memory) = memory.as_ref().filter(|_| context == self.id) else {
            return Err(error!(InvalidArgument, "no room for activations was made by this context"));
        };
        if rows.start > rows.end || rows.end > m {
            return Err(error!(InvalidArgument, "activations {}..{} of {m}", rows.start, rows.end));
        }
        // The packed rows are a multiple of 64 bytes, so the pointers are aligned.
        let row_bytes = Packed::row_bytes(self.precision, k);
        let sources = memory.as_ptr().wrapping_add(m * row_bytes).cast::<*const f32>();
        Ok(Packed {
            x: memory.as_ptr().wrapping_add(rows.start * row_bytes),
            row_bytes,
            copy: None,
            sources: Some(sources.wrapping_add(rows.start)),
            finite: sources.wrapping_add(m).cast::<bool>().wrapping_add(rows.start),
            all_finite: all_finite.load(Ordering::Relaxed),
        })
    }
}
