//! The vocabulary for four weight rows on pairs of 32-byte registers: rows 0 and 1 in the first, 2 and 3 in the second.

use super::{Dots, Token};
use crate::simd::FourRows;
use core::arch::x86_64::*;

/// 16 bytes twice.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn both(bytes: &[i8; 16]) -> __m256i {
    // SAFETY: the caller's promise; 16 bytes are read.
    unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast())) }
}

/// Two vectors of four lanes as one of eight.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn join(low: __m128i, high: __m128i) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high) }
}

// SAFETY of every block below: the token proves that the CPU has AVX2, FMA and F16C; loads and stores go through
// references to arrays of the right size.
impl<D: Dots> FourRows for Token<D> {
    #[inline(always)]
    fn rows(self, bytes: [&[u8; 32]; 4]) -> [Self::Codes; 2] {
        let [a, b, c, d] = bytes.map(|bytes| bytes.as_ptr().cast::<__m128i>());
        // SAFETY: the token; 2 x 16 bytes are read from 32.
        unsafe {
            let first = [_mm_loadu_si128(a), _mm_loadu_si128(b), _mm_loadu_si128(c), _mm_loadu_si128(d)];
            let (a, b, c, d) = (a.add(1), b.add(1), c.add(1), d.add(1));
            let last = [_mm_loadu_si128(a), _mm_loadu_si128(b), _mm_loadu_si128(c), _mm_loadu_si128(d)];
            [self.rows_of_groups(first), self.rows_of_groups(last)]
        }
    }

    #[inline(always)]
    fn short_rows(self, bytes: [&[u8; 16]; 4]) -> Self::Codes {
        let [a, b, c, d] = bytes.map(|bytes| bytes.as_ptr().cast::<__m128i>());
        // SAFETY: the token; 16 bytes are read from each.
        unsafe { self.rows_of_groups([_mm_loadu_si128(a), _mm_loadu_si128(b), _mm_loadu_si128(c), _mm_loadu_si128(d)]) }
    }

    #[inline(always)]
    fn rows_of_groups(self, groups: [Self::Groups; 4]) -> Self::Codes {
        let [a, b, c, d] = groups;
        // SAFETY: the token.
        unsafe { [join(a, b), join(c, d)] }
    }

    #[inline(always)]
    fn rows_of_floats(self, values: [f32; 4]) -> Self::Floats {
        let [a, b, c, d] = values;
        // SAFETY: the token.
        unsafe {
            [
                _mm256_set_m128(_mm_set1_ps(b), _mm_set1_ps(a)),
                _mm256_set_m128(_mm_set1_ps(d), _mm_set1_ps(c)),
            ]
        }
    }

    #[inline(always)]
    fn transpose(self, rows: [Self::Codes; 4]) -> [Self::Codes; 4] {
        let [a, b, c, d] = rows;
        // SAFETY: the token.
        unsafe {
            [
                [_mm256_permute2x128_si256::<0x20>(a[0], b[0]), _mm256_permute2x128_si256::<0x20>(c[0], d[0])],
                [_mm256_permute2x128_si256::<0x31>(a[0], b[0]), _mm256_permute2x128_si256::<0x31>(c[0], d[0])],
                [_mm256_permute2x128_si256::<0x20>(a[1], b[1]), _mm256_permute2x128_si256::<0x20>(c[1], d[1])],
                [_mm256_permute2x128_si256::<0x31>(a[1], b[1]), _mm256_permute2x128_si256::<0x31>(c[1], d[1])],
            ]
        }
    }

    #[inline(always)]
    fn pick(self, bytes: Self::Codes, places: [i8; 16]) -> Self::Codes {
        // SAFETY: the token.
        unsafe {
            let places = both(&places);
            [_mm256_shuffle_epi8(bytes[0], places), _mm256_shuffle_epi8(bytes[1], places)]
        }
    }

    #[inline(always)]
    fn digits_to_rows(self, digits: &[i8; 16]) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [both(digits); 2] }
    }

    #[inline(always)]
    fn floats_to_rows(self, values: &[f32; 4]) -> Self::Floats {
        // SAFETY: the token; 4 floats are read.
        unsafe {
            let four = _mm_loadu_ps(values.as_ptr());
            [_mm256_set_m128(four, four); 2]
        }
    }

    #[inline(always)]
    fn row_halves(self, bytes: Self::Codes, at: usize) -> Self::Floats {
        let b = 2 * at as i8;
        let four = self.pick(bytes, [b, b + 1, b, b + 1, b, b + 1, b, b + 1, -1, -1, -1, -1, -1, -1, -1, -1]);
        // SAFETY: the token. The first 64 bits of each half.
        unsafe {
            let (low, high) =
                (_mm256_permute4x64_epi64::<0b10_00>(four[0]), _mm256_permute4x64_epi64::<0b10_00>(four[1]));
            [_mm256_cvtph_ps(_mm256_castsi256_si128(low)), _mm256_cvtph_ps(_mm256_castsi256_si128(high))]
        }
    }

    #[inline(always)]
    fn row_floats(self, bytes: Self::Codes, four: usize) -> Self::Floats {
        let b = 4 * four as i8;
        let top = self.pick(bytes, [-1, -1, -1, b, -1, -1, -1, b + 1, -1, -1, -1, b + 2, -1, -1, -1, b + 3]);
        // SAFETY: the token.
        unsafe { [_mm256_cvtepi32_ps(top[0]), _mm256_cvtepi32_ps(top[1])] }
    }

    #[inline(always)]
    fn row_scales(self, bytes: Self::Codes, at: usize) -> Self::Scales {
        // All scales as words first, which the compiler does once for all of them.
        // SAFETY: the token.
        let words = unsafe {
            let [a, b] = bytes;
            let (a, b) = if at < 8 {
                (_mm256_unpacklo_epi8(a, a), _mm256_unpacklo_epi8(b, b))
            } else {
                (_mm256_unpackhi_epi8(a, a), _mm256_unpackhi_epi8(b, b))
            };
            [_mm256_srai_epi16::<8>(a), _mm256_srai_epi16::<8>(b)]
        };
        let b = 2 * (at % 8) as i8;
        self.pick(words, [b, b + 1, b, b + 1, b, b + 1, b, b + 1, b, b + 1, b, b + 1, b, b + 1, b, b + 1])
    }

    #[inline(always)]
    fn dot_group<const V: usize>(
        self,
        acc: Self::Ints,
        codes: [Self::Codes; V],
        x: [Self::Codes; V],
        scales: Self::Scales,
        code_max: usize,
    ) -> Self::Ints {
        // `V` is 1 or 2.
        let first = |half: usize| ([codes[0][half]], [x[0][half]]);
        let two = |half: usize| ([codes[0][half], codes[V - 1][half]], [x[0][half], x[V - 1][half]]);
        let mut sums = acc;
        for half in 0..2 {
            sums[half] = if V == 1 {
                let (codes, x) = first(half);
                self.0.add_group(acc[half], codes, x, scales[half], code_max)
            } else {
                let (codes, x) = two(half);
                self.0.add_group(acc[half], codes, x, scales[half], code_max)
            };
        }
        sums
    }

    #[inline(always)]
    fn row_sums(self, values: Self::Floats) -> [f32; 4] {
        // SAFETY: the token.
        unsafe {
            let mut sums = [0.0; 4];
            for half in 0..2 {
                let four = values[half];
                let two = _mm256_add_ps(four, _mm256_shuffle_ps::<0b01_00_11_10>(four, four));
                let one = _mm256_add_ps(two, _mm256_shuffle_ps::<0b10_11_00_01>(two, two));
                sums[2 * half] = _mm_cvtss_f32(_mm256_castps256_ps128(one));
                sums[2 * half + 1] = _mm_cvtss_f32(_mm256_extractf128_ps::<1>(one));
            }
            sums
        }
    }
}
