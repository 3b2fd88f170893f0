//! Decode of eight weight rows at a time, for most types whose codes are no grid's points. An eighth of each vector is one row,
//! so that what belongs to a row (scales, mins, d) is made for eight rows by the same instructions, groups add up before they
//! are scaled, and nothing has to be added up across a row until its end. Knows no ISA and no type.
//!
//! Against one or two rows at a time with lanes that are columns, one thread, from cache, on a Zen 5: Q4_K FAST 1.54 times as
//! fast, HIGH 1.60, EXACT 1.77 at the AVX-512 level, 1.29, 1.25, 1.31 at the AVX2 level; Q4_0 1.51, 1.38, 1.53 and 1.60, 1.42,
//! 1.35. With four rows Q4_K gained 1.32, 1.27, 1.25 (AVX-512).
//! Tried and lost at the AVX-512 level: 16 rows that share what is loaded of the activations, 7 to 20 %; chunks added to the
//! sums one chunk later, nothing; halves of a vector loaded under a mask instead of inserted, 4 to 7 %. Taken apart instruction
//! by instruction, FAST Q4_K is bound by the number of vector instructions, 3.1 per cycle, whichever they are.
//! Q6_K and Q8_0 came last, once rows lay apart where memory wants that: against two rows at a time at the AVX-512 level of a
//! Zen 4, FAST, HIGH, EXACT, Q6_K 1.28, 1.22, 1.17 times as fast from memory and 1.09, 1.10, 1.09 from cache, Q8_0 0.98, 0.97,
//! 1.25 and 1.15, 0.96, 1.17.
//!
//! ```text
//! for each eight weight rows, for each tile of activation rows:
//!     for each chunk of 256 columns:
//!         integer scales, mins, d, dmin  <- blocks
//!         for each 64 columns, for each activation row of the tile:          codes are unpacked once
//!             for each digit plane p:  ints[p] += scale * (codes . digits[p])           exact, i32
//!         for each activation row of the tile:
//!             value = (ints[0] * 256 + ints[1]) * 256 + ints[2]                         f32
//!             acc  += (d * value - dmin * (mins . sums)) * x.scale
//!     y = sum of the row's two lanes of acc
//! ```
//!
//! Where each group of 32 columns has a float scale of its own, a group's dots become floats before they are scaled:
//! `value += scale * (dots - half_offset * sum)` (or with mins `value += scale * dots - half_min * sum`), and
//! `acc += value * x.scale`.
//!
//! The order of operations of one y depends on nothing but its weight row and its activation row, so any split of the
//! work gives the same bits.

use super::activations::{Header, chunk_bytes};
use super::asks::Asks;
use super::bands::{Band, ROWS};
use super::decode::{Digits, Job, least};
use super::{mins, panel};
use crate::blocks::{Affine, RowGroup, RowScaling, Unpacking, chunk_blocks};
use crate::simd::{CHUNK, Simd};

/// The most activation rows of a tile whose sums are in memory. It is for all that have more rows than a tile of registers:
/// weights are unpacked once, and a row pays with a load and a store per 64 columns. Against tiles of registers one after the
/// other, with 7 and 16 rows, one thread of an Emerald Rapids, from its last cache: AVX-512 FAST Q4_K 1.12, 1.05 times as fast,
/// Q3_K 1.18, 1.16; EXACT 1.16, 1.20 and 1.25, 1.31; AVX2 FAST 1.07, 1.15 and 1.39, 1.39; EXACT 1.24, 1.28 and 1.33, 1.45.
/// With 16 instead of 32, 18 to 32 rows lost 2 to 12 %. Tried and lost: codes unpacked into memory and sums in registers, FAST
/// 5 to 30 %; 128 columns at a time, FAST 2 % faster, HIGH and EXACT 4 % slower; two rows per turn of the loop, nothing up to 8
/// rows, HIGH 5 % with more.
const MEMORY_TILE_ROWS: usize = 32;

/// With neighbours (see [`Cpu::reads_neighbours`](super::cpu::Cpu)): how far beyond the next rows weights are asked for ahead of
/// their use, in the order of memory: the first bytes of the last of those rows should not come too late (eight rows, however many
/// are multiplied at the same time). Q4_K from memory at the
/// AVX-512 level of a Zen 5, one thread, FAST, HIGH, EXACT: 28, 17, 17 GB/s without asking; 38, 39, 32 with the next rows, 39,
/// 40, 36 so; 37, 35, 35 with the rows after the next. Tried and lost there: each row on its own, a fixed number of chunks
/// ahead, whether neighbours (34, 32, 28) or an eighth of all rows apart (35, 39, 36).
const AHEAD: usize = 2304;

/// How much of the first cache (48 KiB) what was asked for so may take; longer rows lie apart there as well.
const MOST_AHEAD: usize = 24 << 10;

/// How far beyond that one line per chunk is asked for with one digit plane, so that its page is known when the rest of it is:
/// FAST Q4_K as above, 553 MB in pages of 4 KiB, 30 -> 34 GB/s; from a mapped file 36 -> 38. HIGH and EXACT lost 5 and 2 %.
const PAGE: usize = 4096;

/// Whether rows are short enough for [`MOST_AHEAD`].
fn is_near(job: &Job) -> bool {
    ROWS * job.row_bytes + AHEAD <= MOST_AHEAD
}

/// Weight rows at a time where sums are registers: as many as one register has, as the 16 registers of AVX2 do not hold the codes
/// of eight. At the AVX2 level of a Zen 4, from cache, FAST, HIGH, EXACT: Q3_K 1.25, 1.21, 1.22 times as fast as with eight, Q4_K
/// 1.04, 1.08, 1.13, Q5_K 1.02, 1.00, 1.06, Q6_K 1.00, 1.02, 1.04, IQ4_XS 1.03. Others have codes enough of one register, and
/// gain more where both share what is loaded of the activations: Q2_K 0.92, 0.96, 1.02, Q4_0 0.90, 0.88, 0.87.
const fn at_a_time<S: Simd, A: Affine>() -> usize {
    let fields_of_16 = A::GROUP == 16 && matches!(A::EIGHT_ROWS, Some(Unpacking::Fields));
    if A::INTEGER_SCALES && !fields_of_16 { S::REGISTER_OF_ROWS } else { ROWS }
}

/// The most activation rows of a tile whose sums are registers.
const fn register_rows<S: Simd, A: Affine, const P: usize>() -> usize {
    // Q3_K has too many masks: with HIGH, three and four rows in registers take a third longer at the AVX2 level of a Zen 4.
    let joined_of_16 = A::GROUP == 16 && matches!(A::EIGHT_ROWS, Some(Unpacking::Joined));
    if S::REGISTER_OF_ROWS < ROWS && joined_of_16 && P == 2 { 2 } else { S::REGISTER_ROWS[P - 1] }
}

/// The whole job.
///
/// # Safety
/// The job's pointers are as its maker guarantees.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, A: Affine, const P: usize>(s: S, job: &Job) {
    // Comparisons with these constants let the compiler drop what no call reaches: from there on the panel is used.
    let decoded = const { panel::most_decoded::<S, A, P>() };
    let most = least(decoded, register_rows::<S, A, P>());
    if decoded > most && job.m > most {
        // SAFETY: the caller's promise.
        return unsafe { run_in_memory::<S, A, P>(s, job) };
    }
    let mut done = 0;
    while done < job.n {
        let rows = const { at_a_time::<S, A>() };
        let band = Band::of(job, done, is_near(job), rows);
        for step in 0..band.steps {
            let mut begin = 0;
            while begin < job.m {
                // SAFETY: the caller's promise; `begin` and the tile's rows stay within `m`.
                begin += unsafe {
                    let (x, y) = (job.x.add(begin * job.x_stride), band.job.y.add(begin * job.y_stride));
                    match least(job.m - begin, most) {
                        7 if most >= 7 => tile::<S, A, P, 7>(s, &band, step, x, y),
                        6 if most >= 6 => tile::<S, A, P, 6>(s, &band, step, x, y),
                        5 if most >= 5 => tile::<S, A, P, 5>(s, &band, step, x, y),
                        4 if most >= 4 => tile::<S, A, P, 4>(s, &band, step, x, y),
                        3 if most >= 3 => tile::<S, A, P, 3>(s, &band, step, x, y),
                        2 if most >= 2 => tile::<S, A, P, 2>(s, &band, step, x, y),
                        _ => tile::<S, A, P, 1>(s, &band, step, x, y),
                    }
                };
            }
        }
        done += band.job.n;
    }
}

/// The same with sums in memory.
///
/// # Safety
/// As `run`.
#[inline(always)]
unsafe fn run_in_memory<S: Simd, A: Affine, const P: usize>(s: S, job: &Job) {
    const M: usize = MEMORY_TILE_ROWS;
    // Once for all: filling them for each eight rows took 4 to 7 % of the time with few activation rows.
    let (mut acc, mut values, mut ints) = ([s.splat(0.0); M], [s.splat(0.0); M], [[s.zero(); P]; M]);
    let mut done = 0;
    while done < job.n {
        let band = Band::of(job, done, is_near(job), ROWS);
        for step in 0..band.steps {
            let mut begin = 0;
            while begin < job.m {
                let m = panel::tile_rows(job.m - begin, M);
                let sums = Sums { acc: &mut acc[..m], values: &mut values[..m], ints: &mut ints[..m] };
                // SAFETY: the caller's promise; `begin` and the tile's rows stay within `m`.
                unsafe {
                    let (x, y) = (job.x.add(begin * job.x_stride), band.job.y.add(begin * job.y_stride));
                    rows::<S, A, P, ROWS>(s, &band, step, x, y, sums);
                }
                begin += m;
            }
        }
        done += band.job.n;
    }
}

/// The sums of eight weight rows and of as many activation rows as each slice has elements. Where that is the length of an
/// array, inlining turns them into registers.
struct Sums<'a, S: Simd, const P: usize> {
    /// Of the chunks so far.
    acc: &'a mut [S::Floats],
    /// Of a chunk, where each group has a float scale of its own.
    values: &'a mut [S::Floats],
    /// Of a chunk, by digit planes, where groups have integer scales.
    ints: &'a mut [[S::Ints; P]],
}

/// As [`rows`], with `M` activation rows whose sums stay in registers; returns `M`.
///
/// # Safety
/// As `rows`, with `M` for the number of activation rows.
#[inline(always)]
unsafe fn tile<S: Simd, A: Affine, const P: usize, const M: usize>(
    s: S,
    band: &Band,
    step: usize,
    x: *const u8,
    y: *mut f32,
) -> usize {
    let (mut acc, mut values, mut ints) = ([s.splat(0.0); M], [s.splat(0.0); M], [[s.zero(); P]; M]);
    let sums = Sums { acc: &mut acc, values: &mut values, ints: &mut ints };
    // SAFETY: the caller's promise.
    unsafe {
        if const { at_a_time::<S, A>() } == 4 {
            rows::<S, A, P, 4>(s, band, step, x, y, sums);
        } else {
            rows::<S, A, P, ROWS>(s, band, step, x, y, sums);
        }
    }
    M
}

/// The `R` weight rows of a step, or fewer at the end, with as many activation rows as `sums` has. With four rows the last halves
/// of vectors are the first ones again: whatever makes them is left out by the compiler, as nothing uses them.
///
/// # Safety
/// `x` points to that many packed rows, `y` to that many rows of results `band.job.y_stride` apart; `step` is below `band.steps`.
#[inline(always)]
unsafe fn rows<S: Simd, A: Affine, const P: usize, const R: usize>(
    s: S,
    band: &Band,
    step: usize,
    x: *const u8,
    y: *mut f32,
    mut sums: Sums<S, P>,
) {
    for sum in sums.acc.iter_mut() {
        *sum = s.splat(0.0);
    }
    const { assert!(A::EIGHT_ROWS.is_none() || A::TYPE.block_elements() == if A::INTEGER_SCALES { CHUNK } else { GROUP }) };
    let Band { job, neighbours, .. } = *band;
    let rows = band.rows(step);
    let row = rows[0];
    // Where there is no such row the first one stands in for it.
    // SAFETY: below `job.n`.
    let first = rows.map(|r| unsafe { job.w.add(if r < job.n { r } else { row } * job.row_bytes).cast::<A>() });
    let ahead = job.w.wrapping_add((row + ROWS) * job.row_bytes + AHEAD);
    // Once for all tiles of activation rows.
    let asks_ahead = std::ptr::eq(x, job.x);
    let asks = if neighbours || !asks_ahead { Asks::Nothing } else { Asks::of(job.cpu) };
    let blocks = job.k / A::TYPE.block_elements();
    for chunk in 0..job.k.div_ceil(CHUNK) {
        if asks_ahead && neighbours {
            let bytes = R * chunk_blocks::<A>() * size_of::<A>();
            let next = ahead.wrapping_add(chunk * bytes);
            if P == 1 {
                s.prefetch_for_later(next.wrapping_add(PAGE));
            }
            // The last line, of which the next chunk has the rest, is worth it: held to this way, a Zen 4 decodes FAST Q2_K from memory
            // at 43 G weights/s without it, at 50 with.
            for line in 0..bytes.div_ceil(64) {
                s.prefetch_once(next.wrapping_add(64 * line));
            }
        }
        let begin = chunk * chunk_blocks::<A>();
        // SAFETY: below the number of blocks of a row; the caller's promise: as many packed rows as sums.
        unsafe {
            let first = first.map(|first| first.add(begin));
            let x = x.add(chunk * chunk_bytes(P));
            if A::INTEGER_SCALES {
                with_integer_scales::<S, A, P, R>(s, first.map(|first| &*first), asks, x, job.x_stride, &mut sums)
            } else {
                with_float_scales::<S, A, P>(
                    s,
                    first,
                    least(blocks - begin, CHUNK / GROUP),
                    asks,
                    x,
                    job.x_stride,
                    &mut sums,
                )
            }
        };
    }
    for m in 0..sums.acc.len() {
        let sums = s.row_sums(sums.acc[m]);
        for r in 0..R {
            if rows[r] < job.n {
                // SAFETY: the caller's promise.
                unsafe { *y.add(m * job.y_stride + rows[r]) = sums[r] };
            }
        }
    }
}

/// Adds the products of a chunk of eight weight rows and those of the activation rows at `x`.
///
/// # Safety
/// `x` points to as many chunks as `sums` has activation rows, a header and `P` planes each, aligned to 64, that are `x_stride` bytes apart.
#[inline(always)]
unsafe fn with_integer_scales<S: Simd, A: Affine, const P: usize, const R: usize>(
    s: S,
    blocks: [&A; 8],
    asks: Asks,
    x: *const u8,
    x_stride: usize,
    sums: &mut Sums<S, P>,
) {
    let Sums { acc, ints, .. } = sums;
    let scaling = A::scaling_of_rows(blocks, s);
    let ask = |one: &A, other: &A| {
        asks.ahead_of(s, one);
        if R == ROWS {
            asks.ahead_of(s, other);
        }
    };
    // SAFETY: the caller's promise. Written out, as the compiler does not always unroll a loop.
    unsafe {
        ask(blocks[0], blocks[1]);
        quarter::<S, A, P, R>(s, blocks, 0, &scaling, x, x_stride, ints);
        ask(blocks[R / 4], blocks[R / 4 + 1]);
        quarter::<S, A, P, R>(s, blocks, 1, &scaling, x, x_stride, ints);
        ask(blocks[R / 2], blocks[R / 2 + 1]);
        quarter::<S, A, P, R>(s, blocks, 2, &scaling, x, x_stride, ints);
        ask(blocks[R * 3 / 4], blocks[R * 3 / 4 + 1]);
        quarter::<S, A, P, R>(s, blocks, 3, &scaling, x, x_stride, ints);
    }
    for m in 0..acc.len() {
        // SAFETY: the caller's promise.
        let header = unsafe { &*x.add(m * x_stride).cast::<Header>() };
        let mut value = s.to_floats(ints[m][0]);
        for p in 1..P {
            value = s.fma(value, s.splat(256.0), s.to_floats(ints[m][p]));
        }
        let offset = mins::times_sums::<S, A, P>(s, &scaling, header);
        let value = s.fnma(scaling.dmin, offset, s.mul(scaling.d, value));
        acc[m] = s.fma(value, s.splat(header.scale), acc[m]);
    }
}

/// Adds the scaled products of 64 columns to `ints`. `quarter` is a constant after inlining.
///
/// # Safety
/// As `with_integer_scales`.
#[inline(always)]
unsafe fn quarter<S: Simd, A: Affine, const P: usize, const R: usize>(
    s: S,
    blocks: [&A; 8],
    quarter: usize,
    scaling: &RowScaling<S>,
    x: *const u8,
    x_stride: usize,
    ints: &mut [[S::Ints; P]],
) {
    if const { S::SCALES_CODES && P == 3 }
        && let Some(most) = A::SCALED_CODE_MAX
    {
        let [first, last] = A::scaled_codes_of_rows(blocks, s, quarter, scaling);
        for m in 0..ints.len() {
            // SAFETY: the caller's promise.
            let digits = unsafe { &*x.add(m * x_stride + size_of::<Header>()).cast::<Digits<P>>() };
            let mut sums = [s.zero(); P];
            if quarter > 0 {
                sums = ints[m];
            }
            // Planes in turns: one after the other, each waits for its own last instruction.
            for i in 0..8 {
                let codes = if i < 4 { first[i] } else { last[i - 4] };
                for p in 0..P {
                    let digits = s.digits_to_rows(&digits[p][quarter].as_chunks().0[i]);
                    sums[p] = s.dot_bytes(sums[p], codes, digits, most);
                }
            }
            ints[m] = sums;
        }
        return;
    }
    let [first, mut last] = A::codes_of_rows(blocks, s, quarter);
    // More planes would take more shifts of dots than there are codes to be shifted.
    let high_nibbles = A::HIGH_NIBBLES && P == 1;
    if A::HIGH_NIBBLES && !high_nibbles {
        for i in 0..4 {
            last[i] = s.shift_right(last[i], 4, 4, 15);
        }
    }
    for m in 0..ints.len() {
        // SAFETY: the caller's promise.
        let digits = unsafe { &*x.add(m * x_stride + size_of::<Header>()).cast::<Digits<P>>() };
        for p in 0..P {
            let (low, high) = digits[p][quarter].split_at(32);
            let sum = if quarter == 0 { s.zero() } else { ints[m][p] };
            let sum = half::<S, A, R>(s, sum, first, low, scaling, 2 * quarter, false);
            ints[m][p] = half::<S, A, R>(s, sum, last, high, scaling, 2 * quarter + 1, high_nibbles);
        }
    }
}

/// Adds the scaled products of the 32 columns from `32 * index` on. `index` and whether codes are high nibbles are constants after
/// inlining.
#[inline(always)]
fn half<S: Simd, A: Affine, const R: usize>(
    s: S,
    sum: S::Ints,
    [a, b, c, d]: [S::Codes; 4],
    digits: &[i8],
    scaling: &RowScaling<S>,
    index: usize,
    high_nibbles: bool,
) -> S::Ints {
    let [x0, x1, x2, x3] = digits.as_chunks::<8>().0 else { return sum };
    let x = [s.digits_to_rows(x0), s.digits_to_rows(x1), s.digits_to_rows(x2), s.digits_to_rows(x3)];
    if high_nibbles {
        const { assert!(!A::HIGH_NIBBLES || (A::GROUP == 32 && A::OFFSET.is_none() && A::CODE_MAX == 15)) };
        let scales = s.row_scales::<false>(scaling.scales[0], index, A::CODE_MAX);
        let sum = s.dot_high_nibbles(sum, [a, b, c, d], x, scales);
        return if R == ROWS { s.together(sum) } else { sum };
    }
    if A::GROUP == 32 {
        return dot::<S, A, 4, R>(s, sum, [a, b, c, d], x, scaling.scales[0], index);
    }
    let scales = scaling.scales[index / 4];
    let sum = dot::<S, A, 2, R>(s, sum, [a, b], [x[0], x[1]], scales, 2 * (index % 4));
    dot::<S, A, 2, R>(s, sum, [c, d], [x[2], x[3]], scales, 2 * (index % 4) + 1)
}

/// Adds the products of a group, times the scale in byte `at` of each row.
#[inline(always)]
fn dot<S: Simd, A: Affine, const V: usize, const R: usize>(
    s: S,
    sum: S::Ints,
    codes: [S::Codes; V],
    x: [S::Codes; V],
    scales: S::Codes,
    at: usize,
) -> S::Ints {
    let most = A::CODE_MAX;
    let sum = match A::OFFSET {
        Some(_) => s.dot_group::<V, true>(sum, codes, x, s.row_scales::<true>(scales, at, most), most),
        None => s.dot_group::<V, false>(sum, codes, x, s.row_scales::<false>(scales, at, most), most),
    };
    // Of four rows there are no second registers, which this would make.
    if R == ROWS { s.together(sum) } else { sum }
}

/// Columns of a group.
const GROUP: usize = 32;

/// Adds the products of the first `count` groups of a chunk of eight weight rows, each with float scales of its own, and those
/// of the activation rows at `x`. Tried and lost: scales copied a chunk ahead by general registers, which spares a fifth of a
/// group's vector instructions (Q4_0 and Q8_0 on a Zen 4: FAST 3 % slower, HIGH 3 % faster, EXACT 3 % slower).
///
/// # Safety
/// As `with_integer_scales`; `first` points to `count` blocks of each row, at most 8.
#[inline(always)]
unsafe fn with_float_scales<S: Simd, A: Affine, const P: usize>(
    s: S,
    first: [*const A; 8],
    count: usize,
    asks: Asks,
    x: *const u8,
    x_stride: usize,
    sums: &mut Sums<S, P>,
) {
    let Sums { acc, values, .. } = sums;
    for value in values.iter_mut() {
        *value = s.splat(0.0);
    }
    for g in 0..count {
        asks.ahead_of(s, first[g]);
        // SAFETY: the caller's promise.
        let group = A::group_of_rows(unsafe { first.map(|first| &*first.add(g)) }, s);
        for m in 0..acc.len() {
            // SAFETY: the caller's promise; planes have 256 digits, and `g` is below 8.
            let (sum, digits) = unsafe {
                let packed = x.add(m * x_stride);
                let digits = packed.add(size_of::<Header>() + g * GROUP).cast::<[i8; GROUP]>();
                ((*packed.cast::<Header>()).sums32.as_ptr().add(g).read(), digits)
            };
            // SAFETY: as above.
            let dots = unsafe {
                let high = group_dots::<S, A, P>(s, &group, digits, 0);
                // Tried and lost: the dots of the next plane added to 256 times these by the same instructions (4 to 7 %).
                match P {
                    1 => s.to_floats(high),
                    2 => s.to_floats(s.shift_add(high, group_dots::<S, A, P>(s, &group, digits, 1))),
                    _ => {
                        let (middle, low) =
                            (group_dots::<S, A, P>(s, &group, digits, 1), group_dots::<S, A, P>(s, &group, digits, 2));
                        s.fma(s.to_floats(high), s.splat(65536.0), s.to_floats(s.shift_add(middle, low)))
                    }
                }
            };
            values[m] = match A::ROW_OFFSET {
                Some(offset) => {
                    let half = s.splat(0.5 * f32::from(offset));
                    s.fma(s.fnma(half, s.splat(sum), dots), group.scale, values[m])
                }
                None => s.fnma(group.half_min, s.splat(sum), s.fma(dots, group.scale, values[m])),
            };
        }
    }
    for m in 0..acc.len() {
        // SAFETY: the caller's promise.
        let header = unsafe { &*x.add(m * x_stride).cast::<Header>() };
        acc[m] = s.fma(values[m], s.splat(header.scale), acc[m]);
    }
}

/// The dots of a group and digit plane `p`.
///
/// # Safety
/// `digits` points to the group's digits in the first of at least `p + 1` planes.
#[inline(always)]
unsafe fn group_dots<S: Simd, A: Affine, const P: usize>(
    s: S,
    group: &RowGroup<S>,
    digits: *const [i8; GROUP],
    p: usize,
) -> S::Ints {
    // SAFETY: the caller's promise.
    let digits = unsafe { &*digits.byte_add(p * CHUNK) };
    let [x0, x1, x2, x3] = digits.as_chunks::<8>().0 else { return s.zero() };
    let x = [s.digits_to_rows(x0), s.digits_to_rows(x1), s.digits_to_rows(x2), s.digits_to_rows(x3)];
    s.together(s.dot_rows::<P>(group.codes, x, A::CODE_MAX))
}
