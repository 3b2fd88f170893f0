//! Workers that were woken for a job and do not come, as they wait for the CPU of the caller that woke them; why: see
//! [`super::pool`]. Knows no job.

use super::sync::{self, AtomicU32, Hint, Instant};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After how long a worker that was woken counts as late, at the end of the caller's next part.
const LATE: Duration = Duration::from_micros(40);
/// How many workers a caller moves after one part, at most: three system calls each, two microseconds.
const MOST_MOVED: usize = 8;

/// What a caller knows of the workers that it woke for a job. In a virtual machine with two CPUs (Zen 4, Linux 6.18) 68 to 83 % of the
/// calls of 0.37 ms took twice as long where the host had slept for a millisecond before each; with this 1 to 12 % do. Of short
/// series of calls with one context and another in turns, 4 to 22 % did, and 0 to 10 % do.
pub(super) struct Late<'a> {
    /// How many workers sleep, or are not awake yet.
    sleepers: &'a AtomicU32,
    /// How many do when all that were woken have come.
    left: u32,
    since: Instant,
    /// So many of the workers' places were looked at.
    seen: usize,
}

impl Late<'_> {
    /// Before `woken` of the sleepers are woken.
    pub(super) fn of(sleepers: &AtomicU32, woken: usize) -> Late<'_> {
        // Relaxed: a guess, which decides nothing but where threads run.
        let left = sleepers.load(Ordering::Relaxed).saturating_sub(woken as u32);
        Late { sleepers, left, since: Instant::now(), seen: 0 }
    }

    /// Moves some of them if they are late. `asleep`: the system's number of each worker that sleeps or is not awake yet, 0 for others.
    /// True when nothing is left to be done: they have come, or all of them were moved.
    pub(super) fn look(&mut self, asleep: &[Hint]) -> bool {
        if self.sleepers.load(Ordering::Relaxed) <= self.left {
            return true;
        }
        if self.since.elapsed() < LATE {
            return false;
        }
        // Workers are only ever added, so that those that were seen are still there.
        let some = &asleep[self.seen..asleep.len().min(self.seen + MOST_MOVED)];
        self.seen += some.len();
        // Among them may be some that were not woken, to whom nothing happens.
        let numbers = some.iter().map(|thread| thread.load(Ordering::Relaxed));
        sync::move_off_this_cpu(&mut numbers.filter(|thread| *thread != 0));
        self.seen == asleep.len()
    }
}
