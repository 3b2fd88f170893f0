//! What decode of eight weight rows asks of a type: codes, scales and mins of eight blocks, one of each row, in the lanes of
//! vectors. Which types have it: `Affine::EIGHT_ROWS`.

use super::Block;
use crate::simd::{COLUMNS, Simd};

/// How codes are unpacked, which decides from how many activation rows on a panel is faster.
#[derive(Clone, Copy)]
pub(crate) enum Unpacking {
    /// Each is a field of one byte.
    Fields,
    /// Each is joined from two fields.
    Joined,
    /// The same with six bits, whose dots fill 16 bits with four columns already.
    SixBits,
    /// Each is looked up in a table.
    LookedUp,
    /// In groups of 32, each with a float scale.
    FloatScales,
}

/// Masks for all rows: each of `masks` for `bytes_each` bytes, again and again.
#[inline(always)]
pub(super) const fn repeated<const N: usize>(masks: [u8; N], bytes_each: usize) -> [u8; COLUMNS] {
    let mut bytes = [0; COLUMNS];
    let mut i = 0;
    while i < COLUMNS {
        bytes[i] = masks[i / bytes_each % N];
        i += 1;
    }
    bytes
}

/// The first 16 bytes of a block.
#[inline(always)]
pub(crate) fn head<B: Block>(block: &B) -> &[u8; 16] {
    const { assert!(size_of::<B>() >= 16) };
    // SAFETY: blocks have no padding, as `Block` promises, and this one has at least 16 bytes.
    unsafe { &*std::ptr::from_ref(block).cast() }
}

/// The last 16 bytes of a block.
#[inline(always)]
pub(crate) fn tail<B: Block>(block: &B) -> &[u8; 16] {
    const { assert!(size_of::<B>() >= 16) };
    // SAFETY: as in `head`.
    unsafe { &*std::ptr::from_ref(block).cast::<u8>().add(size_of::<B>() - 16).cast() }
}

/// Signed bytes as they lie in memory.
#[inline(always)]
pub(crate) fn unsigned(bytes: &[i8; 16]) -> &[u8; 16] {
    // SAFETY: i8 and u8 have the same size and alignment, and any bits are valid.
    unsafe { &*std::ptr::from_ref(bytes).cast() }
}

/// A group of 32 columns of eight rows: `w = scale * code - 2 * half_min`, or `scale * (code - ROW_OFFSET)`.
#[derive(Clone, Copy)]
pub(crate) struct RowGroup<S: Simd> {
    /// The codes of each row, 8 columns at a time.
    pub(crate) codes: [S::Codes; 4],
    /// The scale, in the lanes of each row.
    pub(crate) scale: S::Floats,
    /// Half of what is subtracted, as each of a row's two lanes subtracts it. Not used where there is a `ROW_OFFSET`.
    pub(crate) half_min: S::Floats,
}

impl<S: Simd> RowGroup<S> {
    /// Nibbles: 16 bytes of each row hold the first 16 columns in their low nibbles.
    #[inline(always)]
    pub(crate) fn nibbles(s: S, bytes: [&[u8; 16]; 8], scale: S::Floats, half_min: S::Floats) -> Self {
        let [a, b] = s.short_rows(bytes);
        let low = s.splat_codes(15);
        let codes = [s.and(a, low), s.and(b, low), s.shift_right(a, 4, 4, 15), s.shift_right(b, 4, 4, 15)];
        RowGroup { codes, scale, half_min }
    }

    /// Codes that stand for values in `table` less the `ROW_OFFSET`.
    #[inline(always)]
    pub(crate) fn looked_up(s: S, bytes: [&[u8; 16]; 8], table: &[u8; 16], scale: S::Floats) -> Self {
        let mut group = RowGroup::nibbles(s, bytes, scale, s.splat(0.0));
        for v in 0..4 {
            group.codes[v] = s.look_up(group.codes[v], table);
        }
        group
    }
}

/// The scales of one chunk of eight rows: `w = d * scale * code - dmin * min`.
#[derive(Clone, Copy)]
pub(crate) struct RowScaling<S: Simd> {
    /// What the integer scales are multiplied by, in the lanes of each row.
    pub(crate) d: S::Floats,
    /// The integer scales of each row, a byte per group of columns, eight groups each.
    pub(crate) scales: [S::Codes; 2],
    /// What the integer mins are multiplied by.
    pub(crate) dmin: S::Floats,
    /// The integer mins of each row, as `scales`.
    pub(crate) mins: [S::Codes; 2],
}

impl<S: Simd> RowScaling<S> {
    /// Signed scales, codes that stand for `code - offset`.
    #[inline(always)]
    pub(crate) fn offset(s: S, offset: u8, d: S::Floats, scales: [S::Codes; 2]) -> Self {
        let dmin = s.mul(d, s.splat(f32::from(offset)));
        RowScaling { d, scales, dmin, mins: scales }
    }
}
