//! Quantisers at the edges: what `importance` does, inputs of any magnitude, and the types that are only dequantised.

use gguffuse::blocks::{self, TensorType};

const K: usize = 1024;

/// Normal values, xorshift and Box-Muller.
fn normals(count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let normal = |a: f64, b: f64| (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    (0..count).map(|_| normal(uniform(), uniform()) as f32).collect()
}

fn quantizable() -> impl Iterator<Item = TensorType> {
    TensorType::ALL.iter().copied().filter(|tensor_type| tensor_type.can_quantize())
}

fn quantized(tensor_type: TensorType, source: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let rows = source.len() / K;
    let mut bytes = vec![0; rows * tensor_type.row_size(K as u64).unwrap() as usize];
    blocks::quantize(tensor_type, source, rows, K, importance, &mut bytes).unwrap();
    bytes
}

fn round_trip(tensor_type: TensorType, source: &[f32], importance: Option<&[f32]>) -> Vec<f32> {
    let mut values = vec![f32::NAN; source.len()];
    blocks::dequantize(tensor_type, &quantized(tensor_type, source, importance), &mut values).unwrap();
    values
}

/// The largest root mean squared error, as a part of the largest magnitude, that still is sensible: about the distance of
/// two neighbouring values, for types without one here that of two bits.
fn sensible(tensor_type: TensorType) -> f64 {
    match tensor_type {
        TensorType::F32 => 0.0,
        TensorType::F16 => 0.0005,
        TensorType::Q8_0 | TensorType::BF16 => 0.004,
        TensorType::Q6_K => 0.02,
        TensorType::Q5_0 | TensorType::Q5_1 | TensorType::Q5_K => 0.04,
        TensorType::Q4_0 | TensorType::Q4_1 | TensorType::Q4_K => 0.08,
        TensorType::Q3_K => 0.16,
        _ => 0.4,
    }
}

fn relative_error(values: &[f32], source: &[f32]) -> f64 {
    let squares: f64 = values.iter().zip(source).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let largest = source.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    (squares / source.len() as f64).sqrt() / f64::from(largest)
}

#[test]
fn importance_lowers_the_weighted_error() {
    let source: Vec<f32> = normals(32 * K).iter().map(|value| 0.02 * value).collect();
    let importance: Vec<f32> = normals(K).iter().map(|value| (2.0 * value).exp()).collect();
    for tensor_type in quantizable() {
        let weighted = |values: &[f32]| -> f64 {
            let squares = values.iter().zip(&source).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            squares.enumerate().map(|(i, square)| f64::from(importance[i % K]) * square).sum()
        };
        let without = weighted(&round_trip(tensor_type, &source, None));
        let with = weighted(&round_trip(tensor_type, &source, Some(&importance)));
        println!("{}: weighted error {with:.3e} with importance, {without:.3e} without", tensor_type.name());
        assert!(with <= without, "{}: {with} > {without}", tensor_type.name());
    }
}

#[test]
fn importance_of_any_magnitude() {
    let source = normals(2 * K);
    for tensor_type in quantizable() {
        let name = tensor_type.name();
        let plain = quantized(tensor_type, &source, None);
        for equal in [0.0, 1e-30, 0.5, 1e30] {
            assert!(quantized(tensor_type, &source, Some(&[equal; K])) == plain, "{name}: all {equal}");
        }
        let spread: Vec<f32> = normals(K).iter().map(|value| (20.0 * value).exp()).collect();
        let groups: Vec<f32> = (0..K).map(|column| if column / 32 % 3 == 0 { 0.0 } else { 1.0 }).collect();
        let single: Vec<f32> = (0..K).map(|column| if column % 300 == 7 { f32::MAX } else { 0.0 }).collect();
        for importance in [spread, groups, single] {
            let values = round_trip(tensor_type, &source, Some(&importance));
            assert!(values.iter().all(|value| value.is_finite()), "{name}");
            assert!(relative_error(&values, &source) <= 2.0 * sensible(tensor_type), "{name}");
        }
    }
}

#[test]
fn inputs_within_the_range_of_halves_have_sensible_errors() {
    let normal = normals(2 * K);
    let inputs: [(&str, Vec<f32>); 8] = [
        ("zeros", vec![0.0; 2 * K]),
        ("equal", vec![0.7; 2 * K]),
        ("equal and negative", vec![-0.7; 2 * K]),
        ("positive", normal.iter().map(|value| value.abs()).collect()),
        ("large", normal.iter().map(|value| 1000.0 * value).collect()),
        ("far from 0", normal.iter().map(|value| 50.0 + value).collect()),
        ("one spike", (0..2 * K).map(|i| if i % 100 == 0 { -500.0 } else { 0.01 * normal[i] }).collect()),
        ("mixed", (0..2 * K).map(|i| normal[i] * 10.0f32.powi(i as i32 % 9 - 6)).collect()),
    ];
    for tensor_type in quantizable() {
        for (case, source) in &inputs {
            let values = round_trip(tensor_type, source, None);
            if *case == "zeros" {
                assert!(values.iter().all(|value| *value == 0.0), "{} {case}", tensor_type.name());
                continue;
            }
            let error = relative_error(&values, source);
            assert!(error <= sensible(tensor_type), "{} {case}: {error}", tensor_type.name());
        }
    }
}

#[test]
fn inputs_of_any_magnitude_stay_finite_and_keep_their_sign() {
    let normal = normals(2 * K);
    let scaled = |factor: f32| -> Vec<f32> { normal.iter().map(|value| factor * value).collect() };
    let signs: Vec<f32> = (0..2 * K).map(|i| if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
    for tensor_type in quantizable() {
        let name = tensor_type.name();
        for factor in [1e-45, 1e-40, 1e-20, 1e-8, 1e8, 1e19, 1e30, 1e38] {
            let values = round_trip(tensor_type, &scaled(factor), None);
            assert!(values.iter().all(|value| value.is_finite()), "{name} {factor}");
            if factor < 1e-10 {
                let largest = 8.0 * factor;
                assert!(values.iter().all(|value| value.abs() <= largest), "{name} {factor}");
            }
        }
        for magnitude in [1e9, 1e20, 1e38, f32::MAX, f32::INFINITY] {
            let source: Vec<f32> = signs.iter().map(|sign| magnitude * sign).collect();
            let values = round_trip(tensor_type, &source, None);
            for (value, sign) in values.iter().zip(&signs) {
                assert!(value.is_finite() && value * sign >= 448.0, "{name} {magnitude}: {sign} gives {value}");
            }
        }
        let rest = round_trip(tensor_type, &scaled(f32::NAN), None);
        assert!(rest.iter().all(|value| *value == 0.0), "{name}: NaN is 0");
        let spike: Vec<f32> = (0..2 * K).map(|i| if i % 64 == 5 { 1e38 } else { normal[i] }).collect();
        assert!(round_trip(tensor_type, &spike, None).iter().all(|value| value.is_finite()), "{name} spike");
    }
}

#[test]
fn plain_types_are_converted() {
    let one = |tensor_type, bytes: &[u8], count: usize| -> Vec<f32> {
        assert!(!TensorType::can_quantize(tensor_type) && !TensorType::can_matmul(tensor_type));
        let mut values = vec![f32::NAN; count];
        blocks::dequantize(tensor_type, bytes, &mut values).unwrap();
        values
    };
    assert_eq!(one(TensorType::I8, &[0x80, 0x7f], 2), [-128.0, 127.0]);
    assert_eq!(one(TensorType::I16, &(-12345i16).to_le_bytes(), 1), [-12345.0]);
    assert_eq!(one(TensorType::I32, &(1i32 << 30).to_le_bytes(), 1), [(1 << 30) as f32]);
    assert_eq!(one(TensorType::I64, &(-1i64 << 62).to_le_bytes(), 1), [-(2.0f32.powi(62))]);
    assert_eq!(one(TensorType::F64, &0.1f64.to_le_bytes(), 1), [0.1f32]);

    let codes: Vec<i8> = (0..256).map(|i| (i - 128) as i8).collect();
    let bytes: Vec<u8> = codes.iter().map(|code| *code as u8).collect();
    let q8_1 = [&half::f16::from_f32(0.5).to_le_bytes()[..], &[1, 2], &bytes[..32]].concat();
    assert_eq!(
        one(TensorType::Q8_1, &q8_1, 32),
        codes[..32].iter().map(|code| 0.5 * f32::from(*code)).collect::<Vec<_>>()
    );
    let q8_k = [&0.25f32.to_le_bytes()[..], &bytes, &[9; 32]].concat();
    assert_eq!(one(TensorType::Q8_K, &q8_k, 256), codes.iter().map(|code| 0.25 * f32::from(*code)).collect::<Vec<_>>());
}
