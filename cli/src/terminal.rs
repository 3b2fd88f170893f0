//! Standard output and the progress bar: what they look like on a terminal, and on none.

use crate::error::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::env;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

/// Standard output, buffered. Bold and coloured only on a terminal, and not where NO_COLOR is set.
pub struct Output {
    out: BufWriter<StdoutLock<'static>>,
    styled: bool,
}

impl Output {
    pub fn new() -> Output {
        let stdout = io::stdout().lock();
        let styled = stdout.is_terminal() && may_be_styled();
        Output { out: BufWriter::with_capacity(64 << 10, stdout), styled }
    }

    /// Writes text as it is.
    pub fn text(&mut self, text: impl Display) -> Result<()> {
        Ok(write!(self.out, "{text}")?)
    }

    /// Writes a line.
    pub fn line(&mut self, text: impl Display) -> Result<()> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Writes a line that begins something, after an empty one.
    pub fn heading(&mut self, text: impl Display) -> Result<()> {
        match self.styled {
            true => self.line(format_args!("\n\x1b[1m{text}\x1b[0m")),
            false => self.line(format_args!("\n{text}")),
        }
    }

    /// Writes a line that tells of something bad.
    pub fn bad(&mut self, text: impl Display) -> Result<()> {
        match self.styled {
            true => self.line(format_args!("\x1b[31m{text}\x1b[0m")),
            false => self.line(text),
        }
    }

    /// Where the bytes of another format go.
    pub fn writer(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Brings everything out. What is not brought out is lost where nobody reads any more.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// <https://no-color.org>, and terminals that say that they can do nothing.
fn may_be_styled() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A progress bar over `bytes` bytes, on stderr; nothing where that is no terminal. Gone at the end.
pub fn progress(bytes: u64, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    let template = match may_be_styled() {
        true => {
            "{bar:30.green} {percent:>3} %  {decimal_bytes:>10} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {wide_msg}"
        }
        false => {
            "{bar:30} {percent:>3} %  {decimal_bytes:>10} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {wide_msg}"
        }
    };
    // The template is a constant: a wrong one would be seen in every run.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
