//! What ggml calls when it loads the plugin: everything is found, checked, replaced, checked again; or left as it is.

use crate::graph::{Contexts, Operations};
use crate::hook::{self, Calls, Engine};
use crate::host::{Host, Importance};
use crate::layout::*;
use crate::settings::Settings;
use crate::{check, sibling, statistics};
use gguffuse::kernels::Level;
use gguffuse::matmul::Precision;
use std::ffi::{c_int, c_void};
use std::panic::catch_unwind;
use std::ptr::{null, null_mut};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// `GGML_BACKEND_DEVICE_TYPE_CPU`.
const CPU: c_int = 0;

/// How good a backend this is, among files of one name: 0 = not to be loaded at all.
#[unsafe(no_mangle)]
pub extern "C" fn ggml_backend_score() -> c_int {
    /// More than any CPU backend of ggml's says, which is a sum of feature bits.
    const HIGHEST: c_int = 1 << 20;
    catch_unwind(|| {
        // In the CPU backend's place there has to be one to pass calls on to, whatever the settings.
        let able = if sibling::in_place() { sibling::find().is_some() } else { true };
        c_int::from(able && !Settings::get().disabled) * HIGHEST
    })
    .unwrap_or(0)
}

/// The entry: gives ggml the registration of the engine's own CPU backend. The engine is the caller, so the return address
/// is handed on.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub extern "C" fn ggml_backend_init() -> *mut Registration {
    std::arch::naked_asm!("mov rdi, [rsp]", "jmp {}", sym init)
}

/// As above.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub extern "C" fn ggml_backend_init() -> *mut Registration {
    std::arch::naked_asm!("mov x0, x30", "b {}", sym init)
}

extern "C" fn init(caller: *const c_void) -> *mut Registration {
    catch_unwind(|| load(caller)).unwrap_or(null_mut())
}

fn load(caller: *const c_void) -> *mut Registration {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let settings = Settings::get();
    let host = match Host::of(caller) {
        Ok(host) => host,
        // Without its functions there is no log to say so in.
        Err(_) => return sibling::registration_in_place(),
    };
    if let Some(complaint) = &settings.complaint {
        host.say(Importance::Warning, complaint);
    }
    let Some((registration, device)) = cpu_of(&host) else {
        host.say(Importance::Warning, "stands aside: the engine has no CPU backend");
        return null_mut();
    };
    // SAFETY: live objects of the engine's.
    if let Err(why) = unsafe { hook_engine(&host, registration, device, settings) } {
        host.say(Importance::Warning, &format!("stands aside: {why}; the engine works as without it"));
    }
    registration
}

/// The engine's CPU backend: the one it has, or, in its place, the one that lies beside this file.
fn cpu_of(host: &Host) -> Option<(*mut Registration, *mut Device)> {
    // SAFETY: ggml's functions.
    unsafe {
        let device = (host.ggml_backend_dev_by_type)(CPU);
        if !device.is_null() {
            return Some(((host.ggml_backend_dev_backend_reg)(device), device));
        }
        let registration = sibling::registration_in_place();
        let device = sibling::device_of(host, registration)?;
        Some((registration, device))
    }
}

/// Hooks the engine, or says why not.
///
/// # Safety
/// The engine's CPU registration and device.
unsafe fn hook_engine(
    host: &Host,
    registration: *mut Registration,
    device: *mut Device,
    settings: &Settings,
) -> Result<(), String> {
    macro_rules! refuse {
        ($($why:tt)+) => { return Err(format!($($why)+)) };
    }
    // SAFETY: the caller's promise.
    unsafe {
        let hooked =
            (*device).init_backend.map(|function| function as usize) == Some(hook::init_backend as *const () as usize);
        if hooked && hook::engine_of(device).is_some() {
            // Loaded again.
            return Ok(());
        }
        if settings.disabled {
            refuse!("GGUFFUSE_DISABLE is set");
        }
        let version = (*registration).api_version;
        if !API_VERSIONS.contains(&version) {
            refuse!("the engine's backends have API version {version}");
        }
        if (*device).registration != registration {
            refuse!("devices are laid out otherwise");
        }
        if !check::is_writable(device.cast()) || !check::is_writable(registration.cast()) {
            refuse!("the engine's CPU device is not writable");
        }
        let (Some(init_backend), Some(supports_op), Some(get_proc_address)) =
            ((*device).init_backend, (*device).supports_op, (*registration).get_proc_address)
        else {
            refuse!("the engine's CPU device has no functions");
        };
        if let Err(why) = check::tensors(host) {
            refuse!("{why}");
        }
        let Some(operations) = Operations::of(host) else { refuse!("the engine has no custom operations") };
        if let Err(why) = check::custom_nodes(host, operations.custom) {
            refuse!("{why}");
        }
        let contexts = match Contexts::new() {
            Ok(contexts) => contexts,
            Err(error) => refuse!("{error}"),
        };
        let level = contexts.get(Precision::Fast).isa();
        if level == Level::Scalar {
            refuse!("no instruction set that it has kernels for");
        }
        let (calls, off, extra) = (Calls::default(), AtomicBool::new(false), Default::default());
        let engine: &'static Engine = Box::leak(Box::new(Engine {
            host: *host,
            operations,
            contexts,
            device,
            registration,
            init_backend,
            get_proc_address,
            supports_op,
            extra,
            off,
            calls,
        }));
        hook::add(engine);
        (*device).init_backend = Some(hook::init_backend);
        (*device).supports_op = Some(hook::supports_op);
        (*registration).get_proc_address = Some(hook::get_proc_address);
        if let Err(why) = try_out(engine) {
            (*device).init_backend = Some(init_backend);
            (*device).supports_op = Some(supports_op);
            (*registration).get_proc_address = Some(get_proc_address);
            engine.off.store(true, Ordering::Relaxed);
            // The engine stays known, for backends that are hooked already.
            return Err(why.to_owned());
        }
        if settings.statistics {
            statistics::say_at_exit();
        }
        let precision =
            settings.precision.map_or("auto".to_owned(), |precision| format!("{precision:?}").to_lowercase());
        let version = env!("CARGO_PKG_VERSION");
        engine.host.say(
            Importance::Info,
            &format!("{version} multiplies for the CPU backend: {}, precision {precision}", level.name()),
        );
    }
    Ok(())
}

/// Whether ggml's public functions reach the functions that were replaced, and a product comes out right.
///
/// # Safety
/// The engine's objects are live, and their functions replaced.
unsafe fn try_out(engine: &Engine) -> Result<(), &'static str> {
    let Engine { host, calls, device, registration, .. } = engine;
    let called = |counter: &AtomicUsize| counter.swap(0, Ordering::Relaxed) > 0;
    // SAFETY: the caller's promise; a backend is freed where it was made.
    unsafe {
        let set_threads =
            (host.ggml_backend_reg_get_proc_address)(*registration, c"ggml_backend_set_n_threads".as_ptr());
        if !called(&calls.get_proc_address) {
            return Err("registrations are laid out otherwise");
        }
        let backend = (host.ggml_backend_dev_init)(*device, null());
        if backend.is_null() || !called(&calls.init_backend) {
            return Err("devices are laid out otherwise");
        }
        if !set_threads.is_null() {
            std::mem::transmute::<*mut c_void, SetThreads>(set_threads)(backend, 1);
        }
        let before = statistics::PRODUCTS.load(Ordering::Relaxed);
        let product = check::product(host, *device, backend);
        let ours = called(&calls.graph_compute) && statistics::PRODUCTS.load(Ordering::Relaxed) == before + 1;
        (host.ggml_backend_free)(backend);
        if ours {
            // Not the engine's.
            statistics::GRAPHS.fetch_sub(1, Ordering::Relaxed);
            statistics::PRODUCTS.fetch_sub(1, Ordering::Relaxed);
        }
        product?;
        if !called(&calls.supports_op) {
            return Err("devices are laid out otherwise");
        }
        if !ours || !called(&calls.free) {
            return Err("backends are laid out otherwise");
        }
    }
    Ok(())
}

/// Preloaded into an engine that never asks for plugins, as those with the CPU backend built in do not: asks it to load this
/// file, before it begins.
mod preload {
    use crate::host::{file_of, symbol};
    use std::ffi::{c_char, c_void};

    #[used]
    #[unsafe(link_section = ".init_array")]
    static AT_LOAD: extern "C" fn() = at_load;

    extern "C" fn at_load() {
        let _ = std::panic::catch_unwind(|| {
            let own = file_of(at_load as *const c_void)?;
            let preloaded = std::env::var_os("LD_PRELOAD")?;
            let preloaded = preloaded.to_str()?.split([':', ' ']).any(|path| path == own.to_str().unwrap_or_default());
            let load = symbol(libc::RTLD_DEFAULT, "ggml_backend_load\0");
            if preloaded && !load.is_null() {
                // SAFETY: ggml's function of that name, and a C string.
                unsafe {
                    std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char) -> *mut c_void>(load)(
                        own.as_ptr(),
                    )
                };
            }
            Some(())
        });
    }
}
