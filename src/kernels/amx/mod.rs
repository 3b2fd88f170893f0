//! AMX with 8-bit integers, on top of AVX-512 VNNI: decode and the panels of types with float scales are those of that level;
//! types with integer scales have the digit panel from some activation rows on. Knows no block type and no algorithm.
//!
//! A float scale per group of 32 columns would end the sums in the tiles after half a tile: such types stay with
//! AVX-512 VNNI, whose sums are in registers anyway.

/// A function that has the groups with mins and the planes as constants, for some number of groups, by planes - 1.
macro_rules! by_planes {
    ($function:ident, $min_groups:expr) => {
        match $min_groups {
            0 => [$function::<0, 1>, $function::<0, 2>, $function::<0, 3>],
            8 => [$function::<8, 1>, $function::<8, 2>, $function::<8, 3>],
            _ => [$function::<16, 1>, $function::<16, 2>, $function::<16, 3>],
        }
    };
}

mod permission;
#[cfg(test)]
mod tests;
mod tile;

pub(super) use permission::{is_available, request_permission};

pub use permission::pretend;

use super::avx512vnni::Token;
use super::digit_panel::{self, Digits};
use super::digit_sweep;
use super::panel_job::{PackJob, SweepJob, TileJob};
use super::{PanelKernels, Tiling, with_block};
use crate::blocks::{Affine, Block, FloatWeight, TensorType, Visitor};
use crate::simd::{COLUMNS, LANES};
use core::arch::x86_64::*;
use tile::TileGuard;

/// From how many activation rows on the digit panel is taken, with 1, 2 and 3 planes. A tile takes as long however many of its rows
/// are used. Measured on a Granite Rapids against the panel of AVX-512 VNNI, n = 2816, Q4_K, Q6_K, Q2_K: 12 rows 0.70, 0.87, 0.83
/// times as fast with one plane, 0.93, 1.18, 1.29 with two, 1.29, 1.43, 1.42 with three; 17 rows 0.90, 0.98, 1.07, then 1.10, 1.20,
/// 1.29, then 1.14, 1.34, 1.51; one plane with 28 rows 1.31, 1.36, 1.35, with 24 1.04, 1.25, 1.16, but 0.85 with 23 and n = 5632.
/// To be found again with benches/crossover.rs.
const PANEL_FROM: [usize; 3] = [28, 13, 10];

/// The digit panel for `tensor_type`; `None` where it has no integer scales.
pub(super) fn digit_panel(tensor_type: TensorType) -> Option<PanelKernels> {
    struct OfType;
    impl Visitor for OfType {
        type Output = Option<PanelKernels>;
        fn block<B: Block>(self) -> Option<PanelKernels> {
            None
        }
        fn float<B: FloatWeight>(self) -> Option<PanelKernels> {
            None
        }
        fn affine<A: Affine>(self) -> Option<PanelKernels> {
            if !A::INTEGER_SCALES {
                return None;
            }
            let min_groups = digit_panel::min_groups::<A>();
            let sweep: [unsafe fn(SweepJob); 3] = by_planes!(sweep, min_groups);
            let tile: [unsafe fn(TileJob); 3] = by_planes!(tile, min_groups);
            let record_bytes = digit_panel::record_bytes(min_groups);
            Some(PanelKernels {
                pack: pack::<A>,
                sweep,
                record_bytes,
                from: PANEL_FROM,
                most_strips: digit_panel::PANEL_STRIPS,
                most_chunks: digit_panel::PANEL_CHUNKS,
                most_bytes: digit_panel::PANEL_BYTES,
                tiling: Some(Tiling {
                    tile,
                    bytes: digit_panel::tiling_bytes::<A>,
                    most_bytes: digit_panel::TILED_BYTES,
                    limit_bytes: digit_panel::TILED_LIMIT,
                }),
            })
        }
    }
    with_block(tensor_type, OfType)
}

/// # Safety
/// As `Kernels`.
#[target_feature(enable = "avx2,bmi2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn pack<A: Affine>(job: PackJob) {
    // SAFETY: the caller's promise: the level includes all of AVX-512 VNNI.
    unsafe { digit_panel::pack::<Token, A>(Token::new(), job) }
}

/// # Safety
/// As `Kernels`.
#[target_feature(enable = "avx2,bmi2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn sweep<const MIN_GROUPS: usize, const P: usize>(job: SweepJob) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut tiles = TileGuard::configure();
        digit_sweep::sweep::<Token, TileGuard, MIN_GROUPS, P>(Token::new(), &mut tiles, job);
    }
}

/// # Safety
/// As `Kernels`.
#[target_feature(enable = "avx2,bmi2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const MIN_GROUPS: usize, const P: usize>(job: TileJob) {
    // SAFETY: the caller's promise.
    unsafe { digit_panel::tile::<MIN_GROUPS, P>(job) }
}

/// Of one group of columns, in the lane of each of 16 rows, as 16-bit words: the scale as the first byte and as the second one, with
/// the other 0, and 128 less the scale times the offset.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    even: __m512i,
    odd: __m512i,
    bias: __m512i,
}

// SAFETY of every block below: the token proves that the CPU has the features; loads and stores go through references to
// arrays of the right size.
impl Digits for Token {
    type Factors = Factors;

    #[inline(always)]
    fn factors(self, rows: &[__m128i; LANES], offset: u8) -> [Factors; 16] {
        // SAFETY: the token; 64 bytes are read at four rows each.
        unsafe {
            let fours = rows.as_ptr().cast::<__m512i>();
            let (a, b) = (_mm512_loadu_si512(fours), _mm512_loadu_si512(fours.add(1)));
            let (c, d) = (_mm512_loadu_si512(fours.add(2)), _mm512_loadu_si512(fours.add(3)));
            let offset = _mm512_set1_epi16(i16::from(offset));
            let mut factors = [Factors { even: a, odd: a, bias: a }; 16];
            for four in 0..4 {
                // A row is a lane of 128 bits; four groups are one of its words. The words of all rows become a vector.
                let words = _mm512_add_epi32(
                    _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0),
                    _mm512_set1_epi32(four),
                );
                let low = _mm512_permutex2var_epi32(a, words, b);
                let high = _mm512_permutex2var_epi32(c, words, d);
                let groups = _mm512_inserti64x4::<1>(low, _mm512_castsi512_si256(high));
                for byte in 0..4 {
                    // The group's byte as the high half of both words of its lane, then moved down with its sign.
                    let both = _mm512_add_epi8(
                        _mm512_set4_epi32(0x0c80_0c80, 0x0880_0880, 0x0480_0480, 0x0080_0080),
                        _mm512_set1_epi16((byte as i16) << 8),
                    );
                    let scale = _mm512_srai_epi16::<8>(_mm512_shuffle_epi8(groups, both));
                    let bias = _mm512_sub_epi16(_mm512_set1_epi16(128), _mm512_mullo_epi16(scale, offset));
                    let even = _mm512_and_si512(scale, _mm512_set1_epi16(0xff));
                    factors[4 * four as usize + byte] = Factors { even, odd: _mm512_slli_epi16::<8>(scale), bias };
                }
            }
            factors
        }
    }

    #[inline(always)]
    fn split(self, codes: &[u8; COLUMNS], factors: Factors, low: &mut [u8; COLUMNS], high: &mut [u8; COLUMNS]) {
        // SAFETY: the token; 64 bytes are read, and written twice.
        unsafe {
            let codes = _mm512_loadu_si512(codes.as_ptr().cast());
            // The integer weight plus 128: then its high byte is the high digit, and its low byte the low digit plus 128.
            let even = _mm512_add_epi16(_mm512_maddubs_epi16(codes, factors.even), factors.bias);
            let odd = _mm512_add_epi16(_mm512_maddubs_epi16(codes, factors.odd), factors.bias);
            // Where a bit of `first` is set, that of the second operand, else of the third.
            const SELECT: i32 = 0xca;
            let first = _mm512_set1_epi16(0xff);
            let lows = _mm512_ternarylogic_epi32::<SELECT>(first, even, _mm512_slli_epi16::<8>(odd));
            let highs = _mm512_ternarylogic_epi32::<SELECT>(first, _mm512_srli_epi16::<8>(even), odd);
            let lows = _mm512_xor_si512(lows, _mm512_set1_epi8(-128));
            _mm512_storeu_si512(low.as_mut_ptr().cast(), lows);
            _mm512_storeu_si512(high.as_mut_ptr().cast(), highs);
        }
    }

    #[inline(always)]
    fn add_ints(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the token.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn load_ints(self, ints: &[i32; LANES]) -> __m512i {
        // SAFETY: the token; 64 bytes are read.
        unsafe { _mm512_loadu_si512(ints.as_ptr().cast()) }
    }
}
