//! The vocabulary for eight weight rows on pairs of 32-byte registers: rows 0 to 3 in the first, 4 to 7 in the second.

use super::{Dots, Token, registers};
use crate::kernels::shared;
use crate::simd::EightRows;
use core::arch::x86_64::*;

/// 8 bytes at a time from 32 of each of four rows.
///
/// # Safety
/// The CPU has AVX2; 32 bytes are read from each.
#[inline(always)]
unsafe fn four_rows(bytes: [*const u8; 4]) -> [__m256i; 4] {
    // SAFETY: the caller's promise.
    unsafe {
        let [a, b, c, d] = bytes.map(|bytes| bytes.cast::<__m128i>());
        let ac = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(a)), _mm_loadu_si128(c));
        let bd = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(b)), _mm_loadu_si128(d));
        let (a, b, c, d) = (a.add(1), b.add(1), c.add(1), d.add(1));
        let ac_last = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(a)), _mm_loadu_si128(c));
        let bd_last = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(b)), _mm_loadu_si128(d));
        [
            _mm256_unpacklo_epi64(ac, bd),
            _mm256_unpackhi_epi64(ac, bd),
            _mm256_unpacklo_epi64(ac_last, bd_last),
            _mm256_unpackhi_epi64(ac_last, bd_last),
        ]
    }
}

/// 8 bytes at a time from 16 of each of four rows.
///
/// # Safety
/// The CPU has AVX2; 16 bytes are read from each.
#[inline(always)]
unsafe fn four_short_rows(bytes: [*const u8; 4]) -> [__m256i; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let [a, b, c, d] = bytes.map(|bytes| bytes.cast::<__m128i>());
        let ac = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(a)), _mm_loadu_si128(c));
        let bd = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(b)), _mm_loadu_si128(d));
        [_mm256_unpacklo_epi64(ac, bd), _mm256_unpackhi_epi64(ac, bd)]
    }
}

/// The two halves with which each of four rows begins, to both of the row's lanes.
///
/// # Safety
/// The CPU has AVX2 and F16C.
#[inline(always)]
unsafe fn four_halves(bytes: __m256i) -> (__m256, __m256) {
    // SAFETY: the caller's promise.
    unsafe {
        let words = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
        let both = _mm256_cvtph_ps(_mm256_castsi256_si128(words));
        (_mm256_moveldup_ps(both), _mm256_movehdup_ps(both))
    }
}

// SAFETY of every block below: the token proves that the CPU has AVX2, FMA and F16C; loads and stores go through
// references to arrays of the right size.
impl<D: Dots> EightRows for Token<D> {
    // Of four weight rows. Against sums in memory, of eight, Q4_K on a Zen 4: FAST 3 and 4 rows +14, +7 %, HIGH +20, +8 %, EXACT 2 rows
    // +14 %.
    const REGISTER_ROWS: [usize; 3] = [4, 4, 2];
    const REGISTER_OF_ROWS: usize = 4;
    // As many multiplications of scales as before, by one.
    const SCALES_CODES: bool = false;

    #[inline(always)]
    fn rows(self, bytes: [&[u8; 32]; 8]) -> [Self::Codes; 4] {
        let [a, b, c, d, e, f, g, h] = bytes.map(|bytes| bytes.as_ptr());
        // SAFETY: the token; 32 bytes are read from each.
        unsafe {
            let (low, high) = (four_rows([a, b, c, d]), four_rows([e, f, g, h]));
            [[low[0], high[0]], [low[1], high[1]], [low[2], high[2]], [low[3], high[3]]]
        }
    }

    #[inline(always)]
    fn short_rows(self, bytes: [&[u8; 16]; 8]) -> [Self::Codes; 2] {
        let [a, b, c, d, e, f, g, h] = bytes.map(|bytes| bytes.as_ptr());
        // SAFETY: the token; 16 bytes are read from each.
        unsafe {
            let (low, high) = (four_short_rows([a, b, c, d]), four_short_rows([e, f, g, h]));
            [[low[0], high[0]], [low[1], high[1]]]
        }
    }

    #[inline(always)]
    fn pick(self, bytes: Self::Codes, places: [i8; 8]) -> Self::Codes {
        self.pick_of_two(bytes, shared::places_of_two_rows(places))
    }

    #[inline(always)]
    fn pick_of_two(self, bytes: Self::Codes, places: [i8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe {
            let places = _mm256_broadcastsi128_si256(_mm_loadu_si128(places.as_ptr().cast()));
            [_mm256_shuffle_epi8(bytes[0], places), _mm256_shuffle_epi8(bytes[1], places)]
        }
    }

    #[inline(always)]
    fn multiply_words(self, words: Self::Codes, factors: [u16; 8]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe {
            let factors = _mm256_broadcastsi128_si256(_mm_loadu_si128(factors.as_ptr().cast()));
            [_mm256_mullo_epi16(words[0], factors), _mm256_mullo_epi16(words[1], factors)]
        }
    }

    #[inline(always)]
    fn look_up_two(self, table: Self::Codes, codes: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [_mm256_shuffle_epi8(table[0], codes[0]), _mm256_shuffle_epi8(table[1], codes[1])] }
    }

    #[inline(always)]
    fn digits_to_rows(self, digits: &[i8; 8]) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [_mm256_set1_epi64x(i64::from_ne_bytes(digits.map(|digit| digit as u8))); 2] }
    }

    #[inline(always)]
    fn floats_to_rows(self, values: &[f32; 2]) -> Self::Floats {
        // SAFETY: the token; 8 bytes are read.
        unsafe { [_mm256_castpd_ps(_mm256_set1_pd(values.as_ptr().cast::<f64>().read_unaligned())); 2] }
    }

    #[inline(always)]
    fn row_halves(self, bytes: Self::Codes) -> (Self::Floats, Self::Floats) {
        // SAFETY: the token.
        unsafe {
            let (low, high) = (four_halves(bytes[0]), four_halves(bytes[1]));
            ([low.0, high.0], [low.1, high.1])
        }
    }

    #[inline(always)]
    fn row_floats<const SIGNED: bool>(self, bytes: Self::Codes, two: usize) -> Self::Floats {
        let lanes = self.pick(bytes, shared::float_places(SIGNED, two));
        // SAFETY: the token.
        unsafe { [_mm256_cvtepi32_ps(lanes[0]), _mm256_cvtepi32_ps(lanes[1])] }
    }

    #[inline(always)]
    fn row_scales<const SIGNED: bool>(self, bytes: Self::Codes, at: usize, _code_max: usize) -> Self::Scales {
        // In both halves of a lane, as pairs of products are multiplied by it.
        let b = at as i8;
        if !SIGNED {
            return self.pick(bytes, [b, -1, b, -1, b, -1, b, -1]);
        }
        let top = self.pick(bytes, [-1, b, -1, b, -1, b, -1, b]);
        // SAFETY: the token.
        unsafe { [_mm256_srai_epi16::<8>(top[0]), _mm256_srai_epi16::<8>(top[1])] }
    }

    #[inline(always)]
    fn dot_group<const V: usize, const SIGNED: bool>(
        self,
        acc: Self::Ints,
        codes: [Self::Codes; V],
        x: [Self::Codes; V],
        scales: Self::Scales,
        code_max: usize,
    ) -> Self::Ints {
        let mut sums = acc;
        for half in 0..2 {
            let (mut of_codes, mut of_x) = ([codes[0][half]; V], [x[0][half]; V]);
            for v in 1..V {
                (of_codes[v], of_x[v]) = (codes[v][half], x[v][half]);
            }
            sums[half] = self.0.add_group(acc[half], of_codes, of_x, scales[half], code_max);
        }
        sums
    }

    #[inline(always)]
    fn dot_rows<const P: usize>(self, codes: [Self::Codes; 4], x: [Self::Codes; 4], code_max: usize) -> Self::Ints {
        // SAFETY: the token.
        let (zero, one) = unsafe { (_mm256_setzero_si256(), _mm256_set1_epi16(1)) };
        self.dot_group::<4, true>([zero; 2], codes, x, [one; 2], code_max)
    }

    #[inline(always)]
    fn dot_bytes(self, acc: Self::Ints, codes: Self::Codes, x: Self::Codes, code_max: usize) -> Self::Ints {
        // SAFETY: the token.
        let one = unsafe { _mm256_set1_epi16(1) };
        [
            self.0.add_scaled(acc[0], codes[0], x[0], one, code_max),
            self.0.add_scaled(acc[1], codes[1], x[1], one, code_max),
        ]
    }

    #[inline(always)]
    fn together(self, ints: Self::Ints) -> Self::Ints {
        // SAFETY: the token.
        unsafe { registers::together(ints) }
    }

    #[inline(always)]
    fn row_sums(self, values: Self::Floats) -> [f32; 8] {
        // SAFETY: the token; 4 floats are written to each half of an array of 8.
        unsafe {
            let mut out = [0.0; 8];
            for half in 0..2 {
                let sums = _mm256_add_ps(values[half], _mm256_movehdup_ps(values[half]));
                let rows = _mm256_permutevar8x32_ps(sums, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
                _mm_storeu_ps(out.as_mut_ptr().add(4 * half), _mm256_castps256_ps128(rows));
            }
            out
        }
    }
}
