//! What a CPU prefers, beside the instructions that its level names. Knows no kernel.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether this CPU reads memory faster where rows that are multiplied at the same time are neighbours, and where it is asked
/// for weights ahead of their use in the order of memory, past its caches. AMD's does (measured on a Zen 5). Intel's wants each
/// row in a page of its own, which its prefetcher then follows, and what is asked for past the second cache comes late: Q4_K at
/// the AVX-512 level of an Emerald Rapids, one thread, FAST, HIGH, EXACT: from memory 5.5, 5.2, 4.9 GB/s with neighbours asked
/// for so, 10.7, 10.0, 9.8 by way of all caches, 14.9, 14.6, 14.4 with rows apart; from the third cache 10, 9, 9, then 26, 22,
/// 20, then 27, 23, 20. Rows from two places 12.3, 12.0, 11.5 from memory, from four 14.4, 14.1, 13.7.
pub(crate) fn reads_neighbours() -> bool {
    /// 0: not known, 1: no, 2: yes. An atomic, as in `level`.
    static NEIGHBOURS: AtomicU8 = AtomicU8::new(0);
    // Relaxed: the number is all there is, and whoever finds it finds the same.
    let mut known = NEIGHBOURS.load(Ordering::Relaxed);
    if known == 0 {
        known = if is_amd() { 2 } else { 1 };
        NEIGHBOURS.store(known, Ordering::Relaxed);
    }
    known == 2
}

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let vendor = core::arch::x86_64::__cpuid(0);
    // "AuthenticAMD", and "HygonGenuine" with cores of AMD's.
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
        || vendor.ebx == u32::from_le_bytes(*b"Hygo")
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}
