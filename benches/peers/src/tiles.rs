//! AMX tiles that several peers think are theirs alone: ggml and crate gemm each configure those of a thread once and for all,
//! so the next product of one of them is an illegal instruction after a product of the other. Here each finds its own again.

use crate::roofs::has_amx;
use std::arch::asm;
use std::cell::UnsafeCell;

/// LDTILECFG's operand.
#[repr(C, align(64))]
struct Configuration([u8; 64]);

/// What a peer has configured on the thread that makes all calls.
pub struct Tiles(UnsafeCell<Configuration>);

thread_local! {
    /// Of crate gemm, which candle uses as well.
    pub static GEMM: Tiles = const { Tiles::new() };
}

impl Tiles {
    pub const fn new() -> Tiles {
        Tiles(UnsafeCell::new(Configuration([0; 64])))
    }

    /// Makes a call of the peer that these tiles belong to. It must not call this in turn.
    pub fn during<R>(&self, call: impl FnOnce() -> R) -> R {
        if !has_amx() {
            return call();
        }
        let configuration = self.0.get();
        // SAFETY: not shared between threads, as it is a cell, and not used during the call. The CPU loads what it has
        // stored; a configuration that is not there yet is none, as nobody's tiles are looked at before.
        unsafe {
            if (*configuration).0[0] != 0 {
                asm!(
                    "ldtilecfg [{}]", in(reg) configuration,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, preserves_flags, readonly),
                );
            }
            let result = call();
            asm!("sttilecfg [{}]", in(reg) configuration, options(nostack, preserves_flags));
            result
        }
    }
}
