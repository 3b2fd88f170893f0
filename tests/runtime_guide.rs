//! The C code of docs/runtime.md is compiled as it stands there, strictly, linked to tests/runtime_guide/driver.c, and run.
#![cfg(target_os = "linux")]

mod c_toolchain;

use c_toolchain::{STRICT, compiler, directory, language, library, run};
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_guide_runs() {
    let root = Path::new(ROOT);
    let directory = directory("runtime-guide");
    let guide = std::fs::read_to_string(root.join("docs/runtime.md")).expect("docs/runtime.md");
    let mut sources = vec![root.join("tests/runtime_guide/driver.c")];
    for (index, rest) in guide.split("\n```c\n").skip(1).enumerate() {
        let block = rest.split_once("\n```\n").expect("the end of a block").0;
        let source = directory.join(format!("block{index}.c"));
        std::fs::write(&source, format!("{block}\n")).expect("a source file");
        sources.push(source);
    }
    // A block whose fence is written otherwise would not be compiled.
    assert_eq!(guide.matches("\n```").count(), 2 * (sources.len() - 1), "every block is C");
    let program = directory.join("guide");
    let mut compile = compiler();
    compile.args(language("c11")).args(STRICT).arg("-I").arg(root.join("include")).args(&sources);
    compile
        .args(["-x", "none"])
        .arg(library("libgguffuse.a"))
        .arg("-o")
        .arg(&program)
        .args(["-lm", "-pthread", "-ldl"]);
    run(&mut compile).unwrap_or_else(|reason| panic!("{reason}"));
    let output = run(Command::new(&program).arg(root.join("examples/checksum/checksum.gguf")));
    let output = output.unwrap_or_else(|reason| panic!("{reason}"));
    let log = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(log.contains("new context: ") && log.contains("no context: "), "{log}");
    std::fs::remove_dir_all(directory).expect("removed");
}
