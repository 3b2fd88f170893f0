//! IQ2_S: 256 weights in 82 bytes (2.5625 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2    d       f16
//! bytes 2..34   low     bits 0..8 of the index of a point of the grid IQ2S, per 8 weights
//! bytes 34..66  signs   a bit per weight
//! bytes 66..74  high    bits 8 and 9 of the index: 2 bits per 8 weights, the first of four lowest
//! bytes 74..82  scales  s, 4 bits per 16 weights, the first of two in the low nibble
//!
//! w[i] = d * (s[i/16] + 0.5) / 4 * sign[i] * grid[index[i/8]][i%8]
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::grids::{IQ2_OFFSET, IQ2S, magnitudes, odd_scales, write_signed};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One IQ2_S block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq2S {
    d: [u8; 2],
    low: [u8; 32],
    signs: [u8; 32],
    high: [u8; 8],
    scales: [u8; 8],
}

const _: () = assert!(size_of::<Iq2S>() == TensorType::IQ2_S.block_bytes());

impl Iq2S {
    /// The grid index of weights `8 * l..8 * l + 8`.
    #[inline(always)]
    pub(crate) fn index(&self, l: usize) -> usize {
        usize::from(self.low[l]) | usize::from(self.high[l / 4] >> (l % 4 * 2) & 3) << 8
    }
}

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq2S {
    const TYPE: TensorType = TensorType::IQ2_S;

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (l, (signs, values)) in self.signs.iter().zip(out.as_chunks_mut().0).enumerate() {
            let s = (self.scales[l / 4] >> (l / 2 % 2 * 4)) & 15;
            let scale = d * (0.5 + f32::from(s)) * 0.25;
            write_signed(values, scale, magnitudes(IQ2S[self.index(l)], IQ2_OFFSET), *signs);
        }
    }
}

impl Affine for Iq2S {
    const GROUP: usize = 16;
    const INTEGER_SCALES: bool = true;
    const GRID: bool = true;
    const CODE_MAX: usize = 86;
    const OFFSET: Option<u8> = Some(IQ2_OFFSET);

    #[inline(always)]
    fn index<S: Simd>(chunk: &[Self], s: S, out: &mut Lookups) {
        // Byte l / 4 to word l, then the field of two bits to bits 8 and 9.
        const PLACES: [[u8; 2]; 32] = {
            let mut places = [[0, 255]; 32];
            let mut l = 0;
            while l < 32 {
                places[l][0] = l as u8 / 4;
                l += 1;
            }
            places
        };
        let indices = s.with_fields(s.wide(&chunk[0].low), &chunk[0].high, &PLACES, [256, 64, 16, 4], 0x300);
        s.store_indices(indices, out);
    }

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], lookups: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.mirrored(s.points(&IQ2S, lookups, quarter), &chunk[0].signs.as_chunks().0[quarter], Self::CODE_MAX)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let scales = odd_scales(s, chunk[0].scales);
        Scaling::integer_offset(s, 43.0, s.f16(chunk[0].d) / 8.0, scales)
    }
}
