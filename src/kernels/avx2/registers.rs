//! What the AVX2 vocabulary (and in part the AVX-512 one) needs on single registers: sums, transpositions, byte products, the
//! dot products of codes and digits. Knows no token: every function asks its caller for the feature.

use crate::simd::COLUMNS;
use core::arch::x86_64::*;

/// Eight halves in a register. An array of them made in memory would be narrow stores and a wide load, which waits for them.
///
/// # Safety
/// The CPU has SSE 2.
#[inline(always)]
pub(crate) unsafe fn set_halves(halves: [u16; 8]) -> __m128i {
    let [a, b, c, d, e, f, g, h] = halves;
    let (a, b, c, d, e, f, g, h) = (a as i16, b as i16, c as i16, d as i16, e as i16, f as i16, g as i16, h as i16);
    // SAFETY: the caller's promise.
    unsafe { _mm_setr_epi16(a, b, c, d, e, f, g, h) }
}

/// Eight words in a register, for the same reason.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
pub(crate) unsafe fn set_words(words: [u32; 8]) -> __m256i {
    let [a, b, c, d, e, f, g, h] = words.map(|word| word as i32);
    // SAFETY: the caller's promise.
    unsafe { _mm256_setr_epi32(a, b, c, d, e, f, g, h) }
}

/// Each lane twice.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn twice(values: __m256) -> [__m256; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        [
            _mm256_permutevar8x32_ps(values, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)),
            _mm256_permutevar8x32_ps(values, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)),
        ]
    }
}

/// Two words from memory. Made of a store each and a wide load, as the compiler may choose to, the load would wait for the
/// stores.
///
/// # Safety
/// The CPU has AVX.
#[inline(always)]
pub(crate) unsafe fn two_words(low: &u64, high: &u64) -> __m128i {
    // SAFETY: the caller's promise; 8 bytes are read from each.
    unsafe {
        let low = _mm_castsi128_pd(_mm_loadl_epi64(std::ptr::from_ref(low).cast()));
        _mm_castpd_si128(_mm_loadh_pd(low, std::ptr::from_ref(high).cast()))
    }
}

/// 255 where the column's bit is set, 0 elsewhere. From memory, that is two broadcasts and no general register.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn spread_bits(bits: &[u8; 8]) -> [__m256i; 2] {
    let [a, b, c, d, e, f, g, h] = *bits;
    // SAFETY: the caller's promise.
    unsafe {
        // Byte i of a half gets the byte of the word that holds its bit, then all other bits are taken off.
        let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
        let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
        let low = _mm256_shuffle_epi8(_mm256_set1_epi32(i32::from_le_bytes([a, b, c, d])), spread);
        let high = _mm256_shuffle_epi8(_mm256_set1_epi32(i32::from_le_bytes([e, f, g, h])), spread);
        [_mm256_cmpeq_epi8(_mm256_and_si256(low, bit), bit), _mm256_cmpeq_epi8(_mm256_and_si256(high, bit), bit)]
    }
}

/// 8 or 16 bytes.
///
/// # Safety
/// The CPU has SSE 2.
#[inline(always)]
pub(crate) unsafe fn load_small<const B: usize>(bytes: &[u8; B]) -> __m128i {
    const { assert!(B == 8 || B == 16) };
    // SAFETY: the caller's promise; B bytes are read.
    unsafe { if B == 8 { _mm_loadl_epi64(bytes.as_ptr().cast()) } else { _mm_loadu_si128(bytes.as_ptr().cast()) } }
}

/// Four words in one.
pub(crate) const fn four_factors(factors: [u16; 4]) -> i64 {
    let [a, b, c, d] = factors;
    a as i64 | (b as i64) << 16 | (c as i64) << 32 | (d as i64) << 48
}

/// The lowest 28 bits of each word as four bytes of seven.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(crate) unsafe fn apart(words: __m256i) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        // A step of half the width at a time.
        let high = _mm256_and_si256(_mm256_slli_epi32::<2>(words), _mm256_set1_epi32(0x3fff_0000));
        let pairs = _mm256_or_si256(_mm256_and_si256(words, _mm256_set1_epi32(0x3fff)), high);
        // The upper seven of 14 bits move by one: that is to add them once more.
        _mm256_add_epi16(pairs, _mm256_and_si256(pairs, _mm256_set1_epi32(0x3f80_3f80)))
    }
}

/// Bytes of seven signs, each with the eighth that makes the number of minus signs even.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(crate) unsafe fn even_signs(sevens: __m256i) -> [[u8; 8]; 4] {
    // SAFETY: the caller's promise; both types are 32 bytes.
    unsafe {
        // The top bit is set for nibbles with an odd number of bits.
        let odd = _mm256_broadcastsi128_si256(_mm_setr_epi8(
            0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0,
        ));
        // Nibbles folded onto each other have as odd a number of bits as the byte.
        let folded = _mm256_xor_si256(sevens, _mm256_srli_epi16::<4>(sevens));
        let eighth = _mm256_shuffle_epi8(odd, _mm256_and_si256(folded, _mm256_set1_epi8(15)));
        std::mem::transmute(_mm256_or_si256(sevens, eighth))
    }
}

/// Bytewise product, modulo 256: the even bytes and the odd ones as words.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn multiply_bytes(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let even = _mm256_and_si256(_mm256_mullo_epi16(a, b), _mm256_set1_epi16(0xff));
        let odd = _mm256_mullo_epi16(_mm256_srli_epi16::<8>(a), _mm256_srli_epi16::<8>(b));
        _mm256_or_si256(even, _mm256_slli_epi16::<8>(odd))
    }
}

/// Each integer in all lanes of two registers.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(crate) unsafe fn splats<const P: usize, const M: usize>(values: [[i32; P]; M]) -> [[[__m256i; 2]; P]; M] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut splats = [[[_mm256_setzero_si256(); 2]; P]; M];
        for m in 0..M {
            for p in 0..P {
                splats[m][p] = [_mm256_set1_epi32(values[m][p]); 2];
            }
        }
        splats
    }
}

/// `Simd::panel_dots` for the codes `(byte >> shift) & mask`, or whole bytes, the sums times `factor`; `narrow_steps` steps are
/// added up in 16 bits. All of these are constants after inlining.
///
/// # Safety
/// The CPU has AVX2; `w[v]` points to `64 * steps` bytes aligned to 32, `x[m][p]` to `4 * steps`.
#[inline(always)]
pub(super) unsafe fn panel_dots<const P: usize, const M: usize, const V: usize>(
    w: [*const u8; V],
    x: [[*const i8; P]; M],
    starts: [[i32; P]; M],
    steps: usize,
    narrow_steps: usize,
    field: Option<(u8, i32)>,
    factor: i16,
) -> [[[[__m256i; 2]; P]; M]; V] {
    // SAFETY: the caller's promise.
    unsafe {
        let factors = _mm256_set1_epi16(factor);
        let mut wide = [splats(starts); V];
        let mut begin = 0;
        while begin < steps {
            let end = (begin + narrow_steps).min(steps);
            let mut narrow = [[[[_mm256_setzero_si256(); 2]; P]; M]; V];
            for step in begin..end {
                for v in 0..V {
                    let codes = w[v].add(step * COLUMNS).cast::<__m256i>();
                    let mut codes = [_mm256_load_si256(codes), _mm256_load_si256(codes.add(1))];
                    if let Some((mask, shift)) = field {
                        for half in 0..2 {
                            let shifted = _mm256_srl_epi16(codes[half], _mm_cvtsi32_si128(shift));
                            codes[half] = _mm256_and_si256(shifted, _mm256_set1_epi8(mask as i8));
                        }
                    }
                    for m in 0..M {
                        for p in 0..P {
                            let four = x[m][p].add(4 * step).cast::<i32>().read_unaligned();
                            let four = _mm256_set1_epi32(four);
                            for half in 0..2 {
                                let pairs = _mm256_maddubs_epi16(codes[half], four);
                                narrow[v][m][p][half] = _mm256_add_epi16(narrow[v][m][p][half], pairs);
                            }
                            narrow[v][m][p] = together(narrow[v][m][p]);
                        }
                    }
                }
            }
            for v in 0..V {
                for m in 0..M {
                    for p in 0..P {
                        for half in 0..2 {
                            let sums = _mm256_madd_epi16(narrow[v][m][p][half], factors);
                            wide[v][m][p][half] = _mm256_add_epi32(wide[v][m][p][half], sums);
                        }
                        wide[v][m][p] = together(wide[v][m][p]);
                    }
                }
            }
            begin = end;
        }
        wide
    }
}

/// Keeps the compiler from going on with one of two sums before the other: it adds up all first halves otherwise, and keeps what
/// it will need again for the second ones, 1 KiB of digits, on the stack. At the AVX2 level of a Zen 4, with m = 128, G products/s:
/// FAST Q4_K 103 -> 112, HIGH 54 -> 61; FAST Q8_0 30 -> 42, Q5_K 93 -> 101.
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
#[inline]
pub(crate) unsafe fn together([mut a, mut b]: [__m256i; 2]) -> [__m256i; 2] {
    // SAFETY: no instruction.
    unsafe {
        core::arch::asm!("/* {0} {1} */", inout(ymm_reg) a, inout(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    [a, b]
}

/// Eight sums of four products of codes and digits, times 16-bit scales that are the same for the two pairs of a four.
///
/// `maddubs` adds two products in 16 bits: with 8-bit digits that cannot saturate for codes of at most 127. Larger codes
/// are taken apart into nibbles.
///
/// # Safety
/// The CPU has AVX2.
#[inline(always)]
pub(super) unsafe fn dot32(codes: __m256i, x: __m256i, scales: __m256i, code_max: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        if code_max <= 127 {
            return _mm256_madd_epi16(_mm256_maddubs_epi16(codes, x), scales);
        }
        let top = _mm256_set1_epi8(-128);
        let low = _mm256_maddubs_epi16(_mm256_andnot_si256(top, codes), x);
        let high = _mm256_maddubs_epi16(_mm256_and_si256(top, codes), x);
        _mm256_add_epi32(_mm256_madd_epi16(low, scales), _mm256_madd_epi16(high, scales))
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
pub(super) unsafe fn transpose_words(rows: [__m256i; 8]) -> [__m256i; 8] {
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
