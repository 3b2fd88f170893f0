//! A plain f32 product (crate gemm, BLAS class) on weights dequantised beforehand: what the fused product replaces.

use gemm::Parallelism;

/// `y = x * W^T`; `w` has `n` rows of `k`.
pub fn multiply(w: &[f32], x: &[f32], y: &mut [f32], n: usize, k: usize, threads: usize) {
    let m = x.len() / k;
    assert!(w.len() == n * k && y.len() == m * n);
    let parallelism = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    let (n_stride, k_stride) = (n as isize, k as isize);
    // SAFETY: the strides stay inside of the three slices, whose sizes were checked.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            n_stride,
            false,
            x.as_ptr(),
            1,
            k_stride,
            w.as_ptr(),
            k_stride,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
