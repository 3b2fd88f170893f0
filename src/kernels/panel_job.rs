//! What panels of every format share: jobs, where sums lie, and asking for what a sweep or the next panel needs. Knows no format and
//! no ISA.

use crate::simd::{LANES, Simd};
use std::ops::Range;

/// Weight rows to be unpacked.
#[derive(Clone, Copy)]
pub(crate) struct PackJob {
    /// First weight row, at the panel's first chunk.
    pub(crate) w: *const u8,
    /// Bytes of a weight row.
    pub(crate) row_bytes: usize,
    /// Strips of the panel.
    pub(crate) strips: usize,
    /// Weight rows, 1 to 16 per strip. The last one is repeated to fill the panel.
    pub(crate) n: usize,
    /// Columns. A last chunk that is not whole is filled up with zeros.
    pub(crate) k: usize,
    /// The panel, aligned to 64: `strips * k.div_ceil(256)` records.
    pub(crate) panel: *mut u8,
}

/// Rows of sums: 16 floats for each strip, at any address.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    /// The first row.
    pub(crate) first: *mut f32,
    /// Floats from one row to the next.
    pub(crate) stride: usize,
}

impl Sums {
    /// Whether each row begins with a cache line.
    pub(crate) fn begin_with_lines(&self) -> bool {
        self.first.addr().is_multiple_of(64) && self.stride.is_multiple_of(LANES)
    }

    /// The same without the strips before `strip`.
    #[inline(always)]
    pub(super) fn after_strip(&self, strip: usize) -> Sums {
        Sums { first: self.first.wrapping_add(strip * LANES), stride: self.stride }
    }

    /// The same without the rows before `row`.
    #[inline(always)]
    pub(super) fn after_row(&self, row: usize) -> Sums {
        Sums { first: self.first.wrapping_add(row * self.stride), stride: self.stride }
    }

    /// Those of a row and strip.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, strip: usize) -> *mut [f32; LANES] {
        self.first.wrapping_add(row * self.stride + strip * LANES).cast()
    }
}

/// A panel times packed activations.
#[derive(Clone, Copy)]
pub(crate) struct SweepJob {
    /// The panel.
    pub(crate) panel: *const u8,
    /// Its chunks.
    pub(crate) chunks: usize,
    /// Packed activations, at the panel's first chunk.
    pub(crate) x: *const u8,
    /// Bytes from one activation row to the next.
    pub(crate) x_stride: usize,
    /// Activation rows, at most [`SUM_ROWS`](super::panel::SUM_ROWS).
    pub(crate) m: usize,
    /// The same rows and chunks as a [`TileJob`] has left them, for kernels that want tiles.
    pub(crate) tiled: *const u8,
    /// The panel's strips, a multiple of [`STRIPS`](super::panel::STRIPS).
    pub(crate) strips: usize,
    /// What the sums begin with; `None`: with zeros.
    pub(crate) begin: Option<Sums>,
    /// Where they are kept from chunk to chunk: `m` x 16 per strip, one row after another. With tiles: of two strips.
    pub(crate) sums: *mut f32,
    /// Where they are left, which may be any of these places, but with tiles not where they are kept. Rows of y, mostly: copied there after a sweep, they took 13 % of
    /// FAST, 9 % of EXACT Q4_K with m = 512 at the AVX-512 level of an Emerald Rapids, of which a third was gained back.
    /// Tried and lost: stores past the caches (-10 %), and several panels per pass over the activations, whose rows of y are
    /// longer (EXACT and HIGH +2 %, FAST Q6_K -3 %).
    pub(crate) end: Sums,
    /// Weights to be asked for meanwhile, as they are unpacked next. Not read, so any address will do.
    pub(crate) next: *const u8,
    /// How many bytes.
    pub(crate) next_bytes: usize,
    /// Whether activations are asked for a tile ahead of their use, see [`FAR_ACTIVATIONS`].
    pub(crate) asks_for_rows: bool,
    /// Whether what `end` lies in is asked for a chunk ahead (FAST Q4_K with m = 128: +3 %, on a Zen 4 +4 %; asked for with the
    /// intention to write: the same).
    pub(crate) asks_for_end: bool,
}

/// Packed activations to be laid out as tiles.
#[derive(Clone, Copy)]
pub(crate) struct TileJob {
    /// The first row, at the first chunk.
    pub(crate) x: *const u8,
    /// Bytes from one row to the next.
    pub(crate) x_stride: usize,
    /// Rows, at most [`SUM_ROWS`](super::panel::SUM_ROWS).
    pub(crate) m: usize,
    /// Chunks.
    pub(crate) chunks: usize,
    /// As many bytes as `Tiling::bytes` says, aligned to 64.
    pub(crate) out: *mut u8,
}

impl SweepJob {
    /// The sums of a row and strip before chunk `chunk`.
    ///
    /// # Safety
    /// The job holds that row, strip and chunk.
    #[inline(always)]
    pub(super) unsafe fn before<S: Simd>(&self, s: S, chunk: usize, row: usize, strip: usize) -> S::Floats {
        let kept = Sums { first: self.sums, stride: self.strips * LANES };
        match if chunk == 0 { self.begin } else { Some(kept) } {
            None => s.splat(0.0),
            // SAFETY: the maker of the job guarantees its sums, for the rows and strips that it holds.
            Some(sums) => s.load_floats(unsafe { &*sums.at(row, strip) }),
        }
    }

    /// Leaves the sums of a row and strip after chunk `chunk`.
    ///
    /// # Safety
    /// As `before`.
    #[inline(always)]
    pub(super) unsafe fn after<S: Simd>(&self, s: S, chunk: usize, row: usize, strip: usize, values: S::Floats) {
        let kept = Sums { first: self.sums, stride: self.strips * LANES };
        let sums = if chunk + 1 == self.chunks { self.end } else { kept };
        // SAFETY: as in `before`.
        s.store_floats(values, unsafe { &mut *sums.at(row, strip) });
    }

    /// Asks for what lies where the sums of some rows and strips will be left after the last chunk.
    #[inline(always)]
    pub(super) fn ask_for_end<S: Simd>(&self, s: S, rows: Range<usize>, strips: Range<usize>) {
        for row in rows {
            for strip in strips.clone() {
                s.prefetch(self.end.at(row, strip).cast());
            }
        }
    }
}

/// From how many bytes of packed activations on they are asked for a tile ahead, on CPUs that gain by it: more than the second
/// cache holds. m = 512 and k = 2048 at the AVX-512 level of an Emerald Rapids, FAST, HIGH, EXACT: Q4_K gains 6, 12, 10 %, Q6_K
/// 1, 7, 6 %; where activations fit (m = 128) it would lose up to 1 %, with m = 24 up to 4 %. A Zen 5 lost 8 to 15 %, with hints for either cache; a Zen 4 lost 4 % of FAST, and EXACT gained 3 %.
pub(crate) const FAR_ACTIVATIONS: usize = 1 << 20;

/// Asks for the next weights, evenly over the tiles of a sweep: unpacking waits for memory otherwise (Q4_K from memory at the
/// AVX-512 level of a Zen 5, FAST, one thread, TMAC/s: 0.17 -> 0.24 with m = 24, 0.31 -> 0.34 with 128, 0.34 -> 0.36 with 512).
pub(super) struct Ahead {
    next: *const u8,
    bytes_per_step: usize,
    due: usize,
    asked: usize,
}

impl Ahead {
    /// For a sweep that calls `step` about `steps` times.
    #[inline(always)]
    pub(super) fn of(job: &SweepJob, steps: usize) -> Ahead {
        Ahead { next: job.next, bytes_per_step: job.next_bytes.div_ceil(steps.max(1)), due: 0, asked: 0 }
    }

    /// Asks for what is due with one more tile.
    #[inline(always)]
    pub(super) fn step<S: Simd>(&mut self, s: S) {
        self.due += self.bytes_per_step;
        while self.asked < self.due {
            s.prefetch_for_later(self.next.wrapping_add(self.asked));
            self.asked += 64;
        }
    }
}
