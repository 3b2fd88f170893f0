//! The product: shape checks, precision, splitting over threads. Sees kernels only through one table
//! (`kernels::Kernels`) and knows no block layout, no ISA, no C.

mod activations;
mod cpus;
mod hosted;
mod late;
mod operands;
mod pool;
mod product;
mod scratch;
mod sync;
#[cfg(test)]
mod tests;
mod thread;
mod weights;

pub(crate) use pool::is_worker;

pub use activations::Activations;
pub use hosted::RowActivations;
pub use operands::{RawMatrix, RawMatrixMut, Weights};

use crate::error::Result;
use crate::kernels::Level;
use crate::log::{self, Importance};
use operands::Operands;
use pool::Pool;
use scratch::Shelf;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// How exactly activations enter the product. Weights are always exact; speed by rounding activations is the caller's
/// choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 24-bit activations per 256 columns: the f64 product to f32 grade. The default.
    #[default]
    Exact = 0,
    /// 16-bit activations: normalised error around 1e-5.
    High = 1,
    /// 8-bit activations, the class of ggml: normalised error below 1e-2.
    Fast = 2,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Precision; 3] = [Precision::Exact, Precision::High, Precision::Fast];

    /// Digit planes of the activations.
    fn planes(self) -> usize {
        3 - self as usize
    }
}

/// Options of a [`Context`].
#[derive(Clone, Copy, Debug, Default)]
pub struct ContextOptions<'a> {
    /// Threads that one call may use, the calling one included; 0 = as many as the process may run on; at most 256.
    pub threads: u32,
    /// See [`Precision`].
    pub precision: Precision,
    /// Name of the highest ISA level to use; `None` = the best that the machine has. `GGUFFUSE_MAX_ISA` caps as well.
    pub max_isa: Option<&'a str>,
}

/// What a multiplication needs besides its operands: ISA level, precision, threads, scratch memory.
///
/// May be used from any number of threads at once without a lock: one call at a time gets the worker threads, calls that
/// come meanwhile compute on their own thread. Threads are started by the first call that is large enough.
pub struct Context {
    /// Unlike that of any other context of the process: activations know by it who packed them.
    id: u64,
    level: Level,
    precision: Precision,
    pool: Pool,
    /// Packed activations of calls that bring plain ones.
    packed: Shelf,
    /// One panel per thread.
    panels: Shelf,
    /// From how many activation rows on panels are used, where not from where they are the faster way.
    panel_from: Option<usize>,
}

impl Context {
    /// Makes a context. Where its level would be `amx`, asks the OS for permission to use it, and takes the level below where
    /// that is refused. Once granted, for the whole process and for good, Linux wants alternate signal stacks to hold a frame
    /// with the tiles (see `AT_MINSIGSTKSZ` in getauxval(3)), and refuses smaller ones; frames of threads that have
    /// multiplied grow by some 8 KiB on whatever stack they lie. A cap below `amx` avoids all of that.
    ///
    /// # Errors
    /// `UnsupportedIsa` where `max_isa` or `GGUFFUSE_MAX_ISA` names no level.
    pub fn new(options: &ContextOptions<'_>) -> Result<Context> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let context = Context {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            level: Level::best(options.max_isa)?.granted(),
            precision: options.precision,
            pool: Pool::new(pool::resolve_threads(options.threads)),
            packed: Shelf::new(),
            panels: Shelf::new(),
            panel_from: None,
        };
        let (level, precision, threads) = (context.level.name(), context.precision, context.threads());
        let text = format_args!("new context: {level}, precision {precision:?}, up to {threads} threads");
        log::say(Importance::Info, text);
        Ok(context)
    }

    /// The ISA level in use.
    pub fn isa(&self) -> Level {
        self.level
    }

    /// The precision in use.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Threads that one call may use.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Uses panels from `rows` activation rows on, whatever is faster: for benches/crossover.rs, which measures just that.
    #[doc(hidden)]
    pub fn use_panels_from(&mut self, rows: usize) {
        self.panel_from = Some(rows);
    }

    /// `y[m][n] = sum_k x[m][k] * w[n][k]`. `x` holds `m` rows of `w.k` elements, `y` gets `m` rows of `w.n`; strides are
    /// in elements, 0 = contiguous. The result has the same bits for any number of threads.
    ///
    /// # Errors
    /// `UnsupportedType` where the weights' type cannot be multiplied; `Shape` where `w.k` is 0 or no multiple of the
    /// block, a stride is shorter than its row, or a size overflows; `BufferTooSmall` where a buffer is shorter than its
    /// shape needs; `OutOfMemory`. `y` is untouched after an error, but for `Internal`.
    pub fn matmul(
        &self,
        w: &Weights<'_>,
        x: &[f32],
        x_stride: usize,
        m: usize,
        y: &mut [f32],
        y_stride: usize,
    ) -> Result<()> {
        let x = RawMatrix { data: x.as_ptr(), length: x.len(), stride: x_stride };
        let y = RawMatrixMut { data: y.as_mut_ptr(), length: y.len(), stride: y_stride };
        // SAFETY: both come from slices that are borrowed during the call.
        unsafe { self.matmul_raw(w, m, x, y) }
    }

    /// As [`Context::matmul`], on buffers that other threads may write at other elements at the same time.
    ///
    /// # Errors
    /// As [`Context::matmul`], and `Aliasing` where `y` overlaps `x` or the weights, `Misaligned` where `x` or `y` is not
    /// aligned to 4 bytes.
    ///
    /// # Safety
    /// `x.data` and `y.data` are valid for `length` elements during the call; nobody else writes `x` or touches the rows
    /// of `y` that the call writes.
    pub unsafe fn matmul_raw(&self, w: &Weights<'_>, m: usize, x: RawMatrix, y: RawMatrixMut) -> Result<()> {
        let operands = Operands::check(w, 0..w.n, m, x, y)?;
        // SAFETY: the caller's promise, and the checks.
        unsafe { self.product(&operands, None, true) }
    }

    /// As [`Context::matmul_raw`], for the weight rows `rows` only and on the calling thread alone: for hosts that bring
    /// their own threads. `y` is addressed as in the whole product: columns outside of `rows` are not touched. Same bits
    /// as the whole product.
    ///
    /// # Errors
    /// As [`Context::matmul_raw`], and `InvalidArgument` where `rows` does not lie in `0..w.n`.
    ///
    /// # Safety
    /// As [`Context::matmul_raw`].
    pub unsafe fn matmul_rows_raw(
        &self,
        w: &Weights<'_>,
        rows: Range<usize>,
        m: usize,
        x: RawMatrix,
        y: RawMatrixMut,
    ) -> Result<()> {
        let operands = Operands::check(w, rows, m, x, y)?;
        // SAFETY: the caller's promise, and the checks.
        unsafe { self.product(&operands, None, false) }
    }
}
