//! Whether blocks are numbers: scales and values that are NaN, infinite or outside of what their type allows. What that
//! is, each type's `is_valid` says. Knows no layout.

use super::{Affine, Block, FloatWeight, TensorType, Visitor, as_blocks, with_block};
use crate::error::Result;

/// Bytes whose blocks are checked at one go, without a branch. A multiple is what vectorises; more would only mean more
/// to look through again for the bad one.
const RUN_BYTES: usize = 8 << 10;

/// The index of the first block of `data` that is not valid; `None` where all are. One thread, at about the speed of
/// memory; [`crate::matmul::Context::validate`] uses many.
///
/// A block is bad where a scale (or for types without one, a value) is NaN or infinite, is one that the type does not allow
/// (NVFP4: 127 and above; MXFP4: above 252), or makes weights that overflow f32. All weights of other blocks are finite.
/// Integers are never bad.
///
/// # Errors
/// `Shape` where `data` is not a whole number of blocks.
pub fn first_bad_block(tensor_type: TensorType, data: &[u8]) -> Result<Option<usize>> {
    struct FirstBad<'a>(&'a [u8]);
    impl Visitor for FirstBad<'_> {
        type Output = Option<usize>;
        fn block<B: Block>(self) -> Option<usize> {
            let run = RUN_BYTES / size_of::<B>();
            for (index, blocks) in as_blocks::<B>(self.0).chunks(run).enumerate() {
                if blocks.iter().fold(true, |valid, block| valid & block.is_valid()) {
                    continue;
                }
                if let Some(bad) = blocks.iter().position(|block| !block.is_valid()) {
                    return Some(index * run + bad);
                }
            }
            None
        }
        fn float<B: FloatWeight>(self) -> Option<usize> {
            self.block::<B>()
        }
        fn affine<A: Affine>(self) -> Option<usize> {
            self.block::<A>()
        }
    }
    tensor_type.require_whole_blocks(data)?;
    Ok(with_block(tensor_type, FirstBad(data)))
}

/// Whether an IEEE half, as stored, is neither NaN nor infinite.
#[inline(always)]
pub(super) fn finite(half: [u8; 2]) -> bool {
    u16::from_le_bytes(half) & 0x7c00 != 0x7c00
}

/// [`finite`] of two halves that lie one behind the other, with one addition: it carries into bit 15 of each half whose
/// exponent is all ones, and no further.
#[inline(always)]
pub(super) fn both_finite([a, b]: [u8; 2], [c, d]: [u8; 2]) -> bool {
    let halves = u32::from_le_bytes([a, b, c, d]);
    ((halves & 0x7c00_7c00) + 0x0400_0400) & 0x8000_8000 == 0
}
