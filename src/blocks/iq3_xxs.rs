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

use super::grids::{IQ3XXS, even_signs, join, write_signed};
use super::{Block, TensorType};
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
