//! The vocabulary: the few vector operations in which every algorithm and every block type is written. One
//! implementation per ISA lives in `kernels/<isa>`. Knows no block type, no ISA, no algorithm.
//!
//! Everything is shaped after 64 columns, whatever the registers of the machine: [`Simd::Codes`] are 64 bytes,
//! [`Simd::Ints`] and [`Simd::Floats`] have 16 lanes. In a dot product along k (decode), lane `i` belongs to the columns
//! `4i..4i+4` of each 64; in a panel, lane `i` is weight row `i` of 16. As all ISAs share these shapes and do the same
//! operations in the same order, they give the same bits.
//!
//! All methods are `#[inline(always)]` without target features: they are inlined into a trampoline that has the features
//! (`kernels::Isa::run`), which is what turns the intrinsics into instructions. `self` is a token whose existence proves
//! that the CPU has the features: only a trampoline makes one.
//!
//! Measured on the way, for whoever adds a type or an operation: an array that is filled element by element and then loaded as
//! a vector makes the load wait for the stores (IQ4_XS without that: 42 G weights/s instead of 25), so values go into vectors
//! through registers ([`Simd::interleave`], [`Simd::f16_twice`]), and fields of a few bits are better moved within a `u64` than
//! taken apart; an instruction that writes part of a register waits for what was in it (`Simd::f16`); a loop over an array that
//! is not unrolled puts the array into memory, so short lists are written out.

/// Columns that share one activation scale, and the unit in which weights are unpacked.
pub const CHUNK: usize = 256;
/// Columns of a code vector.
pub const COLUMNS: usize = 64;
/// Code vectors per chunk.
pub const QUARTERS: usize = CHUNK / COLUMNS;
/// Lanes of an integer or float vector; also weight rows of a panel strip.
pub const LANES: usize = 16;

/// Entries of a grid, the table of points that an IQ type's indices choose from. Smaller grids are filled up with 0, so that
/// one bound holds for all.
pub const GRID: usize = 2048;

/// Entries of a table of signed points: 512 points with each four signs.
pub const SIGNED_POINTS: usize = 512 * 16;

/// A grid of `N` points, 256 or 512, for four columns each.
#[repr(C, align(64))]
pub struct ShortGrid<const N: usize> {
    /// The codes of a point as bytes, the first column lowest: those of point `i` with signs `s`, a bit per column, are
    /// entry `i + N * s`.
    pub signed: [u32; SIGNED_POINTS],
    /// So that a load that begins with a point lies within the grid.
    pub after: [u32; 16],
    /// The points as fields of 3 bits: those of even columns from bit 0 on, those of odd ones from bit 8 on.
    pub packed: [u16; N],
    /// The code that a field stands for where it is positive.
    pub levels: [u8; 16],
}

/// What is looked up for a chunk, made by vector instructions and used by loads: so it goes through memory. Measured at the
/// AVX-512 level of a Zen 5: 17 G weights/s of IQ2_S with indices taken apart in general registers, 24 so. The points themselves
/// go into registers: copied one by one into memory, IQ3_S made 11 G weights/s instead of 24 and IQ2_S 17.
#[repr(C, align(64))]
pub struct Lookups {
    /// Indices into a grid, each below [`GRID`].
    indices: [u16; 32],
    /// Indices into a table of signed points, each below [`SIGNED_POINTS`], in the order of the level that made them.
    signed: [u16; 64],
    /// A bit per column, set where its code is negative.
    pub negative: [[u8; 8]; QUARTERS],
}

impl Lookups {
    /// All zeros.
    #[inline(always)]
    pub const fn new() -> Lookups {
        Lookups { indices: [0; 32], signed: [0; 64], negative: [[0; 8]; QUARTERS] }
    }

    /// The indices, each below [`GRID`].
    #[inline(always)]
    pub fn indices(&self) -> &[u16; 32] {
        &self.indices
    }

    /// The indices, to be written.
    ///
    /// # Safety
    /// Only values below [`GRID`] are written.
    #[inline(always)]
    pub unsafe fn indices_mut(&mut self) -> &mut [u16; 32] {
        &mut self.indices
    }

    /// Indices of signed points, each below [`SIGNED_POINTS`].
    #[inline(always)]
    pub fn signed(&self) -> &[u16; 64] {
        &self.signed
    }

    /// Indices of signed points, to be written.
    ///
    /// # Safety
    /// Only values below [`SIGNED_POINTS`] are written.
    #[inline(always)]
    pub unsafe fn signed_mut(&mut self) -> &mut [u16; 64] {
        &mut self.signed
    }
}

/// The vectors of an ISA.
pub trait Vectors: Copy {
    /// 64 bytes: unsigned weight codes, or signed activation digits.
    type Codes: Copy;
    /// 16 i32.
    type Ints: Copy;
    /// 16 f32.
    type Floats: Copy;
    /// 16 small signed integers, one per group of 16 columns of a chunk.
    type Groups: Copy;
    /// Integer group scales, spread over the lanes of one code vector as the dot products want them.
    type Scales: Copy;
}

/// The part of the vocabulary for decode of eight weight rows at a time: a vector is eight parts, 8 bytes or two lanes each,
/// and part `r` belongs to row `r`.
pub trait EightRows: Vectors {
    /// The most activation rows of a tile whose sums are registers, with 1, 2 and 3 digit planes; at most 7. More take a tile
    /// with sums in memory. Each takes the compiler its time: with six everywhere the library took over eight minutes to build.
    const REGISTER_ROWS: [usize; 3];

    /// Weight rows of a register: 8, or 4 where vectors are two registers each.
    const REGISTER_OF_ROWS: usize;

    /// Whether three planes are faster with codes that are scaled before they are multiplied.
    const SCALES_CODES: bool;

    /// The first 8 of 32 bytes of each row, the next 8, and so on.
    fn rows(self, bytes: [&[u8; 32]; 8]) -> [Self::Codes; 4];
    /// The first 8 of 16 bytes of each row, and the last 8.
    fn short_rows(self, bytes: [&[u8; 16]; 8]) -> [Self::Codes; 2];
    /// Of each row's 8 bytes those at `places`, 0 where a place is negative. `places` is a constant after inlining.
    fn pick(self, bytes: Self::Codes, places: [i8; 8]) -> Self::Codes;
    /// Of the 16 bytes of each two rows those at `places`, 0 where a place is negative. `places` is a constant after inlining.
    fn pick_of_two(self, bytes: Self::Codes, places: [i8; 16]) -> Self::Codes;
    /// Of each two rows 16 words, times `factors`, modulo 2^16. `factors` is a constant after inlining.
    fn multiply_words(self, words: Self::Codes, factors: [u16; 8]) -> Self::Codes;
    /// The bytes of `table` that `codes`, at most 15, stand for, within the 16 bytes of each two rows.
    fn look_up_two(self, table: Self::Codes, codes: Self::Codes) -> Self::Codes;
    /// The same 8 digits to each row.
    fn digits_to_rows(self, digits: &[i8; 8]) -> Self::Codes;
    /// The same two floats to each row.
    fn floats_to_rows(self, values: &[f32; 2]) -> Self::Floats;
    /// The two IEEE halves with which each row's bytes begin: the first to both of the row's lanes, and the second.
    fn row_halves(self, bytes: Self::Codes) -> (Self::Floats, Self::Floats);
    /// The bytes `2 * two` and `2 * two + 1` of each row as floats. `SIGNED` ones come out times 2^24, so that a byte only has
    /// to get to the top of its lane. `two` is a constant after inlining.
    fn row_floats<const SIGNED: bool>(self, bytes: Self::Codes, two: usize) -> Self::Floats;
    /// The byte `at` of each row as the scale of the row's lanes, for `dot_group` with the same `code_max`. Both are constants
    /// after inlining.
    fn row_scales<const SIGNED: bool>(self, bytes: Self::Codes, at: usize, code_max: usize) -> Self::Scales;
    /// `acc[i] += scale[i] * sum over v of sum(codes[v][4i..4i+4] * x[v][4i..4i+4])`, exactly, for `V` = 2 or 4: codes are
    /// unsigned and at most `code_max` (a constant after inlining), `x` signed, scales of `row_scales::<SIGNED>`.
    fn dot_group<const V: usize, const SIGNED: bool>(
        self,
        acc: Self::Ints,
        codes: [Self::Codes; V],
        x: [Self::Codes; V],
        scales: Self::Scales,
        code_max: usize,
    ) -> Self::Ints;
    /// The same with four vectors, whose codes are the high nibbles of `bytes`, and unsigned scales of `row_scales` for codes of at
    /// most 15.
    #[inline(always)]
    fn dot_high_nibbles(
        self,
        acc: Self::Ints,
        bytes: [Self::Codes; 4],
        x: [Self::Codes; 4],
        scales: Self::Scales,
    ) -> Self::Ints
    where
        Self: Simd,
    {
        let [a, b, c, d] = bytes;
        let codes = [
            self.shift_right(a, 4, 4, 15),
            self.shift_right(b, 4, 4, 15),
            self.shift_right(c, 4, 4, 15),
            self.shift_right(d, 4, 4, 15),
        ];
        self.dot_group::<4, false>(acc, codes, x, scales, 15)
    }
    /// `sum over v of sum(codes[v][4i..4i+4] * x[v][4i..4i+4])`, exactly: codes and `x` as in `dot_group`. One of `P` such sums.
    fn dot_rows<const P: usize>(self, codes: [Self::Codes; 4], x: [Self::Codes; 4], code_max: usize) -> Self::Ints;
    /// `acc[i] + sum(codes[4i..4i+4] * x[4i..4i+4])`, exactly: codes and `x` as in `dot_group`.
    fn dot_bytes(self, acc: Self::Ints, codes: Self::Codes, x: Self::Codes, code_max: usize) -> Self::Ints;
    /// The same. Where a vector is two registers, the compiler does not go on with one of them before the other: else it goes through
    /// all first ones, and keeps on the stack what it will need again for the second ones.
    #[inline(always)]
    fn together(self, ints: Self::Ints) -> Self::Ints {
        ints
    }
    /// The sum of each row's two lanes.
    fn row_sums(self, values: Self::Floats) -> [f32; 8];
}

/// The part of the vocabulary for types with grids: indices, points and signs.
pub trait Grids: Vectors {
    /// Whether points of four columns are looked up in registers, 32 at a time. Else each is a load from the table of signed
    /// points, by the indices in [`Lookups`].
    const REGISTER_GRIDS: bool;

    /// 32 u16.
    type Words: Copy;

    /// 32 bytes as words.
    fn wide(self, bytes: &[u8; 32]) -> Self::Words;
    /// The first four of each eight bytes as words.
    fn wide_first_fours(self, eights: &[[u8; 8]; 8]) -> Self::Words;
    /// 32 words from memory.
    fn load_words(self, words: &[[u8; 2]; 32]) -> Self::Words;
    /// `words[i] | (fields[i] * factors[i % 4]) & mask`, where `fields[i]` are the bytes of `source` at `places[i]`; a place of
    /// 255 stands for the byte 0. Factors are powers of two.
    fn with_fields<const B: usize>(
        self,
        words: Self::Words,
        source: &[u8; B],
        places: &[[u8; 2]; 32],
        factors: [u16; 4],
        mask: u16,
    ) -> Self::Words;
    /// The words modulo [`GRID`] as the indices of a chunk.
    fn store_indices(self, words: Self::Words, out: &mut Lookups);
    /// What `short_codes` finds in `out`, from the same arguments; nothing where points are looked up in registers.
    fn store_signed_indices<const N: usize>(
        self,
        low: &[u8; 64],
        high: &[u8; 8],
        negative: &[[u8; 8]; QUARTERS],
        out: &mut Lookups,
    );
    /// The points of columns `64 * quarter..64 * quarter + 64` with indices for eight columns each.
    fn points(self, grid: &[u64; GRID], lookups: &Lookups, quarter: usize) -> Self::Codes;
    /// The codes of the same columns with indices for four columns each, in bytes, 256 more where the bit of `high` is set;
    /// `code_max - code` in the columns whose bit of `negative` is set. Bits of `high` are 0 where the grid has 256 points.
    #[allow(clippy::too_many_arguments, reason = "of which each level uses some")]
    fn short_codes<const N: usize>(
        self,
        grid: &ShortGrid<N>,
        low: &[u8; 64],
        high: &[u8; 8],
        negative: &[[u8; 8]; QUARTERS],
        code_max: usize,
        lookups: &Lookups,
        quarter: usize,
    ) -> Self::Codes;
    /// `words & mask`.
    fn mask_words(self, words: Self::Words, mask: u16) -> Self::Words;
    /// Adds `value` to the columns of index `i` where `bit` of word `i` is not set; indices are for eight columns.
    fn add_where_clear(
        self,
        codes: Self::Codes,
        words: Self::Words,
        bit: u16,
        quarter: usize,
        value: u8,
    ) -> Self::Codes;
    /// The top nibbles of eight words, a byte each.
    fn top_nibbles_of_twos(self, words: &[[u8; 2]; 8]) -> u64;
    /// The top nibbles of eight words, a byte each.
    fn top_nibbles_of_fours(self, words: &[[u8; 4]; 8]) -> u64;
    /// The top nibbles of eight words, a byte each.
    fn top_nibbles_of_eights(self, words: &[[u8; 8]; 8]) -> u64;
    /// The signs of eight columns each from the top seven bits of words: the eighth makes the number of minus signs even.
    fn even_signs_of_words(self, words: &[[u8; 2]; 32]) -> [[u8; 8]; QUARTERS];
    /// The same from the lowest 28 bits of words for 32 columns each.
    fn even_signs_of_fours(self, words: &[[u8; 4]; 8]) -> [[u8; 8]; QUARTERS];
    /// The same from the second word of each two.
    fn even_signs_of_eights(self, eights: &[[u8; 8]; 8]) -> [[u8; 8]; QUARTERS];
    /// `code`, or `code_max - code` in the columns whose bit is set.
    fn mirrored(self, codes: Self::Codes, negative: &[u8; 8], code_max: usize) -> Self::Codes;
}

/// From how many activation rows on the panel is faster than decode, with 1, 2 and 3 digit planes, by what takes a panel's
/// time. Measured with k = 2048, on a Zen 5 with 14 types and m = 2 to 24; on an Emerald Rapids by benches/crossover.rs.
#[derive(Clone, Copy)]
pub struct PanelFrom {
    /// Others with groups of 32 columns with a float scale each.
    pub floats: [usize; 3],
    /// Others with groups of 32 columns with integer scales.
    pub integers: [usize; 3],
    /// Types that decode eight rows at a time, and codes that are fields of one byte.
    pub fields: [usize; 3],
    /// Such types with codes joined from two fields, in groups of 32 columns.
    pub joined: [usize; 3],
    /// The same in groups of 16.
    pub joined_of_16: [usize; 3],
    /// Such types with codes of six bits.
    pub six_bits: [usize; 3],
    /// Such types with codes from a table.
    pub looked_up: [usize; 3],
    /// Such types with a float scale per group.
    pub float_scales: [usize; 3],
    /// Others with groups of 16 columns.
    pub groups_of_16: [usize; 3],
}

/// See the module's text.
pub trait Simd: Grids + EightRows {
    /// From how many activation rows on the panel is faster than decode, on `Cpu::Other`. Measured on an Emerald Rapids.
    const PANEL_FROM: PanelFrom;
    /// The same on `Cpu::Zen`. Measured on a Zen 4.
    const PANEL_FROM_ZEN: PanelFrom;
    /// The same on `Cpu::Zen5`. Measured on a Zen 5, when panels took 10 to 20 % longer to unpack and decode had no tiles in
    /// memory.
    const PANEL_FROM_ZEN5: PanelFrom;
    /// Weight rows that decode works on at a time: 1 or 2.
    const ROWS: usize;
    /// Strips of 16 weight rows that a panel tile covers: 1 or 2.
    const TILE_STRIPS: usize;
    /// Activation rows that a panel tile covers with 1, 2 and 3 digit planes; at most 6. Chosen so that all sums of a
    /// tile stay in registers.
    const TILE_ROWS: [usize; 3];

    // ---- unpacking ----

    /// 64 bytes.
    fn bytes(self, bytes: &[u8; COLUMNS]) -> Self::Codes;
    /// Each of 16 bytes four times.
    fn repeat(self, bytes: &[u8; 16]) -> Self::Codes;
    /// The low nibbles of 8 bytes, their high nibbles, and the same of the other three eights.
    fn nibbles_of_eights(self, bytes: &[u8; 32]) -> Self::Codes;
    /// 32 bytes and 32 more.
    fn join(self, low: &[u8; 32], high: &[u8; 32]) -> Self::Codes;
    /// The low nibbles of 16 bytes, their high nibbles, and the same of 16 more.
    fn nibbles(self, low: &[u8; 16], high: &[u8; 16]) -> Self::Codes;
    /// The first 32 bytes shifted right by `low` bits and the last 32 by `high`, each byte masked. The shifts are constants
    /// after inlining.
    fn shift_right(self, codes: Self::Codes, low: u32, high: u32, mask: u8) -> Self::Codes;
    /// Each byte shifted left by `count` bits; nothing may be shifted out.
    fn shift_left(self, codes: Self::Codes, count: u32) -> Self::Codes;
    /// All bytes `value`.
    fn splat_codes(self, value: u8) -> Self::Codes;
    /// Bitwise and.
    fn and(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Bitwise or.
    fn or(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Bitwise exclusive or.
    fn xor(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Bytewise sum, modulo 256.
    fn add(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Bytewise difference, modulo 256.
    fn sub(self, a: Self::Codes, b: Self::Codes) -> Self::Codes;
    /// Bytewise product, modulo 256.
    fn multiply(self, codes: Self::Codes, factors: &[u8; COLUMNS]) -> Self::Codes;
    /// 255 where a byte is at least `least`, 0 elsewhere.
    fn at_least(self, codes: Self::Codes, least: u8) -> Self::Codes;
    /// `table[code]` for codes of at most 15.
    fn look_up(self, codes: Self::Codes, table: &[u8; 16]) -> Self::Codes;
    /// 255 where the column's bit is set (column 0 is the lowest), 0 elsewhere.
    fn bits(self, bits: u64) -> Self::Codes;
    /// Integer scales of the 16 groups.
    fn groups(self, scales: [i8; 16]) -> Self::Groups;
    /// Groups 0 to 7 from the bytes of one word, 8 to 15 from those of another.
    fn concatenate(self, low: u64, high: u64) -> Self::Groups;
    /// Groups 0, 2, .. 14 from the bytes of one word, 1, 3, .. 15 from those of another.
    fn interleave(self, even: u64, odd: u64) -> Self::Groups;
    /// Groups `0 0 1 1 .. 7 7` from the eight bytes of a word: a scale per 32 columns as scales per 16.
    #[inline(always)]
    fn groups_twice(self, bytes: u64) -> Self::Groups {
        self.interleave(bytes, bytes)
    }
    /// The scales of the columns `64 * quarter..64 * quarter + 64`. `quarter` is a constant after inlining.
    fn scales(self, groups: Self::Groups, quarter: usize) -> Self::Scales;
    /// Groups as floats.
    fn group_floats(self, groups: Self::Groups) -> Self::Floats;
    /// An IEEE half as f32.
    fn f16(self, bits: [u8; 2]) -> f32;
    /// Eight IEEE halves as f32, each twice: a scale per 32 columns as scales per 16.
    fn f16_twice(self, halves: [u16; 8]) -> Self::Floats;
    /// Eight pairs of IEEE halves, the first in the low bits, as f32, each twice: the first ones, and the second ones.
    fn f16_pairs_twice(self, pairs: [u32; 8]) -> (Self::Floats, Self::Floats);
    /// Eight floats, each twice.
    fn floats_twice(self, values: [f32; 8]) -> Self::Floats;
    /// 16 IEEE halves, four in a word, as f32.
    fn f16_words(self, halves: [u64; 4]) -> Self::Floats;
    /// 16 IEEE halves as f32.
    fn f16_floats(self, halves: &[[u8; 2]; LANES]) -> Self::Floats;
    /// 16 bfloat16 as f32.
    fn bf16_floats(self, halves: &[[u8; 2]; LANES]) -> Self::Floats;

    // ---- integers ----

    /// 64 bytes from memory.
    fn load(self, bytes: &[i8; COLUMNS]) -> Self::Codes;
    /// All lanes 0.
    fn zero(self) -> Self::Ints;
    /// All lanes `value`.
    fn splat_ints(self, value: i32) -> Self::Ints;
    /// `acc[i] += scale[i] * sum(codes[4i..4i+4] * x[4i..4i+4])`, exactly: codes are unsigned and at most `code_max` (a
    /// constant after inlining), `x` signed, scales within i8.
    fn dot_scaled(
        self,
        acc: Self::Ints,
        codes: Self::Codes,
        x: Self::Codes,
        scales: Self::Scales,
        code_max: usize,
    ) -> Self::Ints;
    /// `sum(codes[4i..4i+4] * x[4i..4i+4])`, as `dot_scaled`.
    fn dot(self, codes: Self::Codes, x: Self::Codes, code_max: usize) -> Self::Ints;
    /// `256 * dot(codes, high) + dot(codes, low)`.
    fn dot_two(self, codes: Self::Codes, high: Self::Codes, low: Self::Codes, code_max: usize) -> Self::Ints;
    /// Dot products of `P` digit planes of `M` activation rows with `V` strips of 16 weight rows over `4 * steps` columns,
    /// exactly: `w[v]` points to `steps` code vectors, each 4 columns of 16 rows; `x[m][p]` to `4 * steps` signed digits.
    /// Codes are at most `code_max`; `4 * steps <= 32`. The sums begin with `starts`.
    ///
    /// # Safety
    /// The pointers are readable for `64 * steps` and `4 * steps` bytes; `w[v]` is aligned to 64.
    unsafe fn panel_dots<const P: usize, const M: usize, const V: usize>(
        self,
        w: [*const u8; V],
        x: [[*const i8; P]; M],
        starts: [[i32; P]; M],
        steps: usize,
        code_max: usize,
    ) -> [[[Self::Ints; P]; M]; V];

    // ---- floats ----

    /// `256 * a + b`, which must fit.
    fn shift_add(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Lanes as floats; exact below 2^24.
    fn to_floats(self, ints: Self::Ints) -> Self::Floats;
    /// To the nearest integers, ties to even; they have to fit.
    fn to_ints(self, values: Self::Floats) -> Self::Ints;
    /// 16 integers to memory.
    fn store_ints(self, values: Self::Ints, out: &mut [i32; LANES]);
    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::Floats;
    /// Lane `i` is group `4 * quarter + i / 4`: float group scales as the lanes of a code vector want them. `quarter` is a
    /// constant after inlining.
    fn spread(self, groups: Self::Floats, quarter: usize) -> Self::Floats;
    /// 16 floats from memory.
    fn load_floats(self, values: &[f32; LANES]) -> Self::Floats;
    /// The bytes of 16 floats.
    fn float_bytes(self, values: Self::Floats) -> Self::Codes;
    /// 16 floats to memory.
    fn store_floats(self, values: Self::Floats, out: &mut [f32; LANES]);
    /// `a * b`.
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// `c - a * b`, rounded once.
    fn fnma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// The sum of the lanes, as a tree: lane `i` with `i+8`, then `i+4`, `i+2`, `i+1`.
    fn sum(self, values: Self::Floats) -> f32;

    // ---- layout ----

    /// Asks for the cache line at `address` to be brought in, to all caches. Never faults.
    fn prefetch(self, address: *const u8);
    /// The same for what is read once: past the caches that are slow to take it.
    fn prefetch_once(self, address: *const u8);
    /// The same for what is read some microseconds later: into a cache that holds it until then.
    fn prefetch_for_later(self, address: *const u8);
    /// The address, of which the compiler cannot know what it was computed from: it stays in a register of its own.
    fn opaque(self, address: *const u8) -> *const u8;
    /// Writes the codes of 16 rows, 64 columns each, as 16 vectors of 4 columns: `out[64 * c + 4 * r + b]` is row `r`,
    /// column `4c + b`.
    ///
    /// # Safety
    /// `out` is writable for 1024 bytes and aligned to 64.
    unsafe fn store_transposed(self, rows: &[Self::Codes; LANES], out: *mut u8);
}
