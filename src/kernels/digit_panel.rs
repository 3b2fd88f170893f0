//! The panel of levels with a matrix unit, for types with integer scales: whole chunks are summed up as integers in tiles, and
//! become floats once per chunk instead of once per group. Knows no ISA.
//!
//! `scale * (code - offset)` is an integer of at most 16 bits, so two signed digits hold it exactly: `256 * high + low`. A
//! panel is `STRIPS` strips; a strip is, for each chunk of 256 columns, a [`record_bytes`] record:
//! ```text
//! low   64 vectors of 64 bytes; vector c, byte 4r + b = low digit of row r, column 4c + b
//! high  the same with the high digits
//! d     16 f32: what the integers of each row are multiplied by
//! mins  one vector of 16 f32 per group of columns, where the type has mins of its own
//! ```
//! Digits of the same weight are summed up together: with `w = 256 * high + low` and `x = (x[0] * 256 + x[1]) * 256 + x[2]`
//! ```text
//! for each chunk (its record stays in L1):
//!     for each block of 2 tiles of activation rows x 2 strips:
//!         for weight i = 0..=planes, highest first:
//!             ints[i] = low . x[i - 1] + high . x[i]                          exact, i32, at most 2^23: exact as f32
//!         t = ((ints[0] * 256 + ints[1]) * 256 + ..) * d                      f32
//!         t -= min * sum of the integers, for each group with a min
//!         acc += t * x.scale
//! ```
//! As low digits lie before high ones and planes follow each other, `ints[i]` is one product over 512 columns at most.
//!
//! The order of operations of one y depends on nothing but its weight row and its activation row, but it is another order than
//! that of `panel`: results of the two differ by some roundings.

use super::activations::{Header, chunk_bytes};
use super::chunk::Chunks;
use super::panel::{Ahead, PackJob, STRIPS, SweepJob};
use crate::blocks::Affine;
use crate::simd::{CHUNK, COLUMNS, LANES, Lookups, QUARTERS, Simd};
use std::mem::MaybeUninit;

/// The most activation rows of a tile.
const TILE_ROWS: usize = 16;
/// Bytes of a tile of weights: 64 columns of 16 rows.
const TILE_BYTES: usize = COLUMNS * LANES;
/// Bytes of the digits of one kind of one strip and chunk.
const DIGIT_BYTES: usize = QUARTERS * TILE_BYTES;
/// Where d lies in a record.
const D: usize = 2 * DIGIT_BYTES;
/// Where the mins lie in a record.
const MINS: usize = D + LANES * size_of::<f32>();

/// Integer sums of a tile of activation rows with a strip.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct IntTile(pub(super) [[i32; LANES]; TILE_ROWS]);

/// Sums of one weight: of two tiles of rows, each with two strips.
type IntTiles = [[IntTile; STRIPS]; 2];

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
}

/// A matrix unit, ready for tiles of some number of activation rows.
pub(super) trait Tiles {
    /// `out[m][v] = sum of w[v] * x[m]` over `QUARTERS` times 64 columns, for `M` tiles of activation rows and both strips.
    ///
    /// # Safety
    /// `x[m]` points to the rows of a tile, `stride` bytes apart, each `64 * QUARTERS` signed digits; `w[v]` to `QUARTERS`
    /// tiles of 1024 bytes, `out` to `M` pairs of tiles to be written.
    unsafe fn multiply<const M: usize, const QUARTERS: usize>(
        &self,
        x: [*const u8; M],
        stride: usize,
        w: [*const u8; STRIPS],
        out: *mut [IntTile; STRIPS],
    );
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

/// Activation rows of a tile in a sweep over `m` of them.
pub(super) fn tile_rows(m: usize) -> usize {
    m.min(TILE_ROWS)
}

/// Unpacks weight rows of blocks `A` into a digit panel.
///
/// # Safety
/// As `Kernels`; the panel has `STRIPS` records for each chunk.
#[inline(always)]
pub(super) unsafe fn pack<S: Digits, A: Affine>(s: S, job: PackJob) {
    let chunks = job.k.div_ceil(CHUNK);
    for strip in 0..STRIPS {
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
    let mut groups = [s.groups([0; 16]); LANES];
    for r in 0..LANES {
        let scaling = A::scaling(blocks[r], s);
        groups[r] = scaling.groups;
        d[r] = scaling.d;
        if A::OFFSET.is_none() {
            let mut row = [0.0; LANES];
            s.store_floats(scaling.mins, &mut row);
            for g in 0..mins.len() {
                mins[g][r] = row[g * (A::GROUP / 16)];
            }
        }
    }
    let factors = s.factors(&groups, A::OFFSET.unwrap_or(0));
    let [low, high] = digits;
    let mut lookups = [const { Lookups::new() }; LANES];
    for r in 0..LANES {
        A::index(blocks[r], s, &mut lookups[r]);
    }
    let mut transposed = Transposed([[0; COLUMNS]; LANES]);
    for quarter in 0..QUARTERS {
        let mut rows = [A::codes(blocks[0], &lookups[0], s, quarter); LANES];
        for r in 1..LANES {
            rows[r] = A::codes(blocks[r], &lookups[r], s, quarter);
        }
        // SAFETY: 1024 bytes, aligned to 64.
        unsafe { s.store_transposed(&rows, transposed.0.as_mut_ptr().cast()) };
        for c in 0..LANES {
            let factors = factors[4 * quarter + c / 4];
            s.split(&transposed.0[c], factors, &mut low[quarter][c], &mut high[quarter][c]);
        }
    }
}

/// Some activation rows, by the tiles that hold them, and one chunk.
#[derive(Clone, Copy)]
struct Block {
    /// First row.
    begin: usize,
    /// After the last row.
    end: usize,
    /// Rows of a tile.
    tile_rows: usize,
    /// Where the tiles begin. Rows before the block's first belong to another block, which has them already.
    tiles: [usize; 2],
    chunk: usize,
}

impl Block {
    /// The block that begins with row `begin` of `m`. Its last tile may reach back, so that all tiles are whole.
    #[inline(always)]
    fn of(begin: usize, m: usize, chunk: usize) -> Block {
        let tile_rows = tile_rows(m);
        let last = m - tile_rows;
        let tiles = [begin.min(last), (begin + tile_rows).min(last)];
        Block { begin, end: m.min(begin + 2 * tile_rows), tile_rows, tiles, chunk }
    }

    /// Whether it needs its second tile.
    #[inline(always)]
    fn has_two_tiles(&self) -> bool {
        self.end - self.begin > self.tile_rows
    }
}

/// A digit panel times packed activations. `tiles` must be ready for `tile_rows(job.m)` rows.
///
/// The floats of a block are computed between the integer products of the next one: the matrix unit works on its own, and the
/// core looks far enough ahead to do both at once (not measured yet).
///
/// # Safety
/// As `Kernels`, for a panel that `pack` has made.
#[inline(always)]
pub(super) unsafe fn sweep<S: Digits, T: Tiles, const MIN_GROUPS: usize, const P: usize>(
    s: S,
    tiles: &T,
    job: SweepJob,
) {
    // One weight more than planes; two sets, as one is folded while the other is written.
    let mut ints: [[MaybeUninit<IntTiles>; 4]; 2] = [[MaybeUninit::uninit(); 4]; 2];
    let mut set = 0;
    let mut pending: Option<Block> = None;
    let mut ahead = Ahead::of(&job, job.chunks * job.m.div_ceil(2 * TILE_ROWS));
    for chunk in 0..job.chunks {
        let mut begin = 0;
        while begin < job.m {
            let block = Block::of(begin, job.m, chunk);
            ahead.step(s);
            for weight in 0..=P {
                // SAFETY: the caller's promise: block and chunk lie in the job; a pending block's sums were written before.
                unsafe {
                    let out = ints[set][weight].as_mut_ptr();
                    multiply::<T, MIN_GROUPS, P>(tiles, &job, &block, weight, out.cast());
                    if let Some(pending) = &pending {
                        fold::<S, MIN_GROUPS, P>(s, &job, pending, &ints[1 - set], weight);
                    }
                }
            }
            set = 1 - set;
            pending = Some(block);
            begin = block.end;
        }
    }
    if let Some(pending) = &pending {
        for part in 0..=P {
            // SAFETY: as above.
            unsafe { fold::<S, MIN_GROUPS, P>(s, &job, pending, &ints[1 - set], part) };
        }
    }
}

/// The records of both strips at `chunk`.
///
/// # Safety
/// The job has the chunk.
#[inline(always)]
unsafe fn records<const MIN_GROUPS: usize>(job: &SweepJob, chunk: usize) -> [*const u8; STRIPS] {
    let mut records = [job.panel; STRIPS];
    for strip in 0..STRIPS {
        // SAFETY: the caller's promise.
        records[strip] = unsafe { job.panel.add((strip * job.chunks + chunk) * record_bytes(MIN_GROUPS)) };
    }
    records
}

/// The integer sums of `weight`.
///
/// # Safety
/// The job has the block; `out` points to `IntTiles`.
#[inline(always)]
unsafe fn multiply<T: Tiles, const MIN_GROUPS: usize, const P: usize>(
    tiles: &T,
    job: &SweepJob,
    block: &Block,
    weight: usize,
    out: *mut [IntTile; STRIPS],
) {
    // The highest weight has only high digits of w, the lowest only low ones.
    let (plane, digit) = if weight == 0 { (0, 1) } else { (weight - 1, 0) };
    let both = weight > 0 && weight < P;
    // SAFETY: the caller's promise: the rows of each tile lie in the job, `both` only with a plane to follow; records hold
    // two kinds of digits.
    unsafe {
        let mut w = records::<MIN_GROUPS>(job, block.chunk);
        for strip in 0..STRIPS {
            w[strip] = w[strip].add(digit * DIGIT_BYTES);
        }
        let first = job.x.add(block.chunk * chunk_bytes(P) + size_of::<Header>() + plane * CHUNK);
        let x = [first.add(block.tiles[0] * job.x_stride), first.add(block.tiles[1] * job.x_stride)];
        match (block.has_two_tiles(), both) {
            (true, true) => tiles.multiply::<2, 8>(x, job.x_stride, w, out),
            (true, false) => tiles.multiply::<2, 4>(x, job.x_stride, w, out),
            (false, true) => tiles.multiply::<1, 8>([x[0]], job.x_stride, w, out),
            (false, false) => tiles.multiply::<1, 4>([x[0]], job.x_stride, w, out),
        }
    }
}

/// Adds part `part` of `P + 1` of a block's rows to the sums.
///
/// # Safety
/// The job has the block; `ints` holds its integer sums.
#[inline(always)]
unsafe fn fold<S: Digits, const MIN_GROUPS: usize, const P: usize>(
    s: S,
    job: &SweepJob,
    block: &Block,
    ints: &[MaybeUninit<IntTiles>; 4],
    part: usize,
) {
    let rows = block.end - block.begin;
    let (first, last) = (block.begin + rows * part / (P + 1), block.begin + rows * (part + 1) / (P + 1));
    // SAFETY: the caller's promise; records are laid out as `pack` writes them.
    unsafe {
        let records = records::<MIN_GROUPS>(job, block.chunk);
        for strip in 0..STRIPS {
            // In registers for all rows: loaded for each, they would be most of what is loaded.
            let d = s.load_floats(&*records[strip].add(D).cast());
            let mut mins = [s.splat(0.0); MIN_GROUPS];
            for g in 0..MIN_GROUPS {
                mins[g] = s.load_floats(&*records[strip].add(MINS).cast::<[f32; LANES]>().add(g));
            }
            for row in first..last {
                let header = &*job.x.add(row * job.x_stride + block.chunk * chunk_bytes(P)).cast::<Header>();
                let tile = usize::from(row - block.begin >= block.tile_rows);
                let line = row - block.tiles[tile];
                let mut value = s.to_floats(s.load_ints(&(*ints[0].as_ptr())[tile][strip].0[line]));
                for weight in 1..=P {
                    let sums = s.load_ints(&(*ints[weight].as_ptr())[tile][strip].0[line]);
                    value = s.fma(value, s.splat(256.0), s.to_floats(sums));
                }
                value = s.mul(value, d);
                for g in 0..MIN_GROUPS {
                    let sum = if MIN_GROUPS == 8 { header.sums32[g] } else { header.sums16[g] };
                    value = s.fnma(mins[g], s.splat(sum), value);
                }
                let sum = s.fma(value, s.splat(header.scale), job.before(s, block.chunk, row, strip));
                job.after(s, block.chunk, row, strip, sum);
            }
        }
    }
}
