//! What quantisers share: least-squares fits of a scale and a min to a group of weights. Knows no
//! layout.

use super::sums::{Sums, relative, squared_error};
use half::f16;

/// `value ~ scale * code - min` with codes in `0..=largest`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fit {
    pub(super) scale: f32,
    pub(super) min: f32,
}

impl Fit {
    /// The fit with the smallest squared error among those that rounding with one of some step widths leads to: for
    /// each width, the values are rounded to codes and the best scale and min for these codes follow in closed form.
    /// Neither is negative.
    pub(super) fn of<const N: usize>(values: &[f32; N], importance: &[f32; N], largest: f32) -> Fit {
        let lowest = values.iter().copied().fold(0.0, f32::min);
        Fit::search(values, importance, largest, lowest, |fit, sums| {
            if fit.min < 0.0 { Fit { scale: sums.products / sums.squares, min: 0.0 } } else { fit }
        })
    }

    /// Like [`Fit::of`], with a min of either sign.
    pub(super) fn with_any_min<const N: usize>(values: &[f32; N], importance: &[f32; N], largest: f32) -> Fit {
        let lowest = values.iter().copied().fold(f32::INFINITY, f32::min);
        // Values far from 0 and close together would lose their differences in the sums of squares.
        let fit = Fit::search(&values.map(|value| value - lowest), importance, largest, 0.0, |fit, _| fit);
        Fit { scale: fit.scale, min: fit.min - lowest }
    }

    fn search<const N: usize>(
        values: &[f32; N],
        importance: &[f32; N],
        largest: f32,
        lowest: f32,
        admit: impl Fn(Fit, &Sums) -> Fit,
    ) -> Fit {
        /// Step widths tried: the whole range in `largest` steps, less `below` up to one more. On normal weights 16 widths
        /// lose 0.04 % (Q4_K) to 0.3 % (Q5_1) of the rms error and 48 gain about as much; the range begins far lower for
        /// more codes because a `below` of 1.2 for all loses 0.1 % with 15 and 1 % with 31.
        const WIDTHS: usize = 24;
        let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = highest - lowest;
        if range <= 0.0 || !range.is_finite() {
            // All values are 0, all the same negative one, or too far apart for f32.
            return Fit { scale: if range > 0.0 { f32::MAX } else { 0.0 }, min: -lowest };
        }
        let weights = relative(importance);
        let count: f32 = weights.iter().sum();
        let sum: f32 = values.iter().zip(&weights).map(|(value, weight)| weight * value).sum();
        let below = 0.5 + largest / 8.0;
        let step = (below + 1.0) / WIDTHS as f32;
        let mut best = (f32::NEG_INFINITY, Fit { scale: range / largest, min: -lowest });
        for width in 0..WIDTHS {
            let inverse = (largest - below + step * width as f32) / range;
            let sums = Sums::of(values, &weights, |value| code(value, inverse, -lowest, largest));
            let Sums { codes, squares, products } = sums;
            let determinant = count * squares - codes * codes;
            if determinant <= 0.0 {
                continue;
            }
            let scale = (count * products - codes * sum) / determinant;
            let fit = admit(Fit { scale, min: (codes * products - squares * sum) / determinant }, &sums);
            // The squared error is the values' squares minus this, as the residual is orthogonal to the codes (and to 1).
            let explained = fit.scale * products - fit.min * sum;
            if explained > best.0 && fit.scale > 0.0 {
                best = (explained, fit);
            }
        }
        best.1
    }

    /// The integer scale and min in `0..=limit`, in units of `d` and `dmin`, whose best codes have the smallest error among
    /// the nearest to the fit and their neighbours. ggml takes the nearest, which is not always the best after `d` and
    /// `dmin` were rounded.
    pub(super) fn nearest_integers<const N: usize>(
        &self,
        values: &[f32; N],
        importance: &[f32; N],
        largest: f32,
        d: f32,
        dmin: f32,
        limit: f32,
    ) -> (u8, u8) {
        let weights = relative(importance);
        let candidates = |value: f32, unit: f32| {
            let near = (value * inverse(unit) + 0.5).clamp(0.0, limit) as u8;
            [near, near.saturating_sub(1), (near + 1).min(limit as u8)]
        };
        let (scales, mins) = (candidates(self.scale, d), candidates(self.min, dmin));
        let mut best = (f32::INFINITY, scales[0], mins[0]);
        for scale in scales {
            for min in mins {
                let (step, offset) = (d * f32::from(scale), dmin * f32::from(min));
                let inverse = inverse(step);
                let error =
                    squared_error(values, &weights, |value| step * code(value, inverse, offset, largest) - offset);
                if error < best.0 {
                    best = (error, scale, min);
                }
            }
        }
        (best.1, best.2)
    }
}

/// The code of `value`: the nearest of `0..=largest` to `(value + min) * inverse`.
#[inline(always)]
pub(super) fn code(value: f32, inverse: f32, min: f32, largest: f32) -> f32 {
    round(limit((value + min) * inverse, 0.0, largest))
}

/// `value` within `lowest..=highest`; `lowest` for NaN. Unlike `clamp` it cannot panic, which would keep loops from SIMD.
#[inline(always)]
pub(super) fn limit(value: f32, lowest: f32, highest: f32) -> f32 {
    let value = if value > lowest { value } else { lowest };
    if value < highest { value } else { highest }
}

/// The nearest integer to a value within 2^22.
#[inline(always)]
pub(super) fn round(value: f32) -> f32 {
    // Adding and taking off 1.5 * 2^23 rounds to an integer, in the form that compilers turn into SIMD everywhere.
    const ROUND: f32 = 12_582_912.0;
    (value + ROUND) - ROUND
}

/// The first `N` of a block's values.
pub(super) fn group<const N: usize>(values: &[f32]) -> &[f32; N] {
    &values.as_chunks().0[0]
}

/// `1 / scale`, and 0 for 0: a group without a scale has codes 0.
pub(super) fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The one with the larger magnitude.
pub(super) fn larger(a: f32, b: f32) -> f32 {
    if b.abs() > a.abs() { b } else { a }
}

/// The nearest half-precision value, finite.
pub(super) fn half(value: f32) -> f16 {
    let largest = f16::MAX.to_f32();
    f16::from_f32(value.clamp(-largest, largest))
}

/// The half-precision unit in which the largest of some group scales or mins is `limit`.
pub(super) fn super_scale(scales: impl Iterator<Item = f32>, limit: f32) -> f16 {
    half(scales.fold(0.0, f32::max) / limit)
}
