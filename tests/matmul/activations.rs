//! Packed activations: the bits of the plain product for every type, level, precision and form; refusals; sharing.

use super::{Random, bits, context, normal_weights, product};
use gguffuse::Error;
use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Activations, Context, Precision, RawMatrixMut, Weights};

const TYPES: [TensorType; 5] =
    [TensorType::Q4_K, TensorType::Q6_K, TensorType::Q8_0, TensorType::BF16, TensorType::F32];

fn packed(context: &Context, w: &Weights<'_>, activations: &Activations) -> Vec<u32> {
    let mut y = vec![f32::NAN; activations.m() * w.n];
    context.matmul_packed(w, activations, &mut y, 0).unwrap();
    bits(&y)
}

/// The rows in pieces.
fn by_rows(context: &Context, w: &Weights<'_>, activations: &Activations, cuts: &[usize]) -> Vec<u32> {
    let mut y = vec![f32::NAN; activations.m() * w.n];
    for range in cuts.windows(2) {
        let y = RawMatrixMut { data: y.as_mut_ptr(), length: y.len(), stride: 0 };
        // SAFETY: a vector of this function.
        unsafe { context.matmul_packed_rows_raw(w, range[0]..range[1], activations, y) }.unwrap();
    }
    bits(&y)
}

#[test]
fn the_bits_of_the_plain_product() {
    let (n, k) = (67, 768);
    let mut random = Random(61);
    let weights = TYPES.map(|tensor_type| (tensor_type, normal_weights(&mut random, tensor_type, n, k).0));
    let mut compared = 0;
    for level in Level::available() {
        for precision in Precision::ALL {
            for threads in [1, 3] {
                let context = context(*level, precision, threads);
                // One value for all shapes, growing and shrinking.
                let mut activations = Activations::new();
                for m in [2, 33, 1, 5] {
                    let mut x = random.normals(m * k);
                    if m == 5 {
                        (x[k + 1], x[3 * k]) = (f32::NAN, f32::INFINITY);
                    }
                    context.pack(&mut activations, &x, 0, m, k).unwrap();
                    assert_eq!((activations.m(), activations.k()), (m, k));
                    for (tensor_type, data) in &weights {
                        let w = Weights { tensor_type: *tensor_type, n, k, data };
                        let expected = bits(&product(&context, &w, &x, m));
                        let what = format!("{tensor_type:?} {level:?} {precision:?} m {m}");
                        assert_eq!(packed(&context, &w, &activations), expected, "{what}");
                        assert_eq!(by_rows(&context, &w, &activations, &[0, 1, 40, 40, n]), expected, "{what}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(compared, Level::available().len() * 3 * 2 * 4 * TYPES.len());
}

#[test]
fn strides_and_what_is_kept() {
    let (n, k, m, stride) = (9, 256, 3, 300);
    let mut random = Random(62);
    let (data, _) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    let context = context(*Level::available().last().unwrap(), Precision::Exact, 1);
    let mut x = random.normals(2 * stride + k);
    let mut y = vec![7.0; 2 * 11 + n];
    context.matmul(&w, &x, stride, m, &mut y, 11).unwrap();
    let expected = bits(&y);
    let mut activations = Activations::new();
    context.pack(&mut activations, &x, stride, m, k).unwrap();
    // A copy is kept, and gaps are not written.
    x.fill(f32::NAN);
    y.fill(7.0);
    context.matmul_packed(&w, &activations, &mut y, 11).unwrap();
    assert_eq!(bits(&y), expected);
    // What cannot be packed leaves what was.
    assert!(matches!(context.pack(&mut activations, &x, k - 1, m, k), Err(Error::Shape(_))));
    assert!(matches!(context.pack(&mut activations, &x, 0, 4, k), Err(Error::BufferTooSmall(_))));
    assert!(matches!(context.pack(&mut activations, &x, 0, m, 0), Err(Error::Shape(_))));
    assert!(matches!(context.pack(&mut activations, &[], 0, 0, usize::MAX), Err(Error::Shape(_))));
    assert!(matches!(context.pack(&mut activations, &[], 0, usize::MAX, k), Err(Error::Shape(_))));
    context.matmul_packed(&w, &activations, &mut y, 11).unwrap();
    assert_eq!(bits(&y), expected);
    // No rows: nothing is written.
    context.pack(&mut activations, &[], 0, 0, k).unwrap();
    context.matmul_packed(&w, &activations, &mut [], 0).unwrap();
    context.matmul_packed(&w, &activations, &mut y, 11).unwrap();
    assert_eq!(bits(&y), expected);
}

#[test]
fn refusals() {
    let (n, k) = (4, 512);
    let (data, _) = normal_weights(&mut Random(63), TensorType::Q4_K, n, k);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    let level = *Level::available().last().unwrap();
    let (ours, other) = (context(level, Precision::Exact, 1), context(level, Precision::Exact, 1));
    let mut activations = Activations::new();
    let mut y = vec![7.0; n];
    let refused = |context: &Context, activations: &Activations, w: &Weights<'_>, y: &mut [f32]| {
        context.matmul_packed(w, activations, y, 0).unwrap_err()
    };
    assert!(matches!(refused(&ours, &activations, &w, &mut y), Error::InvalidArgument(_)));
    ours.pack(&mut activations, &vec![1.0; k], 0, 1, k).unwrap();
    assert!(matches!(refused(&other, &activations, &w, &mut y), Error::InvalidArgument(_)));
    assert!(matches!(refused(&ours, &activations, &Weights { k: 256, ..w }, &mut y), Error::Shape(_)));
    assert!(matches!(refused(&ours, &activations, &Weights { n: 5, ..w }, &mut y), Error::BufferTooSmall(_)));
    assert!(matches!(refused(&ours, &activations, &w, &mut y[1..]), Error::BufferTooSmall(_)));
    let integers = Weights { tensor_type: TensorType::I8, ..w };
    assert!(matches!(refused(&ours, &activations, &integers, &mut y), Error::UnsupportedType(_)));
    assert_eq!(y, [7.0; 4]);
    ours.matmul_packed(&w, &activations, &mut y, 0).unwrap();
    assert_eq!(bits(&y), bits(&product(&ours, &w, &vec![1.0; k], 1)));
}

#[test]
fn many_threads_share_one_packing() {
    let (n, k, m) = (256, 1024, 2);
    let mut random = Random(64);
    let (data, _) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    let context = context(*Level::available().last().unwrap(), Precision::Exact, 2);
    let x = random.normals(m * k);
    let expected = bits(&product(&context, &w, &x, m));
    let mut activations = Activations::new();
    context.pack(&mut activations, &x, 0, m, k).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (context, activations, expected) = (&context, &activations, &expected);
            scope.spawn(move || {
                for _ in 0..50 {
                    assert_eq!(packed(context, &w, activations), *expected);
                    assert_eq!(by_rows(context, &w, activations, &[0, 16 * thread, n]), *expected);
                }
            });
        }
    });
}
