//! The engine's own weight formats ("extra buffer types"): weights in them are copies that only the engine understands. Where
//! these are slower than the plugin they are kept from the engine, so that weights stay as they are mapped, once.

use crate::hook::{self, Engine};
use crate::layout::{BufferType, Device, GetExtraBufferTypes, Tensor};
use crate::settings::{Extra, Settings};
use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::Precision;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::OnceLock;

/// What the engine asks its CPU registration for.
pub const NAME: &CStr = c"ggml_backend_dev_get_extra_bufts";

/// The engine's list without some, ended by a NULL.
#[derive(Default)]
pub struct Filtered(OnceLock<Box<[usize]>>);

/// The format that most types can be in.
const REPACKED: &CStr = c"CPU_REPACK";

/// Whether the engine's repacked format is for weights of this type: where it decodes them faster than anyone does what is
/// mapped. Measured with ggml 0.25.1 and one thread (AMD EPYC (Zen 5), 2026-11-22): mapped weights decode at 0.7 of its speed
/// (as weights of these types have 16-bit activations, and their codes are looked up), and prompts gain 1.1 to 1.2. Who asks for
/// a precision gets it.
fn stays_repacked(tensor_type: TensorType, precision: Option<Precision>) -> bool {
    precision.is_none() && matches!(tensor_type, TensorType::Q4_0 | TensorType::IQ4_NL | TensorType::MXFP4)
}

/// Whether the engine is to be told that it does not support `op`, which it asks for weights that it would repack.
///
/// # Safety
/// A tensor of the engine's.
pub unsafe fn refuses(engine: &Engine, op: &Tensor) -> bool {
    if op.op != engine.operations.product && op.op != engine.operations.expert_product {
        return false;
    }
    // SAFETY: the caller's promise; sources are tensors of the engine's, buffers its own.
    let Some(w) = (unsafe { op.src[0].as_ref() }) else { return false };
    let settings = Settings::get();
    if settings.extra != Extra::Auto || w.buffer.is_null() {
        return false;
    }
    // SAFETY: a buffer of the engine's, whose type has a C string as its name.
    let name = unsafe {
        CStr::from_ptr((engine.host.ggml_backend_buft_name)((engine.host.ggml_backend_buffer_get_type)(w.buffer)))
    };
    name == REPACKED
        && TensorType::from_id(w.tensor_type).is_some_and(|t| t.can_matmul() && !stays_repacked(t, settings.precision))
}

/// Whether the engine keeps the format called `name`, for some types at least.
fn is_kept(name: &CStr, setting: Extra, precision: Option<Precision>, level: Level) -> bool {
    match (setting, name.to_bytes()) {
        (Extra::Keep, _) => true,
        (Extra::Hide, _) => false,
        // The matrix unit is faster than anything else, if it is not ours as well; its activations have 8 bits, so that who asks
        // for a precision would not get it there.
        (Extra::Auto, b"AMX") => level != Level::Amx && precision.is_none(),
        (Extra::Auto, _) => true,
    }
}

/// In the place of the engine's function of that name.
///
/// # Safety
/// Called by the engine.
pub unsafe extern "C" fn get_extra_buffer_types(device: *mut Device) -> *mut *mut BufferType {
    // SAFETY: the caller's promise.
    catch_unwind(AssertUnwindSafe(|| unsafe { filtered(device) })).ok().flatten().unwrap_or(null_mut())
}

/// # Safety
/// As above.
unsafe fn filtered(device: *mut Device) -> Option<*mut *mut BufferType> {
    let engine: &Engine = hook::engine_of(device)?;
    // SAFETY: the engine's functions; a function of the name's signature.
    unsafe {
        let original = (engine.get_proc_address)(engine.registration, NAME.as_ptr());
        let original = std::mem::transmute::<*mut std::ffi::c_void, Option<GetExtraBufferTypes>>(original)?;
        let list = original(device);
        if list.is_null() {
            return Some(list);
        }
        let level = engine.contexts.get(Precision::Fast).isa();
        let kept = engine.extra.0.get_or_init(|| {
            let all = (0..).map(|index| list.add(index).read()).take_while(|entry| !entry.is_null());
            let kept = all.filter(|entry| {
                let name = CStr::from_ptr((engine.host.ggml_backend_buft_name)(*entry));
                let settings = Settings::get();
                is_kept(name, settings.extra, settings.precision, level)
            });
            kept.map(|entry| entry as usize).chain([0]).collect()
        });
        Some(kept.as_ptr().cast_mut().cast())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_repacks_what_it_decodes_faster_unless_a_precision_is_set() {
        assert!(stays_repacked(TensorType::MXFP4, None) && stays_repacked(TensorType::Q4_0, None));
        assert!(!stays_repacked(TensorType::Q4_K, None));
        assert!(!stays_repacked(TensorType::MXFP4, Some(Precision::High)));
    }

    #[test]
    fn amx_is_hidden_only_where_it_is_ours_or_a_precision_is_set() {
        let kept = |name, setting, level| is_kept(name, setting, None, level);
        assert!(kept(REPACKED, Extra::Auto, Level::Avx2));
        assert!(!kept(REPACKED, Extra::Hide, Level::Avx2));
        assert!(kept(c"AMX", Extra::Auto, Level::Avx512Vnni));
        assert!(!kept(c"AMX", Extra::Auto, Level::Amx));
        assert!(kept(c"CPU_KLEIDIAI", Extra::Auto, Level::Amx));
        assert!(kept(REPACKED, Extra::Keep, Level::Amx));
        assert!(!kept(c"CPU_KLEIDIAI", Extra::Hide, Level::Avx2));
        assert!(!is_kept(c"AMX", Extra::Auto, Some(Precision::High), Level::Avx512Vnni));
        assert!(is_kept(c"AMX", Extra::Keep, Some(Precision::High), Level::Avx512Vnni));
        // Repacked weights are refused one by one.
        assert!(is_kept(REPACKED, Extra::Auto, Some(Precision::High), Level::Avx2));
    }
}
