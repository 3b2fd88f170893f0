//! The engine's own weight formats ("extra buffer types"): weights in them are copies that only the engine understands. Those
//! that are slower than the plugin are kept from the engine, so that weights stay as they are mapped, once.

use crate::hook::{self, Engine};
use crate::layout::{BufferType, Device, GetExtraBufferTypes};
use crate::settings::{Extra, Settings};
use gguffuse::kernels::Level;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::OnceLock;

/// What the engine asks its CPU registration for.
pub const NAME: &CStr = c"ggml_backend_dev_get_extra_bufts";

/// The engine's list without some, ended by a NULL.
#[derive(Default)]
pub struct Filtered(OnceLock<Box<[usize]>>);

/// Whether the engine keeps the format called `name`.
fn is_kept(name: &CStr, setting: Extra, level: Level) -> bool {
    match (setting, name.to_bytes()) {
        (Extra::Keep, _) => true,
        (Extra::Hide, _) => false,
        (Extra::Auto, b"CPU_REPACK") => false,
        // The matrix unit is faster than anything else, if it is not ours as well.
        (Extra::Auto, b"AMX") => level != Level::Amx,
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
        let level = engine.contexts.get(gguffuse::matmul::Precision::Fast).isa();
        let kept = engine.extra.0.get_or_init(|| {
            let all = (0..).map(|index| list.add(index).read()).take_while(|entry| !entry.is_null());
            let kept = all.filter(|entry| {
                let name = CStr::from_ptr((engine.host.ggml_backend_buft_name)(*entry));
                is_kept(name, Settings::get().extra, level)
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
    fn repacked_weights_are_hidden_and_amx_only_where_it_is_ours() {
        let kept = |name, setting, level| is_kept(name, setting, level);
        assert!(!kept(c"CPU_REPACK", Extra::Auto, Level::Avx2));
        assert!(kept(c"AMX", Extra::Auto, Level::Avx512Vnni));
        assert!(!kept(c"AMX", Extra::Auto, Level::Amx));
        assert!(kept(c"CPU_KLEIDIAI", Extra::Auto, Level::Amx));
        assert!(kept(c"CPU_REPACK", Extra::Keep, Level::Amx));
        assert!(!kept(c"CPU_KLEIDIAI", Extra::Hide, Level::Avx2));
    }
}
