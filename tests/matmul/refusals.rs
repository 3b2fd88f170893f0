//! Every misuse of the product is refused by its own error, and nothing is written.

use super::{Random, normal_weights};
use gguffuse::Error;
use gguffuse::blocks::TensorType;
use gguffuse::matmul::{Context, ContextOptions, RawMatrix, RawMatrixMut, Weights};

#[test]
fn shapes_and_lengths() {
    let (n, k, m) = (4, 512, 3);
    let (data, _) = normal_weights(&mut Random(41), TensorType::Q4_K, n, k);
    let context = Context::new(&ContextOptions::default()).unwrap();
    let x = vec![1.0; m * k];
    type Case = (&'static str, fn(&Error) -> bool);
    let shape: Case = ("Shape", |error| matches!(error, Error::Shape(_)));
    let small: Case = ("BufferTooSmall", |error| matches!(error, Error::BufferTooSmall(_)));
    let kind: Case = ("UnsupportedType", |error| matches!(error, Error::UnsupportedType(_)));

    let refuse = |w: Weights<'_>, x: &[f32], x_stride, m, y_length: usize, y_stride, (name, is): Case| {
        let mut y = vec![7.0; y_length];
        let error = context.matmul(&w, x, x_stride, m, &mut y, y_stride).unwrap_err();
        assert!(is(&error), "{name} expected: {error:?}");
        assert!(!error.to_string().is_empty());
        assert!(y.iter().all(|y| *y == 7.0), "y was written");
    };
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    refuse(Weights { k: 0, ..w }, &x, 0, m, m * n, 0, shape);
    refuse(Weights { k: 255, ..w }, &x, 0, m, m * n, 0, shape);
    refuse(Weights { k: usize::MAX / 256 * 256, ..w }, &x, 0, m, m * n, 0, shape);
    refuse(Weights { n: usize::MAX, ..w }, &x, 0, m, m * n, 0, shape);
    refuse(Weights { n: 5, ..w }, &x, 0, m, m * 5, 0, small);
    refuse(Weights { data: &data[1..], ..w }, &x, 0, m, m * n, 0, small);
    refuse(w, &x[1..], 0, m, m * n, 0, small);
    refuse(w, &x, 0, m, m * n - 1, 0, small);
    refuse(w, &x, k - 1, m, m * n, 0, shape);
    refuse(w, &x, 0, m, m * n, n - 1, shape);
    refuse(w, &x, usize::MAX / 2, m, m * n, 0, shape);
    refuse(w, &x, 0, usize::MAX, m * n, 0, shape);
    refuse(w, &x, k + 1, m, m * n, 0, small);
    refuse(w, &x, 0, m, m * n, n + 1, small);
    for tensor_type in TensorType::ALL.iter().filter(|tensor_type| !tensor_type.can_matmul()) {
        refuse(Weights { tensor_type: *tensor_type, ..w }, &x, 0, m, m * n, 0, kind);
    }
}

#[test]
fn nothing_to_do_is_no_error() {
    let (n, k) = (4, 512);
    let (data, _) = normal_weights(&mut Random(42), TensorType::Q4_K, n, k);
    let context = Context::new(&ContextOptions::default()).unwrap();
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    context.matmul(&w, &[], 0, 0, &mut [], 0).unwrap();
    for m in [1, 3] {
        context.matmul(&Weights { n: 0, data: &[], ..w }, &vec![1.0; m * k], 0, m, &mut [], 0).unwrap();
    }
}

#[test]
fn overlaps_misalignment_and_ranges() {
    let (n, k, m) = (4, 256, 2);
    let (mut data, _) = normal_weights(&mut Random(43), TensorType::Q4_K, n, k);
    data.resize(data.len() + 4 * m * n, 0);
    let context = Context::new(&ContextOptions::default()).unwrap();
    let mut memory = vec![1.0f32; m * k + m * n];
    let base = memory.as_mut_ptr();
    let run = |x: *const f32, y: *mut f32, rows| {
        let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
        let x = RawMatrix { data: x, length: m * k, stride: 0 };
        // SAFETY: what overlaps or is misaligned is refused before it is touched; the rest lies in `memory`.
        unsafe { context.matmul_rows_raw(&w, rows, m, x, RawMatrixMut { data: y, length: m * n, stride: 0 }) }
    };
    let after = base.wrapping_add(m * k);
    assert!(run(base, after, 0..n).is_ok());
    assert!(matches!(run(base, after.wrapping_sub(1), 0..n), Err(Error::Aliasing(_))));
    assert!(matches!(run(base.wrapping_add(m * n - 1), base, 0..n), Err(Error::Aliasing(_))));
    assert!(run(base.wrapping_add(m * n), base, 0..n).is_ok());
    let in_weights = data.as_ptr().wrapping_add(data.as_ptr().align_offset(4)).cast::<f32>().cast_mut();
    assert!(matches!(run(base, in_weights, 0..n), Err(Error::Aliasing(_))));
    let odd = |p: *mut f32| p.cast::<u8>().wrapping_add(1).cast::<f32>();
    assert!(matches!(run(odd(base), after, 0..n), Err(Error::Misaligned("x"))));
    assert!(matches!(run(base, odd(after), 0..n), Err(Error::Misaligned("y"))));
    assert!(matches!(run(base, after, 0..n + 1), Err(Error::InvalidArgument(_))));
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 3..2;
    assert!(matches!(run(base, after, reversed), Err(Error::InvalidArgument(_))));
    assert!(run(base, after, 2..2).is_ok());
}

#[test]
fn names_of_levels() {
    let with = |name| Context::new(&ContextOptions { max_isa: Some(name), ..ContextOptions::default() });
    assert!(matches!(with("sse9"), Err(Error::UnsupportedIsa(_))));
    assert!(matches!(with("AVX2"), Err(Error::UnsupportedIsa(_))));
    assert!(matches!(with(""), Err(Error::UnsupportedIsa(_))));
    assert_eq!(with("scalar").unwrap().isa().name(), "scalar");
    // A cap that the machine does not reach is no error.
    assert!(with("amx").is_ok());
    let many = Context::new(&ContextOptions { threads: u32::MAX, ..ContextOptions::default() }).unwrap();
    assert_eq!(many.threads(), 256);
}
