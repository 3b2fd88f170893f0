//! Reading memory: many ways of doing it, since none is the fastest everywhere. The best one is the roof of decode.

// Plain loops over fixed arrays: what the compiler unrolls.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

/// One way to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reader {
    /// Parts of the memory that are read alternately.
    streams: usize,
    /// How many bytes ahead each stream asks for its data; 0 = it does not ask.
    ahead: usize,
    /// 64-byte loads, else 32.
    wide: bool,
}

/// All ways that this machine has.
pub fn readers() -> Vec<Reader> {
    let wide = is_x86_feature_detected!("avx512f");
    assert!(is_x86_feature_detected!("avx2"), "the peers need AVX2");
    let mut all = Vec::new();
    for streams in [1, 2, 4, 8] {
        for ahead in [0, 512, 1024, 2048, 4096] {
            all.push(Reader { streams, ahead, wide });
        }
    }
    all
}

/// Bytes read from one stream before the next one's turn.
const STEP: usize = 256;

impl Reader {
    pub fn name(&self) -> String {
        let Reader { streams, ahead, wide } = self;
        format!("{} B loads, {streams} streams, prefetch {ahead} B ahead", if *wide { 64 } else { 32 })
    }

    /// Reads share `number` of `shares` of `data`.
    pub fn read(&self, data: &[u8], number: usize, shares: usize) {
        let part = data.len() / shares / self.streams / STEP * STEP;
        let share = &data[number * part * self.streams..][..part * self.streams];
        // SAFETY: the features were detected (`readers`); the share is `streams` parts long.
        let value = unsafe {
            match (self.wide, self.streams) {
                (true, 1) => read_wide::<1>(share.as_ptr(), part, self.ahead),
                (true, 2) => read_wide::<2>(share.as_ptr(), part, self.ahead),
                (true, 4) => read_wide::<4>(share.as_ptr(), part, self.ahead),
                (true, _) => read_wide::<8>(share.as_ptr(), part, self.ahead),
                (false, 1) => read_narrow::<1>(share.as_ptr(), part, self.ahead),
                (false, 2) => read_narrow::<2>(share.as_ptr(), part, self.ahead),
                (false, 4) => read_narrow::<4>(share.as_ptr(), part, self.ahead),
                (false, _) => read_narrow::<8>(share.as_ptr(), part, self.ahead),
            }
        };
        std::hint::black_box(value);
    }
}

/// # Safety
/// `data` has `S * part` bytes, `part` a multiple of `STEP`; AVX-512 F.
#[target_feature(enable = "avx512f")]
unsafe fn read_wide<const S: usize>(data: *const u8, part: usize, ahead: usize) -> i64 {
    let mut sums = [_mm512_setzero_si512(); 4];
    for at in (0..part).step_by(STEP) {
        for stream in 0..S {
            // SAFETY: inside of the part; a prefetch may lie anywhere.
            unsafe {
                let address = data.add(stream * part + at);
                for line in 0..4 {
                    if ahead > 0 {
                        _mm_prefetch(address.wrapping_add(ahead + 64 * line).cast(), _MM_HINT_T0);
                    }
                    sums[line] = _mm512_add_epi64(sums[line], _mm512_loadu_si512(address.add(64 * line).cast()));
                }
            }
        }
    }
    let sum = _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
    _mm512_reduce_add_epi64(sum)
}

/// # Safety
/// As [`read_wide`], with AVX2.
#[target_feature(enable = "avx2")]
unsafe fn read_narrow<const S: usize>(data: *const u8, part: usize, ahead: usize) -> i64 {
    let mut sums = [_mm256_setzero_si256(); 8];
    for at in (0..part).step_by(STEP) {
        for stream in 0..S {
            // SAFETY: inside of the part; a prefetch may lie anywhere.
            unsafe {
                let address = data.add(stream * part + at);
                for half in 0..8 {
                    if ahead > 0 && half % 2 == 0 {
                        _mm_prefetch(address.wrapping_add(ahead + 32 * half).cast(), _MM_HINT_T0);
                    }
                    sums[half] = _mm256_add_epi64(sums[half], _mm256_loadu_si256(address.add(32 * half).cast()));
                }
            }
        }
    }
    let sum = sums.into_iter().reduce(|a, b| _mm256_add_epi64(a, b)).unwrap_or(_mm256_setzero_si256());
    _mm256_extract_epi64::<0>(sum) ^ _mm256_extract_epi64::<1>(sum) ^ _mm256_extract_epi64::<3>(sum)
}
