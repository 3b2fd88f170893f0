//! The pool in every order that its threads can take, with at most three preemptions, and with every value that a load may
//! give: the code of pool.rs itself on loom's atomics. scripts/check_models.sh runs it.
//!
//! Shown: a part is done once, and before the caller goes on; what it reads and writes is ordered with the caller's own
//! accesses; a job's function is never called when it is gone; nobody waits for ever; the crew is freed once, by whoever leaves
//! last, after all that others did with it.
//!
//! Not modelled: pthreads and futex(2), which `sync` replaces by what their manuals promise; how long a worker looks before it
//! sleeps (here twice); more than three threads of a pool; and what SeqCst orders beyond AcqRel, for which loom takes it, so that
//! it tries more than there is.

use super::*;
use loom::sync::Arc;
use std::sync::Arc as Shared;
use std::sync::atomic::{AtomicBool as Flag, AtomicU64 as Count};

/// Runs `program` in every order; prints how many there were.
fn model(name: &str, program: impl Fn() + Send + Sync + 'static) {
    let orders = Shared::new(Count::new(0));
    let counted = orders.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 10_000;
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        program();
    });
    println!("models: {name}: {} orders", orders.load(Ordering::Relaxed));
}

/// Whatever anyone did with a crew is ordered before it is freed: else loom stops the program.
pub(super) fn check_before_freeing(crew: &Crew) {
    crew.function.with_mut(|_| ());
    // SAFETY: loom checks that nobody writes.
    unsafe {
        crew.state.unsync_load();
        crew.sleepers.unsync_load();
        crew.numbered.unsync_load();
        crew.ended.unsync_load();
    }
}

/// What a job works on: each part has a number of its own, which loom watches for accesses that are not ordered.
struct Work(Vec<loom::cell::UnsafeCell<u32>>);

// SAFETY: loom stops the program when two threads get at one cell at once.
unsafe impl Sync for Work {}

impl Work {
    fn new(parts: usize) -> Work {
        Work((0..parts).map(|_| loom::cell::UnsafeCell::new(0)).collect())
    }

    fn numbers(&self) -> Vec<u32> {
        // SAFETY: loom has checked that nobody writes to it.
        self.0.iter().map(|cell| cell.with(|number| unsafe { *number })).collect()
    }

    fn add_to(&self, part: usize) {
        // SAFETY: loom has checked that nobody else uses it.
        self.0[part].with_mut(|number| unsafe { *number += 1 });
    }

    /// Adds 1 to each number, and finds that this was done.
    fn run(&self, pool: &Pool, nanoseconds: usize) {
        let before = self.numbers();
        let part = |part: usize, thread: usize| {
            assert!(thread < pool.threads());
            self.add_to(part);
        };
        pool.run(nanoseconds, self.0.len(), &part).unwrap();
        assert!(self.numbers().into_iter().eq(before.into_iter().map(|number| number + 1)));
    }
}

/// Submit and complete; the worker wakes, is late, or misses a job; the pool goes while it does.
#[test]
fn one_worker_and_two_jobs() {
    model("one worker, two jobs", || {
        let (pool, work) = (Pool::new(2), Work::new(2));
        work.run(&pool, usize::MAX);
        work.run(&pool, usize::MAX);
    });
}

#[test]
fn two_workers() {
    model("two workers", || {
        let mut owner = Crew::start(2).unwrap();
        let work = Work::new(3);
        let woken = owner.woken_for(usize::MAX, 2).unwrap();
        owner.crew().run(woken, &|thread, _| work.add_to(thread)).unwrap();
        assert_eq!(work.numbers().first(), Some(&1));
        assert!(work.numbers().iter().all(|number| *number <= 1));
    });
}

/// Jobs that nobody is woken for.
#[test]
fn short_jobs() {
    model("short jobs", || {
        let (pool, work) = (Pool::new(2), Work::new(2));
        work.run(&pool, SHARED_FROM);
        work.run(&pool, SHARED_FROM);
    });
}

#[test]
fn a_crew_that_ends_at_once() {
    model("an end at once", || {
        let pool = Pool::new(3);
        *pool.crew.lock().unwrap() = Crew::start(2);
    });
}

/// Two callers of one pool: one of them works alone. The pool goes with the last, as a context that is closed in use.
#[test]
fn closed_while_running() {
    model("closed while running", || {
        let pool = Arc::new(Pool::new(2));
        let other = {
            let pool = pool.clone();
            loom::thread::spawn(move || Work::new(2).run(&pool, usize::MAX))
        };
        Work::new(2).run(&pool, usize::MAX);
        drop(pool);
        other.join().unwrap();
    });
}

/// A part that panics on a worker is an error of the job; the next one works.
#[test]
fn a_panic_of_a_worker() {
    model("a panic", || {
        let pool = Pool::new(2);
        // Not loom's: it is to order nothing.
        let panicked = Flag::new(false);
        let part = |_: usize, thread: usize| {
            if thread > 0 {
                panicked.store(true, Ordering::Relaxed);
                std::panic::resume_unwind(Box::new(()));
            }
        };
        let outcome = pool.run(usize::MAX, 2, &part);
        assert_eq!(outcome.is_err(), panicked.load(Ordering::Relaxed));
        Work::new(2).run(&pool, usize::MAX);
    });
}

/// The child of a fork has the parent's words as they were at some moment, and none of its threads: whatever the words are,
/// it starts threads of its own and leaves the words alone; and where they were locked, it works alone for ever.
#[test]
fn forked() {
    let job = 5 << 32 | OPEN;
    for (state, sleepers, is_locked) in
        [(0, 0, false), (1 << 32, 2, false), (job, 0, false), (job | 2, 1, false), (job, 0, true)]
    {
        model("forked", move || {
            let crew = crew_of_the_parent(state, sleepers);
            let owner = CrewOwner { crew: NonNull::from(&crew), without: 0 };
            let child = Pool { threads: 2, crew: Mutex::new(Some(owner)) };
            let locked = is_locked.then(|| child.crew.lock().unwrap());
            Work::new(2).run(&child, usize::MAX);
            drop(locked);
            drop(child);
            assert_eq!(words_of(&crew), (state, 7, 3, sleepers));
        });
    }
}

fn words_of(crew: &Crew) -> (u64, u32, usize, u32) {
    let load = Ordering::Relaxed;
    (crew.state.load(load), crew.jobs.load(load), crew.owners.load(load), crew.sleepers.load(load))
}

fn crew_of_the_parent(state: u64, sleepers: u32) -> Crew {
    Crew {
        start: Start { run: work, argument: std::ptr::null() },
        process: sync::process() - 1,
        owners: AtomicUsize::new(3),
        state: AtomicU64::new(state),
        jobs: Word::new(7),
        numbered: AtomicUsize::new(2),
        sleepers: AtomicU32::new(sleepers),
        asleep: std::array::from_fn(|_| Hint::new(0)),
        function: UnsafeCell::new(&|_, _| unreachable!("the parent's function")),
        ended: AtomicBool::new(false),
        panicked: AtomicBool::new(false),
    }
}
