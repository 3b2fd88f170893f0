//! Rows that a host's threads pack: the bits of the plain product for any rows of them, from anywhere; refusals.

use super::{Random, bits, context, normal_weights, product};
use gguffuse::Error;
use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, Precision, RawMatrixMut, RowActivations, Weights};

/// Packed by two threads, every other row each.
fn pack(context: &Context, activations: &RowActivations, rows: &[&[f32]]) {
    std::thread::scope(|scope| {
        for first in 0..2 {
            scope.spawn(move || {
                for (row, x) in rows.iter().enumerate().skip(first).step_by(2) {
                    // SAFETY: a slice that outlives the products; no other thread has the row.
                    unsafe { context.pack_row_raw(activations, row, x.as_ptr()) }.unwrap();
                }
            });
        }
    });
}

#[test]
fn the_bits_of_the_plain_product() {
    let (n, k, m) = (67, 768, 40);
    let mut random = Random(71);
    let mut compared = 0;
    for tensor_type in [TensorType::Q4_K, TensorType::Q6_K, TensorType::Q8_0] {
        let (data, _) = normal_weights(&mut random, tensor_type, n, k);
        let w = Weights { tensor_type, n, k, data: &data };
        let mut x = random.normals(m * k);
        for spoil in [false, true] {
            if spoil {
                (x[3 * k + 1], x[20 * k]) = (f32::NAN, f32::INFINITY);
            }
            // From the last to the first, so that they do not lie in line.
            let rows: Vec<&[f32]> = x.chunks(k).rev().collect();
            let in_line = rows.concat();
            for level in Level::available() {
                for precision in Precision::ALL {
                    let context = context(*level, precision, 1);
                    let mut activations = RowActivations::new();
                    context.prepare_rows(&mut activations, m, k).unwrap();
                    pack(&context, &activations, &rows);
                    for x_rows in [0..m, 0..1, 7..8, 17..17, 36..39, 18..m] {
                        let expected = product(&context, &w, &in_line[x_rows.start * k..x_rows.end * k], x_rows.len());
                        let mut y = vec![f32::NAN; x_rows.len() * n];
                        for part in [0..30, 30..31, 31..n] {
                            let y = RawMatrixMut { data: y.as_mut_ptr(), length: y.len(), stride: 0 };
                            let rows = x_rows.clone();
                            // SAFETY: a vector of this function; every row was packed.
                            unsafe { context.matmul_row_activations_raw(&w, part, &activations, rows, y) }.unwrap();
                        }
                        assert_eq!(bits(&y), bits(&expected), "{tensor_type:?} {level:?} {precision:?} {x_rows:?}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(compared, 3 * 2 * Level::available().len() * 3 * 6);
}

#[test]
fn refusals() {
    let (n, k) = (5, 256);
    let mut random = Random(72);
    let (data, _) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    let [one, other] = [0, 0].map(|_| context(Level::Scalar, Precision::Fast, 1));
    let x = random.normals(2 * k);
    let mut y = vec![7.0; 2 * n];
    let mut activations = RowActivations::new();
    let multiply = |context: &Context, w: &Weights<'_>, activations: &RowActivations, rows, y: &mut [f32]| {
        let y = RawMatrixMut { data: y.as_mut_ptr(), length: y.len(), stride: 0 };
        // SAFETY: a slice, and rows that were packed where the call gets so far.
        unsafe { context.matmul_row_activations_raw(w, 0..w.n, activations, rows, y) }
    };
    // SAFETY: x lives to the end.
    let pack = |activations: &RowActivations, row, x: *const f32| unsafe { one.pack_row_raw(activations, row, x) };
    assert!(matches!(pack(&activations, 0, x.as_ptr()), Err(Error::InvalidArgument(_))));
    assert!(matches!(one.prepare_rows(&mut activations, 2, 0), Err(Error::Shape(_))));
    assert!(matches!(one.prepare_rows(&mut activations, 2, usize::MAX), Err(Error::Shape(_))));
    assert!(matches!(one.prepare_rows(&mut activations, usize::MAX, k), Err(Error::OutOfMemory(_))));
    one.prepare_rows(&mut activations, 2, k).unwrap();
    assert_eq!(activations.m(), 2);
    assert!(matches!(pack(&activations, 2, x.as_ptr()), Err(Error::InvalidArgument(_))));
    assert!(matches!(pack(&activations, usize::MAX, x.as_ptr()), Err(Error::InvalidArgument(_))));
    assert!(matches!(pack(&activations, 0, x.as_ptr().wrapping_byte_add(1)), Err(Error::Misaligned(_))));
    pack(&activations, 0, x.as_ptr()).unwrap();
    pack(&activations, 1, x[k..].as_ptr()).unwrap();
    assert!(matches!(multiply(&other, &w, &activations, 0..2, &mut y), Err(Error::InvalidArgument(_))));
    assert!(matches!(multiply(&one, &w, &activations, 0..3, &mut y), Err(Error::InvalidArgument(_))));
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 2..1;
    assert!(matches!(multiply(&one, &w, &activations, reversed, &mut y), Err(Error::InvalidArgument(_))));
    assert!(matches!(multiply(&one, &w, &activations, 0..2, &mut [0.0; 9]), Err(Error::BufferTooSmall(_))));
    let longer = Weights { k: 2 * k, n: 2, ..w };
    assert!(matches!(multiply(&one, &longer, &activations, 0..2, &mut y), Err(Error::Shape(_))));
    let floats = vec![0; n * k * 4];
    let floats = Weights { tensor_type: TensorType::F32, n, k, data: &floats };
    assert!(matches!(multiply(&one, &floats, &activations, 0..2, &mut y), Err(Error::UnsupportedType(_))));
    assert_eq!(y, [7.0; 10]);
    multiply(&one, &w, &activations, 0..2, &mut y).unwrap();
    assert_eq!(bits(&y), bits(&product(&one, &w, &x, 2)));
}
