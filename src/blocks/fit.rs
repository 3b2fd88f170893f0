//! What quantisers share: least-squares fits of a scale and a min to a group of weights. Knows no layout.

use half::f16;

/// `value ~ scale * code - min` with codes in `0..=largest`, `scale` and `min` not negative.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fit {
    pub(super) scale: f32,
    pub(super) min: f32,
}

impl Fit {
    /// The fit with the smallest squared error among those that rounding with one of some step widths leads to: for
    /// each width, the values are rounded to codes and the best scale and min for these codes follow in closed form.
    pub(super) fn of<const N: usize>(values: &[f32; N], importance: &[f32; N], largest: f32) -> Fit {
        /// Step widths tried: the whole range in `largest - 1.2` to `largest + 2.8` steps. Fewer than 24 widths lose 1 % of
        /// the error on normal weights; twice as many gain 0.1 %.
        const WIDTHS: usize = 32;
        let lowest = values.iter().copied().fold(0.0, f32::min);
        let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = highest - lowest;
        if range <= 0.0 || !range.is_finite() {
            // All values are 0, all the same negative one, or too far apart for f32.
            return Fit { scale: if range > 0.0 { f32::MAX } else { 0.0 }, min: -lowest };
        }
        let count: f32 = importance.iter().sum();
        let sum: f32 = values.iter().zip(importance).map(|(value, weight)| weight * value).sum();
        let mut best = (f32::NEG_INFINITY, Fit { scale: range / largest, min: -lowest });
        for width in 0..WIDTHS {
            let inverse = (largest - 1.2 + 0.125 * width as f32) / range;
            let (mut codes, mut squares, mut products) = (0.0, 0.0, 0.0);
            for (value, weight) in values.iter().zip(importance) {
                let code = code(*value, inverse, -lowest, largest);
                codes += weight * code;
                squares += weight * code * code;
                products += weight * code * value;
            }
            let determinant = count * squares - codes * codes;
            if determinant <= 0.0 {
                continue;
            }
            let mut fit = Fit {
                scale: (count * products - codes * sum) / determinant,
                min: (codes * products - squares * sum) / determinant,
            };
            if fit.min < 0.0 {
                fit = Fit { scale: products / squares, min: 0.0 };
            }
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
        let nearest = |value: f32, unit: f32| (value * inverse(unit) + 0.5).clamp(0.0, limit) as u8;
        let neighbours = |near: u8| near.saturating_sub(1)..=(near + 1).min(limit as u8);
        let mut best = (f32::INFINITY, 0, 0);
        for scale in neighbours(nearest(self.scale, d)) {
            for min in neighbours(nearest(self.min, dmin)) {
                let (step, offset) = (d * f32::from(scale), dmin * f32::from(min));
                let inverse = inverse(step);
                let mut error = 0.0;
                for (value, weight) in values.iter().zip(importance) {
                    let difference = step * code(*value, inverse, offset, largest) - offset - value;
                    error += weight * difference * difference;
                }
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
    // Adding and taking off 1.5 * 2^23 rounds to an integer, in the form that compilers turn into SIMD everywhere.
    const ROUND: f32 = 12_582_912.0;
    (((value + min) * inverse).clamp(0.0, largest) + ROUND) - ROUND
}

/// `1 / scale`, and 0 for 0: a group without a scale has codes 0.
pub(super) fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The half-precision unit in which the largest of some group scales or mins is 63.
pub(super) fn super_scale(scales: impl Iterator<Item = f32>) -> f16 {
    let largest = scales.fold(0.0, f32::max);
    f16::from_f32((largest / 63.0).min(f16::MAX.to_f32()))
}
