//! IQ4_NL: 32 weights in 18 bytes (4.5 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2   d      f16
//! bytes 2..18  codes  q, 4 bits: weights 0..16 in the low nibbles, 16..32 in the high ones
//!
//! w[i] = d * value[q[i]]
//! ```
//! Source of the layout and the values: ggml-common.h and ggml-quants.c of ggml 0.21.0 (MIT).

use super::check::finite;
use super::fit::inverse;
use super::levels::{nearest, scale_for_levels};
use super::scale::Normal;
use super::{Affine, Block, Quantizer, RowGroup, Scaling, TensorType, Unpacking, halves};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One IQ4_NL block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Iq4Nl {
    d: [u8; 2],
    codes: [u8; 16],
}

const _: () = assert!(size_of::<Iq4Nl>() == TensorType::IQ4_NL.block_bytes());

/// The value of each code (`kvalues_iq4nl`), for IQ4_XS as well.
pub(crate) const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// [`VALUES`] plus 128.
pub(super) const CODES: [u8; 16] = {
    let mut table = [0; 16];
    let mut code = 0;
    while code < 16 {
        table[code] = (VALUES[code] as i16 + 128) as u8;
        code += 1;
    }
    table
};

/// [`VALUES`] as f32.
pub(super) const LEVELS: [f32; 16] = {
    let mut levels = [0.0; 16];
    let mut code = 0;
    while code < 16 {
        levels[code] = VALUES[code] as f32;
        code += 1;
    }
    levels
};

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Iq4Nl {
    const TYPE: TensorType = TensorType::IQ4_NL;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Iq4Nl::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        write(out, f16::from_le_bytes(self.d).to_f32(), &self.codes);
    }
}

/// Writes 32 values.
#[inline(always)]
pub(super) fn write(out: &mut [f32], scale: f32, codes: &[u8; 16]) {
    let (low, high) = out.split_at_mut(16);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(codes) {
        *low = scale * f32::from(VALUES[usize::from(byte & 15)]);
        *high = scale * f32::from(VALUES[usize::from(byte >> 4)]);
    }
}

/// The scale for 32 values, of either sign. 24 widths from 94 up lower the error by 0.1 % on nearly normal weights, 5 from 98
/// to 130 raise it by 0.5 %.
pub(super) fn fit(values: &[f32; 32], weights: &[f32; 32]) -> f32 {
    let widths = (0..8).map(|step| 98.0 + 6.0 * step as f32);
    scale_for_levels(&LEVELS, values, weights, widths.flat_map(|width| [width, -width]))
}

/// The codes of 32 values.
pub(super) fn codes(values: &[f32; 32], scale: f32) -> [u8; 16] {
    let inverse = inverse(scale);
    let mut codes = [0; 16];
    for (byte, (low, high)) in codes.iter_mut().zip(values.iter().zip(&values[16..])) {
        *byte = nearest(&LEVELS, low * inverse) | nearest(&LEVELS, high * inverse) << 4;
    }
    codes
}

impl Iq4Nl {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let normal = Normal::<32>::of(values, importance);
        let (d, scale) = normal.half(fit(&normal.values, &normal.weights));
        Iq4Nl { d: d.to_le_bytes(), codes: codes(&normal.values, scale) }
    }
}

impl Affine for Iq4Nl {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = false;
    const CODE_MAX: usize = 241;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.look_up(s.nibbles(&chunk[2 * quarter].codes, &chunk[2 * quarter + 1].codes), &CODES)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        Scaling::offset(s, 128.0, halves(s, chunk, |block| block.d))
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::FloatScales);
    const ROW_OFFSET: Option<u8> = Some(128);

    #[inline(always)]
    fn group_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowGroup<S> {
        // With two bytes of codes that are not wanted: a half alone would be loaded into a register that is still in use, and
        // wait for it (EXACT Q4_0 at the AVX-512 level of a Zen 5: 41 G weights/s).
        let pair = |block: &Self| u32::from_le_bytes([block.d[0], block.d[1], block.codes[0], block.codes[1]]);
        let d = s.f16_pairs_twice(blocks.map(pair)).0;
        RowGroup::looked_up(s, blocks.map(|block| &block.codes), &CODES, d)
    }
}
