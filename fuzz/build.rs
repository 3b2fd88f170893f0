//! Compiles the C half of the target `calls`, against the library's own header.

fn main() {
    println!("cargo::rerun-if-changed=fuzz_targets/calls");
    println!("cargo::rerun-if-changed=../include/gguffuse.h");
    let mut build = cc::Build::new();
    for part in ["program", "handles", "files", "compute", "writers"] {
        build.file(format!("fuzz_targets/calls/{part}.c"));
    }
    build.include("../include").opt_level(1).debug(true);
    build.flag("-Wall").flag("-Wextra").flag("-Wpedantic").flag("-Werror").flag("-std=c11");
    build.compile("calls");
}
