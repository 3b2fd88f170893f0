//! The vocabulary for eight weight rows on 64-byte registers.
//!
//! Measured on a Zen 5 beside `vpdpbusd`, which has two units: what crosses 128 bits, `vpshufb`, and broadcasts of 128 or 256
//! bits from memory take one of these units' time; broadcasts of 32 or 64 bits do not, nor do `vpunpck`, `vpshufd`, shifts and
//! logic. Hence eight rows: with four, each broadcast of activations was one of 128 bits.

use super::Token;
use crate::kernels::shared;
use crate::simd::EightRows;
use core::arch::x86_64::*;

/// `vpdpwssd`, where the compiler would make a multiplication and an addition of the intrinsic in a chain.
///
/// # Safety
/// The CPU has AVX-512 VNNI.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
pub(super) unsafe fn dpwssd(mut acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!("vpdpwssd {0}, {1}, {2}", inout(zmm_reg) acc, in(zmm_reg) a, in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    acc
}

/// Of how many vectors of codes the dots fit in 16 bits.
const fn narrow(code_max: usize) -> usize {
    i16::MAX as usize / (4 * code_max * 128)
}

// SAFETY of every block below: the token proves that the CPU has the features; loads and stores go through references to
// arrays of the right size.
impl EightRows for Token {
    // Against sums in memory on a Zen 4, with as many rows: FAST 7 rows +4 %, 8 rows 0 %, 6 rows +9 %, 4 rows +10 %, HIGH 4 rows +6 %, EXACT 3 rows 0 %.
    const REGISTER_ROWS: [usize; 3] = [7, 4, 2];
    const REGISTER_OF_ROWS: usize = 8;
    const SCALES_CODES: bool = true;

    #[inline(always)]
    fn rows(self, bytes: [&[u8; 32]; 8]) -> [Self::Codes; 4] {
        let [a, b, c, d, e, f, g, h] = bytes.map(|bytes| bytes.as_ptr().cast::<__m256i>());
        // SAFETY: the token; 32 bytes are read from each.
        unsafe {
            let ac = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(_mm256_loadu_si256(a)), _mm256_loadu_si256(c));
            let bd = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(_mm256_loadu_si256(b)), _mm256_loadu_si256(d));
            let eg = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(_mm256_loadu_si256(e)), _mm256_loadu_si256(g));
            let fh = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(_mm256_loadu_si256(f)), _mm256_loadu_si256(h));
            // Pieces 0 and 2 of the rows a and b, c and d; then 1 and 3.
            let (even, odd) = (_mm512_unpacklo_epi64(ac, bd), _mm512_unpackhi_epi64(ac, bd));
            let (even_last, odd_last) = (_mm512_unpacklo_epi64(eg, fh), _mm512_unpackhi_epi64(eg, fh));
            [
                _mm512_shuffle_i32x4::<0x88>(even, even_last),
                _mm512_shuffle_i32x4::<0x88>(odd, odd_last),
                _mm512_shuffle_i32x4::<0xdd>(even, even_last),
                _mm512_shuffle_i32x4::<0xdd>(odd, odd_last),
            ]
        }
    }

    #[inline(always)]
    fn short_rows(self, bytes: [&[u8; 16]; 8]) -> [Self::Codes; 2] {
        let [a, b, c, d, e, f, g, h] = bytes.map(|bytes| bytes.as_ptr().cast::<__m128i>());
        // SAFETY: the token; 16 bytes are read from each.
        unsafe {
            let ac = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(a)), _mm_loadu_si128(c));
            let bd = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(b)), _mm_loadu_si128(d));
            let eg = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(e)), _mm_loadu_si128(g));
            let fh = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_loadu_si128(f)), _mm_loadu_si128(h));
            let aceg = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(ac), eg);
            let bdfh = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(bd), fh);
            [_mm512_unpacklo_epi64(aceg, bdfh), _mm512_unpackhi_epi64(aceg, bdfh)]
        }
    }

    #[inline(always)]
    fn pick(self, bytes: Self::Codes, places: [i8; 8]) -> Self::Codes {
        self.pick_of_two(bytes, shared::places_of_two_rows(places))
    }

    #[inline(always)]
    fn pick_of_two(self, bytes: Self::Codes, places: [i8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe { _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(_mm_loadu_si128(places.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn multiply_words(self, words: Self::Codes, factors: [u16; 8]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe { _mm512_mullo_epi16(words, _mm512_broadcast_i32x4(_mm_loadu_si128(factors.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn look_up_two(self, table: Self::Codes, codes: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_shuffle_epi8(table, codes) }
    }

    #[inline(always)]
    fn digits_to_rows(self, digits: &[i8; 8]) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_set1_epi64(i64::from_ne_bytes(digits.map(|digit| digit as u8))) }
    }

    #[inline(always)]
    fn floats_to_rows(self, values: &[f32; 2]) -> Self::Floats {
        // SAFETY: the token; 8 bytes are read.
        unsafe { _mm512_castpd_ps(_mm512_set1_pd(values.as_ptr().cast::<f64>().read_unaligned())) }
    }

    #[inline(always)]
    fn row_halves(self, bytes: Self::Codes) -> (Self::Floats, Self::Floats) {
        // SAFETY: the token.
        unsafe {
            let both = _mm512_cvtph_ps(_mm512_cvtepi64_epi32(bytes));
            (_mm512_moveldup_ps(both), _mm512_movehdup_ps(both))
        }
    }

    #[inline(always)]
    fn row_floats<const SIGNED: bool>(self, bytes: Self::Codes, two: usize) -> Self::Floats {
        // SAFETY: the token.
        unsafe { _mm512_cvtepi32_ps(self.pick(bytes, shared::float_places(SIGNED, two))) }
    }

    #[inline(always)]
    fn row_scales<const SIGNED: bool>(self, bytes: Self::Codes, at: usize, code_max: usize) -> Self::Scales {
        let b = at as i8;
        if !SIGNED {
            return self.pick(bytes, [b, -1, -1, -1, b, -1, -1, -1]);
        }
        // SAFETY: the token.
        unsafe {
            match narrow(code_max) {
                0 => _mm512_srai_epi32::<24>(self.pick(bytes, [-1, -1, -1, b, -1, -1, -1, b])),
                // In the low halves of the lanes; the high ones are 0.
                _ => _mm512_srai_epi16::<8>(self.pick(bytes, [-1, b, -1, -1, -1, b, -1, -1])),
            }
        }
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
        let most = if narrow(code_max) == 0 { V } else { narrow(code_max) };
        let (mut acc, mut begin) = (acc, 0);
        while begin < V {
            // SAFETY: the token.
            unsafe {
                let mut dots = _mm512_setzero_si512();
                for v in begin..V.min(begin + most) {
                    dots = _mm512_dpbusd_epi32(dots, codes[v], x[v]);
                }
                acc = match narrow(code_max) {
                    0 => _mm512_add_epi32(acc, _mm512_mullo_epi32(dots, scales)),
                    // One instruction instead of two (EXACT Q3_K on a Zen 4: 12 % faster). The high halves meet zeros.
                    _ => dpwssd(acc, dots, scales),
                };
            }
            begin += most;
        }
        acc
    }

    #[inline(always)]
    fn dot_high_nibbles(
        self,
        acc: Self::Ints,
        bytes: [Self::Codes; 4],
        x: [Self::Codes; 4],
        scales: Self::Scales,
    ) -> Self::Ints {
        const { assert!(narrow(15) == 4) };
        // SAFETY: the token.
        unsafe {
            // The dots of the nibbles where they are, then one shift instead of four.
            let mut dots = _mm512_setzero_si512();
            for v in 0..4 {
                dots = _mm512_dpbusd_epi32(dots, _mm512_and_si512(bytes[v], _mm512_set1_epi8(0xf0_u8 as i8)), x[v]);
            }
            dpwssd(acc, _mm512_srai_epi32::<4>(dots), scales)
        }
    }

    #[inline(always)]
    fn dot_rows<const P: usize>(self, codes: [Self::Codes; 4], x: [Self::Codes; 4], _code_max: usize) -> Self::Ints {
        // SAFETY: the token.
        unsafe {
            if P < 3 {
                // Two chains of instructions instead of one: with HIGH Q8_0 is 6 % faster (Zen 4). With three planes 2 % slower.
                let first = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes[0], x[0]);
                let last = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes[2], x[2]);
                let first = _mm512_dpbusd_epi32(first, codes[1], x[1]);
                return _mm512_add_epi32(first, _mm512_dpbusd_epi32(last, codes[3], x[3]));
            }
            let mut dots = _mm512_setzero_si512();
            for v in 0..4 {
                dots = _mm512_dpbusd_epi32(dots, codes[v], x[v]);
            }
            dots
        }
    }

    #[inline(always)]
    fn dot_bytes(self, acc: Self::Ints, codes: Self::Codes, x: Self::Codes, _code_max: usize) -> Self::Ints {
        // SAFETY: the token.
        unsafe { _mm512_dpbusd_epi32(acc, codes, x) }
    }

    #[inline(always)]
    fn row_sums(self, values: Self::Floats) -> [f32; 8] {
        // SAFETY: the token; 8 floats are written.
        unsafe {
            let sums = _mm512_add_ps(values, _mm512_movehdup_ps(values));
            let mut out = [0.0; 8];
            let rows = _mm512_cvtepi64_epi32(_mm512_castps_si512(sums));
            _mm256_storeu_ps(out.as_mut_ptr(), _mm256_castsi256_ps(rows));
            out
        }
    }
}
