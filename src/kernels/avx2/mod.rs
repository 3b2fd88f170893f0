//! AVX2, FMA and F16C: the vocabulary on pairs of 32-byte registers. Knows no block type and no algorithm.

mod registers;

pub(crate) use registers::{apart, even_signs, four_factors, load_small, set_halves, sum8, two_words};

use super::shared::small_registers;
use super::{Isa, Task};
use crate::simd::{COLUMNS, GRID, LANES, Lookups, QUARTERS, ShortGrid, Simd};
use core::arch::x86_64::*;

use registers::{dot32, multiply_bytes, panel_dots, spread_bits, transpose_words, twice};

/// The AVX2 ISA.
pub(crate) struct Avx2;

impl Isa for Avx2 {
    type Simd = Token;

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn run<T: Task>(task: T) {
        task.run(Token(()));
    }
}

/// Made only by `Avx2::run`, whose caller has detected the features.
#[derive(Clone, Copy)]
pub(crate) struct Token(());

// SAFETY of every block below: the token proves that the CPU has AVX2, FMA and F16C; loads and stores go through
// references to arrays of the right size unless a comment says otherwise.
impl Simd for Token {
    const PANEL_FROM: [usize; 3] = [4, 4, 2];
    const TILE_STRIPS: usize = 1;
    const TILE_ROWS: [usize; 3] = [4, 2, 1];

    const REGISTER_GRIDS: bool = false;

    type Codes = [__m256i; 2];
    type Ints = [__m256i; 2];
    type Floats = [__m256; 2];
    type Words = [__m256i; 2];
    type Groups = __m128i;
    type Scales = [__m256i; 2];

    #[inline(always)]
    fn bytes(self, bytes: &[u8; COLUMNS]) -> Self::Codes {
        // SAFETY: the token; 2 x 32 bytes are read from an array of 64.
        unsafe {
            let low = bytes.as_ptr().cast::<__m256i>();
            [_mm256_loadu_si256(low), _mm256_loadu_si256(low.add(1))]
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

    #[inline(always)]
    fn repeat(self, bytes: &[u8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe {
            let bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast()));
            let first = _mm256_setr_epi32(
                0,
                0x0101_0101,
                0x0202_0202,
                0x0303_0303,
                0x0404_0404,
                0x0505_0505,
                0x0606_0606,
                0x0707_0707,
            );
            let second = _mm256_add_epi8(first, _mm256_set1_epi8(8));
            [_mm256_shuffle_epi8(bytes, first), _mm256_shuffle_epi8(bytes, second)]
        }
    }

    #[inline(always)]
    fn nibbles_of_eights(self, bytes: &[u8; 32]) -> Self::Codes {
        // SAFETY: the token; 32 bytes are read.
        unsafe {
            let bytes = _mm256_loadu_si256(bytes.as_ptr().cast());
            let (shifts, mask) = (_mm256_setr_epi64x(0, 4, 0, 4), _mm256_set1_epi8(15));
            let (low, high) = (_mm256_permute4x64_epi64::<0x50>(bytes), _mm256_permute4x64_epi64::<0xfa>(bytes));
            [
                _mm256_and_si256(_mm256_srlv_epi64(low, shifts), mask),
                _mm256_and_si256(_mm256_srlv_epi64(high, shifts), mask),
            ]
        }
    }

    #[inline(always)]
    fn join(self, low: &[u8; 32], high: &[u8; 32]) -> Self::Codes {
        // SAFETY: the token; 32 bytes are read from each.
        unsafe { [_mm256_loadu_si256(low.as_ptr().cast()), _mm256_loadu_si256(high.as_ptr().cast())] }
    }

    #[inline(always)]
    fn nibbles(self, low: &[u8; 16], high: &[u8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read from each.
        unsafe {
            let mask = _mm256_set1_epi8(15);
            let (low, high) = (_mm_loadu_si128(low.as_ptr().cast()), _mm_loadu_si128(high.as_ptr().cast()));
            [
                _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16::<4>(low), low), mask),
                _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16::<4>(high), high), mask),
            ]
        }
    }

    #[inline(always)]
    fn shift_right(self, codes: Self::Codes, low: u32, high: u32, mask: u8) -> Self::Codes {
        // SAFETY: the token.
        unsafe {
            let mask = _mm256_set1_epi8(mask as i8);
            [
                _mm256_and_si256(_mm256_srl_epi16(codes[0], _mm_cvtsi32_si128(low as i32)), mask),
                _mm256_and_si256(_mm256_srl_epi16(codes[1], _mm_cvtsi32_si128(high as i32)), mask),
            ]
        }
    }

    #[inline(always)]
    fn shift_left(self, codes: Self::Codes, count: u32) -> Self::Codes {
        // SAFETY: the token.
        unsafe {
            let count = _mm_cvtsi32_si128(count as i32);
            [_mm256_sll_epi16(codes[0], count), _mm256_sll_epi16(codes[1], count)]
        }
    }

    #[inline(always)]
    fn splat_codes(self, value: u8) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [_mm256_set1_epi8(value as i8); 2] }
    }

    #[inline(always)]
    fn and(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [_mm256_and_si256(a[0], b[0]), _mm256_and_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn or(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [_mm256_or_si256(a[0], b[0]), _mm256_or_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn xor(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [_mm256_xor_si256(a[0], b[0]), _mm256_xor_si256(a[1], b[1])] }
    }

    #[inline(always)]
    fn add(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [_mm256_add_epi8(a[0], b[0]), _mm256_add_epi8(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [_mm256_sub_epi8(a[0], b[0]), _mm256_sub_epi8(a[1], b[1])] }
    }

    #[inline(always)]
    fn multiply(self, codes: Self::Codes, factors: &[u8; COLUMNS]) -> Self::Codes {
        let factors = self.bytes(factors);
        // SAFETY: the token.
        unsafe { [multiply_bytes(codes[0], factors[0]), multiply_bytes(codes[1], factors[1])] }
    }

    #[inline(always)]
    fn at_least(self, codes: Self::Codes, least: u8) -> Self::Codes {
        // SAFETY: the token.
        unsafe {
            let least = _mm256_set1_epi8(least as i8);
            [
                _mm256_cmpeq_epi8(_mm256_max_epu8(codes[0], least), codes[0]),
                _mm256_cmpeq_epi8(_mm256_max_epu8(codes[1], least), codes[1]),
            ]
        }
    }

    #[inline(always)]
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [_mm256_shuffle_epi8(table, codes[0]), _mm256_shuffle_epi8(table, codes[1])]
        }
    }

    #[inline(always)]
    fn bits(self, bits: u64) -> Self::Codes {
        // SAFETY: the token.
        unsafe { spread_bits(&bits.to_le_bytes()) }
    }

    #[inline(always)]
    fn scales(self, groups: Self::Groups, quarter: usize) -> Self::Scales {
        // SAFETY: the token.
        unsafe {
            // Even groups in the low half, odd ones in the high half, 16 bits each: as a vector of 32 columns has one
            // group of 16 in each half, one in-lane shuffle then broadcasts both of its scales.
            let apart = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
            let wide = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(groups, apart));
            let pair = 2 * quarter as i16;
            [
                _mm256_shuffle_epi8(wide, _mm256_set1_epi16(pair * 0x0202 + 0x0100)),
                _mm256_shuffle_epi8(wide, _mm256_set1_epi16(pair * 0x0202 + 0x0302)),
            ]
        }
    }

    #[inline(always)]
    fn group_floats(self, groups: Self::Groups) -> Self::Floats {
        // SAFETY: the token.
        unsafe {
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(groups)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(groups, groups))),
            ]
        }
    }

    #[inline(always)]
    fn f16_twice(self, halves: [u16; 8]) -> Self::Floats {
        // SAFETY: the token.
        unsafe { twice(_mm256_cvtph_ps(set_halves(halves))) }
    }

    #[inline(always)]
    fn floats_twice(self, values: [f32; 8]) -> Self::Floats {
        let [a, b, c, d, e, f, g, h] = values;
        // SAFETY: the token.
        unsafe { twice(_mm256_setr_ps(a, b, c, d, e, f, g, h)) }
    }

    #[inline(always)]
    fn f16_words(self, halves: [u64; 4]) -> Self::Floats {
        let [a, b, c, d] = halves.map(|word| word as i64);
        // SAFETY: the token.
        unsafe { [_mm256_cvtph_ps(_mm_set_epi64x(b, a)), _mm256_cvtph_ps(_mm_set_epi64x(d, c))] }
    }

    #[inline(always)]
    fn f16_floats(self, halves: &[[u8; 2]; LANES]) -> Self::Floats {
        // SAFETY: the token; 2 x 16 bytes are read from an array of 32.
        unsafe {
            let low = halves.as_ptr().cast::<__m128i>();
            [_mm256_cvtph_ps(_mm_loadu_si128(low)), _mm256_cvtph_ps(_mm_loadu_si128(low.add(1)))]
        }
    }

    #[inline(always)]
    fn bf16_floats(self, halves: &[[u8; 2]; LANES]) -> Self::Floats {
        // SAFETY: the token; 2 x 16 bytes are read from an array of 32.
        unsafe {
            let low = halves.as_ptr().cast::<__m128i>();
            [_mm_loadu_si128(low), _mm_loadu_si128(low.add(1))]
                .map(|eight| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(eight))))
        }
    }

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
            // A point lies there four times, so that a blend with memory puts it into any place: half of the micro-operations
            // of an insert.
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
    fn load(self, bytes: &[i8; COLUMNS]) -> Self::Codes {
        // SAFETY: the token; 2 x 32 bytes are read from an array of 64.
        unsafe {
            let low = bytes.as_ptr().cast::<__m256i>();
            [_mm256_loadu_si256(low), _mm256_loadu_si256(low.add(1))]
        }
    }

    #[inline(always)]
    fn zero(self) -> Self::Ints {
        // SAFETY: the token.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    fn dot_scaled(
        self,
        acc: Self::Ints,
        codes: Self::Codes,
        x: Self::Codes,
        scales: Self::Scales,
        code_max: usize,
    ) -> Self::Ints {
        // SAFETY: the token.
        unsafe {
            [
                _mm256_add_epi32(acc[0], dot32(codes[0], x[0], scales[0], code_max)),
                _mm256_add_epi32(acc[1], dot32(codes[1], x[1], scales[1], code_max)),
            ]
        }
    }

    #[inline(always)]
    fn dot(self, codes: Self::Codes, x: Self::Codes, code_max: usize) -> Self::Ints {
        // SAFETY: the token.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            [dot32(codes[0], x[0], ones, code_max), dot32(codes[1], x[1], ones, code_max)]
        }
    }

    #[inline(always)]
    unsafe fn panel_dots<const P: usize, const M: usize, const V: usize>(
        self,
        w: [*const u8; V],
        x: [[*const i8; P]; M],
        steps: usize,
        code_max: usize,
    ) -> [[[Self::Ints; P]; M]; V] {
        // SAFETY: the token, and the caller's promise.
        unsafe {
            if code_max <= 127 {
                // Sums of two products are added up in 16 bits as long as they cannot overflow, then widened.
                let narrow_steps = i16::MAX as usize / (2 * 128 * code_max);
                return panel_dots::<P, M, V>(w, x, steps, narrow_steps, 127, 0, 1);
            }
            // The top bit apart: 2 * 127 * 128 fits in 16 bits.
            let mut sums = panel_dots::<P, M, V>(w, x, steps, 1, 127, 0, 1);
            let top = panel_dots::<P, M, V>(w, x, steps, 8, 1, 7, 128);
            for v in 0..V {
                for m in 0..M {
                    for p in 0..P {
                        for half in 0..2 {
                            sums[v][m][p][half] = _mm256_add_epi32(sums[v][m][p][half], top[v][m][p][half]);
                        }
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    fn to_floats(self, ints: Self::Ints) -> Self::Floats {
        // SAFETY: the token.
        unsafe { [_mm256_cvtepi32_ps(ints[0]), _mm256_cvtepi32_ps(ints[1])] }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        // SAFETY: the token.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    fn spread(self, groups: Self::Floats, quarter: usize) -> Self::Floats {
        // SAFETY: the token.
        unsafe {
            let first = 4 * (quarter % 2) as i32;
            let (a, b) = (_mm_set1_epi32(first), _mm_set1_epi32(first + 1));
            let low = _mm256_set_m128i(b, a);
            let high = _mm256_add_epi32(low, _mm256_set1_epi32(2));
            let half = groups[quarter / 2];
            [_mm256_permutevar8x32_ps(half, low), _mm256_permutevar8x32_ps(half, high)]
        }
    }

    #[inline(always)]
    fn load_floats(self, values: &[f32; LANES]) -> Self::Floats {
        // SAFETY: the token; 2 x 8 floats are read from an array of 16.
        unsafe { [_mm256_loadu_ps(values.as_ptr()), _mm256_loadu_ps(values.as_ptr().add(8))] }
    }

    #[inline(always)]
    fn store_floats(self, values: Self::Floats, out: &mut [f32; LANES]) {
        // SAFETY: the token; 2 x 8 floats are written to an array of 16.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), values[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), values[1]);
        }
    }

    #[inline(always)]
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: the token.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        // SAFETY: the token.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    fn fnma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        // SAFETY: the token.
        unsafe { [_mm256_fnmadd_ps(a[0], b[0], c[0]), _mm256_fnmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    fn sum(self, values: Self::Floats) -> f32 {
        // SAFETY: the token.
        unsafe { sum8(_mm256_add_ps(values[0], values[1])) }
    }

    #[inline(always)]
    unsafe fn store_transposed(self, rows: &[Self::Codes; LANES], out: *mut u8) {
        // Four columns of a row are one 32-bit word, so this is a transposition of words: 8 rows x 8 words at a time.
        // SAFETY: the token; the caller guarantees 1024 bytes at `out`, aligned to 64.
        unsafe {
            for half in 0..2 {
                for eight in 0..2 {
                    let mut block = [_mm256_setzero_si256(); 8];
                    for r in 0..8 {
                        block[r] = rows[8 * eight + r][half];
                    }
                    let columns = transpose_words(block);
                    for word in 0..8 {
                        _mm256_store_si256(out.add(64 * (8 * half + word) + 32 * eight).cast(), columns[word]);
                    }
                }
            }
        }
    }

    small_registers!();
}
