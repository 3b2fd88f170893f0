//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = "\
Usage: fused_demo [OPTIONS] [FILE.gguf]

Shows where tensors of a GGUF file lie and measures the fused product y = x * W^T against the naive one, which
dequantises the whole tensor first. Without a file it makes one with blk.0.ffn_gate.weight [2048, 5632] in Q4_K in a
temporary folder, and removes it. With a file it takes the 3 largest tensors that can be multiplied.

Options:
  --tensor NAME   this tensor only
  --json          one JSON object instead of tables
  --quick         one repeat of everything: errors and sizes are as good, times are rough
  --help          this text
";

/// What to do.
#[derive(Debug, Default)]
pub struct Options {
    /// The file; `None` = make one.
    pub path: Option<PathBuf>,
    /// The only tensor to use.
    pub tensor: Option<String>,
    /// JSON instead of tables.
    pub json: bool,
    /// One repeat of everything.
    pub quick: bool,
}

/// A command line that was understood.
pub enum Parsed {
    Help,
    Run(Options),
}

/// Reads the arguments (without the program's name).
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Parsed, String> {
    let mut options = Options::default();
    let mut arguments = arguments;
    let mut only_paths = false;
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or_default();
        match text {
            "--" if !only_paths => only_paths = true,
            "--help" | "-h" if !only_paths => return Ok(Parsed::Help),
            "--json" if !only_paths => options.json = true,
            "--quick" if !only_paths => options.quick = true,
            "--tensor" if !only_paths => {
                let name = arguments.next().ok_or("--tensor needs a name after it")?;
                options.tensor = Some(tensor_name(name)?);
            }
            _ if !only_paths && text.starts_with("--tensor=") => {
                options.tensor = text.strip_prefix("--tensor=").map(str::to_owned);
            }
            _ if !only_paths && argument.as_encoded_bytes().starts_with(b"-") => {
                return Err(format!("unknown option {argument:?}; --help lists them"));
            }
            _ if options.path.is_some() => {
                return Err(format!("one file at a time, {argument:?} is a second one"));
            }
            _ => options.path = Some(argument.into()),
        }
    }
    Ok(Parsed::Run(options))
}

fn tensor_name(name: OsString) -> Result<String, String> {
    name.into_string().map_err(|name| format!("no tensor is called {name:?}: names are UTF-8"))
}
