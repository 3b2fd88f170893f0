//! The matrix unit's tiles, by `asm!`: the intrinsics are not stable. Knows no vocabulary.
//!
//! Tiles 0 to 3 are sums (activation row x weight row), 4 and 5 have activations (16 rows x 64 columns), 6 and 7 high and low digits
//! of weights (4 columns of 16 rows in a line, 16 lines).
//!
//! Values stay in tiles from one block of assembly to the next. The compiler knows tile registers only as something that such a
//! block overwrites, and has no instruction of its own that would name one, as the feature is enabled nowhere in this crate; the
//! blocks are never reordered; and a switch of threads or a signal keeps the tiles, as it keeps their configuration. Products
//! that were one block each left the vector units idle meanwhile.

use crate::kernels::digit_panel::{Ints, Tiles};
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

/// A product into tile `$sum`, whose sums are stored before or not.
macro_rules! product {
    (true, $sum:literal, $place:literal, $x:literal, $w:literal) => {
        concat!(
            "tilestored [{out} + {line}*1 + ",
            $place,
            "], ",
            $sum,
            "\ntilezero ",
            $sum,
            "\n",
            product!(false, $sum, $place, $x, $w)
        )
    };
    (false, $sum:literal, $place:literal, $x:literal, $w:literal) => {
        // The comment names the operand, as the compiler wants each one to be named.
        concat!("tdpbssd ", $sum, ", ", $x, ", ", $w, " // {out}")
    };
}

macro_rules! first {
    ($store:tt, $x:expr, $w:expr, $out:expr) => {
        asm!(
            "tileloadd tmm4, [{x} + {line}*1]",
            "tileloadd tmm6, [{high} + {line}*1]",
            product!($store, "tmm0", "0", "tmm4", "tmm6"),
            "tileloadd tmm7, [{low} + {line}*1]",
            product!($store, "tmm1", "1024", "tmm4", "tmm7"),
            x = in(reg) $x, high = in(reg) $w[0], low = in(reg) $w[1], line = in(reg) COLUMNS, out = in(reg) $out,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack, preserves_flags),
        )
    };
}

macro_rules! second {
    ($store:tt, $x:expr, $out:expr) => {
        asm!(
            "tileloadd tmm5, [{x} + {line}*1]",
            product!($store, "tmm2", "2048", "tmm5", "tmm6"),
            product!($store, "tmm3", "3072", "tmm5", "tmm7"),
            x = in(reg) $x[0], line = in(reg) COLUMNS, out = in(reg) $out,
            out("tmm2") _, out("tmm3") _, out("tmm5") _,
            options(nostack, preserves_flags),
        )
    };
}

/// A tile of sums gets no two products in a row: each would wait for the one before.
macro_rules! second_of_three {
    ($store:tt, $x:expr, $out:expr) => {
        asm!(
            "tileloadd tmm5, [{x} + {line}*1]",
            product!($store, "tmm2", "2048", "tmm5", "tmm7"),
            "tileloadd tmm4, [{third} + {line}*1]",
            product!($store, "tmm3", "3072", "tmm4", "tmm7"),
            "tdpbssd tmm1, tmm5, tmm6",
            "tdpbssd tmm2, tmm4, tmm6",
            x = in(reg) $x[0], third = in(reg) $x[1], line = in(reg) COLUMNS, out = in(reg) $out,
            out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            options(nostack, preserves_flags),
        )
    };
}

// SAFETY of every block below: the guard proves AMX and a configuration; the caller guarantees the memory.
impl Tiles for TileGuard {
    #[inline(always)]
    unsafe fn first<const STORE: bool>(&mut self, x: *const u8, w: [*const u8; 2], out: *mut Ints) {
        // SAFETY: see above.
        unsafe { if STORE { first!(true, x, w, out) } else { first!(false, x, w, out) } }
    }

    #[inline(always)]
    unsafe fn second<const PLANES: usize, const STORE: bool>(&mut self, x: [*const u8; 2], out: *mut Ints) {
        // SAFETY: see above.
        unsafe {
            match (PLANES, STORE) {
                (3, true) => second_of_three!(true, x, out),
                (3, false) => second_of_three!(false, x, out),
                (_, true) => second!(true, x, out),
                (_, false) => second!(false, x, out),
            }
        }
    }

    #[inline(always)]
    unsafe fn store(&mut self, out: *mut Ints) {
        // SAFETY: see above.
        unsafe {
            asm!(
                "tilestored [{out} + {line}*1], tmm0",
                "tilestored [{out} + {line}*1 + 1024], tmm1",
                "tilestored [{out} + {line}*1 + 2048], tmm2",
                "tilestored [{out} + {line}*1 + 3072], tmm3",
                out = in(reg) out, line = in(reg) COLUMNS,
                options(nostack, preserves_flags),
            );
        }
    }
}
