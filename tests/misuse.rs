//! The misuse matrix has no holes: every function of the header that takes handles is asked to refuse ones that aren't,
//! and every one that takes pointers to refuse NULL, in some program of c-tests/.

use std::collections::BTreeMap;
use std::path::Path;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What has no status for it: NULL is allowed, or told otherwise (handles.c asks gguffuse_context_isa).
const NO_STATUS_FOR_NULL: [&str; 3] = ["gguffuse_last_error", "gguffuse_log_set", "gguffuse_writer_copy_metadata"];
const NO_STATUS_FOR_HANDLES: [&str; 1] = ["gguffuse_context_isa"];

/// Names and parameters.
fn functions_of_the_header() -> BTreeMap<String, Vec<String>> {
    let header = std::fs::read_to_string(Path::new(ROOT).join("include/gguffuse.h")).expect("the header");
    let mut code = String::new();
    for part in header.split("/*") {
        code.push_str(part.split_once("*/").map_or(part, |(_, rest)| rest));
    }
    let mut functions = BTreeMap::new();
    for declaration in code.split(';') {
        let Some((before, parameters)) = declaration.split_once('(') else { continue };
        let name = before.rsplit([' ', '*', '\n']).next().unwrap_or("");
        if name.starts_with("gguffuse_") {
            let parameters = parameters.trim_end_matches(')').split(',');
            functions.insert(
                name.to_string(),
                parameters.map(|p| p.split_whitespace().collect::<Vec<_>>().join(" ")).collect(),
            );
        }
    }
    functions
}

fn is_handle(parameter: &str) -> bool {
    ["file", "context", "writer", "activations"]
        .iter()
        .any(|kind| parameter.starts_with(&format!("struct gguffuse_{kind} *")) && !parameter.contains("**"))
}

#[test]
fn every_handle_and_every_pointer_is_misused() {
    let mut statements = Vec::new();
    for entry in std::fs::read_dir(Path::new(ROOT).join("c-tests")).expect("c-tests") {
        let source = std::fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        statements.extend(source.split(";\n").map(str::to_string));
    }
    let asked = |name: &str, expected: [&str; 2]| {
        let call = format!("{name}(");
        statements.iter().filter(|s| s.contains(&call) && expected.iter().any(|status| s.contains(status))).count()
    };
    let functions = functions_of_the_header();
    let (mut handles, mut pointers, mut holes) = (0, 0, Vec::new());
    for (name, parameters) in &functions {
        let taken = parameters.iter().filter(|parameter| is_handle(parameter)).count();
        let others = parameters.iter().filter(|parameter| parameter.contains('*') && !is_handle(parameter)).count();
        if !NO_STATUS_FOR_HANDLES.contains(&name.as_str()) {
            handles += taken;
            if asked(name, ["INVALID_HANDLE", "REFUSED("]) < taken {
                holes.push(format!("{name}: {taken} handles"));
            }
        }
        if others > 0 && !NO_STATUS_FOR_NULL.contains(&name.as_str()) {
            pointers += others;
            if asked(name, ["NULL_ARGUMENT", "IS_NULL("]) == 0 {
                holes.push(format!("{name}: {others} pointers"));
            }
        }
    }
    assert!(functions.len() >= 60 && handles >= 50 && pointers >= 80, "{functions:?}");
    assert!(holes.is_empty(), "not misused in c-tests/:\n{}", holes.join("\n"));
    println!("misuse: {} functions, {handles} handles, {pointers} pointers, no holes", functions.len());
}
