//! Scratch memory that is used again from call to call, so that a steady stream of calls does not touch the heap.

use crate::error::{Error, Result};
use std::alloc::{Layout, alloc, dealloc};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicPtr;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Uninitialised memory, aligned to 64 bytes: what AVX-512 loads and AMX tiles want. Its size lies in front of it, so that
/// one pointer is all of it.
pub(crate) struct Buffer(NonNull<Head>);

#[repr(C, align(64))]
struct Head {
    bytes: usize,
}

// SAFETY: a buffer owns its memory alone, and of the memory it gives out but the address.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// At least `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Result<Buffer> {
        const FAILED: Error = Error::OutOfMemory("scratch memory");
        let total = bytes.checked_add(size_of::<Head>()).and_then(|total| total.checked_next_multiple_of(4096));
        let layout = Layout::from_size_align(total.ok_or(FAILED)?, align_of::<Head>()).map_err(|_| FAILED)?;
        // SAFETY: the layout's size is not 0; the memory has room for a head.
        unsafe {
            let head = NonNull::new(alloc(layout).cast::<Head>()).ok_or(FAILED)?;
            head.write(Head { bytes: layout.size() - size_of::<Head>() });
            Ok(Buffer(head))
        }
    }

    /// The memory.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr().wrapping_add(1).cast()
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> usize {
        // SAFETY: written in `new`.
        unsafe { self.0.as_ref().bytes }
    }

    fn into_raw(self) -> *mut Head {
        std::mem::ManuallyDrop::new(self).0.as_ptr()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let total = self.bytes() + size_of::<Head>();
        // SAFETY: allocated in `new` with this layout, which was valid there.
        unsafe { dealloc(self.0.as_ptr().cast(), Layout::from_size_align_unchecked(total, align_of::<Head>())) }
    }
}

/// Buffers waiting to be used again, at most one per concurrent call and each as large as the largest call that had it.
/// Nothing here locks: a thread that a fork left behind in the parent keeps nobody waiting.
pub(crate) struct Shelf([AtomicPtr<Head>; Shelf::PLACES]);

impl Shelf {
    /// The most buffers kept: more calls at once than this use the heap.
    const PLACES: usize = 64;

    pub(crate) const fn new() -> Shelf {
        Shelf([const { AtomicPtr::new(null_mut()) }; Shelf::PLACES])
    }

    /// A buffer of at least `bytes` bytes: a used one, if one is large enough. If all are too small, the last of them gives
    /// way to the new one, so that growing shapes do not pile up buffers.
    pub(crate) fn take(&self, bytes: usize) -> Result<Buffer> {
        let mut small: Option<Buffer> = None;
        for place in &self.0 {
            // A look first: taking from an empty place would cost a write to a shared line.
            if place.load(Relaxed).is_null() {
                continue;
            }
            // Acquire: what the last owner wrote, the head among it, is there.
            let Some(head) = NonNull::new(place.swap(null_mut(), Acquire)) else { continue };
            let buffer = Buffer(head);
            if buffer.bytes() >= bytes {
                small.into_iter().for_each(|small| self.put(small));
                return Ok(buffer);
            }
            if let Some(other) = small.replace(buffer) {
                self.put(other);
            }
        }
        drop(small);
        Buffer::new(bytes)
    }

    /// Keeps `buffer` for later, if there is a place.
    pub(crate) fn put(&self, buffer: Buffer) {
        let head = buffer.into_raw();
        for place in &self.0 {
            let empty = place.load(Relaxed).is_null();
            // Release: pairs with `take`.
            if empty && place.compare_exchange(null_mut(), head, Release, Relaxed).is_ok() {
                return;
            }
        }
        // SAFETY: what `into_raw` took apart, put together again; nobody else has it.
        drop(unsafe { Buffer(NonNull::new_unchecked(head)) });
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        for place in &mut self.0 {
            drop(NonNull::new(*place.get_mut()).map(Buffer));
        }
    }
}
