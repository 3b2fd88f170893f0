//! Manual pages and completions, made from the command line's description.

use crate::arguments::{Arguments, Completions, Man};
use crate::error::{Error, Result};
use crate::terminal::Output;
use clap::{Command, CommandFactory};
use std::path::Path;
use std::process::ExitCode;

pub fn completions(arguments: &Completions) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "gguffuse", &mut script);
    print(&script)
}

pub fn man(arguments: &Man) -> Result<ExitCode> {
    let mut command = Arguments::command();
    command.build();
    match &arguments.directory {
        Some(directory) => write_pages(directory, command),
        None => print(&page(command)?),
    }
}

fn print(bytes: &[u8]) -> Result<ExitCode> {
    use std::io::Write;
    let mut out = Output::new();
    out.writer().write_all(bytes)?;
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn page(command: Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(page)
}

/// gguffuse.1, gguffuse-info.1 and so on.
fn write_pages(directory: &Path, command: Command) -> Result<ExitCode> {
    let inner = command.get_subcommands().filter(|inner| inner.get_name() != "help");
    let inner: Vec<Command> = inner
        .map(|inner| inner.clone().name(format!("gguffuse-{}", inner.get_name())).disable_help_subcommand(true))
        .collect();
    for command in std::iter::once(command).chain(inner) {
        let path = directory.join(format!("{}.1", command.get_name()));
        std::fs::write(&path, page(command)?)
            .map_err(|why| Error::new(format_args!("cannot write {}: {why}", path.display())))?;
    }
    Ok(ExitCode::SUCCESS)
}
