//! `libgguffuse`: open GGUF model files, know where every tensor lies, and multiply activations by quantised weights
//! without ever building the f32 weights.
//!
//! The one operation is `y[m][n] = sum_k x[m][k] * w[n][k]`: `m` activation rows (tokens), `n` weight rows, `k` shared.
//! Weights are row-major GGUF tensors: `dims[0] = k`, `dims[1] = n`. Dequantisation happens inside the dot product, in
//! registers; which SIMD instructions are used is chosen at run time.
//!
//! # The house
//! The modules depend on each other in one direction only:
//! `ffi -> gguf, matmul`; `matmul -> kernels`; `kernels -> blocks`; `gguf -> blocks` (sizes only).
//!
//! - [`gguf`]: the file format. No arithmetic on weights.
//! - [`blocks`]: what each ggml type is: layout, dequantise, quantise. No ISA, no threads.
//! - [`kernels`]: how an ISA computes: the decode and panel algorithms, written once over a small vocabulary of vector
//!   operations. No files, no threads.
//! - [`matmul`]: shape checks, precision, splitting, the thread pool.
//! - `ffi`: the C boundary (`include/gguffuse.h`), the only `extern "C"`.

#![warn(missing_docs)]

pub mod blocks;
pub mod error;
pub mod gguf;
pub mod kernels;
pub mod matmul;

mod ffi;
mod log;
mod simd;

pub use error::{Error, Result};
