//! AVX2: dot products by `maddubs`, which adds two products in 16 bits. Knows no block type and no algorithm.

use super::{Dots, registers};
use crate::simd::PanelFrom;
use core::arch::x86_64::*;

/// Multiplication by `maddubs`. Made only by `Avx2::run`, whose caller has detected the features.
#[derive(Clone, Copy)]
pub(crate) struct Maddubs(pub(super) ());

// SAFETY of the blocks: the value proves that the CPU has AVX2.
impl Dots for Maddubs {
    const PANEL_FROM: PanelFrom = PanelFrom {
        floats: [6, 4, 3],
        integers: [7, 5, 3],
        fields: [49, 49, 49],
        joined: [49, 49, 49],
        joined_of_16: [48, 49, 49],
        six_bits: [48, 49, 49],
        looked_up: [33, 33, 33],
        float_scales: [28, 33, 16],
        groups_of_16: [7, 7, 7],
    };
    const PANEL_FROM_ZEN: PanelFrom = PanelFrom {
        floats: [6, 5, 3],
        integers: [6, 4, 3],
        fields: [65, 12, 12],
        joined: [40, 24, 257],
        joined_of_16: [28, 12, 8],
        six_bits: [18, 33, 33],
        looked_up: [513, 513, 513],
        float_scales: [17, 13, 8],
        groups_of_16: [7, 9, 5],
    };
    const PANEL_FROM_ZEN5: PanelFrom = PanelFrom {
        floats: [7, 7, 3],
        integers: [7, 5, 3],
        fields: [16, 7, 4],
        joined: [16, 7, 4],
        joined_of_16: [16, 7, 4],
        six_bits: [16, 7, 4],
        looked_up: [13, 4, 3],
        float_scales: [13, 8, 5],
        groups_of_16: [11, 8, 6],
    };
    const TILE_ROWS: [usize; 3] = [4, 2, 1];
    const SPLITS_CODES: bool = true;

    #[inline(always)]
    fn add_scaled(self, acc: __m256i, codes: __m256i, x: __m256i, scales: __m256i, code_max: usize) -> __m256i {
        // SAFETY: the value.
        unsafe { _mm256_add_epi32(acc, registers::dot32(codes, x, scales, code_max)) }
    }

    #[inline(always)]
    fn add_pairs(self, acc: __m256i, pairs: __m256i, scales: __m256i) -> __m256i {
        // SAFETY: the value.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, scales)) }
    }

    #[inline(always)]
    fn dot(self, codes: __m256i, x: __m256i, code_max: usize) -> __m256i {
        // SAFETY: the value.
        unsafe { registers::dot32(codes, x, _mm256_set1_epi16(1), code_max) }
    }

    #[inline(always)]
    fn dot_two(self, codes: __m256i, high: __m256i, low: __m256i, code_max: usize) -> __m256i {
        // SAFETY: the value.
        unsafe {
            let high = registers::dot32(codes, high, _mm256_set1_epi16(256), code_max);
            _mm256_add_epi32(high, registers::dot32(codes, low, _mm256_set1_epi16(1), code_max))
        }
    }

    #[inline(always)]
    unsafe fn panel_dots<const P: usize, const M: usize, const V: usize>(
        self,
        w: [*const u8; V],
        x: [[*const i8; P]; M],
        starts: [[i32; P]; M],
        steps: usize,
        code_max: usize,
    ) -> [[[[__m256i; 2]; P]; M]; V] {
        // SAFETY: the value, and the caller's promise.
        unsafe {
            if code_max <= 127 {
                // Sums of two products are added up in 16 bits as long as they cannot overflow, then widened.
                let narrow_steps = i16::MAX as usize / (2 * 128 * code_max);
                return registers::panel_dots::<P, M, V>(w, x, starts, steps, narrow_steps, None, 1);
            }
            // As in `add_split`: four products of pairs and upper five bits fit in 16 bits, and all of those and the lower three.
            let mut sums = registers::panel_dots::<P, M, V>(w, x, starts, steps, 4, Some((31, 3)), 8);
            let low = registers::panel_dots::<P, M, V>(w, x, [[0; P]; M], steps, 8, Some((7, 0)), 1);
            for v in 0..V {
                for m in 0..M {
                    for p in 0..P {
                        for half in 0..2 {
                            sums[v][m][p][half] = _mm256_add_epi32(sums[v][m][p][half], low[v][m][p][half]);
                        }
                    }
                }
            }
            sums
        }
    }
}
