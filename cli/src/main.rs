//! The command `gguffuse`: from the command line to the exit code. Each command has a module of its own name.

mod arguments;
mod bench;
mod diff;
mod error;
mod fields;
mod info;
mod manual;
mod open;
mod parallel;
mod quantize;
mod stream;
mod tensor;
mod terminal;
mod text;
mod verify;

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
        Command::Tensor(arguments) => tensor::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Quantize(arguments) => quantize::run(&arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::man(&arguments),
    }
}

/// Help and version are asked for; all else becomes one line.
fn misuse(why: &clap::Error) -> Result<ExitCode> {
    if matches!(why.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        why.print()?;
        return Ok(ExitCode::SUCCESS);
    }
    if matches!(why.kind(), ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) {
        return Err(Error::new("no command is given; --help lists them"));
    }
    // The first paragraph says what is wrong, others are hints and usage.
    let text = why.render().to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = text.trim_start_matches("error: ").split_whitespace().collect();
    Err(Error::new(format_args!("{}; --help tells more", words.join(" "))))
}
