//! The vocabulary for four weight rows, in plain Rust.

use super::Token;
use crate::simd::{FourRows, Simd};
use std::array::from_fn;

impl FourRows for Token {
    #[inline(always)]
    fn rows(self, bytes: [&[u8; 32]; 4]) -> [Self::Codes; 2] {
        from_fn(|half| from_fn(|i| bytes[i / 16][16 * half + i % 16]))
    }

    #[inline(always)]
    fn short_rows(self, bytes: [&[u8; 16]; 4]) -> Self::Codes {
        from_fn(|i| bytes[i / 16][i % 16])
    }

    #[inline(always)]
    fn rows_of_groups(self, groups: [Self::Groups; 4]) -> Self::Codes {
        from_fn(|i| groups[i / 16][i % 16] as u8)
    }

    #[inline(always)]
    fn rows_of_floats(self, values: [f32; 4]) -> Self::Floats {
        from_fn(|lane| values[lane / 4])
    }

    #[inline(always)]
    fn transpose(self, rows: [Self::Codes; 4]) -> [Self::Codes; 4] {
        from_fn(|v| from_fn(|i| rows[i / 16][16 * v + i % 16]))
    }

    #[inline(always)]
    fn pick(self, bytes: Self::Codes, places: [i8; 16]) -> Self::Codes {
        from_fn(|i| if places[i % 16] < 0 { 0 } else { bytes[i / 16 * 16 + places[i % 16] as usize] })
    }

    #[inline(always)]
    fn digits_to_rows(self, digits: &[i8; 16]) -> Self::Codes {
        from_fn(|i| digits[i % 16] as u8)
    }

    #[inline(always)]
    fn floats_to_rows(self, values: &[f32; 4]) -> Self::Floats {
        from_fn(|lane| values[lane % 4])
    }

    #[inline(always)]
    fn row_halves(self, bytes: Self::Codes, at: usize) -> Self::Floats {
        from_fn(|lane| {
            let first = lane / 4 * 16 + 2 * at;
            self.f16([bytes[first], bytes[first + 1]])
        })
    }

    #[inline(always)]
    fn row_floats(self, bytes: Self::Codes, four: usize) -> Self::Floats {
        from_fn(|lane| f32::from(bytes[lane / 4 * 16 + 4 * four + lane % 4] as i8) * (1 << 24) as f32)
    }

    #[inline(always)]
    fn row_scales(self, bytes: Self::Codes, at: usize) -> Self::Scales {
        from_fn(|lane| i32::from(bytes[lane / 4 * 16 + at] as i8))
    }

    #[inline(always)]
    fn dot_group<const V: usize>(
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
    fn row_sums(self, values: Self::Floats) -> [f32; 4] {
        from_fn(|row| (values[4 * row] + values[4 * row + 2]) + (values[4 * row + 1] + values[4 * row + 3]))
    }
}
