//! The product itself: which path, how it is split, and the rows whose activations are not finite.
//!
//! Which path is taken depends on the level, the type, the precision and m only, and one y depends on its own rows only:
//! so the bits are the same for any number of threads and any range of weight rows.

use super::Context;
use super::operands::Operands;
use crate::blocks;
use crate::error::{Error, Result};
use crate::kernels::float_state::FloatState;
use crate::kernels::{Kernels, Rows, activations, decode, panel};
use crate::simd::CHUNK;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Work below this, in weight bytes times activation rows, stays on the calling thread: some microseconds, in
/// which others would hardly wake up. Not tuned by measurement.
const ALONE: usize = 96 << 10;
/// Parts per thread: enough for a fast core to take over the parts of a slow one.
const PARTS_PER_THREAD: usize = 8;

impl Context {
    /// Computes checked operands, on the pool if `parallel`.
    ///
    /// # Safety
    /// The pointers of the operands are valid as `Context::matmul_raw` demands.
    pub(super) unsafe fn product(&self, operands: &Operands<'_>, parallel: bool) -> Result<()> {
        if operands.m == 0 || operands.rows.is_empty() {
            return Ok(());
        }
        let kernels =
            Kernels::of(self.level, operands.tensor_type).ok_or(Error::Internal("no kernel at this level"))?;
        let _float_state = FloatState::standard();
        let work = operands.row_bytes.saturating_mul(operands.rows.len()).saturating_mul(operands.m);
        let product = Product { context: self, operands, parallel: parallel && work > ALONE };
        // SAFETY: the level is one that is available, and the caller's promise.
        unsafe {
            match kernels {
                Kernels::Float(kernel) => product.float(kernel),
                Kernels::Quantized { .. } => product.quantized(&kernels),
            }
        }
    }
}

struct Product<'a> {
    context: &'a Context,
    operands: &'a Operands<'a>,
    parallel: bool,
}

/// A pointer into packed activations, for the threads of one call.
#[derive(Clone, Copy)]
struct Packed {
    x: *mut u8,
    finite: *mut bool,
    row_bytes: usize,
}

// SAFETY: written before the product begins, in disjoint rows; read only afterwards.
unsafe impl Sync for Packed {}

impl Product<'_> {
    /// Threads that may work on this product.
    fn threads(&self) -> usize {
        if self.parallel { self.context.pool.threads() } else { 1 }
    }

    /// Splits `range` into parts of a multiple of `unit` and calls `part(part, slot)` for each, on the pool or here;
    /// `slot < threads()` tells the threads apart.
    fn split(&self, range: Range<usize>, unit: usize, part: &(dyn Fn(Range<usize>, usize) + Sync)) -> Result<()> {
        let threads = self.threads();
        if threads == 1 {
            part(range, 0);
            return Ok(());
        }
        let length = range.len().div_ceil(threads * PARTS_PER_THREAD).next_multiple_of(unit);
        let parts = range.len().div_ceil(length);
        self.context.pool.run(parts, &|index, slot| {
            let begin = range.start + index * length;
            part(begin..(begin + length).min(range.end), slot);
        })
    }

    /// The weight rows `rows` with all activation rows, as a job for the decode and float kernels.
    fn job(&self, rows: Range<usize>, x: *const u8, x_stride: usize) -> decode::Job {
        let o = self.operands;
        decode::Job {
            w: o.w[rows.start * o.row_bytes..rows.end * o.row_bytes].as_ptr(),
            row_bytes: o.row_bytes,
            n: rows.len(),
            k: o.k,
            x,
            x_stride,
            m: o.m,
            // In bounds: `Operands::check` has seen every row of y in its buffer.
            y: o.y.wrapping_add(rows.start),
            y_stride: o.y_stride,
        }
    }

    /// # Safety
    /// The kernel's level is available; the operands' pointers are valid.
    unsafe fn float(&self, kernel: unsafe fn(decode::Job)) -> Result<()> {
        let o = self.operands;
        self.split(o.rows.clone(), 4, &|rows, _| {
            // SAFETY: the caller's promise; `job` has checked operands.
            unsafe { kernel(self.job(rows, o.x.cast(), o.x_stride * size_of::<f32>())) }
        })
    }

    /// # Safety
    /// As `float`.
    unsafe fn quantized(&self, kernels: &Kernels) -> Result<()> {
        let &Kernels::Quantized { pack_activations, decode, panel, digit_panel } = kernels else {
            return Err(Error::Internal("not a table of quantised kernels"));
        };
        let o = self.operands;
        let planes = self.context.precision.planes();
        let chunks = o.k.div_ceil(CHUNK);
        let row_bytes = chunks * activations::chunk_bytes(planes);
        let bytes = row_bytes.checked_add(1).and_then(|bytes| bytes.checked_mul(o.m));
        let buffer = self.context.activations.take(bytes.ok_or(Error::OutOfMemory("packed activations"))?)?;
        let packed =
            Packed { x: buffer.as_ptr(), finite: buffer.as_ptr().wrapping_add(row_bytes * o.m).cast(), row_bytes };

        // SAFETY: the buffer holds m rows and m flags; the caller's promise.
        let all_finite = unsafe { self.pack(pack_activations[planes - 1], packed)? };
        // The one for most rows first.
        let panel = [digit_panel, Some(panel)].into_iter().flatten().find(|panel| o.m >= panel.from[planes - 1]);
        let done = if let Some(panel) = panel {
            let panels =
                Panels { record_bytes: panel.record_bytes, pack: panel.pack, sweep: panel.sweep[planes - 1], planes };
            // SAFETY: as above.
            unsafe { self.panels(&panels, packed) }
        } else {
            self.split(o.rows.clone(), 4, &|rows, _| {
                let packed = &packed;
                // SAFETY: as above; `job` has checked operands.
                unsafe { decode[planes - 1](self.job(rows, packed.x, packed.row_bytes)) }
            })
        };
        let done = match all_finite {
            true => done,
            // SAFETY: as above.
            false => done.and_then(|()| unsafe { self.not_finite(packed) }),
        };
        self.context.activations.put(buffer);
        done
    }

    /// Packs the activations; false if any row has a value that is not finite.
    ///
    /// # Safety
    /// `packed` has room for the operands' rows.
    unsafe fn pack(&self, kernel: unsafe fn(Rows), packed: Packed) -> Result<bool> {
        let o = self.operands;
        let all_finite = AtomicBool::new(true);
        let pack = |rows: Range<usize>, _| {
            let packed = &packed;
            // SAFETY: rows of the operands, which lie in their buffers, and the same rows of `packed`.
            unsafe {
                let finite = packed.finite.add(rows.start);
                kernel(Rows {
                    x: o.x.add(rows.start * o.x_stride),
                    x_stride: o.x_stride,
                    m: rows.len(),
                    k: o.k,
                    out: packed.x.add(rows.start * packed.row_bytes),
                    finite,
                });
                if (0..rows.len()).any(|row| !*finite.add(row)) {
                    all_finite.store(false, Ordering::Relaxed);
                }
            }
        };
        // Packing reads 4 bytes per element once: not worth waking threads for a few rows.
        if o.m.saturating_mul(o.k) > 64 << 10 {
            self.split(0..o.m, 1, &pack)?;
        } else {
            pack(0..o.m, 0);
        }
        Ok(all_finite.into_inner())
    }

    /// # Safety
    /// `packed` holds the operands' activations; the kernels' level is available.
    unsafe fn panels(&self, panels: &Panels, packed: Packed) -> Result<()> {
        let chunks = self.operands.k.div_ceil(CHUNK);
        let panel_bytes = panel::STRIPS * chunks.min(panel::PANEL_CHUNKS) * panels.record_bytes;
        let sum_bytes = panel::SUM_ROWS.min(self.operands.m) * panel::PANEL_ROWS * size_of::<f32>();
        let slot_bytes = (panel_bytes + sum_bytes).next_multiple_of(64);
        // All memory is there before anything is written, so that a failure leaves y as it was.
        let buffer = self.context.panels.take(slot_bytes * self.threads())?;
        let slots = Slots { data: buffer.as_ptr(), bytes: slot_bytes };
        let done = self.split(self.operands.rows.clone(), panel::PANEL_ROWS, &|rows, slot| {
            let scratch = slots.of(slot);
            for begin in rows.clone().step_by(panel::PANEL_ROWS) {
                let rows = begin..(begin + panel::PANEL_ROWS).min(rows.end);
                // SAFETY: the slot is large enough for a panel and the sums, and this thread's; the caller's promise.
                unsafe { self.panel(panels, packed, rows, scratch, panel_bytes) };
            }
        });
        self.context.panels.put(buffer);
        done
    }

    /// At most [`panel::PANEL_ROWS`] weight rows with all activation rows.
    ///
    /// # Safety
    /// As `panels`; `scratch` holds `panel_bytes` and the sums.
    unsafe fn panel(&self, panels: &Panels, packed: Packed, rows: Range<usize>, scratch: *mut u8, panel_bytes: usize) {
        let o = self.operands;
        let chunks = o.k.div_ceil(CHUNK);
        let chunk_bytes = activations::chunk_bytes(panels.planes);
        let weight_chunk_bytes = CHUNK / o.tensor_type.block_elements() * o.tensor_type.block_bytes();
        // SAFETY: all pointers stay inside of the checked operands, the packed activations and the buffer.
        unsafe {
            let sums = scratch.add(panel_bytes).cast::<f32>();
            for first in (0..chunks).step_by(panel::PANEL_CHUNKS) {
                let count = (chunks - first).min(panel::PANEL_CHUNKS);
                (panels.pack)(panel::PackJob {
                    w: o.w[rows.start * o.row_bytes..rows.end * o.row_bytes].as_ptr().add(first * weight_chunk_bytes),
                    row_bytes: o.row_bytes,
                    n: rows.len(),
                    k: (o.k - first * CHUNK).min(count * CHUNK),
                    panel: scratch,
                });
                for begin in (0..o.m).step_by(panel::SUM_ROWS) {
                    let m = (o.m - begin).min(panel::SUM_ROWS);
                    let y = o.y.add(begin * o.y_stride + rows.start);
                    for row in 0..m {
                        let sums = std::slice::from_raw_parts_mut(sums.add(row * panel::PANEL_ROWS), panel::PANEL_ROWS);
                        sums.fill(0.0);
                        if first > 0 {
                            y.add(row * o.y_stride).copy_to_nonoverlapping(sums.as_mut_ptr(), rows.len());
                        }
                    }
                    (panels.sweep)(panel::SweepJob {
                        panel: scratch,
                        chunks: count,
                        x: packed.x.add(begin * packed.row_bytes + first * chunk_bytes),
                        x_stride: packed.row_bytes,
                        m,
                        sums,
                    });
                    for row in 0..m {
                        let sums = sums.add(row * panel::PANEL_ROWS);
                        sums.copy_to_nonoverlapping(y.add(row * o.y_stride), rows.len());
                    }
                }
            }
        }
    }

    /// Activation rows with NaN or infinities, which have no digits: dequantise and multiply, as IEEE says.
    ///
    /// # Safety
    /// As `quantized`; the flags of `packed` are written.
    unsafe fn not_finite(&self, packed: Packed) -> Result<()> {
        let o = self.operands;
        let slot_bytes = o.k * size_of::<f32>();
        let buffer = self.context.panels.take(slot_bytes * self.threads())?;
        let slots = Slots { data: buffer.as_ptr(), bytes: slot_bytes };
        let failed = AtomicBool::new(false);
        let done = self.split(o.rows.clone(), 1, &|rows, slot| {
            let packed = &packed;
            // SAFETY: this thread's slot holds k floats, which are given values before they become a slice.
            let weights = unsafe {
                let weights = slots.of(slot).cast::<f32>();
                weights.write_bytes(0, o.k);
                std::slice::from_raw_parts_mut(weights, o.k)
            };
            for row in rows {
                let source = &o.w[row * o.row_bytes..][..o.row_bytes];
                if blocks::dequantize(o.tensor_type, source, weights).is_err() {
                    failed.store(true, Ordering::Relaxed);
                    return;
                }
                for m in 0..o.m {
                    // SAFETY: rows of the operands, which lie in their buffers.
                    unsafe {
                        if !*packed.finite.add(m) {
                            let x = std::slice::from_raw_parts(o.x.add(m * o.x_stride), o.k);
                            *o.y.add(m * o.y_stride + row) = x.iter().zip(&*weights).map(|(x, w)| x * w).sum();
                        }
                    }
                }
            }
        });
        self.context.panels.put(buffer);
        match failed.into_inner() {
            false => done,
            true => Err(Error::Internal("a multipliable type has no dequantiser")),
        }
    }
}

/// One buffer, divided among the threads of a job.
struct Slots {
    data: *mut u8,
    bytes: usize,
}

// SAFETY: each thread uses its own slot.
unsafe impl Sync for Slots {}

impl Slots {
    fn of(&self, slot: usize) -> *mut u8 {
        self.data.wrapping_add(slot * self.bytes)
    }
}

/// The kernels of the panel path for one type and precision.
struct Panels {
    record_bytes: usize,
    pack: unsafe fn(panel::PackJob),
    sweep: unsafe fn(panel::SweepJob),
    planes: usize,
}
