//! Every level x precision x shape against the f64 product, within a bound that follows from the terms.

use super::{Random, context, normal_weights, product};
use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Precision, Weights};

/// `(w, |scale * code| + |min|)` of each weight of Q4_K blocks, in f64, decoded here and not by the library.
fn decode_q4_k(data: &[u8]) -> Vec<(f64, f64)> {
    let mut weights = Vec::new();
    for block in data.chunks_exact(144) {
        let half = |at: usize| half::f16::from_le_bytes([block[at], block[at + 1]]).to_f64();
        let (d, dmin) = (half(0), half(2));
        for i in 0..256 {
            let (g, s) = (i / 32, &block[4..16]);
            let (scale, min) = match g {
                0..4 => (s[g] & 63, s[g + 4] & 63),
                _ => (s[g + 4] & 15 | s[g - 4] >> 6 << 4, s[g + 4] >> 4 | s[g] >> 6 << 4),
            };
            let byte = block[16 + i / 64 * 32 + i % 32];
            let code = if g % 2 == 0 { byte & 15 } else { byte >> 4 };
            let (product, min) = (d * f64::from(scale) * f64::from(code), dmin * f64::from(min));
            weights.push((product - min, product.abs() + min.abs()));
        }
    }
    weights
}

/// What one y may be off, for weights `w` (value and sum of its terms' magnitudes) and activations `x`.
///
/// Rounding an activation moves it by at most half a step of its 256 columns' fixed point; with fewer than three planes
/// scale and inverse are rounded as well. Each f32 operation is off by at most 2^-24 of the sum of the magnitudes that
/// went into it; a term passes through at most 3 operations of its digit planes, 2 per group of 32 or 16 columns in the
/// chunk, 3 to leave the chunk, one per chunk and 4 of the final tree.
fn bound(precision: Precision, w: &[(f64, f64)], x: &[f32]) -> f64 {
    let chunks = x.len().div_ceil(256) as f64;
    let operations = 3.0 + 2.0 * 8.0 + 3.0 + chunks + 4.0;
    let mut total = 0.0;
    for (w, x) in w.chunks(256).zip(x.chunks(256)) {
        let largest = x.iter().fold(0.0f64, |largest, x| largest.max(f64::from(x.abs()))).max(2f64.powi(-96));
        let (step, scale_rounding) = match precision {
            Precision::Exact => (largest * 2f64.powf(-21.9), 0.0),
            Precision::High => (largest / (127.0 * 256.0 + 127.0), 3.0 * 2f64.powi(-24)),
            Precision::Fast => (largest / 127.0, 3.0 * 2f64.powi(-24)),
        };
        for ((w, terms), x) in w.iter().zip(x) {
            let x = f64::from(x.abs());
            total += w.abs() * (step / 2.0 * 1.000001 + x * scale_rounding);
            total += terms * (x + step) * operations * 2f64.powi(-24);
        }
    }
    total
}

fn check(level: Level, precision: Precision, data: &[u8], n: usize, k: usize, x: &[f32], m: usize) -> f64 {
    let mut tightest = 0.0f64;
    let decoded = decode_q4_k(data);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data };
    let y = product(&context(level, precision, 1), &w, x, m);
    for row in 0..m {
        let x = &x[row * k..][..k];
        for column in 0..n {
            let w = &decoded[column * k..][..k];
            let exact: f64 = w.iter().zip(x).map(|((w, _), x)| w * f64::from(*x)).sum();
            let error = (f64::from(y[row * n + column]) - exact).abs();
            let bound = bound(precision, w, x);
            tightest = tightest.max(error / bound);
            assert!(
                error <= bound,
                "{level:?} {precision:?} m {m} n {n} k {k}, y[{row}][{column}]: {error:e} > {bound:e}"
            );
        }
    }
    tightest
}

/// Blocks of random bits with finite scales: every code, scale and min occurs.
fn random_blocks(random: &mut Random, blocks: usize) -> Vec<u8> {
    let mut data: Vec<u8> = (0..blocks * 144).map(|_| random.bits() as u8).collect();
    for block in data.chunks_exact_mut(144) {
        block[1] &= 0xbb;
        block[3] &= 0xbb;
    }
    data
}

#[test]
fn q4_k_is_within_the_derived_bound() {
    let mut random = Random(11);
    let (mut checked, mut tightest) = (0, [0.0f64; 3]);
    for chunks in [1, 2, 3, 7] {
        let k = 256 * chunks;
        for n in (1..=17).chain([33]) {
            let data = random_blocks(&mut random, n * chunks);
            for m in (1..=9).chain([16, 17, 33]) {
                // Every shape, with the other loops thinned out where m * n * k is large: the scalar level does 1e9 products/s.
                if m * n * k > 60_000 && (n + m) % 4 != 1 {
                    continue;
                }
                let mut x = random.normals(m * k);
                if n % 3 == 0 {
                    x.iter_mut().step_by(61).for_each(|x| *x *= 30.0);
                }
                for level in Level::available() {
                    for precision in Precision::ALL {
                        let ratio = check(*level, precision, &data, n, k, &x, m);
                        tightest[precision as usize] = tightest[precision as usize].max(ratio);
                        checked += m * n;
                    }
                }
            }
        }
    }
    println!("{checked} results within their bounds at {:?}", Level::available());
    println!("largest error / bound: exact {:.3}, high {:.3}, fast {:.3}", tightest[0], tightest[1], tightest[2]);
    assert!(checked > 100_000);
    // A bound that errors do not come near would not notice a mistake.
    assert!(tightest.iter().all(|ratio| *ratio > 0.02));
}

#[test]
fn long_rows_continue_over_panels() {
    // More chunks than a panel holds, so that sums go on from panel to panel.
    let (n, chunks, m) = (3, 130, 70);
    let mut random = Random(12);
    let data = random_blocks(&mut random, n * chunks);
    let x = random.normals(m * chunks * 256);
    for level in Level::available() {
        for precision in Precision::ALL {
            check(*level, precision, &data, n, chunks * 256, &x, m);
        }
    }
}

#[test]
fn normalised_errors_are_those_of_the_design() {
    let (n, k) = (64, 2048);
    for (tensor_type, limits) in [
        (TensorType::Q4_K, [1e-12, 1e-7, 2e-4]),
        (TensorType::F32, [1e-12; 3]),
        (TensorType::F16, [1e-12; 3]),
        (TensorType::BF16, [1e-12; 3]),
    ] {
        let mut random = Random(13);
        let (data, values) = normal_weights(&mut random, tensor_type, n, k);
        for m in [1, 64] {
            let x = random.normals(m * k);
            for level in Level::available() {
                for (precision, limit) in Precision::ALL.into_iter().zip(limits) {
                    let w = Weights { tensor_type, n, k, data: &data };
                    let y = product(&context(*level, precision, 1), &w, &x, m);
                    let (mut errors, mut squares, mut largest_error, mut largest) = (0.0, 0.0, 0.0f64, 0.0f64);
                    for row in 0..m {
                        for column in 0..n {
                            let pairs = values[column * k..][..k].iter().zip(&x[row * k..][..k]);
                            let exact: f64 = pairs.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                            let error = f64::from(y[row * n + column]) - exact;
                            errors += error * error;
                            squares += exact * exact;
                            largest_error = largest_error.max(error.abs());
                            largest = largest.max(exact.abs());
                        }
                    }
                    let nmse = errors / squares;
                    println!("{} {level:?} {precision:?} m {m}: NMSE {nmse:.1e}", tensor_type.name());
                    assert!(nmse <= limit, "{tensor_type:?} {level:?} {precision:?}: {nmse:e} > {limit:e}");
                    if precision == Precision::Exact {
                        assert!(largest_error <= 1e-5 * largest);
                    }
                }
            }
        }
    }
}

#[test]
fn normalised_errors_on_ggmls_blocks() {
    let golden = |name: String| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let (n, k, m) = (2, 1024, 128);
    let mut random = Random(14);
    let x = random.normals(m * k);
    let mut types = 0;
    for tensor_type in TensorType::ALL.iter().copied().filter(|tensor_type| tensor_type.can_matmul()) {
        let data = golden(format!("{}.quantized.bin", tensor_type.name()));
        let values = golden(format!("{}.quantized.f32", tensor_type.name()));
        let values: Vec<f32> = values.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        let w = Weights { tensor_type, n, k, data: &data };
        for level in Level::available() {
            for (precision, limit) in Precision::ALL.into_iter().zip([1e-12, 1e-7, 2e-4]) {
                let context = context(*level, precision, 1);
                // All at once through the panel, and row by row through decode.
                let at_once = product(&context, &w, &x, m);
                let by_row: Vec<f32> = x.chunks(k).flat_map(|x| product(&context, &w, x, 1)).collect();
                for (path, y) in [("m 128", at_once), ("m 1", by_row)] {
                    let (mut errors, mut squares) = (0.0, 0.0);
                    for (i, y) in y.iter().enumerate() {
                        let pairs = values[i % n * k..][..k].iter().zip(&x[i / n * k..][..k]);
                        let exact: f64 = pairs.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                        errors += (f64::from(*y) - exact).powi(2);
                        squares += exact * exact;
                    }
                    let nmse = errors / squares;
                    println!("{:8} {level:?} {precision:?} {path}: NMSE {nmse:.1e}", tensor_type.name());
                    assert!(nmse <= limit, "{tensor_type:?} {level:?} {precision:?} {path}: {nmse:e} > {limit:e}");
                }
            }
        }
        types += 1;
    }
    assert_eq!(types, 28);
}
