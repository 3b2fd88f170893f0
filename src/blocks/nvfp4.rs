//! NVFP4: 64 weights in 36 bytes (4.5 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..4   scales  UE4M3 per 16 weights (a float of 4 bits of exponent and 3 of mantissa; bit 7 is ignored, 127 is 0)
//! bytes 4..36  codes   E2M1, 4 bits: 8 bytes hold 16 consecutive weights, the first 8 in the low nibbles
//!
//! w[i] = scale[i/16] / 2 * value[q[i]],  value = twice E2M1
//! ```
//! The tensor's own scale, which NVFP4 files have besides, is another tensor.
//! Source of the layout: ggml-common.h, ggml-quants.c and ggml-impl.h of ggml 0.21.0 (MIT).

use super::grids::wide_bytes;
use super::scale::{Normal, largest};
use super::{Affine, Block, Quantizer, Scaling, TensorType, fp4};
use crate::simd::{Lookups, Simd};

/// One NVFP4 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Nvfp4 {
    scales: [u8; 4],
    codes: [u8; 32],
}

const _: () = assert!(size_of::<Nvfp4>() == TensorType::NVFP4.block_bytes());

/// Half of UE4M3, as the values are twice E2M1.
pub(crate) static UE4M3_HALF: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut stored = 0;
    while stored < 256 {
        let (exponent, mantissa) = (stored as u32 >> 3 & 15, stored as u32 & 7);
        table[stored] = match exponent {
            0 => mantissa as f32 / 1024.0,
            _ if stored == 127 => 0.0,
            _ => f32::from_bits((exponent + 119) << 23 | mantissa << 20),
        };
        stored += 1;
    }
    table
};

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Nvfp4 {
    const TYPE: TensorType = TensorType::NVFP4;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Nvfp4::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        // Each byte at most 126: 127 is NaN, and an unsigned float has no bit 7.
        let scales = u32::from_le_bytes(self.scales);
        (scales | scales.wrapping_add(0x0101_0101)) & 0x8080_8080 == 0
    }

    fn dequantize(&self, out: &mut [f32]) {
        for ((scale, codes), values) in
            self.scales.iter().zip(self.codes.as_chunks::<8>().0).zip(out.chunks_exact_mut(16))
        {
            fp4::write(values, UE4M3_HALF[usize::from(*scale)], codes);
        }
    }
}

impl Nvfp4 {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        /// Scales tried: those from half the one at which the largest magnitude is the largest code to 1.7 times it.
        const TRIED: usize = 14;
        let mut block = Nvfp4 { scales: [0; 4], codes: [0; 32] };
        let groups = values.chunks_exact(16).zip(importance.chunks_exact(16));
        for ((scale, codes), (values, importance)) in
            block.scales.iter_mut().zip(block.codes.as_chunks_mut::<8>().0).zip(groups)
        {
            let lowest = largest(values) / 24.0;
            let first = UE4M3_HALF[..127].partition_point(|scale| *scale < lowest).min(126);
            let tried = UE4M3_HALF[..127].iter().enumerate().skip(first).take(TRIED);
            let tried = tried.map(|(stored, scale)| (stored as u8, *scale));
            *scale = fp4::quantize(&Normal::<16>::of(values, importance), tried, codes);
        }
        block
    }
}

impl Affine for Nvfp4 {
    const GROUP: usize = 16;
    const INTEGER_SCALES: bool = false;
    const CODE_MAX: usize = 24;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.look_up(s.nibbles_of_eights(&chunk[quarter].codes), &fp4::CODES)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        // The four bits of exponent and three of mantissa are a half's, with another bias.
        // Four each in a word.
        let halves = |block: &Self| {
            let stored = wide_bytes(u32::from_le_bytes(block.scales));
            let bits = (stored & 0x007f_007f_007f_007f) << 7;
            // 127 (but not 255) stands for 0: adding 1 to it, and to no other, sets bit 7 anew.
            let is_127 = ((stored + 0x0001_0001_0001_0001) & !stored) >> 7 & 0x0001_0001_0001_0001;
            bits - is_127 * (127 << 7)
        };
        let halves = [halves(&chunk[0]), halves(&chunk[1]), halves(&chunk[2]), halves(&chunk[3])];
        Scaling::offset(s, 12.0, s.mul(s.splat(128.0), s.f16_words(halves)))
    }
}
