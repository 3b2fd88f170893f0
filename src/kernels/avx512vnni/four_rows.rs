//! The vocabulary for four weight rows on 64-byte registers.

use super::Token;
use crate::simd::FourRows;
use core::arch::x86_64::*;

// SAFETY of every block below: the token proves that the CPU has the features; loads and stores go through references to
// arrays of the right size.
impl FourRows for Token {
    #[inline(always)]
    fn rows(self, bytes: [&[u8; 32]; 4]) -> [Self::Codes; 2] {
        // SAFETY: the token; 32 bytes are read from each.
        unsafe {
            let [a, b, c, d] = bytes.map(|bytes| bytes.as_ptr().cast::<__m256i>());
            let [a, b, c, d] = [_mm256_loadu_si256(a), _mm256_loadu_si256(b), _mm256_loadu_si256(c), _mm256_loadu_si256(d)];
            let low = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b);
            let high = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(c), d);
            [_mm512_shuffle_i32x4::<0x88>(low, high), _mm512_shuffle_i32x4::<0xdd>(low, high)]
        }
    }

    #[inline(always)]
    fn short_rows(self, bytes: [&[u8; 16]; 4]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read from each.
        unsafe {
            let [a, b, c, d] = bytes.map(|bytes| bytes.as_ptr().cast::<__m128i>());
            self.rows_of_groups([_mm_loadu_si128(a), _mm_loadu_si128(b), _mm_loadu_si128(c), _mm_loadu_si128(d)])
        }
    }

    #[inline(always)]
    fn rows_of_groups(self, groups: [Self::Groups; 4]) -> Self::Codes {
        let [a, b, c, d] = groups;
        // SAFETY: the token.
        unsafe {
            let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b);
            let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(c), d);
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }

    #[inline(always)]
    fn rows_of_floats(self, values: [f32; 4]) -> Self::Floats {
        let [a, b, c, d] = values;
        // SAFETY: the token.
        unsafe {
            let each = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
            _mm512_permutexvar_ps(each, _mm512_castps128_ps512(_mm_setr_ps(a, b, c, d)))
        }
    }

    #[inline(always)]
    fn transpose(self, rows: [Self::Codes; 4]) -> [Self::Codes; 4] {
        let [a, b, c, d] = rows;
        // SAFETY: the token.
        unsafe {
            let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
            let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
            [
                _mm512_shuffle_i32x4::<0x88>(ab_even, cd_even),
                _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd),
                _mm512_shuffle_i32x4::<0xdd>(ab_even, cd_even),
                _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd),
            ]
        }
    }

    #[inline(always)]
    fn pick(self, bytes: Self::Codes, places: [i8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe {
            let places = _mm512_broadcast_i32x4(_mm_loadu_si128(places.as_ptr().cast()));
            _mm512_shuffle_epi8(bytes, places)
        }
    }

    #[inline(always)]
    fn digits_to_rows(self, digits: &[i8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(digits.as_ptr().cast())) }
    }

    #[inline(always)]
    fn floats_to_rows(self, values: &[f32; 4]) -> Self::Floats {
        // SAFETY: the token; 4 floats are read.
        unsafe { _mm512_broadcast_f32x4(_mm_loadu_ps(values.as_ptr())) }
    }

    #[inline(always)]
    fn row_halves(self, bytes: Self::Codes, at: usize) -> Self::Floats {
        // SAFETY: the token.
        unsafe {
            let at = _mm256_set1_epi16(at as i16);
            let rows = _mm256_setr_epi16(0, 0, 0, 0, 8, 8, 8, 8, 16, 16, 16, 16, 24, 24, 24, 24);
            let places = _mm512_castsi256_si512(_mm256_add_epi16(rows, at));
            _mm512_cvtph_ps(_mm512_castsi512_si256(_mm512_permutexvar_epi16(places, bytes)))
        }
    }

    #[inline(always)]
    fn row_floats(self, bytes: Self::Codes, four: usize) -> Self::Floats {
        let b = 4 * four as i8;
        let top = self.pick(bytes, [-1, -1, -1, b, -1, -1, -1, b + 1, -1, -1, -1, b + 2, -1, -1, -1, b + 3]);
        // SAFETY: the token.
        unsafe { _mm512_cvtepi32_ps(top) }
    }

    #[inline(always)]
    fn row_scales(self, bytes: Self::Codes, at: usize) -> Self::Scales {
        // SAFETY: the token.
        unsafe {
            // All scales as words first, which the compiler does once for all of them.
            let twice =
                if at < 8 { _mm512_unpacklo_epi8(bytes, bytes) } else { _mm512_unpackhi_epi8(bytes, bytes) };
            let words = _mm512_srai_epi16::<8>(twice);
            // Low halves of the lanes, zero in the high ones: see `Simd::dot_scaled`.
            let b = 2 * (at % 8) as i8;
            self.pick(words, [b, b + 1, -1, -1, b, b + 1, -1, -1, b, b + 1, -1, -1, b, b + 1, -1, -1])
        }
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
        // SAFETY: the token.
        unsafe {
            if V * 4 * code_max * 128 <= i16::MAX as usize {
                let mut dots = _mm512_setzero_si512();
                for v in 0..V {
                    dots = _mm512_dpbusd_epi32(dots, codes[v], x[v]);
                }
                // As in `dot_scaled`.
                return _mm512_dpwssd_epi32(acc, dots, scales);
            }
            let scales = _mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(scales));
            let mut dots = _mm512_setzero_si512();
            for v in 0..V {
                dots = _mm512_dpbusd_epi32(dots, codes[v], x[v]);
            }
            acc = _mm512_add_epi32(acc, _mm512_mullo_epi32(dots, scales));
            acc
        }
    }

    #[inline(always)]
    fn row_sums(self, values: Self::Floats) -> [f32; 4] {
        // SAFETY: the token.
        unsafe {
            let two = _mm512_add_ps(values, _mm512_shuffle_ps::<0b01_00_11_10>(values, values));
            let one = _mm512_add_ps(two, _mm512_shuffle_ps::<0b10_11_00_01>(two, two));
            let rows = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12), one);
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), _mm512_castps512_ps128(rows));
            sums
        }
    }
}
