//! IQ4_XS: 256 weights in 136 bytes (4.25 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2    d      f16
//! bytes 2..4    high   bits 4 and 5 of the eight scales s[g], u16: bits 2 * g and 2 * g + 1
//! bytes 4..8    low    bits 0..4 of the eight scales, the first of two in the low nibble
//! bytes 8..136  codes  q, 4 bits: 16 bytes hold 32 consecutive weights, the first 16 in the low nibbles
//!
//! w[i] = d * (s[i/32] - 32) * value[q[i]],  values as in IQ4_NL
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::eight_rows::repeated;
use super::fit::inverse;
use super::grids::wide_bytes;
use super::iq4_nl::{CODES, LEVELS, codes, fit, write};
use super::levels::squared_error;
use super::scale::Normal;
use super::{Affine, Block, Quantizer, RowScaling, Scaling, TensorType, Unpacking, head};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One IQ4_XS block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq4Xs {
    d: [u8; 2],
    high: [u8; 2],
    low: [u8; 4],
    codes: [[u8; 16]; 8],
}

const _: () = assert!(size_of::<Iq4Xs>() == TensorType::IQ4_XS.block_bytes());

impl Iq4Xs {
    /// The scale of group `g`, -32..=31.
    #[inline(always)]
    pub(crate) fn scale(&self, g: usize) -> i8 {
        let low = self.low[g / 2] >> (g % 2 * 4) & 15;
        let high = u16::from_le_bytes(self.high) >> (2 * g) & 3;
        (low | (high as u8) << 4) as i8 - 32
    }

    fn set_scale(&mut self, g: usize, scale: i8) {
        let stored = (scale + 32) as u8;
        self.low[g / 2] |= (stored & 15) << (g % 2 * 4);
        self.high[g / 4] |= (stored >> 4) << (g % 4 * 2);
    }
}

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq4Xs {
    const TYPE: TensorType = TensorType::IQ4_XS;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Iq4Xs::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (g, (codes, values)) in self.codes.iter().zip(out.chunks_exact_mut(32)).enumerate() {
            write(values, d * f32::from(self.scale(g)), codes);
        }
    }
}

impl Iq4Xs {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let normal = Normal::<256>::of(values, importance);
        let groups = || normal.values.as_chunks::<32>().0.iter().zip(normal.weights.as_chunks::<32>().0);
        let mut scales = [0.0; 8];
        for (scale, (values, weights)) in scales.iter_mut().zip(groups()) {
            *scale = fit(values, weights);
        }
        // -32 reaches further than 31: it is for the largest scale.
        let largest =
            scales.iter().fold(0.0, |largest: f32, scale| if scale.abs() > largest.abs() { *scale } else { largest });
        let (d, unit) = normal.half(largest / -32.0);

        let mut block = Iq4Xs { d: d.to_le_bytes(), high: [0; 2], low: [0; 4], codes: [[0; 16]; 8] };
        for (g, (scale, (values, weights))) in scales.iter().zip(groups()).enumerate() {
            let scale = nearest_integer(values, weights, *scale, unit);
            block.set_scale(g, scale);
            block.codes[g] = codes(values, unit * f32::from(scale));
        }
        block
    }
}

/// The multiple of `unit` with the smallest error among the nearest to `scale` and its neighbours.
fn nearest_integer(values: &[f32; 32], weights: &[f32; 32], scale: f32, unit: f32) -> i8 {
    let nearest = (scale * inverse(unit)).round().clamp(-32.0, 31.0) as i8;
    let mut best = (f32::INFINITY, nearest);
    for scale in (nearest - 1).max(-32)..=(nearest + 1).min(31) {
        let error = squared_error(&LEVELS, values, weights, unit * f32::from(scale));
        if error < best.0 {
            best = (error, scale);
        }
    }
    best.1
}

impl Iq4Xs {
    /// The eight scales, a signed byte each.
    #[inline(always)]
    fn scale_word(&self) -> u64 {
        // Four bytes of two nibbles and 16 bits of eight pairs, to eight bytes; then less 32, in bytes that cannot carry.
        let low = wide_bytes(u32::from_le_bytes(self.low));
        let low = (low | low << 4) & 0x0f0f_0f0f_0f0f_0f0f;
        let high = u64::from(u16::from_le_bytes(self.high));
        let high = (high | high << 24) & 0x0000_00ff_0000_00ff;
        let high = (high | high << 12) & 0x000f_000f_000f_000f;
        let high = (high | high << 6) & 0x0303_0303_0303_0303;
        ((low | high << 4) + 0x6060_6060_6060_6060) ^ 0x8080_8080_8080_8080
    }
}

impl Affine for Iq4Xs {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 241;
    const OFFSET: Option<u8> = Some(128);

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.look_up(s.nibbles(&chunk[0].codes[2 * quarter], &chunk[0].codes[2 * quarter + 1]), &CODES)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        Scaling::integer_offset(s, 128.0, s.f16(chunk[0].d), s.groups_twice(chunk[0].scale_word()))
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::LookedUp);
    const MIN_MAX: usize = 31;

    #[inline(always)]
    fn codes_of_rows<S: Simd>(blocks: [&Self; 8], s: S, quarter: usize) -> [[S::Codes; 4]; 2] {
        let bytes = s.rows(blocks.map(|block| &block.codes.as_flattened().as_chunks().0[quarter]));
        let mut codes = [bytes, bytes];
        for i in 0..4 {
            // Each group has its low nibbles first.
            codes[i / 2][i % 2] = s.look_up(s.and(bytes[i], s.splat_codes(15)), &CODES);
            codes[i / 2][2 + i % 2] = s.look_up(s.shift_right(bytes[i], 4, 4, 15), &CODES);
        }
        codes
    }

    #[inline(always)]
    fn scaling_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowScaling<S> {
        // The first 8 bytes: d, high, low. As words of general registers the compiler gathers them and multiplies: 20 % of the
        // time of a chunk, FAST at the AVX-512 level.
        let [head, _] = s.short_rows(blocks.map(head));
        let low = s.pick(head, [4, 4, 5, 5, 6, 6, 7, 7]);
        let low = s.or(
            s.and(low, s.bytes(&const { repeated([15, 0, 15, 0], 1) })),
            s.and(s.shift_right(low, 4, 4, 15), s.bytes(&const { repeated([0, 15, 0, 15], 1) })),
        );
        let high = s.pick(head, [2, 2, 2, 2, 3, 3, 3, 3]);
        let first = s.shift_left(s.and(high, s.bytes(&const { repeated([3, 0, 0, 0], 1) })), 4);
        let second = s.shift_left(s.and(high, s.bytes(&const { repeated([0, 12, 0, 0], 1) })), 2);
        let third = s.and(high, s.bytes(&const { repeated([0, 0, 0x30, 0], 1) }));
        let last = s.shift_right(s.and(high, s.bytes(&const { repeated([0, 0, 0, 0xc0], 1) })), 2, 2, 0x30);
        let high = s.or(s.or(first, second), s.or(third, last));
        let scales = s.sub(s.or(low, high), s.splat_codes(32));
        RowScaling::offset(s, 128, s.row_halves(head).0, [scales; 2])
    }
}
