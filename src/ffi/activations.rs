//! `gguffuse_activations`: activations that are packed once and multiplied with several weights. The work is
//! `crate::matmul`'s.

use super::arguments::Out;
use super::context::{self, gguffuse_context};
use super::file::{self, gguffuse_file};
use super::guard;
use super::handles::{Ref, Table};
use super::matmul::{input, matrix, output, weights};
use super::status::gguffuse_status;
use crate::error::{Error, Result};
use crate::matmul::Activations;
use std::ffi::c_void;
use std::ptr::without_provenance_mut;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

/// Activations in the form that products read: packed once, multiplied with any number of weights of the same k, as those
/// for q, k and v, or gate and up. A handle, not an address: it is never dereferenced. NULL, freed, or foreign handles give
/// GGUFFUSE_ERROR_INVALID_HANDLE.
///
/// Any thread may use it at any time without a lock. Any number of threads may multiply with one at once. Packing is
/// alone: gguffuse_activations_pack while another call uses the same handle, and any call while another one packs it,
/// give GGUFFUSE_ERROR_BUSY at once; no call waits for another.
pub struct gguffuse_activations {
    _opaque: [u8; 0],
}

/// Tried, never waited for: a lock that a fork left behind locked keeps nobody waiting.
type Locked = RwLock<Activations>;

static ACTIVATIONS: Table<Locked> = Table::new(4, "activations are no live activations");

fn lookup(activations: *mut gguffuse_activations) -> Result<Ref<'static, Locked>> {
    ACTIVATIONS.acquire(activations.addr())
}

/// To pack.
fn exclusive(activations: &Locked) -> Result<RwLockWriteGuard<'_, Activations>> {
    activations.try_write().map_err(refused)
}

/// To multiply.
fn shared(activations: &Locked) -> Result<RwLockReadGuard<'_, Activations>> {
    activations.try_read().map_err(refused)
}

#[cold]
fn refused<G>(why: TryLockError<G>) -> Error {
    match why {
        TryLockError::WouldBlock => Error::Busy("another call is using the activations"),
        TryLockError::Poisoned(_) => Error::Internal("a call that packed these activations panicked"),
    }
}

/// Makes a handle for activations, with nothing packed yet. `out`: receives it, on success only; give it back with
/// gguffuse_activations_free.
///
/// Errors: GGUFFUSE_ERROR_NULL_ARGUMENT, _MISALIGNED, _OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_activations_new(out: *mut *mut gguffuse_activations) -> gguffuse_status {
    guard(|| {
        // SAFETY: the caller's word for its pointer.
        let out = unsafe { Out::new(out, "out") }?;
        out.write(without_provenance_mut(ACTIVATIONS.insert(RwLock::new(Activations::new()))?));
        Ok(())
    })
}

/// Frees activations and their memory. Returns at once: calls of other threads that are using them finish, and the memory
/// goes with the last of them.
///
/// NULL is OK. Activations that are freed already give GGUFFUSE_ERROR_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_activations_free(activations: *mut gguffuse_activations) -> gguffuse_status {
    guard(|| if activations.is_null() { Ok(()) } else { ACTIVATIONS.close(activations.addr()) })
}

/// Packs x[m][k], in place of what was packed before, with the threads of `context`; precision and instruction-set level
/// are the context's, and products with these activations are made in the same context.
///
/// `x`: activations, `x_length` floats in the buffer, row i begins at x + i * x_stride; x_stride 0 means k. x is copied:
/// it is not needed after the call. `m`: rows, 0 is allowed. `k`: columns, at least one.
///
/// Takes memory where there was less of it, about 8, 7 or 6 bytes per element with GGUFFUSE_PRECISION_EXACT, _HIGH, _FAST;
/// none from the second call of a shape on. It stays until gguffuse_activations_free.
///
/// Errors, what was packed before stays: GGUFFUSE_ERROR_INVALID_HANDLE, _SHAPE, _BUFFER_TOO_SMALL (x), _MISALIGNED (x),
/// _NULL_ARGUMENT (x, even if m is 0), _INVALID_ARGUMENT (a length that no memory has), _BUSY, _OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_activations_pack(
    context: *mut gguffuse_context,
    activations: *mut gguffuse_activations,
    x: *const f32,
    x_length: usize,
    x_stride: usize,
    m: usize,
    k: usize,
) -> gguffuse_status {
    guard(|| {
        let (context, activations) = (context::lookup(context)?, lookup(activations)?);
        let x = input(x, x_length, x_stride)?;
        // SAFETY: not NULL and aligned (`input`); for the length, the caller's word.
        unsafe { context.pack_raw(&mut *exclusive(&activations)?, x, m, k) }
    })
}

/// Multiplies packed activations: y[m][n] = x[m][k] * W[n][k]^T, with the m and k of gguffuse_activations_pack. The same
/// bits as gguffuse_matmul with the same x.
///
/// `context`: the one that packed. `type`, `w`, `w_bytes`, `n`, `k`, `y`, `y_length`, `y_stride`: as for gguffuse_matmul;
/// k must be the activations'. y may be the memory of the x that was packed.
///
/// Errors, y is not touched: as for gguffuse_matmul (but for those of x), and GGUFFUSE_ERROR_SHAPE (another k),
/// _INVALID_ARGUMENT (nothing is packed, or another context packed), _BUSY (another call is packing).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_activations_matmul(
    context: *mut gguffuse_context,
    activations: *mut gguffuse_activations,
    r#type: u32,
    w: *const c_void,
    w_bytes: usize,
    n: usize,
    k: usize,
    y: *mut f32,
    y_length: usize,
    y_stride: usize,
) -> gguffuse_status {
    guard(|| {
        let (context, activations) = (context::lookup(context)?, lookup(activations)?);
        // SAFETY: the caller's word for its pointers and lengths.
        let w = unsafe { weights(r#type, w, w_bytes, n, k) }?;
        let y = output(y, y_length, y_stride)?;
        // SAFETY: not NULL and aligned (`output`); for the length, the caller's word.
        unsafe { context.matmul_packed_raw(&w, &*shared(&activations)?, y) }
    })
}

/// gguffuse_activations_matmul with tensor `tensor` (an index) of an open file as W: k is its dims[0], n the product of
/// the others.
///
/// The file may be closed by another thread meanwhile; the call finishes.
///
/// Errors: as for gguffuse_activations_matmul, and GGUFFUSE_ERROR_NOT_FOUND (index).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_activations_matmul_tensor(
    context: *mut gguffuse_context,
    activations: *mut gguffuse_activations,
    file: *mut gguffuse_file,
    tensor: u64,
    y: *mut f32,
    y_length: usize,
    y_stride: usize,
) -> gguffuse_status {
    guard(|| {
        let (context, activations) = (context::lookup(context)?, lookup(activations)?);
        let file = file::lookup(file)?;
        let w = matrix(&file.tensor(tensor)?)?;
        let y = output(y, y_length, y_stride)?;
        // SAFETY: as in `gguffuse_activations_matmul`.
        unsafe { context.matmul_packed_raw(&w, &*shared(&activations)?, y) }
    })
}

/// gguffuse_activations_matmul for weight rows n_begin to n_end - 1 only, on the calling thread alone: for hosts that
/// bring their own threads, which share one packing. The arguments are those of the whole product; of y only columns
/// n_begin to n_end - 1 are written, so calls for different rows may run at the same time on one y. Together they give
/// the same bits as one gguffuse_matmul.
///
/// Errors: as for gguffuse_activations_matmul; n_begin > n_end or n_end > n is GGUFFUSE_ERROR_INVALID_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_activations_matmul_rows(
    context: *mut gguffuse_context,
    activations: *mut gguffuse_activations,
    r#type: u32,
    w: *const c_void,
    w_bytes: usize,
    n: usize,
    k: usize,
    n_begin: usize,
    n_end: usize,
    y: *mut f32,
    y_length: usize,
    y_stride: usize,
) -> gguffuse_status {
    guard(|| {
        let (context, activations) = (context::lookup(context)?, lookup(activations)?);
        // SAFETY: the caller's word for its pointers and lengths.
        let w = unsafe { weights(r#type, w, w_bytes, n, k) }?;
        let y = output(y, y_length, y_stride)?;
        // SAFETY: as in `gguffuse_activations_matmul`.
        unsafe { context.matmul_packed_rows_raw(&w, n_begin..n_end, &*shared(&activations)?, y) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::context::{gguffuse_context_free, gguffuse_context_new};
    use gguffuse_status::*;
    use std::ptr::null;

    #[test]
    fn activations_in_use_are_busy_and_nobody_waits() {
        let (mut context, mut activations) = (without_provenance_mut(0), without_provenance_mut(0));
        let (x, w, mut y) = ([2.0f32; 3], [4.0f32; 3], [0.0f32]);
        // SAFETY: pointers to locals; handles.
        unsafe {
            assert_eq!(gguffuse_context_new(null(), &mut context), GGUFFUSE_OK);
            assert_eq!(gguffuse_activations_new(&mut activations), GGUFFUSE_OK);
            let pack = || gguffuse_activations_pack(context, activations, x.as_ptr(), 3, 0, 1, 3);
            let y_of = |y: &mut [f32; 1]| {
                gguffuse_activations_matmul(context, activations, 0, w.as_ptr().cast(), 12, 1, 3, y.as_mut_ptr(), 1, 0)
            };
            assert_eq!(pack(), GGUFFUSE_OK);
            let locked = lookup(activations).unwrap();
            let multiplying = shared(&locked).unwrap();
            assert_eq!(pack(), GGUFFUSE_ERROR_BUSY);
            assert_eq!(y_of(&mut y), GGUFFUSE_OK, "two may multiply");
            assert_eq!(y, [24.0]);
            drop(multiplying);
            let packing = exclusive(&locked).unwrap();
            assert_eq!(y_of(&mut [0.0]), GGUFFUSE_ERROR_BUSY);
            assert_eq!(pack(), GGUFFUSE_ERROR_BUSY);
            assert_eq!(gguffuse_activations_free(activations), GGUFFUSE_OK, "go with their last user");
            assert_eq!(packing.k(), 3);
            drop(packing);
            assert_eq!(pack(), GGUFFUSE_ERROR_INVALID_HANDLE);
            assert_eq!(gguffuse_context_free(context), GGUFFUSE_OK);
        }
    }
}
