//! IQ3_S: 256 weights in 110 bytes (3.4375 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2      d       f16
//! bytes 2..66     low     bits 0..8 of the index of a point of the grid IQ3S, per 4 weights
//! bytes 66..74    high    bit 8 of the index: a bit per 4 weights
//! bytes 74..106   signs   a bit per weight
//! bytes 106..110  scales  s, 4 bits per 32 weights, the first of two in the low nibble
//!
//! w[i] = d * (2 * s[i/32] + 1) * sign[i] * grid[index[i/4]][i%4]
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::grids::{IQ3S, join, wide_bytes, write_signed};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::{Lookups, QUARTERS, Simd};
use half::f16;

/// One IQ3_S block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq3S {
    d: [u8; 2],
    low: [u8; 64],
    high: [u8; 8],
    signs: [u8; 32],
    scales: [u8; 4],
}

const _: () = assert!(size_of::<Iq3S>() == TensorType::IQ3_S.block_bytes());

impl Iq3S {
    /// A bit per column, set where its weight is negative.
    #[inline(always)]
    fn negative(&self) -> &[[u8; 8]; QUARTERS] {
        &self.signs.as_chunks().0.as_chunks().0[0]
    }

    /// The grid index of weights `4 * l..4 * l + 4`.
    #[inline(always)]
    pub(crate) fn index(&self, l: usize) -> usize {
        usize::from(self.low[l]) | usize::from(self.high[l / 8] >> (l % 8) & 1) << 8
    }
}

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq3S {
    const TYPE: TensorType = TensorType::IQ3_S;

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (l, (signs, values)) in self.signs.iter().zip(out.as_chunks_mut().0).enumerate() {
            let s = (self.scales[l / 8] >> (l / 4 % 2 * 4)) & 15;
            let scale = d * f32::from(1 + 2 * s);
            let points = join(IQ3S.signed[self.index(2 * l)], IQ3S.signed[self.index(2 * l + 1)]);
            // A code of 8 + h is the magnitude 2 * h + 1.
            let magnitudes = 2 * points - 0x0f0f_0f0f_0f0f_0f0f;
            write_signed(values, scale, magnitudes, *signs);
        }
    }
}

impl Affine for Iq3S {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const GRID: bool = true;
    const SHORT_GRID: bool = true;
    const CODE_MAX: usize = 15;

    #[inline(always)]
    fn index<S: Simd>(chunk: &[Self], s: S, out: &mut Lookups) {
        let block = &chunk[0];
        s.store_signed_indices::<512>(&block.low, &block.high, block.negative(), out);
    }

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], lookups: &Lookups, s: S, quarter: usize) -> S::Codes {
        let block = &chunk[0];
        s.short_codes(&IQ3S, &block.low, &block.high, block.negative(), Self::CODE_MAX, lookups, quarter)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        // Four bytes of two nibbles each, to eight bytes.
        let wide = wide_bytes(u32::from_le_bytes(chunk[0].scales));
        let scales = (wide | wide << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let scales = s.groups_twice(2 * scales + 0x0101_0101_0101_0101);
        Scaling::integer_offset(s, 7.5, 2.0 * s.f16(chunk[0].d), scales)
    }
}
