//! What quantisers of types with a scale and no min share: `value ~ scale * level`, the levels being fixed numbers.
//! Knows no layout.

use half::f16;

/// The values and weights of `N` columns in a range where sums of squares neither overflow nor vanish.
pub(super) struct Normal<const N: usize> {
    /// In units: the largest magnitude is in 1..2, or 0.
    pub(super) values: [f32; N],
    /// The largest is 1; all are where all importance is 0.
    pub(super) weights: [f32; N],
    /// A power of two.
    pub(super) unit: f32,
}

impl<const N: usize> Normal<N> {
    pub(super) fn of(values: &[f32], importance: &[f32]) -> Self {
        let unit = power_of_two(largest(values));
        let heaviest = importance.iter().copied().fold(0.0, f32::max);
        let mut normal = Normal { values: [0.0; N], weights: [1.0; N], unit };
        for (normal, value) in normal.values.iter_mut().zip(values) {
            *normal = value / unit;
        }
        if heaviest > 0.0 && heaviest.is_finite() {
            for (normal, weight) in normal.weights.iter_mut().zip(importance) {
                *normal = weight / heaviest;
            }
        }
        normal
    }

    /// The half-precision number nearest to `scale` units, and the units that it is.
    pub(super) fn half(&self, scale: f32) -> (f16, f32) {
        let d = f16::from_f32((scale * self.unit).clamp(f16::MIN.to_f32(), f16::MAX.to_f32()));
        (d, d.to_f32() / self.unit)
    }
}

/// The largest magnitude.
pub(super) fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The largest power of two that is not above `value`; 1 for 0.
fn power_of_two(value: f32) -> f32 {
    let bits = value.to_bits();
    match (bits & 0x7f80_0000, bits) {
        (_, 0) => 1.0,
        (0, subnormal) => f32::from_bits(1 << subnormal.ilog2()),
        (exponent, _) => f32::from_bits(exponent),
    }
}

/// Sums that the squared error depends on: with codes fixed, the best scale is `products / squares` and takes
/// `products^2 / squares` off the error.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) products: f32,
    pub(super) squares: f32,
}

impl Sums {
    pub(super) fn scale(self) -> f32 {
        self.products / self.squares
    }

    pub(super) fn gain(self) -> f32 {
        if self.squares > 0.0 { self.products * self.scale() } else { 0.0 }
    }
}

/// The scale with the smallest squared error for the levels `-1..=highest`, exactly: as the step width shrinks, each value
/// moves up a level at a known width, and no other width needs to be looked at. At most 256 values.
pub(super) fn best_few_levels<const N: usize>(normal: &Normal<N>, highest: u8) -> f32 {
    let positive = best_few_levels_upright(normal, 1.0, highest);
    if highest == 1 {
        return positive.scale();
    }
    let negative = best_few_levels_upright(normal, -1.0, highest);
    if positive.gain() >= negative.gain() { positive.scale() } else { -negative.scale() }
}

/// As [`best_few_levels`], for `sign * value` and a positive scale.
fn best_few_levels_upright<const N: usize>(normal: &Normal<N>, sign: f32, highest: u8) -> Sums {
    // (bits of the inverse step width, what is added to the sums below it); positive floats are in order of their bits.
    let mut moves = [(0, Sums::default()); 512];
    let mut count = 0;
    for (value, weight) in normal.values.iter().zip(&normal.weights) {
        let value = sign * value;
        let levels = if value > 0.0 { highest } else { u8::from(value < 0.0) };
        for level in 0..levels {
            let below = f32::from(level);
            let inverse = (below + 0.5) / value.abs();
            let sums = Sums { products: weight * value.abs(), squares: weight * (2.0 * below + 1.0) };
            moves[count] = (inverse.to_bits(), sums);
            count += 1;
        }
    }
    let moves = &mut moves[..count];
    moves.sort_unstable_by_key(|(inverse, _)| *inverse);
    let (mut sums, mut best) = (Sums::default(), Sums { products: 0.0, squares: 1.0 });
    for (_, change) in moves {
        sums.products += change.products;
        sums.squares += change.squares;
        if sums.gain() > best.gain() {
            best = sums;
        }
    }
    best
}
