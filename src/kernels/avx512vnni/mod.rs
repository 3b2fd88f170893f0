//! AVX-512 (F, BW, DQ, VL) with VNNI, and BMI2, which all such CPUs have: the vocabulary on 64-byte registers. Knows no block
//! type and no algorithm.

mod eight_rows;
mod grids;

use super::shared::{self, small_registers};
use super::{Isa, Task};
use crate::kernels::avx2::{set_halves, set_words, sum8};
use crate::simd::{COLUMNS, LANES, PanelFrom, Simd, Vectors};
use core::arch::x86_64::*;

/// The AVX-512 VNNI ISA.
pub(crate) struct Avx512Vnni;

impl Isa for Avx512Vnni {
    type Simd = Token;
    type EightRows = Avx512Vnni;

    #[target_feature(enable = "avx2,bmi2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn run<T: Task>(task: T) {
        shared::align_frame();
        task.run(Token(()));
    }
}

/// Made only where the caller has detected the features.
#[derive(Clone, Copy)]
pub(crate) struct Token(());

impl Token {
    /// For levels that build on this one.
    ///
    /// # Safety
    /// As `Avx512Vnni::run`, in a function with the same target features.
    #[cfg(target_os = "linux")]
    #[inline(always)]
    pub(super) unsafe fn new() -> Token {
        Token(())
    }
}

impl Vectors for Token {
    type Codes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;
    type Groups = __m128i;
    type Scales = __m512i;
}

// SAFETY of every block below: the token proves that the CPU has the features; loads and stores go through references to
// arrays of the right size unless a comment says otherwise.
impl Simd for Token {
    const PANEL_FROM: PanelFrom = PanelFrom {
        floats: [7, 5, 4],
        integers: [6, 4, 3],
        fields: [17, 11, 9],
        joined: [15, 9, 7],
        joined_of_16: [10, 6, 5],
        six_bits: [8, 5, 4],
        looked_up: [12, 6, 4],
        float_scales: [14, 9, 7],
        groups_of_16: [6, 4, 4],
    };
    const PANEL_FROM_ZEN: PanelFrom = PanelFrom {
        floats: [7, 6, 4],
        integers: [7, 5, 4],
        fields: [33, 16, 12],
        joined: [28, 12, 8],
        joined_of_16: [24, 12, 8],
        six_bits: [12, 6, 4],
        looked_up: [33, 18, 14],
        float_scales: [24, 17, 14],
        groups_of_16: [7, 5, 4],
    };
    const PANEL_FROM_ZEN5: PanelFrom = PanelFrom {
        floats: [7, 5, 4],
        integers: [7, 5, 2],
        fields: [25, 17, 10],
        joined: [17, 8, 7],
        joined_of_16: [17, 8, 7],
        six_bits: [11, 7, 6],
        looked_up: [8, 4, 3],
        float_scales: [13, 9, 7],
        groups_of_16: [11, 7, 6],
    };
    const ROWS: usize = 2;
    const TILE_STRIPS: usize = 2;
    // Sums of a tile: strips x rows x (planes + 1) of 32 registers.
    const TILE_ROWS: [usize; 3] = [6, 4, 3];

    #[inline(always)]
    fn bytes(self, bytes: &[u8; COLUMNS]) -> Self::Codes {
        // SAFETY: the token; 64 bytes are read.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn repeat(self, bytes: &[u8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe {
            let words = _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()));
            _mm512_shuffle_epi8(words, _mm512_set4_epi32(0x0c0c_0c0c, 0x0808_0808, 0x0404_0404, 0))
        }
    }

    #[inline(always)]
    fn nibbles_of_eights(self, bytes: &[u8; 32]) -> Self::Codes {
        // SAFETY: the token; 32 bytes are read.
        unsafe {
            let bytes = _mm512_castsi256_si512(_mm256_loadu_si256(bytes.as_ptr().cast()));
            let twice = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3), bytes);
            let shifted = _mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 4, 0, 4, 0, 4, 0, 4));
            _mm512_and_si512(shifted, _mm512_set1_epi8(15))
        }
    }

    #[inline(always)]
    fn join(self, low: &[u8; 32], high: &[u8; 32]) -> Self::Codes {
        // SAFETY: the token; 32 bytes are read from each.
        unsafe {
            let low = _mm256_loadu_si256(low.as_ptr().cast());
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), _mm256_loadu_si256(high.as_ptr().cast()))
        }
    }

    #[inline(always)]
    fn nibbles(self, low: &[u8; 16], high: &[u8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read from each.
        unsafe {
            let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(low.as_ptr().cast()));
            let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(high.as_ptr().cast()));
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            // The second and the fourth 16 bytes are shifted; 64-bit lanes, as what comes in from above is masked off.
            let shifts = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
            _mm512_and_si512(_mm512_srlv_epi64(both, shifts), _mm512_set1_epi8(15))
        }
    }

    #[inline(always)]
    fn shift_right(self, codes: Self::Codes, low: u32, high: u32, mask: u8) -> Self::Codes {
        // SAFETY: the token.
        unsafe {
            let (low, high) = (i64::from(low), i64::from(high));
            let shifts = _mm512_setr_epi64(low, low, low, low, high, high, high, high);
            _mm512_and_si512(_mm512_srlv_epi64(codes, shifts), _mm512_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    fn shift_left(self, codes: Self::Codes, count: u32) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_sll_epi16(codes, _mm_cvtsi32_si128(count as i32)) }
    }

    #[inline(always)]
    fn splat_codes(self, value: u8) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_set1_epi8(value as i8) }
    }

    #[inline(always)]
    fn and(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_and_si512(a, b) }
    }

    #[inline(always)]
    fn or(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn xor(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_xor_si512(a, b) }
    }

    #[inline(always)]
    fn add(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_add_epi8(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_sub_epi8(a, b) }
    }

    #[inline(always)]
    fn multiply(self, codes: Self::Codes, factors: &[u8; COLUMNS]) -> Self::Codes {
        let factors = self.bytes(factors);
        // SAFETY: the token.
        unsafe {
            // The even bytes and the odd ones as words.
            let even = _mm512_mullo_epi16(codes, factors);
            let odd = _mm512_mullo_epi16(_mm512_srli_epi16::<8>(codes), _mm512_srli_epi16::<8>(factors));
            _mm512_mask_blend_epi8(0xaaaa_aaaa_aaaa_aaaa, even, _mm512_slli_epi16::<8>(odd))
        }
    }

    #[inline(always)]
    fn at_least(self, codes: Self::Codes, least: u8) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_movm_epi8(_mm512_cmpge_epu8_mask(codes, _mm512_set1_epi8(least as i8))) }
    }

    #[inline(always)]
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes {
        // SAFETY: the token; 16 bytes are read.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, codes)
        }
    }

    #[inline(always)]
    fn bits(self, bits: u64) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_movm_epi8(bits) }
    }

    #[inline(always)]
    fn scales(self, groups: Self::Groups, quarter: usize) -> Self::Scales {
        // SAFETY: the token.
        unsafe {
            // Each lane holds the scale in its low 16 bits and 0 in the high ones, see `dot_scaled`.
            let wide = _mm512_cvtepu16_epi32(_mm256_cvtepi8_epi16(groups));
            let first = 4 * quarter as i32;
            let lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
            _mm512_permutexvar_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(first)), wide)
        }
    }

    #[inline(always)]
    fn group_floats(self, groups: Self::Groups) -> Self::Floats {
        // SAFETY: the token.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(groups)) }
    }

    #[inline(always)]
    fn f16(self, bits: [u8; 2]) -> f32 {
        // SAFETY: no instruction; and the token.
        unsafe {
            // A load to all lanes, which takes no vector unit, where a move from a general register takes one for a cycle (Q4_K
            // 2 % faster). Hidden, as it would else become a `vpinsrw` into a register that the chunk before computed last, for
            // which each chunk would wait.
            let mut halves = _mm_set1_epi16(i16::from_le_bytes(bits));
            core::arch::asm!("/* {0} */", inout(xmm_reg) halves, options(pure, nomem, nostack, preserves_flags));
            _mm_cvtss_f32(_mm_cvtph_ps(halves))
        }
    }

    #[inline(always)]
    fn f16_twice(self, halves: [u16; 8]) -> Self::Floats {
        // SAFETY: the token.
        unsafe {
            let each = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
            _mm512_permutexvar_ps(each, _mm512_castps256_ps512(_mm256_cvtph_ps(set_halves(halves))))
        }
    }

    #[inline(always)]
    fn f16_pairs_twice(self, pairs: [u32; 8]) -> (Self::Floats, Self::Floats) {
        // SAFETY: the token.
        unsafe {
            let both = _mm512_cvtph_ps(set_words(pairs));
            (_mm512_moveldup_ps(both), _mm512_movehdup_ps(both))
        }
    }

    #[inline(always)]
    fn floats_twice(self, values: [f32; 8]) -> Self::Floats {
        let [a, b, c, d, e, f, g, h] = values;
        // SAFETY: the token.
        unsafe {
            let each = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
            _mm512_permutexvar_ps(each, _mm512_castps256_ps512(_mm256_setr_ps(a, b, c, d, e, f, g, h)))
        }
    }

    #[inline(always)]
    fn f16_words(self, halves: [u64; 4]) -> Self::Floats {
        let [a, b, c, d] = halves.map(|word| word as i64);
        // SAFETY: the token.
        unsafe { _mm512_cvtph_ps(_mm256_set_epi64x(d, c, b, a)) }
    }

    #[inline(always)]
    fn f16_floats(self, halves: &[[u8; 2]; LANES]) -> Self::Floats {
        // SAFETY: the token; 32 bytes are read.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(halves.as_ptr().cast())) }
    }

    #[inline(always)]
    fn bf16_floats(self, halves: &[[u8; 2]; LANES]) -> Self::Floats {
        // SAFETY: the token; 32 bytes are read.
        unsafe {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(halves.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
    }

    #[inline(always)]
    fn load(self, bytes: &[i8; COLUMNS]) -> Self::Codes {
        // SAFETY: the token; 64 bytes are read.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn zero(self) -> Self::Ints {
        // SAFETY: the token.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn splat_ints(self, value: i32) -> Self::Ints {
        // SAFETY: the token.
        unsafe { _mm512_set1_epi32(value) }
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
            let dots = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, x);
            if 4 * code_max * 128 <= i16::MAX as usize {
                // The sum of four products fits in 16 bits, so the multiplication by the scale and the addition are one more
                // VNNI instruction: the low halves of the lanes are multiplied, the high halves meet the zero of `scales`.
                return eight_rows::dpwssd(acc, dots, scales);
            }
            let scales = _mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(scales));
            _mm512_add_epi32(acc, _mm512_mullo_epi32(dots, scales))
        }
    }

    #[inline(always)]
    fn dot(self, codes: Self::Codes, x: Self::Codes, _code_max: usize) -> Self::Ints {
        // SAFETY: the token.
        unsafe { _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, x) }
    }

    #[inline(always)]
    fn dot_two(self, codes: Self::Codes, high: Self::Codes, low: Self::Codes, code_max: usize) -> Self::Ints {
        // SAFETY: the token.
        unsafe { _mm512_dpbusd_epi32(_mm512_slli_epi32::<8>(self.dot(codes, high, code_max)), codes, low) }
    }

    #[inline(always)]
    unsafe fn panel_dots<const P: usize, const M: usize, const V: usize>(
        self,
        w: [*const u8; V],
        x: [[*const i8; P]; M],
        starts: [[i32; P]; M],
        steps: usize,
        _code_max: usize,
    ) -> [[[Self::Ints; P]; M]; V] {
        // SAFETY: the token; the caller guarantees `64 * steps` aligned bytes behind `w`, `4 * steps` behind `x`.
        unsafe {
            let mut sums = [[[self.zero(); P]; M]; V];
            for m in 0..M {
                for p in 0..P {
                    for v in 0..V {
                        sums[v][m][p] = _mm512_set1_epi32(starts[m][p]);
                    }
                }
            }
            for step in 0..steps {
                let mut codes = [self.zero(); V];
                for v in 0..V {
                    codes[v] = _mm512_load_si512(w[v].add(step * COLUMNS).cast());
                }
                for m in 0..M {
                    for p in 0..P {
                        let four = _mm512_set1_epi32(x[m][p].add(4 * step).cast::<i32>().read_unaligned());
                        for v in 0..V {
                            sums[v][m][p] = _mm512_dpbusd_epi32(sums[v][m][p], codes[v], four);
                        }
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    fn shift_add(self, a: Self::Ints, b: Self::Ints) -> Self::Ints {
        // SAFETY: the token.
        unsafe { _mm512_add_epi32(_mm512_slli_epi32::<8>(a), b) }
    }

    #[inline(always)]
    fn to_floats(self, ints: Self::Ints) -> Self::Floats {
        // SAFETY: the token.
        unsafe { _mm512_cvtepi32_ps(ints) }
    }

    #[inline(always)]
    fn to_ints(self, values: Self::Floats) -> Self::Ints {
        // SAFETY: the token. Rounds as MXCSR says, which is to the nearest while kernels run (`float_state`).
        unsafe { _mm512_cvtps_epi32(values) }
    }

    #[inline(always)]
    fn store_ints(self, values: Self::Ints, out: &mut [i32; LANES]) {
        // SAFETY: the token; 16 integers are written.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), values) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        // SAFETY: the token.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn spread(self, groups: Self::Floats, quarter: usize) -> Self::Floats {
        // SAFETY: the token.
        unsafe {
            let lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
            _mm512_permutexvar_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32(4 * quarter as i32)), groups)
        }
    }

    #[inline(always)]
    fn load_floats(self, values: &[f32; LANES]) -> Self::Floats {
        // SAFETY: the token; 16 floats are read.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn float_bytes(self, values: Self::Floats) -> Self::Codes {
        // SAFETY: the token.
        unsafe { _mm512_castps_si512(values) }
    }

    #[inline(always)]
    fn store_floats(self, values: Self::Floats, out: &mut [f32; LANES]) {
        // SAFETY: the token; 16 floats are written.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), values) }
    }

    #[inline(always)]
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // SAFETY: the token.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        // SAFETY: the token.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn fnma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        // SAFETY: the token.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum(self, values: Self::Floats) -> f32 {
        // SAFETY: the token.
        unsafe { sum8(_mm256_add_ps(_mm512_castps512_ps256(values), _mm512_extractf32x8_ps::<1>(values))) }
    }

    #[inline(always)]
    unsafe fn store_transposed(self, rows: &[Self::Codes; LANES], out: *mut u8) {
        // Four columns of a row are one 32-bit word: a transposition of 16 x 16 words in four stages, each of which
        // doubles the length of the runs that lie together.
        // SAFETY: the token; the caller guarantees 1024 bytes at `out`, aligned to 64.
        unsafe {
            // quads[4g + c] holds, in each of its four 128-bit quarters q, word 4q + c of the rows 4g..4g + 4.
            let mut quads = [self.zero(); 16];
            for g in 0..4 {
                let low01 = _mm512_unpacklo_epi32(rows[4 * g], rows[4 * g + 1]);
                let high01 = _mm512_unpackhi_epi32(rows[4 * g], rows[4 * g + 1]);
                let low23 = _mm512_unpacklo_epi32(rows[4 * g + 2], rows[4 * g + 3]);
                let high23 = _mm512_unpackhi_epi32(rows[4 * g + 2], rows[4 * g + 3]);
                quads[4 * g] = _mm512_unpacklo_epi64(low01, low23);
                quads[4 * g + 1] = _mm512_unpackhi_epi64(low01, low23);
                quads[4 * g + 2] = _mm512_unpacklo_epi64(high01, high23);
                quads[4 * g + 3] = _mm512_unpackhi_epi64(high01, high23);
            }
            for c in 0..4 {
                let (a, b, d, e) = (quads[c], quads[4 + c], quads[8 + c], quads[12 + c]);
                let low_even = _mm512_shuffle_i32x4::<0x88>(a, b);
                let high_even = _mm512_shuffle_i32x4::<0x88>(d, e);
                let low_odd = _mm512_shuffle_i32x4::<0xdd>(a, b);
                let high_odd = _mm512_shuffle_i32x4::<0xdd>(d, e);
                let columns = [
                    _mm512_shuffle_i32x4::<0x88>(low_even, high_even),
                    _mm512_shuffle_i32x4::<0x88>(low_odd, high_odd),
                    _mm512_shuffle_i32x4::<0xdd>(low_even, high_even),
                    _mm512_shuffle_i32x4::<0xdd>(low_odd, high_odd),
                ];
                for q in 0..4 {
                    _mm512_store_si512(out.add(64 * (4 * q + c)).cast(), columns[q]);
                }
            }
        }
    }

    small_registers!();
}
