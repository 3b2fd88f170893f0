//! What a CPU prefers, beside the instructions that its level names. Knows no kernel.

use std::sync::atomic::{AtomicU8, Ordering};

/// CPUs that want to be asked for memory in different ways. None of it changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cpu {
    /// Intel's, and all that were never measured. Measured: an Emerald Rapids.
    Other = 1,
    /// AMD's up to Zen 4, and Hygon's, which are Zen 1. Measured: a Zen 4.
    Zen = 2,
    /// AMD's from Zen 5 on. Measured: a Zen 5.
    Zen5 = 3,
}

impl Cpu {
    /// All kinds.
    #[cfg(test)]
    pub(crate) const ALL: [Cpu; 3] = [Cpu::Other, Cpu::Zen, Cpu::Zen5];

    /// The one that this runs on.
    pub(crate) fn of_this_machine() -> Cpu {
        /// 0: not known, else a kind. An atomic, as in `level`.
        static KIND: AtomicU8 = AtomicU8::new(0);
        // Relaxed: the number is all there is, and whoever finds it finds the same.
        match KIND.load(Ordering::Relaxed) {
            1 => Cpu::Other,
            2 => Cpu::Zen,
            3 => Cpu::Zen5,
            _ => {
                let kind = detect();
                KIND.store(kind as u8, Ordering::Relaxed);
                kind
            }
        }
    }

    /// Whether memory is read faster where rows that are multiplied at the same time are neighbours, and where it is asked for
    /// weights ahead of their use in the order of memory, past the caches but the first. Zen 5: see [`super::eight_rows`]. Others
    /// want rows apart, each of which their prefetchers then follow. Q4_K at the AVX-512 level, one thread, FAST, HIGH, EXACT,
    /// GB/s: Emerald Rapids, from memory 5.5, 5.2, 4.9 with neighbours asked for so, 10.7, 10.0, 9.8 by way of all caches, 14.9,
    /// 14.6, 14.4 with rows apart; from the third cache 10, 9, 9, then 26, 22, 20, then 27, 23, 20. Zen 4, whose first cache is two
    /// thirds of a Zen 5's, from memory 9.1, 9.1, 8.5, then 18.4, 17.7, 16.0 by way of the second cache, then 22.1, 20.4, 18.5 with
    /// rows apart. Since those keep out of each other's sets and are asked for by way of the second cache as well, neighbours are
    /// as fast from cache, and from memory 0 to 8 % faster beside busy tenants. Rows from two places on the Emerald Rapids 12.3,
    /// 12.0, 11.5, from four 14.4, 14.1, 13.7.
    pub(crate) fn reads_neighbours(self) -> bool {
        self == Cpu::Zen5
    }

    /// Whether decode of eight rows that lie apart asks for weights to be in the second cache, from further away, instead of the
    /// first one: see [`super::asks`]. A Zen 4's first cache has 32 KiB, and its own prefetchers go on from the second.
    pub(crate) fn asks_second_cache(self) -> bool {
        self == Cpu::Zen
    }

    /// Whether decode of one or two rows asks for weights ahead of their use in any case, see `decode`. On a Zen 4 FAST and HIGH
    /// lose by it where activations are short: Q5_0 nothing, Q8_0, when it was decoded so, 23.3 -> 19.9 GB/s; EXACT gains.
    pub(crate) fn always_asks(self) -> bool {
        self == Cpu::Other
    }

    /// Whether a panel's sweep asks for activations a tile ahead, see `panel_job::FAR_ACTIVATIONS`.
    pub(crate) fn asks_for_activations(self) -> bool {
        self == Cpu::Other
    }

    /// Whether a panel's sweep asks for where its sums will be left, see `panel_job::SweepJob`. Not measured on a Zen 5.
    pub(crate) fn asks_for_results(self) -> bool {
        self != Cpu::Zen5
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Cpu {
    use core::arch::x86_64::__cpuid;
    let vendor = __cpuid(0);
    let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
    if name.as_flattened() == b"HygonGenuine" {
        return Cpu::Zen;
    }
    if name.as_flattened() != b"AuthenticAMD" {
        return Cpu::Other;
    }
    // The family is 15 and what the extended one adds to it: 23 and 25 up to Zen 4, 26 from Zen 5 on.
    let signature = __cpuid(1).eax;
    if (signature >> 8 & 15) + (signature >> 20 & 255) >= 26 { Cpu::Zen5 } else { Cpu::Zen }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Cpu {
    Cpu::Other
}
