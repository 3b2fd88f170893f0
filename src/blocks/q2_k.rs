//! Q2_K: 256 weights in 84 bytes (2.625 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..16   sixteen scales s[g] in the low nibbles, sixteen mins m[g] in the high ones
//! bytes 16..80  codes q, 2 bits: 32 bytes hold 128 consecutive weights, byte j the weights j, j + 32, j + 64, j + 96 from its
//!               lowest bits up
//! bytes 80..82  d     f16, unit of the scales
//! bytes 82..84  dmin  f16, unit of the mins
//!
//! w[i] = d * s[i/16] * q[i] - dmin * m[i/16]
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::bits::{pack, unpack};
use super::check::both_finite;
use super::eight_rows::repeated;
use super::super_block::ScalesAndMins;
use super::{Affine, Block, Quantizer, RowScaling, Scaling, TensorType, Unpacking};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q2_K block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q2K {
    scales: [u8; 16],
    codes: [[u8; 32]; 2],
    d: [u8; 2],
    dmin: [u8; 2],
}

const _: () = assert!(size_of::<Q2K>() == TensorType::Q2_K.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q2K {
    const TYPE: TensorType = TensorType::Q2_K;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q2K::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        both_finite(self.d, self.dmin)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let dmin = f16::from_le_bytes(self.dmin).to_f32();
        let mut codes = [[0; 128]; 2];
        for (packed, codes) in self.codes.iter().zip(&mut codes) {
            unpack::<2>(packed, codes, 0);
        }
        let groups = codes.as_flattened().as_chunks::<16>().0;
        for ((packed, codes), values) in self.scales.iter().zip(groups).zip(out.as_chunks_mut::<16>().0) {
            let scale = d * f32::from(packed & 15);
            let min = dmin * f32::from(packed >> 4);
            for (value, code) in values.iter_mut().zip(codes) {
                *value = scale * f32::from(*code) - min;
            }
        }
    }
}

impl Q2K {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let ScalesAndMins { d, dmin, scales, mins, codes } =
            ScalesAndMins::<16>::of::<16>(values, importance, 3.0, 15.0);
        let mut block = Q2K { scales: [0; 16], codes: [[0; 32]; 2], d: d.to_le_bytes(), dmin: dmin.to_le_bytes() };
        pack::<4>([scales, mins].as_flattened(), &mut block.scales, 0);
        for (codes, packed) in codes.as_chunks::<128>().0.iter().zip(&mut block.codes) {
            pack::<2>(codes, packed, 0);
        }
        block
    }
}

impl Affine for Q2K {
    const GROUP: usize = 16;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 3;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let bytes = &chunk[0].codes[quarter / 2];
        let shift = 4 * (quarter as u32 % 2);
        s.shift_right(s.join(bytes, bytes), shift, shift + 2, 3)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let block = &chunk[0];
        let scales = s.groups(block.scales.map(|both| (both & 15) as i8));
        let mins = s.group_floats(s.groups(block.scales.map(|both| (both >> 4) as i8)));
        Scaling::integer(s, s.f16(block.d), scales, s.mul(s.splat(s.f16(block.dmin)), mins))
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::Fields);
    const MIN_MAX: usize = 15;

    #[inline(always)]
    fn codes_of_rows<S: Simd>(blocks: [&Self; 8], s: S, quarter: usize) -> [[S::Codes; 4]; 2] {
        let bytes = s.rows(blocks.map(|block| &block.codes[quarter / 2]));
        let shift = 4 * (quarter as u32 % 2);
        let mut codes = [bytes, bytes];
        for i in 0..4 {
            codes[0][i] = s.shift_right(bytes[i], shift, shift, 3);
            codes[1][i] = s.shift_right(bytes[i], shift + 2, shift + 2, 3);
        }
        codes
    }

    #[inline(always)]
    fn scaling_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowScaling<S> {
        let [first, last] = s.short_rows(blocks.map(|block| &block.scales));
        let low = s.splat_codes(15);
        let (d, dmin) =
            s.f16_pairs_twice(blocks.map(|Q2K { d: [a, b], dmin: [c, d], .. }| u32::from_le_bytes([*a, *b, *c, *d])));
        RowScaling {
            d,
            scales: [s.and(first, low), s.and(last, low)],
            dmin,
            mins: [s.shift_right(first, 4, 4, 15), s.shift_right(last, 4, 4, 15)],
        }
    }

    const SCALED_CODE_MAX: Option<usize> = Some(45);

    #[inline(always)]
    fn scaled_codes_of_rows<S: Simd>(
        blocks: [&Self; 8],
        s: S,
        quarter: usize,
        scaling: &RowScaling<S>,
    ) -> [[S::Codes; 4]; 2] {
        let bytes = s.rows(blocks.map(|block| &block.codes[quarter / 2]));
        // Two rows at a time, the products of four scales and the four codes: in the table of the first 32 columns codes are the
        // two lowest bits of an index, then comes the row, then the group; in that of the last ones they are the two bits above
        // row and group, where the bytes have them. The four bytes of the scales within a row's eight:
        let [a, b, c, d] = if quarter.is_multiple_of(2) { [0, 1, 2, 3] } else { [4, 5, 6, 7] };
        let scales = scaling.scales[quarter / 2];
        let first = s.pick_of_two(scales, [a, -1, a, -1, a + 8, -1, a + 8, -1, b, -1, b, -1, b + 8, -1, b + 8, -1]);
        let last =
            s.pick_of_two(scales, [c, c + 8, d, d + 8, c, c + 8, d, d + 8, c, c + 8, d, d + 8, c, c + 8, d, d + 8]);
        let first = s.multiply_words(first, [0x100, 0x302, 0x100, 0x302, 0x100, 0x302, 0x100, 0x302]);
        let last = s.multiply_words(last, [0, 0, 1, 1, 2, 2, 3, 3]);
        let mut codes = [bytes, bytes];
        for i in 0..4 {
            let shift = 4 * (quarter as u32 % 2);
            let group = i as u8 / 2;
            let index =
                s.or(s.shift_right(bytes[i], shift, shift, 3), s.bytes(&repeated([8 * group, 8 * group + 4], 8)));
            codes[0][i] = s.look_up_two(first, index);
            let index =
                s.or(s.shift_right(bytes[i], shift, shift, 12), s.bytes(&repeated([2 * group, 2 * group + 1], 8)));
            codes[1][i] = s.look_up_two(last, index);
        }
        codes
    }
}
