//! What is multiplied: weights of any type and size, activations, the f64 product to check results with.

use crate::ggml::Library;
use gguffuse::blocks::{TensorType, dequantize, quantize};
use gguffuse::matmul::Weights;

/// Bytes at a page's start, as the weights of a mapped file may lie: every peer can read them in place.
pub struct Bytes {
    storage: Vec<Page>,
    length: usize,
}

#[repr(C, align(4096))]
#[derive(Clone, Copy)]
struct Page([u8; 4096]);

impl Bytes {
    pub fn zeroed(length: usize) -> Bytes {
        Bytes { storage: vec![Page([0; 4096]); length.div_ceil(4096)], length }
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the pages are `length` bytes at least, all initialised.
        unsafe { std::slice::from_raw_parts(self.storage.as_ptr().cast(), self.length) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.storage.as_mut_ptr().cast(), self.length) }
    }
}

/// A weight matrix. Rows repeat after `DISTINCT` rows: quantising them all would take minutes, and time does not depend
/// on the values.
pub struct Matrix {
    pub tensor_type: TensorType,
    pub n: usize,
    pub k: usize,
    pub bytes: Bytes,
}

const DISTINCT: usize = 128;

impl Matrix {
    pub fn random(ggml: &Library, tensor_type: TensorType, n: usize, k: usize) -> Matrix {
        let row_bytes = tensor_type.row_size(k as u64).expect("k is a multiple of the block") as usize;
        let mut bytes = Bytes::zeroed(n * row_bytes);
        let (rows, all) = (DISTINCT.min(n), bytes.as_mut_slice());
        let values = gaussian(rows * k, tensor_type.id() as u64 + 1);
        let first = &mut all[..rows * row_bytes];
        match tensor_type.can_quantize() {
            true => quantize(tensor_type, &values, rows, k, None, first).expect("a type with a quantiser"),
            false => ggml.quantize(tensor_type.id(), &values, rows, k, first),
        }
        let mut filled = first.len();
        while filled < all.len() {
            let more = filled.min(all.len() - filled);
            all.copy_within(..more, filled);
            filled += more;
        }
        Matrix { tensor_type, n, k, bytes }
    }

    pub fn view(&self) -> Weights<'_> {
        Weights { tensor_type: self.tensor_type, n: self.n, k: self.k, data: self.bytes.as_slice() }
    }

    /// All weights as f32.
    pub fn dequantized(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.n * self.k];
        dequantize(self.tensor_type, self.bytes.as_slice(), &mut values).expect("whole blocks");
        values
    }

    /// Normalised mean square error of `y = x * W^T` against f64, over the first activation rows and distinct weight rows.
    pub fn error(&self, x: &[f32], y: &[f32]) -> f64 {
        let rows = DISTINCT.min(self.n);
        let row_bytes = self.bytes.as_slice().len() / self.n;
        let mut w = vec![0.0; rows * self.k];
        // The last rows: what a peer leaves out at the edge would show.
        let source = &self.bytes.as_slice()[(self.n - rows) * row_bytes..];
        dequantize(self.tensor_type, source, &mut w).expect("whole blocks");
        let (mut wrong, mut whole) = (0.0, 0.0);
        for (x, y) in x.chunks_exact(self.k).zip(y.chunks_exact(self.n)).take(4) {
            for (w, y) in w.chunks_exact(self.k).zip(&y[self.n - rows..]) {
                let exact: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                wrong += (f64::from(*y) - exact).powi(2);
                whole += exact * exact;
            }
        }
        wrong / whole
    }
}

/// Values of a normal distribution, deviation 1 (sums of twelve uniform ones).
pub fn gaussian(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
}
