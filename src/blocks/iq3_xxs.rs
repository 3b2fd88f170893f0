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
use super::grids::{IQ3XXS, even_signs, join, write_signed};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::{Lookups, Simd};
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
    /// The indices of 128 columns.
    #[inline(always)]
    fn indices<S: Simd>(chunk: &[Self], s: S, half: usize) -> S::Words {
        s.wide(&chunk[0].indices.as_flattened().as_flattened().as_chunks().0[half])
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
                let [first, second] = pair.map(|index| IQ3XXS.points[usize::from(index)][0]);
                write_signed(values, scale, join(first, second), even_signs(signs >> (7 * l)));
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

    #[inline(always)]
    fn index<S: Simd>(chunk: &[Self], s: S, out: &mut Lookups) {
        if !S::REGISTER_GRIDS {
            out.negative = s.even_signs_of_fours(&chunk[0].signs);
            s.store_short_indices(Self::indices(chunk, s, 0), &[0; 4], 0, out);
            s.store_short_indices(Self::indices(chunk, s, 1), &[0; 4], 1, out);
        }
    }

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], lookups: &Lookups, s: S, quarter: usize) -> S::Codes {
        let points = s.short_points(&IQ3XXS, Self::indices(chunk, s, quarter / 2), &[0; 4], lookups, quarter);
        let negative = if S::REGISTER_GRIDS { s.even_signs_of_fours(&chunk[0].signs) } else { lookups.negative };
        s.add_signed(points, &negative[quarter], 62)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let scales = s.top_nibbles_of_fours(&chunk[0].signs);
        let scales = s.groups_twice(2 * scales + 0x0101_0101_0101_0101);
        Scaling::integer_offset(s, 62.0, s.f16(chunk[0].d) / 4.0, scales)
    }
}
