//! The command `gguffuse`: from the command line to the exit code. Each command has a module of its own name.

mod arguments;
mod error;
mod info;
mod manual;
mod stream;
mod verify;
mod open;
mod terminal;
mod text;

use arguments::{Arguments, Command};
use clap::Parser;
use clap::error::ErrorKind;
use error::{Error, Result};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = match Arguments::try_parse() {
        Ok(arguments) => run(arguments.command),
        Err(why) => misuse(&why),
    };
    match ended {
        Ok(code) => code,
        Err(Error::NoReader) => ExitCode::SUCCESS,
        Err(Error::Told(why)) => {
            // A closed stderr leaves the exit code to tell.
            let _ = writeln!(std::io::stderr(), "gguffuse: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Info(arguments) => info::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
        _ => Err(Error::new("not there yet")),
    }
}

/// Help and version are asked for; all else becomes one line.
fn misuse(why: &clap::Error) -> Result<ExitCode> {
    if matches!(why.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        why.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    // The first paragraph says what is wrong, others are hints and usage.
    let text = why.render().to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = text.trim_start_matches("error: ").split_whitespace().collect();
    Err(Error::new(format_args!("{}; --help tells more", words.join(" "))))
}
