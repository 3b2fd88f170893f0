//! The chunks of 256 columns of a weight row as blocks, also where the row ends within one.
//!
//! The copy of a last chunk is made once, ahead of the loop. Tried and lost: an enum of pointer or copy made per chunk, which
//! cost decode 60 % at the AVX-512 level.

use crate::blocks::{Block, chunk_blocks};
use crate::simd::CHUNK;
use std::mem::MaybeUninit;

/// Bytes of the largest chunk of several blocks: 8 of Q8_0. Blocks of a whole chunk need no copy, and must not take up
/// the stack for one: 16 rows of them were 27 KiB for Q6_K, and a host's thread may have 64.
const LAST_BYTES: usize = 8 * 34;

/// A weight row. A last chunk that is not whole is a copy, filled up with zeros: weights that meet activations of 0.
pub(super) struct Chunks<B> {
    row: *const B,
    whole: usize,
    last: MaybeUninit<[u8; LAST_BYTES]>,
}

impl<B: Block> Chunks<B> {
    /// The row at `row`, which has `k` columns.
    ///
    /// # Safety
    /// `row` points to `k` columns of blocks, which outlive the value.
    #[inline(always)]
    pub(super) unsafe fn of(row: *const u8, k: usize) -> Chunks<B> {
        let row = row.cast::<B>();
        let whole = k / CHUNK;
        const {
            assert!(
                chunk_blocks::<B>() == 1
                    || (chunk_blocks::<B>() * size_of::<B>() <= LAST_BYTES && align_of::<B>() == 1)
            )
        };
        let mut last: MaybeUninit<[u8; LAST_BYTES]> = MaybeUninit::uninit();
        // Constant for types with blocks of 256.
        if chunk_blocks::<B>() > 1 && !k.is_multiple_of(CHUNK) {
            last = MaybeUninit::zeroed();
            let count = k % CHUNK / B::TYPE.block_elements();
            // SAFETY: the caller's promise; fewer blocks than a chunk has.
            unsafe {
                row.add(whole * chunk_blocks::<B>()).copy_to_nonoverlapping(last.as_mut_ptr().cast::<B>(), count)
            };
        }
        Chunks { row, whole, last }
    }

    /// The blocks of chunk `index`.
    ///
    /// # Safety
    /// `index` is below `k.div_ceil(256)`.
    #[inline(always)]
    pub(super) unsafe fn get(&self, index: usize) -> &[B] {
        // SAFETY: the caller's promise, and that of `of`; only an index past the whole chunks gives the copy, which exists
        // exactly when there is such an index, and of which all bytes are set.
        unsafe {
            let in_row = self.row.add(index * chunk_blocks::<B>());
            let first = if chunk_blocks::<B>() > 1 && index >= self.whole { self.last.as_ptr().cast() } else { in_row };
            std::slice::from_raw_parts(first, chunk_blocks::<B>())
        }
    }
}
