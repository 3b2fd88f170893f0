//! How often the plugin was called: for tests and for users who wonder whether it works.

use std::sync::atomic::{AtomicU64, Ordering};

/// Graphs computed by hooked backends.
pub static GRAPHS: AtomicU64 = AtomicU64::new(0);
/// Matrix products among them that were ours, expert products included.
pub static PRODUCTS: AtomicU64 = AtomicU64::new(0);
/// Of these, those that found their activations packed.
pub static SHARED: AtomicU64 = AtomicU64::new(0);

/// Graphs and products so far: `counts` gets 3 numbers. For tests.
///
/// # Safety
/// `counts` has room for them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_plugin_counts(counts: *mut u64) {
    for (index, counter) in [&GRAPHS, &PRODUCTS, &SHARED].into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { counts.add(index).write(counter.load(Ordering::Relaxed)) };
    }
}

/// Has the process say its numbers on stderr when it ends.
pub fn say_at_exit() {
    extern "C" fn say() {
        let [graphs, products, shared] = [&GRAPHS, &PRODUCTS, &SHARED].map(|counter| counter.load(Ordering::Relaxed));
        let text = format!("gguffuse: graphs={graphs} products={products} shared={shared}\n");
        // SAFETY: a buffer of this function; what cannot be written is lost.
        let _ = unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: a function of this file, which stays loaded.
    ONCE.call_once(|| unsafe {
        libc::atexit(say);
    });
}
