//! Operations of the vocabulary that are the same, to the letter, at more than one level: written once and put into each
//! implementation, as methods of a trait cannot be shared otherwise. Knows no algorithm.

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
        fn prefetch(self, address: *const u8) {
            // SAFETY: a prefetch is a hint that never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        fn prefetch_once(self, address: *const u8) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_NTA>(address.cast()) }
        }

        #[inline(always)]
        #[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is done with the pointer")]
        fn opaque(self, mut address: *const u8) -> *const u8 {
            // SAFETY: no instruction.
            unsafe { core::arch::asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags)) }
            address
        }

        #[inline(always)]
        fn prefetch_for_later(self, address: *const u8) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use small_registers;

/// Makes the stack frame of the function that it is inlined into begin with a cache line. Else the compiler may find out too late
/// that it needs room for registers there, and gives it addresses that are multiples of 16 only: every other 32-byte store then
/// lies across two lines, or across two pages, depending on where the caller's stack happened to be, and loads wait for it. At
/// the AVX2 level of a Zen 4, Q4_K with m = 128, FAST made 52 to 106 G products/s and HIGH 25 to 54, from one process to the next.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn align_frame() {
    #[repr(align(64))]
    struct Line(core::mem::MaybeUninit<[u8; 64]>);
    let line = Line(core::mem::MaybeUninit::uninit());
    // SAFETY: no instruction; the address is taken, so that the variable exists.
    unsafe { core::arch::asm!("/* {0} */", in(reg) &raw const line.0, options(nostack, preserves_flags)) }
}

/// Where the bytes of a row's two lanes as floats come from, see `EightRows::row_floats`; -1 is a zero.
#[inline(always)]
pub(super) const fn float_places(signed: bool, two: usize) -> [i8; 8] {
    let b = 2 * two as i8;
    if signed { [-1, -1, -1, b, -1, -1, -1, b + 1] } else { [b, -1, -1, -1, b + 1, -1, -1, -1] }
}

/// `places` within each of two rows of 8 bytes, as places within 16; -1 is a zero.
#[inline(always)]
pub(super) const fn places_of_two_rows(places: [i8; 8]) -> [i8; 16] {
    let [a, b, c, d, e, f, g, h] = places;
    [a, b, c, d, e, f, g, h, later(a), later(b), later(c), later(d), later(e), later(f), later(g), later(h)]
}

#[inline(always)]
const fn later(place: i8) -> i8 {
    if place < 0 { place } else { place + 8 }
}
