//! Q4_1: 32 weights in 20 bytes (5 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2   d  f16
//! bytes 2..4   m  f16, of either sign
//! bytes 4..20  codes q, 4 bits: byte j holds weight j in its low nibble, weight j + 16 in its high one
//!
//! w[i] = q[i] * d + m
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::bits::{pack, unpack};
use super::check::both_finite;
use super::fit::{Fit, code, group, half, inverse};
use super::{Affine, Block, Quantizer, RowGroup, Scaling, TensorType, Unpacking, half_pairs};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q4_1 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q4_1 {
    d: [u8; 2],
    m: [u8; 2],
    codes: [u8; 16],
}

const _: () = assert!(size_of::<Q4_1>() == TensorType::Q4_1.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q4_1 {
    const TYPE: TensorType = TensorType::Q4_1;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q4_1::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        both_finite(self.d, self.m)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let m = f16::from_le_bytes(self.m).to_f32();
        let mut codes = [0; 32];
        unpack::<4>(&self.codes, &mut codes, 0);
        for (value, code) in out.iter_mut().zip(codes) {
            *value = f32::from(code) * d + m;
        }
    }
}

impl Q4_1 {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let values = group::<32>(values);
        let fit = Fit::with_any_min(values, group(importance), 15.0);
        let (d, m) = (half(fit.scale), half(-fit.min));
        let inverse = inverse(d.to_f32());
        let codes = values.map(|value| code(value, inverse, -m.to_f32(), 15.0) as u8);
        let mut block = Q4_1 { d: d.to_le_bytes(), m: m.to_le_bytes(), codes: [0; 16] };
        pack::<4>(&codes, &mut block.codes, 0);
        block
    }
}

impl Affine for Q4_1 {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = false;
    const CODE_MAX: usize = 15;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.nibbles(&chunk[2 * quarter].codes, &chunk[2 * quarter + 1].codes)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let (scales, m) = half_pairs(s, chunk, |block| (block.d, block.m));
        Scaling::float(s, scales, s.mul(s.splat(-1.0), m))
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::FloatScales);

    #[inline(always)]
    fn group_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowGroup<S> {
        let (d, m) =
            s.f16_pairs_twice(blocks.map(|Q4_1 { d: [a, b], m: [c, d], .. }| u32::from_le_bytes([*a, *b, *c, *d])));
        RowGroup::nibbles(s, blocks.map(|block| &block.codes), d, s.mul(s.splat(-0.5), m))
    }
}
