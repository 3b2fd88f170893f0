//! Asking for weights ahead of their use where decode takes eight rows that lie apart. Knows no ISA and no type.

use super::cpu::Cpu;
use crate::blocks::{Affine, chunk_blocks};
use crate::simd::Simd;

/// With rows apart: how far ahead of its use each row is asked for. Q4_K from memory at the AVX-512 level of an Emerald Rapids,
/// one thread, FAST, HIGH, EXACT: 12.3, 12.3, 11.9 GB/s without asking; 256 B ahead 13.8, 13.3, 13.0; 384 B 14.6, 14.3, 13.9;
/// 512 B 14.9, 14.6, 14.4; up to 2 KiB within 2 % of that. All rows at the begin of a chunk instead of two before each quarter:
/// 14.3, 14.4, 14.3, and 9 % less FAST from the third cache.
const AHEAD_OF_ROW: usize = 448;

/// The same on CPUs that [want it in the second cache](Cpu::asks_second_cache). At the AVX-512 level of a Zen 4 beside
/// other tenants, one thread, FAST, HIGH, EXACT, times as fast as with [`AHEAD_OF_ROW`]: Q4_K 1.05, 1.08, 1.05, Q8_0 1.07, 1.05,
/// 1.04, Q5_K 1.07, 1.14, 1.08, Q6_K 1.06, 1.05, 1.01; AVX2 level Q4_K 1.17, 1.13, 1.05; from cache no difference. 2 KiB and 4 KiB
/// gain half of it, 5.5 KiB a little less. Tried and lost: both caches (Q4_K FAST and Q8_0 gain 1 to 5 % more from memory, but from
/// cache Q4_K FAST loses 3 %), the first cache for one line of each chunk, the first cache from 3 KiB away (Q4_K EXACT gains
/// 12 %, Q8_0 loses 25 %: they share their sets).
const AHEAD_IN_SECOND_CACHE: usize = 3520;

/// How a step asks for weights that lie ahead in each of its rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// Not at all.
    Nothing,
    /// [`AHEAD_OF_ROW`].
    FirstCache,
    /// [`AHEAD_IN_SECOND_CACHE`].
    SecondCache,
}

impl Asks {
    /// What a CPU wants.
    pub(super) fn of(cpu: Cpu) -> Asks {
        if cpu.asks_second_cache() { Asks::SecondCache } else { Asks::FirstCache }
    }

    /// Asks for what lies ahead in the row of `block`, the first one of a chunk.
    #[inline(always)]
    pub(super) fn ahead_of<S: Simd, A: Affine>(self, s: S, block: *const A) {
        let lines = (chunk_blocks::<A>() * size_of::<A>()).div_ceil(64);
        let address = |ahead: usize, line: usize| block.cast::<u8>().wrapping_add(ahead + 64 * line);
        match self {
            Asks::Nothing => {}
            Asks::FirstCache => {
                for line in 0..lines {
                    s.prefetch(address(AHEAD_OF_ROW, line));
                }
            }
            Asks::SecondCache => {
                for line in 0..lines {
                    s.prefetch_for_later(address(AHEAD_IN_SECOND_CACHE, line));
                }
            }
        }
    }
}
