//! candle (Rust): QMatMul. It chooses its instruction set and, for the whole process, its threads itself.

use crate::tiles::GEMM;
use crate::weights::Matrix;
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};
use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use std::borrow::Cow;

/// The level whose instructions candle uses on this machine.
pub fn level() -> Level {
    if crate::roofs::has_amx() {
        Level::Amx
    } else if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
        Level::Avx512Vnni
    } else if is_x86_feature_detected!("avxvnni") {
        Level::AvxVnni
    } else {
        Level::Avx2
    }
}

/// Weights in candle's hands: a copy.
pub struct Uploaded(QMatMul);

impl Uploaded {
    /// `None`: candle lacks the type.
    pub fn new(matrix: &Matrix) -> Option<Uploaded> {
        let data_type = match matrix.tensor_type {
            TensorType::Q4_0 => GgmlDType::Q4_0,
            TensorType::Q4_1 => GgmlDType::Q4_1,
            TensorType::Q5_0 => GgmlDType::Q5_0,
            TensorType::Q5_1 => GgmlDType::Q5_1,
            TensorType::Q8_0 => GgmlDType::Q8_0,
            TensorType::Q2_K => GgmlDType::Q2K,
            TensorType::Q3_K => GgmlDType::Q3K,
            TensorType::Q4_K => GgmlDType::Q4K,
            TensorType::Q5_K => GgmlDType::Q5K,
            TensorType::Q6_K => GgmlDType::Q6K,
            _ => return None,
        };
        let data = Cow::Borrowed(matrix.bytes.as_slice());
        let storage = QStorage::from_data(data, &Device::Cpu, data_type).expect("whole blocks");
        let tensor = QTensor::new(storage, (matrix.n, matrix.k)).expect("a shape that fits");
        Some(Uploaded(QMatMul::from_qtensor(tensor).expect("a type without a special case")))
    }
}

/// A product with its activations.
pub struct Product<'a> {
    weights: &'a Uploaded,
    x: Tensor,
}

impl<'a> Product<'a> {
    pub fn new(weights: &'a Uploaded, x: &[f32], k: usize) -> Product<'a> {
        Product { weights, x: Tensor::from_slice(x, (x.len() / k, k), &Device::Cpu).expect("whole rows") }
    }

    pub fn compute(&self) -> Tensor {
        GEMM.with(|tiles| tiles.during(|| self.weights.0.forward(&self.x))).expect("shapes that fit")
    }

    pub fn result(&self) -> Vec<f32> {
        self.compute().flatten_all().and_then(|y| y.to_vec1()).expect("f32 in main memory")
    }
}
