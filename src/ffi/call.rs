//! What a call borrows from the thread it runs on, and gives back: errno, the floating-point environment, the
//! cancellation state; and what it leaves there: the text of the last error. Knows nothing of files or matrices.

use crate::error::Error;
use crate::kernels::float_state::FloatState;
use std::any::Any;
use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longest text kept of an error, in bytes.
const TEXT_BYTES: usize = 511;

/// The thread's part of the boundary. Constant-initialised and without destructor, so that it takes no heap and works
/// until the very end of the thread.
struct ThreadState {
    inside: Cell<bool>,
    panic_recorded: Cell<bool>,
    length: Cell<usize>,
    text: [Cell<u8>; TEXT_BYTES],
}

thread_local! {
    static THREAD: ThreadState = const {
        ThreadState {
            inside: Cell::new(false),
            panic_recorded: Cell::new(false),
            length: Cell::new(0),
            text: [const { Cell::new(0) }; TEXT_BYTES],
        }
    };
}

/// A call in progress on this thread. Dropping it gives the thread back as it was.
pub(super) struct Call {
    errno: i32,
    cancel_state: i32,
    /// The default environment meanwhile, whatever the host's is: parsing, quantising and the kernels all assume it.
    floating_point: Option<FloatState>,
}

impl Call {
    /// `None` when this thread is inside of a call already (a signal handler, say).
    pub(super) fn enter() -> Option<Call> {
        if THREAD.with(|thread| thread.inside.replace(true)) {
            return None;
        }
        silence_panics();
        Some(Call {
            errno: errno::get(),
            cancel_state: cancellation::disable(),
            floating_point: Some(FloatState::standard()),
        })
    }

    /// Keeps the text of `error` as this thread's last.
    pub(super) fn record(&self, error: &Error) {
        THREAD.with(|thread| match error {
            // std formats the system's text through a `String`, which aborts the process when memory is out.
            Error::Io { action, source } => match source.raw_os_error() {
                Some(code) => {
                    let mut buffer = [0u8; 128];
                    let text = errno::describe(code, &mut buffer);
                    thread.record(format_args!("cannot {action}: {text} (os error {code})"));
                }
                None => thread.record(format_args!("{error}")),
            },
            _ => thread.record(format_args!("{error}")),
        });
    }

    /// Keeps the text of a panic as this thread's last, unless the hook has done it with the place where it happened.
    pub(super) fn record_panic(&self, payload: &(dyn Any + Send)) {
        THREAD.with(|thread| {
            if !thread.panic_recorded.replace(false) {
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                thread.record(format_args!("internal error: {}", text.unwrap_or("a panic was caught")));
            }
        });
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.floating_point = None;
        cancellation::restore(self.cancel_state);
        errno::set(self.errno);
        THREAD.with(|thread| thread.inside.set(false));
    }
}

impl ThreadState {
    fn record(&self, text: fmt::Arguments<'_>) {
        self.length.set(0);
        // An error means only that the buffer is full: what fits is the message.
        let _ = Appender(self).write_fmt(text);
    }
}

/// Appends to the thread's text until it is full, never half a character.
struct Appender<'a>(&'a ThreadState);

impl Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let state = self.0;
        let used = state.length.get().min(TEXT_BYTES);
        let fits = text.floor_char_boundary(TEXT_BYTES.saturating_sub(used));
        for (to, from) in state.text.iter().skip(used).zip(text.bytes().take(fits)) {
            to.set(from);
        }
        state.length.set(used.saturating_add(fits));
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Hands the last error's bytes to `sink`, in order, and returns how many there are.
pub(super) fn last_error(mut sink: impl FnMut(usize, u8)) -> usize {
    THREAD.with(|thread| {
        let length = thread.length.get().min(TEXT_BYTES);
        for (index, byte) in thread.text.iter().take(length).enumerate() {
            sink(index, byte.get());
        }
        length
    })
}

type Hook = Box<dyn Fn(&std::panic::PanicHookInfo<'_>) + Sync + Send>;

/// Once per process: a panic inside of a call is recorded, not printed, and one on a thread of the library's pool (which
/// tells its caller) not printed either. All others go to the hook that was there.
/// Takes no memory (the closure captures nothing) and waits for nobody.
fn silence_panics() {
    static STARTED: AtomicBool = AtomicBool::new(false);
    static PREVIOUS: OnceLock<Hook> = OnceLock::new();
    // Relaxed: the flag only elects one thread; nothing is read on the strength of it.
    if STARTED.load(Ordering::Relaxed) || STARTED.swap(true, Ordering::Relaxed) {
        return;
    }
    let _ = PREVIOUS.set(std::panic::take_hook());
    std::panic::set_hook(Box::new(|info| {
        let inside = THREAD.with(|thread| {
            if thread.inside.get() {
                thread.record(format_args!("internal error: {info}"));
                thread.panic_recorded.set(true);
            }
            thread.inside.get()
        });
        if !inside
            && !crate::matmul::is_worker()
            && let Some(previous) = PREVIOUS.get()
        {
            previous(info);
        }
    }));
}

#[cfg(unix)]
mod errno {
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    use libc::__errno as location;
    #[cfg(target_os = "linux")]
    use libc::__errno_location as location;
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    use libc::__error as location;

    pub(super) fn get() -> i32 {
        // SAFETY: the C library's errno of this thread, always valid.
        unsafe { *location() }
    }

    pub(super) fn set(value: i32) {
        // SAFETY: as in `get`.
        unsafe { *location() = value }
    }

    /// The system's text for `code`, in `buffer`.
    pub(super) fn describe(code: i32, buffer: &mut [u8]) -> &str {
        // SAFETY: `buffer` is writable for the length given.
        let failed = unsafe { libc::strerror_r(code, buffer.as_mut_ptr().cast(), buffer.len()) };
        let text = std::ffi::CStr::from_bytes_until_nul(buffer).ok();
        match text.and_then(|text| text.to_str().ok()) {
            Some(text) if failed == 0 && !text.is_empty() => text,
            _ => "system error",
        }
    }
}

#[cfg(not(unix))]
mod errno {
    pub(super) fn get() -> i32 {
        0
    }

    pub(super) fn set(_value: i32) {}

    pub(super) fn describe(_code: i32, _buffer: &mut [u8]) -> &'static str {
        "system error"
    }
}

/// `pthread_cancel` would unwind through Rust frames, which aborts: a cancelled thread ends after the call instead.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod cancellation {
    use std::ffi::c_int;

    const PTHREAD_CANCEL_DISABLE: c_int = 1;

    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    }

    pub(super) fn disable() -> i32 {
        let mut old = 0;
        // SAFETY: POSIX; `old` is writable, and the state is one that POSIX names.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut old) };
        old
    }

    pub(super) fn restore(old: i32) {
        let mut ignored = 0;
        // SAFETY: `old` is what the function returned before.
        unsafe { pthread_setcancelstate(old, &mut ignored) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod cancellation {
    pub(super) fn disable() -> i32 {
        0
    }

    pub(super) fn restore(_old: i32) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::error;
    use crate::ffi::{guard, status::gguffuse_status};

    fn text() -> String {
        let mut bytes = Vec::new();
        last_error(|_, byte| bytes.push(byte));
        String::from_utf8(bytes).expect("whole characters only")
    }

    #[test]
    fn a_panic_becomes_a_status() {
        let status = guard(|| panic!("seven is {}", 7));
        assert_eq!(status, gguffuse_status::GGUFFUSE_ERROR_INTERNAL);
        assert!(text().contains("seven is 7"), "{}", text());
        assert_eq!(guard(|| Ok(())), gguffuse_status::GGUFFUSE_OK, "the thread goes on");
    }

    #[test]
    fn a_call_inside_of_a_call_is_refused() {
        let mut inner = gguffuse_status::GGUFFUSE_OK;
        let outer = guard(|| {
            inner = guard(|| Ok(()));
            Ok(())
        });
        assert_eq!(outer, gguffuse_status::GGUFFUSE_OK);
        assert_eq!(inner, gguffuse_status::GGUFFUSE_ERROR_BUSY);
    }

    #[test]
    fn texts_end_at_a_character() {
        for shift in 0..4 {
            let long = format!("{}{}", "a".repeat(shift), "\u{1f980}".repeat(400));
            guard(|| Err(error!(InvalidArgument, "{long}")));
            let kept = text();
            assert!(long.starts_with(&kept) && kept.len() > TEXT_BYTES - 4, "{} bytes", kept.len());
        }
    }

    #[test]
    fn system_errors_are_named() {
        let source = std::io::Error::from_raw_os_error(2);
        guard(|| Err(Error::Io { action: "open the file", source }));
        assert_eq!(text(), "cannot open the file: No such file or directory (os error 2)");
    }
}
