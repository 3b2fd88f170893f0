//! `gguffuse_context`: what a multiplication needs besides its operands; and the instruction-set levels.

use super::arguments::{self, Out, Struct, read_struct};
use super::handles::{Ref, Table};
use super::status::gguffuse_status;
use super::{guard, guard_or};
use crate::error::{Result, error};
use crate::kernels::Level;
use crate::matmul::{Context, ContextOptions, Precision};
use std::ffi::c_char;
use std::ptr::{null, without_provenance_mut};

/// Threads, precision and instruction set of multiplications. A handle, not an address: it is never dereferenced, and
/// any thread may use it at any time without a lock. NULL, freed, or foreign handles give GGUFFUSE_ERROR_INVALID_HANDLE.
pub struct gguffuse_context {
    _opaque: [u8; 0],
}

static CONTEXTS: Table<Context> = Table::new(2, "context is not a live context");

/// The context of a handle, for the rest of the call.
pub(super) fn lookup(context: *mut gguffuse_context) -> Result<Ref<'static, Context>> {
    CONTEXTS.acquire(context.addr())
}

/// How exactly activations enter a product. Weights are never rounded visibly with EXACT.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum gguffuse_precision {
    /// The default: the f64 product of the dequantised weights and the activations, to f32 grade.
    GGUFFUSE_PRECISION_EXACT = 0,
    /// Activations of 16 bits.
    GGUFFUSE_PRECISION_HIGH = 1,
    /// Activations of 8 bits, the class of ggml.
    GGUFFUSE_PRECISION_FAST = 2,
}

use gguffuse_precision::*;

/// How to make a context. Set struct_size to sizeof(gguffuse_context_options) and all else to 0, then what you need.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct gguffuse_context_options {
    /// sizeof(gguffuse_context_options).
    pub struct_size: usize,
    /// Threads that one call may use, the calling one included. 0: as many as the process may run on. The results are
    /// the same, bit for bit, for every number.
    pub threads: u32,
    /// One of GGUFFUSE_PRECISION_*.
    pub precision: u32,
    /// The highest instruction-set level to use, by its name. NULL: the best that the machine has. The environment
    /// variable GGUFFUSE_MAX_ISA is a cap as well; the lower one holds.
    pub max_isa: *const c_char,
}

// SAFETY: repr(C), struct_size first, plain numbers and a pointer.
unsafe impl Struct for gguffuse_context_options {}

/// Makes a context. `options`: NULL for defaults. `out`: receives the handle, on success only; give it back with
/// gguffuse_context_free.
///
/// The level "amx" needs a permission that Linux gives to a process on request: a context that would use the level asks for it,
/// and takes the level below where it is refused, silently. Nothing else asks, so a max_isa (or GGUFFUSE_MAX_ISA) below "amx"
/// avoids what the permission changes, for the whole process and for good: Linux then refuses alternate signal stacks
/// (sigaltstack) that cannot hold a frame with the tiles, some 11 KiB; getauxval(AT_MINSIGSTKSZ) tells how much, MINSIGSTKSZ and
/// SIGSTKSZ may be too small. It refuses the permission while a thread has such a stack already. Threads that have multiplied get
/// larger signal frames. Tiles are released before a call returns; a host that had shaped tiles of its own finds them shaped so
/// again, but empty.
///
/// Errors: GGUFFUSE_ERROR_UNSUPPORTED_ISA (no level has the name in max_isa or in the environment), _INVALID_ARGUMENT
/// (options), _NULL_ARGUMENT, _MISALIGNED, _OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_context_new(
    options: *const gguffuse_context_options,
    out: *mut *mut gguffuse_context,
) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointers; the options' string is used during this call only.
        let (options, out) = unsafe { (read_options(options)?, Out::new(out, "out")?) };
        let handle = CONTEXTS.insert(Context::new(&options)?)?;
        out.write(without_provenance_mut(handle));
        Ok(())
    })
}

/// Frees a context. Returns at once: calls of other threads that are using it finish, and its memory goes with the last
/// of them.
///
/// NULL is OK. A context that is freed already gives GGUFFUSE_ERROR_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_context_free(context: *mut gguffuse_context) -> gguffuse_status {
    guard(|| if context.is_null() { Ok(()) } else { CONTEXTS.close(context.addr()) })
}

/// The name of the instruction-set level that a context uses, as in "avx2": a static string. NULL if `context` is none.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_context_isa(context: *mut gguffuse_context) -> *const c_char {
    guard_or(|_| null(), || Ok(lookup(context)?.isa().name_with_nul().as_ptr().cast()))
}

/// The name of level `index` of the instruction-set levels that this machine and this library have, the lowest first:
/// a static string, NULL for an index past the last.
/// "amx" is among them where CPU and OS have it, whether or not the OS will let this process use it: see gguffuse_context_new.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_isa_name(index: usize) -> *const c_char {
    let name = || Ok(Level::available().get(index).map_or(null(), |level| level.name_with_nul().as_ptr().cast()));
    guard_or(|_| null(), name)
}

/// # Safety
/// As [`read_struct`]; the struct's string is NULL or NUL-terminated, and stays for `'a`.
unsafe fn read_options<'a>(options: *const gguffuse_context_options) -> Result<ContextOptions<'a>> {
    let defaults = gguffuse_context_options {
        struct_size: size_of::<gguffuse_context_options>(),
        threads: 0,
        precision: GGUFFUSE_PRECISION_EXACT as u32,
        max_isa: null(),
    };
    // SAFETY: the same condition.
    let given = unsafe { read_struct(options, defaults, "options") }?;
    let max_isa = match given.max_isa.is_null() {
        true => None,
        // SAFETY: NUL-terminated by this function's condition.
        false => Some(unsafe { arguments::string(given.max_isa, "max_isa") }?),
    };
    let max_isa = max_isa.map(|name| name.to_str()).transpose();
    Ok(ContextOptions {
        threads: given.threads,
        precision: precision(given.precision)?,
        max_isa: max_isa.map_err(|_| error!(InvalidArgument, "options: max_isa isn't UTF-8"))?,
    })
}

fn precision(number: u32) -> Result<Precision> {
    const NAMES: [(gguffuse_precision, Precision); 3] = [
        (GGUFFUSE_PRECISION_EXACT, Precision::Exact),
        (GGUFFUSE_PRECISION_HIGH, Precision::High),
        (GGUFFUSE_PRECISION_FAST, Precision::Fast),
    ];
    let found = NAMES.into_iter().find(|(name, _)| *name as u32 == number);
    found.map(|(_, precision)| precision).ok_or_else(|| error!(InvalidArgument, "options: precision {number} is none"))
}
