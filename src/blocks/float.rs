//! F32, F16 and BF16: one element per block, no scale. Knows no ISA.

use super::check::finite;
use super::{Block, FloatWeight, Quantizer, TensorType};
use crate::simd::{LANES, Simd};
use half::{bf16, f16};

/// One little-endian f32 weight.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct F32(pub [u8; 4]);

/// One little-endian IEEE half precision weight.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct F16(pub [u8; 2]);

/// One little-endian bfloat16 weight: the upper half of an f32.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct BF16(pub [u8; 2]);

const _: () = assert!(size_of::<F32>() == TensorType::F32.block_bytes());
const _: () = assert!(size_of::<F16>() == TensorType::F16.block_bytes());
const _: () = assert!(size_of::<BF16>() == TensorType::BF16.block_bytes());

// SAFETY: an array of bytes: alignment 1, no padding, any bits are valid.
unsafe impl Block for F32 {
    const TYPE: TensorType = TensorType::F32;
    const QUANTIZE: Option<Quantizer<Self>> = Some(|values, _| F32(values[0].to_le_bytes()));

    #[inline(always)]
    fn is_valid(&self) -> bool {
        u32::from_le_bytes(self.0) & 0x7f80_0000 != 0x7f80_0000
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = f32::from_le_bytes(self.0);
    }
}

// SAFETY: an array of bytes: alignment 1, no padding, any bits are valid.
unsafe impl Block for F16 {
    const TYPE: TensorType = TensorType::F16;
    const QUANTIZE: Option<Quantizer<Self>> = Some(|values, _| {
        let largest = f16::MAX.to_f32();
        F16(f16::from_f32(values[0].clamp(-largest, largest)).to_le_bytes())
    });

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.0)
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = f16::from_le_bytes(self.0).to_f32();
    }
}

// SAFETY: an array of bytes: alignment 1, no padding, any bits are valid.
unsafe impl Block for BF16 {
    const TYPE: TensorType = TensorType::BF16;
    const QUANTIZE: Option<Quantizer<Self>> = Some(|values, _| {
        let largest = bf16::MAX.to_f32();
        BF16(bf16::from_f32(values[0].clamp(-largest, largest)).to_le_bytes())
    });

    #[inline(always)]
    fn is_valid(&self) -> bool {
        u16::from_le_bytes(self.0) & 0x7f80 != 0x7f80
    }

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = f32::from_le_bytes([0, 0, self.0[0], self.0[1]]);
    }
}

impl FloatWeight for F32 {
    const ZERO: Self = F32([0; 4]);

    #[inline(always)]
    fn floats<S: Simd>(s: S, weights: &[Self; LANES]) -> S::Floats {
        // SAFETY: `F32` is `repr(C)` over four bytes: 16 of them are 16 f32 in little-endian order, read unaligned.
        s.load_floats(&unsafe { weights.as_ptr().cast::<[f32; LANES]>().read_unaligned() })
    }
}

impl FloatWeight for F16 {
    const ZERO: Self = F16([0; 2]);

    #[inline(always)]
    fn floats<S: Simd>(s: S, weights: &[Self; LANES]) -> S::Floats {
        // SAFETY: `F16` is `repr(C)` over two bytes with alignment 1, like `[u8; 2]`.
        s.f16_floats(unsafe { &*weights.as_ptr().cast::<[[u8; 2]; LANES]>() })
    }
}

impl FloatWeight for BF16 {
    const ZERO: Self = BF16([0; 2]);

    #[inline(always)]
    fn floats<S: Simd>(s: S, weights: &[Self; LANES]) -> S::Floats {
        // SAFETY: `BF16` is `repr(C)` over two bytes with alignment 1, like `[u8; 2]`.
        s.bf16_floats(unsafe { &*weights.as_ptr().cast::<[[u8; 2]; LANES]>() })
    }
}
