//! The progress line: on stderr, only where a person looks at it, gone at the end.

use std::io::{IsTerminal, Write};

/// Erases the line and puts the cursor at its start.
const ERASE: &str = "\r\x1b[2K";

/// The line. Dropping it erases it.
pub struct Progress {
    visible: bool,
}

impl Progress {
    /// An empty line; silent where stderr is not a terminal.
    pub fn new() -> Progress {
        Progress { visible: std::io::stderr().is_terminal() }
    }

    /// Says what is being done now.
    pub fn say(&mut self, what: &str) {
        self.write(&format!("{ERASE}{what} ..."));
    }

    fn write(&mut self, text: &str) {
        if self.visible {
            // What a person can't see any more is not worth an error.
            let _ = write!(std::io::stderr(), "{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.write(ERASE);
    }
}
