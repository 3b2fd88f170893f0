//! The bindings reach all of the C interface: include/gguffuse.abi against what each of them declares. That what they declare
//! is right is their own tests' affair (scripts/check_bindings.sh). The C++ header: tests/cpp_api.rs.

use std::collections::BTreeSet;
use std::path::Path;

/// Functions that no binding needs.
const NOWHERE: [&str; 8] = [
    // gguffuse_version_string tells as much.
    "version",
    // What the callback is must outlive the last call of any thread, which garbage collectors can't promise.
    "log_set",
    // The entry is looked up by its key, and read by its index.
    "metadata_get_u64",
    "metadata_get_i64",
    "metadata_get_f64",
    "metadata_get_bool",
    "metadata_get_string",
    // gguffuse_quantize_with makes the same blocks, and takes a context.
    "quantize",
];
/// A tensor there has its offset from gguffuse_tensor_info.
const OFFSET: &str = "tensor_absolute_offset";
/// Rows are slices of arrays in Python, which has no threads of its own to divide them among.
const ROWS: [&str; 2] = ["matmul_rows", "activations_matmul_rows"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The functions of the interface, without the prefix.
fn functions() -> Vec<String> {
    let record = read("include/gguffuse.abi");
    let lines = record.lines().filter_map(|line| line.strip_prefix("function "));
    let declared =
        lines.map(|line| line.split_once('(').expect("arguments").0.rsplit([' ', '*']).next().expect("a name"));
    let names: Vec<_> = declared.map(|name| name.strip_prefix("gguffuse_").expect("the prefix").to_string()).collect();
    assert!(names.len() >= 70, "{}", names.len());
    names
}

/// `pattern` has the place of a function's name as NAME.
fn check(path: &str, pattern: &str, excused: &[&str]) {
    let source = read(path);
    let excused: BTreeSet<_> = NOWHERE.iter().chain(excused).copied().collect();
    let functions = functions();
    for name in &functions {
        let there = source.contains(&pattern.replace("NAME", name));
        assert_ne!(
            there,
            excused.contains(name.as_str()),
            "{path}: gguffuse_{name} lacks, or needs no excuse any more"
        );
    }
    assert!(excused.iter().all(|name| functions.iter().any(|function| function == name)), "an excuse for nothing");
}

#[test]
fn go_with_cgo() {
    check("bindings/go/library_cgo.go", "C.gguffuse_NAME(", &[OFFSET]);
}

#[test]
fn go_without_cgo() {
    check("bindings/go/library_purego.go", "\"NAME\":", &[OFFSET]);
}

#[test]
fn zig() {
    check("bindings/zig/src/c.zig", "pub extern fn gguffuse_NAME(", &[]);
}

#[test]
fn python() {
    let path = "bindings/python/src/gguffuse/_native.py";
    // These are declared by other means than the table.
    let elsewhere = [
        ("abi_version", "library.gguffuse_abi_version()"),
        ("last_error", "library.gguffuse_last_error"),
        ("file_close", "FREES = [\"file_close\", "),
        ("context_free", " \"context_free\", "),
        ("activations_free", " \"activations_free\", "),
        ("writer_free", " \"writer_free\"]"),
    ];
    for (name, how) in elsewhere {
        assert!(read(path).contains(how), "{path}: gguffuse_{name} lacks");
    }
    let excused: Vec<_> = [OFFSET, ROWS[0], ROWS[1]].into_iter().chain(elsewhere.map(|(name, _)| name)).collect();
    check(path, "\"NAME\": ", &excused);
}

/// Structs that grew: where a binding's are shorter it works, but without what is new. (Go's are compared by cgo.)
#[test]
fn structs_have_all_fields() {
    let record = read("include/gguffuse.abi");
    let (zig, python) = (read("bindings/zig/src/c.zig"), read("bindings/python/src/gguffuse/_native.py"));
    let mut fields = 0;
    for line in record.lines().filter_map(|line| line.strip_prefix("field gguffuse_")) {
        let (place, declared) = line.split_once(": ").expect("a type and a name");
        let name = declared.rsplit([' ', '*']).next().and_then(|name| name.split('[').next()).expect("a name");
        let words = place.split_once(" at ").expect("a place").0.split('_');
        let class: String = words.map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..])).collect();
        let body = |source: &str, head: String| {
            let rest = source.split_once(&head).unwrap_or_else(|| panic!("no {head}")).1;
            rest.split("\n\n").next().expect("a body").to_string()
        };
        let there = body(&zig, format!("pub const {class} = extern struct {{"));
        assert!(there.contains(&format!("\n    {name}: ")), "c.zig: {class} has no {name}");
        let there = body(&python, format!("class {class}(ctypes.Structure):"));
        assert!(there.contains(&format!("(\"{name}\", ")), "_native.py: {class} has no {name}");
        fields += 1;
    }
    assert!(fields >= 34, "{fields}");
}
