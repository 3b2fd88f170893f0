//! What the library has to say besides results: short texts for a sink that a host may set. Silent without one. Takes no
//! heap to say something, knows nothing of C and of who listens.

use crate::error::{Error, Result};
use std::alloc::{Layout, alloc};
use std::ffi::CStr;
use std::fmt::{self, Write};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// How important a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Importance {
    /// A bug of this library that was caught.
    Error = 1,
    /// Something works, but not as well as was asked for.
    Warning = 2,
    /// What was chosen.
    Info = 3,
}

/// A listener: `call` is handed the sink itself, which carries what it needs.
#[derive(Clone, Copy)]
pub(crate) struct Sink {
    pub(crate) call: fn(&Sink, Importance, &CStr),
    pub(crate) callback: *const (),
    pub(crate) user_data: *mut (),
}

/// A sink and the one that was made before it.
struct Kept {
    sink: Sink,
    before: *mut Kept,
}

/// The listener.
static SINK: AtomicPtr<Kept> = AtomicPtr::new(null_mut());
/// All that ever were: what a host's leak checker can reach is no leak.
static KEPT: AtomicPtr<Kept> = AtomicPtr::new(null_mut());

/// Sets the listener, or none. A sink that was set before may be in use by another thread: it is never freed, which costs
/// some bytes for each new one. One that was set before is used again.
pub(crate) fn set(sink: Option<Sink>) -> Result<()> {
    let pointer = match sink {
        None => null_mut(),
        Some(sink) => keep(sink)?,
    };
    // Release: whoever sees the pointer sees the sink.
    SINK.store(pointer, Ordering::Release);
    Ok(())
}

fn keep(sink: Sink) -> Result<*mut Kept> {
    // Acquire: what the list holds is seen.
    let first = KEPT.load(Ordering::Acquire);
    let mut look = first;
    // SAFETY: null, or written before it was published and never freed; so is what it names.
    while let Some(kept) = unsafe { look.as_ref() } {
        if (kept.sink.callback, kept.sink.user_data) == (sink.callback, sink.user_data) {
            return Ok(look);
        }
        look = kept.before;
    }
    // SAFETY: the layout is not empty.
    let kept = unsafe { alloc(Layout::new::<Kept>()).cast::<Kept>() };
    if kept.is_null() {
        return Err(Error::OutOfMemory("the log callback"));
    }
    let mut before = first;
    loop {
        // SAFETY: our own memory until it is published below.
        unsafe { kept.write(Kept { sink, before }) };
        // Release: as in `set`.
        match KEPT.compare_exchange_weak(before, kept, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return Ok(kept),
            Err(now) => before = now,
        }
    }
}

/// Says something, cut to some 250 bytes.
pub(crate) fn say(importance: Importance, text: fmt::Arguments<'_>) {
    /// A text on the stack, always with a NUL behind it.
    struct Text([u8; 256], usize);
    impl Write for Text {
        fn write_str(&mut self, more: &str) -> fmt::Result {
            let room = self.0.len() - 1 - self.1;
            let fits = more.floor_char_boundary(room);
            // A NUL would end the text early.
            for (to, from) in self.0[self.1..].iter_mut().zip(&more.as_bytes()[..fits]) {
                *to = if *from == 0 { b'?' } else { *from };
            }
            self.1 += fits;
            if fits == more.len() { Ok(()) } else { Err(fmt::Error) }
        }
    }
    // SAFETY: null, or a sink that was written before it was published and is never freed.
    let Some(Kept { sink, .. }) = (unsafe { SINK.load(Ordering::Acquire).as_ref() }) else { return };
    let mut buffer = Text([0; 256], 0);
    // An error means only that the text is full.
    let _ = buffer.write_fmt(text);
    if let Ok(text) = CStr::from_bytes_until_nul(&buffer.0) {
        (sink.call)(sink, importance, text);
    }
}
