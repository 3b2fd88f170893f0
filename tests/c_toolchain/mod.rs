//! For tests that compile C: the compiler, the library as this very build made it, a directory for temporary files.

#![allow(dead_code)] // every test uses another part

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// The C compiler that `cc` finds for the target that the tests were built for.
pub fn compiler() -> Command {
    let mut build = cc::Build::new();
    build
        .target(env!("GGUFFUSE_TARGET"))
        .host(env!("GGUFFUSE_HOST"))
        .opt_level(1);
    build.cargo_metadata(false).warnings(false);
    build.get_compiler().to_command()
}

/// Arguments that make a `.c` file C or C++ of a standard, as in "c11" or "c++17".
pub fn language(standard: &str) -> [String; 3] {
    let language = if standard.starts_with("c++") { "c++" } else { "c" };
    ["-x".into(), language.into(), format!("-std={standard}")]
}

/// A library file of this build. It lies beside the test executable, in target/<profile>/deps; the copy one directory
/// above is made by `cargo build` only and may be stale.
pub fn library(name: &str) -> PathBuf {
    let executable = std::env::current_exe().expect("the path of the test");
    let path = executable.parent().expect("its directory").join(name);
    assert!(path.is_file(), "no {}: run by `cargo test`?", path.display());
    // Cargo links the test after the library: a library that is younger is from another build.
    let modified = |path: &Path| path.metadata().and_then(|data| data.modified()).expect("a time");
    assert!(
        modified(&path) <= modified(&executable),
        "{} is of another build",
        path.display()
    );
    path
}

/// A fresh directory below target/tmp.
pub fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a directory for temporary files");
    path
}

/// Runs `command`; what it printed, if it failed.
pub fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|reason| format!("{command:?}: {reason}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Standard output of a command that must succeed.
pub fn text(command: &mut Command) -> String {
    let output = run(command).unwrap_or_else(|reason| panic!("{reason}"));
    String::from_utf8(output.stdout).expect("UTF-8")
}
