//! Q4_K: 256 weights in 144 bytes (4.5 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2    d     f16, scale of the eight 6-bit scales
//! bytes 2..4    dmin  f16, scale of the eight 6-bit mins
//! bytes 4..16   eight scales s[g] and mins m[g], 6 bits each:
//!                 g < 4:   s[g] = byte[g] & 63                               m[g] = byte[g+4] & 63
//!                 g >= 4:  s[g] = byte[g+4] & 15 | byte[g-4] >> 6 << 4       m[g] = byte[g+4] >> 4 | byte[g] >> 6 << 4
//! bytes 16..144 codes q, 4 bits: 32 bytes hold 64 consecutive weights, the first 32 in the low nibbles
//!
//! w[i] = d * s[i/32] * q[i] - dmin * m[i/32]
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::fit::{Fit, code, inverse, super_scale};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::Simd;
use half::f16;

/// One Q4_K block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q4K {
    d: [u8; 2],
    dmin: [u8; 2],
    scales: [u8; 12],
    codes: [[u8; 32]; 4],
}

const _: () = assert!(size_of::<Q4K>() == TensorType::Q4_K.block_bytes());

impl Q4K {
    /// The eight scales and the eight mins, byte g of each word.
    #[inline(always)]
    pub(crate) fn scales_and_mins(&self) -> (u64, u64) {
        let [s0, s1, s2, s3, m0, m1, m2, m3, h0, h1, h2, h3] = self.scales;
        let first = u32::from_le_bytes([s0, s1, s2, s3]);
        let second = u32::from_le_bytes([m0, m1, m2, m3]);
        let third = u32::from_le_bytes([h0, h1, h2, h3]);
        let scales_high = (third & 0x0f0f_0f0f) | ((first >> 2) & 0x3030_3030);
        let mins_high = ((third >> 4) & 0x0f0f_0f0f) | ((second >> 2) & 0x3030_3030);
        let scales = u64::from(first & 0x3f3f_3f3f) | u64::from(scales_high) << 32;
        let mins = u64::from(second & 0x3f3f_3f3f) | u64::from(mins_high) << 32;
        (scales, mins)
    }
}

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q4K {
    const TYPE: TensorType = TensorType::Q4_K;
    const QUANTIZE: Option<fn(&[f32], &[f32]) -> Self> = Some(Q4K::quantize);

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let dmin = f16::from_le_bytes(self.dmin).to_f32();
        let (scales, mins) = self.scales_and_mins();
        let (scales, mins) = (scales.to_le_bytes(), mins.to_le_bytes());
        for (pair, (codes, values)) in self.codes.iter().zip(out.chunks_exact_mut(64)).enumerate() {
            let (low, high) = values.split_at_mut(32);
            for (half, values) in [low, high].into_iter().enumerate() {
                let scale = d * f32::from(scales[2 * pair + half]);
                let min = dmin * f32::from(mins[2 * pair + half]);
                for (value, code) in values.iter_mut().zip(codes) {
                    *value = scale * f32::from((code >> (4 * half)) & 15) - min;
                }
            }
        }
    }
}

impl Q4K {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let groups = || values.as_chunks::<32>().0.iter().zip(importance.as_chunks::<32>().0);
        let mut fits = [Fit::default(); 8];
        for (fit, (values, importance)) in fits.iter_mut().zip(groups()) {
            *fit = Fit::of(values, importance, 15.0);
        }
        let d = super_scale(fits.iter().map(|fit| fit.scale));
        let dmin = super_scale(fits.iter().map(|fit| fit.min));
        let (d_value, dmin_value) = (d.to_f32(), dmin.to_f32());

        let mut block = Q4K { d: d.to_le_bytes(), dmin: dmin.to_le_bytes(), scales: [0; 12], codes: [[0; 32]; 4] };
        for (g, (fit, (values, importance))) in fits.iter().zip(groups()).enumerate() {
            let (scale, min) = fit.nearest_integers(values, importance, 15.0, d_value, dmin_value, 63.0);
            block.set_scale_and_min(g, scale, min);
            let (scale, min) = (d_value * f32::from(scale), dmin_value * f32::from(min));
            for (byte, value) in block.codes[g / 2].iter_mut().zip(values) {
                *byte |= (code(*value, inverse(scale), min, 15.0) as u8) << (4 * (g % 2));
            }
        }
        block
    }

    fn set_scale_and_min(&mut self, g: usize, scale: u8, min: u8) {
        if g < 4 {
            self.scales[g] |= scale;
            self.scales[g + 4] |= min;
        } else {
            self.scales[g + 4] = (scale & 15) | (min & 15) << 4;
            self.scales[g - 4] |= scale >> 4 << 6;
            self.scales[g] |= min >> 4 << 6;
        }
    }
}

impl Affine for Q4K {
    const GROUP: usize = 32;
    const HAS_MIN: bool = true;
    const CODE_MAX: usize = 15;

    #[inline(always)]
    fn codes<S: Simd>(&self, s: S, quarter: usize) -> S::Codes {
        s.nibbles(&self.codes[quarter])
    }

    #[inline(always)]
    fn scaling<S: Simd>(&self, s: S) -> Scaling<S> {
        let (scales, mins) = self.scales_and_mins();
        let dmin = s.splat(s.f16(self.dmin));
        Scaling {
            d: s.f16(self.d),
            groups: s.groups_twice(scales),
            mins: s.mul(dmin, s.group_floats(s.groups_twice(mins))),
        }
    }
}
