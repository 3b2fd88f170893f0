//! The product itself: which path, how it is split, and the rows whose activations are not finite.
//!
//! Which path is taken depends on the level, the type, the precision and m only, and one y depends on its own rows only:
//! so the bits are the same for any number of threads and any range of weight rows.

use super::Context;
use super::activations::{Packed, PlainRows};
use super::operands::Operands;
use super::pool::SHARED_FROM;
use crate::blocks;
use crate::error::{Error, Result};
use crate::kernels::cpu::Cpu;
use crate::kernels::float_state::FloatState;
use crate::kernels::{Kernels, Level, PanelKernels, Tiling, activations, decode, panel, panel_job};
use crate::simd::{CHUNK, LANES};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Weight bytes times activation rows that one thread works through in a nanosecond: decode from cache, EXACT. Panels and
/// the lesser vectors differ by a small factor, which matters little to whether a job is worth other threads.
fn bytes_per_nanosecond(level: Level, kernels: &Kernels) -> usize {
    match (level, kernels) {
        (Level::Scalar, _) => 1,
        (_, Kernels::Quantized { .. }) => 24,
        (_, Kernels::Float(_)) => 96,
    }
}

/// The shortest part, in nanoseconds: each costs some fifty.
const PART: usize = 2_000;
/// Parts per thread: enough for a fast core to take over the parts of a slow one.
const PARTS_PER_THREAD: usize = 8;

impl Context {
    /// Computes checked operands, on the pool if `parallel`. `packed`: the operands' activations, where they are packed
    /// already.
    ///
    /// # Safety
    /// The pointers of the operands are valid as `Context::matmul_raw` demands, and those of `packed` during the call.
    pub(super) unsafe fn product(
        &self,
        operands: &Operands<'_>,
        packed: Option<&Packed>,
        parallel: bool,
    ) -> Result<()> {
        let o = operands;
        if o.m == 0 || o.rows.is_empty() {
            return Ok(());
        }
        let kernels = Kernels::of(self.level, o.tensor_type).ok_or(Error::Internal("no kernel at this level"))?;
        let _float_state = FloatState::standard();
        let work = o.row_bytes.saturating_mul(o.rows.len()).saturating_mul(o.m);
        let speed = bytes_per_nanosecond(self.level, &kernels);
        let product = Product { context: self, operands, nanoseconds: parallel.then_some(work / speed) };
        // SAFETY: the level is one that is available, and the caller's promise.
        unsafe {
            match (kernels, packed) {
                (Kernels::Float(kernel), _) => product.float(kernel),
                (Kernels::Quantized { .. }, Some(packed)) => product.quantized(&kernels, packed),
                (Kernels::Quantized { .. }, None) => {
                    let memory = self.packed.take(Packed::bytes(self.precision, o.m, o.k, false)?)?;
                    let rows = PlainRows { x: o.x, x_stride: o.x_stride, m: o.m, k: o.k };
                    let packed = self.pack_rows(&rows, &memory, false, parallel);
                    let done = packed.and_then(|packed| product.quantized(&kernels, &packed));
                    self.packed.put(memory);
                    done
                }
            }
        }
    }

    /// Splits `range` into parts of a multiple of `unit` and calls `part(part, slot)` for each, on the pool if that is worth
    /// it; `slot < threads()` tells the threads apart. `nanoseconds`: about what one thread takes for all; `None` keeps it
    /// all here.
    pub(super) fn split(
        &self,
        nanoseconds: Option<usize>,
        range: Range<usize>,
        unit: usize,
        part: &(dyn Fn(Range<usize>, usize) + Sync),
    ) -> Result<()> {
        let nanoseconds = nanoseconds.unwrap_or(0);
        if self.threads() == 1 || nanoseconds < SHARED_FROM {
            part(range, 0);
            return Ok(());
        }
        let most_parts = (self.threads() * PARTS_PER_THREAD).min(nanoseconds / PART);
        let length = range.len().div_ceil(most_parts).next_multiple_of(unit);
        let parts = range.len().div_ceil(length);
        self.pool.run(nanoseconds, parts, &|index, slot| {
            let begin = range.start + index * length;
            part(begin..(begin + length).min(range.end), slot);
        })
    }
}

/// From how many activation rows on panels are wide.
const WIDE_FROM: usize = 64;

/// From how many weight rows on panels are laid out so that they begin with whole lines of y.
const ALIGNED_FROM: usize = 2048;
const LINE_BYTES: usize = 64;

struct Product<'a> {
    context: &'a Context,
    operands: &'a Operands<'a>,
    /// About what one thread takes; `None`: on the calling thread alone.
    nanoseconds: Option<usize>,
}

impl Product<'_> {
    /// Threads that may work on this product.
    fn threads(&self) -> usize {
        self.nanoseconds.map_or(1, |_| self.context.threads())
    }

    /// See [`Context::split`].
    fn split(&self, range: Range<usize>, unit: usize, part: &(dyn Fn(Range<usize>, usize) + Sync)) -> Result<()> {
        self.context.split(self.nanoseconds, range, unit, part)
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
            cpu: Cpu::of_this_machine(),
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
    /// As `float`; `packed` holds the operands' activations.
    unsafe fn quantized(&self, kernels: &Kernels, packed: &Packed) -> Result<()> {
        let &Kernels::Quantized { decode, panel, digit_panel } = kernels else {
            return Err(Error::Internal("not a table of quantised kernels"));
        };
        let o = self.operands;
        let planes = self.context.precision.planes();
        let from = |panel: &PanelKernels| self.context.panel_from.unwrap_or(panel.from[planes - 1]);
        // The one for most rows first.
        let ways = [digit_panel, Some(panel)];
        let way = ways.into_iter().flatten().find(|panel| o.m >= from(panel));
        let done = if let Some(kernels) = way {
            // Enough panels for all threads.
            let least = if self.threads() == 1 { 1 } else { self.threads() * PARTS_PER_THREAD / 2 };
            let chunks = o.k.div_ceil(CHUNK).min(kernels.most_chunks);
            let mut strips = panel::STRIPS;
            while strips < kernels.most_strips
                && o.m >= WIDE_FROM
                && 2 * strips * chunks * kernels.record_bytes <= kernels.most_bytes
                && o.rows.len() >= least * 2 * strips * LANES
            {
                strips *= 2;
            }
            let mut panels = Panels { kernels, strips, chunks, m: o.m, planes };
            if let Some(tiling) = kernels.tiling {
                // Evenly in blocks of so many sweeps; or of one more, so that a few rows more do not have weights unpacked again.
                let bytes = panels.tiled_bytes(o.m);
                let sweeps = (tiling.most_bytes / bytes).max(1);
                let more = usize::from((sweeps + 1) * bytes <= tiling.limit_bytes);
                let all = o.m.div_ceil(panel::SUM_ROWS);
                let blocks = all.saturating_sub(more).div_ceil(sweeps).max(1);
                panels.m = all.div_ceil(blocks) * panel::SUM_ROWS;
            }
            // SAFETY: as above.
            unsafe { self.panels(&panels, packed) }
        } else {
            self.split(o.rows.clone(), 8, &|rows, _| {
                // SAFETY: the caller's promise; `job` has checked operands.
                unsafe { decode[planes - 1](self.job(rows, packed.x, packed.row_bytes)) }
            })
        };
        match packed.all_finite {
            true => done,
            // SAFETY: as above.
            false => done.and_then(|()| unsafe { self.not_finite(packed) }),
        }
    }

    /// # Safety
    /// `packed` holds the operands' activations; the kernels' level is available.
    unsafe fn panels(&self, panels: &Panels, packed: &Packed) -> Result<()> {
        let panel_rows = panels.strips * LANES;
        let slot_bytes = panels.bytes(self.operands.m);
        // All memory is there before anything is written, so that a failure leaves y as it was.
        let buffer = self.context.panels.take(slot_bytes * self.threads())?;
        let slots = Slots { data: buffer.as_ptr(), bytes: slot_bytes };
        // The first panel may begin before the first row.
        let missing = self.missing_rows(panel_rows);
        let o = self.operands;
        let chunks = o.k.div_ceil(CHUNK);
        let done = self.split(0..missing + o.rows.len(), panel_rows, &|rows, slot| {
            let scratch = slots.of(slot);
            let panels_of_part = || {
                rows.clone().step_by(panel_rows).map(|begin| {
                    let end = (begin + panel_rows).min(rows.end);
                    o.rows.start + begin.saturating_sub(missing)..o.rows.start + end - missing
                })
            };
            let ranges = (0..chunks).step_by(panels.chunks).map(|first| first..chunks.min(first + panels.chunks));
            // SAFETY: the slot is large enough for what `Panels` says, and this thread's; the caller's promise.
            unsafe {
                match panels.kernels.tiling {
                    None => panels_of_part().for_each(|rows| {
                        ranges
                            .clone()
                            .for_each(|chunks| self.panel(panels, packed, rows.clone(), chunks, 0..o.m, scratch));
                    }),
                    // Weights are unpacked again for each block of activations, which come from far away once for all panels.
                    Some(tiling) => ranges.for_each(|chunks| {
                        for begin in (0..o.m).step_by(panels.m) {
                            let block = begin..o.m.min(begin + panels.m);
                            self.tile(panels, &tiling, packed, chunks.clone(), block.clone(), scratch);
                            panels_of_part().for_each(|rows| {
                                self.panel(panels, packed, rows, chunks.clone(), block.clone(), scratch);
                            });
                        }
                    }),
                }
            }
        });
        self.context.panels.put(buffer);
        done
    }

    /// Lays out the activation rows `block`, chunks `chunks`, as tiles.
    ///
    /// # Safety
    /// As `panels`; `scratch` holds `panels.bytes(m)`.
    unsafe fn tile(
        &self,
        panels: &Panels,
        tiling: &Tiling,
        packed: &Packed,
        chunks: Range<usize>,
        block: Range<usize>,
        scratch: *mut u8,
    ) {
        for (index, begin) in block.clone().step_by(panel::SUM_ROWS).enumerate() {
            // SAFETY: the rows and chunks are packed, and the buffer has space for a block.
            unsafe {
                (tiling.tile[panels.planes - 1])(panel_job::TileJob {
                    x: packed.x.add(begin * packed.row_bytes + chunks.start * activations::chunk_bytes(panels.planes)),
                    x_stride: packed.row_bytes,
                    m: (block.end - begin).min(panel::SUM_ROWS),
                    chunks: chunks.len(),
                    out: panels.tiles(scratch, self.operands.m, index),
                });
            }
        }
    }

    /// How many rows the first panel should be short of, so that those after it begin with whole lines of y: `malloc` gives
    /// large buffers that begin 16 bytes after one. Not if the one panel more costs more than that gains.
    fn missing_rows(&self, panel_rows: usize) -> usize {
        let o = self.operands;
        let first = o.y.wrapping_add(o.rows.start).addr();
        let after_line = first % LINE_BYTES / size_of::<f32>();
        let aligns = o.y_stride.is_multiple_of(LINE_BYTES / size_of::<f32>()) && first.is_multiple_of(size_of::<f32>());
        if after_line == 0 || !aligns || o.m < WIDE_FROM || o.rows.len() < ALIGNED_FROM {
            return 0;
        }
        panel_rows - (LINE_BYTES / size_of::<f32>() - after_line)
    }

    /// The weight rows of at most one panel, chunks `chunks`, with the activation rows `block`.
    ///
    /// # Safety
    /// As `tile`, which has tiled the block, where that is needed.
    unsafe fn panel(
        &self,
        panels: &Panels,
        packed: &Packed,
        rows: Range<usize>,
        chunks: Range<usize>,
        block: Range<usize>,
        scratch: *mut u8,
    ) {
        const NARROW: usize = panel::STRIPS * LANES;
        const WIDE: usize = panel::WIDE_STRIPS * LANES;
        let o = self.operands;
        // The first and the last panel may be narrower ones.
        let strips = rows.len().div_ceil(LANES).next_multiple_of(panel::STRIPS);
        let panel_rows = strips * LANES;
        let first = chunks.start;
        let chunk_bytes = activations::chunk_bytes(panels.planes);
        let weight_chunk_bytes = CHUNK / o.tensor_type.block_elements() * o.tensor_type.block_bytes();
        let cpu = Cpu::of_this_machine();
        let asks_for_rows = o.m * packed.row_bytes >= panel_job::FAR_ACTIVATIONS && cpu.asks_for_activations();
        // SAFETY: all pointers stay inside of the checked operands, the packed activations and the buffer.
        unsafe {
            let kept = scratch.add(panels.panel_bytes()).cast::<f32>();
            // The next panel, if this thread goes on with it; else another thread's, which only costs the asking.
            let next_begin = rows.end * o.row_bytes;
            let next = &o.w[next_begin..o.w.len().min(next_begin + rows.len() * o.row_bytes)];
            (panels.kernels.pack)(panel_job::PackJob {
                w: o.w[rows.start * o.row_bytes..rows.end * o.row_bytes].as_ptr().add(first * weight_chunk_bytes),
                row_bytes: o.row_bytes,
                strips,
                n: rows.len(),
                k: (o.k - first * CHUNK).min(chunks.len() * CHUNK),
                panel: scratch,
            });
            for (index, begin) in block.clone().step_by(panel::SUM_ROWS).enumerate() {
                let m = (block.end - begin).min(panel::SUM_ROWS);
                let sums = kept.add(panels.kept(m));
                let y = panel_job::Sums { first: o.y.add(begin * o.y_stride + rows.start), stride: o.y_stride };
                // The first and the last panel may have more rows than there are. Stores across lines of y would take
                // longer than copying (FAST Q4_K with m = 512 at the AVX-512 level of an Emerald Rapids: 2 %).
                let apart = rows.len() < panel_rows || !y.begin_with_lines();
                let end = if apart { panel_job::Sums { first: sums, stride: panel_rows } } else { y };
                if apart && first > 0 {
                    for row in 0..m {
                        let (y, sums) = (y.first.add(row * y.stride), sums.add(row * panel_rows));
                        y.copy_to_nonoverlapping(sums, rows.len());
                    }
                }
                (panels.kernels.sweep[panels.planes - 1])(panel_job::SweepJob {
                    panel: scratch,
                    chunks: chunks.len(),
                    x: packed.x.add(begin * packed.row_bytes + first * chunk_bytes),
                    x_stride: packed.row_bytes,
                    m,
                    strips,
                    begin: if first > 0 { Some(end) } else { None },
                    tiled: panels.tiles(scratch, o.m, index),
                    sums: kept,
                    end,
                    next: next.as_ptr().wrapping_add(next.len() * (begin - block.start) / block.len()),
                    next_bytes: next.len() * m / block.len(),
                    asks_for_rows,
                    asks_for_end: cpu.asks_for_results(),
                });
                if apart {
                    for row in 0..m {
                        let (y, sums) = (y.first.add(row * y.stride), sums.add(row * panel_rows));
                        // A length that the compiler knows, where it is that: copying took 3 % of a prompt.
                        match rows.len() {
                            NARROW => sums.copy_to_nonoverlapping(y, NARROW),
                            WIDE => sums.copy_to_nonoverlapping(y, WIDE),
                            n => sums.copy_to_nonoverlapping(y, n),
                        }
                    }
                }
            }
        }
    }

    /// Activation rows with NaN or infinities, which have no digits: dequantise and multiply, as IEEE says.
    ///
    /// # Safety
    /// As `quantized`.
    unsafe fn not_finite(&self, packed: &Packed) -> Result<()> {
        /// Columns that are dequantised at a time: a multiple of every block.
        const COLUMNS: usize = 1 << 14;
        let o = self.operands;
        let (elements, bytes) = (o.tensor_type.block_elements(), o.tensor_type.block_bytes());
        let slot_bytes = COLUMNS * size_of::<f32>();
        let buffer = self.context.panels.take(slot_bytes * self.threads())?;
        let slots = Slots { data: buffer.as_ptr(), bytes: slot_bytes };
        let failed = AtomicBool::new(false);
        let done = self.split(o.rows.clone(), 1, &|rows, slot| {
            // SAFETY: this thread's slot holds the floats, which are given values before they become a slice.
            let weights = unsafe {
                let weights = slots.of(slot).cast::<f32>();
                weights.write_bytes(0, COLUMNS);
                std::slice::from_raw_parts_mut(weights, COLUMNS)
            };
            for row in rows {
                let source = &o.w[row * o.row_bytes..][..o.row_bytes];
                for (index, source) in source.chunks(COLUMNS / elements * bytes).enumerate() {
                    let weights = &mut weights[..source.len() / bytes * elements];
                    if blocks::dequantize(o.tensor_type, source, weights).is_err() {
                        failed.store(true, Ordering::Relaxed);
                        return;
                    }
                    // SAFETY: the caller's promise.
                    for m in (0..o.m).filter(|m| unsafe { !*packed.finite.add(*m) }) {
                        // SAFETY: rows of the operands, which lie in their buffers.
                        unsafe {
                            let x = packed.sources.map_or_else(|| o.x.add(m * o.x_stride), |sources| *sources.add(m));
                            let x = std::slice::from_raw_parts(x.add(index * COLUMNS), weights.len());
                            let y = o.y.add(m * o.y_stride + row);
                            let before = if index == 0 { 0.0 } else { *y };
                            *y = x.iter().zip(&*weights).fold(before, |sum, (x, w)| sum + x * w);
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

/// The panels of a product.
struct Panels {
    kernels: PanelKernels,
    /// The most strips and chunks of one of them.
    strips: usize,
    chunks: usize,
    /// The most activation rows that it is multiplied with.
    m: usize,
    planes: usize,
}

/// The parts of a thread's scratch: a panel, sums that are kept, sums that are left apart, and tiles.
impl Panels {
    fn panel_bytes(&self) -> usize {
        self.strips * self.chunks * self.kernels.record_bytes
    }

    /// Sums that are kept for `m` rows before those that are left. Without tiling, the same space is used for both.
    fn kept(&self, m: usize) -> usize {
        self.kernels.tiling.map_or(0, |_| m * panel::STRIPS * LANES)
    }

    fn sum_bytes(&self, m: usize) -> usize {
        let m = m.min(panel::SUM_ROWS);
        (self.kept(m) + m * self.strips * LANES) * size_of::<f32>()
    }

    /// The tiles of a sweep, of `m` activation rows in all.
    fn tiled_bytes(&self, m: usize) -> usize {
        let bytes = |tiling: Tiling| (tiling.bytes)(m.min(panel::SUM_ROWS), self.chunks, self.planes);
        self.kernels.tiling.map_or(0, bytes)
    }

    /// Where the tiles of the sweep with number `index` lie.
    fn tiles(&self, scratch: *mut u8, m: usize, index: usize) -> *mut u8 {
        scratch.wrapping_add(self.panel_bytes() + self.sum_bytes(m) + index * self.tiled_bytes(m))
    }

    /// All of it.
    fn bytes(&self, m: usize) -> usize {
        let sweeps = self.m.min(m).div_ceil(panel::SUM_ROWS);
        (self.panel_bytes() + self.sum_bytes(m) + sweeps * self.tiled_bytes(m)).next_multiple_of(64)
    }
}
