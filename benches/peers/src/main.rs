//! gguffuse beside its peers: same weights, same run, interleaved. README.md says how to run it.

mod bars;
#[cfg_attr(not(feature = "candle"), path = "candle_absent.rs")]
mod candle;
mod floats;
mod ggml;
mod heap;
mod jobs;
mod machine;
mod ours;
mod party;
mod records;
mod report;
mod roofs;
mod session;
mod tiles;
mod timing;
mod weights;

use records::Run;
use session::Session;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

const USAGE: &str = "usage: peers [--quick] [--only JOB]... [--ggml FOLDER]... [--from RECORDS] [--docs FOLDER]";

struct Arguments {
    quick: bool,
    /// Empty: all.
    only: Vec<String>,
    /// Where builds of ggml lie.
    ggml: Vec<PathBuf>,
    /// Records of an earlier run to be written about again, instead of measuring.
    from: Option<PathBuf>,
    /// Where performance.md goes.
    docs: PathBuf,
}

fn arguments() -> Result<Arguments, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = here.join("../../docs");
    let mut parsed = Arguments { quick: false, only: Vec::new(), ggml: Vec::new(), from: None, docs };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--quick" => parsed.quick = true,
            "--only" => parsed.only.push(value()?),
            "--ggml" => parsed.ggml.push(value()?.into()),
            "--from" => parsed.from = Some(value()?.into()),
            "--docs" => parsed.docs = value()?.into(),
            _ => return Err(USAGE.to_string()),
        }
    }
    if parsed.ggml.is_empty() {
        let built = Some(here.join("ggml-built")).filter(|folder| folder.exists());
        parsed.ggml = std::iter::once(here.join("ggml")).chain(built).collect();
    }
    let names: Vec<_> = jobs::ALL.iter().map(|(name, _)| *name).collect();
    match parsed.only.iter().find(|name| !names.contains(&name.as_str())) {
        Some(unknown) => Err(format!("no job is called {unknown}; there are {}", names.join(", "))),
        None => Ok(parsed),
    }
}

fn session(arguments: &Arguments) -> Result<Session, String> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let mut threads = vec![1, all];
    threads.dedup();
    let fail = |error| format!("{error}; fetch.sh fetches ggml");
    let (mut libraries, mut kernels) = (Vec::new(), Vec::new());
    for folder in &arguments.ggml {
        let library = ggml::Library::open(folder).map_err(fail)?;
        kernels.extend(library.kernels(folder, &threads).map_err(fail)?);
        libraries.push(library);
    }
    let ggml = *libraries.first().ok_or("no ggml")?;
    let name = |kernels: &ggml::Kernels| format!("{} {} at {}", kernels.version, kernels.name, kernels.level.name());
    let names: Vec<_> = kernels.iter().map(name).collect();
    let run = Run {
        machine: machine::describe(all),
        date: machine::date(),
        versions: format!(
            "gguffuse {}, ggml ({}), candle-core {}, gemm {}",
            machine::locked("gguffuse"),
            names.join(", "),
            machine::locked("candle-core"),
            machine::locked("gemm"),
        ),
        threads: threads.clone(),
        levels: ours::levels().iter().map(|level| level.name().to_string()).collect(),
        ..Run::default()
    };
    Ok(Session {
        ggml,
        kernels: kernels.leak(),
        contexts: ours::Contexts::default(),
        threads,
        quick: arguments.quick,
        readers: Vec::new(),
        run,
    })
}

fn measure(arguments: &Arguments) -> Result<Run, String> {
    let mut session = session(arguments)?;
    println!("{}\n{}\n", session.run.machine, session.run.versions);
    for (name, job) in jobs::ALL {
        // Others are measured against the roofs.
        if arguments.only.is_empty() || *name == "roofs" || arguments.only.iter().any(|only| only == name) {
            let begin = std::time::Instant::now();
            job(&mut session);
            println!("-- {name}: {:.1} s\n", begin.elapsed().as_secs_f64());
        }
    }
    Ok(session.run)
}

fn run() -> Result<(), String> {
    let arguments = arguments()?;
    let run = match &arguments.from {
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
            serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => measure(&arguments)?,
    };
    print!("{}", report::bars_as_text(&run));
    if arguments.quick || !arguments.only.is_empty() {
        return Ok(());
    }
    if arguments.from.is_none() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("last-run.json");
        let text = serde_json::to_vec(&run).map_err(|error| error.to_string())?;
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    report::write(&run, &arguments.docs).map_err(|error| format!("{}: {error}", arguments.docs.display()))?;
    println!("wrote {}", arguments.docs.join("performance.md").display());
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
