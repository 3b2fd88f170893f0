//! `libgguffuse`: open GGUF model files, know where every tensor lies, and multiply activations by quantised weights
//! without ever building the f32 weights.
//!
//! The one operation is `y[m][n] = sum_k x[m][k] * w[n][k]`: `m` activation rows (tokens), `n` weight rows, `k` shared.
//! Weights are row-major GGUF tensors: `dims[0] = k`, `dims[1] = n`. Dequantisation happens inside the dot product, in
//! registers; which SIMD instructions are used is chosen at run time.
//!
//! ```
//! use gguffuse::gguf::{File, OpenOptions};
//! use gguffuse::matmul::{Context, ContextOptions, Weights};
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = File::open(Path::new("examples/checksum/checksum.gguf"), &OpenOptions::default())?;
//! let w = file.tensor(file.find_tensor("blk.0.ffn_gate.weight")?)?;
//! assert_eq!((w.tensor_type.name(), w.absolute_offset), ("q4_k", 352));
//!
//! let (k, n) = (usize::try_from(w.dims[0])?, usize::try_from(w.dims[1])?);
//! let context = Context::new(&ContextOptions::default())?; // EXACT, all threads, the best ISA level
//! let (x, mut y) = (vec![1.0; k], vec![0.0; n]); // m = 1
//! context.matmul(&Weights { tensor_type: w.tensor_type, n, k, data: w.data }, &x, 0, 1, &mut y, 0)?;
//! # let mut weights = vec![0.0; n * k];
//! # gguffuse::blocks::dequantize(w.tensor_type, w.data, &mut weights)?;
//! # for (row, y) in weights.chunks(k).zip(y) {
//! #     let sum: f64 = row.iter().map(|&w| f64::from(w)).sum();
//! #     let terms: f64 = row.iter().map(|&w| f64::from(w.abs())).sum();
//! #     assert!((f64::from(y) - sum).abs() <= 1e-5 * terms); // EXACT's hard limit
//! # }
//! # Ok(())
//! # }
//! ```
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
