//! What the quantisers of the K types share: 256 weights in groups whose scales (and mins) are integers in units of one
//! half (or two). Knows no layout.

use super::fit::{Fit, code, group, half, inverse, larger, super_scale};
use super::signed::Signed;
use super::sums::relative;
use half::f16;

/// `w = d * scales[g] * code - dmin * mins[g]`, with `G` groups.
pub(super) struct ScalesAndMins<const G: usize> {
    pub(super) d: f16,
    pub(super) dmin: f16,
    pub(super) scales: [u8; G],
    pub(super) mins: [u8; G],
    pub(super) codes: [u8; 256],
}

impl<const G: usize> ScalesAndMins<G> {
    /// Codes are in `0..=largest`, scales and mins in `0..=limit`; `N` is the columns of a group, `256 / G`.
    pub(super) fn of<const N: usize>(values: &[f32], importance: &[f32], largest: f32, limit: f32) -> Self {
        let mut fits = [Fit::default(); G];
        let groups = values.as_chunks::<N>().0.iter().zip(importance.as_chunks::<N>().0);
        for (fit, (values, importance)) in fits.iter_mut().zip(groups) {
            *fit = Fit::of(values, importance, largest);
        }
        let d = super_scale(fits.iter().map(|fit| fit.scale), limit);
        let dmin = super_scale(fits.iter().map(|fit| fit.min), limit);
        let mut block = ScalesAndMins { d, dmin, scales: [0; G], mins: [0; G], codes: [0; 256] };
        block.round::<N>(values, importance, &fits, largest, limit);
        // Once more with the units that suit these integers best: 0.2 % (Q2_K, Q4_K) to 0.4 % (Q5_K) less error.
        block.refine_units::<N>(values, importance);
        block.round::<N>(values, importance, &fits, largest, limit);
        block
    }

    /// Chooses scales, mins and codes for the units.
    fn round<const N: usize>(&mut self, values: &[f32], importance: &[f32], fits: &[Fit; G], largest: f32, limit: f32) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        let groups = values.as_chunks::<N>().0.iter().zip(importance.as_chunks::<N>().0);
        for (g, ((values, importance), codes)) in groups.zip(self.codes.as_chunks_mut::<N>().0).enumerate() {
            let (scale, min) = fits[g].nearest_integers(values, importance, largest, d, dmin, limit);
            (self.scales[g], self.mins[g]) = (scale, min);
            let (inverse, min) = (inverse(d * f32::from(scale)), dmin * f32::from(min));
            for (byte, value) in codes.iter_mut().zip(values) {
                *byte = code(*value, inverse, min, largest) as u8;
            }
        }
    }

    /// Sets the units to those with the smallest squared error for the scales, mins and codes there are.
    fn refine_units<const N: usize>(&mut self, values: &[f32], importance: &[f32]) {
        // Sums of the products of a = scale * code, b = min and the values; per group first, as b is constant there.
        let weights = relative::<256>(group(importance));
        let [mut aa, mut ab, mut bb, mut av, mut bv] = [0.0f64; 5];
        for (g, codes) in self.codes.as_chunks::<N>().0.iter().enumerate() {
            let [mut count, mut sum, mut code_sum, mut squares, mut products] = [0.0; 5];
            for ((code, value), weight) in codes.iter().zip(&values[N * g..]).zip(&weights[N * g..]) {
                let code = f32::from(*code);
                count += weight;
                sum += weight * value;
                code_sum += weight * code;
                squares += weight * code * code;
                products += weight * code * value;
            }
            let (scale, min) = (f64::from(self.scales[g]), f64::from(self.mins[g]));
            aa += scale * scale * f64::from(squares);
            ab += scale * min * f64::from(code_sum);
            bb += min * min * f64::from(count);
            av += scale * f64::from(products);
            bv += min * f64::from(sum);
        }
        let determinant = aa * bb - ab * ab;
        let d = half(((av * bb - bv * ab) / determinant) as f32);
        let dmin = half(((av * ab - bv * aa) / determinant) as f32);
        if determinant > 0.0 && d > f16::ZERO && dmin > f16::ZERO {
            (self.d, self.dmin) = (d, dmin);
        }
    }
}

/// `w = d * scales[g] * code`, with 16 groups.
pub(super) struct SignedScales {
    pub(super) d: f16,
    pub(super) scales: [i8; 16],
    pub(super) codes: [i8; 256],
}

impl SignedScales {
    /// Scales are in `-limit..limit`.
    pub(super) fn of(values: &[f32], importance: &[f32], signed: Signed, limit: f32) -> Self {
        let groups = || values.as_chunks::<16>().0.iter().zip(importance.as_chunks::<16>().0);
        let mut fits = [0.0; 16];
        for (fit, (values, importance)) in fits.iter_mut().zip(groups()) {
            *fit = signed.scale(values, importance);
        }
        let unit = half(fits.iter().copied().fold(0.0, larger) / -limit);
        let d = unit.to_f32();
        let mut block = SignedScales { d: unit, scales: [0; 16], codes: [0; 256] };
        for (g, ((values, importance), codes)) in groups().zip(block.codes.as_chunks_mut::<16>().0).enumerate() {
            let scale = signed.nearest_integer(values, importance, fits[g], d, (-limit, limit - 1.0));
            block.scales[g] = scale;
            let inverse = inverse(d * f32::from(scale));
            for (code, value) in codes.iter_mut().zip(values) {
                *code = signed.code(*value, inverse) as i8;
            }
        }
        block
    }
}
