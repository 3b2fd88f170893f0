//! Opens a GGUF file again and again: how long that takes while the file is cached, and how much heap it takes.
//!
//! `cargo run --release --example open_model -- MODEL.gguf`. Exit code 1 where a bar of this project is missed: 5 ms, and
//! 4 times the metadata plus 64 KiB. A library reads no weights to open a file, so both hold for models of any size; the
//! time is meant for models with up to some 10 MB of metadata (a vocabulary of 262,144 tokens).

#[path = "fused_demo/memory.rs"]
mod memory;

use gguffuse::gguf::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

const OPENINGS: usize = 21;
const LONGEST: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let answer = match (arguments.next(), arguments.next()) {
        (Some(path), None) => measure(path.into()),
        _ => Err("usage: open_model FILE.gguf".to_owned()),
    };
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // A closed stderr leaves the exit code to tell.
            let _ = writeln!(std::io::stderr(), "open_model: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(path: PathBuf) -> Result<(), String> {
    let open = || File::open(&path, &OpenOptions::default()).map_err(|why| format!("{path:?}: {why}"));
    // This opening brings the metadata into the page cache.
    drop(open()?);
    let resident = reset_peak_of_memory();
    let (file, heap) = memory::peak_of(open);
    let file = file?;
    // Heap and the mapped copy of the metadata together, where the system tells; else the heap alone.
    let memory = match (resident, memory_status("VmHWM")) {
        (Some(before), Some(peak)) => peak.saturating_sub(before).max(heap),
        _ => heap,
    };

    let mut times = Vec::new();
    for _ in 0..OPENINGS {
        let start = Instant::now();
        let opened = open()?;
        times.push(start.elapsed());
        drop(opened);
    }
    times.sort_unstable();
    let (fastest, median, slowest) = (times[0], times[OPENINGS / 2], times[OPENINGS - 1]);
    let metadata = file.metadata_bytes();
    let bar = 4 * metadata + (64 << 10);
    let text = format!(
        "{} tensors, {} metadata entries, {metadata} bytes of metadata\n\
         opening   median {median:.2?} of {OPENINGS} ({fastest:.2?} to {slowest:.2?}), at most {LONGEST:.0?}\n\
         memory    peak {memory} bytes, {:.2} times the metadata, at most {bar}; heap alone {heap}\n",
        file.tensor_count(),
        file.metadata_count(),
        memory as f64 / metadata as f64,
    );
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|why| format!("cannot write the output: {why}"))?;
    if median > LONGEST {
        return Err(format!("opening takes more than {LONGEST:.0?}"));
    }
    if memory as u64 > bar {
        return Err(format!("opening takes more than {bar} bytes of memory"));
    }
    Ok(())
}

/// Makes the system count the peak of resident memory anew (Linux); what is resident now.
fn reset_peak_of_memory() -> Option<usize> {
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    memory_status("VmRSS")
}

/// A field of /proc/self/status, in bytes.
fn memory_status(field: &str) -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes = line.trim_matches([':', ' ', '\t']).split(' ').next()?.parse::<usize>().ok()?;
    Some(1024 * kibibytes)
}
