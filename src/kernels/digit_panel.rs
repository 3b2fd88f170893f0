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
use super::panel::{Ahead, PackJob, STRIPS, SUM_ROWS, Sums, SweepJob, TileJob};
use crate::blocks::Affine;
use crate::simd::{CHUNK, COLUMNS, LANES, Lookups, QUARTERS, Simd};
use std::ops::Range;

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
const TILE_ROWS: usize = 16;
/// Bytes of a tile of weights: 64 columns of 16 rows.
const TILE_BYTES: usize = COLUMNS * LANES;
/// Bytes of the digits of one kind of one strip and chunk.
const DIGIT_BYTES: usize = QUARTERS * TILE_BYTES;
/// Where d lies in a record.
const D: usize = 2 * DIGIT_BYTES;
/// Where the mins lie in a record.
const MINS: usize = D + LANES * size_of::<f32>();

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
struct RowHead<const MIN_GROUPS: usize> {
    sums: [f32; MIN_GROUPS],
    scale: f32,
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
struct Tiled<const MIN_GROUPS: usize, const P: usize> {
    data: *mut u8,
    m: usize,
}

impl<const MIN_GROUPS: usize, const P: usize> Tiled<MIN_GROUPS, P> {
    /// Chunk `chunk` of `m` rows.
    #[inline(always)]
    fn of(tiled: *const u8, m: usize, chunk: usize) -> Self {
        let data = tiled.cast_mut().wrapping_add(chunk * tiled_bytes(MIN_GROUPS, m, P));
        Tiled { data, m: m.next_multiple_of(TILE_ROWS) }
    }

    #[inline(always)]
    fn head(&self, row: usize) -> *mut RowHead<MIN_GROUPS> {
        const { assert!(MIN_GROUPS == 16 || size_of::<RowHead<MIN_GROUPS>>() == size_of::<RowHead<8>>()) };
        self.data.cast::<RowHead<MIN_GROUPS>>().wrapping_add(row)
    }

    /// The tiles that begin with row `row`.
    #[inline(always)]
    fn tiles(&self, row: usize) -> *mut u8 {
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
/// activations for both, integer sums of two blocks, and the sums of all rows.
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
    // One set of sums is folded while the other is written.
    let mut ints = [Ints::ZERO; 2];
    let mut set = 0;
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
                        begin_block::<S, T, MIN_GROUPS, P>(tiles, &job, &block, &mut ints[set]);
                        // The unit is busy now: time for all that is not part of the product.
                        ahead.step(s);
                        if job.asks_for_end {
                            ask_for_end(s, &job, &block, rows_to_ask_for);
                        }
                        end_block::<S, T, MIN_GROUPS, P>(s, tiles, &job, &block, last.as_ref(), &ints[set]);
                    }
                    set = 1 - set;
                    last = Some(block);
                }
            }
        }
    }
    if let Some(last) = &last {
        // SAFETY: as above.
        unsafe {
            tiles.store(&mut ints[set]);
            let fold = Fold::<S, MIN_GROUPS, P>::of(s, &job, last, &ints[set]);
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
