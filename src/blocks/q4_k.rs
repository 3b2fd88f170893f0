//! Q4_K: 256 weights in 144 bytes (4.5 bits each). Knows no ISA.
//!
//! ```text
//! bytes 0..2    d     f16, scale of the eight 6-bit scales
//! bytes 2..4    dmin  f16, scale of the eight 6-bit mins
//! bytes 4..16   eight scales s[g] and mins m[g], 6 bits each:
//!                 g < 4:   s[g] = byte[g] & 63                               m[g] = byte[g+4] & 63
//!                 g >= 4:  s[g] = byte[g+4] & 15 | byte[g-4] >> 6 << 4       m[g] = byte[g+4] >> 4 | byte[g] >> 6 << 4
//! bytes 16..144 codes q, 4 bits: 32 bytes hold 64 consecutive weights, the first 32 in the low nibbles
//!
//! w[i] = d * s[i/32] * q[i] - dmin * m[i/32]
//! ```
//! Source of the layout: ggml-common.h and ggml-quants.c of ggml 0.25.3 (MIT).

use super::bits::pack;
use super::check::both_finite;
use super::six_bits::SixBits;
use super::super_block::ScalesAndMins;
use super::{Affine, Block, Quantizer, RowScaling, Scaling, TensorType, Unpacking, head};
use crate::simd::{Lookups, Simd};
use half::f16;

/// One Q4_K block.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q4K {
    d: [u8; 2],
    dmin: [u8; 2],
    scales: SixBits,
    codes: [[u8; 32]; 4],
}

const _: () = assert!(size_of::<Q4K>() == TensorType::Q4_K.block_bytes());

// SAFETY: byte arrays only: alignment 1, no padding, any bits are valid.
unsafe impl Block for Q4K {
    const TYPE: TensorType = TensorType::Q4_K;
    const QUANTIZE: Option<Quantizer<Self>> = Some(Q4K::quantize);

    #[inline(always)]
    fn is_valid(&self) -> bool {
        both_finite(self.d, self.dmin)
    }

    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        let dmin = f16::from_le_bytes(self.dmin).to_f32();
        let (scales, mins) = self.scales.scales_and_mins();
        let (scales, mins) = (scales.to_le_bytes(), mins.to_le_bytes());
        for (pair, (codes, values)) in self.codes.iter().zip(out.chunks_exact_mut(64)).enumerate() {
            let (low, high) = values.split_at_mut(32);
            for (half, values) in [low, high].into_iter().enumerate() {
                let scale = d * f32::from(scales[2 * pair + half]);
                let min = dmin * f32::from(mins[2 * pair + half]);
                for (value, code) in values.iter_mut().zip(codes) {
                    *value = scale * f32::from((code >> (4 * half)) & 15) - min;
                }
            }
        }
    }
}

impl Q4K {
    fn quantize(values: &[f32], importance: &[f32]) -> Self {
        let ScalesAndMins { d, dmin, scales, mins, codes } =
            ScalesAndMins::<8>::of::<32>(values, importance, 15.0, 63.0);
        let (d, dmin) = (d.to_le_bytes(), dmin.to_le_bytes());
        let mut block = Q4K { d, dmin, scales: SixBits::of(&scales, &mins), codes: [[0; 32]; 4] };
        for (codes, packed) in codes.as_chunks::<64>().0.iter().zip(&mut block.codes) {
            pack::<4>(codes, packed, 0);
        }
        block
    }
}

impl Affine for Q4K {
    const GROUP: usize = 32;
    const INTEGER_SCALES: bool = true;
    const CODE_MAX: usize = 15;

    #[inline(always)]
    fn codes<S: Simd>(chunk: &[Self], _: &Lookups, s: S, quarter: usize) -> S::Codes {
        let bytes = &chunk[0].codes[quarter];
        s.shift_right(s.join(bytes, bytes), 0, 4, 15)
    }

    #[inline(always)]
    fn scaling<S: Simd>(chunk: &[Self], s: S) -> Scaling<S> {
        let (scales, mins) = chunk[0].scales.scales_and_mins();
        let dmin = s.splat(s.f16(chunk[0].dmin));
        let mins = s.mul(dmin, s.group_floats(s.groups_twice(mins)));
        Scaling::integer(s, s.f16(chunk[0].d), s.groups_twice(scales), mins)
    }

    const EIGHT_ROWS: Option<Unpacking> = Some(Unpacking::Fields);

    #[inline(always)]
    fn codes_of_rows<S: Simd>(blocks: [&Self; 8], s: S, quarter: usize) -> [[S::Codes; 4]; 2] {
        let bytes = s.rows(blocks.map(|block| &block.codes[quarter]));
        let [a, b, c, d] = bytes;
        let low = |bytes| s.and(bytes, s.splat_codes(15));
        [[low(a), low(b), low(c), low(d)], bytes]
    }

    const HIGH_NIBBLES: bool = true;

    #[inline(always)]
    fn scaling_of_rows<S: Simd>(blocks: [&Self; 8], s: S) -> RowScaling<S> {
        let heads = s.short_rows(blocks.map(head));
        let (scales, mins) = SixBits::of_rows(s, heads);
        let (d, dmin) = s.row_halves(heads[0]);
        RowScaling { d, scales: [scales; 2], dmin, mins: [mins; 2] }
    }
}
