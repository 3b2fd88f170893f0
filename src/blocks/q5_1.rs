//! Q5_1: 32 weights in 24 bytes (6 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2   d  f16
//! bytes 2..4   m  f16, of either sign
//! bytes 4..8   bit 4 of the codes q: weight j in bit j of the little-endian word
//! bytes 8..24  bits 0..4 of the codes: byte j holds weight j in its low nibble, weight j + 16 in its high one
//!
//! w[i] = q[i] * d + m
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::bits::{pack, pack_row, unpack, unpack_row};
use super::check::both_finite;
use super::fit::{Fit, code, group, half, inverse};
use super::{Affine, Block, Quantizer, Scaling, TensorType, half_pairs};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q5_1 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q5_1 {
    d: [u8; 2],
    m: [u8; 2],
    high: [u8; 4],
    low: [u8; 16],
}

const _: () = assert!(size_of::<Q5_1>() == TensorType::Q5_1.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q5_1 {
    const TYPE: TensorType = TensorType::Q5_1;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q5_1::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        both_finite(self.d, self.m)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let m = f16::from_le_bytes(self.m).to_f32();
        let mut codes = [0; 32];
        unpack::<4>(&self.low, &mut codes, 0);
        unpack_row(self.high, &mut codes, 4);
        for (value, code) in out.iter_mut().zip(codes) {
            *value = f32::from(code) * d + m;
        }
    }
}

impl Q5_1 {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let values = group::<32>(values);
        let fit = Fit::with_any_min(values, group(importance), 31.0);
        let (d, m) = (half(fit.scale), half(-fit.min));
        let inverse = inverse(d.to_f32());
        let codes = values.map(|value| code(value, inverse, -m.to_f32(), 31.0) as u8);
        let mut block = Q5_1 { d: d.to_le_bytes(), m: m.to_le_bytes(), high: pack_row(&codes, 4), low: [0; 16] };
        pack::<4>(&codes, &mut block.low, 0);
        block
    }
}

impl Affine for Q5_1 {
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
        let (scales, m) = half_pairs(s, chunk, |block| (block.d, block.m));
        Scaling::float(s, scales, s.mul(s.splat(-1.0), m))
    }
}
