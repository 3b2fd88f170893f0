//! Whether the CPU and the OS have AMX, and the permission to use it, which Linux gives to a process only on request.
//!
//! The request has a price: from then on, the kernel refuses alternate signal stacks that are too small for a frame with the
//! tiles (`AT_MINSIGSTKSZ`), and frames of threads that have used tiles grow by some 8 KiB. So it is made where a context
//! wants the level, never before. It is refused where some thread has an alternate stack that is too small already.

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::atomic::{AtomicBool, Ordering};

/// The state component of the tiles' contents; 17 is that of their configuration.
const TILE_DATA: u64 = 18;

static PRETENDED: AtomicBool = AtomicBool::new(false);

/// For tests: [`is_available`] is true from now on, whatever the CPU has.
///
/// # Safety
/// The caller executes the AMX instructions that the CPU refuses. To be called before anything asks for levels.
#[doc(hidden)]
pub unsafe fn pretend() {
    PRETENDED.store(true, Ordering::Relaxed);
}

/// Whether CPU and OS have AMX with 8-bit integers; the permission is another matter. The rest of the level (AVX-512 VNNI) is
/// not looked at.
pub(in crate::kernels) fn is_available() -> bool {
    #[target_feature(enable = "xsave")]
    unsafe fn tile_state_is_enabled() -> bool {
        // SAFETY: the feature is there, as the caller has seen.
        let enabled = unsafe { _xgetbv(0) };
        enabled >> (TILE_DATA - 1) & 3 == 3
    }

    const OSXSAVE: u32 = 1 << 27;
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    if PRETENDED.load(Ordering::Relaxed) {
        return true;
    }
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let has = __cpuid_count(7, 0).edx & (AMX_TILE | AMX_INT8) == AMX_TILE | AMX_INT8;
    // SAFETY: OSXSAVE says that the instruction is there and the OS lets programs use it.
    has && unsafe { tile_state_is_enabled() }
}

/// Asks the OS to let this process use tiles; false if it refuses. Children of a fork inherit the permission, as do threads
/// that there are or will be. Asking again changes nothing.
pub(in crate::kernels) fn request_permission() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    // SAFETY: arch_prctl(2): numbers only.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}
