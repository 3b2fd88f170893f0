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
const TYPES: [TensorType; 28] = [
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
    TensorType::IQ2_XXS,
    TensorType::IQ2_XS,
    TensorType::IQ3_XXS,
    TensorType::IQ1_S,
    TensorType::IQ4_NL,
    TensorType::IQ3_S,
    TensorType::IQ2_S,
    TensorType::IQ4_XS,
    TensorType::IQ1_M,
    TensorType::BF16,
    TensorType::TQ1_0,
    TensorType::TQ2_0,
    TensorType::MXFP4,
    TensorType::NVFP4,
    TensorType::Q1_0,
    TensorType::Q2_0,
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
    assert_eq!(sets, 53);
}

#[test]
fn quantising_is_not_worse_than_ggml() {
    for tensor_type in TYPES.into_iter().filter(|tensor_type| tensor_type.can_quantize()) {
        let name = tensor_type.name();
        let source = floats(&format!("{name}.source.f32"));
        let ggml = rmse(&floats(&format!("{name}.quantized.f32")), &source);
        let mut blocks = vec![0; tensor_type.row_size(source.len() as u64).unwrap() as usize];
        blocks::quantize(tensor_type, &source, 1, source.len(), None, &mut blocks).unwrap();
        let mut values = vec![0.0; source.len()];
        blocks::dequantize(tensor_type, &blocks, &mut values).unwrap();
        let ours = rmse(&values, &source);
        println!("{name}: rmse {ours:.6} (ggml {ggml:.6})");
        // Floats and Q1_0 (the mean magnitude) have one best answer, which ggml gives too.
        let one_answer = tensor_type.block_elements() == 1 || tensor_type == TensorType::Q1_0;
        let better = if one_answer { ours <= ggml } else { ours < ggml };
        assert!(better, "{name}: rmse {ours}, ggml's {ggml}");
    }
}

/// Numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// In 0..1.
    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }
}

fn quantized(tensor_type: TensorType, source: &[f32], importance: Option<&[f32]>) -> Vec<f32> {
    let mut blocks = vec![0; tensor_type.row_size(source.len() as u64).unwrap() as usize];
    blocks::quantize(tensor_type, source, 1, source.len(), importance, &mut blocks).unwrap();
    let mut values = vec![0.0; source.len()];
    blocks::dequantize(tensor_type, &blocks, &mut values).unwrap();
    values
}

fn quantizable() -> impl Iterator<Item = TensorType> {
    TYPES.into_iter().filter(|tensor_type| tensor_type.can_quantize())
}

#[test]
fn any_bits_dequantise() {
    let mut random = Random(1);
    for tensor_type in TYPES {
        let mut block = vec![0; tensor_type.block_bytes()];
        let mut values = vec![0.0; tensor_type.block_elements()];
        for _ in 0..10_000 {
            block.fill_with(|| random.next() as u8);
            blocks::dequantize(tensor_type, &block, &mut values).unwrap();
        }
        for byte in [0, 0x7f, 0x80, 0xff] {
            block.fill(byte);
            blocks::dequantize(tensor_type, &block, &mut values).unwrap();
        }
    }
}

#[test]
fn any_values_quantise_to_finite_ones() {
    const K: usize = 512;
    let mut random = Random(2);
    let mut sources: Vec<Vec<f32>> =
        [0.0, -0.0, 1.0, -1.0, 1e38, -1e38, f32::MAX, f32::MIN, 1e-40, -1e-40, 1e-45, 1e-10]
            .into_iter()
            .map(|value| vec![value; K])
            .collect();
    for magnitude in [1e-45, 1e-40, 1e-20, 1.0, 65504.0, 1e10, 1e38, f32::MAX] {
        sources.push((0..K).map(|_| magnitude * (2.0 * random.uniform() - 1.0)).collect());
        sources.push((0..K).map(|i| if i % 37 == 5 { magnitude } else { 1e-3 * random.uniform() }).collect());
    }
    sources.push((0..K).map(|i| [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0][i % 4]).collect());
    let importances: [Vec<f32>; 6] = [
        vec![0.0; K],
        vec![1e-40; K],
        vec![1e38; K],
        (0..K).map(|i| (i % 2) as f32).collect(),
        (0..K).map(|i| if i < 256 { 0.0 } else { 1.0 }).collect(),
        (0..K).map(|i| if i % 32 == 7 { 1e30 } else { 1e-30 }).collect(),
    ];
    for tensor_type in quantizable().filter(|tensor_type| tensor_type.block_elements() > 1) {
        for (index, source) in sources.iter().enumerate() {
            for importance in [None].into_iter().chain(importances.iter().map(|all| Some(&all[..]))) {
                let values = quantized(tensor_type, source, importance);
                let finite = values.iter().all(|value| value.is_finite());
                assert!(
                    finite,
                    "{}, source {index}, importance {:?}",
                    tensor_type.name(),
                    importance.map(|all| all[7])
                );
            }
        }
    }
}

#[test]
fn values_that_a_type_has_come_back() {
    for tensor_type in quantizable() {
        let name = tensor_type.name();
        let zeros = quantized(tensor_type, &[0.0; 256], None);
        assert!(zeros.iter().all(|value| *value == 0.0), "{name}: zeros");
        let ones = quantized(tensor_type, &[1.0; 256], None);
        assert!(ones.iter().all(|value| (value - 1.0).abs() < 1e-3), "{name}: ones become {}", ones[0]);
    }
}

#[test]
fn importance_lowers_the_weighted_error() {
    let mut random = Random(3);
    for tensor_type in quantizable() {
        let name = tensor_type.name();
        let source = floats(&format!("{name}.source.f32"));
        let importance: Vec<f32> = source.iter().map(|_| random.uniform().powi(4)).collect();
        let error = |values: Vec<f32>| -> f64 {
            let difference = values.iter().zip(&source).map(|(a, b)| f64::from(a - b));
            difference.zip(&importance).map(|(difference, weight)| f64::from(*weight) * difference.powi(2)).sum()
        };
        let with = error(quantized(tensor_type, &source, Some(&importance)));
        let without = error(quantized(tensor_type, &source, None));
        println!("{name}: weighted error {with:.4e} with importance, {without:.4e} without");
        assert!(with <= without, "{name}: weighted error {with} with importance, {without} without");
    }
}
