//! The thread pool of a context. Made for calls of some ten microseconds: workers spin briefly, then sleep.
//!
//! A job is a function that every taking-part thread calls once. Its parts stand in one queue per thread; a thread takes
//! those of its own queue, then what is left in the others. So a job is complete when the caller's own call has returned
//! and no worker is still inside: nobody waits for a worker that never woke up, the parts of a slow core are done by the
//! others, and the same rows meet the same core, with what it has in its caches, from call to call.
//!
//! The pool's state is one word, [`Crew::state`]: the job's number (high 32 bits), whether it is open (bit 31), and how
//! many workers are inside (the rest). A worker enters by adding 1, which succeeds only while the job is open; the caller
//! closes the job, then waits for the count to reach 0. The job's function is a reference into the caller's stack: it is
//! read only by workers inside, and the caller does not leave before they have left.
//!
//! A worker that is woken may still not come: kernels of virtual machines were seen to queue it behind the very caller that works,
//! where it ran last, until that one's time slice is over, milliseconds later, while another CPU was idle. So the caller looks,
//! between two of its parts, whether those that it woke have come, and moves them off its CPU if not ([`Late`]).
//!
//! Threads start at the first job that wants them and belong to the process that started them: after a fork, the child's
//! first job starts new ones. Workers block all signals, are never joined (a host may exit at any time) and end when the
//! context goes; the last one frees the crew.

use super::cpus;
use super::late::Late;
use super::sync::{self, AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Hint, Instant, Mutex, UnsafeCell, Word};
use super::thread::Start;
use crate::error::{Error, Result};
use crate::kernels::float_state::FloatState;
use crate::log::{self, Importance};
use std::alloc::Layout;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The most threads of a context, the caller's included.
pub(crate) const MAX_THREADS: usize = 256;

// The figures are those of benches/pool.rs on an AMD EPYC (Zen 5), 2 cores, 2026-11-22: handing a job to a thread that is
// awake costs the two of them 4 microseconds, most of it cache lines that travel (a round trip takes 0.4); a thread that
// sleeps costs its waker 9 and begins 27 later.

/// The shortest job, in nanoseconds of one thread, that threads share which are awake: 6 microseconds became 7, 12 became 10.
pub(super) const SHARED_FROM: usize = 10_000;
/// The shortest job that threads are woken for: 23 microseconds became 28, 47 became 40. Shorter ones do without until
/// together they are as long: so a steady stream of them gets its threads, and one now and then does not pay for them.
const WOKEN_FROM: usize = 40_000;
/// How long a worker looks for the next job before it sleeps: about what waking it costs.
const LOOKING: Duration = Duration::from_micros(50);
/// How often a caller looks whether the last worker has left, before it lets others run: 10 microseconds. A part of the work
/// takes less, unless its worker was put aside, perhaps for this very caller.
const CLOSING_LOOKS: u32 = 400;

const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;

/// Takes the number of the thread that calls it, and what that thread does between two parts.
type Function<'a> = dyn Fn(usize, &mut dyn FnMut()) + Sync + 'a;

/// The most queues that the parts of a job are divided into.
const MAX_QUEUES: usize = if cfg!(loom) { 3 } else { 32 };

/// Places for workers in a crew.
const MAX_WORKERS: usize = if cfg!(loom) { 2 } else { MAX_THREADS - 1 };

/// How many parts of a queue were taken. On a cache line of its own.
#[repr(align(64))]
struct Queue(AtomicUsize);

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
    jobs: Word,
    /// Workers that were numbered.
    numbered: AtomicUsize,
    sleepers: AtomicU32,
    /// The system's numbers of the workers that sleep, or are not awake yet; 0 in the places of others.
    asleep: [Hint; MAX_WORKERS],
    /// Valid while the job is open or a worker is inside.
    function: UnsafeCell<*const Function<'static>>,
    ended: AtomicBool,
    panicked: AtomicBool,
}

/// The pool's share of a crew.
struct CrewOwner {
    crew: NonNull<Crew>,
    /// Nanoseconds of the jobs that did without workers because those slept.
    without: usize,
}

// SAFETY: all of a crew is atomic or constant but `function`, which is written by the one caller that holds the pool's lock
// while no worker can be inside, and read by workers that have entered, which the `state` word orders after the write.
unsafe impl Send for CrewOwner {}

impl Drop for CrewOwner {
    fn drop(&mut self) {
        let crew = self.crew();
        if crew.process == sync::process() {
            crew.ended.store(true, Ordering::Release);
            crew.jobs.fetch_add(1, Ordering::SeqCst);
            sync::wake(&crew.jobs, MAX_THREADS);
            Crew::leave(self.crew);
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

    /// Calls `part(number, thread)` once for each number in `0..parts`, on up to `threads` threads; returns when all are
    /// done. `thread < threads` tells the threads of one job apart, the caller is 0. `nanoseconds`: about what one thread
    /// takes for all. A short job, one that finds the pool in use by another caller, after a fork in the middle of a job, or
    /// without threads, runs here.
    ///
    /// # Errors
    /// `Internal` when a part panicked on a worker.
    pub(crate) fn run(&self, nanoseconds: usize, parts: usize, part: &(dyn Fn(usize, usize) + Sync)) -> Result<()> {
        let queues: [Queue; MAX_QUEUES] = std::array::from_fn(|_| Queue(AtomicUsize::new(0)));
        let queues = &queues[..self.threads.min(MAX_QUEUES)];
        let function = |thread: usize, between: &mut dyn FnMut()| {
            for offset in 0..queues.len() {
                let index = (thread + offset) % queues.len();
                let (begin, end) = (parts * index / queues.len(), parts * (index + 1) / queues.len());
                loop {
                    let number = begin + queues[index].0.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        break;
                    }
                    part(number, thread);
                    between();
                }
            }
        };
        if self.threads > 1 && parts > 1 && nanoseconds >= SHARED_FROM {
            // Held during the job: whoever finds it taken works alone.
            if let Ok(mut owner) = self.crew.try_lock() {
                if owner.as_ref().is_none_or(|owner| owner.crew().process != sync::process()) {
                    *owner = Crew::start(self.threads - 1);
                }
                if let Some(owner) = owner.as_mut()
                    && let Some(woken) = owner.woken_for(nanoseconds, parts - 1)
                {
                    return owner.crew().run(woken, &function);
                }
            }
        }
        function(0, &mut || ());
        Ok(())
    }
}

impl CrewOwner {
    fn crew(&self) -> &Crew {
        // SAFETY: allocated in `Crew::start` and freed only after this owner has left.
        unsafe { self.crew.as_ref() }
    }

    /// How many workers to wake for a job of that length that `helpers` could help with; `None`: none is awake, and it is
    /// not worth waking one.
    fn woken_for(&mut self, nanoseconds: usize, helpers: usize) -> Option<usize> {
        let crew = self.crew();
        // Relaxed: whoever is about to sleep or to wake makes these guesses at any rate.
        let workers = crew.owners.load(Ordering::Relaxed) - 1;
        let awake = workers.saturating_sub(crew.sleepers.load(Ordering::Relaxed) as usize);
        let missing = helpers.min(workers).saturating_sub(awake);
        if missing == 0 {
            return Some(0);
        }
        self.without = self.without.saturating_add(nanoseconds);
        if self.without >= WOKEN_FROM {
            self.without = 0;
            return Some(missing);
        }
        (awake > 0).then_some(0)
    }
}

impl Crew {
    /// Starts up to `count` workers: fewer are no error, the work is done by those that there are. `None` without memory.
    fn start(count: usize) -> Option<CrewOwner> {
        fn nothing(_: usize, _: &mut dyn FnMut()) {}
        let nothing: &'static Function<'static> = &nothing;
        // SAFETY: the layout is not empty; the memory is written whole before it is used.
        let crew = unsafe {
            let crew = NonNull::new(sync::alloc(Layout::new::<Crew>()).cast::<Crew>())?;
            crew.write(Crew {
                start: Start { run: work, argument: crew.as_ptr().cast_const().cast() },
                process: sync::process(),
                owners: AtomicUsize::new(1),
                state: AtomicU64::new(0),
                jobs: Word::new(0),
                numbered: AtomicUsize::new(0),
                sleepers: AtomicU32::new(0),
                asleep: std::array::from_fn(|_| Hint::new(0)),
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
            if !sync::start(&shared.start) {
                shared.owners.fetch_sub(1, Ordering::Relaxed);
                let text = format_args!("{started} of {count} worker threads could be started");
                log::say(Importance::Warning, text);
                break;
            }
        }
        Some(CrewOwner { crew, without: 0 })
    }

    /// One owner less; the last one frees.
    fn leave(crew: NonNull<Crew>) {
        // SAFETY: the caller is an owner, so the crew is there; when it was the last, nobody else can come.
        // AcqRel: what the others did with it happened before it is freed.
        unsafe {
            if crew.as_ref().owners.fetch_sub(1, Ordering::AcqRel) == 1 {
                #[cfg(loom)]
                models::check_before_freeing(crew.as_ref());
                sync::dealloc(crew.as_ptr().cast(), Layout::new::<Crew>());
            }
        }
    }

    /// Runs a job on this thread and on the workers that come to it; `woken` are woken for it.
    fn run(&self, woken: usize, function: &Function<'_>) -> Result<()> {
        // Whatever happens below, nobody returns to the owner of `function` before the workers have left it.
        struct Closing<'a>(&'a AtomicU64);
        impl Drop for Closing<'_> {
            fn drop(&mut self) {
                self.0.fetch_and(!OPEN, Ordering::Relaxed);
                let mut looks = 0u32;
                // Acquire: what the workers wrote is visible to the caller.
                while self.0.load(Ordering::Acquire) & INSIDE != 0 {
                    looks = looks.saturating_add(1);
                    if looks < CLOSING_LOOKS {
                        sync::spin_loop();
                    } else {
                        sync::yield_now();
                    }
                }
            }
        }
        // SAFETY: no worker is inside (the last job waited for that) and none can enter a closed job, so nobody reads
        // the pointer while it is written. Its lifetime is extended only until `Closing` has seen the last worker leave.
        self.function.with_mut(|kept| unsafe {
            *kept = std::mem::transmute::<*const Function<'_>, *const Function<'static>>(function);
        });
        let closing = Closing(&self.state);
        let number = (self.state.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        // Release: whoever enters sees the function. SeqCst: a worker that sleeps is woken, one that is about to sleep finds
        // `jobs` changed, or misses the job, which is done without it.
        self.state.store(number << 32 | OPEN, Ordering::SeqCst);
        self.jobs.fetch_add(1, Ordering::SeqCst);
        // A model has no CPUs; the looks would only make it larger.
        let mut late = (woken > 0 && !cfg!(loom)).then(|| Late::of(&self.sleepers, woken));
        if woken > 0 {
            sync::wake(&self.jobs, woken);
        }
        function(0, &mut || {
            if late.as_mut().is_some_and(|late| late.look(&self.asleep[..self.numbered.load(Ordering::Relaxed)])) {
                late = None;
            }
        });
        drop(closing);
        match self.panicked.swap(false, Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Error::Internal("a worker thread panicked")),
        }
    }

    /// Takes part in one job after the other, until none has come for a while or the crew ends. `done`: the number of the
    /// last one. Returns what `jobs` was before the last look that found nothing.
    fn look_for_a_job(&self, worker: usize, done: &mut u64) -> u32 {
        /// Looks between two at the clock, which takes as long as some.
        const LOOKS: u32 = if cfg!(loom) { 1 } else { 64 };
        let mut since = Instant::now();
        loop {
            for _ in 0..LOOKS {
                let jobs = self.jobs.load(Ordering::SeqCst);
                if self.take_part(worker, done) {
                    since = Instant::now();
                } else if self.ended.load(Ordering::Acquire) {
                    return jobs;
                }
                sync::spin_loop();
            }
            let jobs = self.jobs.load(Ordering::SeqCst);
            if since.elapsed() >= LOOKING {
                if !self.take_part(worker, done) {
                    return jobs;
                }
                since = Instant::now();
            }
        }
    }

    /// Takes part in the open job and makes `done` its number, unless it is that already. False where there is none.
    fn take_part(&self, worker: usize, done: &mut u64) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        let number = state >> 32;
        if state & OPEN == 0 || number == *done {
            return false;
        }
        // Acquire: the function is visible.
        if self.state.compare_exchange(state, state + 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        *done = number;
        // SAFETY: inside an open job; the caller keeps the function alive until this worker has left.
        let function = self.function.with(|kept| unsafe { &**kept });
        // A panic is a bug of this library; it must not take the host down, and the caller must not wait for ever.
        if catch_unwind(AssertUnwindSafe(|| function(worker, &mut || ()))).is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        // Release: what was written is visible to the caller.
        self.state.fetch_sub(1, Ordering::Release);
        true
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
    let worker = crew.numbered.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = sync::thread_number();
    let mut done = 0;
    loop {
        let jobs = crew.look_for_a_job(worker, &mut done);
        // After `jobs` was read: an end that is not seen here changes it later, so that the sleep below is none.
        if crew.ended.load(Ordering::Acquire) {
            break;
        }
        // Relaxed, and beside the count: who reads it moves threads, which is harmless whatever they do.
        crew.asleep[worker - 1].store(thread, Ordering::Relaxed);
        crew.sleepers.fetch_add(1, Ordering::SeqCst);
        sync::wait(&crew.jobs, jobs);
        crew.sleepers.fetch_sub(1, Ordering::SeqCst);
        crew.asleep[worker - 1].store(0, Ordering::Relaxed);
    }
    Crew::leave(owned);
}

/// How many threads a context uses when it is asked for `threads`: 0 is as many as affinity and cgroup let the process use.
pub(crate) fn resolve_threads(threads: u32) -> usize {
    match threads {
        0 => cpus::available().min(MAX_THREADS),
        _ => (threads as usize).min(MAX_THREADS),
    }
}

#[cfg(loom)]
#[path = "../../tests/pool_models/models.rs"]
mod models;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Every part is done exactly once, by a thread whose number is in range.
    fn check(pool: &Pool, nanoseconds: usize, parts: usize) -> usize {
        let done: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
        let seen: Vec<AtomicBool> = (0..pool.threads()).map(|_| AtomicBool::new(false)).collect();
        let part = |number: usize, thread: usize| {
            done[number].fetch_add(1, Ordering::Relaxed);
            seen[thread].store(true, Ordering::Relaxed);
            // Long enough for others to come.
            let from = Instant::now();
            while from.elapsed() < Duration::from_micros(20) {
                std::thread::yield_now();
            }
        };
        pool.run(nanoseconds, parts, &part).unwrap();
        assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        seen.iter().filter(|seen| seen.load(Ordering::Relaxed)).count()
    }

    #[test]
    fn every_part_is_done_once() {
        for threads in [1, 2, 3, 40, 100] {
            let pool = Pool::new(threads);
            for parts in [0, 1, 2, 3, 31, 32, 33, 200] {
                check(&pool, usize::MAX, parts);
            }
        }
    }

    #[test]
    fn short_jobs_stay_here_and_long_ones_are_shared() {
        let pool = Pool::new(2);
        assert_eq!(check(&pool, SHARED_FROM - 1, 100), 1);
        assert!(pool.crew.lock().unwrap().is_none(), "no thread was started");
        let shared = (0..1000).any(|_| check(&pool, WOKEN_FROM, 100) == 2);
        assert!(shared, "the worker never came");
        // Asleep: jobs that are not worth waking it do without, until they add up.
        let sleep = || {
            while pool.crew.lock().unwrap().as_ref().unwrap().crew().sleepers.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
        };
        sleep();
        pool.crew.lock().unwrap().as_mut().unwrap().without = 0;
        let woken = || pool.crew.lock().unwrap().as_mut().unwrap().woken_for(WOKEN_FROM / 4, 99);
        assert_eq!([woken(), woken(), woken(), woken(), woken()], [None, None, None, Some(1), None]);
        assert_eq!(check(&pool, SHARED_FROM, 10), 1);
    }

    #[test]
    fn workers_end_with_their_pool() {
        for asleep in [false, true] {
            let pool = Pool::new(4);
            check(&pool, usize::MAX, 100);
            let crew = pool.crew.lock().unwrap().as_ref().unwrap().crew;
            // SAFETY: an owner more keeps the crew alive, until it leaves below.
            let shared = unsafe { crew.as_ref() };
            shared.owners.fetch_add(1, Ordering::Relaxed);
            while asleep && shared.sleepers.load(Ordering::Relaxed) < 3 {
                std::thread::yield_now();
            }
            drop(pool);
            // Ends or hangs.
            while shared.owners.load(Ordering::Acquire) > 1 {
                std::thread::yield_now();
            }
            Crew::leave(crew);
        }
    }
}
