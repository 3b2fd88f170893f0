//! The matrix unit's tiles, by `asm!`: the intrinsics are not stable. Knows no vocabulary.
//!
//! Tiles 0 to 3 are sums (activation row x weight row), 4 has activations (16 rows x 64 columns), 5 and 6 weights (4 columns of
//! 16 rows in a line, 16 lines).
//!
//! Values stay in tiles from one block of assembly to the next. The compiler knows tile registers only as something that such a
//! block overwrites, and has no instruction of its own that would name one, as the feature is enabled nowhere in this crate; the
//! blocks are never reordered; and a switch of threads or a signal keeps the tiles, as it keeps their configuration. Products
//! that were one block each left the vector units idle meanwhile.

use crate::kernels::digit_panel::{IntTiles, Tiles};
use crate::kernels::panel::STRIPS;
use crate::simd::{COLUMNS, LANES};
use std::arch::asm;
use std::marker::PhantomData;

/// What LDTILECFG reads: the palette, then at byte 16 the bytes of a line of each tile as 16-bit words, at byte 48 the lines
/// of each tile.
#[repr(align(64))]
struct Configuration([u8; 64]);

/// The thread's tiles, shaped for products. What the host had configured is there again when this is dropped: ggml configures
/// tiles once for each of its threads, and its next product would be an illegal instruction if they were only given back. The
/// contents of tiles are nobody's across a call. Stays on its thread.
pub(super) struct TileGuard {
    host: Configuration,
    _stays: PhantomData<*const ()>,
}

impl TileGuard {
    /// Shapes the tiles: 16 lines of 64 bytes each.
    ///
    /// # Safety
    /// The CPU has AMX-TILE and AMX-INT8, the OS lets the process use them, and the thread has no other guard.
    #[inline(always)]
    pub(super) unsafe fn configure() -> TileGuard {
        const SHAPES: Configuration = {
            let mut configuration = [0; 64];
            configuration[0] = 1;
            let mut tile = 0;
            while tile < 8 {
                configuration[16 + 2 * tile] = COLUMNS as u8;
                configuration[48 + tile] = LANES as u8;
                tile += 1;
            }
            Configuration(configuration)
        };
        let mut host = Configuration([0; 64]);
        // SAFETY: the caller's promise; 64 bytes are written and read.
        unsafe {
            asm!("sttilecfg [{}]", in(reg) &mut host, options(nostack, preserves_flags));
            load(&SHAPES);
        }
        TileGuard { host, _stays: PhantomData }
    }
}

impl Drop for TileGuard {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: as `configure`; what the CPU has stored can be loaded.
        unsafe {
            if self.host.0[0] == 0 {
                asm!(
                    "tilerelease",
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack, preserves_flags, nomem),
                );
            } else {
                load(&self.host);
            }
        }
    }
}

/// Shapes the tiles.
///
/// # Safety
/// As [`TileGuard::configure`].
#[inline(always)]
unsafe fn load(configuration: &Configuration) {
    // SAFETY: the caller's promise; 64 bytes are read.
    unsafe {
        asm!(
            "ldtilecfg [{}]", in(reg) configuration,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags, readonly),
        );
    }
}

/// The assembly for a pair of tiles of sums: their numbers are part of it.
macro_rules! for_pair {
    ($pair:expr, $assembly:ident, $($operand:expr),+) => {
        if $pair == 0 {
            $assembly!("tmm0", "tmm1", $($operand),+)
        } else {
            $assembly!("tmm2", "tmm3", $($operand),+)
        }
    };
}

macro_rules! add {
    ($first:tt, $second:tt, $w:expr) => {
        asm!(
            "tileloadd tmm5, [{w0} + {line}*1]",
            concat!("tdpbssd ", $first, ", tmm4, tmm5"),
            "tileloadd tmm6, [{w1} + {line}*1]",
            concat!("tdpbssd ", $second, ", tmm4, tmm6"),
            w0 = in(reg) $w[0], w1 = in(reg) $w[1], line = in(reg) COLUMNS,
            out($first) _, out($second) _, out("tmm5") _, out("tmm6") _,
            options(nostack, preserves_flags, readonly),
        )
    };
}

macro_rules! store_and_add {
    ($first:tt, $second:tt, $out:expr, $w:expr) => {
        asm!(
            "tileloadd tmm5, [{w0} + {line}*1]",
            concat!("tilestored [{out} + {line}*1], ", $first),
            concat!("tilezero ", $first),
            concat!("tdpbssd ", $first, ", tmm4, tmm5"),
            "tileloadd tmm6, [{w1} + {line}*1]",
            concat!("tilestored [{out} + {line}*1 + 1024], ", $second),
            concat!("tilezero ", $second),
            concat!("tdpbssd ", $second, ", tmm4, tmm6"),
            w0 = in(reg) $w[0], w1 = in(reg) $w[1], line = in(reg) COLUMNS, out = in(reg) $out,
            out($first) _, out($second) _, out("tmm5") _, out("tmm6") _,
            options(nostack, preserves_flags),
        )
    };
}

macro_rules! store {
    ($first:tt, $second:tt, $out:expr) => {
        asm!(
            concat!("tilestored [{out} + {line}*1], ", $first),
            concat!("tilestored [{out} + {line}*1 + 1024], ", $second),
            out = in(reg) $out, line = in(reg) COLUMNS,
            options(nostack, preserves_flags),
        )
    };
}

// SAFETY of every block below: the guard proves AMX and a configuration; the caller guarantees the memory.
impl Tiles for TileGuard {
    #[inline(always)]
    unsafe fn take(&mut self, x: *const u8) {
        // SAFETY: see above.
        unsafe {
            asm!(
                "tileloadd tmm4, [{x} + {line}*1]", x = in(reg) x, line = in(reg) COLUMNS,
                out("tmm4") _,
                options(nostack, preserves_flags, readonly),
            );
        }
    }

    #[inline(always)]
    unsafe fn add<const PAIR: usize>(&mut self, w: [*const u8; STRIPS]) {
        // SAFETY: see above.
        unsafe { for_pair!(PAIR, add, w) }
    }

    #[inline(always)]
    unsafe fn store_and_add<const PAIR: usize>(&mut self, out: *mut IntTiles, w: [*const u8; STRIPS]) {
        // SAFETY: see above.
        unsafe { for_pair!(PAIR, store_and_add, out, w) }
    }

    #[inline(always)]
    unsafe fn store<const PAIR: usize>(&mut self, out: *mut IntTiles) {
        // SAFETY: see above.
        unsafe { for_pair!(PAIR, store, out) }
    }
}
