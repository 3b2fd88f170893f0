//! The floating-point environment of the thread: a host may have set another rounding mode, flush-to-zero or unmasked
//! exceptions; the kernels run in the standard one and leave the host's as it was, flags included.

/// The host's floating-point state, put back when this is dropped.
pub(crate) struct FloatState {
    #[cfg(target_arch = "x86_64")]
    mxcsr: u32,
    #[cfg(target_arch = "aarch64")]
    fpcr: u64,
    #[cfg(target_arch = "aarch64")]
    fpsr: u64,
}

impl FloatState {
    /// Round to nearest, denormals as they are, all exceptions masked, from here until the value is dropped.
    #[must_use]
    pub(crate) fn standard() -> FloatState {
        #[cfg(target_arch = "x86_64")]
        {
            const STANDARD: u32 = 0x1f80;
            let mut mxcsr = 0u32;
            // SAFETY: SSE is part of x86_64; the instructions read and write one u32 and the control register, whose old
            // value comes back before anyone else's code runs.
            unsafe {
                std::arch::asm!("stmxcsr [{}]", in(reg) &mut mxcsr, options(nostack, preserves_flags));
                std::arch::asm!("ldmxcsr [{}]", in(reg) &STANDARD, options(nostack, preserves_flags, readonly));
            }
            FloatState { mxcsr }
        }
        #[cfg(target_arch = "aarch64")]
        {
            let (fpcr, fpsr): (u64, u64);
            // SAFETY: as above, with the two registers that aarch64 has for this.
            unsafe {
                std::arch::asm!("mrs {}, fpcr", "mrs {}, fpsr", out(reg) fpcr, out(reg) fpsr, options(nomem, nostack));
                std::arch::asm!("msr fpcr, {}", in(reg) 0u64, options(nomem, nostack));
            }
            FloatState { fpcr, fpsr }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        FloatState {}
    }
}

impl Drop for FloatState {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value is one that the register held.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &self.mxcsr, options(nostack, preserves_flags, readonly));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the values are ones that the registers held.
        unsafe {
            std::arch::asm!("msr fpcr, {}", "msr fpsr, {}", in(reg) self.fpcr, in(reg) self.fpsr, options(nomem, nostack));
        }
    }
}
