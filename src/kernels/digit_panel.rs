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
use super::panel::{Ahead, PackJob, STRIPS, SUM_ROWS, Sums, SweepJob, TileJob};
use crate::blocks::Affine;
use crate::simd::{CHUNK, COLUMNS, LANES, Lookups, QUARTERS, Simd};
use std::mem::MaybeUninit;

/// The most chunks of a panel.
pub(super) const PANEL_CHUNKS: usize = 16;
/// The most strips of a panel.
pub(super) const PANEL_STRIPS: usize = 8;
/// The most bytes of a panel with more than the fewest strips, and of tiled activations: both should stay in the second cache.
pub(super) const PANEL_BYTES: usize = 640 << 10;
pub(super) const TILED_BYTES: usize = 960 << 10;

/// As in `panel`: scratch is at most 2 MiB per thread.
const _: () = {
    let sums = SUM_ROWS * (STRIPS + PANEL_STRIPS) * LANES * size_of::<f32>();
    let least = PANEL_CHUNKS * tiled_bytes(16, SUM_ROWS, 3);
    assert!(STRIPS * PANEL_CHUNKS * record_bytes(16) <= PANEL_BYTES && least <= TILED_BYTES);
    assert!(PANEL_BYTES + sums + TILED_BYTES + 64 <= 2 << 20);
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

/// Integer sums of a tile of activation rows with each strip.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct IntTiles(pub(super) [[[i32; LANES]; TILE_ROWS]; STRIPS]);

impl IntTiles {
    /// Nothing summed up yet.
    #[cfg(test)]
    pub(super) const ZERO: IntTiles = IntTiles([[[0; LANES]; TILE_ROWS]; STRIPS]);
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
}

/// A matrix unit: a tile of activations and two pairs of tiles of sums, numbers 0 and 1, each with a tile for either strip.
pub(super) trait Tiles {
    /// Takes a tile of activations.
    ///
    /// # Safety
    /// `x` points to its `TILE_BYTES`: 64 signed digits of each of 16 rows.
    unsafe fn take(&mut self, x: *const u8);

    /// Adds the activations times two tiles of weights to the sums of `PAIR`.
    ///
    /// # Safety
    /// `w` points to `TILE_BYTES` each.
    unsafe fn add<const PAIR: usize>(&mut self, w: [*const u8; STRIPS]);

    /// The sums of `PAIR` to `out`, then `add` from zero.
    ///
    /// # Safety
    /// As `add`; `out` points to tiles to be written.
    unsafe fn store_and_add<const PAIR: usize>(&mut self, out: *mut IntTiles, w: [*const u8; STRIPS]);

    /// The sums of `PAIR` to `out`.
    ///
    /// # Safety
    /// `out` points to tiles to be written.
    unsafe fn store<const PAIR: usize>(&mut self, out: *mut IntTiles);
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

/// At most 16 activation rows, one chunk, and two strips.
#[derive(Clone, Copy)]
struct Block {
    /// First row.
    begin: usize,
    /// How many.
    rows: usize,
    chunk: usize,
    /// The first strip.
    strip: usize,
}

/// Integer sums of a block, by weight. One weight more than planes.
type Ints = [MaybeUninit<IntTiles>; 4];

/// A digit panel times packed activations.
///
/// The floats of a block are computed between the products of the next one: the matrix unit works on its own, and the core looks
/// far enough ahead to do both at once, as long as both find what they need in the first cache. That is what the order of
/// products is made for, in which each tile of activations is used once, for both kinds of digits of a block of 16 rows (against
/// one weight after another for 32 rows: integer sums take half the space).
///
/// # Safety
/// As `Kernels`, for a panel that `pack` has made.
#[inline(always)]
pub(super) unsafe fn sweep<S: Digits, T: Tiles, const MIN_GROUPS: usize, const P: usize>(
    s: S,
    tiles: &mut T,
    job: SweepJob,
) {
    // One set of sums is folded while the other is written.
    let mut ints: [Ints; 2] = [[MaybeUninit::uninit(); 4]; 2];
    let mut set = 0;
    let mut last: Option<Block> = None;
    let mut ahead = Ahead::of(&job, job.strips / STRIPS * job.chunks * job.m.div_ceil(TILE_ROWS));
    for strip in (0..job.strips).step_by(STRIPS) {
        for chunk in 0..job.chunks {
            for begin in (0..job.m).step_by(TILE_ROWS) {
                let block = Block { begin, rows: (job.m - begin).min(TILE_ROWS), chunk, strip };
                ahead.step(s);
                if job.asks_for_end && (chunk + 2 == job.chunks || job.chunks == 1) {
                    job.ask_for_end(s, begin..begin + block.rows, strip..strip + STRIPS);
                }
                let [even, odd] = &mut ints;
                let (now, before) = if set == 0 { (even, odd) } else { (odd, even) };
                // SAFETY: the caller's promise: block and chunk lie in the job; the last block's sums were written before,
                // but those of its last two weights.
                unsafe { multiply::<S, T, MIN_GROUPS, P>(s, tiles, &job, &block, now, last.as_ref(), before) };
                set = 1 - set;
                last = Some(block);
            }
        }
    }
    if let Some(last) = &last {
        let ints = &mut ints[1 - set];
        // SAFETY: as above.
        unsafe {
            let [first, second] = last_weights::<P>();
            tiles.store::<0>(ints[first].as_mut_ptr());
            tiles.store::<1>(ints[second].as_mut_ptr());
            let fold = Fold::<S, MIN_GROUPS, P>::of(s, &job, last, ints);
            fold.rows(s, 0, last.rows);
        }
    }
}

/// The weights whose sums are in either pair of tiles after a block.
const fn last_weights<const P: usize>() -> [usize; 2] {
    // Plane p adds its products with high digits to weight p in pair p % 2, those with low digits to p + 1 in the other one.
    if P % 2 == 0 { [P, P - 1] } else { [P - 1, P] }
}

/// The records of a block's strips at its chunk.
///
/// # Safety
/// The job has the block.
#[inline(always)]
unsafe fn records<const MIN_GROUPS: usize>(job: &SweepJob, block: &Block) -> [*const u8; STRIPS] {
    let mut records = [job.panel; STRIPS];
    for v in 0..STRIPS {
        // SAFETY: the caller's promise.
        records[v] =
            unsafe { job.panel.add(((block.strip + v) * job.chunks + block.chunk) * record_bytes(MIN_GROUPS)) };
    }
    records
}

/// The integer sums of a block into `ints`, but those of the last two weights, which stay in the tiles; and the floats of the block
/// before, `last`.
///
/// # Safety
/// The job has both blocks; `last_ints` holds the sums of the last one, the tiles those of its last weights.
#[inline(always)]
unsafe fn multiply<S: Digits, T: Tiles, const MIN_GROUPS: usize, const P: usize>(
    s: S,
    tiles: &mut T,
    job: &SweepJob,
    block: &Block,
    ints: &mut Ints,
    last: Option<&Block>,
    last_ints: &mut Ints,
) {
    // Pairs of products.
    let steps = const { 2 * QUARTERS * P };
    // SAFETY: the caller's promise: records hold two kinds of digits; all rows of a tile lie in the job's space.
    unsafe {
        let w = records::<MIN_GROUPS>(job, block);
        let x = Tiled::<MIN_GROUPS, P>::of(job.tiled, job.m, block.chunk).tiles(block.begin);
        let fold = last.map(|last| Fold::<S, MIN_GROUPS, P>::of(s, job, last, last_ints));
        let mut step = 0;
        for plane in 0..P {
            for quarter in 0..QUARTERS {
                tiles.take(x.add((plane * QUARTERS + quarter) * TILE_BYTES));
                for digit in [1, 0] {
                    let tile = digit * DIGIT_BYTES + quarter * TILE_BYTES;
                    let w = [w[0].add(tile), w[1].add(tile)];
                    let pair = (plane + 1 - digit) % 2;
                    // The first block stores what has no meaning, where nobody looks at it.
                    match (quarter, plane, digit) {
                        (0, 0, 1) => {
                            tiles.store_and_add::<0>(last_ints[last_weights::<P>()[0]].as_mut_ptr(), w);
                        }
                        (0, 0, _) => {
                            tiles.store_and_add::<1>(last_ints[last_weights::<P>()[1]].as_mut_ptr(), w);
                        }
                        (0, 1, 0) => tiles.store_and_add::<0>(ints[0].as_mut_ptr(), w),
                        (0, 2, 0) => tiles.store_and_add::<1>(ints[1].as_mut_ptr(), w),
                        _ if pair == 0 => tiles.add::<0>(w),
                        _ => tiles.add::<1>(w),
                    }
                    // Not at once: the last sums have yet to arrive in memory.
                    if let Some(fold) = &fold
                        && step > 1
                    {
                        let rows = fold.block.rows;
                        let first = rows * (step - 2) / (steps - 2) & !1;
                        let last = if step + 1 == steps { rows } else { rows * (step - 1) / (steps - 2) & !1 };
                        fold.rows(s, first, last);
                    }
                    step += 1;
                }
            }
        }
    }
}

/// Sums for the strips of a block where there are none yet.
static ZEROS: [[f32; LANES]; STRIPS] = [[0.0; LANES]; STRIPS];

/// How the integer sums of a block become floats.
struct Fold<S: Simd, const MIN_GROUPS: usize, const P: usize> {
    block: Block,
    heads: *const RowHead<MIN_GROUPS>,
    ints: [*const IntTiles; 4],
    /// The sums of all rows, before and after.
    before: Sums,
    after: Sums,
    // In registers for all rows: loaded for each, they would be most of what is loaded.
    d: [S::Floats; STRIPS],
    mins: [[S::Floats; MIN_GROUPS]; STRIPS],
}

impl<S: Digits, const MIN_GROUPS: usize, const P: usize> Fold<S, MIN_GROUPS, P> {
    /// # Safety
    /// The job has the block; `ints` will hold its sums.
    #[inline(always)]
    unsafe fn of(s: S, job: &SweepJob, block: &Block, ints: &Ints) -> Self {
        let kept = Sums { first: job.sums, stride: STRIPS * LANES };
        let zeros = Sums { first: (&raw const ZEROS).cast_mut().cast(), stride: 0 };
        let before = match &job.begin {
            _ if block.chunk > 0 => kept,
            Some(begin) => begin.from_strip(block.strip),
            None => zeros,
        };
        let after = if block.chunk + 1 < job.chunks { kept } else { job.end.from_strip(block.strip) };
        let mut fold = Fold {
            block: *block,
            heads: Tiled::<MIN_GROUPS, P>::of(job.tiled, job.m, block.chunk).head(block.begin),
            ints: std::array::from_fn(|weight| ints[weight].as_ptr()),
            before,
            after,
            d: [s.splat(0.0); STRIPS],
            mins: [[s.splat(0.0); MIN_GROUPS]; STRIPS],
        };
        // SAFETY: the caller's promise; records are laid out as `pack` writes them.
        unsafe {
            let records = records::<MIN_GROUPS>(job, block);
            for v in 0..STRIPS {
                fold.d[v] = s.load_floats(&*records[v].add(D).cast());
                for g in 0..MIN_GROUPS {
                    fold.mins[v][g] = s.load_floats(&*records[v].add(MINS).cast::<[f32; LANES]>().add(g));
                }
            }
        }
        fold
    }

    /// Adds the sums of rows `first..last`, counted from the block's first, to those of the job.
    ///
    /// # Safety
    /// The block has the rows, and their integer sums are there.
    #[inline(always)]
    unsafe fn rows(&self, s: S, first: usize, last: usize) {
        let mut row = first;
        // SAFETY: the caller's promise.
        unsafe {
            while row + 2 <= last {
                self.some_rows::<2>(s, row);
                row += 2;
            }
            if row < last {
                self.some_rows::<1>(s, row);
            }
        }
    }

    /// As `rows`, for `R` rows.
    ///
    /// # Safety
    /// As `rows`.
    #[inline(always)]
    unsafe fn some_rows<const R: usize>(&self, s: S, first: usize) {
        let mut values = [[s.splat(0.0); STRIPS]; R];
        // SAFETY: the caller's promise.
        unsafe {
            for r in 0..R {
                for v in 0..STRIPS {
                    let load = |weight: usize| s.load_ints(&(*self.ints[weight]).0[v][first + r]);
                    // Neighbours are joined as integers, which takes any of the CPU's vector units.
                    let value = match P {
                        1 => s.to_floats(s.shift_add(load(0), load(1))),
                        2 => s.fma(s.to_floats(load(0)), s.splat(65536.0), s.to_floats(s.shift_add(load(1), load(2)))),
                        _ => s.fma(
                            s.to_floats(s.shift_add(load(0), load(1))),
                            s.splat(65536.0),
                            s.to_floats(s.shift_add(load(2), load(3))),
                        ),
                    };
                    values[r][v] = s.mul(value, self.d[v]);
                }
            }
            let head = |r: usize| &*self.heads.add(first + r);
            for g in 0..MIN_GROUPS {
                for r in 0..R {
                    let sum = s.splat(head(r).sums[g]);
                    for v in 0..STRIPS {
                        values[r][v] = s.fnma(self.mins[v][g], sum, values[r][v]);
                    }
                }
            }
            for r in 0..R {
                let row = self.block.begin + first + r;
                let scale = s.splat(head(r).scale);
                for v in 0..STRIPS {
                    let sum = s.fma(values[r][v], scale, s.load_floats(&*self.before.at(row, v)));
                    s.store_floats(sum, &mut *self.after.at(row, v));
                }
            }
        }
    }
}
