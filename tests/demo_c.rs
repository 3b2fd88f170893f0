//! Compiles the demonstration in C strictly, as its users would, and runs it: the figures that must hold, and wrong use.
#![cfg(unix)]

mod c_toolchain;

use c_toolchain::{STRICT, compiler, directory, language, library, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles it into a fresh directory.
fn build(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = directory(name).join("fused_demo");
    let mut compile = compiler();
    compile.args(language("c11")).args(STRICT).arg("-O2").arg("-I").arg(root.join("include"));
    compile.arg(root.join("examples/fused_demo.c")).args(["-x", "none"]).arg(library("libgguffuse.a"));
    compile.arg("-o").arg(&program).args(["-lm", "-pthread"]);
    if cfg!(target_os = "linux") {
        compile.arg("-ldl");
    }
    run(&mut compile).unwrap_or_else(|reason| panic!("{reason}"));
    program
}

fn figure<'t>(table: &'t str, label: &str) -> &'t str {
    let line = table.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label:?} in {table}")).trim()
}

#[test]
fn figures_of_the_made_file() {
    let program = build("demo-c-figures");
    let temporary = program.with_file_name("temporary");
    std::fs::create_dir(&temporary).expect("a directory");
    let output = run(Command::new(&program).arg("--quick").env("TMPDIR", &temporary));
    let table = output.map(|output| String::from_utf8(output.stdout).expect("UTF-8"));
    let table = table.unwrap_or_else(|reason| panic!("{reason}"));

    assert_eq!(figure(&table, "blocks "), "45056");
    assert_eq!(figure(&table, "quantised / f32 "), "6.49 / 46.14 MB");
    assert_eq!(figure(&table, "NaN or Inf "), "0");
    assert_eq!(figure(&table, "relative offset "), "0");
    let start: u64 = figure(&table, "data section start ").parse().expect("a number");
    assert!(start > 0 && start.is_multiple_of(32));
    assert_eq!(figure(&table, "absolute offset "), start.to_string());

    let mut rows = Vec::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let Some(Ok(m)) = cells.first().map(|cell| cell.parse::<u64>()) else { continue };
        let number = |column: usize| cells[column].parse::<f64>().expect("a number");
        assert!(number(10) <= 6e-6, "largest difference: {line}");
        assert!(number(12) <= 1e-6, "relative error: {line}");
        assert_eq!(cells[13], "46137344", "{line}");
        rows.push(m);
    }
    rows.dedup();
    assert_eq!(rows, [1, 8, 64, 512], "{table}");
    let left: Vec<_> = std::fs::read_dir(&temporary).expect("the directory").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn wrong_use() {
    let program = build("demo-c-wrong");
    let text = program.with_file_name("text.gguf");
    std::fs::write(&text, "just some text, no model").expect("a file");
    let cut = program.with_file_name("cut.gguf");
    std::fs::write(&cut, b"GGUF\x03\0\0\0\x01").expect("a file");
    let whole = program.with_file_name("whole.gguf");
    let mut writer = gguffuse::gguf::Writer::new();
    writer.tensor("integers", gguffuse::blocks::TensorType::I32, &[1], &[0; 4]).expect("a tensor");
    std::fs::write(&whole, writer.to_vec().expect("a file")).expect("a file");
    let absent = program.with_file_name("absent.gguf");

    let cases: [(&[&Path], &str); 7] = [
        (&[&absent], "cannot open the file"),
        (&[&text], "not with \"GGUF\""),
        (&[&cut], "truncated GGUF file"),
        (&[&whole], "no tensor that can be multiplied"),
        (&[&whole, Path::new("nonesuch")], "tensor \"nonesuch\""),
        (&[&whole, Path::new("integers")], "cannot be multiplied"),
        (&[Path::new("--nonesuch")], "usage"),
    ];
    for (arguments, part) in cases {
        let output = Command::new(&program).args(arguments).output().expect("it starts");
        let errors = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.starts_with("fused_demo: ") && errors.contains(part), "{arguments:?}: {errors:?}");
        assert_eq!(errors.find('\n'), Some(errors.len() - 1), "not one line: {errors:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
