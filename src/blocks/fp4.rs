//! What MXFP4 and NVFP4 share: 4-bit floats E2M1, a sign over 3 bits. Knows no block layout.

use super::fit::inverse;
use super::levels::{nearest, squared_error};
use super::scale::Normal;

/// Twice the value of each code of E2M1 (OCP Microscaling Formats 1.0), as ggml has it: -0 is 0.
pub(crate) const VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// [`VALUES`] plus 12.
pub(super) const CODES: [u8; 16] = {
    let mut table = [0; 16];
    let mut code = 0;
    while code < 16 {
        table[code] = (VALUES[code] as i16 + 12) as u8;
        code += 1;
    }
    table
};

/// The values that are not negative, as f32.
const LEVELS: [f32; 8] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];

/// Writes values of which the first half have their codes in the low nibbles of `codes`, the second half in the high ones.
#[inline(always)]
pub(super) fn write(out: &mut [f32], scale: f32, codes: &[u8]) {
    let (low, high) = out.split_at_mut(codes.len());
    for ((low, high), byte) in low.iter_mut().zip(high).zip(codes) {
        *low = f32::from(VALUES[usize::from(byte & 15)]) * scale;
        *high = f32::from(VALUES[usize::from(byte >> 4)]) * scale;
    }
}

/// The one of `scales` (as they are stored, and what they stand for) with the smallest error, and makes the codes for it.
pub(super) fn quantize<const N: usize>(
    normal: &Normal<N>,
    scales: impl Iterator<Item = (u8, f32)>,
    codes: &mut [u8],
) -> u8 {
    let magnitudes = normal.values.map(f32::abs);
    let mut best = (f32::INFINITY, 0, 0.0);
    for (stored, scale) in scales {
        let scale = scale / normal.unit;
        let error = squared_error(&LEVELS, &magnitudes, &normal.weights, scale);
        if error < best.0 {
            best = (error, stored, scale);
        }
    }
    let inverse = inverse(best.2);
    let code = |value: f32| nearest(&LEVELS, value.abs() * inverse) | u8::from(value < 0.0) << 3;
    let (low, high) = normal.values.split_at(N / 2);
    for ((byte, low), high) in codes.iter_mut().zip(low).zip(high) {
        *byte = code(*low) | code(*high) << 4;
    }
    best.1
}
