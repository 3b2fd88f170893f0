//! The log callback. Silent until one is set.

use super::guard;
use super::status::gguffuse_status;
use crate::log::{self, Importance, Sink};
use std::ffi::{CStr, c_char, c_void};

/// How important a log text is.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum gguffuse_log_level {
    /// A bug of this library that was caught; the call returned GGUFFUSE_ERROR_INTERNAL.
    GGUFFUSE_LOG_ERROR = 1,
    /// Something works, but not as well as was asked for: fewer threads could be started than wanted.
    GGUFFUSE_LOG_WARNING = 2,
    /// What was chosen: instruction set, precision and threads of a new context.
    GGUFFUSE_LOG_INFO = 3,
}

const _: () = assert!(gguffuse_log_level::GGUFFUSE_LOG_ERROR as u32 == Importance::Error as u32);
const _: () = assert!(gguffuse_log_level::GGUFFUSE_LOG_WARNING as u32 == Importance::Warning as u32);
const _: () = assert!(gguffuse_log_level::GGUFFUSE_LOG_INFO as u32 == Importance::Info as u32);

/// Is called with what the library has to say. `level`: one of GGUFFUSE_LOG_*. `message`: one line, valid during the call
/// only. It runs on the thread of the call that has something to say, inside of that call: calls of this library from it
/// give GGUFFUSE_ERROR_BUSY. It must not unwind, throw or longjmp.
pub type gguffuse_log_callback =
    Option<unsafe extern "C" fn(level: u32, message: *const c_char, user_data: *mut c_void)>;

/// Sets the one log callback of the process; NULL: silent, as at the beginning. `user_data` is handed to it each time.
///
/// May be called at any time; another thread may still call the one that was set before once more. Every callback that
/// wasn't set before keeps some bytes until the process ends.
///
/// Errors: GGUFFUSE_ERROR_OUT_OF_MEMORY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_log_set(callback: gguffuse_log_callback, user_data: *mut c_void) -> gguffuse_status {
    guard(|| {
        log::set(callback.map(|callback| Sink { call, callback: callback as *const (), user_data: user_data.cast() }))
    })
}

fn call(sink: &Sink, importance: Importance, text: &CStr) {
    // SAFETY: the pointer was made from a function of this type in `gguffuse_log_set`.
    let callback = unsafe {
        std::mem::transmute::<*const (), unsafe extern "C" fn(u32, *const c_char, *mut c_void)>(sink.callback)
    };
    // SAFETY: the caller's word for its callback; the text lives during the call.
    unsafe { callback(importance as u32, text.as_ptr(), sink.user_data.cast()) };
}
