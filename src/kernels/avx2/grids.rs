//! AVX2: grids, indices and signs. Knows no block type and no algorithm.

use super::registers::{apart, even_signs, four_factors, load_small, spread_bits, two_words};
use super::{Dots, Token};
use crate::simd::{GRID, Grids, Lookups, QUARTERS, ShortGrid, Simd};
use core::arch::x86_64::*;

// SAFETY of every block below: the token proves that the CPU has the features; loads and stores go through references to
// arrays of the right size unless a comment says otherwise.
impl<D: Dots> Grids for Token<D> {
    const REGISTER_GRIDS: bool = false;

    type Words = [__m256i; 2];

    #[inline(always)]
    fn wide(self, bytes: &[u8; 32]) -> Self::Words {
        // SAFETY: the token; 2 x 16 bytes are read from an array of 32.
        unsafe {
            let low = bytes.as_ptr().cast::<__m128i>();
            [_mm256_cvtepu8_epi16(_mm_loadu_si128(low)), _mm256_cvtepu8_epi16(_mm_loadu_si128(low.add(1)))]
        }
    }

    #[inline(always)]
    fn wide_first_fours(self, eights: &[[u8; 8]; 8]) -> Self::Words {
        // SAFETY: the token; 4 x 16 bytes are read from an array of 64.
        unsafe {
            let pairs = eights.as_ptr().cast::<__m128i>();
            let firsts = |pair: usize| {
                let (a, b) = (_mm_loadu_si128(pairs.add(pair)), _mm_loadu_si128(pairs.add(pair + 1)));
                _mm_castps_si128(_mm_shuffle_ps::<0x88>(_mm_castsi128_ps(a), _mm_castsi128_ps(b)))
            };
            [_mm256_cvtepu8_epi16(firsts(0)), _mm256_cvtepu8_epi16(firsts(2))]
        }
    }

    #[inline(always)]
    fn load_words(self, words: &[[u8; 2]; 32]) -> Self::Words {
        // SAFETY: the token; 2 x 32 bytes are read from an array of 64.
        unsafe {
            let low = words.as_ptr().cast::<__m256i>();
            [_mm256_loadu_si256(low), _mm256_loadu_si256(low.add(1))]
        }
    }

    #[inline(always)]
    fn with_fields<const B: usize>(
        self,
        words: Self::Words,
        source: &[u8; B],
        places: &[[u8; 2]; 32],
        factors: [u16; 4],
        mask: u16,
    ) -> Self::Words {
        let [low, high] = self.load_words(places);
        // SAFETY: the token; B bytes are read.
        unsafe {
            let source = _mm256_broadcastsi128_si256(load_small(source));
            let (factors, mask) = (_mm256_set1_epi64x(four_factors(factors)), _mm256_set1_epi16(mask as i16));
            let with = |words: __m256i, places: __m256i| {
                let fields = _mm256_mullo_epi16(_mm256_shuffle_epi8(source, places), factors);
                _mm256_or_si256(words, _mm256_and_si256(fields, mask))
            };
            [with(words[0], low), with(words[1], high)]
        }
    }

    #[inline(always)]
    fn store_indices(self, words: Self::Words, out: &mut Lookups) {
        // SAFETY: the token; the words are cut to below the grid's size; 2 x 32 bytes are written to an array of 64.
        unsafe {
            let most = _mm256_set1_epi16(GRID as i16 - 1);
            let low = out.indices_mut().as_mut_ptr().cast::<__m256i>();
            _mm256_storeu_si256(low, _mm256_and_si256(words[0], most));
            _mm256_storeu_si256(low.add(1), _mm256_and_si256(words[1], most));
        }
    }

    #[inline(always)]
    fn store_signed_indices<const N: usize>(
        self,
        low: &[u8; 64],
        high: &[u8; 8],
        negative: &[[u8; 8]; QUARTERS],
        out: &mut Lookups,
    ) {
        const { assert!(N == 256 || N == 512) };
        // SAFETY: the token; 4 x 16 bytes are read from `low`, 32 from `negative`; 4 x 32 bytes are written to an array of
        // 128, of words of 8 + 1 + 4 bits.
        unsafe {
            let low = low.as_ptr().cast::<__m128i>();
            let two = |a: usize, b: usize| _mm256_set_m128i(_mm_loadu_si128(low.add(b)), _mm_loadu_si128(low.add(a)));
            // The signs of points 0, 2, .. and 1, 3, .., with 512 points moved beside the bit of `high`.
            let signs = _mm256_loadu_si256(negative.as_ptr().cast());
            let (moved, mask) = if N == 512 { (_mm256_add_epi8(signs, signs), 0x1e) } else { (signs, 0x0f) };
            let mask = _mm256_set1_epi8(mask);
            let even = _mm256_and_si256(moved, mask);
            let odd = _mm256_srli_epi16::<4>(signs);
            let odd = _mm256_and_si256(if N == 512 { _mm256_add_epi8(odd, odd) } else { odd }, mask);
            // Byte i of a half gets the byte of `high` that holds its bit, which becomes 1.
            let high = _mm256_set1_epi64x(i64::from_le_bytes(*high));
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let ninth = |places: __m256i| {
                let set = _mm256_and_si256(_mm256_shuffle_epi8(high, places), bit);
                if N == 512 { _mm256_min_epu8(set, _mm256_set1_epi8(1)) } else { _mm256_setzero_si256() }
            };
            const ONES: i64 = 0x0101_0101_0101_0101;
            let places = _mm256_setr_epi64x(0, ONES, 4 * ONES, 5 * ONES);
            let first = _mm256_or_si256(_mm256_unpacklo_epi8(even, odd), ninth(places));
            let second =
                _mm256_or_si256(_mm256_unpackhi_epi8(even, odd), ninth(_mm256_add_epi8(places, _mm256_set1_epi8(2))));
            let out = out.signed_mut().as_mut_ptr().cast::<__m256i>();
            let (a, b) = (two(0, 2), two(1, 3));
            _mm256_storeu_si256(out, _mm256_unpacklo_epi8(a, first));
            _mm256_storeu_si256(out.add(1), _mm256_unpackhi_epi8(a, first));
            _mm256_storeu_si256(out.add(2), _mm256_unpacklo_epi8(b, second));
            _mm256_storeu_si256(out.add(3), _mm256_unpackhi_epi8(b, second));
        }
    }

    #[inline(always)]
    fn points(self, grid: &[u64; GRID], lookups: &Lookups, quarter: usize) -> Self::Codes {
        let indices = lookups.indices();
        // SAFETY: the token; all indices are below the grid's size.
        unsafe {
            let point = |i: usize| grid.get_unchecked(usize::from(indices[8 * quarter + i]));
            [
                _mm256_set_m128i(two_words(point(2), point(3)), two_words(point(0), point(1))),
                _mm256_set_m128i(two_words(point(6), point(7)), two_words(point(4), point(5))),
            ]
        }
    }

    #[inline(always)]
    fn short_codes<const N: usize>(
        self,
        grid: &ShortGrid<N>,
        _: &[u8; 64],
        _: &[u8; 8],
        _: &[[u8; 8]; QUARTERS],
        _: usize,
        lookups: &Lookups,
        quarter: usize,
    ) -> Self::Codes {
        // Measured with IQ3_XXS at the AVX2 level of a Zen 5 (G weights/s), where loads are what runs short: an index at a time
        // 13.8, four in a word 14.7. To bring four points together: inserts and blends in turns 13.2, all in vectors by unpacking 13.7,
        // half of them in a general register 13.8, all of them there 11.9; gathered by `vpgatherdd` 10.1; copied one by one into memory
        // ahead of their use 6.7.
        let (indices, points) = (lookups.signed().as_ptr(), grid.signed.as_ptr());
        // SAFETY: the token; `place_of` is below 64, and four from a multiple of four on lie behind each other; all indices are
        // below the number of points, and a load of 16 bytes ends within the grid, as `after` follows the points.
        let four = |i: usize| unsafe {
            let four = indices.add(place_of(16 * quarter + i)).cast::<u64>().read_unaligned();
            let point = |i: u32| points.add((four >> (16 * i)) as usize & 0xffff);
            let first = _mm_unpacklo_epi32(_mm_cvtsi32_si128(*point(0) as i32), _mm_loadu_si128(point(1).cast()));
            let second = u64::from(*point(2)) | u64::from(*point(3)) << 32;
            _mm_unpacklo_epi64(first, _mm_cvtsi64_si128(second as i64))
        };
        // SAFETY: the token.
        unsafe { [_mm256_set_m128i(four(4), four(0)), _mm256_set_m128i(four(12), four(8))] }
    }

    #[inline(always)]
    fn mask_words(self, words: Self::Words, mask: u16) -> Self::Words {
        // SAFETY: the token.
        unsafe {
            let mask = _mm256_set1_epi16(mask as i16);
            [_mm256_and_si256(words[0], mask), _mm256_and_si256(words[1], mask)]
        }
    }

    #[inline(always)]
    fn add_where_clear(
        self,
        codes: Self::Codes,
        words: Self::Words,
        bit: u16,
        quarter: usize,
        value: u8,
    ) -> Self::Codes {
        // SAFETY: the token.
        unsafe {
            let clear = |words: __m256i| {
                let bit = _mm256_set1_epi16(bit as i16);
                _mm256_cmpeq_epi16(_mm256_and_si256(words, bit), _mm256_setzero_si256())
            };
            let (half, value) = (clear(words[quarter / 2]), _mm256_set1_epi8(value as i8));
            let eight = if quarter.is_multiple_of(2) {
                _mm256_castsi256_si128(half)
            } else {
                _mm256_extracti128_si256::<1>(half)
            };
            let (low, high) = (_mm256_cvtepi16_epi64(eight), _mm256_cvtepi16_epi64(_mm_unpackhi_epi64(eight, eight)));
            [
                _mm256_add_epi8(codes[0], _mm256_and_si256(low, value)),
                _mm256_add_epi8(codes[1], _mm256_and_si256(high, value)),
            ]
        }
    }

    #[inline(always)]
    fn top_nibbles_of_twos(self, words: &[[u8; 2]; 8]) -> u64 {
        // SAFETY: the token; 16 bytes are read.
        unsafe {
            let nibbles = _mm_srli_epi16::<12>(_mm_loadu_si128(words.as_ptr().cast()));
            _mm_cvtsi128_si64(_mm_packus_epi16(nibbles, nibbles)) as u64
        }
    }

    #[inline(always)]
    fn top_nibbles_of_fours(self, words: &[[u8; 4]; 8]) -> u64 {
        // SAFETY: the token; 2 x 16 bytes are read from an array of 32.
        unsafe {
            let low = words.as_ptr().cast::<__m128i>();
            let nibbles = |four: *const __m128i| _mm_srli_epi32::<28>(_mm_loadu_si128(four));
            let nibbles = _mm_packus_epi32(nibbles(low), nibbles(low.add(1)));
            _mm_cvtsi128_si64(_mm_packus_epi16(nibbles, nibbles)) as u64
        }
    }

    #[inline(always)]
    fn top_nibbles_of_eights(self, words: &[[u8; 8]; 8]) -> u64 {
        // SAFETY: the token; 2 x 32 bytes are read from an array of 64.
        unsafe {
            let low = words.as_ptr().cast::<f32>();
            let seconds = _mm256_shuffle_ps::<0xdd>(_mm256_loadu_ps(low), _mm256_loadu_ps(low.add(8)));
            let nibbles = _mm256_srli_epi32::<28>(_mm256_permute4x64_epi64::<0xd8>(_mm256_castps_si256(seconds)));
            let nibbles = _mm_packus_epi32(_mm256_castsi256_si128(nibbles), _mm256_extracti128_si256::<1>(nibbles));
            _mm_cvtsi128_si64(_mm_packus_epi16(nibbles, nibbles)) as u64
        }
    }

    #[inline(always)]
    fn even_signs_of_words(self, words: &[[u8; 2]; 32]) -> [[u8; 8]; QUARTERS] {
        let [low, high] = self.load_words(words);
        // SAFETY: the token.
        unsafe {
            let sevens = _mm256_packus_epi16(_mm256_srli_epi16::<9>(low), _mm256_srli_epi16::<9>(high));
            even_signs(_mm256_permute4x64_epi64::<0xd8>(sevens))
        }
    }

    #[inline(always)]
    fn even_signs_of_fours(self, words: &[[u8; 4]; 8]) -> [[u8; 8]; QUARTERS] {
        // SAFETY: the token; 32 bytes are read.
        unsafe { even_signs(apart(_mm256_loadu_si256(words.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn even_signs_of_eights(self, eights: &[[u8; 8]; 8]) -> [[u8; 8]; QUARTERS] {
        // SAFETY: the token; 2 x 32 bytes are read from an array of 64.
        unsafe {
            let low = eights.as_ptr().cast::<f32>();
            let seconds = _mm256_shuffle_ps::<0xdd>(_mm256_loadu_ps(low), _mm256_loadu_ps(low.add(8)));
            even_signs(apart(_mm256_permute4x64_epi64::<0xd8>(_mm256_castps_si256(seconds))))
        }
    }

    #[inline(always)]
    fn mirrored(self, codes: Self::Codes, negative: &[u8; 8], code_max: usize) -> Self::Codes {
        // SAFETY: the token.
        let negative = unsafe { spread_bits(negative) };
        // The negative of a number is its complement + 1.
        self.add(self.xor(codes, negative), self.and(negative, self.splat_codes(code_max as u8 + 1)))
    }
}

/// Where `store_signed_indices` puts point `i`: its unpacking takes the first halves of two times 16 points, then the second
/// ones.
#[inline(always)]
const fn place_of(i: usize) -> usize {
    i % 32 / 8 * 16 + i / 32 * 8 + i % 8
}
