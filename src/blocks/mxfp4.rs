//! MXFP4: 32 weights in 17 bytes (4.25 bits each). Knows no ISA.
//!
//! ```text
//! byte  0      e      exponent E8M0 (255, which is NaN in OCP's format, is 2^128 for ggml)
//! bytes 1..17  codes  E2M1, 4 bits: weights 0..16 in the low nibbles, 16..32 in the high ones
//!
//! w[i] = 2^(e-128) * value[q[i]],  value = twice E2M1
//! ```
//! Source of the layout: ggml-common.h, ggml-quants.c and ggml-impl.h of ggml 0.21.0 (MIT).

use super::scale::Normal;
use super::{Affine, Block, Quantizer, RowGroup, Scaling, TensorType, Unpacking, fp4};
use crate::simd::{Lookups, Simd};

/// One MXFP4 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Mxfp4 {
    e: u8,
    codes: [u8; 16],
}

const _: () = assert!(size_of::<Mxfp4>() == TensorType::MXFP4.block_bytes());

/// The largest exponent: above it, 12 times the scale is infinite. (And 255 is NaN.)
const LARGEST: u8 = 252;

/// `2^(e-128)`: half of E8M0, as the values are twice E2M1.
#[inline(always)]
pub(crate) const fn e8m0_half(e: u8) -> f32 {
    // The two smallest are subnormal.
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (e as u32 - 1) << 23 })
}

// SAFETY: bytes only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Mxfp4 {
    const TYPE: TensorType = TensorType::MXFP4;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Mxfp4::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        self.e <= LARGEST
    }

    fn dequantize(&self, out: &mut [f32]) {
        fp4::write(out, e8m0_half(self.e), &self.codes);
    }
}

impl Mxfp4 {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let normal = Normal::<32>::of(values, importance);
        // The largest magnitude is 1 to 2 units; 12 times the scale is from 3/4 of a unit to 6 units.
        let unit = normal.unit.log2().round() as i32 + 128;
        let exponents = (-4..=-1).map(|exponent| (unit + exponent).clamp(0, LARGEST.into()) as u8);
        let mut block = Mxfp4 { e: 0, codes: [0; 16] };
        block.e = fp4::quantize(&normal, exponents.map(|e| (e, e8m0_half(e))), &mut block.codes);
        block
    }
}

impl Affine for Mxfp4 {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = false;
    const CODE_MAX: usize = 24;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.look_up(s.nibbles(&chunk[2 * quarter].codes, &chunk[2 * quarter + 1].codes), &fp4::CODES)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let scale = |block: usize| e8m0_half(chunk[block].e);
        let scales = [scale(0), scale(1), scale(2), scale(3), scale(4), scale(5), scale(6), scale(7)];
        Scaling::offset(s, 12.0, s.floats_twice(scales))
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::FloatScales);
    const ROW_OFFSET: Option<u8> = Some(12);

    #[inline(always)]
    fn group_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowGroup<S> {
        let scale = s.floats_twice(blocks.map(|block| e8m0_half(block.e)));
        RowGroup::looked_up(s, blocks.map(|block| &block.codes), &fp4::CODES, scale)
    }
}
