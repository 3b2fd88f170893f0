//! Looks for bad weights in a file: NaN, infinities, scales that their types do not allow.
//!
//!     cargo run --release --example check_weights FILE.gguf
//!
//! Exit code 1 where a tensor has some.

use gguffuse::error::Result;
use gguffuse::gguf::{File, OpenOptions};
use gguffuse::matmul::{Context, ContextOptions};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Prints the tensors with bad blocks, and returns how many there are.
fn check(path: &Path) -> Result<usize> {
    let file = File::open(path, &OpenOptions::default())?;
    let context = Context::new(&ContextOptions::default())?;
    let start = Instant::now();
    let (mut tensors, mut bytes, mut bad_tensors) = (0, 0, 0);
    for tensor in file.tensors() {
        tensors += 1;
        bytes += tensor.size_bytes;
        if let Some(block) = context.validate(tensor.tensor_type, tensor.data)? {
            let first = block * tensor.tensor_type.block_elements() as u64;
            let at = tensor.absolute_offset + block * tensor.tensor_type.block_bytes() as u64;
            let [row, column] = [first / tensor.dims[0], first % tensor.dims[0]];
            let (name, kind) = (tensor.name, tensor.tensor_type.name());
            println!("{name} ({kind}): block {block} is bad: row {row}, from column {column}; byte {at} of the file");
            bad_tensors += 1;
        }
    }
    let (milliseconds, megabytes) = (start.elapsed().as_secs_f64() * 1e3, bytes as f64 / 1e6);
    println!("{tensors} tensors, {megabytes:.0} MB, checked in {milliseconds:.1} ms: {bad_tensors} with bad blocks");
    Ok(bad_tensors)
}

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: check_weights FILE.gguf");
        return ExitCode::from(2);
    };
    match check(Path::new(&path)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("{path}: {reason}");
            ExitCode::from(2)
        }
    }
}
