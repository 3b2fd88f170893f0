//! The matrix unit's tiles, by `asm!`: the intrinsics are not stable. Knows no vocabulary.
//!
//! Tiles 0 to 3 are sums (activation row x weight row), 4 and 5 activations (row x 64 columns), 6 and 7 weights (4 columns of
//! 16 rows in a line, 16 lines). The compiler knows tile registers only as something that a block of assembly overwrites, so
//! a block that leaves values in them for the next one would be wrong: each product is one block, unrolled.
//!
//! For two tiles of rows, a step of 64 columns has 4 loads and 4 products: at 16 cycles a product and two lines of 64 bytes
//! loaded in a cycle, the loads take half the time of the products.

use crate::kernels::digit_panel::{IntTile, Tiles};
use crate::kernels::panel::STRIPS;
use crate::simd::{COLUMNS, LANES};
use std::arch::asm;
use std::marker::PhantomData;

/// Tiles from here on hold weights, the others activation rows and sums.
const FIRST_WEIGHT_TILE: usize = 6;

/// What LDTILECFG reads: the palette, then at byte 16 the bytes of a line of each tile as 16-bit words, at byte 48 the lines
/// of each tile.
#[repr(align(64))]
struct Configuration([u8; 64]);

/// The thread's tiles, shaped for products; given back when this is dropped, so that neither the host nor a context switch
/// has to carry them along. Stays on its thread.
pub(super) struct TileGuard(PhantomData<*const ()>);

impl TileGuard {
    /// Shapes the tiles for `rows` activation rows, 1 to 16.
    ///
    /// # Safety
    /// The CPU has AMX-TILE and AMX-INT8, the OS lets the process use them, and the thread has no other guard.
    #[inline(always)]
    pub(super) unsafe fn configure(rows: usize) -> TileGuard {
        let mut configuration = Configuration([0; 64]);
        configuration.0[0] = 1;
        for tile in 0..8 {
            configuration.0[16 + 2 * tile] = COLUMNS as u8;
            configuration.0[48 + tile] = if tile < FIRST_WEIGHT_TILE { rows as u8 } else { LANES as u8 };
        }
        // SAFETY: the caller's promise; 64 bytes are read.
        unsafe {
            asm!(
                "ldtilecfg [{}]", in(reg) &configuration,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, readonly),
            );
        }
        TileGuard(PhantomData)
    }
}

impl Drop for TileGuard {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: as `configure`.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, nomem),
            );
        }
    }
}

/// 64 columns of two tiles of rows.
macro_rules! step_of_two {
    ($step:literal) => {
        concat!(
            "tileloadd tmm4, [{x0} + {stride}*1 + ",
            $step,
            "*64]\n",
            "tileloadd tmm6, [{w0} + {line}*1 + ",
            $step,
            "*1024]\n",
            "tdpbssd tmm0, tmm4, tmm6\n",
            "tileloadd tmm7, [{w1} + {line}*1 + ",
            $step,
            "*1024]\n",
            "tdpbssd tmm1, tmm4, tmm7\n",
            "tileloadd tmm5, [{x1} + {stride}*1 + ",
            $step,
            "*64]\n",
            "tdpbssd tmm2, tmm5, tmm6\n",
            "tdpbssd tmm3, tmm5, tmm7\n",
        )
    };
}

/// 64 columns of one tile of rows.
macro_rules! step_of_one {
    ($step:literal) => {
        concat!(
            "tileloadd tmm4, [{x0} + {stride}*1 + ",
            $step,
            "*64]\n",
            "tileloadd tmm6, [{w0} + {line}*1 + ",
            $step,
            "*1024]\n",
            "tdpbssd tmm0, tmm4, tmm6\n",
            "tileloadd tmm7, [{w1} + {line}*1 + ",
            $step,
            "*1024]\n",
            "tdpbssd tmm1, tmm4, tmm7\n",
        )
    };
}

/// A product of two tiles of rows, over the steps given.
macro_rules! product_of_two {
    ($x:expr, $stride:expr, $w:expr, $out:expr, $($step:literal)+) => {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            $(step_of_two!($step),)+
            "tilestored [{out} + {line}*1], tmm0",
            "tilestored [{out} + {line}*1 + 1024], tmm1",
            "tilestored [{out} + {line}*1 + 2048], tmm2",
            "tilestored [{out} + {line}*1 + 3072], tmm3",
            x0 = in(reg) $x[0], x1 = in(reg) $x[M - 1], stride = in(reg) $stride,
            w0 = in(reg) $w[0], w1 = in(reg) $w[1], line = in(reg) COLUMNS, out = in(reg) $out,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags),
        )
    };
}

/// A product of one tile of rows, over the steps given.
macro_rules! product_of_one {
    ($x:expr, $stride:expr, $w:expr, $out:expr, $($step:literal)+) => {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            $(step_of_one!($step),)+
            "tilestored [{out} + {line}*1], tmm0",
            "tilestored [{out} + {line}*1 + 1024], tmm1",
            x0 = in(reg) $x[0], stride = in(reg) $stride,
            w0 = in(reg) $w[0], w1 = in(reg) $w[1], line = in(reg) COLUMNS, out = in(reg) $out,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags),
        )
    };
}

impl Tiles for TileGuard {
    #[inline(always)]
    unsafe fn multiply<const M: usize, const QUARTERS: usize>(
        &self,
        x: [*const u8; M],
        stride: usize,
        w: [*const u8; STRIPS],
        out: *mut [IntTile; STRIPS],
    ) {
        const { assert!(STRIPS == 2 && (M == 1 || M == 2) && (QUARTERS == 4 || QUARTERS == 8)) };
        // SAFETY: the guard proves AMX and a configuration; the caller guarantees the memory.
        unsafe {
            match (M, QUARTERS) {
                (1, 4) => product_of_one!(x, stride, w, out, 0 1 2 3),
                (1, _) => product_of_one!(x, stride, w, out, 0 1 2 3 4 5 6 7),
                (_, 4) => product_of_two!(x, stride, w, out, 0 1 2 3),
                _ => product_of_two!(x, stride, w, out, 0 1 2 3 4 5 6 7),
            }
        }
    }
}
