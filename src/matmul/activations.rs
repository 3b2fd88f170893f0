//! Packed activations: rows of f32 as digits, made once and multiplied with any number of weights. A product of plain
//! activations packs them into scratch; [`Activations`] keeps them.

use super::operands::{self, Operands};
use super::scratch::Buffer;
use super::{Context, Precision, RawMatrix, RawMatrixMut, Weights};
use crate::error::{Error, Result, error};
use crate::kernels::float_state::FloatState;
use crate::kernels::{Kernels, Rows, activations};
use crate::simd::CHUNK;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Checked rows of plain activations.
#[derive(Clone, Copy)]
pub(super) struct PlainRows {
    pub(super) x: *const f32,
    /// In elements, never 0.
    pub(super) x_stride: usize,
    pub(super) m: usize,
    pub(super) k: usize,
}

// SAFETY: only read, by the threads of one call, during which the caller keeps the rows as they are.
unsafe impl Sync for PlainRows {}

/// Packed rows, in memory that is somebody else's.
#[derive(Clone, Copy)]
pub(super) struct Packed {
    pub(super) x: *mut u8,
    pub(super) row_bytes: usize,
    /// A copy of the plain rows, contiguous, where one was asked for.
    pub(super) copy: Option<*mut f32>,
    /// Where each of the plain rows lies, if not in the operands.
    pub(super) sources: Option<*const *const f32>,
    /// One flag per row.
    pub(super) finite: *mut bool,
    pub(super) all_finite: bool,
}

// SAFETY: written before any product begins, by threads in disjoint rows; read only afterwards.
unsafe impl Sync for Packed {}

impl Packed {
    pub(super) fn row_bytes(precision: Precision, k: usize) -> usize {
        k.div_ceil(CHUNK) * activations::chunk_bytes(precision.planes())
    }

    /// Bytes of `m` packed rows of `k` columns with their flags, and with a copy of the plain rows if `copied`.
    pub(super) fn bytes(precision: Precision, m: usize, k: usize, copied: bool) -> Result<usize> {
        let row_bytes =
            Packed::row_bytes(precision, k) + usize::from(copied) * k * size_of::<f32>() + size_of::<bool>();
        row_bytes.checked_mul(m).ok_or(Error::OutOfMemory("packed activations"))
    }

    /// Where the rows lie in `memory`, which has [`Packed::bytes`].
    fn at(memory: &Buffer, precision: Precision, m: usize, k: usize, copied: bool) -> Packed {
        let row_bytes = Packed::row_bytes(precision, k);
        let copy = memory.as_ptr().wrapping_add(m * row_bytes).cast::<f32>();
        let flags = if copied { copy.wrapping_add(m * k) } else { copy };
        let copy = copied.then_some(copy);
        Packed { x: memory.as_ptr(), row_bytes, copy, sources: None, finite: flags.cast(), all_finite: true }
    }
}

impl Context {
    /// Packs `rows` into `memory`, with a copy of them if `copied`.
    ///
    /// # Safety
    /// The rows are readable; nobody else uses the memory, which has [`Packed::bytes`].
    pub(super) unsafe fn pack_rows(
        &self,
        rows: &PlainRows,
        memory: &Buffer,
        copied: bool,
        parallel: bool,
    ) -> Result<Packed> {
        /// Elements that one thread packs in a nanosecond.
        const PER_NANOSECOND: usize = 2;
        let kernel = Kernels::packing(self.level).ok_or(Error::Internal("no kernel at this level"))?;
        let kernel = kernel[self.precision.planes() - 1];
        let &PlainRows { m, k, .. } = rows;
        let mut packed = Packed::at(memory, self.precision, m, k, copied);
        let all_finite = AtomicBool::new(true);
        let nanoseconds = parallel.then_some(m.saturating_mul(k) / PER_NANOSECOND);
        self.split(nanoseconds, 0..m, 1, &|part, _| {
            let (rows, packed) = (&rows, &packed);
            // SAFETY: rows of the caller's, which are readable, and the same rows of the copy and of `packed`, which have
            // room for them and belong to this thread.
            unsafe {
                let (x, x_stride) = match packed.copy {
                    Some(copy) => (rows.copy(part.clone(), copy), k),
                    None => (rows.x.add(part.start * rows.x_stride), rows.x_stride),
                };
                let finite = packed.finite.add(part.start);
                let out = packed.x.add(part.start * packed.row_bytes);
                kernel(Rows { x, x_stride, m: part.len(), k, out, finite });
                if (0..part.len()).any(|row| !*finite.add(row)) {
                    all_finite.store(false, Ordering::Relaxed);
                }
            }
        })?;
        packed.all_finite = all_finite.into_inner();
        Ok(packed)
    }
}

impl PlainRows {
    /// Copies the rows `part` to where they belong in the contiguous rows at `copy`; the first of them there.
    ///
    /// # Safety
    /// The rows are readable; `copy` has room for all rows, and no other thread has these.
    unsafe fn copy(&self, part: Range<usize>, copy: *mut f32) -> *const f32 {
        for row in part.clone() {
            // SAFETY: the caller's promise.
            unsafe { self.x.add(row * self.x_stride).copy_to_nonoverlapping(copy.add(row * self.k), self.k) };
        }
        copy.wrapping_add(part.start * self.k)
    }
}

/// Activations `x[m][k]`, packed once for products with several weights of the same `k`, as those for q, k and v.
///
/// Packed with [`Context::pack`], again and again in the same memory, which grows with the largest `m` and `k` and is given
/// back when the value goes: about `m * k * 8` bytes with [`Precision::Exact`], 7 and 6 with the others. A copy of `x` is
/// part of it, for float weights and for rows with NaN or infinities: the caller's `x` is not needed after packing.
///
/// Multiplied with [`Context::matmul_packed`], by any number of threads at once.
#[derive(Default)]
pub struct Activations {
    /// [`Packed`] rows with their copy.
    memory: Option<Buffer>,
    all_finite: bool,
    /// The context's id; 0 = nothing is packed.
    context: u64,
    m: usize,
    k: usize,
}

impl Activations {
    /// Nothing packed. Takes no memory.
    pub const fn new() -> Activations {
        Activations { memory: None, all_finite: true, context: 0, m: 0, k: 0 }
    }

    /// Rows packed.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Columns packed; 0 when nothing is.
    pub fn k(&self) -> usize {
        self.k
    }
}

impl Context {
    /// Packs `m` rows of `k` elements of `x` for products in this context; `x_stride` is in elements, 0 = contiguous.
    /// Uses no heap when `activations` had at least as much of this context before.
    ///
    /// # Errors
    /// `Shape` where `k` is 0, the stride is shorter than a row, or a size overflows; `BufferTooSmall` where `x` is shorter
    /// than its shape needs; `OutOfMemory`. What was packed before stays, but for `Internal`.
    pub fn pack(&self, activations: &mut Activations, x: &[f32], x_stride: usize, m: usize, k: usize) -> Result<()> {
        let x = RawMatrix { data: x.as_ptr(), length: x.len(), stride: x_stride };
        // SAFETY: a slice that is borrowed during the call.
        unsafe { self.pack_raw(activations, x, m, k) }
    }

    /// As [`Context::pack`], of memory that others may write between its rows.
    ///
    /// # Errors
    /// As [`Context::pack`], and `Misaligned` where `x` is not aligned to 4 bytes.
    ///
    /// # Safety
    /// `x.data` is valid for `x.length` elements during the call, and nobody writes the rows.
    pub unsafe fn pack_raw(&self, activations: &mut Activations, x: RawMatrix, m: usize, k: usize) -> Result<()> {
        let x_stride = operands::check_activations(m, k, x)?;
        let bytes = Packed::bytes(self.precision, m, k, true)?;
        let memory = match activations.memory.take_if(|memory| memory.bytes() >= bytes) {
            Some(memory) => memory,
            None => Buffer::new(bytes)?,
        };
        // From here on the old contents are gone.
        activations.context = 0;
        let memory = activations.memory.insert(memory);
        let _float_state = FloatState::standard();
        let rows = PlainRows { x: x.data, x_stride, m, k };
        // SAFETY: checked rows, the caller's promise, and memory that is borrowed for writing.
        let packed = unsafe { self.pack_rows(&rows, memory, true, true)? };
        (activations.all_finite, activations.m, activations.k) = (packed.all_finite, m, k);
        activations.context = self.id;
        Ok(())
    }

    /// `y[m][n] = sum_k x[m][k] * w[n][k]` with packed `x`: the same bits as [`Context::matmul`].
    ///
    /// # Errors
    /// `InvalidArgument` where `activations` were not packed by this context; `Shape` where `w.k` is not their `k`; else as
    /// [`Context::matmul`].
    pub fn matmul_packed(
        &self,
        w: &Weights<'_>,
        activations: &Activations,
        y: &mut [f32],
        y_stride: usize,
    ) -> Result<()> {
        let y = RawMatrixMut { data: y.as_mut_ptr(), length: y.len(), stride: y_stride };
        // SAFETY: a slice that is borrowed during the call.
        unsafe { self.matmul_packed_raw(w, activations, y) }
    }

    /// As [`Context::matmul_packed`], on a buffer that other threads may write at other elements at the same time.
    ///
    /// # Errors
    /// As [`Context::matmul_packed`], and `Aliasing` where `y` overlaps the weights, `Misaligned` where it is not aligned
    /// to 4 bytes.
    ///
    /// # Safety
    /// `y.data` is valid for `y.length` elements during the call; nobody else touches the rows that the call writes.
    pub unsafe fn matmul_packed_raw(&self, w: &Weights<'_>, activations: &Activations, y: RawMatrixMut) -> Result<()> {
        let (operands, packed) = self.operands_of(w, 0..w.n, activations, y)?;
        // SAFETY: the caller's promise, and the checks; the packed rows are borrowed during the call.
        unsafe { self.product(&operands, Some(&packed), true) }
    }

    /// As [`Context::matmul_packed_raw`], for the weight rows `rows` only and on the calling thread alone: several threads
    /// of a host share one packing. See [`Context::matmul_rows_raw`].
    ///
    /// # Errors
    /// As [`Context::matmul_packed_raw`], and `InvalidArgument` where `rows` does not lie in `0..w.n`.
    ///
    /// # Safety
    /// As [`Context::matmul_packed_raw`].
    pub unsafe fn matmul_packed_rows_raw(
        &self,
        w: &Weights<'_>,
        rows: Range<usize>,
        activations: &Activations,
        y: RawMatrixMut,
    ) -> Result<()> {
        let (operands, packed) = self.operands_of(w, rows, activations, y)?;
        // SAFETY: as in `matmul_packed_raw`.
        unsafe { self.product(&operands, Some(&packed), false) }
    }

    fn operands_of<'a>(
        &self,
        w: &Weights<'a>,
        rows: Range<usize>,
        activations: &Activations,
        y: RawMatrixMut,
    ) -> Result<(Operands<'a>, Packed)> {
        let &Activations { ref memory, m, k, all_finite, context } = activations;
        let memory = memory.as_ref().filter(|_| context == self.id).ok_or_else(|| match context {
            0 => error!(InvalidArgument, "nothing is packed in the activations"),
            _ => error!(InvalidArgument, "the activations were packed by another context"),
        })?;
        if w.k != k {
            return Err(error!(Shape, "the weights have k = {}, the activations k = {k}", w.k));
        }
        let packed = Packed { all_finite, ..Packed::at(memory, self.precision, m, k, true) };
        let copy = packed.copy.ok_or(Error::Internal("activations without a copy"))?;
        let x = RawMatrix { data: copy, length: m * k, stride: 0 };
        Ok((Operands::check(w, rows, m, x, y)?, packed))
    }
}
