//! IQ1_M: 256 weights in 56 bytes (1.75 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..32   low     bits 0..8 of the index of a point of the grid IQ1S, per 8 weights
//! bytes 32..48  high    4 bits per 8 weights, the first of two in the low nibble: bits 0..3 are bits 8..11 of the
//!                       index, bit 3 set where delta is negative
//! bytes 48..56  scales  four u16, one per 64 weights: bits 0..12 are 4 x 3 bits, the scale s of 16 weights each;
//!                       bits 12..16 are bits 0..4, 4..8, 8..12, 12..16 of the f16 d
//!
//! w[i] = d * (2 * s[i/16] + 1) * (grid[index[i/8]][i%8] + delta[i/8]),  delta = +-1/8
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::grids::{IQ1S, write_shifted};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One IQ1_M block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq1M {
    low: [u8; 32],
    high: [u8; 16],
    scales: [[u8; 2]; 4],
}

const _: () = assert!(size_of::<Iq1M>() == TensorType::IQ1_M.block_bytes());

impl Iq1M {
    /// The scale that is spread over the high bits of the four words of scales.
    #[inline(always)]
    pub(crate) fn d(&self) -> f16 {
        let [a, b, c, d] = self.scales.map(|word| u16::from_le_bytes(word) >> 12);
        f16::from_bits(a | b << 4 | c << 8 | d << 12)
    }

    /// The indices of a chunk in bits 0..11; bit 11 is set where delta is negative.
    #[inline(always)]
    fn indices<S: Simd>(chunk: &[Self], s: S) -> S::Words {
        // Byte l / 2 to word l, then the nibble to bits 8..12.
        const PLACES: [[u8; 2]; 32] = {
            let mut places = [[0, 255]; 32];
            let mut l = 0;
            while l < 32 {
                places[l][0] = l as u8 / 2;
                l += 1;
            }
            places
        };
        s.with_fields(s.wide(&chunk[0].low), &chunk[0].high, &PLACES, [256, 16, 256, 16], 0xf00)
    }
}

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq1M {
    const TYPE: TensorType = TensorType::IQ1_M;

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d().to_le_bytes())
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = self.d().to_f32();
        for (l, (low, values)) in self.low.iter().zip(out.as_chunks_mut().0).enumerate() {
            let s = u16::from_le_bytes(self.scales[l / 8]) >> (l / 2 % 4 * 3) & 7;
            let scale = d * f32::from(2 * s + 1);
            let high = self.high[l / 2] >> (l % 2 * 4);
            let index = usize::from(*low) | usize::from(high & 7) << 8;
            write_shifted(values, scale, IQ1S[index], high & 8 != 0);
        }
    }
}

impl Affine for Iq1M {
    const GROUP: usize = 16;
    const INTEGER_SCALES: bool = true;
    const GRID: bool = true;
    const CODE_MAX: usize = 18;
    const OFFSET: Option<u8> = Some(9);

    #[inline(always)]
    fn index<S: Simd>(chunk: &[Self], s: S, out: &mut Lookups) {
        s.store_indices(Self::indices(chunk, s), out);
    }

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], lookups: &Lookups, s: S, quarter: usize) -> S::Codes {
        let points = s.points(&IQ1S, lookups, quarter);
        s.add_where_clear(points, Self::indices(chunk, s), 0x800, quarter, 2)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let block = &chunk[0];
        let words = u64::from_le_bytes(*block.scales.as_flattened().as_array().unwrap_or(&[0; 8]));
        // Two of the four scales of 3 bits of each word, in its two bytes, twice as large.
        let two = |word: u64| (word << 1 & 0x000e_000e_000e_000e) | (word << 3 & 0x0e00_0e00_0e00_0e00);
        let ones = 0x0101_0101_0101_0101;
        let scales = s.interleave(two(words) + ones, two(words >> 3) + ones);
        Scaling::integer_offset(s, 9.0, s.f16(block.d().to_le_bytes()) / 8.0, scales)
    }
}
