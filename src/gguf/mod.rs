//! The GGUF file format. (Interface; implementation follows.)

use crate::blocks::TensorType;
use crate::error::{Error, Result};
use std::path::Path;

/// Options of opening a file.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The largest metadata (all before the data section) that is accepted, in bytes.
    pub max_metadata_bytes: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            max_metadata_bytes: 256 << 20,
        }
    }
}

/// An open GGUF file. Immutable; may be used from any thread.
pub struct File {}

/// One tensor of a file.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Name; valid UTF-8 without NUL.
    pub name: &'a str,
    /// Type of the elements.
    pub tensor_type: TensorType,
    /// Number of dimensions, 0 to 4.
    pub n_dims: u32,
    /// Dimensions, the fastest first: `dims[0]` is k, `dims[1]` n. Unused ones are 1.
    pub dims: [u64; 4],
    /// Offset as stored: in bytes from the start of the data section.
    pub relative_offset: u64,
    /// Offset in bytes from the start of the file: data section start + relative offset.
    pub absolute_offset: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// The tensor's bytes, read-only.
    pub data: &'a [u8],
}

impl File {
    /// Opens the file at `path`.
    pub fn open(_path: &Path, _options: &OpenOptions) -> Result<File> {
        Err(Error::Internal("not written yet"))
    }
}
