//! AVX2 with the VEX-coded VNNI instructions: the AVX2 vocabulary with dot products of its own. Knows no block type and no
//! algorithm.
//!
//! Against AVX2, one thread, 256 x 2048 weights from cache, shortest of some hundred runs on a Zen 5 (Q4_K, Q6_K, Q4_0, Q8_0,
//! IQ4_XS): panels are 1.1 to 1.4 times as fast, with codes over 127 (Q8_0, IQ4_XS) 1.7 to 3.1 times. Decode with one row, from
//! cache: with codes over 127 EXACT 1.5 to 1.6 times (docs/types.md); Q4_K EXACT 1.03, HIGH 1.02, FAST 0.91 times
//! (benches/peers). Tried and lost: `madd` and an addition instead of `dpwssd`, 0.89 to 1.03 times.

use super::avx2::{Avx2, Dots, Token, splats};
use super::{Isa, Task, shared};
use crate::simd::{COLUMNS, PanelFrom};
use core::arch::x86_64::*;

/// The AVX-VNNI ISA.
pub(crate) struct AvxVnni;

impl Isa for AvxVnni {
    type Simd = Token<Vnni>;
    // With `dpwssd` at the end of a group instead of `madd` and an addition, FAST Q4_K was 22 % slower with five activation rows.
    type EightRows = Avx2;

    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    unsafe fn run<T: Task>(task: T) {
        shared::align_frame();
        task.run(Token(Vnni(())));
    }
}

/// Multiplication by VNNI. Made only by `AvxVnni::run`, whose caller has detected the features.
#[derive(Clone, Copy)]
pub(crate) struct Vnni(());

// SAFETY of the blocks: the value proves that the CPU has AVX2 and AVX-VNNI.
impl Dots for Vnni {
    const PANEL_FROM: PanelFrom = PanelFrom {
        floats: [6, 5, 3],
        integers: [5, 4, 3],
        fields: [16, 8, 5],
        joined: [18, 9, 6],
        joined_of_16: [12, 7, 4],
        six_bits: [12, 7, 4],
        looked_up: [10, 5, 4],
        float_scales: [12, 6, 4],
        groups_of_16: [7, 4, 3],
    };
    // No Zen up to 4 has AVX-VNNI.
    const PANEL_FROM_ZEN: PanelFrom = Self::PANEL_FROM;
    const PANEL_FROM_ZEN5: PanelFrom = PanelFrom {
        floats: [4, 5, 3],
        integers: [4, 3, 2],
        fields: [7, 4, 3],
        joined: [7, 4, 3],
        joined_of_16: [7, 4, 3],
        six_bits: [7, 4, 3],
        looked_up: [7, 4, 3],
        float_scales: [7, 4, 3],
        groups_of_16: [7, 5, 3],
    };
    // Enough sums to hide the latency of `dpbusd`, and all of them in registers. One plane with 6 rows: 10 to 15 % slower.
    const TILE_ROWS: [usize; 3] = [4, 3, 2];
    const SPLITS_CODES: bool = false;

    #[inline(always)]
    fn add_scaled(self, acc: __m256i, codes: __m256i, x: __m256i, scales: __m256i, code_max: usize) -> __m256i {
        // SAFETY: the value.
        unsafe {
            if code_max <= 127 {
                // Sums of two products in 16 bits, then both of a four times the scale and added to acc at once. `dpbusd`
                // would want a register of zeros each time, and gains nothing here.
                return _mm256_dpwssd_avx_epi32(acc, _mm256_maddubs_epi16(codes, x), scales);
            }
            // A lane holds its scale twice, in 16 bits each.
            let dots = _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), codes, x);
            _mm256_add_epi32(acc, _mm256_mullo_epi32(dots, _mm256_srai_epi32::<16>(scales)))
        }
    }

    #[inline(always)]
    fn add_pairs(self, acc: __m256i, pairs: __m256i, scales: __m256i) -> __m256i {
        // SAFETY: the value.
        unsafe { _mm256_dpwssd_avx_epi32(acc, pairs, scales) }
    }

    #[inline(always)]
    fn dot(self, codes: __m256i, x: __m256i, _code_max: usize) -> __m256i {
        // SAFETY: the value.
        unsafe { _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), codes, x) }
    }

    #[inline(always)]
    fn dot_two(self, codes: __m256i, high: __m256i, low: __m256i, code_max: usize) -> __m256i {
        // SAFETY: the value.
        unsafe { _mm256_dpbusd_avx_epi32(_mm256_slli_epi32::<8>(self.dot(codes, high, code_max)), codes, low) }
    }

    #[inline(always)]
    unsafe fn panel_dots<const P: usize, const M: usize, const V: usize>(
        self,
        w: [*const u8; V],
        x: [[*const i8; P]; M],
        starts: [[i32; P]; M],
        steps: usize,
        _code_max: usize,
    ) -> [[[[__m256i; 2]; P]; M]; V] {
        // SAFETY: the value; the caller guarantees `64 * steps` aligned bytes behind `w`, `4 * steps` behind `x`.
        unsafe {
            let mut sums = [splats(starts); V];
            for step in 0..steps {
                for v in 0..V {
                    let codes = w[v].add(step * COLUMNS).cast::<__m256i>();
                    let codes = [_mm256_load_si256(codes), _mm256_load_si256(codes.add(1))];
                    for m in 0..M {
                        for p in 0..P {
                            let four = _mm256_set1_epi32(x[m][p].add(4 * step).cast::<i32>().read_unaligned());
                            for half in 0..2 {
                                sums[v][m][p][half] = _mm256_dpbusd_avx_epi32(sums[v][m][p][half], codes[half], four);
                            }
                        }
                    }
                }
            }
            sums
        }
    }
}
