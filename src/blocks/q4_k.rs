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

use super::{Block, TensorType};
use half::f16;

/// One Q4_K block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q4K {
    d: [u8; 2],
    dmin: [u8; 2],
    scales: [u8; 12],
    codes: [u8; 128],
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

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let dmin = f16::from_le_bytes(self.dmin).to_f32();
        let (scales, mins) = self.scales_and_mins();
        let (scales, mins) = (scales.to_le_bytes(), mins.to_le_bytes());
        for (pair, (codes, values)) in self.codes.chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
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

    fn quantize(_values: &[f32]) -> Self {
        Q4K {
            d: [0; 2],
            dmin: [0; 2],
            scales: [0; 12],
            codes: [0; 128],
        }
    }
}
