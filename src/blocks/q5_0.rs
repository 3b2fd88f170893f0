//! Q5_0: 32 weights in 22 bytes (5.5 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2   d  f16, of either sign
//! bytes 2..6   bit 4 of the codes q: weight j in bit j of the little-endian word
//! bytes 6..22  bits 0..4 of the codes: byte j holds weight j in its low nibble, weight j + 16 in its high one
//!
//! w[i] = (q[i] - 16) * d
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::bits::{pack, pack_row, unpack, unpack_row};
use super::check::finite;
use super::fit::{group, half, inverse};
use super::signed::Signed;
use super::{Affine, Block, Quantizer, Scaling, TensorType, halves};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q5_0 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q5_0 {
    d: [u8; 2],
    high: [u8; 4],
    low: [u8; 16],
}

const _: () = assert!(size_of::<Q5_0>() == TensorType::Q5_0.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q5_0 {
    const TYPE: TensorType = TensorType::Q5_0;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q5_0::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let mut codes = [0; 32];
        unpack::<4>(&self.low, &mut codes, 0);
        unpack_row(self.high, &mut codes, 4);
        for (value, code) in out.iter_mut().zip(codes) {
            *value = (f32::from(code) - 16.0) * d;
        }
    }
}

impl Q5_0 {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let signed = Signed { lowest: -16.0, highest: 15.0 };
        let values = group::<32>(values);
        let d = half(signed.scale(values, group(importance)));
        let inverse = inverse(d.to_f32());
        let codes = values.map(|value| (signed.code(value, inverse) + 16.0) as u8);
        let mut block = Q5_0 { d: d.to_le_bytes(), high: pack_row(&codes, 4), low: [0; 16] };
        pack::<4>(&codes, &mut block.low, 0);
        block
    }
}

impl Affine for Q5_0 {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = false;
    const CODE_MAX: usize = 31;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let (first, second) = (&chunk[2 * quarter], &chunk[2 * quarter + 1]);
        let high = u64::from(u32::from_le_bytes(first.high)) | u64::from(u32::from_le_bytes(second.high)) << 32;
        s.or(s.nibbles(&first.low, &second.low), s.and(s.bits(high), s.splat_codes(16)))
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        Scaling::offset(s, 16.0, halves(s, chunk, |block| block.d))
    }
}
