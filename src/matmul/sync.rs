//! What the pool is made of: atomics, memory, and the system's threads. Under `--cfg loom`, for tests/pool_models
//! alone, they are loom's, which runs a program in every order that its threads could take.

#[cfg(not(loom))]
pub(super) use real::*;

#[cfg(loom)]
pub(super) use modelled::*;

#[cfg(not(loom))]
mod real {
    pub(in crate::matmul) use super::super::cpus::move_off_this_cpu;
    pub(in crate::matmul) use super::super::thread::{start, thread_number, wait, wake};
    pub(in crate::matmul) use std::alloc::{alloc, dealloc};
    pub(in crate::matmul) use std::hint::spin_loop;
    pub(in crate::matmul) use std::process::id as process;
    pub(in crate::matmul) use std::sync::Mutex;
    pub(in crate::matmul) use std::sync::atomic::{
        AtomicBool, AtomicU32, AtomicU32 as Hint, AtomicU32 as Word, AtomicU64, AtomicUsize,
    };
    pub(in crate::matmul) use std::thread::yield_now;
    pub(in crate::matmul) use std::time::Instant;

    /// std's cell with the interface of loom's.
    pub(in crate::matmul) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(in crate::matmul) fn new(value: T) -> UnsafeCell<T> {
            UnsafeCell(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(in crate::matmul) fn with<R>(&self, use_it: impl FnOnce(*const T) -> R) -> R {
            use_it(self.0.get())
        }

        #[inline(always)]
        pub(in crate::matmul) fn with_mut<R>(&self, use_it: impl FnOnce(*mut T) -> R) -> R {
            use_it(self.0.get())
        }
    }
}

#[cfg(loom)]
mod modelled {
    use super::super::thread::Start;
    pub(in crate::matmul) use loom::alloc::{alloc, dealloc};
    pub(in crate::matmul) use loom::cell::UnsafeCell;
    pub(in crate::matmul) use loom::hint::spin_loop;
    use loom::sync::Condvar;
    pub(in crate::matmul) use loom::sync::Mutex;
    pub(in crate::matmul) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
    pub(in crate::matmul) use loom::thread::yield_now;
    /// What decides nothing that is modelled: not one of loom's, so that there are no more orders.
    pub(in crate::matmul) use std::sync::atomic::AtomicU32 as Hint;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    /// Of the process in which the model runs; tests make crews of another one.
    pub(in crate::matmul) fn process() -> u32 {
        2
    }

    /// Time is always up: how long a worker looks for a job is no matter of correctness, and would be of the model's size.
    pub(in crate::matmul) struct Instant;

    impl Instant {
        pub(in crate::matmul) fn now() -> Instant {
            Instant
        }

        pub(in crate::matmul) fn elapsed(&self) -> Duration {
            Duration::MAX
        }
    }

    /// A word to sleep on, with the kernel's queue of those that do: comparing and queueing are one step, as in futex(2).
    pub(in crate::matmul) struct Word {
        value: AtomicU32,
        queue: Mutex<usize>,
        woken: Condvar,
    }

    impl Word {
        pub(in crate::matmul) fn new(value: u32) -> Word {
            Word { value: AtomicU32::new(value), queue: Mutex::new(0), woken: Condvar::new() }
        }

        pub(in crate::matmul) fn load(&self, order: Ordering) -> u32 {
            self.value.load(order)
        }

        pub(in crate::matmul) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
            self.value.fetch_add(value, order)
        }
    }

    pub(in crate::matmul) fn wait(word: &Word, value: u32) {
        let mut queue = word.queue.lock().unwrap();
        if word.load(Ordering::Relaxed) == value {
            *queue += 1;
            drop(word.woken.wait(queue).unwrap());
        }
    }

    pub(in crate::matmul) fn wake(word: &Word, count: usize) {
        let mut queue = word.queue.lock().unwrap();
        for _ in 0..count.min(*queue) {
            *queue -= 1;
            word.woken.notify_one();
        }
    }

    /// Where threads run is no matter of correctness.
    pub(in crate::matmul) fn move_off_this_cpu(_threads: &mut dyn Iterator<Item = u32>) {}

    pub(in crate::matmul) fn thread_number() -> u32 {
        1
    }

    pub(in crate::matmul) fn start(start: &'static Start) -> bool {
        loom::thread::spawn(|| (start.run)(start.argument));
        true
    }
}
