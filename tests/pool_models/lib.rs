//! The files of the library that the pool is made of, as they are; `models.rs` is a part of the pool's own.
#![allow(dead_code, unused_imports, unused_macros)]

#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/log.rs"]
mod log;

#[path = "../../src/kernels"]
mod kernels {
    pub(crate) mod float_state;
}

#[path = "../../src/matmul"]
mod matmul {
    mod cpus;
    mod late;
    mod pool;
    mod sync;
    mod thread;
}
