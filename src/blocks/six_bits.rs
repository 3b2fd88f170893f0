//! The eight scales and eight mins of Q4_K and Q5_K: 6 bits each, in 12 bytes.
//!
//! ```text
//! g < 4:   s[g] = byte[g] & 63                               m[g] = byte[g+4] & 63
//! g >= 4:  s[g] = byte[g+4] & 15 | byte[g-4] >> 6 << 4       m[g] = byte[g+4] >> 4 | byte[g] >> 6 << 4
//! ```

use super::eight_rows::repeated;
use crate::simd::Simd;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct SixBits([u8; 12]);

impl SixBits {
    /// The eight scales and the eight mins, byte g of each word. In general registers, as decode runs short of vector units:
    /// taken apart in those, with a third of the instructions, Q4_K lost 7 % at the AVX-512 level of a Zen 5 and 18 % at the
    /// AVX2 level.
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

    /// The scales and the mins of eight rows, from the 16 bytes that end with these 12: the first 8 bytes of each, and the last
    /// 8.
    #[inline(always)]
    pub(super) fn of_rows<S: Simd>(s: S, [first, last]: [S::Codes; 2]) -> (S::Codes, S::Codes) {
        // `first` ends with s0..s3, `last` is m0..m3, h0..h3; those four bytes twice.
        let s0123 = s.pick(first, [4, 5, 6, 7, 4, 5, 6, 7]);
        let m0123 = s.pick(last, [0, 1, 2, 3, 0, 1, 2, 3]);
        let six = s.bytes(&const { repeated([63, 0], 4) });
        let four = s.bytes(&const { repeated([0, 15], 4) });
        let two = s.bytes(&const { repeated([0, 0x30], 4) });
        let scales = s.or(s.and(s0123, six), s.and(last, four));
        let mins = s.or(s.and(last, six), s.and(s.shift_right(last, 4, 4, 15), four));
        (
            s.or(scales, s.and(s.shift_right(s0123, 2, 2, 63), two)),
            s.or(mins, s.and(s.shift_right(m0123, 2, 2, 63), two)),
        )
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
