//! Q2_0: 64 weights in 18 bytes (2.25 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2   d      f16
//! bytes 2..18  codes  q, 2 bits per weight, the first of four lowest
//!
//! w[i] = d * (q[i] - 1)
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::fit::{code, inverse};
use super::scale::{Normal, best_few_levels};
use super::{Affine, Block, Quantizer, Scaling, TensorType};
use crate::simd::{COLUMNS, Lookups, Simd};
use half::f16;

/// One Q2_0 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q2_0 {
    d: [u8; 2],
    codes: [u8; 16],
}

const _: () = assert!(size_of::<Q2_0>() == TensorType::Q2_0.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q2_0 {
    const TYPE: TensorType = TensorType::Q2_0;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q2_0::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (byte, values) in self.codes.iter().zip(out.chunks_exact_mut(4)) {
            for (element, value) in values.iter_mut().enumerate() {
                *value = (f32::from(byte >> (2 * element) & 3) - 1.0) * d;
            }
        }
    }
}

impl Q2_0 {
    /// The levels -1, 0, 1, 2 are not symmetric: a negative `d` turns them round.
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let normal = Normal::<64>::of(values, importance);
        let (d, scale) = normal.half(best_few_levels(&normal, 2));
        let mut block = Q2_0 { d: d.to_le_bytes(), codes: [0; 16] };
        for (byte, values) in block.codes.iter_mut().zip(normal.values.chunks_exact(4)) {
            for (element, value) in values.iter().enumerate() {
                *byte |= (code(*value, inverse(scale), scale, 3.0) as u8) << (2 * element);
            }
        }
        block
    }
}

const TO_THE_TOP: [u8; COLUMNS] = {
    let mut factors = [0; COLUMNS];
    let mut column = 0;
    while column < COLUMNS {
        factors[column] = [64, 16, 4, 1][column % 4];
        column += 1;
    }
    factors
};

impl Affine for Q2_0 {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = false;
    const CODE_MAX: usize = 3;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        // A byte holds four neighbours: it is repeated, and in each copy another one is moved to the top.
        let copies = s.repeat(&chunk[quarter].codes);
        s.shift_right(s.multiply(copies, &TO_THE_TOP), 6, 6, 3)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        // Four groups of 16 have the same scale.
        let half = |block: usize| u64::from(u16::from_le_bytes(chunk[block].d)) * 0x0001_0001_0001_0001;
        Scaling::offset(s, 1.0, s.f16_words([half(0), half(1), half(2), half(3)]))
    }
}
