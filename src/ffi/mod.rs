//! The C boundary: the only `extern "C"` of the library, and the source of `include/gguffuse.h`.
//!
//! One file per C noun (`file`, `tensor`, `metadata`, `types`, `context`, `matmul`, `activations`, `weights`, `writer` with
//! `writer_metadata`, `version`, `status`, `log`); what they share is in `arguments` (pointers and structs of the caller),
//! `handles` (the handle table), `call` (what a call borrows from its thread) and this file. Nothing here computes: a
//! function checks what only C can get wrong, calls Rust, and stores the answer.
//!
//! # The contract
//! - Every fallible function is `guard(|| ...)`: it returns a status, a panic becomes `GGUFFUSE_ERROR_INTERNAL`, and the
//!   thread's errno, floating-point environment and cancellation state are the caller's again afterwards.
//! - Pointers are checked for NULL and alignment, and outputs before any work; outputs are written last, so that a call
//!   that fails has written nothing.
//! - A handle is looked up in its table and never dereferenced: any number is safe as a handle.
//! - What can't be checked is the caller's word: that a pointer has the length given beside it, that a string ends with
//!   NUL, that what a file borrows outlives it. Each is a sentence in the header.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
// The names are C's; the documentation is written for C, so "safety" is told in the header's words.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

mod activations;
mod arguments;
mod call;
mod context;
mod file;
mod handles;
mod log;
mod matmul;
mod metadata;
mod status;
mod tensor;
mod types;
mod version;
mod weights;
mod writer;
mod writer_metadata;

use crate::error::{Error, Result};
use call::Call;
use status::gguffuse_status;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs the body of an exported function and turns its outcome into a status. Allocates nothing itself.
fn guard(body: impl FnOnce() -> Result<()>) -> gguffuse_status {
    guard_or(|error| error.into(), || body().map(|()| gguffuse_status::GGUFFUSE_OK))
}

/// The same for functions that return something else than a status: `failed` makes it from the error.
fn guard_or<T>(failed: impl FnOnce(&Error) -> T, body: impl FnOnce() -> Result<T>) -> T {
    let Some(call) = Call::enter() else {
        return failed(&Error::Busy("called from inside of a call of the same thread"));
    };
    // Unwind safety: what a panicking body leaves half done are its own locals; files never change after they are
    // opened, contexts answer for themselves, writers are poisoned, and the handle table isn't touched by code that can panic.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            call.record(&error);
            failed(&error)
        }
        Err(payload) => {
            call.record_panic(payload.as_ref());
            crate::log::say(crate::log::Importance::Error, format_args!("a panic was caught: see gguffuse_last_error"));
            failed(&Error::Internal("a panic was caught"))
        }
    }
}
