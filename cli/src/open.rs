//! Opening files, and what all commands say of a tensor.

use crate::error::{Error, Result};
use gguffuse::blocks::TensorType;
use gguffuse::gguf::{File, OpenOptions, Tensor};
use std::path::Path;

/// Opens a file; the error names it.
pub fn open(path: &Path) -> Result<File> {
    File::open(path, &OpenOptions::default()).map_err(|why| Error::new(format_args!("{}: {why}", path.display())))
}

/// Elements of a tensor. A file that was checked has no tensor of more than 2^64 bytes, so only one with a dimension of 0 can
/// overflow here.
pub fn elements(tensor: &Tensor<'_>) -> u64 {
    match tensor.dims.contains(&0) {
        true => 0,
        false => tensor.dims.iter().fold(1, |elements, dim| elements.saturating_mul(*dim)),
    }
}

/// Bits per weight of a type.
pub fn bits_per_weight(tensor_type: TensorType) -> f64 {
    tensor_type.block_bytes() as f64 * 8.0 / tensor_type.block_elements() as f64
}

/// The dimensions that are used, the fastest first.
pub fn shape<'a>(tensor: &'a Tensor<'_>) -> &'a [u64] {
    &tensor.dims[..tensor.n_dims as usize]
}

/// As in "[640, 262144]".
pub fn shape_text(tensor: &Tensor<'_>) -> String {
    format!("{:?}", shape(tensor))
}
