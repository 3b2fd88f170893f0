//! A chunk of 256 columns of a weight row as a slice of blocks, also where the row ends within it.

use crate::blocks::{Block, chunk_blocks};
use crate::simd::CHUNK;
use std::mem::MaybeUninit;

/// The most blocks of a chunk: 8 of 32 columns.
const MOST_BLOCKS: usize = 8;

/// Blocks where they lie, or a copy that is filled up with zeros, which are weights that meet activations of 0.
pub(super) enum Chunk<B> {
    Whole(*const B),
    Last([B; MOST_BLOCKS]),
}

impl<B: Block> Chunk<B> {
    /// Chunk `index` of the row at `row`, which has `k` columns.
    ///
    /// # Safety
    /// `row` points to `k` columns of blocks that outlive the chunk; `index` is below `k.div_ceil(256)`.
    #[inline(always)]
    pub(super) unsafe fn of(row: *const u8, k: usize, index: usize) -> Chunk<B> {
        // SAFETY: the caller's promise; a block is valid for any bytes at any address.
        unsafe {
            let first = row.cast::<B>().add(index * chunk_blocks::<B>());
            let columns = k - index * CHUNK;
            if columns >= CHUNK {
                return Chunk::Whole(first);
            }
            let mut blocks = MaybeUninit::<[B; MOST_BLOCKS]>::zeroed().assume_init();
            first.copy_to_nonoverlapping(blocks.as_mut_ptr(), columns / B::TYPE.block_elements());
            Chunk::Last(blocks)
        }
    }

    /// The chunk's blocks.
    #[inline(always)]
    pub(super) fn blocks(&self) -> &[B] {
        match self {
            // SAFETY: `of` was promised a row of whole chunks up to here.
            Chunk::Whole(first) => unsafe { std::slice::from_raw_parts(*first, chunk_blocks::<B>()) },
            Chunk::Last(blocks) => &blocks[..chunk_blocks::<B>()],
        }
    }
}
