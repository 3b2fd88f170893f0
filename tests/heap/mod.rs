//! The global allocator of the tests that count: what each thread has allocated, at its worst moment as well, a growing
//! allocation as the old and the new one together; and allocations that are refused.
#![allow(dead_code)] // each test binary uses its part

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

// Of each thread, so that tests do not disturb each other. Constants without destructor: these never allocate.
thread_local! {
    /// Bytes that are allocated now.
    pub static HEAP: Cell<usize> = const { Cell::new(0) };
    /// The most there were since it was last set.
    pub static PEAK: Cell<usize> = const { Cell::new(0) };
    /// How many more allocations succeed before one fails; `usize::MAX`: all.
    pub static GRANTED: Cell<usize> = const { Cell::new(usize::MAX) };
    /// Whether all fail from then on.
    pub static FOREVER: Cell<bool> = const { Cell::new(false) };
    /// Whether one did.
    pub static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// Counts `bytes` more; false where the allocation is to be refused.
fn grow(bytes: usize) -> bool {
    match GRANTED.get() {
        usize::MAX => {}
        0 => {
            FAILED.set(true);
            // A single failure, or all from here on.
            if !FOREVER.get() {
                GRANTED.set(usize::MAX);
            }
            return false;
        }
        granted => GRANTED.set(granted - 1),
    }
    HEAP.set(HEAP.get().wrapping_add(bytes));
    PEAK.set(PEAK.get().max(HEAP.get()));
    true
}

fn shrink(bytes: usize) {
    // Memory of another thread may be freed here.
    HEAP.set(HEAP.get().wrapping_sub(bytes));
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !grow(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !grow(new_size) {
            return std::ptr::null_mut();
        }
        shrink(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
