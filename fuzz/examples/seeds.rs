//! Writes the files that fuzzing begins with into a directory: those of the tests' corpus that are small, and the valid
//! seeds of its single faults. Compiled with the coverage of the fuzz targets, whose runtime it has to be linked with.

use libfuzzer_sys as _;

#[allow(dead_code)] // what the tests expect of each
#[path = "../../tests/corpus/cases/mod.rs"]
mod cases;
#[path = "../../tests/gguf/raw.rs"]
mod raw;
#[path = "../../tests/gguf/seeds.rs"]
mod seeds;

/// Longer inputs are found by no mutation, and slow down all others.
const LARGEST: usize = 2048;

fn main() -> std::io::Result<()> {
    let directory = std::env::args_os().nth(1).expect("usage: seeds DIRECTORY");
    let directory = std::path::Path::new(&directory);
    std::fs::create_dir_all(directory)?;
    let cases = cases::all().into_iter().map(|case| (case.name, case.bytes));
    let seeds = seeds::seeds().into_iter().enumerate().map(|(index, bytes)| (format!("seed-{index}"), bytes));
    for (name, bytes) in cases.chain(seeds).filter(|(_, bytes)| bytes.len() <= LARGEST) {
        std::fs::write(directory.join(name), bytes)?;
    }
    Ok(())
}
