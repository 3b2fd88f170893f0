//! IQ3_XXS: 256 weights in 98 bytes (3.0625 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2    d        f16
//! bytes 2..66   indices  a point of the grid IQ3XXS per 4 weights
//! bytes 66..98  signs    u32 per 32 weights: bits 0..28 are 4 x 7 signs (the eighth makes the number of minus signs
//!                        even), bits 28..32 the scale s
//!
//! w[i] = d * (s[i/32] + 0.5) / 2 * sign[i] * grid[index[i/4]][i%4]
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::grids::{IQ3XXS, IQ3XXS_MAGNITUDES, PACKED_IQ3XXS, even_signs, join, with_parity, write_signed};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::Simd;
use half::f16;

/// One IQ3_XXS block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq3Xxs {
    d: [u8; 2],
    indices: [[[u8; 2]; 4]; 8],
    signs: [[u8; 4]; 8],
}

const _: () = assert!(size_of::<Iq3Xxs>() == TensorType::IQ3_XXS.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq3Xxs {
    const TYPE: TensorType = TensorType::IQ3_XXS;

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for ((indices, signs), values) in self.indices.iter().zip(&self.signs).zip(out.as_chunks_mut::<32>().0) {
            let signs = u32::from_le_bytes(*signs);
            let scale = d * (0.5 + (signs >> 28) as f32) * 0.5;
            for (l, (pair, values)) in indices.iter().zip(values.as_chunks_mut().0).enumerate() {
                let [first, second] = pair.map(|index| IQ3XXS[usize::from(index)]);
                write_signed(values, scale, join(first, second), even_signs(signs >> (7 * l)));
            }
        }
    }
}

impl Affine for Iq3Xxs {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 124;
    const OFFSET: Option<u8> = Some(62);

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], s: S, quarter: usize) -> S::Codes {
        let block = &chunk[0];
        let signs = |g: usize| u32::from_le_bytes(block.signs[g]);
        let signs = with_parity(s.sevens(signs(2 * quarter), signs(2 * quarter + 1)));
        if S::REGISTER_TABLES {
            let indices = s.wide(&block.indices.as_flattened().as_flattened().as_chunks().0[quarter / 2]);
            let points = s.look_up_words(&PACKED_IQ3XXS, indices);
            return s.add_signed(s.look_up(s.four_fields(points, quarter % 2), &IQ3XXS_MAGNITUDES), signs, 62);
        }
        // Faster than a gather (9.2 against 6.6 G weights/s at the AVX2 level of a Zen 5).
        let indices: &[u8; 16] = &block.indices.as_flattened().as_flattened().as_chunks().0[quarter];
        let magnitudes = s.short_words(indices.map(|index| &IQ3XXS[usize::from(index)]));
        s.add_signed(magnitudes, signs, 62)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        // The top nibble of each word of signs.
        let top = |signs: &[u8; 4]| u64::from(u32::from_le_bytes(*signs) >> 28);
        let scales = chunk[0].signs.iter().rev().fold(0, |scales, signs| scales << 8 | top(signs));
        let scales = s.groups_twice(2 * scales + 0x0101_0101_0101_0101);
        Scaling::integer_offset(s, Self::OFFSET, s.f16(chunk[0].d) / 4.0, scales)
    }
}
