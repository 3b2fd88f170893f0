//! Which eight weight rows decode takes at the same time. Knows no block type.
//!
//! Rows that are read at the same time lie apart, so that each is a stream of memory that the CPU follows, or are neighbours, on
//! CPUs that want that. Rows apart make a band: with 8 * steps rows, row `r` of a step lies `r * steps` rows behind its first.

use super::decode::Job;

/// The most weight rows at a time.
pub(super) const ROWS: usize = 8;

/// What of a cache its sets tell apart: addresses so far from each other, or a multiple of it, share a set.
const CACHE_SPAN: usize = 4096;

/// How far from a multiple of half a [`CACHE_SPAN`] the distance of rows apart should be: else all eight, or four each, want the
/// same sets of the first cache at the same time, and what was asked for is gone before its use. At the AVX-512 level of a Zen 4,
/// one thread, GB/s, with rows a multiple of the span apart and 512 B more: from memory Q4_K FAST 18.7 and 23.9, EXACT 16.0 and
/// 19.2, Q8_0 16.9 and 23.0, 13.9 and 20.8; from cache Q4_K 29.0 and 31.7, 19.5 and 22.6.
const SPREAD: usize = 256;

/// Some weight rows of a job.
pub(super) struct Band {
    /// The job with these rows only.
    pub(super) job: Job,
    /// How many times as many rows as `at_a_time` says, or fewer at the end, are taken.
    pub(super) steps: usize,
    /// Rows of a step, at most [`ROWS`].
    at_a_time: usize,
    /// Whether they are neighbours, and so asked for.
    pub(super) neighbours: bool,
}

impl Band {
    /// The band that begins with weight row `begin` of `job`, with `at_a_time` rows in each step. `near`: whether rows fit in the
    /// first cache ahead of their use.
    #[inline(always)]
    pub(super) fn of(job: &Job, begin: usize, near: bool, at_a_time: usize) -> Band {
        let left = job.n - begin;
        let neighbours = near && job.cpu.reads_neighbours();
        let steps = if neighbours { left.div_ceil(at_a_time) } else { steps_apart(left, job.row_bytes, at_a_time) };
        // In bounds: the first row of the rest.
        let (w, y) = (job.w.wrapping_add(begin * job.row_bytes), job.y.wrapping_add(begin));
        Band { job: Job { w, y, n: left.min(steps * at_a_time), ..*job }, steps, at_a_time, neighbours }
    }

    /// The rows of a step, again and again where there are less than eight. Those from `job.n` on do not exist.
    #[inline(always)]
    pub(super) fn rows(&self, step: usize) -> [usize; ROWS] {
        let (row, apart) = if self.neighbours { (step * self.at_a_time, 1) } else { (step, self.steps) };
        [0, 1, 2, 3, 4, 5, 6, 7].map(|r| row + r % self.at_a_time * apart)
    }
}

/// How many steps the next band has, of `left` rows. It may leave rows for one more, so that its own lie as [`SPREAD`] wants it.
fn steps_apart(left: usize, row_bytes: usize, at_a_time: usize) -> usize {
    /// Bands of no more steps are not worth it, and none is shorter by more.
    const FEW: usize = 16;
    let steps = left.div_ceil(at_a_time);
    let spread = |steps: &usize| {
        let distance = steps * row_bytes % (CACHE_SPAN / 2);
        (SPREAD..=CACHE_SPAN / 2 - SPREAD).contains(&distance)
    };
    if steps <= FEW { steps } else { (steps - FEW + 1..=steps).rev().find(spread).unwrap_or(steps) }
}

#[cfg(test)]
mod tests {
    use super::super::cpu::Cpu;
    use super::*;

    fn job(cpu: Cpu, n: usize, row_bytes: usize) -> Job {
        let (w, x, y) = (std::ptr::null(), std::ptr::null(), std::ptr::null_mut());
        Job { w, row_bytes, n, k: 256, x, x_stride: 0, m: 1, y, y_stride: 0, cpu }
    }

    #[test]
    fn bands_have_each_row_once() {
        for cpu in Cpu::ALL {
            for (near, at_a_time) in [(false, 8), (true, 8), (false, 4), (true, 4)] {
                // Rows of Q4_K, Q8_0 and Q6_K with k = 2048 and 4096, and whole pages.
                for row_bytes in [1152, 2304, 2176, 4352, 1680, 3360, 4096] {
                    for n in (1..300).chain([512, 4095, 4096, 4097, 5632]) {
                        let job = job(cpu, n, row_bytes);
                        let (mut seen, mut begin) = (vec![0; n], 0);
                        while begin < n {
                            let band = Band::of(&job, begin, near, at_a_time);
                            assert_eq!(band.job.w.addr(), begin * row_bytes);
                            assert_eq!(band.job.y.addr(), begin * size_of::<f32>());
                            for step in 0..band.steps {
                                let rows = band.rows(step).into_iter().take(at_a_time);
                                for row in rows.filter(|row| *row < band.job.n) {
                                    seen[begin + row] += 1;
                                }
                                assert!(band.rows(step)[0] < band.job.n, "a step without rows");
                            }
                            begin += band.job.n;
                        }
                        assert!(seen.iter().all(|times| *times == 1), "{cpu:?} {row_bytes} {n}");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_apart_do_not_share_their_sets() {
        // TinyLlama and Llama-3-8B, whole and in the parts of two threads.
        for (n, row_bytes) in
            [(5632, 1152), (2048, 1152), (4096, 2304), (256, 2304), (14336, 2304), (896, 2304), (4096, 4352)]
        {
            let band = Band::of(&job(Cpu::Other, n, row_bytes), 0, false, ROWS);
            let sets = band.rows(0).map(|row| row * row_bytes % CACHE_SPAN / SPREAD);
            for set in sets {
                assert!(sets.iter().filter(|other| **other == set).count() <= 2, "{n} {row_bytes}: {sets:?}");
            }
            assert!(band.job.n + 16 * ROWS > n);
        }
    }
}
