//! How an ISA computes: the decode, panel and float algorithms, written once over the vocabulary of `simd`, and
//! one folder per ISA that implements the vocabulary. Knows no files, no threads, no C.
//!
//! A driver sees only `Kernels`, a table of function pointers for one (level, type). Entries are filled by
//! measurement: where a newer ISA is slower at one job, its table takes the entry of an older one.
//!
//! To add an ISA: a folder with a token that implements `Simd` and a trampoline, a [`Level`], one line in
//! `Level::is_supported` and one each in `Kernels::of` and `Kernels::packing`. A matrix unit is an ISA that adds a digit panel
//! to another's kernels.

// Closures and iterator adapters stop inlining where target features are concerned: plain loops over fixed arrays.
#![allow(clippy::needless_range_loop)]

pub(crate) mod activations;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
mod asks;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
mod bands;
mod chunk;
pub(crate) mod cpu;
pub(crate) mod decode;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod digit_panel;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod digit_sweep;
mod eight_rows;
mod float;
pub(crate) mod float_state;
mod level;
mod mins;
pub(crate) mod panel;
pub(crate) mod panel_job;
mod scalar;
mod shared;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[doc(hidden)]
pub use amx::pretend as pretend_amx;
pub use level::Level;

use crate::blocks::{Affine, Block, FloatWeight, TensorType, Visitor, with_block};
use crate::simd::Simd;
use activations::PackActivations;
use cpu::Cpu;
use decode::Decode;
use float::FloatProduct;
use panel::{PackPanel, Sweep};
use std::marker::PhantomData;

/// An algorithm with its operands, to be run with some ISA's vocabulary.
pub(crate) trait Task {
    /// Runs it. Always inlined into `Isa::run`, where the instructions of the ISA are enabled.
    fn run<S: Simd>(self, s: S);
}

/// An ISA: its vocabulary and the one function that has its target features.
pub(crate) trait Isa {
    /// The vocabulary.
    type Simd: Simd;

    /// The ISA whose decode of eight weight rows is used, where no code is over 127: this one, or an older one that is faster at
    /// it.
    type EightRows: Isa;

    /// Runs a task with this ISA's instructions.
    ///
    /// # Safety
    /// The CPU and the OS grant the level ([`Level::is_supported`]), and the task's own promises hold.
    unsafe fn run<T: Task>(task: T);
}

/// The kernels of one level for one type. All of them are unsafe to call: the level must be supported, and the job's
/// pointers must hold what its fields say.
#[derive(Clone, Copy)]
#[allow(clippy::large_enum_variant, reason = "there is one for each product, on the stack")]
pub(crate) enum Kernels {
    /// Float weights: one algorithm for any m.
    Float(unsafe fn(decode::Job)),
    /// Quantised weights, by digit planes - 1.
    Quantized {
        /// Few activation rows, straight from the blocks.
        decode: [unsafe fn(decode::Job); 3],
        /// Many activation rows.
        panel: PanelKernels,
        /// Even more, where the level has a matrix unit and the type integer scales.
        digit_panel: Option<PanelKernels>,
    },
}

/// The kernels of a panel: its layout is theirs alone.
#[derive(Clone, Copy)]
pub(crate) struct PanelKernels {
    /// Weight rows into a panel.
    pub(crate) pack: unsafe fn(panel_job::PackJob),
    /// A panel with many activation rows, by digit planes - 1.
    pub(crate) sweep: [unsafe fn(panel_job::SweepJob); 3],
    /// Bytes of a strip and chunk.
    pub(crate) record_bytes: usize,
    /// From how many activation rows on it is the faster way, by digit planes - 1. Measured: benches/crossover.rs.
    pub(crate) from: [usize; 3],
    /// The most strips of a panel, a power of two, and the most chunks.
    pub(crate) most_strips: usize,
    pub(crate) most_chunks: usize,
    /// The most bytes of a panel with more than the fewest strips: it should stay in L2, with room for activations.
    pub(crate) most_bytes: usize,
    /// Where sweeps want activations as tiles.
    pub(crate) tiling: Option<Tiling>,
}

/// How packed activations become tiles.
#[derive(Clone, Copy)]
pub(crate) struct Tiling {
    /// By digit planes - 1.
    pub(crate) tile: [unsafe fn(panel_job::TileJob); 3],
    /// How many bytes, for so many activation rows, chunks and digit planes.
    pub(crate) bytes: fn(usize, usize, usize) -> usize,
    /// The most bytes that should be had at a time: they should stay in L2, with a panel.
    pub(crate) most_bytes: usize,
    /// The most bytes that may be had.
    pub(crate) limit_bytes: usize,
}

/// f32 rows to be packed; the fields are those of [`PackActivations`].
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) x: *const f32,
    pub(crate) x_stride: usize,
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) out: *mut u8,
    pub(crate) finite: *mut bool,
}

impl Kernels {
    /// The kernels of `level` for `tensor_type`; `None` where the type cannot be multiplied or the build lacks the level.
    pub(crate) fn of(level: Level, tensor_type: TensorType) -> Option<Kernels> {
        match level {
            // `few_kernels`: every level has the kernels of AVX2, and decode tiles of one row only (`panel::most_decoded`), which
            // spares who checks something else most of the time that the library takes to build.
            #[cfg(target_arch = "x86_64")]
            level if level == Level::Avx2 || cfg!(few_kernels) => Kernels::of_type::<avx2::Avx2>(tensor_type),
            Level::Scalar => Kernels::of_type::<scalar::Scalar>(tensor_type),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => Kernels::of_type::<avxvnni::AvxVnni>(tensor_type),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => Kernels::of_type::<avx512vnni::Avx512Vnni>(tensor_type),
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Level::Amx => {
                let mut kernels = Kernels::of_type::<avx512vnni::Avx512Vnni>(tensor_type)?;
                if let Kernels::Quantized { digit_panel, .. } = &mut kernels {
                    *digit_panel = amx::digit_panel(tensor_type);
                }
                Some(kernels)
            }
            #[allow(unreachable_patterns, reason = "on x86_64 Linux every level has its line")]
            _ => None,
        }
    }

    /// Activations into digits at `level`, by digit planes - 1: the same for all types, so that one packing serves many
    /// weights. `None` where the build lacks the level.
    pub(crate) fn packing(level: Level) -> Option<[unsafe fn(Rows); 3]> {
        fn of_isa<I: Isa>() -> Option<[unsafe fn(Rows); 3]> {
            Some([pack_activations::<I, 1>, pack_activations::<I, 2>, pack_activations::<I, 3>])
        }
        match level {
            #[cfg(target_arch = "x86_64")]
            level if level == Level::Avx2 || cfg!(few_kernels) => of_isa::<avx2::Avx2>(),
            Level::Scalar => of_isa::<scalar::Scalar>(),
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => of_isa::<avxvnni::AvxVnni>(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni | Level::Amx => of_isa::<avx512vnni::Avx512Vnni>(),
            #[allow(unreachable_patterns, reason = "on x86_64 every level has its line")]
            _ => None,
        }
    }

    fn of_type<I: Isa>(tensor_type: TensorType) -> Option<Kernels> {
        struct OfType<I>(PhantomData<I>);
        impl<I: Isa> Visitor for OfType<I> {
            type Output = Option<Kernels>;
            fn block<B: Block>(self) -> Option<Kernels> {
                None
            }
            fn float<B: FloatWeight>(self) -> Option<Kernels> {
                Some(Kernels::Float(float_product::<I, B>))
            }
            fn affine<A: Affine>(self) -> Option<Kernels> {
                Some(Kernels::quantized::<I, A>())
            }
        }
        with_block(tensor_type, OfType::<I>(PhantomData))
    }

    fn quantized<I: Isa, A: Affine>() -> Kernels {
        Kernels::Quantized {
            decode: if const { A::EIGHT_ROWS.is_some() && A::CODE_MAX <= 127 } {
                [decode::<I::EightRows, A, 1>, decode::<I::EightRows, A, 2>, decode::<I::EightRows, A, 3>]
            } else {
                [decode::<I, A, 1>, decode::<I, A, 2>, decode::<I, A, 3>]
            },
            panel: PanelKernels {
                pack: pack_panel::<I, A>,
                sweep: sweeps::<I>(panel::format_of::<A>()),
                record_bytes: panel::strip_chunk_bytes(A::GROUP),
                from: panel::from_rows::<I::Simd, A>(Cpu::of_this_machine()),
                most_strips: panel::WIDE_STRIPS,
                most_chunks: panel::PANEL_CHUNKS,
                most_bytes: panel::WIDE_BYTES,
                tiling: None,
            },
            digit_panel: None,
        }
    }
}

/// # Safety
/// See [`Kernels`].
unsafe fn float_product<I: Isa, W: FloatWeight>(job: decode::Job) {
    // SAFETY: the caller's promise.
    unsafe { I::run(FloatProduct::<W>(job, PhantomData)) }
}

/// # Safety
/// See [`Kernels`].
unsafe fn pack_activations<I: Isa, const P: usize>(rows: Rows) {
    let Rows { x, x_stride, m, k, out, finite } = rows;
    // SAFETY: the caller's promise.
    unsafe { I::run(PackActivations::<P> { x, x_stride, m, k, out, finite }) }
}

/// # Safety
/// See [`Kernels`].
unsafe fn decode<I: Isa, A: Affine, const P: usize>(job: decode::Job) {
    // SAFETY: the caller's promise.
    unsafe { I::run(Decode::<A, P>(job, PhantomData)) }
}

/// # Safety
/// See [`Kernels`].
unsafe fn pack_panel<I: Isa, A: Affine>(job: panel_job::PackJob) {
    // SAFETY: the caller's promise.
    unsafe { I::run(PackPanel::<A>(job, PhantomData)) }
}

/// # Safety
/// See [`Kernels`].
unsafe fn sweep<I: Isa, const GROUP: usize, const CODE_MAX: usize, const P: usize, const OFFSET: u8>(
    job: panel_job::SweepJob,
) {
    // SAFETY: the caller's promise.
    unsafe { I::run(Sweep::<GROUP, CODE_MAX, P, OFFSET>(job)) }
}

/// The sweeps for a panel format: all that is left of a type.
fn sweeps<I: Isa>(format: panel::Format) -> [unsafe fn(panel_job::SweepJob); 3] {
    macro_rules! of {
        ($group:literal, $code_max:literal) => {
            [
                sweep::<I, $group, $code_max, 1, 0>,
                sweep::<I, $group, $code_max, 2, 0>,
                sweep::<I, $group, $code_max, 3, 0>,
            ]
        };
    }
    let mut sweeps: [unsafe fn(panel_job::SweepJob); 3] = match (format.group, format.code_max) {
        (16, ..=15) => of!(16, 15),
        (16, ..=31) => of!(16, 31),
        (16, ..=63) => of!(16, 63),
        (16, ..=127) => of!(16, 127),
        (16, _) => of!(16, 255),
        (_, ..=15) => of!(32, 15),
        (_, ..=31) => of!(32, 31),
        (_, ..=63) => of!(32, 63),
        (_, ..=127) => of!(32, 127),
        _ => of!(32, 255),
    };
    macro_rules! offset {
        ($group:literal, $code_max:literal, $offset:literal) => {
            sweeps = [
                sweep::<I, $group, $code_max, 1, $offset>,
                sweep::<I, $group, $code_max, 2, $offset>,
                sweep::<I, $group, $code_max, 3, $offset>,
            ]
        };
    }
    match (format.group, format.code_max, format.offset) {
        (16, ..=15, Some(4)) => offset!(16, 15, 4),
        (16, ..=31, Some(9)) => offset!(16, 31, 9),
        (16, ..=63, Some(32)) => offset!(16, 63, 32),
        (16, ..=127, Some(43)) => offset!(16, 127, 43),
        (32, ..=15, Some(1)) => offset!(32, 15, 1),
        (32, ..=127, Some(43)) => offset!(32, 127, 43),
        (32, ..=127, Some(62)) => offset!(32, 127, 62),
        (32, _, Some(128)) => offset!(32, 255, 128),
        _ => {}
    }
    sweeps
}
