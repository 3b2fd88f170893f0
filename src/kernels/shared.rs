//! Operations of the vocabulary that are the same, to the letter, at more than one level: written once and put into each
//! implementation, as methods of a trait cannot be shared otherwise. Knows no algorithm.

/// The tables in plain Rust, for implementations with `Words = [u16; 32]`.
macro_rules! portable_tables {
    () => {
        #[inline(always)]
        fn wide(self, bytes: &[u8; 32]) -> Self::Words {
            bytes.map(u16::from)
        }

        #[inline(always)]
        fn wide_first_fours(self, eights: &[[u8; 8]; 8]) -> Self::Words {
            std::array::from_fn(|i| u16::from(eights[i / 4][i % 4]))
        }

        #[inline(always)]
        fn masked(self, words: &[[u8; 2]; 32], mask: u16) -> Self::Words {
            words.map(|word| u16::from_le_bytes(word) & mask)
        }

        #[inline(always)]
        fn with_bits(self, words: Self::Words, bits: u32, value: u16) -> Self::Words {
            std::array::from_fn(|i| if bits >> i & 1 == 1 { words[i] | value } else { words[i] })
        }

        #[inline(always)]
        fn look_up_words<const N: usize>(self, table: &[u16; N], words: Self::Words) -> Self::Words {
            words.map(|word| table[usize::from(word) % N])
        }

        #[inline(always)]
        fn eight_fields(self, words: Self::Words, quarter: usize) -> Self::Codes {
            let codes: [u8; COLUMNS] = std::array::from_fn(|i| (words[8 * quarter + i / 8] >> (2 * (i % 8)) & 3) as u8);
            self.bytes(&codes)
        }

        #[inline(always)]
        fn four_fields(self, words: Self::Words, half: usize) -> Self::Codes {
            let codes: [u8; COLUMNS] = std::array::from_fn(|i| (words[16 * half + i / 4] >> (3 * (i % 4)) & 7) as u8);
            self.bytes(&codes)
        }
    };
}
pub(super) use portable_tables;

/// What x86 does in 16-byte registers at every level with F16C. The implementation's token proves the features.
#[cfg(target_arch = "x86_64")]
macro_rules! small_registers {
    () => {
        #[inline(always)]
        fn groups(self, scales: [i8; 16]) -> Self::Groups {
            // SAFETY: the token; 16 bytes are read.
            unsafe { _mm_loadu_si128(scales.as_ptr().cast()) }
        }

        #[inline(always)]
        fn concatenate(self, low: u64, high: u64) -> Self::Groups {
            // SAFETY: the token.
            unsafe { _mm_set_epi64x(high as i64, low as i64) }
        }

        #[inline(always)]
        fn interleave(self, even: u64, odd: u64) -> Self::Groups {
            // SAFETY: the token.
            unsafe { _mm_unpacklo_epi8(_mm_cvtsi64_si128(even as i64), _mm_cvtsi64_si128(odd as i64)) }
        }

        #[inline(always)]
        fn f16(self, bits: [u8; 2]) -> f32 {
            // SAFETY: the token.
            unsafe { _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes(bits))))) }
        }

        #[inline(always)]
        fn prefetch(self, address: *const u8) {
            // SAFETY: a prefetch is a hint that never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use small_registers;
