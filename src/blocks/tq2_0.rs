//! TQ2_0: 256 weights in 66 bytes (2.0625 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..64   codes  q in 0..=2, 2 bits: 32 bytes hold 128 consecutive weights, the first 32 in the lowest two bits
//! bytes 64..66  d      f16
//!
//! w[i] = d * (q[i] - 1)      (a code 3, which no ternary weight has, gives 2 * d)
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::fit::{code, inverse};
use super::scale::{Normal, best_few_levels};
use super::{Affine, Block, Quantizer, Scaling, TensorType};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One TQ2_0 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Tq2_0 {
    codes: [[u8; 32]; 2],
    d: [u8; 2],
}

const _: () = assert!(size_of::<Tq2_0>() == TensorType::TQ2_0.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Tq2_0 {
    const TYPE: TensorType = TensorType::TQ2_0;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Tq2_0::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (group, values) in out.chunks_exact_mut(32).enumerate() {
            for (value, byte) in values.iter_mut().zip(&self.codes[group / 4]) {
                *value = (f32::from(byte >> (group % 4 * 2) & 3) - 1.0) * d;
            }
        }
    }
}

impl Tq2_0 {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let normal = Normal::<256>::of(values, importance);
        let (d, scale) = normal.half(best_few_levels(&normal, 1));
        let mut block = Tq2_0 { codes: [[0; 32]; 2], d: d.to_le_bytes() };
        for (group, values) in normal.values.chunks_exact(32).enumerate() {
            for (value, byte) in values.iter().zip(&mut block.codes[group / 4]) {
                *byte |= (code(*value, inverse(scale), scale, 2.0) as u8) << (group % 4 * 2);
            }
        }
        block
    }
}

impl Affine for Tq2_0 {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 3;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let bytes = &chunk[0].codes[quarter / 2];
        let shift = 4 * (quarter as u32 % 2);
        s.shift_right(s.join(bytes, bytes), shift, shift + 2, 3)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        Scaling::integer_offset(s, 1.0, s.f16(chunk[0].d), s.groups([1; 16]))
    }
}
