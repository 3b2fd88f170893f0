//! The files of these tests.

use gguffuse::blocks::{TensorType, quantize};
use gguffuse::gguf::{File, OpenOptions, Writer};
use std::path::{Path, PathBuf};

/// A folder for one test, removed at its end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("gguffuse-cli-{test}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a new file");
        path
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the folder can be removed");
    }
}

pub fn open(path: &Path) -> File {
    File::open(path, &OpenOptions::default()).expect("a file that was just written")
}

/// Weights between -1 and 1, other ones for each seed.
pub fn weights(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// `weights` as blocks, in rows of `k`.
pub fn blocks(tensor_type: TensorType, weights: &[f32], k: usize) -> Vec<u8> {
    let bytes = tensor_type.row_size(weights.len() as u64).expect("whole blocks");
    let mut out = vec![0; bytes as usize];
    quantize(tensor_type, weights, weights.len() / k, k, None, &mut out).expect("a quantiser");
    out
}

/// Name, type, dimensions and bytes of a tensor.
pub type Made = (&'static str, TensorType, Vec<u64>, Vec<u8>);

pub fn made(name: &'static str, tensor_type: TensorType, dims: &[u64], seed: u32) -> Made {
    let count = dims.iter().product::<u64>() as usize;
    (name, tensor_type, dims.to_vec(), blocks(tensor_type, &weights(count, seed), dims[0] as usize))
}

pub fn file(name: &str, tensors: &[Made]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.metadata("general.architecture", "llama").expect("metadata");
    writer.metadata("general.name", name).expect("metadata");
    for (name, tensor_type, dims, data) in tensors {
        writer.tensor(name, *tensor_type, dims, data).expect("a tensor");
    }
    writer.to_vec().expect("a file")
}

/// A model of three float types, whose sizes make every rule of quantising apply.
pub fn float_model() -> Vec<Made> {
    vec![
        made("token_embd.weight", TensorType::F16, &[256, 64], 1),
        made("blk.0.attn_norm.weight", TensorType::F32, &[256], 2),
        made("blk.0.attn_q.weight", TensorType::F16, &[256, 32], 3),
        made("blk.0.attn_k.weight", TensorType::BF16, &[256, 16], 4),
        made("blk.0.ffn_gate_inp.weight", TensorType::F32, &[256, 4], 5),
        made("blk.0.ffn_up_exps.weight", TensorType::F32, &[256, 8, 4], 6),
        made("blk.0.ffn_down.weight", TensorType::F16, &[96, 16], 7),
        made("blk.0.odd.weight", TensorType::F32, &[7, 3], 8),
        made("blk.0.already.weight", TensorType::Q8_0, &[256, 8], 9),
        ("blk.0.none.weight", TensorType::F32, vec![256, 0], Vec::new()),
    ]
}

/// A file of every type, all blocks zero but for types that are quantised here.
pub fn every_type() -> Vec<u8> {
    let mut writer = Writer::new();
    let datas: Vec<Vec<u8>> = TensorType::ALL
        .iter()
        .map(|tensor_type| match tensor_type.can_quantize() {
            true => blocks(*tensor_type, &weights(512, tensor_type.id()), 256),
            false => vec![0; tensor_type.row_size(512).expect("whole blocks") as usize],
        })
        .collect();
    for (tensor_type, data) in TensorType::ALL.iter().zip(&datas) {
        writer.tensor(tensor_type.name(), *tensor_type, &[256, 2], data).expect("a tensor");
    }
    writer.to_vec().expect("a file")
}
