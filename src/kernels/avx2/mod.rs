//! AVX2, FMA and F16C: the vocabulary on pairs of 32-byte registers. Knows no block type and no algorithm.
//!
//! `maddubs` adds two products in 16 bits: with digits of 8 bits and codes of at most 63 the sum is at most
//! 2 * 63 * 128 = 16,128, so it never saturates.

use super::{Isa, Level, Task};
use crate::simd::{COLUMNS, LANES, Simd};
use core::arch::x86_64::*;

/// The AVX2 ISA.
pub(crate) struct Avx2;

impl Isa for Avx2 {
    const LEVEL: Level = Level::Avx2;

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
    const TILE_STRIPS: usize = 1;
    const TILE_ROWS: [usize; 3] = [4, 2, 1];

    type Codes = [__m256i; 2];
    type Ints = [__m256i; 2];
    type Floats = [__m256; 2];
    type Groups = __m128i;
    type Scales = [__m256i; 2];

    #[inline(always)]
    fn nibbles(self, bytes: &[u8; 32]) -> Self::Codes {
        // SAFETY: the token; 32 bytes are read.
        unsafe {
            let packed = _mm256_loadu_si256(bytes.as_ptr().cast());
            let mask = _mm256_set1_epi8(15);
            [_mm256_and_si256(packed, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(packed), mask)]
        }
    }

    #[inline(always)]
    fn groups_twice(self, bytes: u64) -> Self::Groups {
        // SAFETY: the token.
        unsafe {
            let bytes = _mm_cvtsi64_si128(bytes as i64);
            _mm_unpacklo_epi8(bytes, bytes)
        }
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
        // SAFETY: the token.
        unsafe { _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes(bits))))) }
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
    fn dot_scaled(self, acc: Self::Ints, codes: Self::Codes, x: Self::Codes, scales: Self::Scales) -> Self::Ints {
        // SAFETY: the token.
        unsafe {
            let low = _mm256_madd_epi16(_mm256_maddubs_epi16(codes[0], x[0]), scales[0]);
            let high = _mm256_madd_epi16(_mm256_maddubs_epi16(codes[1], x[1]), scales[1]);
            [_mm256_add_epi32(acc[0], low), _mm256_add_epi32(acc[1], high)]
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
        // Sums of two products are added up in 16 bits as long as they cannot overflow, then widened.
        let narrow_steps = (i16::MAX as usize / (2 * 128 * code_max)).clamp(1, 8);
        // SAFETY: the token; the caller guarantees `64 * steps` bytes behind `w`, `4 * steps` behind `x`.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let mut wide = [[[self.zero(); P]; M]; V];
            let mut begin = 0;
            while begin < steps {
                let end = (begin + narrow_steps).min(steps);
                let mut narrow = [[[[_mm256_setzero_si256(); 2]; P]; M]; V];
                for step in begin..end {
                    for v in 0..V {
                        let codes = w[v].add(step * COLUMNS).cast::<__m256i>();
                        let codes = [_mm256_load_si256(codes), _mm256_load_si256(codes.add(1))];
                        for m in 0..M {
                            for p in 0..P {
                                let four = x[m][p].add(4 * step).cast::<i32>().read_unaligned();
                                let four = _mm256_set1_epi32(four);
                                for half in 0..2 {
                                    let pairs = _mm256_maddubs_epi16(codes[half], four);
                                    narrow[v][m][p][half] = _mm256_add_epi16(narrow[v][m][p][half], pairs);
                                }
                            }
                        }
                    }
                }
                for v in 0..V {
                    for m in 0..M {
                        for p in 0..P {
                            for half in 0..2 {
                                let sums = _mm256_madd_epi16(narrow[v][m][p][half], ones);
                                wide[v][m][p][half] = _mm256_add_epi32(wide[v][m][p][half], sums);
                            }
                        }
                    }
                }
                begin = end;
            }
            wide
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

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: a prefetch is a hint that never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
}

/// The sum of 8 lanes as the tree of `Simd::sum`.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(crate) unsafe fn sum8(values: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps::<1>(values));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

/// Transposes 8 x 8 words of 32 bits.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
unsafe fn transpose_words(rows: [__m256i; 8]) -> [__m256i; 8] {
    // SAFETY: the caller's promise.
    unsafe {
        // Pairs of words, then quads, then the two halves.
        let [a, b, c, d, e, f, g, h] = rows;
        let pairs = [
            _mm256_unpacklo_epi32(a, b),
            _mm256_unpackhi_epi32(a, b),
            _mm256_unpacklo_epi32(c, d),
            _mm256_unpackhi_epi32(c, d),
            _mm256_unpacklo_epi32(e, f),
            _mm256_unpackhi_epi32(e, f),
            _mm256_unpacklo_epi32(g, h),
            _mm256_unpackhi_epi32(g, h),
        ];
        let quads = [
            _mm256_unpacklo_epi64(pairs[0], pairs[2]),
            _mm256_unpackhi_epi64(pairs[0], pairs[2]),
            _mm256_unpacklo_epi64(pairs[1], pairs[3]),
            _mm256_unpackhi_epi64(pairs[1], pairs[3]),
            _mm256_unpacklo_epi64(pairs[4], pairs[6]),
            _mm256_unpackhi_epi64(pairs[4], pairs[6]),
            _mm256_unpacklo_epi64(pairs[5], pairs[7]),
            _mm256_unpackhi_epi64(pairs[5], pairs[7]),
        ];
        [
            _mm256_permute2x128_si256::<0x20>(quads[0], quads[4]),
            _mm256_permute2x128_si256::<0x20>(quads[1], quads[5]),
            _mm256_permute2x128_si256::<0x20>(quads[2], quads[6]),
            _mm256_permute2x128_si256::<0x20>(quads[3], quads[7]),
            _mm256_permute2x128_si256::<0x31>(quads[0], quads[4]),
            _mm256_permute2x128_si256::<0x31>(quads[1], quads[5]),
            _mm256_permute2x128_si256::<0x31>(quads[2], quads[6]),
            _mm256_permute2x128_si256::<0x31>(quads[3], quads[7]),
        ]
    }
}
