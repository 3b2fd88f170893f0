//! The matrices of a file that a token is multiplied by, and their shapes.

use gguffuse::blocks::TensorType;
use gguffuse::gguf::{File, Tensor};
use gguffuse::matmul::Weights;

/// Matrices of the same type and size.
pub struct Shape<'a> {
    pub k: usize,
    pub n: usize,
    pub count: usize,
    pub first: Weights<'a>,
    /// The tensor that has the first.
    pub name: &'a str,
    /// The matrix that makes the logits is multiplied by the last token only.
    pub is_prefilled: bool,
}

impl Shape<'_> {
    /// Of all matrices of this shape.
    pub fn bytes(&self) -> u64 {
        (self.count * self.first.data.len()) as u64
    }

    /// A multiplication and an addition per weight and activation row, for one matrix.
    pub fn flop(&self, m: u32) -> f64 {
        2.0 * f64::from(m) * self.n as f64 * self.k as f64
    }
}

/// All matrices in file order, and their shapes.
pub struct Matrices<'a> {
    pub shapes: Vec<Shape<'a>>,
    /// The number of its shape, and the matrix.
    pub all: Vec<(usize, Weights<'a>)>,
}

impl<'a> Matrices<'a> {
    pub fn of(file: &'a File) -> Matrices<'a> {
        let has_output = file.find_tensor("output.weight").is_ok();
        let mut matrices = Matrices { shapes: Vec::new(), all: Vec::new() };
        for tensor in file.tensors() {
            let is_embedding = tensor.name == "token_embd.weight";
            // Where there is an output matrix, the embeddings are only looked up.
            if is_embedding && has_output {
                continue;
            }
            let is_prefilled = !is_embedding && tensor.name != "output.weight";
            for w in slices(&tensor) {
                matrices.add(tensor.name, w, is_prefilled);
            }
        }
        matrices
    }

    fn add(&mut self, name: &'a str, w: Weights<'a>, is_prefilled: bool) {
        let same = |shape: &Shape<'_>| {
            (shape.k, shape.n, shape.first.tensor_type, shape.is_prefilled) == (w.k, w.n, w.tensor_type, is_prefilled)
        };
        let index = self.shapes.iter().position(same).unwrap_or_else(|| {
            self.shapes.push(Shape { k: w.k, n: w.n, count: 0, first: w, name, is_prefilled });
            self.shapes.len() - 1
        });
        self.shapes[index].count += 1;
        self.all.push((index, w));
    }
}

/// The matrices of a tensor: one, or one per expert.
fn slices<'a>(tensor: &Tensor<'a>) -> impl Iterator<Item = Weights<'a>> {
    let Tensor { tensor_type, dims: [k, n, ..], data, n_dims, .. } = *tensor;
    let usable = n_dims >= 2 && !data.is_empty() && tensor_type.can_matmul();
    // Not empty: nothing overflows, as the file was checked.
    let bytes = if usable { matrix_bytes(tensor_type, k, n) } else { 1 };
    let data = if usable { data } else { &[] };
    data.chunks(bytes).map(move |data| Weights { tensor_type, n: n as usize, k: k as usize, data })
}

fn matrix_bytes(tensor_type: TensorType, k: u64, n: u64) -> usize {
    k as usize / tensor_type.block_elements() * tensor_type.block_bytes() * n as usize
}
