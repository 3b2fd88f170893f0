//! Compiles every program of c-tests/ as C11 and as C++17, against the shared and the static library, and runs each at
//! every instruction-set level of this machine.
#![cfg(unix)]

mod c_toolchain;

use c_toolchain::{STRICT, compiler, directory, language, library, run};
use gguffuse::kernels::Level;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// As `rustc --print native-static-libs` says for this target.
const STATIC_DEPENDENCIES: &[&str] = if cfg!(target_os = "linux") {
    &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"]
} else {
    &["-lpthread", "-lm", "-lc"]
};

/// A program linked in one way.
struct Binary {
    path: PathBuf,
    /// For the messages: "c11, shared".
    how: String,
}

/// Where the linker and the loader find the shared library, by both of its names.
fn shared_library_directory(directory: &Path) -> PathBuf {
    let shared = directory.join("lib");
    std::fs::create_dir_all(&shared).expect("a directory");
    let (file, names) = match cfg!(target_vendor = "apple") {
        true => ("libgguffuse.dylib", vec!["libgguffuse.dylib"]),
        false => ("libgguffuse.so", vec!["libgguffuse.so", "libgguffuse.so.0"]),
    };
    for name in names {
        std::os::unix::fs::symlink(library(file), shared.join(name)).expect("a link");
    }
    shared
}

fn build(program: &str, directory: &Path) -> Vec<Binary> {
    let shared = shared_library_directory(directory);
    let mut binaries = Vec::new();
    for standard in ["c11", "c++17"] {
        let object = directory.join(format!("{program}.{standard}.o"));
        let mut compile = compiler();
        compile.args(language(standard)).args(STRICT).arg("-I").arg(Path::new(ROOT).join("include"));
        compile.arg("-c").arg(Path::new(ROOT).join("c-tests").join(program).with_extension("c"));
        run(compile.arg("-o").arg(&object)).unwrap_or_else(|reason| panic!("{program} as {standard}: {reason}"));
        for linkage in ["shared", "static"] {
            let path = directory.join(format!("{program}.{standard}.{linkage}"));
            let mut link = compiler();
            link.arg(&object).arg("-o").arg(&path);
            match linkage {
                "shared" => {
                    link.arg("-L").arg(&shared).arg("-lgguffuse").arg(format!("-Wl,-rpath,{}", shared.display()));
                    link.args(["-lpthread", "-lm"]);
                }
                _ => {
                    link.arg(library("libgguffuse.a")).args(STATIC_DEPENDENCIES);
                }
            }
            run(&mut link).unwrap_or_else(|reason| panic!("{program}, {standard}, {linkage}: {reason}"));
            let how = format!("{standard}, {linkage}");
            binaries.push(Binary { path, how });
        }
    }
    binaries
}

/// `more` are arguments of the program, after the directory for temporary files.
fn test(program: &str, more: &[&str]) {
    test_at(Level::available(), program, more);
}

/// For what takes long and isn't about kernels: at the best level only.
fn test_once(program: &str, more: &[&str]) {
    let levels = Level::available();
    test_at(&levels[levels.len() - 1..], program, more);
}

fn test_at(levels: &[Level], program: &str, more: &[&str]) {
    let directory = directory(&format!("{program}{}", more.concat()));
    let mut failures = Vec::new();
    for binary in build(program, &directory) {
        for level in levels {
            let name = level.name();
            let mut command = Command::new(&binary.path);
            // Cargo puts target/<profile> before everything: the rpath has to win.
            command.arg(&directory).args(more).env("GGUFFUSE_MAX_ISA", name).env_remove("LD_LIBRARY_PATH");
            let outcome = run(&mut command);
            println!("{program}, {}, {name}: {}", binary.how, if outcome.is_ok() { "ok" } else { "FAILED" });
            if let Ok(output) = &outcome {
                print!("{}", String::from_utf8_lossy(&output.stdout)); // the program's figures
            }
            failures.extend(outcome.err());
        }
    }
    assert!(failures.is_empty(), "{} of the runs failed:\n{}", failures.len(), failures.join("\n"));
    std::fs::remove_dir_all(directory).expect("removed");
}

macro_rules! programs {
    ({ $($name:ident)+ } once { $($once:ident)+ } by_hand { $($by_hand:ident)+ }) => {
        $(#[test] fn $name() { test(stringify!($name), &[]); })+
        $(#[test] fn $once() { test_once(stringify!($once), &[]); })+

        #[test]
        fn every_program_is_run() {
            let named = [
                $(concat!(stringify!($name), ".c"),)+
                $(concat!(stringify!($once), ".c"),)+
                $(concat!(stringify!($by_hand), ".c"),)+
            ];
            for entry in std::fs::read_dir(Path::new(ROOT).join("c-tests")).expect("c-tests") {
                let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
                assert!(!name.ends_with(".c") || named.contains(&name.as_str()), "{name} isn't in tests/c_api.rs");
            }
        }
    };
}

programs! {
    { activations log offsets matmul metadata status nulls handles manners memory validate writer writer_misuse cpu_state }
    once { faults misuse process signals stack threads truncation }
    by_hand { unload }
}

/// Not linked with the library, which it loads.
#[cfg(target_os = "linux")]
#[test]
fn unload() {
    let directory = directory("unload");
    for standard in ["c11", "c++17"] {
        let program = directory.join(standard);
        let mut compile = compiler();
        compile.args(language(standard)).args(STRICT).arg(Path::new(ROOT).join("c-tests/unload.c"));
        run(compile.arg("-o").arg(&program).arg("-ldl")).unwrap_or_else(|reason| panic!("as {standard}: {reason}"));
        let output = run(Command::new(program).arg(&directory).arg("200").arg(library("libgguffuse.so")));
        print!("{}", String::from_utf8_lossy(&output.unwrap_or_else(|reason| panic!("{reason}")).stdout));
    }
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn memory_with_a_thread_pool() {
    test("memory", &["pool"]);
}

#[test]
fn memory_with_as_many_threads_as_there_may_be() {
    test("memory", &["all"]);
}

#[test]
fn memory_with_the_environment() {
    test("memory", &["environment"]);
}

#[test]
fn memory_while_writing() {
    test("memory", &["writing"]);
}
