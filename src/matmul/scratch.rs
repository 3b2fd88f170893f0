//! Scratch memory that is used again from call to call, so that a steady stream of calls does not touch the heap.

use crate::error::{Error, Result};
use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;
use std::sync::Mutex;

/// What AVX-512 loads and AMX tiles want.
const ALIGNMENT: usize = 64;

/// Uninitialised memory, aligned to 64 bytes.
pub(crate) struct Buffer {
    data: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a buffer owns its memory alone.
unsafe impl Send for Buffer {}

impl Buffer {
    /// At least `bytes` bytes.
    fn new(bytes: usize) -> Result<Buffer> {
        const FAILED: Error = Error::OutOfMemory("scratch memory");
        let bytes = bytes.max(1).checked_next_multiple_of(4096).ok_or(FAILED)?;
        let layout = Layout::from_size_align(bytes, ALIGNMENT).map_err(|_| FAILED)?;
        // SAFETY: the layout's size is not 0.
        let data = NonNull::new(unsafe { alloc(layout) }).ok_or(FAILED)?;
        Ok(Buffer { data, bytes })
    }

    /// The memory.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.data.as_ptr()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, which was valid there.
        unsafe { dealloc(self.data.as_ptr(), Layout::from_size_align_unchecked(self.bytes, ALIGNMENT)) }
    }
}

/// Buffers waiting to be used again.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Vec<Buffer>>);

impl Shelf {
    /// The most buffers kept: one per thread of the largest pool would be more than any steady use needs.
    const KEPT: usize = 64;

    /// A buffer of at least `bytes` bytes, a used one if there is one. Never waits: a lock that is held (perhaps for ever,
    /// by a thread that did not survive a fork) means a new buffer.
    pub(crate) fn take(&self, bytes: usize) -> Result<Buffer> {
        let used = self.0.try_lock().ok().and_then(|mut buffers| {
            let fitting = buffers.iter().position(|buffer| buffer.bytes >= bytes);
            fitting.map(|index| buffers.swap_remove(index))
        });
        used.map_or_else(|| Buffer::new(bytes), Ok)
    }

    /// Keeps `buffer` for later. When the shelf is full, the smallest goes.
    pub(crate) fn put(&self, buffer: Buffer) {
        let Ok(mut buffers) = self.0.try_lock() else { return };
        if buffers.len() < Self::KEPT {
            if buffers.try_reserve(1).is_ok() {
                buffers.push(buffer);
            }
        } else if let Some(smallest) = buffers.iter_mut().min_by_key(|kept| kept.bytes)
            && smallest.bytes < buffer.bytes
        {
            *smallest = buffer;
        }
    }
}
