//! What quantisers to a table of levels share: rounding to it, its best scale, and the error. Knows no layout.

use super::fit::inverse;
use super::scale::{Sums, largest};

/// Sums are taken in this many parts, in a form that compilers turn into SIMD.
const LANES: usize = 8;

/// The scale, of either sign, for `levels` in ascending order: the best of those that rounding with some step widths leads
/// to. `widths` are the levels that the largest magnitude is tried at.
pub(super) fn scale_for_levels<const L: usize, const N: usize>(
    levels: &[f32; L],
    values: &[f32; N],
    weights: &[f32; N],
    widths: impl Iterator<Item = f32>,
) -> f32 {
    /// Rounding with the fitted scale and fitting again lowers the error by 2 % where importance is uneven, as the best
    /// step width then has little to do with the largest magnitude. A fourth time gains nothing.
    const AGAIN: usize = 3;
    let per_width = inverse(largest(values));
    let mut best = Sums::default();
    for width in widths {
        let sums = sums_after_rounding(levels, values, weights, width * per_width);
        if sums.gain() > best.gain() {
            best = sums;
        }
    }
    for _ in 0..AGAIN {
        let sums = sums_after_rounding(levels, values, weights, inverse(best.scale()));
        if sums.gain() > best.gain() {
            best = sums;
        }
    }
    if best.squares > 0.0 { best.scale() } else { 0.0 }
}

#[inline(always)]
fn sums_after_rounding<const L: usize, const N: usize>(
    levels: &[f32; L],
    values: &[f32; N],
    weights: &[f32; N],
    inverse: f32,
) -> Sums {
    let (mut products, mut squares) = ([0.0; LANES], [0.0; LANES]);
    for (values, weights) in values.as_chunks().0.iter().zip(weights.as_chunks::<LANES>().0) {
        let rounded = rounded(levels, values, inverse);
        for lane in 0..LANES {
            let product = weights[lane] * rounded[lane];
            products[lane] += product * values[lane];
            squares[lane] += product * rounded[lane];
        }
    }
    Sums { products: products.iter().sum(), squares: squares.iter().sum() }
}

/// The weighted squared error of `scale` times the nearest of `levels`, which ascend.
#[inline(always)]
pub(super) fn squared_error<const L: usize, const N: usize>(
    levels: &[f32; L],
    values: &[f32; N],
    weights: &[f32; N],
    scale: f32,
) -> f32 {
    let inverse = inverse(scale);
    let mut errors = [0.0; LANES];
    for (values, weights) in values.as_chunks().0.iter().zip(weights.as_chunks::<LANES>().0) {
        let rounded = rounded(levels, values, inverse);
        for lane in 0..LANES {
            let difference = scale * rounded[lane] - values[lane];
            errors[lane] += weights[lane] * difference * difference;
        }
    }
    errors.iter().sum()
}

/// The nearest of `levels`, which ascend, to each `value * inverse`.
#[inline(always)]
fn rounded<const L: usize>(levels: &[f32; L], values: &[f32; LANES], inverse: f32) -> [f32; LANES] {
    let scaled = values.map(|value| value * inverse);
    let mut rounded = [levels[0]; LANES];
    for pair in levels.windows(2) {
        let middle = 0.5 * (pair[0] + pair[1]);
        for (rounded, scaled) in rounded.iter_mut().zip(&scaled) {
            *rounded = if *scaled > middle { pair[1] } else { *rounded };
        }
    }
    rounded
}

/// The index of the nearest of `levels`, which ascend, to `value`.
#[inline(always)]
pub(super) fn nearest<const L: usize>(levels: &[f32; L], value: f32) -> u8 {
    levels.windows(2).map(|pair| u8::from(value > 0.5 * (pair[0] + pair[1]))).sum()
}
