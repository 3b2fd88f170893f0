//! The product through the Rust interface: against f64 with derived bounds, at every level and precision; the same bits
//! for any split; every refusal.

mod activations;
mod bounds;
mod hosted;
mod refusals;
mod splits;
mod state;

use gguffuse::blocks::{self, TensorType};
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, ContextOptions, Precision, Weights};

/// xorshift64*.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Normal, by Box and Muller.
    pub fn normal(&mut self) -> f32 {
        let uniform = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let (a, b) = (uniform(self.bits()), uniform(self.bits()));
        ((-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32
    }

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }
}

/// Normal weights in blocks of `tensor_type`, and their dequantised values.
pub fn normal_weights(random: &mut Random, tensor_type: TensorType, n: usize, k: usize) -> (Vec<u8>, Vec<f32>) {
    let source: Vec<f32> = random.normals(n * k).iter().map(|value| 0.02 * value).collect();
    let mut data = vec![0; n * tensor_type.row_size(k as u64).unwrap() as usize];
    blocks::quantize(tensor_type, &source, n, k, None, &mut data).unwrap();
    let mut values = vec![0.0; n * k];
    blocks::dequantize(tensor_type, &data, &mut values).unwrap();
    (data, values)
}

pub fn context(level: Level, precision: Precision, threads: u32) -> Context {
    let context = Context::new(&ContextOptions { threads, precision, max_isa: Some(level.name()) }).unwrap();
    if std::env::var_os("GGUFFUSE_MAX_ISA").is_none() {
        assert_eq!(context.isa(), level);
    }
    context
}

pub fn product(context: &Context, w: &Weights<'_>, x: &[f32], m: usize) -> Vec<f32> {
    let mut y = vec![f32::NAN; m * w.n];
    context.matmul(w, x, 0, m, &mut y, 0).unwrap();
    y
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
