//! Sums over groups of weights, in lanes that compilers turn into SIMD. Knows no layout.
//!
//! The loops are functions of their own on slices: inlined and unrolled together, LLVM makes vectors across the sums
//! and spends more on shuffling than on adding (measured: up to 2.6 times as slow in a release build).

use std::array::from_fn;

const LANES: usize = 8;

/// Importance with the largest as 1; all 1 where no value counts. Products with it stay within f32.
pub(super) fn relative<const N: usize>(importance: &[f32; N]) -> [f32; N] {
    let largest = importance.iter().copied().fold(0.0, f32::max);
    if largest > 0.0 { importance.map(|weight| weight / largest) } else { [1.0; N] }
}

/// Sums of weight times code, code squared, and code times value.
pub(super) struct Sums {
    pub(super) codes: f32,
    pub(super) squares: f32,
    pub(super) products: f32,
}

impl Sums {
    /// The sums over a group, whose codes are given by a function of the value.
    #[inline(always)]
    pub(super) fn of<const N: usize>(values: &[f32; N], weights: &[f32; N], code: impl Fn(f32) -> f32) -> Sums {
        let codes = values.map(code);
        let weighted: [f32; N] = from_fn(|i| weights[i] * codes[i]);
        Sums { codes: sum(&weighted), squares: dot(&weighted, &codes), products: dot(&weighted, values) }
    }
}

#[inline(never)]
fn sum(a: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for a in a.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            sums[lane] += a[lane];
        }
    }
    sums.iter().sum()
}

#[inline(never)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}

/// The weighted sum of squared differences between values and what becomes of them.
#[inline(never)]
pub(super) fn squared_error(values: &[f32], weights: &[f32], rounded: impl Fn(f32) -> f32) -> f32 {
    let mut errors = [0.0; LANES];
    for (values, weights) in values.as_chunks::<LANES>().0.iter().zip(weights.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            let difference = rounded(values[lane]) - values[lane];
            errors[lane] += weights[lane] * difference * difference;
        }
    }
    errors.iter().sum()
}
