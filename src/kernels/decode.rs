//! Decode: few activation rows. Types with `EIGHT_ROWS` go through [`super::eight_rows`]; some figures below are of the time
//! before that. Each block of the weights is read once from the file's layout, its codes are unpacked in registers and meet all
//! digit planes. Knows no ISA and no type.
//!
//! ```text
//! for each weight row (or two at a time), for each tile of activation rows:
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
use super::cpu::Cpu;
use super::{eight_rows, panel};
use crate::blocks::{Affine, Scaling, chunk_blocks};
use crate::simd::{CHUNK, COLUMNS, Lookups, QUARTERS, Simd, Vectors};
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
    /// What decides how weights are read. Changes no result.
    pub(crate) cpu: Cpu,
}

/// The decode algorithm for blocks `A` and `P` digit planes.
pub(crate) struct Decode<A, const P: usize>(pub(crate) Job, pub(crate) PhantomData<A>);

impl<A: Affine, const P: usize> Task for Decode<A, P> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.0;
        if A::EIGHT_ROWS.is_some() {
            // SAFETY: the maker of the task guarantees `n` weight rows, `m` packed rows and their results.
            return unsafe { eight_rows::run::<S, A, P>(s, &job) };
        }
        let pairs = S::ROWS == 2 && !early::<S, A>();
        if A::GRID && !pairs {
            for row in 0..job.n {
                // SAFETY: the maker of the task guarantees `n` weight rows, `m` packed rows and their results.
                unsafe { activation_rows::<S, A, P, 1>(s, &job, row, row) };
            }
            return;
        }
        // Rows from two places in turns, so that two streams of memory are read ahead: FAST Q4_K, which came here then, made 49
        // G weights/s from memory at the AVX-512 level of a Zen 5 from one place and 61 from two; from four, 55. Asking for
        // weights ahead of their use lost by up to a third on top of that, at any distance from 512 B to 4 KiB.
        let half = job.n.div_ceil(2);
        for row in 0..half {
            let second = if row + half < job.n { row + half } else { row };
            if pairs && second != row {
                // SAFETY: as above.
                unsafe { activation_rows::<S, A, P, 2>(s, &job, row, second) };
            } else {
                // SAFETY: as above.
                unsafe { activation_rows::<S, A, P, 1>(s, &job, row, row) };
                if second != row {
                    // SAFETY: as above.
                    unsafe { activation_rows::<S, A, P, 1>(s, &job, second, second) };
                }
            }
        }
    }
}

/// Whether a chunk's codes are made while the chunk before is multiplied: those of short grids in registers are the end of a
/// chain of instructions so long that the CPU does not look beyond it (IQ3_XXS at the AVX-512 level of a Zen 5: 24.4 G weights/s
/// instead of 20.7, and 20.8 with two rows at a time). Others lose by it, up to 15 %.
const fn early<S: Simd, A: Affine>() -> bool {
    S::REGISTER_GRIDS && A::SHORT_GRID
}

/// The most activation rows of a tile.
const TILE_ROWS: usize = 6;

pub(super) const fn least(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

/// `R` weight rows, `first` and `second`, with all activation rows.
///
/// # Safety
/// Both are below `job.n`, and the job's pointers are as its maker guarantees.
#[inline(always)]
unsafe fn activation_rows<S: Simd, A: Affine, const P: usize, const R: usize>(
    s: S,
    job: &Job,
    first: usize,
    second: usize,
) {
    let mut begin = 0;
    while begin < job.m {
        // SAFETY: the caller's promise; `begin` and the tile's rows stay within `m`.
        begin += unsafe {
            let (x, y) = (job.x.add(begin * job.x_stride), job.y.add(begin * job.y_stride));
            // The comparisons with the constant let the compiler drop tiles that no call reaches: from there on the panel
            // is used.
            let most = const { least(panel::most_decoded::<S, A, P>(), TILE_ROWS) };
            match panel::tile_rows(job.m - begin, most) {
                6 if most >= 6 => tile::<S, A, P, 6, R>(s, job, first, second, x, y),
                5 if most >= 5 => tile::<S, A, P, 5, R>(s, job, first, second, x, y),
                4 if most >= 4 => tile::<S, A, P, 4, R>(s, job, first, second, x, y),
                3 if most >= 3 => tile::<S, A, P, 3, R>(s, job, first, second, x, y),
                2 if most >= 2 => tile::<S, A, P, 2, R>(s, job, first, second, x, y),
                _ => tile::<S, A, P, 1, R>(s, job, first, second, x, y),
            }
        };
    }
}

/// `R` weight rows with `M` activation rows; returns `M`.
///
/// # Safety
/// `x` points to `M` packed rows, `y` to `M` rows of results `job.y_stride` apart; `first` and `second` are below `job.n`.
#[inline(always)]
unsafe fn tile<S: Simd, A: Affine, const P: usize, const M: usize, const R: usize>(
    s: S,
    job: &Job,
    first: usize,
    second: usize,
    x: *const u8,
    y: *mut f32,
) -> usize {
    // SAFETY: the caller's promise.
    let rows = unsafe { [first, second].map(|row| Chunks::<A>::of(job.w.add(row * job.row_bytes), job.k)) };
    let count = job.k.div_ceil(CHUNK);
    let mut lookups = [const { [const { Lookups::new() }; LOOK_AHEAD + 1] }; R];
    for r in 0..R {
        for chunk in 0..LOOK_AHEAD.min(count) {
            // SAFETY: below the number of chunks.
            A::index(unsafe { rows[r].get(chunk) }, s, &mut lookups[r][chunk]);
        }
    }
    let long = M * job.x_stride >= LONG;
    let mut next = None;
    if early::<S, A>() && count > 0 {
        // SAFETY: below the number of chunks.
        next = Some(unpack(s, unsafe { rows[0].get(0) }, &lookups[0][0]));
    }
    // Sums of the two rows apart from each other and from all else: in an array of rows, or in a structure with the chunks, the
    // compiler kept them in memory.
    let (mut a, mut b) = ([s.splat(0.0); M], [s.splat(0.0); M]);
    for chunk in 0..count {
        // SAFETY: the caller's promise: `M` packed rows; below the number of chunks.
        unsafe {
            let x = x.add(chunk * chunk_bytes(P));
            a = step::<S, A, P, M>(
                s,
                &rows[0],
                count,
                chunk,
                &mut lookups[0],
                &mut next,
                job.cpu,
                long,
                x,
                job.x_stride,
                a,
            );
            if R == 2 {
                b = step::<S, A, P, M>(
                    s,
                    &rows[1],
                    count,
                    chunk,
                    &mut lookups[R - 1],
                    &mut None,
                    job.cpu,
                    long,
                    x,
                    job.x_stride,
                    b,
                );
            }
        }
    }
    for m in 0..M {
        // SAFETY: the caller's promise.
        unsafe {
            let y = y.add(m * job.y_stride);
            *y.add(first) = s.sum(a[m]);
            if R == 2 {
                *y.add(second) = s.sum(b[m]);
            }
        }
    }
    M
}

/// How many chunks ahead indices are made. Loads that follow close behind a vector store wait for it: with 1, IQ2_S reaches
/// 20.7 G weights/s at the AVX-512 level of a Zen 5, with 3 it is 22.9.
const LOOK_AHEAD: usize = 3;

/// Adds the products of chunk `chunk` of a weight row and those of the `M` activation rows at `x`. `next` is the unpacked chunk
/// where that is made early, and then becomes the one behind it. `long`: activations take many bytes, see [`LONG`].
///
/// # Safety
/// `chunk` is below `count`, the number of chunks, and they come in order; `x` points to `M` chunks, a header and `P` planes
/// each, aligned to 64, that are `x_stride` bytes apart.
#[inline(always)]
unsafe fn step<S: Simd, A: Affine, const P: usize, const M: usize>(
    s: S,
    row: &Chunks<A>,
    count: usize,
    chunk: usize,
    lookups: &mut [Lookups; LOOK_AHEAD + 1],
    next: &mut Option<Unpacked<S>>,
    cpu: Cpu,
    long: bool,
    x: *const u8,
    x_stride: usize,
    mut acc: [S::Floats; M],
) -> [S::Floats; M] {
    // SAFETY: asked for chunks below the number of chunks only.
    let get = |chunk: usize| unsafe { row.get(chunk) };
    if cpu.always_asks() || asks_ahead::<S, A, P>() || long {
        let block = get(chunk).as_ptr().cast::<u8>();
        for line in 0..(chunk_blocks::<A>() * size_of::<A>()).div_ceil(64) {
            match cpu.reads_neighbours() {
                false => s.prefetch(block.wrapping_add(AHEAD_OF_ROW + 64 * line)),
                true => s.prefetch_once(block.wrapping_add(AHEAD + 64 * line)),
            }
        }
    }
    let later = chunk + LOOK_AHEAD;
    if later < count {
        A::index(get(later), s, &mut lookups[later % (LOOK_AHEAD + 1)]);
    }
    let unpacked = match *next {
        Some(unpacked) => unpacked,
        None => unpack(s, get(chunk), &lookups[chunk % (LOOK_AHEAD + 1)]),
    };
    if early::<S, A>() && chunk + 1 < count {
        *next = Some(unpack(s, get(chunk + 1), &lookups[(chunk + 1) % (LOOK_AHEAD + 1)]));
    }
    for m in 0..M {
        // SAFETY: the caller's promise.
        let (header, digits) = unsafe {
            let packed = x.add(m * x_stride);
            (&*packed.cast::<Header>(), &*packed.add(size_of::<Header>()).cast::<Digits<P>>())
        };
        acc[m] = multiply::<S, A, P>(s, &unpacked, header, digits, acc[m]);
    }
    acc
}

/// Whether weights are asked for ahead of their use: where a chunk takes so many instructions that the CPU never waits for
/// memory, but has no room to wait for a cache either. These are types with grids, and three planes at levels that decode one
/// row at a time (AVX2 level of a Zen 5, G weights/s: EXACT Q4_K 27.1 instead of 26.5, Q5_1 16.5 instead of 14.8), but for
/// types that wait for their multiplications or scales (NVFP4 15.8 instead of 18.2, IQ4_NL 13.9 instead of 14.3).
const fn asks_ahead<S: Simd, A: Affine, const P: usize>() -> bool {
    A::GRID || (P == 3 && S::ROWS == 1 && (A::INTEGER_SCALES || (A::GROUP == 32 && A::CODE_MAX <= 127)))
}

/// From how many bytes of activations on weights are asked for ahead of their use whatever the type: activations that do not
/// stay in the first cache beside the weights seem to keep the CPU from looking ahead by itself. Q4_K from memory at the
/// AVX-512 level of a Zen 5, one thread, GB/s with and without: k = 8192 FAST 39 and 34, EXACT 26 and 14; k = 14336 36 and 25,
/// 25 and 12. Below this it gains nothing.
const LONG: usize = 8 << 10;

/// How far ahead.
const AHEAD: usize = 4096;

/// How far ahead of its use a row is asked for on CPUs that do not read neighbours (see [`Cpu`] for when). From memory,
/// FAST, HIGH, EXACT, at the AVX-512 level of an Emerald Rapids, one thread, GB/s: Q6_K 10.1, 8.4, 8.2 without asking, 13.4,
/// 12.9, 12.3 so; Q8_0 11.2, 9.6, 9.0 and 13.3, 13.3, 13.1; IQ2_XS 3.5, 2.8, 2.4 and 4.0, 3.5, 3.0; IQ3_S the same. 512 B gains
/// half of that, 6 KiB the same; from the third cache 4 % at most either way.
const AHEAD_OF_ROW: usize = 2048;

/// Scales and codes of a chunk.
#[inline(always)]
fn unpack<S: Simd, A: Affine>(s: S, blocks: &[A], lookups: &Lookups) -> Unpacked<S> {
    let codes = |quarter: usize| A::codes(blocks, lookups, s, quarter);
    (A::scaling(blocks, s), [codes(0), codes(1), codes(2), codes(3)])
}

/// Scales and codes of a chunk.
type Unpacked<S> = (Scaling<S>, [<S as Vectors>::Codes; QUARTERS]);

/// The digit planes of a chunk.
pub(super) type Digits<const P: usize> = [[[i8; COLUMNS]; QUARTERS]; P];

/// Adds the products of a chunk's weights and activations to `acc`.
#[inline(always)]
fn multiply<S: Simd, A: Affine, const P: usize>(
    s: S,
    unpacked: &Unpacked<S>,
    header: &Header,
    digits: &Digits<P>,
    acc: S::Floats,
) -> S::Floats {
    let scaling = &unpacked.0;
    let mut value = if !A::INTEGER_SCALES {
        groups::<S, A, P>(s, unpacked, digits)
    } else if plane_by_plane::<S, A>() {
        let mut value = s.to_floats(plane::<S, A>(s, unpacked, &digits[0]));
        for p in 1..P {
            value = s.fma(value, s.splat(256.0), s.to_floats(plane::<S, A>(s, unpacked, &digits[p])));
        }
        s.mul(value, s.splat(scaling.d))
    } else {
        let ints = planes::<S, A, P>(s, unpacked, digits);
        let mut value = s.to_floats(ints[0]);
        for p in 1..P {
            value = s.fma(value, s.splat(256.0), s.to_floats(ints[p]));
        }
        s.mul(value, s.splat(scaling.d))
    };
    value = s.fnma(scaling.mins, s.load_floats(&header.sums16), value);
    s.fma(value, s.splat(header.scale), acc)
}

/// Whether a plane is done before the next one begins. Else a quarter is: only its codes and scales are needed at a time, which
/// is faster with 16 registers (EXACT Q4_K at the AVX2 level of a Zen 5: 28.3 G weights/s instead of 26.7). With 32 it
/// depends (AVX-512 level: Q6_K 41.7 instead of 39.0, Q4_K 43.0 instead of 44.4).
const fn plane_by_plane<S: Simd, A: Affine>() -> bool {
    S::ROWS == 2 && A::GROUP == 32 && A::CODE_MAX <= 127 && !A::GRID
}

/// The products of a chunk's weights and one digit plane, with integer scales.
#[inline(always)]
fn plane<S: Simd, A: Affine>(s: S, (scaling, codes): &Unpacked<S>, digits: &[[i8; COLUMNS]; QUARTERS]) -> S::Ints {
    let mut ints = s.zero();
    for quarter in 0..QUARTERS {
        let scales = s.scales(scaling.groups, quarter);
        ints = s.dot_scaled(ints, codes[quarter], s.load(&digits[quarter]), scales, A::CODE_MAX);
    }
    ints
}

/// The same for all planes.
#[inline(always)]
fn planes<S: Simd, A: Affine, const P: usize>(
    s: S,
    (scaling, codes): &Unpacked<S>,
    digits: &Digits<P>,
) -> [S::Ints; P] {
    let mut ints = [s.zero(); P];
    for quarter in 0..QUARTERS {
        let scales = s.scales(scaling.groups, quarter);
        for p in 0..P {
            ints[p] = s.dot_scaled(ints[p], codes[quarter], s.load(&digits[p][quarter]), scales, A::CODE_MAX);
        }
    }
    ints
}

/// The products of a chunk's weights and all planes, with a float scale per group.
#[inline(always)]
fn groups<S: Simd, A: Affine, const P: usize>(s: S, (scaling, codes): &Unpacked<S>, digits: &Digits<P>) -> S::Floats {
    let mut sum = s.splat(0.0);
    for quarter in 0..QUARTERS {
        let codes = codes[quarter];
        let x = |plane: usize| s.load(&digits[plane][quarter]);
        let value = match P {
            1 => s.to_floats(s.dot(codes, x(0), A::CODE_MAX)),
            2 => s.to_floats(s.dot_two(codes, x(0), x(1), A::CODE_MAX)),
            _ => {
                let low = s.to_floats(s.dot_two(codes, x(1), x(2), A::CODE_MAX));
                s.fma(s.to_floats(s.dot(codes, x(0), A::CODE_MAX)), s.splat(65536.0), low)
            }
        };
        sum = s.fma(value, s.spread(scaling.scales, quarter), sum);
    }
    sum
}
