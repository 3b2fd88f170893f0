//! Why a command ends early. Knows no command.

use crate::text::one_line;
use std::fmt::{self, Display};
use std::io;
use std::process::ExitCode;

/// Why a command ends early.
pub enum Error {
    /// To be told in one line, with exit code 2.
    Told(String),
    /// Whoever read our output has gone: nothing is left to do, and nobody to tell.
    NoReader,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(text: impl Display) -> Error {
        Error::Told(one_line(&text.to_string()))
    }
}

/// The end of a command whose exit code tells what it found, whether or not somebody reads its output.
pub fn ended_with(code: ExitCode, written: Result<()>) -> Result<ExitCode> {
    match written {
        Ok(()) | Err(Error::NoReader) => Ok(code),
        Err(why) => Err(why),
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Told(text) => f.write_str(text),
            Error::NoReader => f.write_str("nobody reads the output"),
        }
    }
}

/// An error of writing the output. (Files are named where they are opened.)
impl From<io::Error> for Error {
    fn from(why: io::Error) -> Error {
        match why.kind() {
            io::ErrorKind::BrokenPipe => Error::NoReader,
            _ => Error::new(format_args!("cannot write the output: {why}")),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(why: serde_json::Error) -> Error {
        io::Error::from(why).into()
    }
}

impl From<gguffuse::Error> for Error {
    fn from(why: gguffuse::Error) -> Error {
        Error::new(why)
    }
}
