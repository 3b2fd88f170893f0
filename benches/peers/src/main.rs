//! gguffuse beside its peers: same weights, same run, interleaved. README.md says how to run it.

mod ggml;
mod jobs;
mod ours;
mod roofs;
mod session;
mod timing;
mod weights;

use session::Session;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: peers [--quick] [--only JOB]... [--ggml FOLDER]";

struct Arguments {
    quick: bool,
    /// Empty: all.
    only: Vec<String>,
    ggml: PathBuf,
}

fn arguments() -> Result<Arguments, String> {
    let ggml = Path::new(env!("CARGO_MANIFEST_DIR")).join("ggml");
    let mut parsed = Arguments { quick: false, only: Vec::new(), ggml };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--quick" => parsed.quick = true,
            "--only" => parsed.only.push(value()?),
            "--ggml" => parsed.ggml = value()?.into(),
            _ => return Err(USAGE.to_string()),
        }
    }
    let names: Vec<_> = jobs::ALL.iter().map(|(name, _)| *name).collect();
    match parsed.only.iter().find(|name| !names.contains(&name.as_str())) {
        Some(unknown) => Err(format!("no job is called {unknown}; there are {}", names.join(", "))),
        None => Ok(parsed),
    }
}

fn run() -> Result<(), String> {
    let arguments = arguments()?;
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads = vec![1, all];
    threads.dedup();
    let fail = |error| format!("{error}; fetch.sh fetches ggml");
    let ggml = ggml::Library::open(&arguments.ggml).map_err(fail)?;
    let kernels = ggml.kernels(&arguments.ggml, &threads).map_err(fail)?;
    let names: Vec<_> =
        kernels.iter().map(|kernels| format!("{} for {}", kernels.name, kernels.level.name())).collect();
    println!("ggml {}: {}", ggml.version(), names.join(", "));
    let mut session = Session {
        ggml,
        kernels: kernels.leak(),
        contexts: ours::Contexts::default(),
        threads,
        quick: arguments.quick,
        records: Vec::new(),
        peaks: Vec::new(),
        readers: Vec::new(),
    };
    for (name, job) in jobs::ALL {
        // Others are measured against the roofs.
        if arguments.only.is_empty() || *name == "roofs" || arguments.only.iter().any(|only| only == name) {
            let begin = std::time::Instant::now();
            job(&mut session);
            println!("-- {name}: {:.1} s\n", begin.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
