//! The README's C code is compiled as it stands there, strictly, and run.
#![cfg(unix)]

mod c_toolchain;

use c_toolchain::{STRICT, compiler, directory, language, library, run};
use gguffuse::blocks::{TensorType, quantize};
use gguffuse::gguf::{File, OpenOptions, Writer};
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The blocks of C, in order.
fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).expect("README.md");
    let blocks = readme.split("\n```c\n").skip(1);
    blocks.map(|rest| rest.split_once("```").expect("the end of a block").0.to_string()).collect()
}

/// Compiles block `index` with `more` behind it and links it; the program.
fn build(directory: &Path, index: usize, more: &str) -> PathBuf {
    let source = directory.join(format!("program{index}.c"));
    std::fs::write(&source, format!("{}{more}", blocks()[index])).expect("a source file");
    let binary = source.with_extension("");
    let mut compile = compiler();
    compile.args(language("c11")).args(STRICT).arg("-I").arg(Path::new(ROOT).join("include")).arg(&source);
    compile.args(["-x", "none"]).arg(library("libgguffuse.a")).arg("-o").arg(&binary).args(["-lm", "-pthread"]);
    if cfg!(target_os = "linux") {
        compile.arg("-ldl");
    }
    run(&mut compile).unwrap_or_else(|reason| panic!("{reason}"));
    binary
}

#[test]
fn there_are_two_blocks_of_c() {
    // Each has a test below: so must the next one.
    assert_eq!(blocks().len(), 2);
}

#[test]
fn the_c_program() {
    let directory = directory("readme");
    let binary = build(&directory, 0, "");

    // Weights of 0.5: y[0] is half of k.
    let mut data = vec![0; 144 * 3];
    quantize(TensorType::Q4_K, &[0.5; 768], 3, 256, None, &mut data).expect("blocks");
    let mut writer = Writer::new();
    writer.tensor("w", TensorType::Q4_K, &[256, 3], &data).expect("a tensor");
    let file = directory.join("w.gguf");
    std::fs::write(&file, writer.to_vec().expect("a file")).expect("w.gguf");

    let output = run(Command::new(&binary).arg(&file).arg("w")).unwrap_or_else(|reason| panic!("{reason}"));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let y: f64 = text.rsplit(' ').next().and_then(|y| y.trim().parse().ok()).expect("y[0]");
    assert!(text.starts_with("w at byte ") && (y - 128.0).abs() < 0.1, "{text}");

    let failed = Command::new(&binary).arg(&file).arg("nothing").output().expect("run");
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("nothing"), "{failed:?}");
}

#[test]
fn writing_a_file() {
    let directory = directory("readme-writing");
    let main = "int main(int argc, char **argv) {\n    gguffuse_file *file = NULL;\n    return argc != 2 || \
                gguffuse_file_open(argv[1], NULL, &file) || rename_model(file, argv[1]);\n}\n";
    let binary = build(&directory, 1, main);
    let mut writer = Writer::new();
    writer.metadata("general.name", "theirs").expect("an entry").metadata("other", 7u8).expect("an entry");
    writer.tensor("w", TensorType::F32, &[2], &[1; 8]).expect("a tensor");
    writer.tensor("empty", TensorType::F32, &[0], &[]).expect("a tensor");
    let path = directory.join("w.gguf");
    writer.write_file(&path).expect("a file");
    run(Command::new(&binary).arg(&path)).unwrap_or_else(|reason| panic!("{reason}"));
    let file = File::open(&path, &OpenOptions::default()).expect("a file");
    assert_eq!(file.get("general.name").expect("the entry").as_bytes().expect("a string"), b"mine");
    assert_eq!(file.get("other").expect("the entry").as_u64().expect("a number"), 7);
    let tensors: Vec<_> = file.tensors().map(|tensor| (tensor.name, tensor.data)).collect();
    assert_eq!(tensors, [("w", &[1u8; 8][..]), ("empty", &[])]);
}
