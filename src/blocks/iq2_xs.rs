//! IQ2_XS: 256 weights in 74 bytes (2.3125 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2    d       f16
//! bytes 2..66   points  u16 per 8 weights: bits 0..9 are the index of a point of the grid IQ2XS, bits 9..16 seven signs
//!                       (the eighth makes the number of minus signs even)
//! bytes 66..74  scales  s, 4 bits per 16 weights, the first of two in the low nibble
//!
//! w[i] = d * (s[i/16] + 0.5) / 4 * sign[i] * grid[index[i/8]][i%8]
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::grids::{IQ2_OFFSET, IQ2XS, even_signs, magnitudes, odd_scales, write_signed};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One IQ2_XS block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq2Xs {
    d: [u8; 2],
    points: [[u8; 2]; 32],
    scales: [u8; 8],
}

const _: () = assert!(size_of::<Iq2Xs>() == TensorType::IQ2_XS.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq2Xs {
    const TYPE: TensorType = TensorType::IQ2_XS;

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (l, (point, values)) in self.points.iter().zip(out.as_chunks_mut().0).enumerate() {
            let point = u16::from_le_bytes(*point);
            let s = (self.scales[l / 4] >> (l / 2 % 2 * 4)) & 15;
            let scale = d * (0.5 + f32::from(s)) * 0.25;
            write_signed(
                values,
                scale,
                magnitudes(IQ2XS[usize::from(point & 511)], IQ2_OFFSET),
                even_signs(u32::from(point >> 9)),
            );
        }
    }
}

impl Affine for Iq2Xs {
    const GROUP: usize = 16;
    const INTEGER_SCALES: bool = true;
    const GRID: bool = true;
    const CODE_MAX: usize = 86;
    const OFFSET: Option<u8> = Some(IQ2_OFFSET);

    #[inline(always)]
    fn index<S: Simd>(chunk: &[Self], s: S, out: &mut Lookups) {
        out.negative = s.even_signs_of_words(&chunk[0].points);
        s.store_indices(s.mask_words(s.load_words(&chunk[0].points), 511), out);
    }

    #[inline(always)]
    fn codes<S: Simd>(_: &[Self], lookups: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.mirrored(s.points(&IQ2XS, lookups, quarter), &lookups.negative[quarter], Self::CODE_MAX)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let scales = odd_scales(s, chunk[0].scales);
        Scaling::integer_offset(s, 43.0, s.f16(chunk[0].d) / 8.0, scales)
    }
}
