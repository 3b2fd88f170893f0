//! Any bytes as a file: it is refused, or everything in it can be read and fits together.
#![no_main]

#[path = "../../tests/gguf/walk.rs"]
mod walk;

use gguffuse::gguf::{File, OpenOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = File::from_vec(bytes.to_vec(), &OpenOptions::default()) {
        std::hint::black_box(walk::walk(&file));
    }
});
