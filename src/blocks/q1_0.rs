//! Q1_0: 128 weights in 18 bytes (1.125 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2   d     f16
//! bytes 2..18  bits  q, a bit per weight, the first of eight lowest
//!
//! w[i] = d * (2 * q[i] - 1)
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::scale::Normal;
use super::{Affine, Block, Quantizer, Scaling, TensorType};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q1_0 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q1_0 {
    d: [u8; 2],
    bits: [u8; 16],
}

const _: () = assert!(size_of::<Q1_0>() == TensorType::Q1_0.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q1_0 {
    const TYPE: TensorType = TensorType::Q1_0;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q1_0::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (byte, values) in self.bits.iter().zip(out.chunks_exact_mut(8)) {
            for (bit, value) in values.iter_mut().enumerate() {
                *value = if byte >> bit & 1 == 0 { -d } else { d };
            }
        }
    }
}

impl Q1_0 {
    /// The best scale is the mean magnitude.
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let normal = Normal::<128>::of(values, importance);
        let magnitudes: f32 =
            normal.values.iter().zip(&normal.weights).map(|(value, weight)| weight * value.abs()).sum();
        let (d, _) = normal.half(magnitudes / normal.weights.iter().sum::<f32>());
        let mut block = Q1_0 { d: d.to_le_bytes(), bits: [0; 16] };
        for (byte, values) in block.bits.iter_mut().zip(values.chunks_exact(8)) {
            for (bit, value) in values.iter().enumerate() {
                *byte |= u8::from(*value >= 0.0) << bit;
            }
        }
        block
    }
}

impl Affine for Q1_0 {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = false;
    const CODE_MAX: usize = 2;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let words = chunk[quarter / 2].bits.as_chunks::<8>().0;
        s.and(s.bits(u64::from_le_bytes(words[quarter % 2])), s.splat_codes(2))
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        // Eight groups of 16 have the same scale.
        let half = |block: usize| u64::from(u16::from_le_bytes(chunk[block].d)) * 0x0001_0001_0001_0001;
        Scaling::offset(s, 1.0, s.f16_words([half(0), half(0), half(1), half(1)]))
    }
}
