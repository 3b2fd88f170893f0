//! What a context does with weights besides multiplying: checking them and making them, with all of its threads.

use super::Context;
use crate::blocks::{self, TensorType};
use crate::error::{Error, Result};
use crate::kernels::float_state::FloatState;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes that are checked by one thread at a time: some ten microseconds, so that little is read in vain past a bad block.
/// What is not larger stays on the calling thread.
const CHECKED_BYTES: usize = 256 << 10;
/// The fewest elements that are worth another thread's quantising: some ten microseconds for the fastest types.
const QUANTIZED_ELEMENTS: usize = 8 << 10;
/// Both are made of parts that are worth waking a thread for, in nanoseconds.
const WORTH_WAKING: usize = usize::MAX;
/// Parts per thread: enough for a fast core to take over the parts of a slow one.
const PARTS_PER_THREAD: usize = 8;

impl Context {
    /// The index of the first block of `data` that is not valid, as [`blocks::first_bad_block`] says what that is; `None`
    /// where all are. The same for any number of threads.
    ///
    /// # Errors
    /// `Shape` where `data` is not a whole number of blocks.
    pub fn validate(&self, tensor_type: TensorType, data: &[u8]) -> Result<Option<u64>> {
        tensor_type.require_whole_blocks(data)?;
        let _float_state = FloatState::standard();
        let blocks_per_part = CHECKED_BYTES / tensor_type.block_bytes();
        let part_bytes = blocks_per_part * tensor_type.block_bytes();
        let first = AtomicUsize::new(usize::MAX);
        self.pool.run(WORTH_WAKING, data.len().div_ceil(part_bytes), &|part, _| {
            let begin = part * blocks_per_part;
            // Only a part that lies behind a bad block is left out: its bad blocks cannot be the first.
            if begin > first.load(Ordering::Relaxed) {
                return;
            }
            let bytes = &data[part * part_bytes..data.len().min((part + 1) * part_bytes)];
            if let Ok(Some(bad)) = blocks::first_bad_block(tensor_type, bytes) {
                first.fetch_min(begin + bad, Ordering::Relaxed);
            }
        })?;
        let first = first.into_inner();
        Ok((first != usize::MAX).then_some(first as u64))
    }

    /// As [`blocks::quantize`], with all threads of the context. The same bytes for any number of threads.
    ///
    /// # Errors
    /// As [`blocks::quantize`].
    pub fn quantize(
        &self,
        tensor_type: TensorType,
        source: &[f32],
        rows: usize,
        k: usize,
        importance: Option<&[f32]>,
        out: &mut [u8],
    ) -> Result<()> {
        let bytes = blocks::quantized_bytes(tensor_type, source, rows, k, importance, out.len())?;
        if source.is_empty() {
            return Ok(());
        }
        let _float_state = FloatState::standard();
        // Blocks know of each other only through the importance of their columns: without, each is a row.
        let (rows, k) = match importance {
            Some(_) => (rows, k),
            None => (source.len() / tensor_type.block_elements(), tensor_type.block_elements()),
        };
        let row_bytes = bytes / rows;
        let part_rows = rows.div_ceil(self.threads() * PARTS_PER_THREAD).max(QUANTIZED_ELEMENTS.div_ceil(k));
        let parts = Mutex::new(source.chunks(part_rows * k).zip(out[..bytes].chunks_mut(part_rows * row_bytes)));
        let failed = AtomicBool::new(false);
        self.pool.run(WORTH_WAKING, rows.div_ceil(part_rows), &|_, _| {
            let part = parts.lock().unwrap_or_else(PoisonError::into_inner).next();
            let done =
                part.map(|(source, out)| blocks::quantize(tensor_type, source, source.len() / k, k, importance, out));
            if !matches!(done, Some(Ok(()))) {
                failed.store(true, Ordering::Relaxed);
            }
        })?;
        match failed.into_inner() {
            false => Ok(()),
            true => Err(Error::Internal("what was checked for quantising is refused")),
        }
    }
}
