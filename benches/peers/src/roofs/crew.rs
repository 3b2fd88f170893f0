//! Threads for the roofs: they wait actively for a moment after each job, then sleep, as a good pool does. Each has a CPU of its
//! own, the caller during a job: else the kernel of a virtual machine may let a thread that was woken wait behind the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{JoinHandle, park};
use std::time::{Duration, Instant};

/// How long a thread waits actively.
const PATIENCE: Duration = Duration::from_micros(200);

type Work = dyn Fn(usize) + Sync;

struct Shared {
    /// Jobs given out so far.
    given: AtomicUsize,
    /// Threads that are done with the last one.
    done: AtomicUsize,
    end: AtomicBool,
    work: Mutex<Option<&'static Work>>,
}

pub struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// What the caller may use.
    cpus: Vec<usize>,
}

impl Crew {
    /// A crew of `threads`, the caller's included.
    pub fn new(threads: usize) -> Crew {
        let shared = Arc::new(Shared {
            given: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            end: AtomicBool::new(false),
            work: Mutex::new(None),
        });
        let cpus = affinity();
        let start = |number| {
            let (shared, cpu) = (shared.clone(), cpus[number % cpus.len()]);
            std::thread::spawn(move || {
                set_affinity(&[cpu]);
                shared.serve(number);
            })
        };
        let threads = (1..threads).map(start).collect();
        Crew { shared, threads, cpus }
    }

    /// The number of threads.
    pub fn len(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs `work` on every thread, with the thread's number, and waits for all.
    pub fn run(&mut self, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: no thread touches it after it has reported, and all have when this function returns; `work` does not
        // unwind here, as a panic in a thread would leave this loop waiting and none is caught.
        let eternal = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static Work>(work) };
        *self.shared.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(eternal);
        self.shared.done.store(0, Ordering::Relaxed);
        self.shared.given.fetch_add(1, Ordering::Release);
        let several = !self.threads.is_empty();
        if several {
            set_affinity(&self.cpus[..1]);
        }
        for thread in &self.threads {
            thread.thread().unpark();
        }
        work(0);
        while self.shared.done.load(Ordering::Acquire) < self.threads.len() {
            std::hint::spin_loop();
        }
        if several {
            set_affinity(&self.cpus);
        }
    }
}

/// The CPUs that the calling thread may use.
fn affinity() -> Vec<usize> {
    // SAFETY: a set of the size given, whose zeros are a set.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of_val(&set), &mut set), 0, "no affinity");
        (0..8 * size_of_val(&set)).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

/// Lets the calling thread use these only.
fn set_affinity(cpus: &[usize]) {
    // SAFETY: as above; the numbers are those of `affinity`.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cpus.iter().for_each(|cpu| libc::CPU_SET(*cpu, &mut set));
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0, "no such affinity");
    }
}

impl Shared {
    fn serve(&self, number: usize) {
        for job in 1.. {
            let begin = Instant::now();
            while self.given.load(Ordering::Acquire) < job {
                if self.end.load(Ordering::Relaxed) {
                    return;
                }
                match begin.elapsed() < PATIENCE {
                    true => std::hint::spin_loop(),
                    false => park(),
                }
            }
            let work = *self.work.lock().unwrap_or_else(PoisonError::into_inner);
            work.expect("work comes with its number")(number);
            self.done.fetch_add(1, Ordering::Release);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A panic of a thread has been reported already.
            let _ = thread.join();
        }
    }
}
