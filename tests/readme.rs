//! The README's C program is compiled as it stands there, strictly, and run.
#![cfg(unix)]

mod c_toolchain;

use c_toolchain::{STRICT, compiler, directory, language, library, run};
use gguffuse::blocks::{TensorType, quantize};
use gguffuse::gguf::Writer;
use std::path::Path;
use std::process::Command;

#[test]
fn the_c_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("README.md");
    let program = readme.split("```c\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a C program");
    let directory = directory("readme");
    let source = directory.join("program.c");
    std::fs::write(&source, program).expect("program.c");
    let binary = directory.join("program");
    let mut compile = compiler();
    compile.args(language("c11")).args(STRICT).arg("-I").arg(root.join("include")).arg(&source);
    compile.args(["-x", "none"]).arg(library("libgguffuse.a")).arg("-o").arg(&binary).args(["-lm", "-pthread"]);
    if cfg!(target_os = "linux") {
        compile.arg("-ldl");
    }
    run(&mut compile).unwrap_or_else(|reason| panic!("{reason}"));

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
