//! The eight scales and eight mins of Q4_K and Q5_K: 6 bits each, in 12 bytes.
//!
//! ```text
//! g < 4:   s[g] = byte[g] & 63                               m[g] = byte[g+4] & 63
//! g >= 4:  s[g] = byte[g+4] & 15 | byte[g-4] >> 6 << 4       m[g] = byte[g+4] >> 4 | byte[g] >> 6 << 4
//! ```

use crate::simd::{COLUMNS, Simd};

/// Four masks of four bytes each, for each of four rows.
const fn four_times(masks: [u8; 4]) -> [u8; COLUMNS] {
    let mut bytes = [0; COLUMNS];
    let mut i = 0;
    while i < COLUMNS {
        bytes[i] = masks[i / 4 % 4];
        i += 1;
    }
    bytes
}

/// See the module's text.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct SixBits([u8; 12]);

impl SixBits {
    /// The eight scales and the eight mins, byte g of each word. In general registers, as decode runs short of vector units: taken apart in
    /// those, with a third of the instructions, Q4_K lost 7 % at the AVX-512 level of a Zen 5 and 18 % at the AVX2 level.
    #[inline(always)]
    pub(super) fn scales_and_mins(self) -> (u64, u64) {
        let [s0, s1, s2, s3, m0, m1, m2, m3, h0, h1, h2, h3] = self.0;
        let first = u32::from_le_bytes([s0, s1, s2, s3]);
        let second = u32::from_le_bytes([m0, m1, m2, m3]);
        let third = u32::from_le_bytes([h0, h1, h2, h3]);
        let scales_high = (third & 0x0f0f_0f0f) | ((first >> 2) & 0x3030_3030);
        let mins_high = ((third >> 4) & 0x0f0f_0f0f) | ((second >> 2) & 0x3030_3030);
        let scales = u64::from(first & 0x3f3f_3f3f) | u64::from(scales_high) << 32;
        let mins = u64::from(second & 0x3f3f_3f3f) | u64::from(mins_high) << 32;
        (scales, mins)
    }

    /// The scales of four rows in bytes 0..8 of each, the mins in bytes 8..16, from the 16 bytes that end with these 12.
    #[inline(always)]
    pub(super) fn of_rows<S: Simd>(s: S, bytes: S::Codes) -> S::Codes {
        const N: i8 = -1;
        // Bits 0..4, and where it is one byte per value also bits 4..6: [s0..s3, h0..h3, m0..m3, h0..h3], the last four shifted.
        let low = s.pick(bytes, [4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, N, N, N, N]);
        let low = s.and(low, s.bytes(&const { four_times([63, 15, 63, 0]) }));
        let shifted = s.pick(bytes, [N, N, N, N, N, N, N, N, N, N, N, N, 12, 13, 14, 15]);
        let low = s.or(low, s.shift_right(shifted, 4, 4, 15));
        // Bits 4..6 of the last four scales and of the last four mins.
        let high = s.pick(bytes, [N, N, N, N, 4, 5, 6, 7, N, N, N, N, 8, 9, 10, 11]);
        s.or(low, s.shift_right(high, 2, 2, 0x30))
    }

    /// The reverse.
    pub(super) fn of(scales: &[u8; 8], mins: &[u8; 8]) -> SixBits {
        let mut bytes = [0; 12];
        for g in 0..4 {
            bytes[g] = scales[g] | scales[g + 4] >> 4 << 6;
            bytes[g + 4] = mins[g] | mins[g + 4] >> 4 << 6;
            bytes[g + 8] = (scales[g + 4] & 15) | (mins[g + 4] & 15) << 4;
        }
        SixBits(bytes)
    }
}
