//! Multiplications per second: independent chains of one instruction in registers. The best that any kernel could do.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

/// One kind of multiplier.
pub struct Unit {
    pub name: &'static str,
    /// Multiplications with an addition, per call.
    pub macs: f64,
    run: fn(),
}

impl Unit {
    pub fn run(&self) {
        (self.run)();
    }
}

/// Turns of the loops.
const TURNS: u64 = 50_000;
/// Accumulators of a loop: more than latency times units on every machine so far.
const CHAINS: u64 = 12;

/// The units that this machine has.
pub fn units() -> Vec<Unit> {
    let unit = |name, macs_per_chain: u64, run| Unit { name, macs: (macs_per_chain * CHAINS * TURNS) as f64, run };
    let mut all = Vec::new();
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        all.push(unit("f32 FMA, 32 B", 8, fma_32));
        all.push(unit("vpmaddubsw, 32 B", 32, maddubs_32));
    }
    if is_x86_feature_detected!("avxvnni") {
        all.push(unit("vpdpbusd, 32 B", 32, dpbusd_32));
    }
    if is_x86_feature_detected!("avx512f") {
        all.push(unit("f32 FMA, 64 B", 16, fma_64));
    }
    if is_x86_feature_detected!("avx512vnni") {
        all.push(unit("vpdpbusd, 64 B", 64, dpbusd_64));
    }
    if amx_granted() {
        // Tiles of 16 rows by 64 bytes; four accumulators.
        all.push(Unit { name: "tdpbusd", macs: (4 * 16 * 16 * 64 * TURNS) as f64, run: tdpbusd });
    }
    all
}

/// A loop of twelve chains: `$before` fills registers 12, 13 and 15 with {bits}, `$body` is one link of chain `\i`.
macro_rules! chains {
    ($name:ident, $broadcast:literal, $body:literal) => {
        fn $name() {
            // SAFETY: registers only, all declared as overwritten; `units` lists this function only where the machine
            // has the instructions.
            unsafe {
                asm!(
                    "vmovd xmm14, {bits:e}",
                    $broadcast,
                    "2:",
                    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
                    $body,
                    ".endr",
                    "dec {turns}",
                    "jnz 2b",
                    "vzeroupper",
                    // As f32 1.002, as bytes 63 and 128: values that numbers have, not zeros, which need less power.
                    bits = in(reg) 0x3f80_3f80_u32,
                    turns = inout(reg) TURNS => _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                    out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(nomem, nostack),
                );
            }
        }
    };
}

chains!(
    fma_32,
    "vpbroadcastd ymm12, xmm14\nvpbroadcastd ymm13, xmm14\nvpbroadcastd ymm15, xmm14",
    "vfmadd231ps ymm\\i, ymm12, ymm13"
);
chains!(
    maddubs_32,
    "vpbroadcastd ymm12, xmm14\nvpbroadcastd ymm13, xmm14\nvpbroadcastd ymm15, xmm14",
    "vpmaddubsw ymm14, ymm12, ymm13\nvpmaddwd ymm14, ymm14, ymm15\nvpaddd ymm\\i, ymm\\i, ymm14"
);
chains!(
    dpbusd_32,
    "vpbroadcastd ymm12, xmm14\nvpbroadcastd ymm13, xmm14\nvpbroadcastd ymm15, xmm14",
    "{{vex}} vpdpbusd ymm\\i, ymm12, ymm13"
);
chains!(
    fma_64,
    "vpbroadcastd zmm12, xmm14\nvpbroadcastd zmm13, xmm14\nvpbroadcastd zmm15, xmm14",
    "vfmadd231ps zmm\\i, zmm12, zmm13"
);
chains!(
    dpbusd_64,
    "vpbroadcastd zmm12, xmm14\nvpbroadcastd zmm13, xmm14\nvpbroadcastd zmm15, xmm14",
    "vpdpbusd zmm\\i, zmm12, zmm13"
);

/// Whether the CPU has AMX with 8-bit integers.
pub fn has_amx() -> bool {
    if __cpuid(0).eax < 7 {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    features >> 24 & 1 == 1 && features >> 25 & 1 == 1
}

/// Whether this process may use AMX. Asks the kernel for it.
fn amx_granted() -> bool {
    if !has_amx() {
        return false;
    }
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_int = 18;
    // SAFETY: the call touches no memory of the process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// LDTILECFG's operand.
#[repr(C, align(64))]
struct TileConfiguration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

fn tdpbusd() {
    let mut configuration =
        TileConfiguration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    configuration.row_bytes[..8].fill(64);
    configuration.rows[..8].fill(16);
    // ggml configures the tiles of a thread once and for all: the unit takes turns with it.
    let mut before =
        TileConfiguration { palette: 0, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let source = [[63u8; 64]; 16];
    // SAFETY: `units` lists this function only where AMX is granted. Reads the configuration and the source, 16 rows of
    // 64 bytes, and writes the configuration that was there before; the tiles are given back at the end.
    unsafe {
        asm!(
            "sttilecfg [{before}]",
            "ldtilecfg [{configuration}]",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "tileloadd tmm4, [{source} + {stride}]",
            "tileloadd tmm5, [{source} + {stride}]",
            "tileloadd tmm6, [{source} + {stride}]",
            "tileloadd tmm7, [{source} + {stride}]",
            "2:",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "dec {turns}",
            "jnz 2b",
            "tilerelease",
            before = in(reg) &mut before,
            configuration = in(reg) &configuration,
            source = in(reg) &source,
            stride = in(reg) 64usize,
            turns = inout(reg) TURNS => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
        if before.palette != 0 {
            asm!(
                "ldtilecfg [{before}]", before = in(reg) &before,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, readonly),
            );
        }
    }
}
