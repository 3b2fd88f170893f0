//! Decode of four weight rows at a time, for types with integer scales and codes that are no grid's points. A quarter of each vector
//! is one row, so that what belongs to a row (scales, mins, d) is made for four rows by the same instructions, groups of 32 columns add
//! up before they are scaled, and nothing has to be added up across a row until its end. Knows no ISA and no type.
//!
//! ```text
//! for each four weight rows, for each tile of activation rows:
//!     for each chunk of 256 columns:
//!         integer scales, mins, d, dmin  <- blocks
//!         for each 64 columns, for each activation row of the tile:
//!             for each digit plane p:  ints[p] += scale * (codes . digits[p])           exact, i32
//!         for each activation row of the tile:
//!             value = (ints[0] * 256 + ints[1]) * 256 + ints[2]                         f32
//!             acc  += (d * value - dmin * (mins . sums)) * x.scale
//!     y = sum of the 4 lanes of acc
//! ```
//!
//! The order of operations of one y depends on nothing but its weight row and its activation row, so any split of the
//! work gives the same bits.

use super::activations::{Header, chunk_bytes};
use super::decode::{Digits, Job, TILE_ROWS, least};
use super::panel;
use crate::blocks::Affine;
use crate::simd::{CHUNK, Simd};

/// Weight rows at a time.
const ROWS: usize = 4;

/// The whole job.
///
/// # Safety
/// The job's pointers are as its maker guarantees.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, A: Affine, const P: usize>(s: S, job: &Job) {
    for row in (0..job.n).step_by(ROWS) {
        let mut begin = 0;
        while begin < job.m {
            // SAFETY: the caller's promise; `begin` and the tile's rows stay within `m`.
            begin += unsafe {
                let (x, y) = (job.x.add(begin * job.x_stride), job.y.add(begin * job.y_stride));
                // The comparisons with the constant let the compiler drop tiles that no call reaches: from there on the panel
                // is used.
                let most = const { least(panel::from_rows::<S, A>()[P - 1] - 1, TILE_ROWS) };
                match panel::tile_rows(job.m - begin, most) {
                    6 if most >= 6 => tile::<S, A, P, 6>(s, job, row, x, y),
                    5 if most >= 5 => tile::<S, A, P, 5>(s, job, row, x, y),
                    4 if most >= 4 => tile::<S, A, P, 4>(s, job, row, x, y),
                    3 if most >= 3 => tile::<S, A, P, 3>(s, job, row, x, y),
                    2 if most >= 2 => tile::<S, A, P, 2>(s, job, row, x, y),
                    _ => tile::<S, A, P, 1>(s, job, row, x, y),
                }
            };
        }
    }
}

/// The weight rows from `row` on, at most four, with `M` activation rows; returns `M`.
///
/// # Safety
/// `x` points to `M` packed rows, `y` to `M` rows of results `job.y_stride` apart; `row` is below `job.n`.
#[inline(always)]
unsafe fn tile<S: Simd, A: Affine, const P: usize, const M: usize>(
    s: S,
    job: &Job,
    row: usize,
    x: *const u8,
    y: *mut f32,
) -> usize {
    const { assert!(!A::FOUR_ROWS || A::TYPE.block_elements() == CHUNK) };
    let count = least(job.n - row, ROWS);
    // Where fewer are left the first one stands in for those that are not there.
    let first = [0, 1, 2, 3].map(|r| {
        let r = if r < count { r } else { 0 };
        // SAFETY: below `job.n`.
        unsafe { job.w.add((row + r) * job.row_bytes).cast::<A>() }
    });
    let mut acc = [s.splat(0.0); M];
    for chunk in 0..job.k / CHUNK {
        // SAFETY: a block of each row for each chunk, as `k` is a whole number of blocks; the caller's promise: `M` packed rows.
        acc = unsafe {
            let blocks = first.map(|first| &*first.add(chunk));
            step::<S, A, P, M>(s, blocks, x.add(chunk * chunk_bytes(P)), job.x_stride, acc)
        };
    }
    for m in 0..M {
        let sums = s.row_sums(acc[m]);
        for r in 0..count {
            // SAFETY: the caller's promise.
            unsafe { *y.add(m * job.y_stride + row + r) = sums[r] };
        }
    }
    M
}

/// Adds the products of a chunk of four weight rows and those of the `M` activation rows at `x`.
///
/// # Safety
/// `x` points to `M` chunks, a header and `P` planes each, aligned to 64, that are `x_stride` bytes apart.
#[inline(always)]
unsafe fn step<S: Simd, A: Affine, const P: usize, const M: usize>(
    s: S,
    blocks: [&A; 4],
    x: *const u8,
    x_stride: usize,
    mut acc: [S::Floats; M],
) -> [S::Floats; M] {
    let header = |m: usize| {
        // SAFETY: the caller's promise.
        unsafe { &*x.add(m * x_stride).cast::<Header>() }
    };
    let scaling = A::scaling_of_rows(blocks, s);
    let mut ints = [[s.zero(); P]; M];
    // SAFETY: the caller's promise. Written out, as the compiler does not always unroll a loop.
    unsafe {
        quarter::<S, A, P, M>(s, blocks, 0, scaling.scales, x, x_stride, &mut ints);
        quarter::<S, A, P, M>(s, blocks, 1, scaling.scales, x, x_stride, &mut ints);
        quarter::<S, A, P, M>(s, blocks, 2, scaling.scales, x, x_stride, &mut ints);
        quarter::<S, A, P, M>(s, blocks, 3, scaling.scales, x, x_stride, &mut ints);
    }
    let mins = |four: usize| s.row_floats(scaling.mins, scaling.first_min / 4 + four);
    for m in 0..M {
        let header = header(m);
        let mut value = s.to_floats(ints[m][0]);
        for p in 1..P {
            value = s.fma(value, s.splat(256.0), s.to_floats(ints[m][p]));
        }
        let sums: &[[f32; 4]] = if A::GROUP == 32 { header.sums32.as_chunks().0 } else { header.sums16.as_chunks().0 };
        let mut offset = s.mul(mins(0), s.floats_to_rows(&sums[0]));
        for four in 1..CHUNK / A::GROUP / 4 {
            offset = s.fma(mins(four), s.floats_to_rows(&sums[four]), offset);
        }
        let value = s.fnma(scaling.dmin, offset, s.mul(scaling.d, value));
        acc[m] = s.fma(value, s.splat(header.scale), acc[m]);
    }
    acc
}

/// Adds the scaled products of 64 columns to `ints`. `quarter` is a constant after inlining.
///
/// # Safety
/// As `step`.
#[inline(always)]
unsafe fn quarter<S: Simd, A: Affine, const P: usize, const M: usize>(
    s: S,
    blocks: [&A; 4],
    quarter: usize,
    scales: S::Codes,
    x: *const u8,
    x_stride: usize,
    ints: &mut [[S::Ints; P]; M],
) {
    let [a, b, c, d] = A::codes_of_rows(blocks, s, quarter);
    // Groups of 16: one after the other; of 32: two.
    let first = quarter * if A::GROUP == 32 { 2 } else { 4 };
    for m in 0..M {
        // SAFETY: the caller's promise.
        let digits = unsafe { &*x.add(m * x_stride + size_of::<Header>()).cast::<Digits<P>>() };
        for p in 0..P {
            let [x0, x1, x2, x3] = digits[p][quarter].as_chunks::<16>().0 else { return };
            let [x0, x1, x2, x3] =
                [s.digits_to_rows(x0), s.digits_to_rows(x1), s.digits_to_rows(x2), s.digits_to_rows(x3)];
            let scales = |g: usize| s.row_scales(scales, first + g);
            let mut sum = ints[m][p];
            if A::GROUP == 32 {
                sum = s.dot_group(sum, [a, b], [x0, x1], scales(0), A::CODE_MAX);
                sum = s.dot_group(sum, [c, d], [x2, x3], scales(1), A::CODE_MAX);
            } else {
                sum = s.dot_group(sum, [a], [x0], scales(0), A::CODE_MAX);
                sum = s.dot_group(sum, [b], [x1], scales(1), A::CODE_MAX);
                sum = s.dot_group(sum, [c], [x2], scales(2), A::CODE_MAX);
                sum = s.dot_group(sum, [d], [x3], scales(3), A::CODE_MAX);
            }
            ints[m][p] = sum;
        }
    }
}
