//! TQ1_0: 256 weights in 54 bytes (1.6875 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..32   weights 0..160:   5 ternary digits q per byte; weight 32 * n + j is digit n of byte j
//! bytes 32..48  weights 160..240: likewise, weight 160 + 16 * n + j
//! bytes 48..52  weights 240..256: 4 digits per byte, weight 240 + 4 * n + j
//! bytes 52..54  d  f16
//!
//! w[i] = d * (q[i] - 1)
//! ```
//! A byte is the fraction 0.q0 q1 q2 q3 q4 (base 3) in 256ths, rounded up: digit n is the whole part of 3 times the
//! fraction that is left after multiplying by 3^n. A byte that no digits lead to has digits as well.
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::fit::{code, inverse};
use super::scale::{Normal, best_few_levels};
use super::{Affine, Block, Quantizer, Scaling, TensorType};
use crate::simd::{COLUMNS, Lookups, QUARTERS, Simd};
use half::f16;

/// One TQ1_0 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Tq1_0 {
    digits: [u8; 52],
    d: [u8; 2],
}

const _: () = assert!(size_of::<Tq1_0>() == TensorType::TQ1_0.block_bytes());

/// First and last byte, first and last weight of the three parts.
const PARTS: [[usize; 4]; 3] = [[0, 32, 0, 160], [32, 48, 160, 240], [48, 52, 240, 256]];

/// What brings the digit of each weight behind the point: 3^n modulo 256.
const POWERS: [[u8; COLUMNS]; QUARTERS] = {
    let mut powers = [[1; COLUMNS]; QUARTERS];
    let mut weight = 0;
    while weight < 256 {
        let n = match weight {
            0..160 => weight / 32,
            160..240 => (weight - 160) / 16,
            _ => (weight - 240) / 4,
        };
        powers[weight / COLUMNS][weight % COLUMNS] = [1, 3, 9, 27, 81][n];
        weight += 1;
    }
    powers
};

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Tq1_0 {
    const TYPE: TensorType = TensorType::TQ1_0;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Tq1_0::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for [first_byte, last_byte, first, last] in PARTS {
            let bytes = &self.digits[first_byte..last_byte];
            let mut power: u8 = 1;
            for values in out[first..last].chunks_exact_mut(bytes.len()) {
                for (value, byte) in values.iter_mut().zip(bytes) {
                    let digit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
                    *value = (f32::from(digit) - 1.0) * d;
                }
                power = power.wrapping_mul(3);
            }
        }
    }
}

impl Tq1_0 {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let normal = Normal::<256>::of(values, importance);
        let (d, scale) = normal.half(best_few_levels(&normal, 1));
        let mut block = Tq1_0 { digits: [0; 52], d: d.to_le_bytes() };
        for [first_byte, last_byte, first, last] in PARTS {
            let bytes = &mut block.digits[first_byte..last_byte];
            let mut place = 81;
            for values in normal.values[first..last].chunks_exact(bytes.len()) {
                for (byte, value) in bytes.iter_mut().zip(values) {
                    *byte += place * code(*value, inverse(scale), scale, 2.0) as u8;
                }
                place /= 3;
            }
        }
        for byte in &mut block.digits {
            *byte = (u16::from(*byte) * 256).div_ceil(243) as u8;
        }
        block
    }
}

impl Affine for Tq1_0 {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 2;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let digits = &chunk[0].digits;
        let ([first, ..], [second, ..]) = (digits.as_chunks::<32>().0, digits[32..].as_chunks::<16>().0) else {
            return s.splat_codes(0);
        };
        let bytes = match quarter {
            0 | 1 => s.join(first, first),
            2 => {
                let mut twice = [0; 32];
                twice[..16].copy_from_slice(second);
                twice[16..].copy_from_slice(second);
                s.join(first, &twice)
            }
            _ => {
                let mut bytes = [0; COLUMNS];
                for (part, bytes) in bytes.chunks_exact_mut(16).enumerate() {
                    match part {
                        3 => bytes.chunks_exact_mut(4).for_each(|four| four.copy_from_slice(&digits[48..])),
                        _ => bytes.copy_from_slice(second),
                    }
                }
                s.bytes(&bytes)
            }
        };
        // The whole part of 3 times a fraction in 256ths: 0, 1 from 86 on, 2 from 171 on.
        let fraction = s.multiply(bytes, &POWERS[quarter]);
        let zero = s.splat_codes(0);
        s.sub(s.sub(zero, s.at_least(fraction, 86)), s.at_least(fraction, 171))
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        Scaling::integer_offset(s, 1.0, s.f16(chunk[0].d), s.groups([1; 16]))
    }
}
