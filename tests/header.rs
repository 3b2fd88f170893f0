//! include/gguffuse.h is what cbindgen makes of src/ffi, and C and C++ of every age take it.

mod c_toolchain;

use c_toolchain::{STRICT, compiler, directory, language, run};
use std::path::Path;

const GENERATED: &str = concat!(env!("OUT_DIR"), "/gguffuse.h");
const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include/gguffuse.h");

#[test]
fn the_checked_in_header_is_current() {
    let generated = std::fs::read_to_string(GENERATED).expect("build.rs made it");
    let checked_in = std::fs::read_to_string(CHECKED_IN).unwrap_or_default();
    if generated != checked_in {
        let lines = generated
            .lines()
            .zip(checked_in.lines())
            .take_while(|(new, old)| new == old)
            .count();
        panic!(
            "include/gguffuse.h is not what src/ffi says, from line {} on. Look at the difference, then:\n    cp {} {}",
            lines + 1,
            GENERATED,
            CHECKED_IN
        );
    }
}

#[test]
fn it_compiles_alone() {
    let directory = directory("header");
    let source = directory.join("alone.c");
    std::fs::write(
        &source,
        "#include \"gguffuse.h\"\n#include \"gguffuse.h\"\nint nothing_else;\n",
    )
    .expect("written");
    for standard in ["c99", "c11", "c17", "c++11", "c++17", "c++20"] {
        let mut command = compiler();
        command.args(language(standard)).args(STRICT).arg("-fsyntax-only");
        command
            .arg("-I")
            .arg(Path::new(CHECKED_IN).parent().expect("include"))
            .arg(&source);
        run(&mut command).unwrap_or_else(|reason| panic!("as {standard}: {reason}"));
    }
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn it_includes_three_standard_headers_and_nothing_else() {
    let header = std::fs::read_to_string(CHECKED_IN).expect("the header");
    let includes: Vec<_> = header.lines().filter(|line| line.starts_with("#include")).collect();
    assert_eq!(
        includes,
        ["#include <stdbool.h>", "#include <stddef.h>", "#include <stdint.h>"]
    );
}
