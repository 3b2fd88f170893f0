//! Types that are only dequantised: integers, F64, and ggml's forms of activations, Q8_1 and Q8_K. Knows no ISA.
//!
//! ```text
//! Q8_1, 32 weights in 36 bytes                      Q8_K, 256 weights in 292 bytes
//!   bytes 0..2   d  f16                               bytes 0..4      d  f32
//!   bytes 2..4   s  f16, d times the sum of q         bytes 4..260    codes q, i8
//!   bytes 4..36  codes q, i8                          bytes 260..292  sums of 16 codes each, i16
//!
//! w[i] = d * q[i]
//! ```
//! Source of the layout: ggml-common.h of ggml 0.25.3 (MIT).

use super::check::both_finite;
use super::{Block, TensorType};
use half::f16;

/// One Q8_1 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q8_1 {
    d: [u8; 2],
    sum: [u8; 2],
    codes: [i8; 32],
}

/// One Q8_K block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q8K {
    d: [u8; 4],
    codes: [i8; 256],
    sums: [[u8; 2]; 16],
}

const _: () = assert!(size_of::<Q8_1>() == TensorType::Q8_1.block_bytes());
const _: () = assert!(size_of::<Q8K>() == TensorType::Q8_K.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q8_1 {
    const TYPE: TensorType = TensorType::Q8_1;

    #[inline(always)]
    fn is_valid(&self) -> bool {
        both_finite(self.d, self.sum)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (value, code) in out.iter_mut().zip(self.codes) {
            *value = d * f32::from(code);
        }
    }
}

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q8K {
    const TYPE: TensorType = TensorType::Q8_K;

    #[inline(always)]
    fn is_valid(&self) -> bool {
        // No code is below -128.
        (f32::from_le_bytes(self.d) * 128.0).is_finite()
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f32::from_le_bytes(self.d);
        for (value, code) in out.iter_mut().zip(self.codes) {
            *value = d * f32::from(code);
        }
    }
}

macro_rules! numbers {
    ($($block:ident: $number:ty;)+) => {$(
        /// One little-endian number.
        #[derive(Clone, Copy, Debug)]
        #[repr(C)]
        pub struct $block([u8; size_of::<$number>()]);

        const _: () = assert!(size_of::<$block>() == TensorType::$block.block_bytes());

        // SAFETY: an array of bytes: alignment 1, no padding, any bits are valid.
        unsafe impl Block for $block {
            const TYPE: TensorType = TensorType::$block;

            #[inline(always)]
            fn is_valid(&self) -> bool {
                // Constant for integers.
                (<$number>::from_le_bytes(self.0) as f32).is_finite()
            }

            fn dequantize(&self, out: &mut [f32]) {
                out[0] = <$number>::from_le_bytes(self.0) as f32;
            }
        }
    )+};
}

numbers! {
    I8: i8;
    I16: i16;
    I32: i32;
    I64: i64;
    F64: f64;
}
