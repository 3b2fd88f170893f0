//! What is installed agrees with what is built; scripts/check_install.sh installs it for real.

const PACKAGE: &str = include_str!("../packaging/gguffuse-config-version.cmake");
const HEADER: &str = include_str!("../include/gguffuse.h");
const MANIFEST: &str = include_str!("../Cargo.toml");

#[test]
fn cmake_knows_the_version() {
    let line = format!("set(PACKAGE_VERSION \"{}\")", env!("CARGO_PKG_VERSION"));
    assert!(PACKAGE.lines().any(|l| l == line), "packaging/gguffuse-config-version.cmake needs {line}");
}

/// cargo-c makes the SONAME of the first part of the crate's version, build.rs has GGUFFUSE_ABI_VERSION in it.
#[test]
fn the_major_version_is_the_interface() {
    let abi = HEADER.lines().find_map(|line| line.strip_prefix("#define GGUFFUSE_ABI_VERSION ")).expect("the constant");
    assert_eq!(abi, env!("CARGO_PKG_VERSION_MAJOR"));
    assert!(MANIFEST.lines().any(|line| line == "version_suffix_components = 1"));
}
