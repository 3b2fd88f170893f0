//! Q8_0: 32 weights in 34 bytes (8.5 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2   d  f16
//! bytes 2..34  codes q, i8 (here as bytes)
//!
//! w[i] = q[i] * d
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::check::finite;
use super::fit::{group, half, inverse};
use super::signed::Signed;
use super::{Affine, Block, Quantizer, RowGroup, Scaling, TensorType, Unpacking, halves};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q8_0 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q8_0 {
    d: [u8; 2],
    codes: [u8; 32],
}

const _: () = assert!(size_of::<Q8_0>() == TensorType::Q8_0.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q8_0 {
    const TYPE: TensorType = TensorType::Q8_0;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q8_0::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (value, code) in out.iter_mut().zip(self.codes) {
            *value = f32::from(code as i8) * d;
        }
    }
}

impl Q8_0 {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        // ggml never writes -128 or a negative d; readers may rely on it.
        let signed = Signed { lowest: -127.0, highest: 127.0 };
        let values = group::<32>(values);
        let d = half(signed.scale(values, group(importance)).abs());
        let inverse = inverse(d.to_f32());
        Q8_0 { d: d.to_le_bytes(), codes: values.map(|value| signed.code(value, inverse) as i8 as u8) }
    }
}

impl Affine for Q8_0 {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = false;
    const CODE_MAX: usize = 255;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let codes = s.join(&chunk[2 * quarter].codes, &chunk[2 * quarter + 1].codes);
        s.xor(codes, s.splat_codes(128))
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        Scaling::offset(s, 128.0, halves(s, chunk, |block| block.d))
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::FloatScales);
    const ROW_OFFSET: Option<u8> = Some(128);

    #[inline(always)]
    fn group_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowGroup<S> {
        // With two codes that are not wanted, as in `Q4_0`.
        let pair = |block: &Self| u32::from_le_bytes([block.d[0], block.d[1], block.codes[0], block.codes[1]]);
        let scale = s.f16_pairs_twice(blocks.map(pair)).0;
        let mut codes = s.rows(blocks.map(|block| &block.codes));
        for codes in &mut codes {
            *codes = s.xor(*codes, s.splat_codes(128));
        }
        RowGroup { codes, scale, half_min: s.splat(0.0) }
    }
}
