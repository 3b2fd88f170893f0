//! Q3_K: 256 weights in 110 bytes (3.4375 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..32     bit 2 of the codes q: byte j holds the weights j, j + 32, .. j + 224 from its lowest bit up
//! bytes 32..96    bits 0..2 of the codes: 32 bytes hold 128 consecutive weights, byte j the weights j, j + 32, j + 64, j + 96
//!                 from its lowest bits up
//! bytes 96..108   sixteen scales s[g], 6 bits each: bits 0..4 in the low nibbles, then the high nibbles, of the first 8
//!                 bytes; bits 4..6 in the last 4 bytes, byte j the groups j, j + 4, j + 8, j + 12 from its lowest bits up
//! bytes 108..110  d  f16, unit of the scales, of either sign
//!
//! w[i] = d * (s[i/16] - 32) * (q[i] - 4)
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::bits::{pack, unpack};
use super::check::finite;
use super::eight_rows::repeated;
use super::signed::Signed;
use super::super_block::SignedScales;
use super::{Affine, Block, Quantizer, RowScaling, Scaling, TensorType, Unpacking, tail};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q3_K block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q3K {
    high: [u8; 32],
    low: [[u8; 32]; 2],
    scales: [u8; 12],
    d: [u8; 2],
}

const _: () = assert!(size_of::<Q3K>() == TensorType::Q3_K.block_bytes());

impl Q3K {
    /// The scales, with an offset of 32.
    #[inline(always)]
    fn scales(&self) -> [u8; 16] {
        let mut scales = [0; 16];
        unpack::<4>(&self.scales[..8], &mut scales, 0);
        unpack::<2>(&self.scales[8..], &mut scales, 4);
        scales
    }
}

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q3K {
    const TYPE: TensorType = TensorType::Q3_K;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q3K::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let mut codes = [[0; 128]; 2];
        for (low, codes) in self.low.iter().zip(&mut codes) {
            unpack::<2>(low, codes, 0);
        }
        unpack::<1>(&self.high, codes.as_flattened_mut(), 2);
        let groups = codes.as_flattened().as_chunks::<16>().0;
        for ((scale, codes), values) in self.scales().iter().zip(groups).zip(out.as_chunks_mut::<16>().0) {
            let scale = d * (f32::from(*scale) - 32.0);
            for (value, code) in values.iter_mut().zip(codes) {
                *value = scale * (f32::from(*code) - 4.0);
            }
        }
    }
}

impl Q3K {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let signed = Signed { lowest: -4.0, highest: 3.0 };
        let SignedScales { d, scales, codes } = SignedScales::of(values, importance, signed, 32.0);
        let scales = scales.map(|scale| (scale + 32) as u8);
        let codes = codes.map(|code| (code + 4) as u8);
        let mut block = Q3K { high: [0; 32], low: [[0; 32]; 2], scales: [0; 12], d: d.to_le_bytes() };
        let (low, high) = block.scales.split_at_mut(8);
        pack::<4>(&scales, low, 0);
        pack::<2>(&scales, high, 4);
        for (codes, low) in codes.as_chunks::<128>().0.iter().zip(&mut block.low) {
            pack::<2>(codes, low, 0);
        }
        pack::<1>(&codes, &mut block.high, 2);
        block
    }
}

/// Bit `place` of each byte, as bit 2. `place` is a constant after inlining.
#[inline(always)]
fn bit<S: Simd>(s: S, bytes: S::Codes, place: u32) -> S::Codes {
    if place < 2 {
        return s.shift_left(s.and(bytes, s.splat_codes(1 << place)), 2 - place);
    }
    s.shift_right(bytes, place - 2, place - 2, 4)
}

impl Q3K {
    /// The scales of groups 0 to 7, and those of the others, a signed byte each.
    #[inline(always)]
    fn scale_words(&self) -> (u64, u64) {
        // From nibbles and pairs of bits; then less 32, in bytes that cannot carry.
        let [a, b, c, d, e, f, g, h, i, j, k, l] = self.scales;
        let low = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let high = u64::from(u32::from_le_bytes([i, j, k, l]));
        let pairs = |bits: u64| (bits & 0x0303_0303 | (bits >> 2 & 0x0303_0303) << 32) << 4;
        let scale = |nibbles: u64, pairs: u64| {
            ((nibbles & 0x0f0f_0f0f_0f0f_0f0f | pairs) + 0x6060_6060_6060_6060) ^ 0x8080_8080_8080_8080
        };
        (scale(low, pairs(high)), scale(low >> 4, pairs(high >> 4)))
    }
}

impl Affine for Q3K {
    const GROUP: usize = 16;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 7;
    const OFFSET: Option<u8> = Some(4);

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let block = &chunk[0];
        let (low, shift) = (&block.low[quarter / 2], 4 * (quarter as u32 % 2));
        let low = s.shift_right(s.join(low, low), shift, shift + 2, 3);
        let high = s.shift_right(s.join(&block.high, &block.high), 2 * quarter as u32, 2 * quarter as u32 + 1, 1);
        s.or(low, s.shift_left(high, 2))
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let (first, last) = chunk[0].scale_words();
        let scales = s.concatenate(first, last);
        Scaling::integer_offset(s, 4.0, s.f16(chunk[0].d), scales)
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::Joined);
    const MIN_MAX: usize = 31;

    #[inline(always)]
    fn codes_of_rows<S: Simd>(blocks: [&Self; 8], s: S, quarter: usize) -> [[S::Codes; 4]; 2] {
        let low = s.rows(blocks.map(|block| &block.low[quarter / 2]));
        let high = s.rows(blocks.map(|block| &block.high));
        let (shift, place) = (4 * (quarter as u32 % 2), 2 * quarter as u32);
        let mut codes = [low, low];
        for i in 0..4 {
            codes[0][i] = s.or(s.shift_right(low[i], shift, shift, 3), bit(s, high[i], place));
            codes[1][i] = s.or(s.shift_right(low[i], shift + 2, shift + 2, 3), bit(s, high[i], place + 1));
        }
        codes
    }

    #[inline(always)]
    fn scaling_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowScaling<S> {
        // The last 16 bytes: two of codes, the scales, d.
        let [first, last] = s.short_rows(blocks.map(tail));
        let low = s.or(s.pick(first, [2, 3, 4, 5, 6, 7, -1, -1]), s.pick(last, [-1, -1, -1, -1, -1, -1, 0, 1]));
        let high = s.pick(last, [2, 3, 4, 5, 2, 3, 4, 5]);
        let masked = |first: u8, last: u8| s.and(high, s.bytes(&repeated([first, last], 4)));
        let scales = [
            s.or(s.and(low, s.splat_codes(15)), s.or(s.shift_left(masked(3, 0), 4), s.shift_left(masked(0, 12), 2))),
            s.or(s.shift_right(low, 4, 4, 15), s.or(masked(0x30, 0), s.shift_right(masked(0, 0xc0), 2, 2, 0x30))),
        ];
        let d = s.row_halves(s.pick(last, [6, 7, -1, -1, -1, -1, -1, -1])).0;
        let scales = [s.sub(scales[0], s.splat_codes(32)), s.sub(scales[1], s.splat_codes(32))];
        RowScaling::offset(s, 4, d, scales)
    }
}
