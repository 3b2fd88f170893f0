//! Q6_K: 256 weights in 210 bytes (6.5625 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..128    bits 0..4 of the codes q: 64 bytes hold 128 consecutive weights, the first 64 in the low nibbles
//! bytes 128..192  bits 4..6 of the codes: 32 bytes hold 128 consecutive weights, byte j the weights j, j + 32, j + 64, j + 96
//!                 from its lowest bits up
//! bytes 192..208  sixteen scales s[g], i8
//! bytes 208..210  d  f16, unit of the scales, of either sign
//!
//! w[i] = d * s[i/16] * (q[i] - 32)
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::bits::{pack, unpack};
use super::check::finite;
use super::signed::Signed;
use super::super_block::SignedScales;
use super::{Affine, Block, Quantizer, RowScaling, Scaling, TensorType, Unpacking, unsigned};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q6_K block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q6K {
    low: [[u8; 64]; 2],
    high: [[u8; 32]; 2],
    scales: [i8; 16],
    d: [u8; 2],
}

const _: () = assert!(size_of::<Q6K>() == TensorType::Q6_K.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q6K {
    const TYPE: TensorType = TensorType::Q6_K;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q6K::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let mut codes = [[0; 128]; 2];
        for ((low, high), codes) in self.low.iter().zip(&self.high).zip(&mut codes) {
            unpack::<4>(low, codes, 0);
            unpack::<2>(high, codes, 4);
        }
        let groups = codes.as_flattened().as_chunks::<16>().0;
        for ((scale, codes), values) in self.scales.iter().zip(groups).zip(out.as_chunks_mut::<16>().0) {
            let scale = d * f32::from(*scale);
            for (value, code) in values.iter_mut().zip(codes) {
                *value = scale * (f32::from(*code) - 32.0);
            }
        }
    }
}

impl Q6K {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let signed = Signed { lowest: -32.0, highest: 31.0 };
        let SignedScales { d, scales, codes } = SignedScales::of(values, importance, signed, 128.0);
        let codes = codes.map(|code| (code + 32) as u8);
        let mut block = Q6K { low: [[0; 64]; 2], high: [[0; 32]; 2], scales, d: d.to_le_bytes() };
        for (half, codes) in codes.as_chunks::<128>().0.iter().enumerate() {
            pack::<4>(codes, &mut block.low[half], 0);
            pack::<2>(codes, &mut block.high[half], 4);
        }
        block
    }
}

impl Affine for Q6K {
    const GROUP: usize = 16;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 63;
    const OFFSET: Option<u8> = Some(32);

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let block = &chunk[0];
        let (half, shift) = (quarter / 2, 4 * (quarter as u32 % 2));
        let low = s.shift_right(s.bytes(&block.low[half]), shift, shift, 15);
        let high = s.shift_right(s.join(&block.high[half], &block.high[half]), shift, shift + 2, 3);
        s.or(low, s.shift_left(high, 4))
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        Scaling::integer_offset(s, 32.0, s.f16(chunk[0].d), s.groups(chunk[0].scales))
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::SixBits);
    const MIN_MAX: usize = 127;

    #[inline(always)]
    fn codes_of_rows<S: Simd>(blocks: [&Self; 8], s: S, quarter: usize) -> [[S::Codes; 4]; 2] {
        let half = quarter / 2;
        let first = s.rows(blocks.map(|block| &block.low[half].as_chunks().0[0]));
        let last = s.rows(blocks.map(|block| &block.low[half].as_chunks().0[1]));
        let high = s.rows(blocks.map(|block| &block.high[half]));
        let masked = |bytes, mask| s.and(bytes, s.splat_codes(mask));
        let mut codes = [first, last];
        for i in 0..4 {
            if quarter.is_multiple_of(2) {
                codes[0][i] = s.or(masked(first[i], 15), s.shift_left(masked(high[i], 3), 4));
                codes[1][i] = s.or(masked(last[i], 15), s.shift_left(masked(high[i], 12), 2));
            } else {
                codes[0][i] = s.or(s.shift_right(first[i], 4, 4, 15), masked(high[i], 0x30));
                codes[1][i] = s.or(s.shift_right(last[i], 4, 4, 15), s.shift_right(high[i], 2, 2, 0x30));
            }
        }
        codes
    }

    #[inline(always)]
    fn scaling_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowScaling<S> {
        let scales = s.short_rows(blocks.map(|block| unsigned(&block.scales)));
        // With two scales that are not wanted, as in `Q4_0`.
        let pair = |block: &Self| {
            let [.., a, b] = *unsigned(&block.scales);
            u32::from_le_bytes([a, b, block.d[0], block.d[1]])
        };
        RowScaling::offset(s, 32, s.f16_pairs_twice(blocks.map(pair)).1, scales)
    }
}
