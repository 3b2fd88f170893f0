//! The panel of levels with a matrix unit, for types with integer scales: whole chunks are summed up as integers in tiles, and
//! become floats once per chunk instead of once per group. Knows no ISA.
//!
//! `scale * (code - offset)` is an integer of at most 2^14, so two signed digits hold it exactly: `256 * high + low`. A panel is, for
//! each strip and each chunk of 256 columns, a [`record_bytes`] record:
//! ```text
//! low   64 vectors of 64 bytes; vector c, byte 4r + b = low digit of row r, column 4c + b
//! high  the same with the high digits
//! d     16 f32: what the integers of each row are multiplied by
//! mins  one vector of 16 f32 per group of columns, where the type has mins of its own
//! ```
//! Activations are laid out as tiles of 16 rows by [`tile`], for a block of rows that stays in L2 with a panel. Digits of the same
//! weight are summed up together: with `w = 256 * high + low` and `x = (x[0] * 256 + x[1]) * 256 + x[2]`
//! ```text
//! for each pair of strips:
//!     for each chunk (its two records stay in L1):
//!         for each 16 activation rows (one plane: 32) x strip:
//!             for each 64 columns, for all weights i = 0..=planes:
//!                 ints[i] += low . x[i - 1] + high . x[i]                     exact, i32
//!             t = ((ints[0] * 256 + ints[1]) * 256 + ..) * d                  f32, neighbours joined as integers
//!             t -= min * sum of the integers, for each group with a min
//!             acc += t * x.scale
//! ```
//! `ints[i]` is at most `256 * (2^7 + 2^6) * 2^7`, as low digits are at most 2^7 and high ones 2^6: 256 times that and another one fit
//! in 32 bits.
//!
//! The order of operations of one y depends on nothing but its weight row and its activation row, but it is another order than
//! that of `panel`: results of the two differ by some roundings.

use super::activations::{Header, chunk_bytes};
use super::chunk::Chunks;
use super::panel::{STRIPS, SUM_ROWS};
use super::panel_job::{PackJob, TileJob};
use crate::blocks::Affine;
use crate::simd::{CHUNK, COLUMNS, LANES, Lookups, QUARTERS, Simd};

/// The most chunks of a panel.
pub(super) const PANEL_CHUNKS: usize = 16;
/// The most strips of a panel.
pub(super) const PANEL_STRIPS: usize = 4;
/// The most bytes of a panel with more than the fewest strips, and of tiled activations: both should stay in the second cache.
pub(super) const PANEL_BYTES: usize = 384 << 10;
pub(super) const TILED_BYTES: usize = 960 << 10;
/// As in `panel`: scratch is at most 2 MiB per thread.
pub(super) const TILED_LIMIT: usize = {
    let sums = SUM_ROWS * (STRIPS + PANEL_STRIPS) * LANES * size_of::<f32>();
    assert!(STRIPS * PANEL_CHUNKS * record_bytes(16) <= PANEL_BYTES);
    let limit = (2 << 20) - PANEL_BYTES - sums - 64;
    assert!(PANEL_CHUNKS * tiled_bytes(16, SUM_ROWS, 3) <= TILED_BYTES && TILED_BYTES <= limit);
    limit
};

/// Activation rows of a tile.
pub(super) const TILE_ROWS: usize = 16;
/// Bytes of a tile of weights: 64 columns of 16 rows.
pub(super) const TILE_BYTES: usize = COLUMNS * LANES;
/// Bytes of the digits of one kind of one strip and chunk.
pub(super) const DIGIT_BYTES: usize = QUARTERS * TILE_BYTES;
/// Where d lies in a record.
pub(super) const D: usize = 2 * DIGIT_BYTES;
/// Where the mins lie in a record.
pub(super) const MINS: usize = D + LANES * size_of::<f32>();

/// The integer sums of a block: four tiles, each of 16 activation rows with a strip.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Ints(pub(super) [[[i32; LANES]; TILE_ROWS]; 4]);

impl Ints {
    /// Nothing summed up yet.
    pub(super) const ZERO: Ints = Ints([[[0; LANES]; TILE_ROWS]; 4]);
}

/// What the digit panel needs beyond the vocabulary.
pub(super) trait Digits: Simd {
    /// What makes integer weights of the codes of 4 columns (one group) of 16 rows.
    type Factors: Copy;

    /// The factors of each group of 16 columns, given the integer scales of 16 rows.
    fn factors(self, rows: &[Self::Groups; LANES], offset: u8) -> [Self::Factors; 16];

    /// Writes the digits of `scale * (code - offset)` for the codes of 4 columns of 16 rows. Codes are unsigned.
    fn split(self, codes: &[u8; COLUMNS], factors: Self::Factors, low: &mut [u8; COLUMNS], high: &mut [u8; COLUMNS]);

    /// 16 i32 from memory.
    fn load_ints(self, ints: &[i32; LANES]) -> Self::Ints;

    /// `a + b`
    fn add_ints(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
}

/// A matrix unit with four tiles of sums. With digits of one or two planes, the products of activations `x[0]`, then `x[1]`, with
/// high digits, then low ones, each have a tile; with three planes, the tiles are those of weights.
pub(super) trait Tiles {
    /// Adds the first two of the products of 64 columns: `x` with `w`, high digits and low ones. Keeps both for `second`.
    /// With `STORE`, tiles 0 and 1 go to `out` before, and begin with 0.
    ///
    /// # Safety
    /// `x` and `w` point to `TILE_BYTES`: a line of signed digits for each row, those of weights as in a record. `out`, with
    /// `STORE`, to sums to be written.
    unsafe fn first<const STORE: bool>(&mut self, x: *const u8, w: [*const u8; 2], out: *mut Ints);

    /// Adds the other products: `x[0]` with what `first` has kept; with `PLANES` 3, `x[1]` as well. With `STORE`, as `first` with
    /// tiles 2 and 3.
    ///
    /// # Safety
    /// As `first`, which was called before.
    unsafe fn second<const PLANES: usize, const STORE: bool>(&mut self, x: [*const u8; 2], out: *mut Ints);

    /// All sums to `out`.
    ///
    /// # Safety
    /// `out` points to sums to be written.
    unsafe fn store(&mut self, out: *mut Ints);
}

/// The groups of a chunk that have mins of their own.
pub(super) const fn min_groups<A: Affine>() -> usize {
    match A::OFFSET {
        Some(_) => 0,
        None => CHUNK / A::GROUP,
    }
}

/// Bytes of one strip and chunk.
pub(super) const fn record_bytes(min_groups: usize) -> usize {
    MINS + min_groups * LANES * size_of::<f32>()
}

/// Unpacks weight rows of blocks `A` into a digit panel.
///
/// # Safety
/// As `Kernels`; the panel has a record for each strip and chunk.
#[inline(always)]
pub(super) unsafe fn pack<S: Digits, A: Affine>(s: S, job: PackJob) {
    let chunks = job.k.div_ceil(CHUNK);
    for strip in 0..job.strips {
        let rows: [Chunks<A>; LANES] = std::array::from_fn(|r| {
            // SAFETY: the job's `n` rows of `k` columns; row numbers are capped at the last.
            unsafe { Chunks::of(job.w.add((strip * LANES + r).min(job.n - 1) * job.row_bytes), job.k) }
        });
        for chunk in 0..chunks {
            // SAFETY: below the number of chunks; the job guarantees the panel's space.
            unsafe {
                let mut blocks = [rows[0].get(chunk); LANES];
                for r in 1..LANES {
                    blocks[r] = rows[r].get(chunk);
                }
                pack_record::<S, A>(
                    s,
                    blocks,
                    job.panel.add((strip * chunks + chunk) * record_bytes(min_groups::<A>())),
                );
            }
        }
    }
}

/// Unpacks one chunk of 16 rows.
///
/// # Safety
/// `record` has `record_bytes` and is aligned to 64.
#[inline(always)]
unsafe fn pack_record<S: Digits, A: Affine>(s: S, blocks: [&[A]; LANES], record: *mut u8) {
    #[repr(align(64))]
    struct Transposed([[u8; COLUMNS]; LANES]);
    // SAFETY: the caller's promise; all parts of the record lie at multiples of 64.
    let (digits, d, mins) = unsafe {
        let mins = std::slice::from_raw_parts_mut(record.add(MINS).cast::<[f32; LANES]>(), min_groups::<A>());
        (
            &mut *record.cast::<[[[[u8; COLUMNS]; LANES]; QUARTERS]; 2]>(),
            &mut *record.add(D).cast::<[f32; LANES]>(),
            mins,
        )
    };
    let mut transposed = Transposed([[0; COLUMNS]; LANES]);
    let mut groups = [s.groups([0; 16]); LANES];
    let mut min_rows = [s.splat_codes(0); LANES];
    for r in 0..LANES {
        let scaling = A::scaling(blocks[r], s);
        groups[r] = scaling.groups;
        d[r] = scaling.d;
        min_rows[r] = s.float_bytes(scaling.mins);
    }
    if A::OFFSET.is_none() {
        // A min is as long as four codes. Those of a group of 32 columns come twice.
        // SAFETY: 1024 bytes, aligned to 64, which are 16 floats for each of 16 columns; any bytes are floats.
        unsafe {
            s.store_transposed(&min_rows, transposed.0.as_mut_ptr().cast());
            let all = &*transposed.0.as_ptr().cast::<[[f32; LANES]; LANES]>();
            for g in 0..mins.len() {
                mins[g] = all[g * (A::GROUP / 16)];
            }
        }
    }
    const {
        let offset = match A::OFFSET {
            Some(offset) => offset as usize,
            None => 0,
        };
        // Scales are at most 2^7.
        assert!(!A::INTEGER_SCALES || (offset <= 128 && A::CODE_MAX - offset <= 128));
    }
    let factors = s.factors(&groups, A::OFFSET.unwrap_or(0));
    let [low, high] = digits;
    let mut lookups = [const { Lookups::new() }; LANES];
    for r in 0..LANES {
        A::index(blocks[r], s, &mut lookups[r]);
    }
    for quarter in 0..QUARTERS {
        let mut rows = [A::codes(blocks[0], &lookups[0], s, quarter); LANES];
        for r in 1..LANES {
            rows[r] = A::codes(blocks[r], &lookups[r], s, quarter);
        }
        // SAFETY: 1024 bytes, aligned to 64.
        unsafe { s.store_transposed(&rows, transposed.0.as_mut_ptr().cast()) };
        for group in 0..4 {
            let factors = factors[4 * quarter + group];
            for c in 4 * group..4 * group + 4 {
                s.split(&transposed.0[c], factors, &mut low[quarter][c], &mut high[quarter][c]);
            }
        }
    }
}

/// What is needed of an activation row and chunk besides its digits: sums over the groups that have mins, and the scale.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct RowHead<const MIN_GROUPS: usize> {
    pub(super) sums: [f32; MIN_GROUPS],
    pub(super) scale: f32,
}

/// Bytes of some rows of activations as tiles want them, one chunk.
const fn tiled_bytes(min_groups: usize, m: usize, planes: usize) -> usize {
    let head = if min_groups == 16 { size_of::<RowHead<16>>() } else { size_of::<RowHead<8>>() };
    m.next_multiple_of(TILE_ROWS) * (head + planes * CHUNK)
}

/// See `Tiling::bytes`.
pub(super) fn tiling_bytes<A: Affine>(m: usize, chunks: usize, planes: usize) -> usize {
    chunks * tiled_bytes(min_groups::<A>(), m, planes)
}

/// A chunk of activations as tiles want them: heads, then tiles, each those of a plane and 64 columns of 16 rows.
#[derive(Clone, Copy)]
pub(super) struct Tiled<const MIN_GROUPS: usize, const P: usize> {
    data: *mut u8,
    m: usize,
}

impl<const MIN_GROUPS: usize, const P: usize> Tiled<MIN_GROUPS, P> {
    /// Chunk `chunk` of `m` rows.
    #[inline(always)]
    pub(super) fn of(tiled: *const u8, m: usize, chunk: usize) -> Self {
        let data = tiled.cast_mut().wrapping_add(chunk * tiled_bytes(MIN_GROUPS, m, P));
        Tiled { data, m: m.next_multiple_of(TILE_ROWS) }
    }

    /// The head of a row.
    #[inline(always)]
    pub(super) fn head(&self, row: usize) -> *mut RowHead<MIN_GROUPS> {
        const { assert!(MIN_GROUPS == 16 || size_of::<RowHead<MIN_GROUPS>>() == size_of::<RowHead<8>>()) };
        self.data.cast::<RowHead<MIN_GROUPS>>().wrapping_add(row)
    }

    /// The tiles that begin with row `row`.
    #[inline(always)]
    pub(super) fn tiles(&self, row: usize) -> *mut u8 {
        self.data.wrapping_add(self.m * size_of::<RowHead<MIN_GROUPS>>() + row * P * CHUNK)
    }
}

/// Lays out packed activations as tiles.
///
/// Rows apart, as they are packed, lie on as many pages as there are: tiles that were loaded from there took a seventh longer
/// (Granite Rapids).
///
/// # Safety
/// The rows and chunks are packed, and the space is there.
#[inline(always)]
pub(super) unsafe fn tile<const MIN_GROUPS: usize, const P: usize>(job: TileJob) {
    for row in 0..job.m.next_multiple_of(TILE_ROWS) {
        for chunk in 0..job.chunks {
            let tiled = Tiled::<MIN_GROUPS, P>::of(job.out, job.m, chunk);
            // The last tile is filled up with the last row.
            let source = job.x.wrapping_add(row.min(job.m - 1) * job.x_stride + chunk * chunk_bytes(P));
            let lines = tiled.tiles(row / TILE_ROWS * TILE_ROWS).wrapping_add(row % TILE_ROWS * COLUMNS);
            // SAFETY: the caller's promise.
            unsafe {
                let header = &*source.cast::<Header>();
                let mut head = RowHead { sums: [0.0; MIN_GROUPS], scale: header.scale };
                for g in 0..MIN_GROUPS {
                    head.sums[g] = if MIN_GROUPS == 8 { header.sums32[g] } else { header.sums16[g] };
                }
                tiled.head(row).write(head);
                let digits = source.add(size_of::<Header>()).cast::<[u8; COLUMNS]>();
                for line in 0..P * QUARTERS {
                    lines.add(line * TILE_BYTES).cast::<[u8; COLUMNS]>().write(*digits.add(line));
                }
            }
        }
    }
}
