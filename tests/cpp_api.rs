//! include/gguffuse.hpp: covers the C interface, and c-tests/cpp_api.cpp, compiled as C++17 and C++20 by the C++ compiler
//! that `c++` is and by clang++ where there is one. scripts/check_install.sh insists on both.
#![cfg(unix)]

mod c_toolchain;

use c_toolchain::{STRICT, directory, library, run};
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What C++ has no wrapper for: what needs none, or has another way.
const NOT_WRAPPED: [&str; 9] = [
    "gguffuse_version",
    "gguffuse_version_string",
    "gguffuse_abi_version",
    // The address of a closure would have to outlive the last call of another thread: the function is there for those who
    // can promise that.
    "gguffuse_log_set",
    // file::get finds the entry, and reads it by index.
    "gguffuse_metadata_get_u64",
    "gguffuse_metadata_get_i64",
    "gguffuse_metadata_get_f64",
    "gguffuse_metadata_get_bool",
    "gguffuse_metadata_get_string",
];

#[test]
fn every_function_is_wrapped() {
    let abi = std::fs::read_to_string(Path::new(ROOT).join("include/gguffuse.abi")).expect("the record");
    let header = std::fs::read_to_string(Path::new(ROOT).join("include/gguffuse.hpp")).expect("the header");
    let mut functions = 0;
    for line in abi.lines().filter_map(|line| line.strip_prefix("function ")) {
        let name = line.split_once('(').and_then(|(declared, _)| declared.rsplit([' ', '*']).next()).expect("a name");
        functions += 1;
        let wrapped = header.contains(&format!("{name}("));
        let excused = NOT_WRAPPED.contains(&name);
        assert!(
            wrapped || excused || name.ends_with("_close") || name.ends_with("_free"),
            "{name} isn't in gguffuse.hpp"
        );
        assert!(!(wrapped && excused), "{name} is in gguffuse.hpp: take it off the list");
    }
    assert!(functions >= 60, "{functions}");
}

fn compilers() -> Vec<Command> {
    let mut build = cc::Build::new();
    build.cpp(true).target(env!("GGUFFUSE_TARGET")).host(env!("GGUFFUSE_HOST")).opt_level(1);
    build.cargo_metadata(false).warnings(false);
    let mut compilers = vec![build.get_compiler().to_command()];
    if Command::new("clang++").arg("--version").output().is_ok_and(|output| output.status.success()) {
        compilers.push(Command::new("clang++"));
    }
    compilers
}

fn test(standard: &str) {
    let directory = directory(&format!("cpp-{standard}"));
    for (index, mut compile) in compilers().into_iter().enumerate() {
        let program = directory.join(format!("cpp_api.{index}"));
        compile.arg(format!("-std={standard}")).args(STRICT).arg("-I").arg(Path::new(ROOT).join("include"));
        compile.arg(Path::new(ROOT).join("c-tests/cpp_api.cpp")).arg(library("libgguffuse.a")).arg("-o").arg(&program);
        compile.args(["-lm", "-pthread"]).args(cfg!(target_os = "linux").then_some("-ldl"));
        run(&mut compile).unwrap_or_else(|reason| panic!("{reason}"));
        run(Command::new(&program).arg(&directory)).unwrap_or_else(|reason| panic!("{compile:?}: {reason}"));
    }
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn as_cpp17() {
    test("c++17");
}

#[test]
fn as_cpp20() {
    test("c++20");
}

#[test]
fn the_code_of_the_install_guide_compiles() {
    let directory = directory("install-guide");
    let guide = std::fs::read_to_string(Path::new(ROOT).join("docs/install.md")).expect("docs/install.md");
    let blocks: Vec<_> = guide.split("\n```cpp\n").skip(1).collect();
    assert_eq!(blocks.len(), 1);
    let source = directory.join("guide.cpp");
    std::fs::write(&source, blocks[0].split_once("```\n").expect("the end of a block").0).expect("a source file");
    for mut compile in compilers() {
        compile.args(["-std=c++17", "-fsyntax-only"]).args(STRICT).arg("-I").arg(Path::new(ROOT).join("include"));
        run(compile.arg(&source)).unwrap_or_else(|reason| panic!("{reason}"));
    }
    std::fs::remove_dir_all(directory).expect("removed");
}
