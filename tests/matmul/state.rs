//! Values that are not finite, extreme activations, and the floating-point state of the host.

use super::{Random, bits, context, normal_weights, product};
use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Precision, Weights};

#[test]
fn activations_that_are_not_finite_change_their_row_only() {
    let (n, k) = (40, 512);
    let mut random = Random(31);
    let (data, values) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    for level in Level::available() {
        for precision in Precision::ALL {
            for m in [3, 35] {
                let context = context(*level, precision, 2);
                let clean = random.normals(m * k);
                let expected = product(&context, &w, &clean, m);
                for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = clean.clone();
                    x[k + 300] = poison;
                    let y = product(&context, &w, &x, m);
                    for row in 0..m {
                        let got = &y[row * n..][..n];
                        if row != 1 {
                            assert_eq!(bits(got), bits(&expected[row * n..][..n]));
                            continue;
                        }
                        for (column, got) in got.iter().enumerate() {
                            let ieee = poison * values[column * k + 300];
                            assert_eq!(got.is_nan(), ieee.is_nan());
                            assert!(ieee.is_nan() || *got == ieee, "{got} instead of {ieee}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn scales_that_are_not_finite_change_their_column_only() {
    let (n, k) = (40, 512);
    let mut random = Random(32);
    let (clean, _) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    for level in Level::available() {
        for m in [1, 33] {
            let context = context(*level, Precision::Exact, 1);
            let x = random.normals(m * k);
            let of = |data: &[u8]| product(&context, &Weights { tensor_type: TensorType::Q4_K, n, k, data }, &x, m);
            let expected = of(&clean);
            // d or dmin of row 7's second block: NaN, infinity.
            for (field, value) in [(0, 0x7e00u16), (2, 0x7e00), (0, 0x7c00), (2, 0xfc00)] {
                let mut data = clean.clone();
                data[(7 * 2 + 1) * 144 + field..][..2].copy_from_slice(&value.to_le_bytes());
                for (i, (got, expected)) in of(&data).iter().zip(&expected).enumerate() {
                    match i % n {
                        7 => assert!(!got.is_finite()),
                        _ => assert_eq!(got.to_bits(), expected.to_bits()),
                    }
                }
            }
        }
    }
}

#[test]
fn zero_tiny_and_huge_activations() {
    let (n, k) = (33, 256);
    let mut random = Random(33);
    let (data, values) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    let normal = random.normals(k);
    for level in Level::available() {
        for (m, factor) in [(1, 0.0), (33, 0.0), (1, 1e-30), (33, 1e-30), (1, 1e-44), (1, 1e36), (33, 1e36)] {
            let x: Vec<f32> = (0..m).flat_map(|_| normal.iter().map(|x| x * factor)).collect();
            let y = product(&context(*level, Precision::Exact, 1), &w, &x, m);
            for (i, got) in y.iter().enumerate() {
                let pairs = values[i % n * k..][..k].iter().zip(&x);
                let exact: f64 = pairs.clone().map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                let terms: f64 = pairs.map(|(w, x)| (f64::from(*w) * f64::from(*x)).abs()).sum();
                // Below 2^-96 activations are kept to 2^-118; the results' own subnormals are coarser than their terms.
                let bound = 1e-5 * terms + 2f64.powi(-118) * k as f64;
                assert!((f64::from(*got) - exact).abs() <= bound, "{level:?} factor {factor}: {got} for {exact}");
            }
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn any_floating_point_state_of_the_host() {
    fn mxcsr() -> u32 {
        let mut value = 0u32;
        // SAFETY: stores the control register.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut value, options(nostack)) };
        value
    }
    fn set_mxcsr(value: u32) {
        // SAFETY: loads the control register with a value whose reserved bits are 0.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &value, options(nostack)) };
    }
    let (n, k, m) = (600, 1024, 2);
    let mut random = Random(34);
    let (data, _) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let x = random.normals(m * k);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    for level in Level::available() {
        let context = context(*level, Precision::Exact, 2);
        let expected = bits(&product(&context, &w, &x, m));
        for rounding in 0..4 {
            for zeroing in [0, 0x8000, 0x0040, 0x8040] {
                for masks in [0x1f80, 0] {
                    let before = mxcsr();
                    let state = masks | zeroing | rounding << 13;
                    let mut y = vec![0.0; m * n];
                    set_mxcsr(state);
                    let result = context.matmul(&w, &x, 0, m, &mut y, 0);
                    let after = mxcsr();
                    set_mxcsr(before);
                    result.unwrap();
                    assert_eq!(after, state, "the state was changed");
                    assert_eq!(bits(&y), expected, "{level:?} MXCSR {state:#x}");
                }
            }
        }
    }
}
