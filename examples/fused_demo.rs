//! Opens a GGUF file, shows where its weights lie, and measures the fused product against the naive one, which
//! dequantises all weights first: time, error against f64, and memory.
//!
//! `cargo run --release --example fused_demo` makes a file with one tensor of TinyLlama's shape and uses that;
//! `cargo run --release --example fused_demo -- MODEL.gguf` uses a model's tensors. `--help` tells the rest.
//!
//! Here lives only the way from the options to the output; the parts are in fused_demo/.

#[path = "fused_demo/compare.rs"]
mod compare;
#[path = "fused_demo/files.rs"]
mod files;
#[path = "fused_demo/json.rs"]
mod json;
#[path = "fused_demo/memory.rs"]
mod memory;
#[path = "fused_demo/naive.rs"]
mod naive;
#[path = "fused_demo/options.rs"]
mod options;
#[path = "fused_demo/progress.rs"]
mod progress;
#[path = "fused_demo/random.rs"]
mod random;
#[path = "fused_demo/reference.rs"]
mod reference;
#[path = "fused_demo/table.rs"]
mod table;

use options::{Options, Parsed};
use progress::Progress;
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

fn main() -> ExitCode {
    let answer = match options::parse(std::env::args_os().skip(1)) {
        Ok(Parsed::Help) => print(options::HELP),
        Ok(Parsed::Run(options)) => run(&options).and_then(|text| print(&text)),
        Err(why) => Err(why),
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // A closed stderr leaves the exit code to tell.
            let _ = writeln!(std::io::stderr(), "fused_demo: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The whole output; an error is one line.
fn run(options: &Options) -> Result<String, String> {
    let mut progress = Progress::new();
    let opened = match &options.path {
        Some(path) => files::open(path)?,
        None => files::make(&mut progress)?,
    };
    let tensors = files::choose(&opened.file, options.tensor.as_deref())?;
    let mut reports = Vec::new();
    for tensor in &tensors {
        reports.push(compare::compare(tensor, options.quick, &mut progress)?);
    }
    drop(progress);
    match options.json {
        true => Ok(json::text(&opened, &reports)),
        false => Ok(table::text(&opened, &reports)),
    }
}

/// `println!` would panic where the reader of a pipe has gone.
fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|why| format!("cannot write the output: {why}"))
}
