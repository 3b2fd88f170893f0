//! The plugin as the CPU backend: a file called `libggml-cpu-….so` beside the engine's own ones, of which ggml loads the one
//! with the highest score. The best of the others does the work then.

use crate::host::{Host, file_of, symbol};
use crate::layout::{Device, Registration};
use std::ffi::{CString, OsStr, c_int, c_void};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::OnceLock;

/// How the files of CPU backends begin.
const PREFIX: &[u8] = b"libggml-cpu-";

/// This file.
fn own_path() -> Option<PathBuf> {
    let path = file_of(own_path as fn() -> Option<PathBuf> as *const c_void)?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes())))
}

/// Whether this file is named as a CPU backend is.
pub fn in_place() -> bool {
    own_path().is_some_and(|path| path.file_name().is_some_and(|name| name.as_bytes().starts_with(PREFIX)))
}

/// The best of the CPU backends beside this file, loaded for good.
pub fn find() -> Option<*mut c_void> {
    static BEST: OnceLock<Option<usize>> = OnceLock::new();
    let best = BEST.get_or_init(|| {
        let own = own_path()?;
        let same = std::fs::canonicalize(&own).ok()?;
        let entries =
            std::fs::read_dir(own.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))).ok()?;
        let mut best: Option<(c_int, *mut c_void)> = None;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().unwrap_or(OsStr::new("")).as_bytes();
            let another = std::fs::canonicalize(&path).is_ok_and(|path| path != same);
            if !(another && name.starts_with(PREFIX) && name.ends_with(b".so")) {
                continue;
            }
            if let Some((score, library)) = load(&path) {
                let (keep, give_back) = match best {
                    Some(other) if other.0 >= score => (other, Some(library)),
                    other => ((score, library), other.map(|(_, library)| library)),
                };
                best = Some(keep);
                // SAFETY: loaded above, and nothing of it is in use.
                give_back.map(|library| unsafe { libc::dlclose(library) });
            }
        }
        best.map(|(_, library)| library as usize)
    });
    best.map(|library| library as *mut c_void)
}

/// A CPU backend and its score, if it is one that this machine can use. Not another copy of this plugin.
fn load(path: &Path) -> Option<(c_int, *mut c_void)> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: a C string; the file is one of the engine's, which the engine loads in the same way.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        return None;
    }
    let score = symbol(library, "ggml_backend_score\0");
    let ours = symbol(library, "gguffuse_plugin_counts\0");
    let usable = if score.is_null() || !ours.is_null() {
        0
    } else {
        // SAFETY: ggml's function of that name.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(score)() }
    };
    if usable <= 0 {
        // SAFETY: loaded above, and nothing of it is in use.
        unsafe { libc::dlclose(library) };
        return None;
    }
    Some((usable, library))
}

/// The registration of the CPU backend in whose place this is; NULL if it is in nobody's.
pub fn registration_in_place() -> *mut Registration {
    let library = if in_place() { find() } else { None };
    let init = library.map_or(null_mut(), |library| symbol(library, "ggml_backend_init\0"));
    if init.is_null() {
        return null_mut();
    }
    // SAFETY: ggml's function of that name.
    unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> *mut Registration>(init)() }
}

/// Its first device.
pub fn device_of(host: &Host, registration: *mut Registration) -> Option<*mut Device> {
    // SAFETY: a live registration.
    let device = unsafe {
        if registration.is_null() || (host.ggml_backend_reg_dev_count)(registration) == 0 {
            return None;
        }
        (host.ggml_backend_reg_dev_get)(registration, 0)
    };
    (!device.is_null()).then_some(device)
}
