//! AVX2, FMA and F16C: the vocabulary on pairs of 32-byte registers. Knows no block type and no algorithm.
//!
//! The level `avxvnni` has the same vocabulary but for the dot products, which are [`Dots`].

mod eight_rows;
mod grids;
mod maddubs;
mod registers;

pub(crate) use registers::{
    apart, even_signs, four_factors, load_small, set_halves, set_words, splats, sum8, two_words,
};

use super::shared::{self, small_registers};
use super::{Isa, Task};
use crate::simd::{COLUMNS, LANES, PanelFrom, Simd, Vectors};
use core::arch::x86_64::*;

use maddubs::Maddubs;
use registers::{multiply_bytes, spread_bits, transpose_words, twice};

/// The AVX2 ISA.
pub(crate) struct Avx2;

impl Isa for Avx2 {
    type Simd = Token<Maddubs>;
    type EightRows = Avx2;

    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn run<T: Task>(task: T) {
        shared::align_frame();
        task.run(Token(Maddubs(())));
    }
}

/// How pairs of 32-byte registers are multiplied: what tells the levels of this register width apart. A value proves that
/// the CPU has AVX2, FMA, F16C and the instructions used.
pub(crate) trait Dots: Copy {
    /// See `Simd::PANEL_FROM`.
    const PANEL_FROM: PanelFrom;
    /// See `Simd::PANEL_FROM_ZEN`.
    const PANEL_FROM_ZEN: PanelFrom;
    /// See `Simd::PANEL_FROM_ZEN5`.
    const PANEL_FROM_ZEN5: PanelFrom;
    /// See `Simd::TILE_ROWS`.
    const TILE_ROWS: [usize; 3];
    /// Whether `add_group` splits codes above 127.
    const SPLITS_CODES: bool;

    /// `acc` and eight sums of four products of codes and digits, times 16-bit scales that are the same for the two pairs of
    /// a four.
    fn add_scaled(self, acc: __m256i, codes: __m256i, x: __m256i, scales: __m256i, code_max: usize) -> __m256i;

    /// `acc` and eight sums of two products, of pairs of 16 bits and of scales as in `add_scaled`.
    fn add_pairs(self, acc: __m256i, pairs: __m256i, scales: __m256i) -> __m256i;

    /// See `EightRows::dot_group`.
    #[inline(always)]
    fn add_group<const V: usize>(
        self,
        mut acc: __m256i,
        codes: [__m256i; V],
        x: [__m256i; V],
        scales: __m256i,
        code_max: usize,
    ) -> __m256i {
        if Self::SPLITS_CODES && code_max > 127 {
            return self.add_split(acc, codes, x, scales);
        }
        if V * 2 * code_max * 128 > i16::MAX as usize {
            for v in 0..V {
                acc = self.add_scaled(acc, codes[v], x[v], scales, code_max);
            }
            return acc;
        }
        // SAFETY: whoever has a value of this type has detected AVX2.
        let pairs = unsafe {
            let mut pairs = _mm256_maddubs_epi16(codes[0], x[0]);
            for v in 1..V {
                pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes[v], x[v]));
            }
            pairs
        };
        self.add_pairs(acc, pairs, scales)
    }

    /// The same for any codes, as eight times their upper five bits and the lower three: the products of each of four vectors with
    /// digits add up in 16 bits. Against taking the top bit off, whose products add up in 32 bits, at the AVX2 level of a Zen 4,
    /// from cache, FAST, HIGH, EXACT: IQ4_XS 1.02, 1.09, 1.13 times as fast, Q8_0 1.00, 1.09, 1.06.
    #[inline(always)]
    fn add_split<const V: usize>(self, acc: __m256i, codes: [__m256i; V], x: [__m256i; V], scales: __m256i) -> __m256i {
        const { assert!(4 * 2 * 31 * 128 <= i16::MAX as usize && V <= 4) };
        // SAFETY: whoever has a value of this type has detected AVX2.
        unsafe {
            let (mut high, mut low) = (_mm256_setzero_si256(), _mm256_setzero_si256());
            for v in 0..V {
                let upper = _mm256_and_si256(_mm256_srli_epi16::<3>(codes[v]), _mm256_set1_epi8(31));
                let lower = _mm256_and_si256(codes[v], _mm256_set1_epi8(7));
                high = _mm256_add_epi16(high, _mm256_maddubs_epi16(upper, x[v]));
                low = _mm256_add_epi16(low, _mm256_maddubs_epi16(lower, x[v]));
            }
            let acc = self.add_pairs(acc, high, _mm256_slli_epi16::<3>(scales));
            self.add_pairs(acc, low, scales)
        }
    }

    /// Eight sums of four products of codes and digits.
    fn dot(self, codes: __m256i, x: __m256i, code_max: usize) -> __m256i;

    /// 256 times those sums with one vector of digits, and those with another.
    fn dot_two(self, codes: __m256i, high: __m256i, low: __m256i, code_max: usize) -> __m256i;

    /// See `Simd::panel_dots`.
    ///
    /// # Safety
    /// As `Simd::panel_dots`.
    unsafe fn panel_dots<const P: usize, const M: usize, const V: usize>(
        self,
        w: [*const u8; V],
        x: [[*const i8; P]; M],
        starts: [[i32; P]; M],
        steps: usize,
        code_max: usize,
    ) -> [[[[__m256i; 2]; P]; M]; V];
}

/// The vocabulary, with one of the multiplications. The features are proved by `D`.
#[derive(Clone, Copy)]
pub(crate) struct Token<D>(pub(crate) D);

impl<D: Dots> Vectors for Token<D> {
    type Codes = [__m256i; 2];
    type Ints = [__m256i; 2];
    type Floats = [__m256; 2];
    type Groups = __m128i;
    type Scales = [__m256i; 2];
}

// SAFETY of every block below: the token proves that the CPU has AVX2, FMA and F16C; loads and stores go through
// references to arrays of the right size unless a comment says otherwise.
impl<D: Dots> Simd for Token<D> {
    const PANEL_FROM: PanelFrom = D::PANEL_FROM;
    const PANEL_FROM_ZEN: PanelFrom = D::PANEL_FROM_ZEN;
    const PANEL_FROM_ZEN5: PanelFrom = D::PANEL_FROM_ZEN5;
    const ROWS: usize = 1;
    const TILE_STRIPS: usize = 1;
    const TILE_ROWS: [usize; 3] = D::TILE_ROWS;

    #[inline(always)]
    fn bytes(self, bytes: &[u8; COLUMNS]) -> Self::Codes {
        // SAFETY: the token; 2 x 32 bytes are read from an array of 64.
        unsafe {
            let low = bytes.as_ptr().cast::<__m256i>();
            [_mm256_loadu_si256(low), _mm256_loadu_si256(low.add(1))]
        }
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
            // Both halves loaded with the same bytes: half as many shuffles as with the shifted bytes inserted.
            let (shifts, mask) = (_mm256_setr_epi64x(0, 0, 4, 4), _mm256_set1_epi8(15));
            [low, high].map(|bytes| {
                let twice = _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast()));
                _mm256_and_si256(_mm256_srlv_epi64(twice, shifts), mask)
            })
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
    fn f16(self, bits: [u8; 2]) -> f32 {
        let mut half = i32::from(u16::from_le_bytes(bits));
        // SAFETY: no instruction; and the token.
        unsafe {
            // Hides the load: else it becomes a `vpinsrw` into a register that the chunk before computed last, for which
            // each chunk would wait.
            core::arch::asm!("/* {0:e} */", inout(reg) half, options(pure, nomem, nostack, preserves_flags));
            _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)))
        }
    }

    #[inline(always)]
    fn f16_twice(self, halves: [u16; 8]) -> Self::Floats {
        // SAFETY: the token.
        unsafe { twice(_mm256_cvtph_ps(set_halves(halves))) }
    }

    #[inline(always)]
    fn f16_pairs_twice(self, pairs: [u32; 8]) -> (Self::Floats, Self::Floats) {
        // SAFETY: the token.
        unsafe {
            let pairs = set_words(pairs);
            let both =
                [_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs)].map(|p| _mm256_cvtph_ps(p));
            (both.map(|both| _mm256_moveldup_ps(both)), both.map(|both| _mm256_movehdup_ps(both)))
        }
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
    fn splat_ints(self, value: i32) -> Self::Ints {
        // SAFETY: the token.
        unsafe { [_mm256_set1_epi32(value); 2] }
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
        [
            self.0.add_scaled(acc[0], codes[0], x[0], scales[0], code_max),
            self.0.add_scaled(acc[1], codes[1], x[1], scales[1], code_max),
        ]
    }

    #[inline(always)]
    fn dot(self, codes: Self::Codes, x: Self::Codes, code_max: usize) -> Self::Ints {
        [self.0.dot(codes[0], x[0], code_max), self.0.dot(codes[1], x[1], code_max)]
    }

    #[inline(always)]
    fn dot_two(self, codes: Self::Codes, high: Self::Codes, low: Self::Codes, code_max: usize) -> Self::Ints {
        [self.0.dot_two(codes[0], high[0], low[0], code_max), self.0.dot_two(codes[1], high[1], low[1], code_max)]
    }

    #[inline(always)]
    unsafe fn panel_dots<const P: usize, const M: usize, const V: usize>(
        self,
        w: [*const u8; V],
        x: [[*const i8; P]; M],
        starts: [[i32; P]; M],
        steps: usize,
        code_max: usize,
    ) -> [[[Self::Ints; P]; M]; V] {
        // SAFETY: the caller's promise.
        unsafe { self.0.panel_dots::<P, M, V>(w, x, starts, steps, code_max) }
    }

    #[inline(always)]
    fn shift_add(self, a: Self::Ints, b: Self::Ints) -> Self::Ints {
        // SAFETY: the token.
        unsafe {
            [_mm256_add_epi32(_mm256_slli_epi32::<8>(a[0]), b[0]), _mm256_add_epi32(_mm256_slli_epi32::<8>(a[1]), b[1])]
        }
    }

    #[inline(always)]
    fn to_floats(self, ints: Self::Ints) -> Self::Floats {
        // SAFETY: the token.
        unsafe { [_mm256_cvtepi32_ps(ints[0]), _mm256_cvtepi32_ps(ints[1])] }
    }

    #[inline(always)]
    fn to_ints(self, values: Self::Floats) -> Self::Ints {
        // SAFETY: the token. Rounds as MXCSR says, which is to the nearest while kernels run (`float_state`).
        unsafe { [_mm256_cvtps_epi32(values[0]), _mm256_cvtps_epi32(values[1])] }
    }

    #[inline(always)]
    fn store_ints(self, values: Self::Ints, out: &mut [i32; LANES]) {
        // SAFETY: the token; 2 x 8 integers are written to an array of 16.
        unsafe {
            let low = out.as_mut_ptr().cast::<__m256i>();
            _mm256_storeu_si256(low, values[0]);
            _mm256_storeu_si256(low.add(1), values[1]);
        }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        // SAFETY: the token.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    fn spread(self, groups: Self::Floats, quarter: usize) -> Self::Floats {
        // Scales stored to memory and broadcast from there were slower (Q4_1 at the AVX2 level of a Zen 5: 20.4 G weights/s
        // instead of 22.4).
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
    fn float_bytes(self, values: Self::Floats) -> Self::Codes {
        // SAFETY: the token.
        unsafe { [_mm256_castps_si256(values[0]), _mm256_castps_si256(values[1])] }
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
