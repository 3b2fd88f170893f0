//! The oracle: dequantised blocks have ggml's bits, and our quantiser is not worse than ggml's.

use gguffuse::blocks::{self, TensorType};
use std::path::Path;

fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn floats(name: &str) -> Vec<f32> {
    bytes(name).as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

fn rmse(a: &[f32], b: &[f32]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    (squares / a.len() as f64).sqrt()
}

/// The types whose golden blocks are in tests/golden.
const TYPES: [TensorType; 13] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Q2_K,
    TensorType::Q3_K,
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
    TensorType::BF16,
];

#[test]
fn dequantised_blocks_have_ggmls_bits() {
    let mut sets = 0;
    for tensor_type in TYPES {
        for set in ["quantized", "random"] {
            let name = tensor_type.name();
            if set == "random" && tensor_type.block_elements() == 1 {
                continue;
            }
            let blocks = bytes(&format!("{name}.{set}.bin"));
            let expected = floats(&format!("{name}.{set}.f32"));
            let mut values = vec![0.0; expected.len()];
            blocks::dequantize(tensor_type, &blocks, &mut values).unwrap();
            let different = values.iter().zip(&expected).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            assert_eq!(different, 0, "{name}.{set}: {different} of {} values differ", values.len());
            sets += 1;
        }
    }
    assert_eq!(sets, 23);
}

#[test]
fn quantising_is_not_worse_than_ggml() {
    for tensor_type in TYPES {
        let name = tensor_type.name();
        let source = floats(&format!("{name}.source.f32"));
        let ggml = rmse(&floats(&format!("{name}.quantized.f32")), &source);
        let mut blocks = vec![0; tensor_type.row_size(source.len() as u64).unwrap() as usize];
        blocks::quantize(tensor_type, &source, 1, source.len(), None, &mut blocks).unwrap();
        let mut values = vec![0.0; source.len()];
        blocks::dequantize(tensor_type, &blocks, &mut values).unwrap();
        let ours = rmse(&values, &source);
        println!("{name}: rmse {ours:.6} (ggml {ggml:.6})");
        let better = if tensor_type.block_elements() == 1 { ours <= ggml } else { ours < ggml };
        assert!(better, "{name}: rmse {ours}, ggml's {ggml}");
    }
}
