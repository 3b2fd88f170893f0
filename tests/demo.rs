//! Runs the demonstration: the figures that must hold on every machine, and every wrong use.
//!
//! Times are not judged here: tests share the machine with whatever else it does.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The demonstration that Cargo built beside this test: target/PROFILE/examples/fused_demo.
fn demo() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/demo-HASH");
    let path = profile.join("examples").join(format!("fused_demo{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "{path:?} is missing: `cargo test` builds it, `cargo test --test demo` needs `cargo build --examples` first"
    );
    path
}

fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Output {
    let output = Command::new(demo()).args(arguments).output();
    output.expect("the demonstration starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Output of a run that must succeed.
fn succeed<A: AsRef<OsStr>>(arguments: &[A]) -> String {
    let output = run(arguments);
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    // No progress line, as stderr is no terminal.
    assert_eq!(errors, "");
    text(&output.stdout)
}

/// Exit code 1, nothing on stdout, and one line on stderr that contains `part`.
fn fail<A: AsRef<OsStr>>(arguments: &[A], part: &str) {
    let output = run(arguments);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(text(&output.stdout), "");
    assert!(errors.starts_with("fused_demo: ") && errors.contains(part), "{errors:?}");
    assert_eq!(errors.find('\n'), Some(errors.len() - 1), "not one line: {errors:?}");
    assert!(!errors.contains("panicked"), "{errors:?}");
}

/// A folder for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("gguffuse-test-{test}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a new file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the folder can be removed");
    }
}

/// A file with a small tensor of each kind: two that can be multiplied, one that cannot, one without rows.
fn small_file() -> Vec<u8> {
    use gguffuse::blocks::{TensorType, quantize};
    let values: Vec<f32> = (0..512 * 48).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    let mut blocks = vec![0; 2 * 48 * 144];
    quantize(TensorType::Q4_K, &values, 48, 512, None, &mut blocks).expect("a quantiser");
    let floats: Vec<u8> = values[..256 * 4].iter().flat_map(|value| value.to_le_bytes()).collect();
    let integers: Vec<u8> = [1i32; 32].iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut writer = gguffuse::gguf::Writer::new();
    writer
        .tensor("integers", TensorType::I32, &[16, 2], &integers)
        .and_then(|writer| writer.tensor("quoted \"weight\"", TensorType::Q4_K, &[512, 48], &blocks))
        .and_then(|writer| writer.tensor("floats", TensorType::F32, &[256, 4], &floats))
        .and_then(|writer| writer.tensor("empty", TensorType::F32, &[256, 0], &[]))
        .expect("tensors");
    writer.to_vec().expect("a file")
}

#[test]
fn figures_of_the_made_file() {
    let report: Value = serde_json::from_str(&succeed(&["--quick", "--json"])).expect("JSON");
    let file = &report["file"];
    let tensor = &report["tensors"][0];
    assert_eq!(report["tensors"].as_array().map(Vec::len), Some(1));
    assert_eq!(tensor["name"], "blk.0.ffn_gate.weight");
    assert_eq!(tensor["type"], "q4_k");
    assert_eq!((&tensor["k"], &tensor["n"]), (&2048.into(), &5632.into()));
    assert_eq!(tensor["blocks"], 45_056);
    assert_eq!(tensor["size_bytes"], 45_056 * 144);
    assert_eq!(tensor["f32_bytes"], 2048 * 5632 * 4);
    assert_eq!(tensor["nan_or_inf"], 0);
    assert_eq!(tensor["relative_offset"], 0);
    let data_offset = file["data_offset"].as_u64().expect("an offset");
    assert!(data_offset > 0 && data_offset.is_multiple_of(32));
    assert_eq!(tensor["absolute_offset"], data_offset);
    assert_eq!(file["size_bytes"], data_offset + 45_056 * 144);

    let products = tensor["products"].as_array().expect("an array");
    let rows: Vec<u64> = products.iter().filter_map(|product| product["m"].as_u64()).collect();
    for m in [1, 8, 64, 512] {
        assert!(rows.contains(&m), "m = {m} of {rows:?}");
    }
    for product in products {
        let number = |way: &str, figure: &str| product[way][figure].as_f64().expect(figure);
        assert!(number("fused", "max_abs_diff") <= 6e-6, "{product}");
        assert!(number("fused", "max_rel_diff") <= 1e-5, "{product}");
        assert!(number("fused", "nmse") <= 1e-12, "{product}");
        // Naive's own error comes on top: it sums 2048 products in f32.
        assert!(product["max_abs_diff_to_naive"].as_f64().expect("a number") <= 2e-5, "{product}");
        assert_eq!(product["same_bits_as_one_thread"], true, "{product}");
        assert!(number("fused", "ms") > 0.0 && number("naive", "ms") > 0.0, "{product}");
        // Naive holds the weights in f32, whatever m.
        assert!(number("naive", "peak_bytes") >= 2048.0 * 5632.0 * 4.0, "{product}");
        if product["m"] == 1 {
            let (fused, naive) = (number("fused", "peak_bytes"), number("naive", "peak_bytes"));
            assert!(fused > 0.0 && fused * 50.0 <= naive, "{product}");
        }
    }

    // From what rounding the activations to 7, 14 and 21 bits may cost at most.
    let bounds = [("EXACT", 1e-12), ("HIGH", 1e-8), ("FAST", 1e-3)];
    let levels = tensor["levels"].as_array().expect("an array");
    assert_eq!(levels.len() % bounds.len(), 0);
    assert_eq!(levels[0]["isa"], "scalar");
    for (level, (precision, bound)) in levels.iter().zip(bounds.iter().cycle()) {
        assert_eq!(level["precision"], *precision);
        assert!(level["nmse"].as_f64().expect("a number") <= *bound, "{level}");
    }
}

#[test]
fn a_file_of_the_users() {
    let folder = Folder::new("demo-file");
    let path = folder.file("small.gguf", &small_file());
    let path = path.as_os_str();

    let report: Value = serde_json::from_str(&succeed(&[path, "--quick".as_ref(), "--json".as_ref()])).expect("JSON");
    let tensors = report["tensors"].as_array().expect("an array");
    let names: Vec<&str> = tensors.iter().filter_map(|tensor| tensor["name"].as_str()).collect();
    // The largest first; the others cannot be multiplied.
    assert_eq!(names, ["quoted \"weight\"", "floats"]);
    for tensor in tensors {
        let data_offset = report["file"]["data_offset"].as_u64().expect("an offset");
        let relative = tensor["relative_offset"].as_u64().expect("an offset");
        assert!(relative > 0);
        assert_eq!(tensor["absolute_offset"], data_offset + relative);
        for product in tensor["products"].as_array().expect("an array") {
            assert!(product["fused"]["nmse"].as_f64().expect("a number") <= 1e-12, "{product}");
        }
    }

    let table = succeed(&[path, "--quick".as_ref(), "--tensor".as_ref(), "floats".as_ref()]);
    assert!(table.contains("tensor                floats, [256, 4] F32\n"), "{table}");
    assert!(!table.contains("quoted"), "{table}");

    let tensor = |name: &str| [path.to_owned(), "--tensor".into(), name.into()];
    fail(&tensor("nonesuch"), "tensor \"nonesuch\"");
    fail(&tensor("integers"), "tensor \"integers\" is i32, which cannot be multiplied");
    fail(&tensor("empty"), "tensor \"empty\" is empty");
}

#[test]
fn a_file_without_anything_to_multiply() {
    let folder = Folder::new("demo-nothing");
    let bytes = gguffuse::gguf::Writer::new().to_vec().expect("a file");
    fail(&[folder.file("nothing.gguf", &bytes)], "no tensor that can be multiplied");
}

#[test]
fn wrong_files() {
    let folder = Folder::new("demo-wrong");
    fail(&[folder.0.join("absent.gguf")], "absent.gguf\": cannot open the file");
    fail(&[&folder.0], "not a regular file");
    fail(&[folder.file("empty.gguf", &[])], "truncated GGUF file");
    fail(&[folder.file("text.gguf", b"just some text, no model")], "not with \"GGUF\"");
    fail(&[folder.file("two\nlines.gguf", b"just some text, no model")], "two\\nlines.gguf");
    let whole = small_file();
    // In the header, in the directory, and in the tensor data.
    for length in [5, 20, 100, whole.len() - 2000] {
        let path = folder.file(&format!("cut-{length}.gguf"), &whole[..length]);
        fail(&[path], "truncated GGUF file");
    }
}

#[test]
fn wrong_options() {
    fail(&["--nonesuch"], "unknown option \"--nonesuch\"");
    fail(&["-x"], "unknown option \"-x\"");
    fail(&["--tensor"], "--tensor needs a name");
    fail(&["one.gguf", "two.gguf"], "\"two.gguf\" is a second one");
    fail(&["--tensor", "nonesuch"], "tensor \"nonesuch\"");
    // After `--` it is a file.
    fail(&["--", "--json"], "\"--json\": cannot open the file");
}

#[test]
fn help() {
    let help = succeed(&["--help"]);
    for option in ["--tensor NAME", "--json", "--quick", "--help"] {
        assert!(help.contains(option), "{help}");
    }
}

/// Where the level is capped to a name that no level has, the library says so.
#[test]
fn unknown_level() {
    let output = Command::new(demo()).arg("--quick").env("GGUFFUSE_MAX_ISA", "nonesuch").output();
    let output = output.expect("the demonstration starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("GGUFFUSE_MAX_ISA names no level"));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let output = Command::new(demo()).arg("--help").stdout(full).output();
    let output = output.expect("the demonstration starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("fused_demo: cannot write the output: "));
}
