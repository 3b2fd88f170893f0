//! How the plugin is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        // ggml closes a plugin whose registration it has already, as it has the CPU's: the code must stay.
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // The C functions of gguffuse are no business of the engine's.
        println!("cargo::rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
    }
}
