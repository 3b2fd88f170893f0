//! F32 and F16: one element per block, no scale. Knows no ISA.

use super::{Block, TensorType};

/// One little-endian f32 weight.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct F32(pub [u8; 4]);

/// One little-endian IEEE half precision weight.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct F16(pub [u8; 2]);

const _: () = assert!(size_of::<F32>() == TensorType::F32.block_bytes());
const _: () = assert!(size_of::<F16>() == TensorType::F16.block_bytes());

// SAFETY: an array of bytes: alignment 1, no padding, any bits are valid.
unsafe impl Block for F32 {
    const TYPE: TensorType = TensorType::F32;

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = f32::from_le_bytes(self.0);
    }

    fn quantize(values: &[f32]) -> Self {
        F32(values[0].to_le_bytes())
    }
}

// SAFETY: an array of bytes: alignment 1, no padding, any bits are valid.
unsafe impl Block for F16 {
    const TYPE: TensorType = TensorType::F16;

    fn dequantize(&self, out: &mut [f32]) {
        out[0] = half::f16::from_le_bytes(self.0).to_f32();
    }

    fn quantize(values: &[f32]) -> Self {
        F16(half::f16::from_f32(values[0]).to_le_bytes())
    }
}
