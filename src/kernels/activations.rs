//! Activations as digits: f32 rows become block fixed point, one scale per chunk of 256 columns and 1 to 3 planes of
//! signed 8-bit digits, most significant first. Knows no weights.
//!
//! `x[i] ~ scale * (digit[0][i] * 256^(P-1) + .. + digit[P-1][i])`, digits balanced in -128..=127 (the first in
//! -127..=127). With three planes the scale is a power of two, so that an activation within a factor of two of the
//! chunk's largest keeps all bits of its f32 mantissa but one, and no rounding of a scale enters; with fewer planes the
//! scale is the largest magnitude / the largest integer, which wastes no level.
//!
//! DESIGN.md proposed digits of 7 bits; 8 bits cost nothing with unsigned codes and quarter the error of three planes.
//!
//! Per row and chunk lies a [`Header`] followed by `P` planes of 256 digits.

use super::Task;
use crate::simd::{CHUNK, LANES, Simd};

/// What the kernels need of a chunk besides its digits.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Header {
    /// Sums of the integers over groups of 16 columns.
    pub(crate) sums16: [f32; 16],
    /// Sums of the integers over groups of 32 columns.
    pub(crate) sums32: [f32; 8],
    /// What the integers are multiplied by.
    pub(crate) scale: f32,
    /// -16 times the sum of all integers, as `starts[0] * 65536 + starts[1]`; with fewer than three planes the first one is 0.
    pub(crate) starts: [i32; 2],
    /// The sums as `planes + 1` signed digits each, most significant first: for each digit those of 16 columns, 8 groups at a time
    /// ([`Header::digits_of_16`]), then for each digit those of 32 ([`Header::digits_of_32`]).
    digits: [[i8; 8]; 10],
    padding: u32,
}

impl Header {
    /// What a chunk of zeros has.
    const ZERO: Header =
        Header { sums16: [0.0; 16], sums32: [0.0; 8], scale: 0.0, starts: [0; 2], digits: [[0; 8]; 10], padding: 0 };

    /// Digit `d` of the sums over groups of 16 columns, the first 8 groups and the last.
    #[inline(always)]
    pub(crate) fn digits_of_16(&self, d: usize) -> [&[i8; 8]; 2] {
        [&self.digits[2 * d], &self.digits[2 * d + 1]]
    }

    /// Digit `d` of the sums over groups of 32 columns. There are none with three planes, as they would be too many.
    #[inline(always)]
    pub(crate) fn digits_of_32(&self, planes: usize, d: usize) -> &[i8; 8] {
        &self.digits[2 * (planes + 1) + d]
    }

    /// The sums over groups of `group` columns, 16 or 32; what follows the eight of 32 columns is of no meaning.
    #[inline(always)]
    pub(crate) fn sums(&self, group: usize) -> &[f32; LANES] {
        if group == 16 {
            return &self.sums16;
        }
        const { assert!(std::mem::offset_of!(Header, sums32) + size_of::<[f32; LANES]>() <= size_of::<Header>()) };
        // SAFETY: 16 floats from the sums on lie within this header, as asserted, whose bytes are all initialised.
        unsafe { &*std::ptr::from_ref(self).cast::<f32>().add(std::mem::offset_of!(Header, sums32) / 4).cast() }
    }
}

/// Bytes of one row and chunk with `planes` digit planes.
pub(crate) const fn chunk_bytes(planes: usize) -> usize {
    size_of::<Header>() + planes * CHUNK
}

/// The largest integer of `planes` digits whose first is at most 127.
const fn largest(planes: usize) -> f32 {
    [127.0, 127.0 * 256.0 + 127.0, 127.0 * 65536.0 + 127.0 * 256.0 + 127.0][planes - 1]
}

/// Rows of f32 to be packed.
pub(crate) struct PackActivations<const P: usize> {
    /// First row.
    pub(crate) x: *const f32,
    /// Elements from one row to the next.
    pub(crate) x_stride: usize,
    /// Rows.
    pub(crate) m: usize,
    /// Columns. The last chunk is filled up with zeros.
    pub(crate) k: usize,
    /// Where the packed rows go, aligned to 64: `m * k.div_ceil(256) * chunk_bytes(P)` bytes.
    pub(crate) out: *mut u8,
    /// One flag per row: whether all of its values are finite. Chunks that are not are packed as zeros.
    pub(crate) finite: *mut bool,
}

impl<const P: usize> Task for PackActivations<P> {
    #[inline(always)]
    fn run<S: Simd>(self, _s: S) {
        let chunks = self.k.div_ceil(CHUNK);
        for row in 0..self.m {
            let mut finite = true;
            for chunk in 0..chunks {
                let begin = chunk * CHUNK;
                let columns = (self.k - begin).min(CHUNK);
                let mut tail = [0.0; CHUNK];
                // SAFETY: the maker of the task guarantees `m` rows of `k` elements at `x`.
                let source = unsafe { std::slice::from_raw_parts(self.x.add(row * self.x_stride + begin), columns) };
                let values = source.as_array().unwrap_or_else(|| {
                    tail[..columns].copy_from_slice(source);
                    &tail
                });
                // SAFETY: the maker guarantees the space of `m * chunks` packed chunks, aligned to 64; a header's size
                // is a multiple of 64 and digits have no alignment.
                let (header, digits) = unsafe {
                    let packed = self.out.add((row * chunks + chunk) * chunk_bytes(P));
                    (&mut *packed.cast::<Header>(), &mut *packed.add(size_of::<Header>()).cast::<[[i8; CHUNK]; P]>())
                };
                finite &= pack_chunk(values, header, digits);
            }
            // SAFETY: the maker guarantees one flag per row.
            unsafe { *self.finite.add(row) = finite };
        }
    }
}

/// Packs one chunk; false if a value is not finite.
#[inline(always)]
fn pack_chunk<const P: usize>(values: &[f32; CHUNK], header: &mut Header, digits: &mut [[i8; CHUNK]; P]) -> bool {
    // The magnitudes' bits order like the magnitudes, and NaN and infinity lie above all others.
    let mut bits = 0;
    for value in values {
        bits = bits.max(value.to_bits() & 0x7fff_ffff);
    }
    if bits >= 0x7f80_0000 {
        *header = Header::ZERO;
        *digits = [[0; CHUNK]; P];
        return false;
    }
    let (scale, inverse) = scale_of::<P>(f32::from_bits(bits));

    let mut integers = [0i32; CHUNK];
    for (integer, value) in integers.iter_mut().zip(values) {
        // SAFETY: |value * inverse| is at most `largest(P)` < 2^23 (and a rounding), which an i32 holds.
        *integer = unsafe { (value * inverse).round_ties_even().to_int_unchecked() };
    }
    // Neighbours first, in four steps: summed up group by group, LLVM gathers at the AVX-512 level.
    let (mut pairs, mut fours, mut eights, mut sums) = ([0i32; 128], [0i32; 64], [0i32; 32], [0i32; LANES]);
    add_neighbours(&integers, &mut pairs);
    add_neighbours(&pairs, &mut fours);
    add_neighbours(&fours, &mut eights);
    add_neighbours(&eights, &mut sums);
    let (mut sums32, mut fours, mut twos) = ([0i32; LANES / 2], [0i32; 4], [0i32; 2]);
    add_neighbours(&sums, &mut sums32);
    add_neighbours(&sums32, &mut fours);
    add_neighbours(&fours, &mut twos);
    for g in 0..LANES {
        header.sums16[g] = sums[g] as f32;
    }
    for g in 0..LANES / 2 {
        header.sums32[g] = sums32[g] as f32;
    }
    header.scale = scale;
    // At most 256 * `largest(3)`, which an i32 just holds.
    let sum = twos[0] + twos[1];
    let high = if P < 3 { 0 } else { (sum >> 16) + (sum >> 15 & 1) };
    header.starts = [-16 * high, -16 * sum.wrapping_sub(high << 16)];
    header.digits = [[0; 8]; 10];
    header.padding = 0;
    for d in (0..=P).rev() {
        for g in 0..LANES {
            header.digits[2 * d + g / 8][g % 8] = next_digit(&mut sums[g]);
        }
    }
    if P < 3 {
        for d in (0..=P).rev() {
            for g in 0..LANES / 2 {
                header.digits[2 * (P + 1) + d][g] = next_digit(&mut sums32[g]);
            }
        }
    }
    for plane in (0..P).rev() {
        for (integer, digit) in integers.iter_mut().zip(&mut digits[plane]) {
            *digit = next_digit(integer);
        }
    }
    true
}

/// Takes the last digit off.
#[inline(always)]
fn next_digit(integer: &mut i32) -> i8 {
    let digit = *integer as i8;
    // The balanced remainder: what the digit took off is exactly its value.
    *integer = (*integer + 128) >> 8;
    digit
}

/// `sums[i] = values[2 * i] + values[2 * i + 1]`
#[inline(always)]
fn add_neighbours<const N: usize, const M: usize>(values: &[i32; N], sums: &mut [i32; M]) {
    for (sum, [a, b]) in sums.iter_mut().zip(values.as_chunks().0) {
        *sum = a + b;
    }
}

/// The scale of a chunk whose largest magnitude is `magnitude`, and what its values are multiplied by.
#[inline(always)]
fn scale_of<const P: usize>(magnitude: f32) -> (f32, f32) {
    // Below this the inverse of a scale would overflow; such a chunk is packed as if its largest were 2^-96, with an error
    // of at most 2^-118 per value even so.
    const SMALLEST: f32 = f32::from_bits((127 - 96) << 23);
    let magnitude = magnitude.max(SMALLEST);
    if P < 3 {
        let scale = magnitude / largest(P);
        // Rounded so that the product with the largest magnitude cannot pass `largest` by more than a rounding.
        return (scale, largest(P) / magnitude);
    }
    // magnitude = 1.f * 2^e: with the scale 2^(e-22) it becomes an integer in 2^22..2^23. Those above 0x7f7f7f would have a
    // first digit of 128 and take the next scale; the mantissa of 0x7f7f7f is 0x7efefe.
    let mut exponent = (magnitude.to_bits() >> 23) as i32 - 127 - 22;
    if (magnitude.to_bits() & 0x007f_ffff) >= 0x007e_fe00 {
        exponent += 1;
    }
    let power_of_two = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
    (power_of_two(exponent), power_of_two(-exponent))
}
