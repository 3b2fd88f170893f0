//! The thread pool of a context. Made for calls of some ten microseconds: workers spin briefly, then park.
//!
//! A job is a function that every taking-part thread calls once; it takes parts of the work from a shared counter until
//! none is left. So a job is complete when the caller's own call has returned and no worker is still inside: nobody waits
//! for a worker that never woke up, and a slow core takes fewer parts.
//!
//! All of the pool's state is one word, [`Shared::state`]: the job's number (high 32 bits), whether it is open (bit 31),
//! and how many workers are inside (the rest). A worker enters by adding 1, which succeeds only while the job is open; the
//! caller closes the job, then waits for the count to reach 0. The job's function is a reference into the caller's stack:
//! it is read only by workers inside, and the caller does not leave before they have left.
//!
//! Threads start at the first job that wants them and belong to the process that started them: after a fork, the child's
//! first job starts new ones. Workers block all signals, are never joined (a host may exit at any time) and end when the
//! context goes.

use crate::error::{Error, Result};
use crate::kernels::float_state::FloatState;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, Thread};

/// The most threads of a context, the caller's included.
pub(crate) const MAX_THREADS: usize = 256;

/// How often a waiting thread looks before it parks or yields: some ten microseconds.
const SPINS: u32 = 4000;

const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;

type Function<'a> = dyn Fn() + Sync + 'a;

struct Shared {
    state: AtomicU64,
    /// Valid while the job is open or a worker is inside.
    function: UnsafeCell<*const Function<'static>>,
    ended: AtomicBool,
    panicked: AtomicBool,
}

// SAFETY: `function` is written by the one caller that owns the pool's `busy` flag while no worker can be inside, and read
// by workers that have entered, which the `state` word orders after the write.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is only ever followed while its owner waits.
unsafe impl Send for Shared {}

/// One process's worker threads.
struct Crew {
    process: u32,
    shared: Arc<Shared>,
    workers: Vec<Worker>,
}

struct Worker {
    thread: Thread,
    parked: Arc<AtomicBool>,
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        if self.process == std::process::id() {
            for worker in &self.workers {
                worker.thread.unpark();
            }
        }
    }
}

/// See the module's text.
pub(crate) struct Pool {
    threads: usize,
    crew: Mutex<Option<Crew>>,
}

impl Pool {
    /// A pool of `threads` threads, the caller's included. Starts none yet.
    pub(crate) fn new(threads: usize) -> Pool {
        Pool { threads: threads.clamp(1, MAX_THREADS), crew: Mutex::new(None) }
    }

    /// Threads that may take part in a job.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `part(number, slot)` once for each number in `0..parts`, on up to `threads` threads; returns when all are
    /// done. `slot < threads` tells the threads of one job apart. With the pool in use by another caller, after a fork in
    /// the middle of a job, or without threads, all parts run here.
    ///
    /// # Errors
    /// `Internal` when a part panicked on a worker.
    pub(crate) fn run(&self, parts: usize, part: &(dyn Fn(usize, usize) + Sync)) -> Result<()> {
        let (next, slots) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let function = || {
            let slot = slots.fetch_add(1, Ordering::Relaxed);
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= parts {
                    return;
                }
                part(index, slot);
            }
        };
        if self.threads > 1 && parts > 1 {
            // Held during the job: whoever finds it taken works alone.
            if let Ok(mut crew) = self.crew.try_lock() {
                if crew.as_ref().is_none_or(|crew| crew.process != std::process::id()) {
                    *crew = Crew::start(self.threads - 1);
                }
                if let Some(crew) = crew.as_ref() {
                    return crew.run(&function, self.threads.min(parts) - 1);
                }
            }
        }
        function();
        Ok(())
    }
}

impl Crew {
    /// Starts up to `count` workers; `None` when not even the bookkeeping can be had.
    fn start(count: usize) -> Option<Crew> {
        fn nothing() {}
        let nothing: &'static Function<'static> = &nothing;
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            function: UnsafeCell::new(nothing),
            ended: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
        });
        let mut workers = Vec::new();
        workers.try_reserve_exact(count).ok()?;
        let signals = BlockedSignals::new();
        for index in 0..count {
            let parked = Arc::new(AtomicBool::new(false));
            let (worker_shared, worker_parked) = (shared.clone(), parked.clone());
            let thread = Builder::new()
                .name(format!("gguffuse-{index}"))
                .stack_size(256 << 10)
                .spawn(move || work(&worker_shared, &worker_parked));
            // Fewer threads are no error: the work is done by those that there are.
            let Ok(handle) = thread else { break };
            workers.push(Worker { thread: handle.thread().clone(), parked });
        }
        drop(signals);
        Some(Crew { process: std::process::id(), shared, workers })
    }

    fn run(&self, function: &Function<'_>, helpers: usize) -> Result<()> {
        let state = &self.shared.state;
        // Whatever happens below, nobody returns to the owner of `function` before the workers have left it.
        struct Closing<'a>(&'a AtomicU64);
        impl Drop for Closing<'_> {
            fn drop(&mut self) {
                self.0.fetch_and(!OPEN, Ordering::Relaxed);
                let mut looks = 0u32;
                // Acquire: what the workers wrote is visible to the caller.
                while self.0.load(Ordering::Acquire) & INSIDE != 0 {
                    looks += 1;
                    if looks < SPINS {
                        spin_loop();
                    } else {
                        std::thread::yield_now();
                    }
                }
            }
        }
        // SAFETY: no worker is inside (the last job waited for that) and none can enter a closed job, so nobody reads
        // the pointer while it is written. Its lifetime is extended only until `Closing` has seen the last worker leave.
        unsafe {
            *self.shared.function.get() =
                std::mem::transmute::<*const Function<'_>, *const Function<'static>>(function);
        }
        let closing = Closing(state);
        let number = (state.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        // Release: whoever enters sees the function. SeqCst with the workers' `parked`: either the worker sees the new
        // number before it parks, or this thread sees that it is parking.
        state.store(number << 32 | OPEN, Ordering::SeqCst);
        for worker in self.workers.iter().take(helpers) {
            if worker.parked.swap(false, Ordering::SeqCst) {
                worker.thread.unpark();
            }
        }
        function();
        drop(closing);
        match self.shared.panicked.swap(false, Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Error::Internal("a worker thread panicked")),
        }
    }
}

/// The life of a worker.
fn work(shared: &Shared, parked: &AtomicBool) {
    let _float_state = FloatState::standard();
    let mut done = 0;
    let mut looks = 0u32;
    while !shared.ended.load(Ordering::Acquire) {
        let state = shared.state.load(Ordering::SeqCst);
        if state & OPEN != 0 && state >> 32 != done {
            // Acquire: the function is visible.
            if shared.state.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                done = state >> 32;
                looks = 0;
                // SAFETY: inside an open job; the caller keeps the function alive until this worker has left.
                let function = unsafe { &**shared.function.get() };
                // A panic is a bug of this library; it must not take the host down, and the caller must not wait for ever.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(function)).is_err() {
                    shared.panicked.store(true, Ordering::Relaxed);
                }
                // Release: what was written is visible to the caller.
                shared.state.fetch_sub(1, Ordering::Release);
            }
            continue;
        }
        looks += 1;
        if looks < SPINS {
            spin_loop();
            continue;
        }
        looks = 0;
        parked.store(true, Ordering::SeqCst);
        let state = shared.state.load(Ordering::SeqCst);
        let nothing_new = state & OPEN == 0 || state >> 32 == done;
        if nothing_new && !shared.ended.load(Ordering::SeqCst) {
            std::thread::park();
        }
        parked.store(false, Ordering::SeqCst);
    }
}

/// All signals blocked on this thread, so that a thread started meanwhile never runs a host's handler.
struct BlockedSignals {
    #[cfg(unix)]
    before: Option<libc::sigset_t>,
}

impl BlockedSignals {
    fn new() -> BlockedSignals {
        #[cfg(unix)]
        // SAFETY: both sets are valid for the calls, which write them whole.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            let blocked = libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before) == 0;
            BlockedSignals { before: blocked.then_some(before) }
        }
        #[cfg(not(unix))]
        BlockedSignals {}
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(before) = &self.before {
            // SAFETY: the set is the one that the thread had.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
        }
    }
}

/// How many threads a context uses when it is asked for `threads`: 0 is as many as affinity and cgroup let the process use.
pub(crate) fn resolve_threads(threads: u32) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS)),
        _ => (threads as usize).min(MAX_THREADS),
    }
}
