//! IQ1_S: 256 weights in 50 bytes (1.5625 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2    d     f16
//! bytes 2..34   low   bits 0..8 of the index of a point of the grid IQ1S, per 8 weights
//! bytes 34..50  high  u16 per 32 weights: bits 0..12 are 4 x bits 8..11 of the index, bits 12..15 the scale s,
//!                     bit 15 set where delta is negative
//!
//! w[i] = d * (2 * s[i/32] + 1) * (grid[index[i/8]][i%8] + delta[i/32]),  delta = +-1/8
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::grids::{IQ1S, write_shifted};
use super::{Block, TensorType};
use half::f16;

/// One IQ1_S block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq1S {
    d: [u8; 2],
    low: [[u8; 4]; 8],
    high: [[u8; 2]; 8],
}

const _: () = assert!(size_of::<Iq1S>() == TensorType::IQ1_S.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq1S {
    const TYPE: TensorType = TensorType::IQ1_S;

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for ((low, high), values) in self.low.iter().zip(&self.high).zip(out.as_chunks_mut::<32>().0) {
            let high = u16::from_le_bytes(*high);
            let scale = d * f32::from(2 * (high >> 12 & 7) + 1);
            for (l, (low, values)) in low.iter().zip(values.as_chunks_mut().0).enumerate() {
                let index = u16::from(*low) | (high >> (3 * l) & 7) << 8;
                write_shifted(values, scale, IQ1S[usize::from(index)], high >> 15 != 0);
            }
        }
    }
}
