//! The examples of examples/checksum in C, C++ and Rust print one line, at every instruction-set level. Those of other
//! languages have their own tests; scripts/check_install.sh builds these against an installed library.
#![cfg(unix)]

mod c_toolchain;

use c_toolchain::{STRICT, compiler, directory, library, text};
use gguffuse::kernels::Level;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn compile(directory: &Path, source: &str, standard: &str) -> PathBuf {
    let program = directory.join(source);
    let mut compile = compiler();
    compile.arg(format!("-std={standard}")).args(STRICT).arg("-I").arg(Path::new(ROOT).join("include"));
    compile.arg(Path::new(ROOT).join("examples/checksum").join(source)).arg(library("libgguffuse.a"));
    compile.arg("-o").arg(&program).args(["-lm", "-pthread"]).args(cfg!(target_os = "linux").then_some("-ldl"));
    // For the C compiler, which compiles C++ but doesn't link its library.
    compile.args(source.ends_with("pp").then_some(if cfg!(target_vendor = "apple") { "-lc++" } else { "-lstdc++" }));
    text(&mut compile);
    program
}

#[test]
fn one_line_from_every_language() {
    let directory = directory("checksum");
    let file = Path::new(ROOT).join("examples/checksum/checksum.gguf");
    let expected = std::fs::read_to_string(Path::new(ROOT).join("examples/checksum/expected.txt")).expect("a line");
    let rust = library("libgguffuse.a").with_file_name("../examples/checksum");
    let programs = [compile(&directory, "checksum.c", "c99"), compile(&directory, "checksum.cpp", "c++17"), rust];
    for program in &programs {
        for level in Level::available() {
            let output = text(Command::new(program).arg(&file).env("GGUFFUSE_MAX_ISA", level.name()));
            assert_eq!(output.lines().last(), expected.lines().next(), "{program:?}, {}: {output}", level.name());
        }
        let failed = Command::new(program).arg(directory.join("nothing.gguf")).output().expect("run");
        assert_eq!(failed.status.code(), Some(1), "{program:?}");
        let message = String::from_utf8(failed.stderr).expect("UTF-8");
        assert!(message.contains("No such file") && message.lines().count() == 1, "{program:?}: {message}");
    }
    std::fs::remove_dir_all(directory).expect("removed");
}

/// make_file.py is the file's only source.
#[test]
fn the_file_is_what_its_script_makes() {
    let directory = directory("checksum-file");
    let (made, folder) = (directory.join("made.gguf"), Path::new(ROOT).join("examples/checksum"));
    text(Command::new("python3").arg("-B").arg(folder.join("make_file.py")).arg(&made));
    assert!(std::fs::read(made).expect("a file") == std::fs::read(folder.join("checksum.gguf")).expect("a file"));
    std::fs::remove_dir_all(directory).expect("removed");
}
