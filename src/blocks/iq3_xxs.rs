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
use super::grids::{IQ3XXS, IQ3XXS_OFFSET, even_signs, join, magnitudes, write_signed};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::{Lookups, QUARTERS, Simd};
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

impl Iq3Xxs {
    /// Indices of points, the bits 8 of these, and signs.
    #[inline(always)]
    fn parts<S: Simd>(chunk: &[Self], s: S) -> (&[u8; 64], &[u8; 8], [[u8; 8]; QUARTERS]) {
        let block = &chunk[0];
        let indices = block.indices.as_flattened().as_flattened();
        (&indices.as_chunks().0[0], &[0; 8], s.even_signs_of_fours(&block.signs))
    }
}

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
                let [first, second] = pair.map(|index| IQ3XXS.signed[usize::from(index)]);
                let magnitudes = magnitudes(join(first, second), IQ3XXS_OFFSET);
                write_signed(values, scale, magnitudes, even_signs(signs >> (7 * l)));
            }
        }
    }
}

impl Affine for Iq3Xxs {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const GRID: bool = true;
    const SHORT_GRID: bool = true;
    const CODE_MAX: usize = 124;
    const OFFSET: Option<u8> = Some(IQ3XXS_OFFSET);

    #[inline(always)]
    fn index<S: Simd>(chunk: &[Self], s: S, out: &mut Lookups) {
        let (low, high, negative) = Self::parts(chunk, s);
        s.store_signed_indices::<256>(low, high, &negative, out);
    }

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], lookups: &Lookups, s: S, quarter: usize) -> S::Codes {
        let (low, high, negative) = Self::parts(chunk, s);
        s.short_codes(&IQ3XXS, low, high, &negative, Self::CODE_MAX, lookups, quarter)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let scales = s.top_nibbles_of_fours(&chunk[0].signs);
        let scales = s.groups_twice(2 * scales + 0x0101_0101_0101_0101);
        Scaling::integer_offset(s, 62.0, s.f16(chunk[0].d) / 4.0, scales)
    }
}
