//! The same bits for any number of threads, any range of weight rows, any stride and any number of concurrent callers.

use super::{Random, bits, context, normal_weights, product};
use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Precision, RawMatrix, RawMatrixMut, Weights};

const TYPES: [TensorType; 4] = [TensorType::Q4_K, TensorType::F32, TensorType::F16, TensorType::BF16];

#[test]
fn any_number_of_threads() {
    let (n, k) = (517, 1024);
    for tensor_type in TYPES {
        let mut random = Random(21);
        let (data, _) = normal_weights(&mut random, tensor_type, n, k);
        let w = Weights { tensor_type, n, k, data: &data };
        for level in Level::available() {
            for precision in Precision::ALL {
                for m in [1, 3, 8, 40] {
                    if *level == Level::Scalar && m > 8 {
                        continue;
                    }
                    let x = random.normals(m * k);
                    let expected = bits(&product(&context(*level, precision, 1), &w, &x, m));
                    for threads in 2..=8 {
                        let context = context(*level, precision, threads);
                        for _ in 0..3 {
                            assert_eq!(bits(&product(&context, &w, &x, m)), expected, "{level:?} {threads} threads");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn any_range_of_rows_and_any_stride() {
    for tensor_type in TYPES {
        ranges(tensor_type, 67, 512, &[&[0, 67], &[0, 1, 2, 30, 31, 63, 67], &[0, 33, 33, 67]]);
    }
}

/// So many rows of so many bytes that decode leaves some for a second band, and ranges that are short enough for one.
#[test]
fn any_range_of_rows_in_bands() {
    for tensor_type in [TensorType::Q4_K, TensorType::Q8_0] {
        ranges(tensor_type, 256, 2048, &[&[0, 100, 101, 170, 256]]);
    }
}

/// That products by ranges of rows, cut in several ways and with strides, are those of all rows.
fn ranges(tensor_type: TensorType, n: usize, k: usize, all_cuts: &[&[usize]]) {
    let mut random = Random(22);
    let (data, _) = normal_weights(&mut random, tensor_type, n, k);
    let w = Weights { tensor_type, n, k, data: &data };
    for level in Level::available() {
        for m in [1, 5, 33] {
            let context = context(*level, Precision::Exact, 2);
            let x = random.normals(m * k);
            let expected = product(&context, &w, &x, m);

            let (x_stride, y_stride) = (k + 3, n + 2);
            let mut wide = vec![f32::NAN; (m - 1) * x_stride + k];
            for row in 0..m {
                wide[row * x_stride..][..k].copy_from_slice(&x[row * k..][..k]);
            }
            for cuts in all_cuts {
                let mut y = vec![-1.0; (m - 1) * y_stride + n];
                for range in cuts.windows(2) {
                    let x = RawMatrix { data: wide.as_ptr(), length: wide.len(), stride: x_stride };
                    let y = RawMatrixMut { data: y.as_mut_ptr(), length: y.len(), stride: y_stride };
                    // SAFETY: both matrices are vectors of this function.
                    unsafe { context.matmul_rows_raw(&w, range[0]..range[1], m, x, y) }.unwrap();
                }
                for row in 0..m {
                    let got = &y[row * y_stride..][..n];
                    assert_eq!(bits(got), bits(&expected[row * n..][..n]), "{level:?} m {m} cuts {cuts:?}");
                }
                for gap in y.chunks(y_stride).filter(|row| row.len() == y_stride) {
                    assert_eq!(gap[n..], [-1.0; 2], "written between rows");
                }
            }
        }
    }
}

/// The distance to a second row that isn't there may be any number, also one whose bytes overflow.
#[test]
fn the_stride_of_a_single_row() {
    let (n, k) = (67, 512);
    for tensor_type in TYPES {
        let mut random = Random(25);
        let (data, _) = normal_weights(&mut random, tensor_type, n, k);
        let w = Weights { tensor_type, n, k, data: &data };
        let x = random.normals(k);
        for level in Level::available() {
            let context = context(*level, Precision::High, 2);
            let expected = bits(&product(&context, &w, &x, 1));
            for stride in [usize::MAX / 4, usize::MAX / 4 + 2, isize::MAX as usize, usize::MAX] {
                let mut y = vec![0.0; n];
                context.matmul(&w, &x, stride, 1, &mut y, stride).unwrap();
                assert_eq!(bits(&y), expected, "{level:?} stride {stride}");
            }
        }
    }
}

#[test]
fn many_callers_of_one_context() {
    let (n, k, m) = (256, 1024, 2);
    let mut random = Random(23);
    let (data, _) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let x = random.normals(m * k);
    let context = context(*Level::available().last().unwrap(), Precision::Exact, 4);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    let expected = bits(&product(&context, &w, &x, m));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(bits(&product(&context, &w, &x, m)), expected);
                }
            });
        }
    });
}

#[test]
#[cfg(unix)]
fn a_forked_child_computes() {
    let (n, k) = (512, 1024);
    let mut random = Random(24);
    let (data, _) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let x = random.normals(k);
    let context = context(*Level::available().last().unwrap(), Precision::Exact, 2);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    let expected = bits(&product(&context, &w, &x, 1));
    for _ in 0..20 {
        // SAFETY: the child computes, compares and leaves without running anything of the parent's.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: a child that hangs is ended by the alarm.
            unsafe { libc::alarm(10) };
            let mut y = vec![0.0; n];
            let same = (0..3).all(|_| context.matmul(&w, &x, 0, 1, &mut y, 0).is_ok() && bits(&y) == expected);
            // SAFETY: leaves at once.
            unsafe { libc::_exit(if same { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child failed or hung");
        assert_eq!(bits(&product(&context, &w, &x, 1)), expected);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn as_many_threads_as_the_process_may_run_on() {
    use gguffuse::matmul::{Context, ContextOptions};
    let threads = |threads| Context::new(&ContextOptions { threads, ..ContextOptions::default() }).unwrap().threads();
    let bytes = size_of::<libc::cpu_set_t>();
    // SAFETY: the sets are of the size given, and zeros are a set. The affinity is this thread's, and comes back.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, bytes, &mut allowed), 0);
        let all = libc::CPU_COUNT(&allowed) as usize;
        assert!((1..=all).contains(&threads(0)), "at most the CPUs; a quota may allow fewer");
        let first = (0..8 * bytes).find(|cpu| libc::CPU_ISSET(*cpu, &allowed)).unwrap();
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        assert_eq!(libc::sched_setaffinity(0, bytes, &one), 0);
        let (capped, explicit) = (threads(0), threads(4));
        assert_eq!(libc::sched_setaffinity(0, bytes, &allowed), 0);
        // A number that is asked for is the host's decision.
        assert_eq!((capped, explicit), (1, 4));
    }
}
