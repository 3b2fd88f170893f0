//! The vocabulary for eight weight rows, in plain Rust.

use super::Token;
use crate::simd::{EightRows, LANES, Simd};
use std::array::from_fn;

impl EightRows for Token {
    const REGISTER_ROWS: [usize; 3] = [1; 3];
    const REGISTER_OF_ROWS: usize = 8;
    // For the sake of comparison.
    const SCALES_CODES: bool = true;

    #[inline(always)]
    fn rows(self, bytes: [&[u8; 32]; 8]) -> [Self::Codes; 4] {
        from_fn(|piece| from_fn(|i| bytes[i / 8][8 * piece + i % 8]))
    }

    #[inline(always)]
    fn short_rows(self, bytes: [&[u8; 16]; 8]) -> [Self::Codes; 2] {
        from_fn(|piece| from_fn(|i| bytes[i / 8][8 * piece + i % 8]))
    }

    #[inline(always)]
    fn pick(self, bytes: Self::Codes, places: [i8; 8]) -> Self::Codes {
        from_fn(|i| if places[i % 8] < 0 { 0 } else { bytes[i / 8 * 8 + places[i % 8] as usize] })
    }

    #[inline(always)]
    fn pick_of_two(self, bytes: Self::Codes, places: [i8; 16]) -> Self::Codes {
        from_fn(|i| if places[i % 16] < 0 { 0 } else { bytes[i / 16 * 16 + places[i % 16] as usize] })
    }

    #[inline(always)]
    fn multiply_words(self, words: Self::Codes, factors: [u16; 8]) -> Self::Codes {
        from_fn(|i| {
            let word = u16::from_le_bytes([words[i / 2 * 2], words[i / 2 * 2 + 1]]);
            word.wrapping_mul(factors[i / 2 % 8]).to_le_bytes()[i % 2]
        })
    }

    #[inline(always)]
    fn look_up_two(self, table: Self::Codes, codes: Self::Codes) -> Self::Codes {
        from_fn(|i| table[i / 16 * 16 + codes[i] as usize])
    }

    #[inline(always)]
    fn digits_to_rows(self, digits: &[i8; 8]) -> Self::Codes {
        from_fn(|i| digits[i % 8] as u8)
    }

    #[inline(always)]
    fn floats_to_rows(self, values: &[f32; 2]) -> Self::Floats {
        from_fn(|lane| values[lane % 2])
    }

    #[inline(always)]
    fn row_halves(self, bytes: Self::Codes) -> (Self::Floats, Self::Floats) {
        let half = |lane: usize, at: usize| self.f16([bytes[lane / 2 * 8 + at], bytes[lane / 2 * 8 + at + 1]]);
        (from_fn(|lane| half(lane, 0)), from_fn(|lane| half(lane, 2)))
    }

    #[inline(always)]
    fn row_floats<const SIGNED: bool>(self, bytes: Self::Codes, two: usize) -> Self::Floats {
        from_fn(|lane| {
            let byte = bytes[lane / 2 * 8 + 2 * two + lane % 2];
            if SIGNED { f32::from(byte as i8) * (1 << 24) as f32 } else { f32::from(byte) }
        })
    }

    #[inline(always)]
    fn row_scales<const SIGNED: bool>(self, bytes: Self::Codes, at: usize, _code_max: usize) -> Self::Scales {
        from_fn(|lane| {
            let byte = bytes[lane / 2 * 8 + at];
            if SIGNED { i32::from(byte as i8) } else { i32::from(byte) }
        })
    }

    #[inline(always)]
    fn dot_group<const V: usize, const SIGNED: bool>(
        self,
        mut acc: Self::Ints,
        codes: [Self::Codes; V],
        x: [Self::Codes; V],
        scales: Self::Scales,
        code_max: usize,
    ) -> Self::Ints {
        for v in 0..V {
            acc = self.dot_scaled(acc, codes[v], x[v], scales, code_max);
        }
        acc
    }

    #[inline(always)]
    fn dot_rows<const P: usize>(self, codes: [Self::Codes; 4], x: [Self::Codes; 4], code_max: usize) -> Self::Ints {
        self.dot_group::<4, true>([0; LANES], codes, x, [1; LANES], code_max)
    }

    #[inline(always)]
    fn dot_bytes(self, acc: Self::Ints, codes: Self::Codes, x: Self::Codes, code_max: usize) -> Self::Ints {
        self.dot_scaled(acc, codes, x, [1; LANES], code_max)
    }

    #[inline(always)]
    fn row_sums(self, values: Self::Floats) -> [f32; 8] {
        from_fn(|row| values[2 * row] + values[2 * row + 1])
    }
}
