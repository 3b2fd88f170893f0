//! The file: made or opened, and which of its tensors are used.

use crate::progress::Progress;
use crate::random::Random;
use gguffuse::blocks::{TensorType, quantize};
use gguffuse::gguf::{File, OpenOptions, Tensor, Writer};
use gguffuse::matmul::Weights;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// The tensor of the file that is made: TinyLlama's.
const NAME: &str = "blk.0.ffn_gate.weight";
const K: usize = 2048;
const N: usize = 5632;
const SIGMA: f64 = 0.02;
const SEED: u64 = 20_240_229;

/// How many tensors are taken where none is named.
const MOST_TENSORS: usize = 3;
/// The naive product holds all weights in f32: larger tensors are not taken.
const LARGEST_F32: u64 = 2 << 30;

/// An open file.
pub struct Opened {
    /// The file.
    pub file: File,
    /// What to call it.
    pub name: String,
    /// Kept until the file is closed, where an open file cannot be removed.
    _folder: Option<Folder>,
}

/// A tensor that can be multiplied by.
pub struct Chosen<'a> {
    pub tensor: Tensor<'a>,
    pub w: Weights<'a>,
}

/// Opens a file of the user's.
pub fn open(path: &Path) -> Result<Opened, String> {
    let file = File::open(path, &OpenOptions::default()).map_err(|why| format!("{path:?}: {why}"))?;
    Ok(Opened { file, name: path.display().to_string(), _folder: None })
}

/// Makes a file in a temporary folder and opens it.
pub fn make(progress: &mut Progress) -> Result<Opened, String> {
    progress.say("making a tensor");
    let blocks = random_blocks()?;
    let folder = Folder::new()?;
    let path = folder.0.join("demo.gguf");
    write(&path, &blocks).map_err(|why| format!("{path:?}: {why}"))?;
    let file = File::open(&path, &OpenOptions::default()).map_err(|why| format!("{path:?}: {why}"))?;
    // On Unix the mapping outlives the name: removed now, nothing stays behind whatever happens later.
    let folder = if cfg!(unix) { None } else { Some(folder) };
    Ok(Opened { file, name: "(made for this run)".to_owned(), _folder: folder })
}

/// Normal weights, quantised: every thread its share of the rows, every row its own random numbers.
fn random_blocks() -> Result<Vec<u8>, String> {
    let row_bytes = K / TensorType::Q4_K.block_elements() * TensorType::Q4_K.block_bytes();
    let mut blocks = vec![0u8; N * row_bytes];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = N.div_ceil(threads);
    let done: Result<Vec<()>, gguffuse::Error> = std::thread::scope(|scope| {
        let workers: Vec<_> = blocks
            .chunks_mut(share * row_bytes)
            .enumerate()
            .map(|(index, blocks)| {
                scope.spawn(move || {
                    let mut weights = vec![0f32; K];
                    for (row, blocks) in blocks.chunks_exact_mut(row_bytes).enumerate() {
                        Random::new(SEED, (index * share + row) as u64).fill_normal(SIGMA, &mut weights);
                        quantize(TensorType::Q4_K, &weights, 1, K, None, blocks)?;
                    }
                    Ok(())
                })
            })
            .collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    });
    done.map_err(|why| why.to_string())?;
    Ok(blocks)
}

fn write(path: &Path, blocks: &[u8]) -> Result<(), String> {
    let write = || -> gguffuse::Result<Writer<'_>> {
        let mut writer = Writer::new();
        writer.metadata("general.architecture", "llama")?;
        writer.metadata("general.name", "gguffuse demonstration")?;
        writer.tensor(NAME, TensorType::Q4_K, &[K as u64, N as u64], blocks)?;
        Ok(writer)
    };
    let writer = write().map_err(|why| why.to_string())?;
    let file = std::fs::File::create_new(path).map_err(|why| why.to_string())?;
    writer.write_to(BufWriter::new(file)).map_err(|why| why.to_string())
}

/// The tensor called `name`, or the largest ones that can be multiplied, largest first.
pub fn choose<'a>(file: &'a File, name: Option<&str>) -> Result<Vec<Chosen<'a>>, String> {
    if let Some(name) = name {
        let tensor = file.find_tensor(name).and_then(|index| file.tensor(index));
        let tensor = tensor.map_err(|why| why.to_string())?;
        return Ok(vec![usable(tensor)?]);
    }
    let matrices = file.tensors().filter(|tensor| tensor.n_dims >= 2);
    let mut chosen: Vec<Chosen<'a>> = matrices.filter_map(|tensor| usable(tensor).ok()).collect();
    chosen.sort_by_key(|chosen| std::cmp::Reverse(chosen.w.n * chosen.w.k));
    chosen.truncate(MOST_TENSORS);
    match chosen.is_empty() {
        true => Err("the file has no tensor that can be multiplied".to_owned()),
        false => Ok(chosen),
    }
}

fn usable(tensor: Tensor<'_>) -> Result<Chosen<'_>, String> {
    let Tensor { name, tensor_type, dims: [k, others @ ..], .. } = tensor;
    if !tensor_type.can_matmul() {
        return Err(format!("tensor {name:?} is {}, which cannot be multiplied yet", tensor_type.name()));
    }
    // Only dims of which one is 0 can overflow: the file was checked.
    let n = others.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim));
    let bytes = n.and_then(|n| n.checked_mul(k)?.checked_mul(4));
    match (n, bytes) {
        (_, Some(0)) => Err(format!("tensor {name:?} is empty")),
        (Some(n), Some(bytes)) if bytes <= LARGEST_F32 => {
            let w = Weights { tensor_type, n: n as usize, k: k as usize, data: tensor.data };
            Ok(Chosen { tensor, w })
        }
        _ => Err(format!(
            "tensor {name:?} has more than {} MB in f32, too much for the naive product",
            LARGEST_F32 / 1_000_000
        )),
    }
}

/// A new folder under the system's temporary one; dropping it removes it with all in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Folder, String> {
        let temporary = std::env::temp_dir();
        // A folder of a killed program whose process number came again stays where it is.
        for attempt in 0..100 {
            let path = temporary.join(format!("gguffuse-demo-{}-{attempt}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(why) => return Err(format!("{path:?}: {why}")),
            }
        }
        Err(format!("{temporary:?}: too many folders of this demonstration"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
