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
pub(crate) struct Sink {
    pub(crate) call: fn(&Sink, Importance, &CStr),
    pub(crate) callback: *const (),
    pub(crate) user_data: *mut (),
}

static SINK: AtomicPtr<Sink> = AtomicPtr::new(null_mut());

/// Sets the listener, or none. A sink that was set before may be in use by another thread: it is never freed, which costs
/// some bytes for each change.
pub(crate) fn set(sink: Option<Sink>) -> Result<()> {
    let pointer = match sink {
        None => null_mut(),
        Some(sink) => {
            // SAFETY: the layout is not empty; the memory is written before it is published, and never freed.
            unsafe {
                let memory = alloc(Layout::new::<Sink>()).cast::<Sink>();
                if memory.is_null() {
                    return Err(Error::OutOfMemory("the log callback"));
                }
                memory.write(sink);
                memory
            }
        }
    };
    // Release: whoever sees the pointer sees the sink.
    SINK.store(pointer, Ordering::Release);
    Ok(())
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
    let Some(sink) = (unsafe { SINK.load(Ordering::Acquire).as_ref() }) else { return };
    let mut buffer = Text([0; 256], 0);
    // An error means only that the text is full.
    let _ = buffer.write_fmt(text);
    if let Ok(text) = CStr::from_bytes_until_nul(&buffer.0) {
        (sink.call)(sink, importance, text);
    }
}
