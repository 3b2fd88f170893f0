//! IQ2_XXS: 256 weights in 66 bytes (2.0625 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2   d       f16
//! bytes 2..66  groups  8 bytes per 32 weights:
//!                bytes 0..4  index of a point of the grid IQ2XXS for each 8 weights
//!                bytes 4..8  u32: bits 0..28 are 4 x 7 signs (the eighth makes the number of minus signs even),
//!                            bits 28..32 the scale s
//!
//! w[i] = d * (s[i/32] + 0.5) / 4 * sign[i] * grid[index[i/8]][i%8]
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::grids::{IQ2_OFFSET, IQ2XXS, even_signs, magnitudes, write_signed};
use super::{Affine, Block, Scaling, TensorType};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One IQ2_XXS block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq2Xxs {
    d: [u8; 2],
    groups: [[u8; 8]; 8],
}

const _: () = assert!(size_of::<Iq2Xxs>() == TensorType::IQ2_XXS.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq2Xxs {
    const TYPE: TensorType = TensorType::IQ2_XXS;

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (group, values) in self.groups.iter().zip(out.as_chunks_mut::<32>().0) {
            let [i0, i1, i2, i3, s0, s1, s2, s3] = *group;
            let signs = u32::from_le_bytes([s0, s1, s2, s3]);
            let scale = d * (0.5 + (signs >> 28) as f32) * 0.25;
            for (l, (index, values)) in [i0, i1, i2, i3].into_iter().zip(values.as_chunks_mut().0).enumerate() {
                write_signed(
                    values,
                    scale,
                    magnitudes(IQ2XXS[usize::from(index)], IQ2_OFFSET),
                    even_signs(signs >> (7 * l)),
                );
            }
        }
    }
}

impl Affine for Iq2Xxs {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const GRID: bool = true;
    const CODE_MAX: usize = 86;
    const OFFSET: Option<u8> = Some(IQ2_OFFSET);

    #[inline(always)]
    fn index<S: Simd>(chunk: &[Self], s: S, out: &mut Lookups) {
        out.negative = s.even_signs_of_eights(&chunk[0].groups);
        s.store_indices(s.wide_first_fours(&chunk[0].groups), out);
    }

    #[inline(always)]
    fn codes<S: Simd>(_: &[Self], lookups: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.mirrored(s.points(&IQ2XXS, lookups, quarter), &lookups.negative[quarter], Self::CODE_MAX)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let scales = s.top_nibbles_of_eights(&chunk[0].groups);
        let scales = s.groups_twice(2 * scales + 0x0101_0101_0101_0101);
        Scaling::integer_offset(s, 43.0, s.f16(chunk[0].d) / 8.0, scales)
    }
}
