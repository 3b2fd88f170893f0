//! Generates the C header into OUT_DIR (tests/header.rs compares it with include/gguffuse.h; the source tree is never
//! written to), names the shared library, and tells the tests the target.

use std::env;
use std::fs;
use std::path::PathBuf;

/// In the order in which the header declares them.
const SOURCES: [&str; 13] = [
    "version",
    "status",
    "log",
    "file",
    "tensor",
    "metadata",
    "types",
    "context",
    "matmul",
    "activations",
    "weights",
    "writer",
    "writer_metadata",
];

/// Structs that have the name of the function that fills them in. C has one name space for functions and typedefs, but
/// another for struct tags: these are `struct gguffuse_file_info` without a typedef.
const TAGS_ONLY: [&str; 3] = ["gguffuse_file_info", "gguffuse_tensor_info", "gguffuse_type_info"];

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let configuration = root.join("cbindgen.toml");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cbindgen.toml");
    println!("cargo::rerun-if-changed=src/ffi");

    // One source at a time and no crate: cbindgen then has no need to run `cargo metadata`.
    let configuration = cbindgen::Config::from_file(&configuration)
        .unwrap_or_else(|reason| fail(&format!("{}: {reason}", configuration.display())));
    let mut builder = cbindgen::Builder::new().with_config(configuration);
    for source in SOURCES {
        builder = builder.with_src(root.join("src/ffi").join(source).with_extension("rs"));
    }
    let bindings = builder.generate();
    let bindings =
        bindings.unwrap_or_else(|reason| fail(&format!("cannot generate gguffuse.h from src/ffi: {reason}")));
    let mut header = Vec::new();
    bindings.write(&mut header);
    let mut header = String::from_utf8(header).unwrap_or_else(|reason| fail(&format!("gguffuse.h: {reason}")));
    for name in TAGS_ONLY {
        header = without_typedef(header, name);
    }
    let output = PathBuf::from(variable("OUT_DIR")).join("gguffuse.h");
    fs::write(&output, header).unwrap_or_else(|reason| fail(&format!("{}: {reason}", output.display())));

    if variable("CARGO_CFG_TARGET_OS") == "linux" {
        // The number is GGUFFUSE_ABI_VERSION. Never unloaded: worker threads may be running in it.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libgguffuse.so.0");
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
    println!("cargo::rustc-env=GGUFFUSE_TARGET={}", variable("TARGET"));
    println!("cargo::rustc-env=GGUFFUSE_HOST={}", variable("HOST"));
}

fn without_typedef(header: String, name: &str) -> String {
    let (start, end) = (format!("typedef struct {name} {{"), format!("}} {name};"));
    if header.matches(&start).count() != 1 || header.matches(&end).count() != 1 {
        fail(&format!("cbindgen wrote struct {name} otherwise than expected"));
    }
    header.replace(&start, &format!("struct {name} {{")).replace(&end, "};")
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|reason| fail(&format!("{name}: {reason}; build with Cargo")))
}

fn fail(reason: &str) -> ! {
    eprintln!("error: gguffuse's build.rs: {reason}");
    std::process::exit(1)
}
