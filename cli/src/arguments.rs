//! The command line. What it says here is the help, the man pages and the completions.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use gguffuse::blocks::TensorType;
use gguffuse::matmul::Precision;
use std::path::PathBuf;

/// Look at GGUF model files, check, compare, measure and quantise them.
#[derive(Parser)]
#[command(name = "gguffuse", version, max_term_width = 100)]
#[command(after_help = "Exit code: 0 well, 1 bad weights found (verify) or differences (diff), 2 trouble.")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Show metadata, tensors and totals of a file
    Info(Info),
    /// Show a tensor's statistics and histogram, and one of its blocks field by field
    Tensor(Tensor),
    /// Look for weights that are NaN or infinite in all tensors of a file
    ///
    /// Exit code 0: there are none. 1: there are. 2: the file cannot be read.
    Verify(Verify),
    /// Measure products with the shapes of a file: decode and prefill
    Bench(Bench),
    /// Write a copy of a file with its float matrices quantised
    Quantize(Quantize),
    /// Compare the metadata and tensors of two files
    ///
    /// Exit code 0: they are the same. 1: they differ. 2: one cannot be read.
    Diff(Diff),
    /// Print a script that makes a shell complete this command's arguments
    Completions(Completions),
    /// Print the manual page, or write all of them
    Man(Man),
}

#[derive(Args)]
pub struct Info {
    /// GGUF file
    pub file: PathBuf,
    /// Print one JSON object, with everything: cli/README.md describes it
    #[arg(long)]
    pub json: bool,
    /// Shorten neither long arrays nor long strings
    #[arg(short, long, conflicts_with = "json")]
    pub all: bool,
}

#[derive(Args)]
pub struct Tensor {
    /// GGUF file
    pub file: PathBuf,
    /// The tensor's name
    pub name: String,
    /// The block that is shown, counted from 0
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub block: u64,
}

#[derive(Args)]
pub struct Verify {
    /// GGUF file
    pub file: PathBuf,
    /// Threads; 0: as many as the machine has
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: u32,
    /// Say nothing but what is wrong
    #[arg(short, long)]
    pub quiet: bool,
    /// Measure as well how fast the machine reads the file without looking at it
    #[arg(long, conflicts_with = "quiet")]
    pub compare: bool,
}

#[derive(Args)]
pub struct Bench {
    /// GGUF file
    pub file: PathBuf,
    /// Threads; 0: as many as the machine has
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: u32,
    /// Highest instruction set used [default: the best there is]
    #[arg(long, value_name = "LEVEL")]
    pub isa: Option<String>,
    /// How exactly activations enter
    #[arg(long, value_enum, default_value_t)]
    pub precision: PrecisionName,
    /// Activation rows (tokens) of prefill
    #[arg(long, default_value_t = 512, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub prefill: u32,
    /// Milliseconds per measurement
    #[arg(long, default_value_t = 300, value_name = "MS")]
    pub time: u64,
}

#[derive(Args)]
pub struct Quantize {
    /// GGUF file to read, with F32, F16 or BF16 tensors
    pub input: PathBuf,
    /// File to write; written beside it first, it is never half a file
    pub output: PathBuf,
    /// Type of the matrices, as in q4_k
    #[arg(long = "type", value_name = "TYPE", value_parser = quantizable)]
    pub tensor_type: TensorType,
    /// Another type for the tensors whose names match, * standing for anything; the last that matches holds
    #[arg(long = "tensor", value_name = "PATTERN=TYPE", value_parser = pattern)]
    pub tensors: Vec<(String, TensorType)>,
    /// Importance matrix (GGUF, as llama-imatrix writes it): which columns' errors count how much
    #[arg(long, value_name = "FILE")]
    pub imatrix: Option<PathBuf>,
    /// Threads; 0: as many as the machine has
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: u32,
    /// Say what would become of each tensor, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Say nothing but what is wrong
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Args)]
pub struct Diff {
    /// First GGUF file
    pub a: PathBuf,
    /// Second GGUF file
    pub b: PathBuf,
    /// Say nothing, the exit code tells; ends at the first difference
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

#[derive(Args)]
pub struct Man {
    /// Write a page per command into this directory instead
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
}

/// See [`Precision`].
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum PrecisionName {
    /// 24 bits
    #[default]
    Exact,
    /// 16 bits
    High,
    /// 8 bits, as ggml does
    Fast,
}

impl PrecisionName {
    pub fn precision(self) -> Precision {
        match self {
            PrecisionName::Exact => Precision::Exact,
            PrecisionName::High => Precision::High,
            PrecisionName::Fast => Precision::Fast,
        }
    }
}

/// The type called `name` in upper or lower case, which must have a quantiser.
fn quantizable(name: &str) -> Result<TensorType, String> {
    let can = || TensorType::ALL.iter().copied().filter(|tensor_type| tensor_type.can_quantize());
    can().find(|tensor_type| tensor_type.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
        let names: Vec<&str> = can().map(TensorType::name).collect();
        format!("can be made: {}", names.join(" "))
    })
}

fn pattern(argument: &str) -> Result<(String, TensorType), String> {
    let (pattern, name) = argument.rsplit_once('=').ok_or("it has no \"=\"")?;
    Ok((pattern.to_owned(), quantizable(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn types_are_found_by_name() {
        assert_eq!(quantizable("Q4_K"), Ok(TensorType::Q4_K));
        assert!(quantizable("iq1_s").is_err_and(|why| why.contains("q4_k")));
        assert_eq!(pattern("blk.*=x=q8_0"), Ok(("blk.*=x".to_owned(), TensorType::Q8_0)));
    }
}
