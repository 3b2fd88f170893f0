//! The shared library exports the functions of the header and nothing else, under its ABI's name.
#![cfg(target_os = "linux")]

mod c_toolchain;

use c_toolchain::{library, text};
use std::collections::BTreeSet;
use std::process::Command;

const HEADER: &str = include_str!("../include/gguffuse.h");

/// Names that are followed by a parenthesis, outside of comments.
fn functions_of_the_header() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut comment = false;
    for line in HEADER.lines().map(str::trim) {
        comment |= line.starts_with("/*");
        if !comment && let Some((before, _)) = line.split_once('(') {
            let name = before.rsplit([' ', '*']).next().unwrap_or("");
            if name.starts_with("gguffuse_") {
                names.insert(name.to_string());
            }
        }
        comment &= !line.ends_with("*/");
    }
    names
}

#[test]
fn the_functions_of_the_header_and_nothing_else() {
    let symbols = text(Command::new("nm").args(["-D", "--defined-only"]).arg(library("libgguffuse.so")));
    let exported: BTreeSet<_> = symbols.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let declared = functions_of_the_header();
    assert!(declared.len() >= 60, "{declared:?}");
    let declared: BTreeSet<_> = declared.iter().map(String::as_str).collect();
    assert_eq!(exported, declared);
}

#[test]
fn named_by_its_abi_and_never_unloaded() {
    let version = HEADER.lines().find_map(|line| line.strip_prefix("#define GGUFFUSE_ABI_VERSION "));
    let soname = format!("[libgguffuse.so.{}]", version.expect("the constant"));
    let dynamic = text(Command::new("readelf").arg("-d").arg(library("libgguffuse.so")));
    let has = |tag: &str, value: &str| dynamic.lines().any(|line| line.contains(tag) && line.contains(value));
    assert!(has("(SONAME)", &soname), "{dynamic}");
    assert!(has("(FLAGS_1)", "NODELETE"), "{dynamic}");
    assert!(!has("(NEEDED)", "libstdc++"), "{dynamic}");
}
