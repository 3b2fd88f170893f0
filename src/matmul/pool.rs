//! The thread pool of a context. Made for calls of some ten microseconds: workers spin briefly, then sleep.
//!
//! A job is a function that every taking-part thread calls once; it takes parts of the work from a shared counter until
//! none is left. So a job is complete when the caller's own call has returned and no worker is still inside: nobody waits
//! for a worker that never woke up, and a slow core takes fewer parts.
//!
//! The pool's state is one word, [`Crew::state`]: the job's number (high 32 bits), whether it is open (bit 31), and how
//! many workers are inside (the rest). A worker enters by adding 1, which succeeds only while the job is open; the caller
//! closes the job, then waits for the count to reach 0. The job's function is a reference into the caller's stack: it is
//! read only by workers inside, and the caller does not leave before they have left.
//!
//! Threads start at the first job that wants them and belong to the process that started them: after a fork, the child's
//! first job starts new ones. Workers block all signals, are never joined (a host may exit at any time) and end when the
//! context goes; the last one frees the crew.

use super::cores;
use super::thread::{self, Start};
use crate::error::{Error, Result};
use crate::kernels::float_state::FloatState;
use crate::log::{self, Importance};
use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The most threads of a context, the caller's included.
pub(crate) const MAX_THREADS: usize = 256;

/// How often a waiting thread looks before it sleeps or yields: some ten microseconds.
const SPINS: u32 = 4000;

const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;

type Function<'a> = dyn Fn() + Sync + 'a;

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is one of a pool's.
pub(crate) fn is_worker() -> bool {
    IS_WORKER.with(Cell::get)
}

/// One process's worker threads and what they share with the callers.
struct Crew {
    start: Start,
    process: u32,
    /// The pool and each worker; who leaves last frees.
    owners: AtomicUsize,
    state: AtomicU64,
    /// Grows by 1 with each job; what workers sleep on.
    jobs: AtomicU32,
    sleepers: AtomicU32,
    /// Valid while the job is open or a worker is inside.
    function: UnsafeCell<*const Function<'static>>,
    ended: AtomicBool,
    panicked: AtomicBool,
}

/// The pool's share of a crew.
struct CrewOwner(NonNull<Crew>);

// SAFETY: all of a crew is atomic or constant but `function`, which is written by the one caller that holds the pool's lock
// while no worker can be inside, and read by workers that have entered, which the `state` word orders after the write.
unsafe impl Send for CrewOwner {}

impl Drop for CrewOwner {
    fn drop(&mut self) {
        let crew = self.crew();
        if crew.process == std::process::id() {
            crew.ended.store(true, Ordering::Release);
            crew.jobs.fetch_add(1, Ordering::SeqCst);
            thread::wake_all(&crew.jobs);
            Crew::leave(self.0);
        }
        // Else: the workers lived in the parent, and whatever they were doing with their copy stands still for ever.
    }
}

/// See the module's text.
pub(crate) struct Pool {
    threads: usize,
    crew: Mutex<Option<CrewOwner>>,
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
            if let Ok(mut owner) = self.crew.try_lock() {
                if owner.as_ref().is_none_or(|owner| owner.crew().process != std::process::id()) {
                    *owner = Crew::start(self.threads - 1);
                }
                if let Some(owner) = owner.as_ref() {
                    return owner.crew().run(&function);
                }
            }
        }
        function();
        Ok(())
    }
}

impl CrewOwner {
    fn crew(&self) -> &Crew {
        // SAFETY: allocated in `Crew::start` and freed only after this owner has left.
        unsafe { self.0.as_ref() }
    }
}

impl Crew {
    /// Starts up to `count` workers: fewer are no error, the work is done by those that there are. `None` without memory.
    fn start(count: usize) -> Option<CrewOwner> {
        fn nothing() {}
        let nothing: &'static Function<'static> = &nothing;
        // SAFETY: the layout is not empty; the memory is written whole before it is used.
        let crew = unsafe {
            let crew = NonNull::new(alloc(Layout::new::<Crew>()).cast::<Crew>())?;
            crew.write(Crew {
                start: Start { run: work, argument: crew.as_ptr().cast_const().cast() },
                process: std::process::id(),
                owners: AtomicUsize::new(1),
                state: AtomicU64::new(0),
                jobs: AtomicU32::new(0),
                sleepers: AtomicU32::new(0),
                function: UnsafeCell::new(nothing),
                ended: AtomicBool::new(false),
                panicked: AtomicBool::new(false),
            });
            crew
        };
        // SAFETY: valid until the last owner leaves, and each worker is one from before its thread exists.
        let shared: &'static Crew = unsafe { crew.as_ref() };
        for started in 0..count {
            shared.owners.fetch_add(1, Ordering::Relaxed);
            if !thread::start(&shared.start) {
                shared.owners.fetch_sub(1, Ordering::Relaxed);
                let text = format_args!("{started} of {count} worker threads could be started");
                log::say(Importance::Warning, text);
                break;
            }
        }
        Some(CrewOwner(crew))
    }

    /// One owner less; the last one frees.
    fn leave(crew: NonNull<Crew>) {
        // SAFETY: the caller is an owner, so the crew is there; when it was the last, nobody else can come.
        // AcqRel: what the others did with it happened before it is freed.
        unsafe {
            if crew.as_ref().owners.fetch_sub(1, Ordering::AcqRel) == 1 {
                dealloc(crew.as_ptr().cast(), Layout::new::<Crew>());
            }
        }
    }

    fn run(&self, function: &Function<'_>) -> Result<()> {
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
            *self.function.get() = std::mem::transmute::<*const Function<'_>, *const Function<'static>>(function);
        }
        let closing = Closing(&self.state);
        let number = (self.state.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        // Release: whoever enters sees the function. SeqCst with `jobs` and `sleepers`: a worker that is about to sleep
        // either finds `jobs` changed, or is counted here and woken.
        self.state.store(number << 32 | OPEN, Ordering::SeqCst);
        self.jobs.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            thread::wake_all(&self.jobs);
        }
        function();
        drop(closing);
        match self.panicked.swap(false, Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Error::Internal("a worker thread panicked")),
        }
    }

    /// Takes part in the open job, unless it is number `done`; returns the number of the last one taken part in.
    fn take_part(&self, done: u64) -> u64 {
        let state = self.state.load(Ordering::SeqCst);
        let number = state >> 32;
        if state & OPEN == 0 || number == done {
            return done;
        }
        // Acquire: the function is visible.
        if self.state.compare_exchange(state, state + 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return done;
        }
        // SAFETY: inside an open job; the caller keeps the function alive until this worker has left.
        let function = unsafe { &**self.function.get() };
        // A panic is a bug of this library; it must not take the host down, and the caller must not wait for ever.
        if catch_unwind(AssertUnwindSafe(function)).is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        // Release: what was written is visible to the caller.
        self.state.fetch_sub(1, Ordering::Release);
        number
    }
}

/// The life of a worker; `crew` is one share of a crew.
fn work(crew: *const ()) {
    IS_WORKER.with(|is_worker| is_worker.set(true));
    let _float_state = FloatState::standard();
    // SAFETY: the share counted for this worker keeps the crew alive.
    let owned = unsafe { NonNull::new_unchecked(crew.cast_mut().cast::<Crew>()) };
    // SAFETY: as above, until `leave`.
    let crew = unsafe { owned.as_ref() };
    let mut done = 0;
    let mut looks = 0u32;
    while !crew.ended.load(Ordering::Acquire) {
        let jobs = crew.jobs.load(Ordering::SeqCst);
        let before = done;
        done = crew.take_part(done);
        looks = if done == before { looks + 1 } else { 0 };
        if looks < SPINS {
            spin_loop();
            continue;
        }
        looks = 0;
        // `jobs` was read before the look that found nothing to do: a job or an end since then has changed it.
        crew.sleepers.fetch_add(1, Ordering::SeqCst);
        thread::wait(&crew.jobs, jobs);
        crew.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
    Crew::leave(owned);
}

/// How many threads a context uses when it is asked for `threads`: 0 is as many as affinity and cgroup let the process use.
pub(crate) fn resolve_threads(threads: u32) -> usize {
    match threads {
        0 => cores::available().min(MAX_THREADS),
        _ => (threads as usize).min(MAX_THREADS),
    }
}
