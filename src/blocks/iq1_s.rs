//! IQ1_S: 256 weights in 50 bytes (1.5625 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2    d     f16
//! bytes 2..34   low   bits 0..8 of the index of a point of the grid IQ1S, per 8 weights
//! bytes 34..50  high  u16 per 32 weights: bits 0..12 are 4 x bits 8..11 of the index, bits 12..15 the scale s,
//!                     bit 15 set where delta is negative
//!
//! w[i] = d * (2 * s[i/32] + 1) * (grid[index[i/8]][i%8] + delta[i/32]),  delta = +-1/8
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::grids::{IQ1S, low_bytes, shifted_codes, write_shifted};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::Simd;
use half::f16;

/// One IQ1_S block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq1S {
    d: [u8; 2],
    low: [[u8; 4]; 8],
    high: [[u8; 2]; 8],
}

const _: () = assert!(size_of::<Iq1S>() == TensorType::IQ1_S.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq1S {
    const TYPE: TensorType = TensorType::IQ1_S;

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for ((low, high), values) in self.low.iter().zip(&self.high).zip(out.as_chunks_mut::<32>().0) {
            let high = u16::from_le_bytes(*high);
            let scale = d * f32::from(2 * (high >> 12 & 7) + 1);
            for (l, (low, values)) in low.iter().zip(values.as_chunks_mut().0).enumerate() {
                let index = u16::from(*low) | (high >> (3 * l) & 7) << 8;
                write_shifted(values, scale, IQ1S[usize::from(index)], high >> 15 != 0);
            }
        }
    }
}

impl Affine for Iq1S {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 18;
    const OFFSET: Option<u8> = Some(9);

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], s: S, quarter: usize) -> S::Codes {
        let high = |l: usize| u16::from_le_bytes(chunk[0].high[2 * quarter + l / 4]);
        let point = |l: usize| {
            let low = chunk[0].low[2 * quarter + l / 4][l % 4];
            &IQ1S[usize::from(low) | usize::from(high(l) >> (3 * (l % 4)) & 7) << 8]
        };
        let points = [point(0), point(1), point(2), point(3), point(4), point(5), point(6), point(7)];
        let negative = |l: usize| u64::from(high(l) >> 15) * 0xffff_ffff;
        let negative = negative(0) | negative(4) << 32;
        shifted_codes(s, points, negative)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let [first, second] = [&chunk[0].high[..4], &chunk[0].high[4..]]
            .map(|four| four.iter().rev().fold(0, |word, high| word << 16 | u64::from(u16::from_le_bytes(*high))));
        let three = |word: u64| low_bytes(word >> 12 & 0x0007_0007_0007_0007);
        let scales = s.groups_twice(2 * (three(first) | three(second) << 32) + 0x0101_0101_0101_0101);
        Scaling::integer_offset(s, Self::OFFSET, s.f16(chunk[0].d) / 8.0, scales)
    }
}
