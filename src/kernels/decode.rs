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
//! Where each group has a float scale of its own, the dot products become floats before they are scaled, and d falls away.
//!
//! The order of operations of one y depends on nothing but its weight row and its activation row, so any split of the
//! work gives the same bits.

use super::Task;
use super::activations::{Header, chunk_bytes};
use super::chunk::Chunks;
use crate::blocks::{Affine, Scaling, chunk_blocks};
use crate::simd::{CHUNK, COLUMNS, Lookups, QUARTERS, Simd};
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
                    // The comparisons with the constant let the compiler drop tiles that no call reaches: from there on
                    // the panel is used.
                    let most = S::PANEL_FROM[P - 1] - 1;
                    match job.m - begin {
                        4.. if most >= 4 => tile::<S, A, P, 4>(s, &job, w, x, y),
                        3.. if most >= 3 => tile::<S, A, P, 3>(s, &job, w, x, y),
                        2.. if most >= 2 => tile::<S, A, P, 2>(s, &job, w, x, y),
                        _ => tile::<S, A, P, 1>(s, &job, w, x, y),
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
    /// How far ahead weights are asked for. Q4_K from memory with 1 plane at the AVX-512 level of a Zen 5, G weights/s: 40 asking
    /// 2 KiB ahead for all caches, 48 without asking, 55 asking 4 KiB ahead past the outer caches.
    const AHEAD: usize = 4096;
    /// How many chunks ahead indices are made. Loads that follow close behind a vector store wait for it: with 1, IQ2_S reaches
    /// 20.7 G weights/s at the AVX-512 level of a Zen 5, with 3 it is 22.9.
    const LOOK_AHEAD: usize = 3;
    // SAFETY: the caller's promise.
    let chunks = unsafe { Chunks::<A>::of(w, job.k) };
    let count = job.k.div_ceil(CHUNK);
    // SAFETY: the callers below ask for chunks below the count only.
    let get = |chunk: usize| unsafe { chunks.get(chunk) };
    let mut lookups = [const { Lookups::new() }; LOOK_AHEAD + 1];
    for chunk in 0..LOOK_AHEAD.min(count) {
        A::index(get(chunk), s, &mut lookups[chunk]);
    }
    // The codes of short grids are the end of a long chain of instructions, too long for the CPU to look beyond: they are made
    // while the chunk before is multiplied (IQ3_XXS: 24.4 G weights/s instead of 20.7). Others lose by it, up to 15 %.
    let early = S::REGISTER_GRIDS && A::SHORT_GRID;
    let mut next = if early && count > 0 { Some(unpack(s, get(0), &lookups[0])) } else { None };
    let mut acc = [s.splat(0.0); M];
    for chunk in 0..count {
        let ahead = get(chunk).as_ptr().cast::<u8>().wrapping_add(AHEAD);
        for line in 0..(chunk_blocks::<A>() * size_of::<A>()).div_ceil(64) {
            s.prefetch(ahead.wrapping_add(64 * line));
        }
        let later = chunk + LOOK_AHEAD;
        if later < count {
            A::index(get(later), s, &mut lookups[later % (LOOK_AHEAD + 1)]);
        }
        let unpack = |chunk: usize| unpack(s, get(chunk), &lookups[chunk % (LOOK_AHEAD + 1)]);
        let unpacked = match next {
            Some(unpacked) => unpacked,
            None => unpack(chunk),
        };
        if early && chunk + 1 < count {
            next = Some(unpack(chunk + 1));
        }
        for m in 0..M {
            // SAFETY: the caller's promise: a header and `P` planes per chunk, aligned to 64.
            let (header, digits) = unsafe {
                let packed = x.add(m * job.x_stride + chunk * chunk_bytes(P));
                (&*packed.cast::<Header>(), &*packed.add(size_of::<Header>()).cast::<Digits<P>>())
            };
            acc[m] = multiply::<S, A, P>(s, &unpacked, header, digits, acc[m]);
        }
    }
    for m in 0..M {
        // SAFETY: the caller's promise.
        unsafe { *y.add(m * job.y_stride) = s.sum(acc[m]) };
    }
    M
}

/// The digit planes of a chunk.
type Digits<const P: usize> = [[[i8; COLUMNS]; QUARTERS]; P];

/// Codes and scales of a chunk.
#[inline(always)]
fn unpack<S: Simd, A: Affine>(s: S, blocks: &[A], lookups: &Lookups) -> (Scaling<S>, [S::Codes; QUARTERS]) {
    let of = |quarter: usize| A::codes(blocks, lookups, s, quarter);
    (A::scaling(blocks, s), [of(0), of(1), of(2), of(3)])
}

/// Adds the products of a chunk's weights and activations to `acc`.
#[inline(always)]
fn multiply<S: Simd, A: Affine, const P: usize>(
    s: S,
    (scaling, codes): &(Scaling<S>, [S::Codes; QUARTERS]),
    header: &Header,
    digits: &Digits<P>,
    acc: S::Floats,
) -> S::Floats {
    let mut value = s.splat(0.0);
    for p in 0..P {
        let plane = if A::INTEGER_SCALES {
            let mut ints = s.zero();
            for quarter in 0..QUARTERS {
                let x = s.load(&digits[p][quarter]);
                let scales = s.scales(scaling.groups, quarter);
                ints = s.dot_scaled(ints, codes[quarter], x, scales, A::CODE_MAX);
            }
            s.to_floats(ints)
        } else {
            let mut sum = s.splat(0.0);
            for quarter in 0..QUARTERS {
                let x = s.load(&digits[p][quarter]);
                let dots = s.to_floats(s.dot(codes[quarter], x, A::CODE_MAX));
                sum = s.fma(dots, s.spread(scaling.scales, quarter), sum);
            }
            sum
        };
        value = if p == 0 { plane } else { s.fma(value, s.splat(256.0), plane) };
    }
    if A::INTEGER_SCALES {
        value = s.mul(value, s.splat(scaling.d));
    }
    value = s.fnma(scaling.mins, s.load_floats(&header.sums16), value);
    s.fma(value, s.splat(header.scale), acc)
}
