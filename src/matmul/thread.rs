//! Starting a detached thread, and sleeping on a word of memory, without any heap of our own: `std::thread` aborts the
//! process when memory runs out. The callback is the one `extern "C"` outside of `ffi`: pthreads can call nothing else.

use std::sync::atomic::AtomicU32;

/// What a thread does: `run(argument)`.
pub(super) struct Start {
    pub(super) run: fn(*const ()),
    pub(super) argument: *const (),
}

/// Stack of a worker: kernels use some ten KiB.
#[cfg(unix)]
const STACK_BYTES: usize = 256 << 10;

/// Starts a detached thread that blocks all signals, so that it never runs a host's handler. False when the system has
/// none to give. `start` must stay valid until the thread has called [`Start::run`]; `run` must not panic.
#[cfg(unix)]
pub(super) fn start(start: &'static Start) -> bool {
    use std::ffi::c_void;
    use std::mem::{MaybeUninit, zeroed};

    extern "C" fn begin(start: *mut c_void) -> *mut c_void {
        // SAFETY: the `&'static Start` that was passed below.
        let start = unsafe { &*start.cast_const().cast::<Start>() };
        (start.run)(start.argument);
        std::ptr::null_mut()
    }

    // SAFETY: attributes and sets are initialised by the first call that gets them; a new thread inherits the mask of the
    // one that makes it, which gets its own back.
    unsafe {
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        if libc::pthread_attr_init(attributes.as_mut_ptr()) != 0 {
            return false;
        }
        libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED);
        // Refused where the system's least is more: then it is the default.
        libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK_BYTES);
        let (mut all, mut before) = (zeroed::<libc::sigset_t>(), zeroed::<libc::sigset_t>());
        libc::sigfillset(&mut all);
        let blocked = libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before) == 0;
        let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
        let argument = std::ptr::from_ref(start).cast_mut().cast();
        let made = libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), begin, argument);
        #[cfg(target_os = "linux")]
        if made == 0 {
            libc::pthread_setname_np(thread.assume_init(), c"gguffuse".as_ptr());
        }
        if blocked {
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        }
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        made == 0
    }
}

#[cfg(not(unix))]
pub(super) fn start(_start: &'static Start) -> bool {
    false
}

/// The system's number of the calling thread; 0 where it has none.
pub(super) fn thread_number() -> u32 {
    #[cfg(target_os = "linux")]
    // SAFETY: no conditions.
    let number = unsafe { libc::syscall(libc::SYS_gettid) };
    #[cfg(not(target_os = "linux"))]
    let number = 0;
    u32::try_from(number).unwrap_or(0)
}

/// Sleeps while `word` is `value`, until [`wake`]; may return early.
#[cfg(target_os = "linux")]
pub(super) fn wait(word: &AtomicU32, value: u32) {
    let no_timeout = std::ptr::null::<libc::timespec>();
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: futex(2): the word is valid during the call; any failure is an early return.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, no_timeout) };
}

/// Wakes up to `count` threads that sleep on `word`.
#[cfg(target_os = "linux")]
pub(super) fn wake(word: &AtomicU32, count: usize) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: futex(2): only the word's address is used.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, count) };
}

/// Without futexes: a nap.
#[cfg(not(target_os = "linux"))]
pub(super) fn wait(word: &AtomicU32, value: u32) {
    if word.load(std::sync::atomic::Ordering::Acquire) == value {
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn wake(_word: &AtomicU32, _count: usize) {}
