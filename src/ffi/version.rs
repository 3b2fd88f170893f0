//! Versions, of the library and of this interface.

use std::ffi::c_char;

/// The number that gguffuse_abi_version returns for this header. It changes when programs must be compiled again.
pub const GGUFFUSE_ABI_VERSION: u32 = 0;

const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => 0, // Cargo guarantees digits; the test below would tell.
    }
}

const MAJOR: u32 = number(env!("CARGO_PKG_VERSION_MAJOR"));
const MINOR: u32 = number(env!("CARGO_PKG_VERSION_MINOR"));
const PATCH: u32 = number(env!("CARGO_PKG_VERSION_PATCH"));

/// The library's version: major << 16 | minor << 8 | patch. May be called from any thread at any time.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_version() -> u32 {
    MAJOR << 16 | MINOR << 8 | PATCH
}

/// The library's version as a static string, as in "0.1.0". May be called from any thread at any time.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The version of the binary interface: a program works with this library if it equals the GGUFFUSE_ABI_VERSION that the
/// program was compiled with. May be called from any thread at any time.
#[unsafe(no_mangle)]
pub extern "C" fn gguffuse_abi_version() -> u32 {
    GGUFFUSE_ABI_VERSION
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_the_packages() {
        let version = super::gguffuse_version();
        let text = format!("{}.{}.{}", version >> 16, version >> 8 & 255, version & 255);
        assert!(env!("CARGO_PKG_VERSION").starts_with(&text));
    }
}
