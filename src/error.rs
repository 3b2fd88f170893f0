//! The one error type of the library. Knows nothing of C: `ffi::status` maps each variant to its status code.

use std::fmt::{self, Write};

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong. Each variant is one status code of the C interface, so callers can match on the cause;
/// the text says what, where and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A required pointer was NULL (only reachable through C).
    #[error("{0} is NULL")]
    NullArgument(&'static str),
    /// The handle is closed, stale, of another kind, or was never one (only reachable through C).
    #[error("{0}")]
    InvalidHandle(&'static str),
    /// An argument lies outside of what the function accepts.
    #[error("{0}")]
    InvalidArgument(Message),
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was being done, as in "open the file".
        action: &'static str,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file breaks a rule of the format.
    #[error("bad GGUF file, byte {offset}: {message}")]
    BadFormat {
        /// Byte offset in the file of the field that breaks the rule.
        offset: u64,
        /// Which rule.
        message: Message,
    },
    /// The file ends before something that it declares.
    #[error("truncated GGUF file, byte {offset}: {message}")]
    Truncated {
        /// Byte offset in the file of the field that needs more bytes than there are.
        offset: u64,
        /// What is missing.
        message: Message,
    },
    /// A limit of this library or of the format was exceeded.
    #[error("limit exceeded, byte {offset}: {message}")]
    Limit {
        /// Byte offset in the file of the field that exceeds the limit.
        offset: u64,
        /// Which limit.
        message: Message,
    },
    /// GGUF, but a version or byte order that is not read.
    #[error("unsupported GGUF version: {0}")]
    UnsupportedVersion(Message),
    /// A ggml type that is unknown, removed, or has no kernel for what was asked.
    #[error("unsupported type: {0}")]
    UnsupportedType(Message),
    /// No tensor or metadata key of that name, or an index past the end.
    #[error("not found: {0}")]
    NotFound(Message),
    /// A metadata value is of another type than the one asked for, or does not fit in it.
    #[error("type mismatch: {0}")]
    TypeMismatch(Message),
    /// Matrix dimensions that do not fit together or not the type's block size.
    #[error("bad shape: {0}")]
    Shape(Message),
    /// A buffer is shorter than its shape needs.
    #[error("buffer too small: {0}")]
    BufferTooSmall(Message),
    /// An output overlaps an input.
    #[error("{0}")]
    Aliasing(&'static str),
    /// A pointer is not aligned for its type (only reachable through C).
    #[error("{0} is not aligned for its type")]
    Misaligned(&'static str),
    /// Memory could not be allocated. The object is unchanged and usable.
    #[error("out of memory: {0}")]
    OutOfMemory(&'static str),
    /// Called again from inside of a call of the same thread.
    #[error("{0}")]
    Busy(&'static str),
    /// A file on disk is no longer what was opened.
    #[error("{0}")]
    Changed(&'static str),
    /// A bug in this library.
    #[error("internal error: {0}")]
    Internal(&'static str),
    /// No such instruction-set level in this build.
    #[error("unsupported ISA: {0}")]
    UnsupportedIsa(Message),
}

/// A formatted text that never makes the process abort: when memory runs out while it is written, it ends early.
pub struct Message(String);

impl Message {
    /// Formats `arguments`; use as `Message::new(format_args!("..."))`.
    pub fn new(arguments: fmt::Arguments<'_>) -> Self {
        struct Fallible(String);
        impl Write for Fallible {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.try_reserve(text.len()).map_err(|_| fmt::Error)?;
                self.0.push_str(text);
                Ok(())
            }
        }
        let mut text = Fallible(String::new());
        // An error here means only that memory ran out: what was written so far is the message.
        let _ = text.write_fmt(arguments);
        Message(text.0)
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// `error!(Shape, "k is {k}")` is `Error::Shape(Message)`; with `at offset` the variant carries the byte offset.
macro_rules! error {
    ($variant:ident at $offset:expr, $($text:tt)+) => {
        $crate::error::Error::$variant {
            offset: $offset,
            message: $crate::error::Message::new(format_args!($($text)+)),
        }
    };
    ($variant:ident, $($text:tt)+) => {
        $crate::error::Error::$variant($crate::error::Message::new(format_args!($($text)+)))
    };
}
pub(crate) use error;
