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
use super::grids::{IQ1S, write_shifted};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::{Lookups, Simd};
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
    const GRID: bool = true;
    const CODE_MAX: usize = 16;

    #[inline(always)]
    fn index<S: Simd>(chunk: &[Self], s: S, out: &mut Lookups) {
        // Word l / 4 to word l, but for the last of four only its second byte; then the field of three bits to bits 8..11.
        const PLACES: [[u8; 2]; 32] = {
            let mut places = [[0; 2]; 32];
            let mut l = 0;
            while l < 32 {
                let word = l as u8 / 4 * 2;
                places[l] = if l % 4 == 3 { [word + 1, 255] } else { [word, word + 1] };
                l += 1;
            }
            places
        };
        let low = chunk[0].low.as_flattened().as_array().unwrap_or(&[0; 32]);
        let high: &[u8; 16] = chunk[0].high.as_flattened().as_array().unwrap_or(&[0; 16]);
        s.store_indices(s.with_fields(s.wide(low), high, &PLACES, [256, 32, 4, 128], 0x700), out);
    }

    #[inline(always)]
    fn codes<S: Simd>(_: &[Self], lookups: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.points(&IQ1S, lookups, quarter)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        // Three bits of scale and the sign of delta. A code of 8 stands for the value delta, which is plus or minus an eighth:
        // so the min is the scale less that.
        let nibbles = s.top_nibbles_of_twos(&chunk[0].high);
        let ones = 0x0101_0101_0101_0101;
        let (scales, negative) = (2 * (nibbles & (7 * ones)) + ones, nibbles >> 3 & ones);
        // No byte of the scales is 0, so none carries into the next.
        let signed = (scales ^ (negative * 255)) + negative;
        let (scales, signed) = (s.groups_twice(scales), s.group_floats(s.groups_twice(signed)));
        let d = s.f16(chunk[0].d);
        let mins = s.fnma(s.splat(d / 8.0), signed, s.mul(s.splat(d), s.group_floats(scales)));
        Scaling::integer(s, d / 8.0, scales, mins)
    }
}
