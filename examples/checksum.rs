//! Opens checksum.gguf, shows what is in it, multiplies, and prints the checksum of y: see examples/checksum/README.md.
//!
//! `cargo run --release --example checksum -- examples/checksum/checksum.gguf`. Exit code 1 and one line on stderr where
//! anything is wrong.

use gguffuse::gguf::{File, OpenOptions};
use gguffuse::matmul::{Context, ContextOptions, Weights};
use std::path::Path;
use std::process::ExitCode;

const M: usize = 1;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: checksum FILE");
        return ExitCode::FAILURE;
    };
    match run(Path::new(&path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("checksum: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let file = File::open(path, &OpenOptions::default())?;
    println!("name {}", String::from_utf8_lossy(file.get("general.name")?.as_bytes()?));
    let w = file.tensor(file.find_tensor("blk.0.ffn_gate.weight")?)?;
    println!("tensor {} type {:?} at byte {}", w.name, w.tensor_type, w.absolute_offset);

    let (k, n) = (usize::try_from(w.dims[0])?, usize::try_from(w.dims[1])?);
    let x: Vec<f32> = (0..M * k).map(|i| ((i * 7919 % 2003) as f32 - 1001.0) / 1001.0).collect();
    let mut y = vec![0.0; M * n];
    let context = Context::new(&ContextOptions::default())?;
    context.matmul(&Weights { tensor_type: w.tensor_type, n, k, data: w.data }, &x, 0, M, &mut y, 0)?;
    println!("checksum {:016x}", checksum(&y));
    Ok(())
}

/// FNV-1a over the floats' little-endian bytes.
fn checksum(y: &[f32]) -> u64 {
    let bytes = y.iter().flat_map(|value| value.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
