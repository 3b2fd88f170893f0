//! Importance matrices, as llama.cpp's llama-imatrix writes them into GGUF files: for each matrix `NAME` the sums of the
//! squared activations of each column (`NAME.in_sum2`, one row per expert) and how many there were (`NAME.counts`).

use crate::error::{Error, Result};
use crate::open::open;
use crate::text::Safe;
use gguffuse::blocks::{TensorType, dequantize};
use gguffuse::gguf::{File, Tensor, ValueInput, Writer};
use std::path::{Path, PathBuf};

/// An open importance matrix.
pub struct Importance {
    path: PathBuf,
    file: File,
}

impl Importance {
    pub fn read(path: &Path) -> Result<Importance> {
        let file = open(path)?;
        if !file.tensors().any(|tensor| tensor.name.ends_with(".in_sum2")) {
            let path = path.display();
            return Err(Error::new(format_args!("{path}: not an importance matrix: no tensor is called *.in_sum2")));
        }
        Ok(Importance { path: path.to_owned(), file })
    }

    /// The importance of each column of each matrix of `tensor`; `None` where nothing is known. It is the mean of the
    /// squared activations, and 1 for all columns of an expert that no token met.
    pub fn of(&self, tensor: &Tensor<'_>) -> Result<Option<Vec<f32>>> {
        let find = |suffix: &str| self.file.find_tensor(&format!("{}.{suffix}", tensor.name)).ok();
        let (Some(sums), Some(counts)) = (find("in_sum2"), find("counts")) else {
            return Ok(None);
        };
        let (sums, counts) = (self.floats(sums)?, self.floats(counts)?);
        let k = tensor.dims[0] as usize;
        let [_, _, experts, more] = tensor.dims;
        let matrices = if tensor.data.is_empty() { 0 } else { (experts * more) as usize };
        if counts.len() != matrices || Some(sums.len()) != matrices.checked_mul(k) {
            let (path, name) = (self.path.display(), Safe(tensor.name));
            let (has, counted) = (sums.len(), counts.len());
            return Err(Error::new(format_args!(
                "{path}: {has} sums and {counted} counts for {name}, which has {matrices} matrices of {k} columns"
            )));
        }
        let mut all = sums;
        for (sums, count) in all.chunks_mut(k.max(1)).zip(counts) {
            sums.iter_mut().for_each(|sum| *sum = if count > 0.0 { *sum / count } else { 1.0 });
        }
        Ok(Some(all))
    }

    fn floats(&self, index: u64) -> Result<Vec<f32>> {
        let tensor = self.file.tensor(index)?;
        if tensor.tensor_type != TensorType::F32 {
            let (path, name) = (self.path.display(), Safe(tensor.name));
            return Err(Error::new(format_args!("{path}: {name} is {}, not f32", tensor.tensor_type.name())));
        }
        let mut floats = vec![0.0; tensor.data.len() / 4];
        dequantize(tensor.tensor_type, tensor.data, &mut floats)?;
        Ok(floats)
    }

    /// Tells in the metadata which importance matrix was used, under the keys that llama.cpp uses for that.
    pub fn describe(&self, writer: &mut Writer<'_>) -> Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        writer.metadata("quantize.imatrix.file", ValueInput::String(name.as_bytes()))?;
        let entries = self.file.tensors().filter(|tensor| tensor.name.ends_with(".in_sum2")).count();
        writer.metadata("quantize.imatrix.entries_count", entries as u32)?;
        if let Ok(chunks) = self.file.get("imatrix.chunk_count").and_then(|chunks| chunks.as_u64()) {
            writer.metadata("quantize.imatrix.chunks_count", u32::try_from(chunks).unwrap_or(u32::MAX))?;
        }
        Ok(())
    }
}
