//! Products with float weights (F32, F16, BF16): no digits, plain f32 multiply-adds over 16 lanes, for any m. Knows no ISA.

use super::Task;
use super::decode::Job;
use crate::blocks::FloatWeight;
use crate::simd::{LANES, Simd};
use std::marker::PhantomData;

/// The product with weights `W`; the job's `x` are f32 rows, `x_stride` in bytes as always.
pub(crate) struct FloatProduct<W>(pub(crate) Job, pub(crate) PhantomData<W>);

impl<W: FloatWeight> Task for FloatProduct<W> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.0;
        let mut row = 0;
        while row < job.n {
            let rows = if job.n - row >= 4 { 4 } else { 1 };
            let mut begin = 0;
            while begin < job.m {
                // SAFETY: the maker of the task guarantees `n` weight rows, `m` activation rows and their results.
                begin += unsafe {
                    let w = job.w.add(row * job.row_bytes);
                    let x = job.x.add(begin * job.x_stride);
                    let y = job.y.add(begin * job.y_stride + row);
                    match (rows, job.m - begin) {
                        (4, 1..4) => tile::<S, W, 4, 1>(s, &job, w, x, y),
                        (4, _) => tile::<S, W, 4, 4>(s, &job, w, x, y),
                        (_, 1..4) => tile::<S, W, 1, 1>(s, &job, w, x, y),
                        _ => tile::<S, W, 1, 4>(s, &job, w, x, y),
                    }
                };
            }
            row += rows;
        }
    }
}

/// `N` weight rows with `M` activation rows; returns `M`.
///
/// # Safety
/// `w` points to `N` rows of `job.k` weights, `x` to `M` rows of f32, `y` to the results.
#[inline(always)]
unsafe fn tile<S: Simd, W: FloatWeight, const N: usize, const M: usize>(
    s: S,
    job: &Job,
    w: *const u8,
    x: *const u8,
    y: *mut f32,
) -> usize {
    let mut acc = [[s.splat(0.0); M]; N];
    let mut column = 0;
    while column < job.k {
        let columns = (job.k - column).min(LANES);
        let mut weights = [s.splat(0.0); N];
        let mut values = [s.splat(0.0); M];
        // SAFETY: the caller's promise: `columns` elements are left in each row.
        unsafe {
            for n in 0..N {
                let row = w.add(n * job.row_bytes).cast::<W>().add(column);
                weights[n] = W::floats(s, &head(row, columns, W::ZERO));
            }
            for m in 0..M {
                let row = x.add(m * job.x_stride).cast::<f32>().add(column);
                values[m] = s.load_floats(&head(row, columns, 0.0));
            }
        }
        for n in 0..N {
            for m in 0..M {
                acc[n][m] = s.fma(weights[n], values[m], acc[n][m]);
            }
        }
        column += LANES;
    }
    for n in 0..N {
        for m in 0..M {
            // SAFETY: the caller's promise.
            unsafe { *y.add(m * job.y_stride + n) = s.sum(acc[n][m]) };
        }
    }
    M
}

/// The first `count` elements at `source`, filled up to 16.
///
/// # Safety
/// `source` is readable for `count` elements, at most 16; it may be unaligned.
#[inline(always)]
unsafe fn head<T: Copy>(source: *const T, count: usize, filler: T) -> [T; LANES] {
    // SAFETY: the caller's promise.
    unsafe {
        if count == LANES {
            return source.cast::<[T; LANES]>().read_unaligned();
        }
        let mut values = [filler; LANES];
        for (i, value) in values.iter_mut().enumerate().take(count) {
            *value = source.add(i).read_unaligned();
        }
        values
    }
}
