//! AVX2: grids, indices and signs. Knows no block type and no algorithm.

use super::registers::{apart, even_signs, four_factors, load_small, spread_bits, two_words};
use super::{Dots, Token};
use crate::simd::{GRID, Grids, Lookups, QUARTERS, ShortGrid, Simd};
use core::arch::x86_64::*;

// SAFETY of every block below: the token proves that the CPU has the features; loads and stores go through references to
// arrays of the right size unless a comment says otherwise.
impl<D: Dots> Grids for Token<D> {
    const REGISTER_GRIDS: bool = false;

    type Codes = [__m256i; 2];
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
    fn with_bits(self, words: Self::Words, bits: &[u8; 4], value: u16) -> Self::Words {
        // SAFETY: the token.
        unsafe {
            let each = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
            let value = _mm256_set1_epi16(value as i16);
            let with = |words: __m256i, bits: [u8; 2]| {
                let set = _mm256_and_si256(_mm256_set1_epi16(i16::from_le_bytes(bits)), each);
                _mm256_or_si256(words, _mm256_and_si256(_mm256_cmpeq_epi16(set, each), value))
            };
            let [a, b, c, d] = *bits;
            [with(words[0], [a, b]), with(words[1], [c, d])]
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
    fn store_indices(self, words: Self::Words, half: usize, out: &mut Lookups) {
        // SAFETY: the token; the words are cut to below the grid's size; 2 x 32 bytes are written to half of an array of 128.
        unsafe {
            let most = _mm256_set1_epi16(GRID as i16 - 1);
            let low = out.indices_mut().as_mut_ptr().add(32 * half).cast::<__m256i>();
            _mm256_storeu_si256(low, _mm256_and_si256(words[0], most));
            _mm256_storeu_si256(low.add(1), _mm256_and_si256(words[1], most));
        }
    }

    #[inline(always)]
    fn store_short_indices(self, words: Self::Words, high: &[u8; 4], half: usize, out: &mut Lookups) {
        let words = self.with_bits(words, high, 256);
        // SAFETY: the token.
        let twice = unsafe { [_mm256_add_epi16(words[0], words[0]), _mm256_add_epi16(words[1], words[1])] };
        self.store_indices(twice, half, out);
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
    fn short_points<const N: usize>(
        self,
        grid: &ShortGrid<N>,
        _: Self::Words,
        _: &[u8; 4],
        lookups: &Lookups,
        quarter: usize,
    ) -> Self::Codes {
        let indices = lookups.indices();
        // SAFETY: the token; all indices are below the grid's size, in units of half a point.
        unsafe {
            // A point lies there four times, so that a blend with memory puts it into any place: no faster and
            // no slower than inserts, measured on a Zen 5.
            let four = |i: usize| {
                let point = |j: usize| {
                    let index = usize::from(indices[16 * quarter + 4 * i + j]);
                    _mm_loadu_si128(grid.points.as_ptr().cast::<u64>().add(index).cast())
                };
                let low = _mm_blend_epi32::<0b0010>(point(0), point(1));
                _mm_blend_epi32::<0b1000>(_mm_blend_epi32::<0b0100>(low, point(2)), point(3))
            };
            [_mm256_set_m128i(four(1), four(0)), _mm256_set_m128i(four(3), four(2))]
        }
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
    fn add_signed(self, codes: Self::Codes, negative: &[u8; 8], offset: u8) -> Self::Codes {
        // SAFETY: the token.
        let negative = unsafe { spread_bits(negative) };
        // The negative code is its complement + 1, the mask -1.
        self.add(self.xor(codes, negative), self.sub(self.splat_codes(offset), negative))
    }

    #[inline(always)]
    fn complement(self, codes: Self::Codes, set: &[u8; 8]) -> Self::Codes {
        // SAFETY: the token.
        self.xor(codes, self.and(unsafe { spread_bits(set) }, self.splat_codes(15)))
    }
}
