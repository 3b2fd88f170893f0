//! Panel: many activation rows. A strip of 16 weight rows is unpacked once into scratch that fits in cache; a kernel that
//! knows no quant type then sweeps all activation rows over it. Knows no ISA.
//!
//! A panel is 2 or 4 strips; a strip is, for each chunk of 256 columns, a [`strip_chunk_bytes`] record:
//! ```text
//! codes   64 vectors of 64 bytes; vector c, byte 4r + b = code of row r, column 4c + b
//! scales  one vector of 16 f32 per group of 16 columns: the scale of each row; mins: the same after them
//! ```
//! With groups of 32 columns there is one vector of scales and one of mins for each, in turns.
//! ```text
//! for each block of activation rows (its sums stay in L1):
//!     for each chunk (its records stay in L1):
//!         for each tile of activation rows x strips, all strips first:
//!             t = 0
//!             for each group of columns:
//!                 ints[p] = codes . digits[p]                                 exact, i32, one lane per weight row
//!                 t += scale * ((ints[0] * 256 + ints[1]) * 256 + ints[2])    f32
//!                 t -= min * sum of the integers
//!             acc += t * x.scale
//! ```
//! The order of operations of one y depends on nothing but its weight row and its activation row.

use super::Task;
use super::activations::{Header, chunk_bytes};
use super::chunk::Chunks;
use super::cpu::Cpu;
use super::panel_job::{Ahead, PackJob, SweepJob};
use crate::blocks::{Affine, Unpacking};
use crate::simd::{CHUNK, COLUMNS, LANES, Lookups, QUARTERS, Simd};
use std::marker::PhantomData;

/// Strips of a narrow panel.
pub(crate) const STRIPS: usize = 2;
/// Strips of a wide panel: each activation that comes from a far cache meets twice as many weights. FAST Q4_K with m = 512 at
/// the AVX-512 level of a Zen 5 gains 4 %, other precisions 2 %; with m = 24 it would lose 3 %.
pub(crate) const WIDE_STRIPS: usize = 2 * STRIPS;
/// The most bytes of a wide panel.
pub(crate) const WIDE_BYTES: usize = 512 << 10;
/// Activation rows whose sums are kept at a time: those of a wide panel are 16 KiB, which leaves room for its chunk in L1 (with
/// 128 rows, HIGH and FAST Q6_K with m = 512 lost 4 and 2 % at the AVX-512 level of an Emerald Rapids, EXACT 3 %).
pub(crate) const SUM_ROWS: usize = 64;
/// The most chunks that a panel holds at a time; sums go on over several panels.
pub(crate) const PANEL_CHUNKS: usize = 64;

const CODE_BYTES: usize = CHUNK * LANES;

/// Scratch is at most 2 MiB per thread, beside packed activations.
const _: () = {
    let narrow = STRIPS * PANEL_CHUNKS * strip_chunk_bytes(16);
    let panel = if narrow > WIDE_BYTES { narrow } else { WIDE_BYTES };
    assert!(panel + SUM_ROWS * WIDE_STRIPS * LANES * size_of::<f32>() + 64 <= 2 << 20);
};

/// What the sweep must know of a type: nothing else about it is left in a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Columns per scale: 16 or 32.
    pub(crate) group: usize,
    /// The largest code.
    pub(crate) code_max: usize,
    /// The code that stands for 0, if that is all that the mins are.
    pub(crate) offset: Option<u8>,
}

/// Bytes of the scales, or of the mins, of one strip and chunk.
const fn groups_bytes(group: usize) -> usize {
    CHUNK / group * LANES * size_of::<f32>()
}

/// Bytes of one strip and chunk, with groups of `group` columns.
pub(crate) const fn strip_chunk_bytes(group: usize) -> usize {
    CODE_BYTES + 2 * groups_bytes(group)
}

/// The format of type `A`.
pub(crate) const fn format_of<A: Affine>() -> Format {
    Format { group: A::GROUP, code_max: A::CODE_MAX, offset: A::OFFSET }
}

/// From how many activation rows on the panel is the faster way for blocks `A`, by digit planes - 1.
pub(super) const fn from_rows<S: Simd, A: Affine>(cpu: Cpu) -> [usize; 3] {
    let from = match cpu {
        Cpu::Other => &S::PANEL_FROM,
        Cpu::Zen => &S::PANEL_FROM_ZEN,
        Cpu::Zen5 => &S::PANEL_FROM_ZEN5,
    };
    match A::EIGHT_ROWS {
        Some(Unpacking::Fields) => from.fields,
        Some(Unpacking::Joined) if A::GROUP == 16 => from.joined_of_16,
        Some(Unpacking::Joined) => from.joined,
        Some(Unpacking::SixBits) => from.six_bits,
        Some(Unpacking::LookedUp) => from.looked_up,
        Some(Unpacking::FloatScales) => from.float_scales,
        None if A::GROUP == 16 => from.groups_of_16,
        None if A::INTEGER_SCALES => from.integers,
        None => from.floats,
    }
}

/// How many activation rows decode ever has, with `P` digit planes: tiles of more need not be built. With `few_kernels` (see
/// [`super::Kernels::of`]) tiles of one row do for all.
pub(super) const fn most_decoded<S: Simd, A: Affine, const P: usize>() -> usize {
    if cfg!(few_kernels) {
        return 1;
    }
    let zens = most(from_rows::<S, A>(Cpu::Zen)[P - 1], from_rows::<S, A>(Cpu::Zen5)[P - 1]);
    most(zens, from_rows::<S, A>(Cpu::Other)[P - 1]) - 1
}

const fn most(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Unpacking blocks `A` into a panel.
pub(crate) struct PackPanel<A>(pub(crate) PackJob, pub(crate) PhantomData<A>);

impl<A: Affine> Task for PackPanel<A> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.0;
        let chunks = job.k.div_ceil(CHUNK);
        for strip in 0..job.strips {
            let rows: [Chunks<A>; LANES] = std::array::from_fn(|r| {
                // SAFETY: the maker of the task guarantees `n` rows of `k` columns; row numbers are capped at the last.
                unsafe { Chunks::of(job.w.add((strip * LANES + r).min(job.n - 1) * job.row_bytes), job.k) }
            });
            for chunk in 0..chunks {
                // SAFETY: below the number of chunks; the maker of the task guarantees the panel's space.
                unsafe {
                    let record = job.panel.add((strip * chunks + chunk) * strip_chunk_bytes(A::GROUP));
                    let mut blocks = [rows[0].get(chunk); LANES];
                    for r in 1..LANES {
                        blocks[r] = rows[r].get(chunk);
                    }
                    pack_strip::<S, A>(s, blocks, record);
                }
            }
        }
    }
}

/// Masks for each first and each second float.
const FIRST: [u8; COLUMNS] = floats_of_two(0);
const SECOND: [u8; COLUMNS] = floats_of_two(1);

const fn floats_of_two(which: usize) -> [u8; COLUMNS] {
    let mut mask = [0; COLUMNS];
    let mut i = 0;
    while i < COLUMNS {
        if i / 4 % 2 == which {
            mask[i] = 255;
        }
        i += 1;
    }
    mask
}

/// Unpacks one chunk of 16 rows into a strip's record.
///
/// # Safety
/// `record` is `strip_chunk_bytes` long and aligned to 64.
#[inline(always)]
unsafe fn pack_strip<S: Simd, A: Affine>(s: S, blocks: [&[A]; LANES], record: *mut u8) {
    // SAFETY: the caller's promise; `Affine` is a `Block`, valid for any bytes at any address; the parts of the record
    // are those of `strip_chunk_bytes`, all multiples of 64.
    unsafe {
        let mut lookups = [const { Lookups::new() }; LANES];
        for r in 0..LANES {
            A::index(blocks[r], s, &mut lookups[r]);
        }
        for quarter in 0..QUARTERS {
            let mut rows = [A::codes(blocks[0], &lookups[0], s, quarter); LANES];
            for r in 1..LANES {
                rows[r] = A::codes(blocks[r], &lookups[r], s, quarter);
            }
            s.store_transposed(&rows, record.add(quarter * COLUMNS * LANES));
        }
        // Both have a float per 16 columns of a row, and are transposed as four codes are.
        let mut scales = [s.splat_codes(0); LANES];
        let mut mins = scales;
        for r in 0..LANES {
            let scaling = A::scaling(blocks[r], s);
            (scales[r], mins[r]) = (s.float_bytes(scaling.scales), s.float_bytes(scaling.mins));
        }
        let out = record.add(CODE_BYTES);
        if A::GROUP == 16 {
            s.store_transposed(&scales, out);
            s.store_transposed(&mins, out.add(COLUMNS * LANES));
        } else {
            // Those of a group come twice: the first time the scale is taken, the second time the min.
            for r in 0..LANES {
                scales[r] = s.or(s.and(scales[r], s.bytes(&FIRST)), s.and(mins[r], s.bytes(&SECOND)));
            }
            s.store_transposed(&scales, out);
        }
    }
}

/// The sweep for panels of groups of `GROUP` columns with codes up to `CODE_MAX`, and `P` digit planes.
///
/// With an `OFFSET` above 0, the mins of the panel are not used: the code that stands for 0 is taken off the integers, which
/// begin with it (see [`sum_starts`]), so that nothing is left to be done per group: at the AVX-512 level of an Emerald Rapids,
/// FAST, HIGH, EXACT with m = 512, Q6_K 1.25, 1.14, 1.08 times as fast as with an addition of floats per sum, Q3_K 1.25, 1.15,
/// 1.09 (with the prefetch of [`super::panel_job::FAR_ACTIVATIONS`], which Q4_K gained 1.07, 1.05, 1.02 by in the same runs). On a Zen 5 that
/// addition had been 1 to 9 % faster than mins times sums. Integer mins times integer sums, two groups in an instruction,
/// gained Q4_K 1 % with m = 512, and lost 7 % with m = 24 and 17 % at the AVX2 level.
pub(crate) struct Sweep<const GROUP: usize, const CODE_MAX: usize, const P: usize, const OFFSET: u8>(
    pub(crate) SweepJob,
);

impl<const GROUP: usize, const CODE_MAX: usize, const P: usize, const OFFSET: u8> Task
    for Sweep<GROUP, CODE_MAX, P, OFFSET>
{
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.0;
        let steps = job.chunks * (job.strips / S::TILE_STRIPS) * job.m.div_ceil(S::TILE_ROWS[P - 1]);
        let mut ahead = Ahead::of(&job, steps);
        for chunk in 0..job.chunks {
            let mut row = 0;
            while row < job.m {
                let left = tile_rows(job.m - row, S::TILE_ROWS[P - 1]);
                let mut strip = 0;
                while strip < job.strips {
                    ahead.step(s);
                    if job.asks_for_rows {
                        ask_for_rows::<S, P>(s, &job, chunk, strip, row + left);
                    }
                    if job.asks_for_end && (chunk + 2 == job.chunks || job.chunks == 1) {
                        job.ask_for_end(s, row..row + left, strip..strip + S::TILE_STRIPS);
                    }
                    // SAFETY: the maker of the task guarantees the panel, the packed rows and the sums; a tile's rows
                    // and strips stay within them, as the strips are a multiple of `TILE_STRIPS`.
                    unsafe {
                        if S::TILE_STRIPS == 2 {
                            tiles::<S, GROUP, CODE_MAX, P, OFFSET, 2>(s, &job, chunk, strip, row, left);
                        } else {
                            tiles::<S, GROUP, CODE_MAX, P, OFFSET, 1>(s, &job, chunk, strip, row, left);
                        }
                    }
                    strip += S::TILE_STRIPS;
                }
                row += left;
            }
        }
    }
}

/// Asks for this strip's share of the next tile's activations: those of chunk `chunk` from row `row` on, or, after the last
/// row, of the next chunk. A prefetch never faults, so it does not matter what lies behind the last one.
#[inline(always)]
fn ask_for_rows<S: Simd, const P: usize>(s: S, job: &SweepJob, chunk: usize, strip: usize, row: usize) {
    let (chunk, row) = if row < job.m { (chunk, row) } else { (chunk + 1, 0) };
    let rows = S::TILE_ROWS[P - 1].div_ceil(job.strips / S::TILE_STRIPS);
    for r in 0..rows {
        let row = row + strip / S::TILE_STRIPS * rows + r;
        let packed = job.x.wrapping_add(row * job.x_stride + chunk * chunk_bytes(P));
        for line in 0..chunk_bytes(P) / 64 {
            s.prefetch(packed.wrapping_add(64 * line));
        }
    }
}

/// How many of `left` rows the next tile takes where it may take `most`: the last two share theirs evenly, as one of few rows
/// takes nearly as long as one of many.
#[inline(always)]
pub(super) fn tile_rows(left: usize, most: usize) -> usize {
    if left > most && left < 2 * most { left.div_ceil(2) } else { left.min(most) }
}

/// Chooses the tile for `left` rows.
///
/// # Safety
/// See [`tile`].
#[inline(always)]
unsafe fn tiles<
    S: Simd,
    const GROUP: usize,
    const CODE_MAX: usize,
    const P: usize,
    const OFFSET: u8,
    const V: usize,
>(
    s: S,
    job: &SweepJob,
    chunk: usize,
    strip: usize,
    row: usize,
    left: usize,
) {
    // The comparisons with the constant let the compiler drop the tiles that an ISA does not use.
    let most = S::TILE_ROWS[P - 1];
    // SAFETY: the caller's promise.
    unsafe {
        match left {
            6 if most >= 6 => tile::<S, GROUP, CODE_MAX, P, OFFSET, 6, V>(s, job, chunk, strip, row),
            5 if most >= 5 => tile::<S, GROUP, CODE_MAX, P, OFFSET, 5, V>(s, job, chunk, strip, row),
            4 if most >= 4 => tile::<S, GROUP, CODE_MAX, P, OFFSET, 4, V>(s, job, chunk, strip, row),
            3 if most >= 3 => tile::<S, GROUP, CODE_MAX, P, OFFSET, 3, V>(s, job, chunk, strip, row),
            2 if most >= 2 => tile::<S, GROUP, CODE_MAX, P, OFFSET, 2, V>(s, job, chunk, strip, row),
            _ => tile::<S, GROUP, CODE_MAX, P, OFFSET, 1, V>(s, job, chunk, strip, row),
        }
    }
}

/// `(ints[0] * 256 + ints[1]) * 256 + ints[2]`, or what of it the `P` planes have, for sums of codes with digits.
///
/// The last two planes are joined as integers, which takes any of the CPU's vector units, where conversions and products take
/// some (EXACT Q4_K at the AVX-512 level of a Zen 5: 7 % faster). They fit: sums of 32 codes of at most 255 with digits are
/// below 2^21. The float of two joined planes is the one that a product and a sum of theirs would be rounded to.
#[inline(always)]
fn joined<S: Simd, const P: usize>(s: S, ints: &[S::Ints; P]) -> S::Floats {
    if P == 1 {
        return s.to_floats(ints[0]);
    }
    let last = s.to_floats(s.shift_add(ints[P - 2], ints[P - 1]));
    if P == 3 { s.fma(s.to_floats(ints[0]), s.splat(65536.0), last) } else { last }
}

/// What the sums of each group of columns begin with in each plane, so that [`joined`] gives them less `OFFSET` times the sum of
/// the integers. With three planes that may take more than 32 bits: the first plane has what it can of it, the last one the
/// rest.
#[inline(always)]
fn sum_starts<S: Simd, const P: usize, const OFFSET: u8>(s: S, sums: &[f32; LANES]) -> [[i32; LANES]; P] {
    let mut starts = [[0; LANES]; P];
    let mut rest = s.mul(s.load_floats(sums), s.splat(-f32::from(OFFSET)));
    if P == 3 {
        let first = s.to_ints(s.mul(rest, s.splat(1.0 / 65536.0)));
        s.store_ints(first, &mut starts[0]);
        rest = s.fnma(s.to_floats(first), s.splat(65536.0), rest);
    }
    s.store_ints(s.to_ints(rest), &mut starts[P - 1]);
    starts
}

/// `M` activation rows from `row` on with `V` strips from `strip` on, over one chunk.
///
/// # Safety
/// The job holds that many rows and strips.
#[inline(always)]
unsafe fn tile<
    S: Simd,
    const GROUP: usize,
    const CODE_MAX: usize,
    const P: usize,
    const OFFSET: u8,
    const M: usize,
    const V: usize,
>(
    s: S,
    job: &SweepJob,
    chunk: usize,
    strip: usize,
    row: usize,
) {
    let groups = CHUNK / GROUP;
    // SAFETY: the caller's promise: all pointers below stay inside of the panel, the packed rows and the sums, whose
    // layouts are those that `PackPanel` and `PackActivations` write.
    unsafe {
        let mut records = [job.panel; V];
        for v in 0..V {
            records[v] = job.panel.add(((strip + v) * job.chunks + chunk) * strip_chunk_bytes(GROUP));
        }
        let mut headers = [job.x.cast::<Header>(); M];
        for m in 0..M {
            // Else the compiler walks from row to row with additions, eight times per group (FAST Q4_K at the AVX-512 level of
            // an Emerald Rapids: 2 % slower).
            headers[m] = s.opaque(job.x.add((row + m) * job.x_stride + chunk * chunk_bytes(P))).cast();
        }
        let mut all_starts = [[[0; LANES]; P]; M];
        if OFFSET > 0 {
            for m in 0..M {
                all_starts[m] = sum_starts::<S, P, OFFSET>(s, (*headers[m]).sums(GROUP));
            }
        }
        let mut values = [[s.splat(0.0); M]; V];
        for g in 0..groups {
            let mut w = [job.panel; V];
            for v in 0..V {
                w[v] = records[v].add(g * GROUP * LANES);
            }
            let mut x = [[job.x.cast::<i8>(); P]; M];
            for m in 0..M {
                for p in 0..P {
                    x[m][p] = headers[m].add(1).cast::<i8>().add(p * CHUNK + g * GROUP);
                }
            }
            let mut starts = [[0; P]; M];
            if OFFSET > 0 {
                for m in 0..M {
                    for p in 0..P {
                        starts[m][p] = all_starts[m][p][g];
                    }
                }
            }
            let ints = s.panel_dots::<P, M, V>(w, x, starts, GROUP / 4, CODE_MAX);
            let mut sums = [s.splat(0.0); M];
            if OFFSET == 0 {
                for m in 0..M {
                    sums[m] = s.splat((*headers[m]).sums(GROUP)[g]);
                }
            }
            for v in 0..V {
                let scales = records[v].add(CODE_BYTES).cast::<[f32; LANES]>();
                let scale = s.load_floats(&*scales.add(g * (GROUP / 16)));
                for m in 0..M {
                    values[v][m] = s.fma(joined::<S, P>(s, &ints[v][m]), scale, values[v][m]);
                }
                if OFFSET == 0 {
                    let min = s.load_floats(&*scales.add(if GROUP == 16 { groups + g } else { 2 * g + 1 }));
                    for m in 0..M {
                        values[v][m] = s.fnma(min, sums[m], values[v][m]);
                    }
                }
            }
        }
        for m in 0..M {
            let scale = s.splat((*headers[m]).scale);
            for v in 0..V {
                let sum = s.fma(values[v][m], scale, job.before(s, chunk, row + m, strip + v));
                job.after(s, chunk, row + m, strip + v, sum);
            }
        }
    }
}
