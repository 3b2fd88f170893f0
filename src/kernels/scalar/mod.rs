//! The vocabulary in plain Rust: the fallback of every machine and the oracle of every test. Clear before fast.

mod eight_rows;

use super::{Isa, Task};
use crate::blocks::even_signs;
use crate::simd::{COLUMNS, GRID, Grids, LANES, Lookups, PanelFrom, QUARTERS, ShortGrid, Simd, Vectors};
use std::array::from_fn;

/// The scalar ISA.
pub(crate) struct Scalar;

impl Isa for Scalar {
    type Simd = Token;
    type EightRows = Scalar;

    unsafe fn run<T: Task>(task: T) {
        task.run(Token(()));
    }
}

/// Needs no feature, so it may always exist.
#[derive(Clone, Copy)]
pub(crate) struct Token(());

#[cfg(test)]
impl Token {
    /// For oracles that need this very vocabulary.
    pub(super) fn new() -> Token {
        Token(())
    }
}

impl Vectors for Token {
    type Codes = [u8; COLUMNS];
    type Ints = [i32; LANES];
    type Floats = [f32; LANES];
    type Groups = [i8; LANES];
    type Scales = [i32; LANES];
}

impl Grids for Token {
    const REGISTER_GRIDS: bool = true;

    type Words = [u16; 32];

    #[inline(always)]
    fn wide(self, bytes: &[u8; 32]) -> Self::Words {
        bytes.map(u16::from)
    }

    #[inline(always)]
    fn wide_first_fours(self, eights: &[[u8; 8]; 8]) -> Self::Words {
        from_fn(|i| u16::from(eights[i / 4][i % 4]))
    }

    #[inline(always)]
    fn load_words(self, words: &[[u8; 2]; 32]) -> Self::Words {
        words.map(u16::from_le_bytes)
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
        let byte = |place: u8| if place == 255 { 0 } else { source[usize::from(place)] };
        let field = |i: usize| u16::from_le_bytes(places[i].map(byte));
        from_fn(|i| words[i] | (field(i).wrapping_mul(factors[i % 4]) & mask))
    }

    #[inline(always)]
    fn store_indices(self, words: Self::Words, out: &mut Lookups) {
        // SAFETY: cut to below the grid's size.
        let out = unsafe { out.indices_mut() };
        for (index, word) in out.iter_mut().zip(words) {
            *index = word % GRID as u16;
        }
    }

    #[inline(always)]
    fn store_signed_indices<const N: usize>(self, _: &[u8; 64], _: &[u8; 8], _: &[[u8; 8]; QUARTERS], _: &mut Lookups) {
    }

    #[inline(always)]
    fn points(self, grid: &[u64; GRID], lookups: &Lookups, quarter: usize) -> Self::Codes {
        from_fn(|i| grid[usize::from(lookups.indices()[8 * quarter + i / 8])].to_le_bytes()[i % 8])
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
        let high = u64::from_le_bytes(*high);
        let point = |i: usize| {
            let field = 16 * quarter + i / 4;
            let packed = grid.packed[usize::from(low[field]) + 256 * (high >> field & 1) as usize];
            grid.levels[usize::from(packed >> [0, 8, 3, 11][i % 4] & 7)]
        };
        self.mirrored(from_fn(point), &negative[quarter], code_max)
    }

    #[inline(always)]
    fn mask_words(self, words: Self::Words, mask: u16) -> Self::Words {
        words.map(|word| word & mask)
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
        from_fn(|i| if words[8 * quarter + i / 8] & bit == 0 { codes[i] + value } else { codes[i] })
    }

    #[inline(always)]
    fn top_nibbles_of_twos(self, words: &[[u8; 2]; 8]) -> u64 {
        u64::from_le_bytes(words.map(|word| word[1] >> 4))
    }

    #[inline(always)]
    fn top_nibbles_of_fours(self, words: &[[u8; 4]; 8]) -> u64 {
        u64::from_le_bytes(words.map(|word| word[3] >> 4))
    }

    #[inline(always)]
    fn top_nibbles_of_eights(self, words: &[[u8; 8]; 8]) -> u64 {
        u64::from_le_bytes(words.map(|word| word[7] >> 4))
    }

    #[inline(always)]
    fn even_signs_of_words(self, words: &[[u8; 2]; 32]) -> [[u8; 8]; QUARTERS] {
        from_fn(|q| from_fn(|i| even_signs(u32::from(u16::from_le_bytes(words[8 * q + i])) >> 9)))
    }

    #[inline(always)]
    fn even_signs_of_fours(self, words: &[[u8; 4]; 8]) -> [[u8; 8]; QUARTERS] {
        from_fn(|q| from_fn(|i| even_signs(u32::from_le_bytes(words[2 * q + i / 4]) >> (7 * (i % 4)))))
    }

    #[inline(always)]
    fn even_signs_of_eights(self, eights: &[[u8; 8]; 8]) -> [[u8; 8]; QUARTERS] {
        self.even_signs_of_fours(&eights.map(|[.., a, b, c, d]| [a, b, c, d]))
    }

    #[inline(always)]
    fn mirrored(self, codes: Self::Codes, negative: &[u8; 8], code_max: usize) -> Self::Codes {
        let mirror = |code: u8| code_max as u8 - code;
        from_fn(|i| if negative[i / 8] >> (i % 8) & 1 == 1 { mirror(codes[i]) } else { codes[i] })
    }
}

impl Simd for Token {
    const PANEL_FROM: PanelFrom = PanelFrom {
        floats: [2; 3],
        integers: [2; 3],
        fields: [2; 3],
        joined: [2; 3],
        joined_of_16: [2; 3],
        six_bits: [2; 3],
        looked_up: [2; 3],
        float_scales: [2; 3],
        groups_of_16: [2; 3],
    };
    const PANEL_FROM_ZEN: PanelFrom = Self::PANEL_FROM;
    const PANEL_FROM_ZEN5: PanelFrom = Self::PANEL_FROM;
    const ROWS: usize = 1;
    const TILE_STRIPS: usize = 1;
    const TILE_ROWS: [usize; 3] = [1, 1, 1];

    #[inline(always)]
    fn bytes(self, bytes: &[u8; COLUMNS]) -> Self::Codes {
        *bytes
    }

    #[inline(always)]
    fn repeat(self, bytes: &[u8; 16]) -> Self::Codes {
        from_fn(|i| bytes[i / 4])
    }

    #[inline(always)]
    fn nibbles_of_eights(self, bytes: &[u8; 32]) -> Self::Codes {
        from_fn(|i| bytes[i / 16 * 8 + i % 8] >> (i / 8 % 2 * 4) & 15)
    }

    #[inline(always)]
    fn join(self, low: &[u8; 32], high: &[u8; 32]) -> Self::Codes {
        from_fn(|i| if i < 32 { low[i] } else { high[i - 32] })
    }

    #[inline(always)]
    fn nibbles(self, low: &[u8; 16], high: &[u8; 16]) -> Self::Codes {
        from_fn(|i| {
            let byte = if i < 32 { low[i % 16] } else { high[i % 16] };
            if i / 16 % 2 == 0 { byte & 15 } else { byte >> 4 }
        })
    }

    #[inline(always)]
    fn shift_right(self, codes: Self::Codes, low: u32, high: u32, mask: u8) -> Self::Codes {
        from_fn(|i| (codes[i] >> if i < 32 { low } else { high }) & mask)
    }

    #[inline(always)]
    fn shift_left(self, codes: Self::Codes, count: u32) -> Self::Codes {
        codes.map(|code| code << count)
    }

    #[inline(always)]
    fn splat_codes(self, value: u8) -> Self::Codes {
        [value; COLUMNS]
    }

    #[inline(always)]
    fn and(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        from_fn(|i| a[i] & b[i])
    }

    #[inline(always)]
    fn or(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn xor(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        from_fn(|i| a[i] ^ b[i])
    }

    #[inline(always)]
    fn add(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn sub(self, a: Self::Codes, b: Self::Codes) -> Self::Codes {
        from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    fn multiply(self, codes: Self::Codes, factors: &[u8; COLUMNS]) -> Self::Codes {
        from_fn(|i| codes[i].wrapping_mul(factors[i]))
    }

    #[inline(always)]
    fn at_least(self, codes: Self::Codes, least: u8) -> Self::Codes {
        codes.map(|code| if code >= least { 255 } else { 0 })
    }

    #[inline(always)]
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes {
        codes.map(|code| table[usize::from(code & 15)])
    }

    #[inline(always)]
    fn bits(self, bits: u64) -> Self::Codes {
        from_fn(|i| if bits >> i & 1 == 1 { 255 } else { 0 })
    }

    #[inline(always)]
    fn groups(self, scales: [i8; 16]) -> Self::Groups {
        scales
    }

    #[inline(always)]
    fn concatenate(self, low: u64, high: u64) -> Self::Groups {
        from_fn(|g| if g < 8 { low.to_le_bytes()[g] } else { high.to_le_bytes()[g - 8] } as i8)
    }

    #[inline(always)]
    fn interleave(self, even: u64, odd: u64) -> Self::Groups {
        from_fn(|g| if g % 2 == 0 { even.to_le_bytes()[g / 2] } else { odd.to_le_bytes()[g / 2] } as i8)
    }

    #[inline(always)]
    fn scales(self, groups: Self::Groups, quarter: usize) -> Self::Scales {
        from_fn(|i| i32::from(groups[4 * quarter + i / 4]))
    }

    #[inline(always)]
    fn group_floats(self, groups: Self::Groups) -> Self::Floats {
        groups.map(f32::from)
    }

    #[inline(always)]
    fn f16(self, bits: [u8; 2]) -> f32 {
        half::f16::from_le_bytes(bits).to_f32_const()
    }

    #[inline(always)]
    fn f16_twice(self, halves: [u16; 8]) -> Self::Floats {
        from_fn(|i| self.f16(halves[i / 2].to_le_bytes()))
    }

    #[inline(always)]
    fn f16_pairs_twice(self, pairs: [u32; 8]) -> (Self::Floats, Self::Floats) {
        (self.f16_twice(pairs.map(|pair| pair as u16)), self.f16_twice(pairs.map(|pair| (pair >> 16) as u16)))
    }

    #[inline(always)]
    fn floats_twice(self, values: [f32; 8]) -> Self::Floats {
        from_fn(|i| values[i / 2])
    }

    #[inline(always)]
    fn f16_words(self, halves: [u64; 4]) -> Self::Floats {
        from_fn(|i| self.f16(((halves[i / 4] >> (16 * (i % 4))) as u16).to_le_bytes()))
    }

    #[inline(always)]
    fn f16_floats(self, halves: &[[u8; 2]; LANES]) -> Self::Floats {
        halves.map(|bits| self.f16(bits))
    }

    #[inline(always)]
    fn bf16_floats(self, halves: &[[u8; 2]; LANES]) -> Self::Floats {
        halves.map(|[low, high]| f32::from_le_bytes([0, 0, low, high]))
    }

    #[inline(always)]
    fn load(self, bytes: &[i8; COLUMNS]) -> Self::Codes {
        bytes.map(|byte| byte as u8)
    }

    #[inline(always)]
    fn zero(self) -> Self::Ints {
        [0; LANES]
    }

    #[inline(always)]
    fn splat_ints(self, value: i32) -> Self::Ints {
        [value; LANES]
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
        let dots = self.dot(codes, x, code_max);
        from_fn(|lane| acc[lane] + scales[lane] * dots[lane])
    }

    #[inline(always)]
    fn dot(self, codes: Self::Codes, x: Self::Codes, _code_max: usize) -> Self::Ints {
        from_fn(|lane| {
            let mut dot = 0;
            for i in 4 * lane..4 * lane + 4 {
                dot += i32::from(codes[i]) * i32::from(x[i] as i8);
            }
            dot
        })
    }

    #[inline(always)]
    fn dot_two(self, codes: Self::Codes, high: Self::Codes, low: Self::Codes, code_max: usize) -> Self::Ints {
        self.shift_add(self.dot(codes, high, code_max), self.dot(codes, low, code_max))
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
        w.map(|w| {
            from_fn(|m| {
                from_fn(|p| {
                    let x = x[m][p];
                    // SAFETY: the caller guarantees `steps` vectors behind `w` and `4 * steps` digits behind `x`.
                    let (codes, digits) = unsafe {
                        (std::slice::from_raw_parts(w, steps * COLUMNS), std::slice::from_raw_parts(x, steps * 4))
                    };
                    let mut acc = [starts[m][p]; LANES];
                    for (codes, digits) in codes.chunks_exact(COLUMNS).zip(digits.chunks_exact(4)) {
                        for (lane, sum) in acc.iter_mut().enumerate() {
                            for column in 0..4 {
                                *sum += i32::from(codes[4 * lane + column]) * i32::from(digits[column]);
                            }
                        }
                    }
                    acc
                })
            })
        })
    }

    #[inline(always)]
    fn shift_add(self, a: Self::Ints, b: Self::Ints) -> Self::Ints {
        from_fn(|i| 256 * a[i] + b[i])
    }

    #[inline(always)]
    fn to_floats(self, ints: Self::Ints) -> Self::Floats {
        ints.map(|value| value as f32)
    }

    #[inline(always)]
    fn to_ints(self, values: Self::Floats) -> Self::Ints {
        values.map(|value| value.round_ties_even() as i32)
    }

    #[inline(always)]
    fn store_ints(self, values: Self::Ints, out: &mut [i32; LANES]) {
        *out = values;
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        [value; LANES]
    }

    #[inline(always)]
    fn spread(self, groups: Self::Floats, quarter: usize) -> Self::Floats {
        from_fn(|i| groups[4 * quarter + i / 4])
    }

    #[inline(always)]
    fn load_floats(self, values: &[f32; LANES]) -> Self::Floats {
        *values
    }

    #[inline(always)]
    fn float_bytes(self, values: Self::Floats) -> Self::Codes {
        from_fn(|i| values[i / 4].to_le_bytes()[i % 4])
    }

    #[inline(always)]
    fn store_floats(self, values: Self::Floats, out: &mut [f32; LANES]) {
        *out = values;
    }

    #[inline(always)]
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        from_fn(|i| a[i] * b[i])
    }

    // `mul_add` rounds once, as the SIMD levels do; without the FMA feature it is a call of the C library's `fmaf`, which
    // makes this level slower than it could be, and the oracle bit-equal to the others.
    #[inline(always)]
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn fnma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        from_fn(|i| (-a[i]).mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn sum(self, mut values: Self::Floats) -> f32 {
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                values[i] += values[i + half];
            }
        }
        values[0]
    }

    #[inline(always)]
    unsafe fn store_transposed(self, rows: &[Self::Codes; LANES], out: *mut u8) {
        // SAFETY: the caller guarantees 1024 writable bytes.
        let out = unsafe { std::slice::from_raw_parts_mut(out, COLUMNS * LANES) };
        for (r, row) in rows.iter().enumerate() {
            for (c, four) in row.chunks_exact(4).enumerate() {
                out[64 * c + 4 * r..][..4].copy_from_slice(four);
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, _address: *const u8) {}

    #[inline(always)]
    fn prefetch_once(self, _address: *const u8) {}

    #[inline(always)]
    fn prefetch_for_later(self, _address: *const u8) {}

    #[inline(always)]
    fn opaque(self, address: *const u8) -> *const u8 {
        address
    }
}
