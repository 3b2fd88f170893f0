//! Q5_K: 256 weights in 176 bytes (5.5 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2     d     f16, unit of the scales
//! bytes 2..4     dmin  f16, unit of the mins
//! bytes 4..16    eight scales s[g] and mins m[g], 6 bits each, as in Q4_K
//! bytes 16..48   bit 4 of the codes q: byte j holds the weights j, j + 32, .. j + 224 from its lowest bit up
//! bytes 48..176  bits 0..4 of the codes: 32 bytes hold 64 consecutive weights, the first 32 in the low nibbles
//!
//! w[i] = d * s[i/32] * q[i] - dmin * m[i/32]
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::bits::{pack, unpack};
use super::check::both_finite;
use super::six_bits::SixBits;
use super::super_block::ScalesAndMins;
use super::{Affine, Block, Quantizer, RowScaling, Scaling, TensorType, Unpacking, head};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q5_K block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q5K {
    d: [u8; 2],
    dmin: [u8; 2],
    scales: SixBits,
    high: [u8; 32],
    low: [[u8; 32]; 4],
}

const _: () = assert!(size_of::<Q5K>() == TensorType::Q5_K.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q5K {
    const TYPE: TensorType = TensorType::Q5_K;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q5K::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        both_finite(self.d, self.dmin)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let dmin = f16::from_le_bytes(self.dmin).to_f32();
        let (scales, mins) = self.scales.scales_and_mins();
        let scales = scales.to_le_bytes().into_iter().zip(mins.to_le_bytes());
        let mut codes = [[0; 64]; 4];
        for (low, codes) in self.low.iter().zip(&mut codes) {
            unpack::<4>(low, codes, 0);
        }
        unpack::<1>(&self.high, codes.as_flattened_mut(), 4);
        let groups = codes.as_flattened().as_chunks::<32>().0;
        for (((scale, min), codes), values) in scales.zip(groups).zip(out.as_chunks_mut::<32>().0) {
            let scale = d * f32::from(scale);
            let min = dmin * f32::from(min);
            for (value, code) in values.iter_mut().zip(codes) {
                *value = scale * f32::from(*code) - min;
            }
        }
    }
}

impl Q5K {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let ScalesAndMins { d, dmin, scales, mins, codes } =
            ScalesAndMins::<8>::of::<32>(values, importance, 31.0, 63.0);
        let (d, dmin) = (d.to_le_bytes(), dmin.to_le_bytes());
        let mut block = Q5K { d, dmin, scales: SixBits::of(&scales, &mins), high: [0; 32], low: [[0; 32]; 4] };
        for (codes, low) in codes.as_chunks::<64>().0.iter().zip(&mut block.low) {
            pack::<4>(codes, low, 0);
        }
        pack::<1>(&codes, &mut block.high, 4);
        block
    }
}

/// Bit `place` of each byte, as bit 4. `place` is a constant after inlining.
#[inline(always)]
fn bit<S: Simd>(s: S, bytes: S::Codes, place: u32) -> S::Codes {
    if place < 4 {
        return s.shift_left(s.and(bytes, s.splat_codes(1 << place)), 4 - place);
    }
    s.shift_right(bytes, place - 4, place - 4, 16)
}

impl Affine for Q5K {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 31;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let block = &chunk[0];
        let low = s.shift_right(s.join(&block.low[quarter], &block.low[quarter]), 0, 4, 15);
        let high = s.shift_right(s.join(&block.high, &block.high), 2 * quarter as u32, 2 * quarter as u32 + 1, 1);
        s.or(low, s.shift_left(high, 4))
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let (scales, mins) = chunk[0].scales.scales_and_mins();
        let dmin = s.splat(s.f16(chunk[0].dmin));
        let mins = s.mul(dmin, s.group_floats(s.groups_twice(mins)));
        Scaling::integer(s, s.f16(chunk[0].d), s.groups_twice(scales), mins)
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::Joined);

    #[inline(always)]
    fn codes_of_rows<S: Simd>(blocks: [&Self; 8], s: S, quarter: usize) -> [[S::Codes; 4]; 2] {
        let [a, b, c, d] = s.rows(blocks.map(|block| &block.low[quarter]));
        let [e, f, g, h] = s.rows(blocks.map(|block| &block.high));
        let place = 2 * quarter as u32;
        let (low, high) = ([a, b, c, d], [e, f, g, h]);
        let mut codes = [low, low];
        for i in 0..4 {
            codes[0][i] = s.or(s.and(low[i], s.splat_codes(15)), bit(s, high[i], place));
            codes[1][i] = s.or(s.shift_right(low[i], 4, 4, 15), bit(s, high[i], place + 1));
        }
        codes
    }

    #[inline(always)]
    fn scaling_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowScaling<S> {
        let heads = s.short_rows(blocks.map(head));
        let (scales, mins) = SixBits::of_rows(s, heads);
        let (d, dmin) = s.row_halves(heads[0]);
        RowScaling { d, scales: [scales; 2], dmin, mins: [mins; 2] }
    }
}
