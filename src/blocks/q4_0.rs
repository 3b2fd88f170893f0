//! Q4_0: 32 weights in 18 bytes (4.5 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2   d  f16, of either sign
//! bytes 2..18  codes q, 4 bits: byte j holds weight j in its low nibble, weight j + 16 in its high one
//!
//! w[i] = (q[i] - 8) * d
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::bits::{pack, unpack};
use super::check::finite;
use super::fit::{group, half, inverse};
use super::signed::Signed;
use super::{Affine, Block, Quantizer, RowGroup, Scaling, TensorType, Unpacking, halves};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q4_0 block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q4_0 {
    d: [u8; 2],
    codes: [u8; 16],
}

const _: () = assert!(size_of::<Q4_0>() == TensorType::Q4_0.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q4_0 {
    const TYPE: TensorType = TensorType::Q4_0;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q4_0::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        finite(self.d)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let mut codes = [0; 32];
        unpack::<4>(&self.codes, &mut codes, 0);
        for (value, code) in out.iter_mut().zip(codes) {
            *value = (f32::from(code) - 8.0) * d;
        }
    }
}

impl Q4_0 {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let signed = Signed { lowest: -8.0, highest: 7.0 };
        let values = group::<32>(values);
        let d = half(signed.scale(values, group(importance)));
        let inverse = inverse(d.to_f32());
        let codes = values.map(|value| (signed.code(value, inverse) + 8.0) as u8);
        let mut block = Q4_0 { d: d.to_le_bytes(), codes: [0; 16] };
        pack::<4>(&codes, &mut block.codes, 0);
        block
    }
}

impl Affine for Q4_0 {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = false;
    const CODE_MAX: usize = 15;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        s.nibbles(&chunk[2 * quarter].codes, &chunk[2 * quarter + 1].codes)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        Scaling::offset(s, 8.0, halves(s, chunk, |block| block.d))
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::FloatScales);
    const ROW_OFFSET: Option<u8> = Some(8);

    #[inline(always)]
    fn group_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowGroup<S> {
        // With two bytes of codes that are not wanted: a half alone would be loaded into a register that is still in use, and
        // wait for it (EXACT Q4_0 at the AVX-512 level of a Zen 5: 41 G weights/s).
        let pair = |block: &Self| u32::from_le_bytes([block.d[0], block.d[1], block.codes[0], block.codes[1]]);
        let d = s.f16_pairs_twice(blocks.map(pair)).0;
        RowGroup::nibbles(s, blocks.map(|block| &block.codes), d, s.splat(0.0))
    }
}
