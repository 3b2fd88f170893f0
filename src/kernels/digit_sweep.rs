//! The sweep of a digit panel over activations: products by a matrix unit, floats by the vector units meanwhile. Knows no ISA.

use super::digit_panel::{
    D, DIGIT_BYTES, Digits, Ints, MINS, RowHead, TILE_BYTES, TILE_ROWS, Tiled, Tiles, record_bytes,
};
use super::panel::STRIPS;
use super::panel_job::{Ahead, Sums, SweepJob};
use crate::simd::{LANES, QUARTERS, Simd};
use std::ops::Range;

/// Some activation rows, one chunk, and a strip: as many as have their sums in four tiles.
#[derive(Clone, Copy)]
struct Block {
    /// First row.
    begin: usize,
    /// How many.
    rows: usize,
    chunk: usize,
    strip: usize,
}

/// Rows whose sums become floats at a time: enough chains for the vector units.
const UNIT: usize = 4;

/// The most rows of a block.
const fn block_rows(planes: usize) -> usize {
    if planes == 1 { 2 * TILE_ROWS } else { TILE_ROWS }
}

/// A digit panel times packed activations.
///
/// The floats of a block are computed between the products of the next one: the matrix unit works on its own, and the core looks
/// far enough ahead to do both at once, as long as both find what they need in the first cache: weights of two strips, tiles of
/// activations for both, integer sums of a block, and the sums of all rows.
///
/// On a Granite Rapids, loads of tiles take power, of which the unit's speed depends: 64 columns of 2 x 2 tiles took 92 cycles with
/// four loads, 75 with two. So a tile that was loaded is used for all that four tiles of sums allow.
///
/// # Safety
/// As `Kernels`, for a panel that `pack` has made, and activations that `tile` has laid out.
#[inline(always)]
pub(super) unsafe fn sweep<S: Digits, T: Tiles, const MIN_GROUPS: usize, const P: usize>(
    s: S,
    tiles: &mut T,
    job: SweepJob,
) {
    let mut ints = Ints::ZERO;
    let mut last: Option<Block> = None;
    let mut ahead = Ahead::of(&job, job.strips * job.chunks * job.m.div_ceil(block_rows(P)));
    let rows_to_ask_for = block_rows(P).div_ceil((job.chunks - 1).max(1));
    for pair in (0..job.strips).step_by(STRIPS) {
        for chunk in 0..job.chunks {
            for begin in (0..job.m).step_by(block_rows(P)) {
                for strip in pair..pair + STRIPS {
                    let block = Block { begin, rows: (job.m - begin).min(block_rows(P)), chunk, strip };
                    // SAFETY: the caller's promise: block and chunk lie in the job; the last block's sums are in the tiles.
                    unsafe {
                        begin_block::<S, T, MIN_GROUPS, P>(tiles, &job, &block, &mut ints);
                        // The unit is busy now: time for all that is not part of the product.
                        ahead.step(s);
                        if job.asks_for_end {
                            ask_for_end(s, &job, &block, rows_to_ask_for);
                        }
                        end_block::<S, T, MIN_GROUPS, P>(s, tiles, &job, &block, last.as_ref(), &ints);
                    }
                    last = Some(block);
                }
            }
        }
    }
    if let Some(last) = &last {
        // SAFETY: as above.
        unsafe {
            tiles.store(&mut ints);
            let fold = Fold::<S, MIN_GROUPS, P>::of(s, &job, last, &ints);
            fold.all(s);
        }
    }
}

/// Asks for what lies where a block's sums will be left after the last chunk: for `count` rows at each chunk before that. For all
/// rows at once, the first cache could take no other lines meanwhile, and a tenth of FAST went by waiting.
#[inline(always)]
fn ask_for_end<S: Simd>(s: S, job: &SweepJob, block: &Block, count: usize) {
    for row in block.chunk * count..block.rows.min((block.chunk + 1) * count) {
        s.prefetch_for_later(job.end.at(block.begin + row, block.strip).cast_const().cast());
    }
}

/// The record of a block's strip at its chunk.
///
/// # Safety
/// The job has the block.
#[inline(always)]
unsafe fn record<const MIN_GROUPS: usize>(job: &SweepJob, block: &Block) -> *const u8 {
    // SAFETY: the caller's promise.
    unsafe { job.panel.add((block.strip * job.chunks + block.chunk) * record_bytes(MIN_GROUPS)) }
}

/// Where the tiles of a block lie: those of activations, of the first rows and plane, then of the next rows or of the next plane,
/// then of the third one; and the low digits of the weights.
///
/// # Safety
/// The job has the block.
#[inline(always)]
unsafe fn operands<const MIN_GROUPS: usize, const P: usize>(
    job: &SweepJob,
    block: &Block,
) -> ([*const u8; 3], *const u8) {
    // SAFETY: the caller's promise: records hold two kinds of digits; all rows of a tile lie among the tiled ones.
    unsafe {
        let first = Tiled::<MIN_GROUPS, P>::of(job.tiled, job.m, block.chunk).tiles(block.begin).cast_const();
        // A block of one tile of rows multiplies that twice.
        let second = if P == 1 && block.rows <= TILE_ROWS { first } else { first.add(QUARTERS * TILE_BYTES) };
        let third = if P == 3 { first.add(2 * QUARTERS * TILE_BYTES) } else { first };
        ([first, second, third], record::<MIN_GROUPS>(job, block))
    }
}

/// The sums of the block before to `ints`, and the products of the first 64 columns of this one.
///
/// # Safety
/// The job has the block; the tiles hold the sums of the block before. Before the first one they are no block's, and nobody looks
/// at what is stored.
#[inline(always)]
unsafe fn begin_block<S: Digits, T: Tiles, const MIN_GROUPS: usize, const P: usize>(
    tiles: &mut T,
    job: &SweepJob,
    block: &Block,
    ints: &mut Ints,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (x, low) = operands::<MIN_GROUPS, P>(job, block);
        tiles.first::<true>(x[0], [low.add(DIGIT_BYTES), low], ints);
        tiles.second::<P, true>([x[1], x[2]], ints);
    }
}

/// The other products of a block, whose sums stay in the tiles, and meanwhile the floats of the block before, `last`.
///
/// # Safety
/// The job has both blocks; `ints` has the sums of the last one.
#[inline(always)]
unsafe fn end_block<S: Digits, T: Tiles, const MIN_GROUPS: usize, const P: usize>(
    s: S,
    tiles: &mut T,
    job: &SweepJob,
    block: &Block,
    last: Option<&Block>,
    ints: &Ints,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (x, low) = operands::<MIN_GROUPS, P>(job, block);
        let fold = last.map(|last| Fold::<S, MIN_GROUPS, P>::of(s, job, last, ints));
        // Written out, so that the compiler knows each unit.
        if P == 1 {
            step::<S, T, MIN_GROUPS, P, 1>(s, tiles, low, x, &fold, [0..1, 1..2]);
            step::<S, T, MIN_GROUPS, P, 2>(s, tiles, low, x, &fold, [2..3, 3..4]);
            step::<S, T, MIN_GROUPS, P, 3>(s, tiles, low, x, &fold, [4..6, 6..8]);
        } else {
            step::<S, T, MIN_GROUPS, P, 1>(s, tiles, low, x, &fold, [0..1, 1..2]);
            step::<S, T, MIN_GROUPS, P, 2>(s, tiles, low, x, &fold, [2..2, 2..3]);
            step::<S, T, MIN_GROUPS, P, 3>(s, tiles, low, x, &fold, [3..3, 3..4]);
        }
        if let Some(fold) = &fold {
            fold.rest(s);
        }
    }
}

/// The products of columns `64 * QUARTER` on, for weights at `low` and tiles of activations at `x`, and between them, twice, some
/// units of another block. The sums are not stored.
///
/// # Safety
/// As `end_block`.
#[inline(always)]
unsafe fn step<S: Digits, T: Tiles, const MIN_GROUPS: usize, const P: usize, const QUARTER: usize>(
    s: S,
    tiles: &mut T,
    low: *const u8,
    x: [*const u8; 3],
    fold: &Option<Fold<S, MIN_GROUPS, P>>,
    units: [Range<usize>; 2],
) {
    let tile = const { QUARTER * TILE_BYTES };
    let [first, second] = units;
    // SAFETY: the caller's promise.
    unsafe {
        tiles.first::<false>(x[0].add(tile), [low.add(DIGIT_BYTES + tile), low.add(tile)], std::ptr::null_mut());
        if let Some(fold) = fold {
            fold.units(s, first);
        }
        tiles.second::<P, false>([x[1].add(tile), x[2].add(tile)], std::ptr::null_mut());
        if let Some(fold) = fold {
            fold.units(s, second);
        }
    }
}

/// Sums for a strip where there are none yet.
static ZEROS: [f32; LANES] = [0.0; LANES];

/// How the integer sums of a block become floats.
struct Fold<S: Simd, const MIN_GROUPS: usize, const P: usize> {
    block: Block,
    heads: *const RowHead<MIN_GROUPS>,
    ints: *const Ints,
    /// The sums of the block's rows, before and after.
    before: Sums,
    after: Sums,
    // In registers for all rows: loaded for each, they would be most of what is loaded.
    d: S::Floats,
    mins: [S::Floats; MIN_GROUPS],
}

impl<S: Digits, const MIN_GROUPS: usize, const P: usize> Fold<S, MIN_GROUPS, P> {
    /// # Safety
    /// The job has the block; `ints` will hold its sums.
    #[inline(always)]
    unsafe fn of(s: S, job: &SweepJob, block: &Block, ints: *const Ints) -> Self {
        let kept = Sums { first: job.sums, stride: STRIPS * LANES }.after_strip(block.strip % STRIPS);
        let zeros = Sums { first: (&raw const ZEROS).cast_mut().cast(), stride: 0 };
        let before = match &job.begin {
            _ if block.chunk > 0 => kept,
            Some(begin) => begin.after_strip(block.strip),
            None => zeros,
        };
        let after = if block.chunk + 1 < job.chunks { kept } else { job.end.after_strip(block.strip) };
        let heads = Tiled::<MIN_GROUPS, P>::of(job.tiled, job.m, block.chunk).head(block.begin);
        // SAFETY: the caller's promise; records are laid out as `pack` writes them.
        unsafe {
            let record = record::<MIN_GROUPS>(job, block);
            let mut mins = [s.splat(0.0); MIN_GROUPS];
            for g in 0..MIN_GROUPS {
                mins[g] = s.load_floats(&*record.add(MINS).cast::<[f32; LANES]>().add(g));
            }
            let (before, after) = (before.after_row(block.begin), after.after_row(block.begin));
            Fold { block: *block, heads, ints, before, after, d: s.load_floats(&*record.add(D).cast()), mins }
        }
    }

    /// Adds the sums of units of `UNIT` rows to those of the job, where the block has all of its rows.
    ///
    /// # Safety
    /// The integer sums are there.
    #[inline(always)]
    unsafe fn units(&self, s: S, units: Range<usize>) {
        for unit in units {
            if self.block.rows == const { block_rows(P) } {
                // SAFETY: the caller's promise.
                unsafe { self.some_rows::<UNIT>(s, unit * UNIT) };
            }
        }
    }

    /// As `units`, for all rows of a block that has not all of them.
    ///
    /// # Safety
    /// As `units`.
    #[inline(always)]
    unsafe fn rest(&self, s: S) {
        if self.block.rows != const { block_rows(P) } {
            for row in 0..self.block.rows {
                // SAFETY: the caller's promise.
                unsafe { self.some_rows::<1>(s, row) };
            }
        }
    }

    /// As `units`, for all rows.
    ///
    /// # Safety
    /// As `units`.
    #[inline(always)]
    unsafe fn all(&self, s: S) {
        // SAFETY: the caller's promise.
        unsafe {
            self.units(s, 0..const { block_rows(P) / UNIT });
            self.rest(s);
        }
    }

    /// As `units`, for `R` rows of a tile.
    ///
    /// # Safety
    /// As `units`; the block has the rows.
    #[inline(always)]
    unsafe fn some_rows<const R: usize>(&self, s: S, first: usize) {
        let mut values = [s.splat(0.0); R];
        // SAFETY: the caller's promise.
        unsafe {
            for r in 0..R {
                let line = (first + r) % TILE_ROWS;
                let load = |tile: usize| s.load_ints(&(*self.ints).0[tile][line]);
                // Neighbours are joined as integers, which takes any of the CPU's vector units.
                let value = match P {
                    1 => {
                        let tile = 2 * ((first + r) / TILE_ROWS);
                        s.to_floats(s.shift_add(load(tile), load(tile + 1)))
                    }
                    2 => {
                        let low = s.shift_add(s.add_ints(load(1), load(2)), load(3));
                        s.fma(s.to_floats(load(0)), s.splat(65536.0), s.to_floats(low))
                    }
                    _ => {
                        let low = s.shift_add(load(2), load(3));
                        s.fma(s.to_floats(s.shift_add(load(0), load(1))), s.splat(65536.0), s.to_floats(low))
                    }
                };
                values[r] = s.mul(value, self.d);
            }
            for g in 0..MIN_GROUPS {
                for r in 0..R {
                    values[r] = s.fnma(self.mins[g], s.splat((*self.heads.add(first + r)).sums[g]), values[r]);
                }
            }
            for r in 0..R {
                let scale = s.splat((*self.heads.add(first + r)).scale);
                let sum = s.fma(values[r], scale, s.load_floats(&*self.before.at(first + r, 0)));
                s.store_floats(sum, &mut *self.after.at(first + r, 0));
            }
        }
    }
}
