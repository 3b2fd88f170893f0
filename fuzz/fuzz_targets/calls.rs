//! Sequences of C calls: fuzz_targets/calls/program.c and what it calls, which the C compiler checks against the header.
#![no_main]

use gguffuse as _; // links it
use libfuzzer_sys::fuzz_target;

unsafe extern "C" {
    fn run_calls(bytes: *const u8, size: usize);
}

// SAFETY: the slice's pointer and length.
fuzz_target!(|bytes: &[u8]| unsafe { run_calls(bytes.as_ptr(), bytes.len()) });
