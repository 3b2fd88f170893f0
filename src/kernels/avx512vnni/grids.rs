//! AVX-512: grids, indices and signs. Knows no block type and no algorithm.

use super::Token;
use crate::kernels::avx2::{apart, even_signs, four_factors, load_small, two_words};
use crate::simd::{GRID, Grids, Lookups, QUARTERS, ShortGrid, Simd};
use core::arch::x86_64::*;

// SAFETY of every block below: the token proves that the CPU has the features; loads and stores go through references to
// arrays of the right size unless a comment says otherwise.
impl Grids for Token {
    const REGISTER_GRIDS: bool = true;

    type Words = __m512i;

    #[inline(always)]
    fn wide(self, bytes: &[u8; 32]) -> Self::Words {
        // SAFETY: the token; 32 bytes are read.
        unsafe { _mm512_cvtepu8_epi16(_mm256_loadu_si256(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn wide_first_fours(self, eights: &[[u8; 8]; 8]) -> Self::Words {
        // SAFETY: the token; 64 bytes are read.
        unsafe { _mm512_cvtepu8_epi16(_mm512_cvtepi64_epi32(_mm512_loadu_si512(eights.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn load_words(self, words: &[[u8; 2]; 32]) -> Self::Words {
        // SAFETY: the token; 64 bytes are read.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
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
        // SAFETY: the token; 64 bytes of places are read, and B of the source.
        unsafe {
            let source = _mm512_broadcast_i32x4(load_small(source));
            let fields = _mm512_shuffle_epi8(source, _mm512_loadu_si512(places.as_ptr().cast()));
            let fields = _mm512_mullo_epi16(fields, _mm512_set1_epi64(four_factors(factors)));
            // words | (fields & mask)
            _mm512_ternarylogic_epi32::<0xf8>(words, fields, _mm512_set1_epi16(mask as i16))
        }
    }

    #[inline(always)]
    fn store_indices(self, words: Self::Words, out: &mut Lookups) {
        // SAFETY: the token; the words are cut to below the grid's size; 64 bytes are written to an array of as many.
        unsafe {
            let words = _mm512_and_si512(words, _mm512_set1_epi16(GRID as i16 - 1));
            let low = out.indices_mut().as_mut_ptr().cast::<__m256i>();
            _mm256_storeu_si256(low, _mm512_castsi512_si256(words));
            _mm256_storeu_si256(low.add(1), _mm512_extracti64x4_epi64::<1>(words));
        }
    }

    #[inline(always)]
    fn store_signed_indices<const N: usize>(self, _: &[u8; 64], _: &[u8; 8], _: &[[u8; 8]; QUARTERS], _: &mut Lookups) {
    }

    #[inline(always)]
    fn points(self, grid: &[u64; GRID], lookups: &Lookups, quarter: usize) -> Self::Codes {
        let indices = lookups.indices();
        // SAFETY: the token; all indices are below the grid's size.
        unsafe {
            let point = |i: usize| grid.get_unchecked(usize::from(indices[8 * quarter + i]));
            let low = _mm256_set_m128i(two_words(point(2), point(3)), two_words(point(0), point(1)));
            let high = _mm256_set_m128i(two_words(point(6), point(7)), two_words(point(4), point(5)));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }

    #[inline(always)]
    fn short_codes<const N: usize>(
        self,
        grid: &ShortGrid<N>,
        low: &[u8; 64],
        high: &[u8; 8],
        negative: &[[u8; 8]; QUARTERS],
        code_max: usize,
        _: &Lookups,
        quarter: usize,
    ) -> Self::Codes {
        let words = self.wide(&low.as_chunks().0[quarter / 2]);
        let high = u32::from_le_bytes(high.as_chunks().0[quarter / 2]);
        // SAFETY: the token.
        unsafe {
            // Each point twice, moved so that its next two fields are the lowest of the two bytes.
            let lanes = _mm512_setr_epi32(
                0,
                0x0001_0001,
                0x0002_0002,
                0x0003_0003,
                0x0004_0004,
                0x0005_0005,
                0x0006_0006,
                0x0007_0007,
                0x0008_0008,
                0x0009_0009,
                0x000a_000a,
                0x000b_000b,
                0x000c_000c,
                0x000d_000d,
                0x000e_000e,
                0x000f_000f,
            );
            let each = _mm512_add_epi16(lanes, _mm512_set1_epi16(16 * (quarter % 2) as i16));
            let points = look_up_words(&grid.packed, words, high);
            let two = _mm512_permutexvar_epi16(each, points);
            let fields = _mm512_srlv_epi16(two, _mm512_set1_epi32(0x0003_0000));
            let codes = self.look_up(_mm512_and_si512(fields, _mm512_set1_epi8(7)), &grid.levels);
            self.mirrored(codes, &negative[quarter], code_max)
        }
    }

    #[inline(always)]
    fn mask_words(self, words: Self::Words, mask: u16) -> Self::Words {
        // SAFETY: the token.
        unsafe { _mm512_and_si512(words, _mm512_set1_epi16(mask as i16)) }
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
        // SAFETY: the token. No byte carries into the next, so eight columns are one addition.
        unsafe {
            let clear = _mm512_testn_epi16_mask(words, _mm512_set1_epi16(bit as i16));
            _mm512_mask_add_epi64(codes, (clear >> (8 * quarter)) as u8, codes, _mm512_set1_epi8(value as i8))
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
        // SAFETY: the token; 32 bytes are read.
        unsafe {
            let nibbles = _mm256_srli_epi32::<28>(_mm256_loadu_si256(words.as_ptr().cast()));
            _mm_cvtsi128_si64(_mm256_cvtepi32_epi8(nibbles)) as u64
        }
    }

    #[inline(always)]
    fn top_nibbles_of_eights(self, words: &[[u8; 8]; 8]) -> u64 {
        // SAFETY: the token; 64 bytes are read.
        unsafe {
            let nibbles = _mm512_srli_epi64::<60>(_mm512_loadu_si512(words.as_ptr().cast()));
            _mm_cvtsi128_si64(_mm512_cvtepi64_epi8(nibbles)) as u64
        }
    }

    #[inline(always)]
    fn even_signs_of_words(self, words: &[[u8; 2]; 32]) -> [[u8; 8]; QUARTERS] {
        // SAFETY: the token; 64 bytes are read.
        unsafe {
            let sevens = _mm512_srli_epi16::<9>(_mm512_loadu_si512(words.as_ptr().cast()));
            even_signs(_mm512_cvtepi16_epi8(sevens))
        }
    }

    #[inline(always)]
    fn even_signs_of_fours(self, words: &[[u8; 4]; 8]) -> [[u8; 8]; QUARTERS] {
        // SAFETY: the token; 32 bytes are read.
        unsafe { even_signs(apart(_mm256_loadu_si256(words.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn even_signs_of_eights(self, eights: &[[u8; 8]; 8]) -> [[u8; 8]; QUARTERS] {
        // SAFETY: the token; 64 bytes are read.
        unsafe {
            let seconds = _mm512_srli_epi64::<32>(_mm512_loadu_si512(eights.as_ptr().cast()));
            even_signs(apart(_mm512_cvtepi64_epi32(seconds)))
        }
    }

    #[inline(always)]
    fn mirrored(self, codes: Self::Codes, negative: &[u8; 8], code_max: usize) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_mask_sub_epi8(codes, u64::from_le_bytes(*negative), _mm512_set1_epi8(code_max as i8), codes) }
    }
}

/// `table[words[i]]`, or `table[words[i] + 256]` where bit `i` is set; words are below 256, `N` is 256 or 512.
///
/// # Safety
/// The CPU has AVX-512 F and BW.
#[inline(always)]
unsafe fn look_up_words<const N: usize>(table: &[u16; N], words: __m512i, high: u32) -> __m512i {
    // Tables of 1,024 words lose against loads (IQ2_S: 15.9 against 17.3 G weights/s on a Zen 5).
    const { assert!(N == 256 || N == 512) };
    // Not closures: they would not be inlined as intrinsics.
    macro_rules! part {
        ($index:expr) => {{
            let first = table.as_ptr().add(64 * $index).cast::<__m512i>();
            _mm512_permutex2var_epi16(_mm512_loadu_si512(first), words, _mm512_loadu_si512(first.add(1)))
        }};
    }
    // Of neighbouring parts the next bit of the index chooses one, and so on.
    macro_rules! quarter {
        ($first:expr, $six:ident, $seven:ident) => {{
            let low = _mm512_mask_blend_epi16($six, part!($first), part!($first + 1));
            let high = _mm512_mask_blend_epi16($six, part!($first + 2), part!($first + 3));
            _mm512_mask_blend_epi16($seven, low, high)
        }};
    }
    // SAFETY: the caller's promise; the parts of 64 words lie in the table.
    unsafe {
        let six = _mm512_test_epi16_mask(words, _mm512_set1_epi16(64));
        let seven = _mm512_test_epi16_mask(words, _mm512_set1_epi16(128));
        let mut found = quarter!(0, six, seven);
        if N == 512 {
            found = _mm512_mask_blend_epi16(high, found, quarter!(4, six, seven));
        }
        found
    }
}
