//! Decode: few activation rows. Each block of the weights is read once from the file's layout, its codes are unpacked in
//! registers and meet all digit planes. Knows no ISA and no type.
//!
//! ```text
//! for each weight row, for each tile of activation rows:
//!     for each chunk of 256 columns:
//!         codes, integer scales, d, mins  <- block
//!         for each activation row of the tile:
//!             for each digit plane p:  ints[p] = sum over the 4 code vectors of scale * (codes . digits[p])   exact, i32
//!             value = (ints[0] * 256 + ints[1]) * 256 + ints[2]                                               f32
//!             acc  += (d * value - mins * sums) * x.scale
//!     y = sum of the 16 lanes of acc
//! ```
//! The order of operations of one y depends on nothing but its weight row and its activation row, so any split of the
//! work gives the same bits.

use super::Task;
use super::activations::{Header, chunk_bytes};
use crate::blocks::Affine;
use crate::simd::{CHUNK, COLUMNS, LANES, QUARTERS, Simd};
use std::marker::PhantomData;

/// Weight rows times packed activations.
#[derive(Clone, Copy)]
pub(crate) struct Job {
    /// First weight row.
    pub(crate) w: *const u8,
    /// Bytes of a weight row.
    pub(crate) row_bytes: usize,
    /// Weight rows.
    pub(crate) n: usize,
    /// Columns.
    pub(crate) k: usize,
    /// Packed activations, see [`super::activations`]; f32 rows for the float kernels.
    pub(crate) x: *const u8,
    /// Bytes from one activation row to the next.
    pub(crate) x_stride: usize,
    /// Activation rows.
    pub(crate) m: usize,
    /// The result of the first weight row with the first activation row.
    pub(crate) y: *mut f32,
    /// Elements from one activation row's results to the next one's.
    pub(crate) y_stride: usize,
}

/// The decode algorithm for blocks `A` and `P` digit planes.
pub(crate) struct Decode<A, const P: usize>(pub(crate) Job, pub(crate) PhantomData<A>);

impl<A: Affine, const P: usize> Task for Decode<A, P> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.0;
        for row in 0..job.n {
            let mut begin = 0;
            while begin < job.m {
                // SAFETY: the maker of the task guarantees `n` weight rows, `m` packed rows and their results.
                let (w, x, y) = unsafe {
                    (
                        job.w.add(row * job.row_bytes),
                        job.x.add(begin * job.x_stride),
                        job.y.add(begin * job.y_stride + row),
                    )
                };
                // SAFETY: as above; `begin` and the tile's rows stay within `m`.
                begin += unsafe {
                    match job.m - begin {
                        1 => tile::<S, A, P, 1>(s, &job, w, x, y),
                        2 => tile::<S, A, P, 2>(s, &job, w, x, y),
                        3 => tile::<S, A, P, 3>(s, &job, w, x, y),
                        _ => tile::<S, A, P, 4>(s, &job, w, x, y),
                    }
                };
            }
        }
    }
}

/// One weight row with `M` activation rows; returns `M`.
///
/// # Safety
/// `w` points to a row of `job.k` columns, `x` to `M` packed rows, `y` to `M` results `job.y_stride` apart.
#[inline(always)]
unsafe fn tile<S: Simd, A: Affine, const P: usize, const M: usize>(
    s: S,
    job: &Job,
    w: *const u8,
    x: *const u8,
    y: *mut f32,
) -> usize {
    /// How far ahead weights are asked for: some hundred nanoseconds of reading.
    const AHEAD: usize = 2048;
    let mut acc = [s.splat(0.0); M];
    for chunk in 0..job.k / CHUNK {
        // SAFETY: the caller's promise; `Affine` is a `Block`, valid for any bytes at any address.
        let block = unsafe { &*w.cast::<A>().add(chunk) };
        let ahead = w.wrapping_add(chunk * size_of::<A>() + AHEAD);
        for line in 0..size_of::<A>().div_ceil(64) {
            s.prefetch(ahead.wrapping_add(64 * line));
        }
        let scaling = block.scaling(s);
        let codes = [block.codes(s, 0), block.codes(s, 1), block.codes(s, 2), block.codes(s, 3)];
        let scales = [
            s.scales(scaling.groups, 0),
            s.scales(scaling.groups, 1),
            s.scales(scaling.groups, 2),
            s.scales(scaling.groups, 3),
        ];
        let d = s.splat(scaling.d);
        for m in 0..M {
            // SAFETY: the caller's promise: a header and `P` planes per chunk, aligned to 64.
            let (header, digits) = unsafe {
                let packed = x.add(m * job.x_stride + chunk * chunk_bytes(P));
                (&*packed.cast::<Header>(), &*packed.add(size_of::<Header>()).cast::<[[[i8; COLUMNS]; QUARTERS]; P]>())
            };
            let mut value = s.splat(0.0);
            for p in 0..P {
                let mut ints = s.zero();
                for quarter in 0..QUARTERS {
                    ints = s.dot_scaled(ints, codes[quarter], s.load(&digits[p][quarter]), scales[quarter]);
                }
                let plane = s.to_floats(ints);
                value = if p == 0 { plane } else { s.fma(value, s.splat(256.0), plane) };
            }
            value = s.mul(value, d);
            if A::HAS_MIN {
                let sums: &[f32; LANES] = &header.sums16;
                value = s.fnma(scaling.mins, s.load_floats(sums), value);
            }
            acc[m] = s.fma(value, s.splat(header.scale), acc[m]);
        }
    }
    for m in 0..M {
        // SAFETY: the caller's promise.
        unsafe { *y.add(m * job.y_stride) = s.sum(acc[m]) };
    }
    M
}
