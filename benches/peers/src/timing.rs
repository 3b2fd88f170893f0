//! Races: contestants run in turns, A B C A B C, so that whatever disturbs the machine disturbs all of them.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Seconds per call of one contestant.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    pub minimum: f64,
    pub median: f64,
}

/// How long a race may take.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Turns that every contestant gets at least.
    pub least_rounds: usize,
    /// Turns after which it is enough.
    pub most_rounds: usize,
    /// Seconds for the whole race, after which no round is begun; `least_rounds` goes before it.
    pub seconds: f64,
    /// A turn repeats calls until it has lasted so many seconds.
    pub turn: f64,
}

/// Somebody who can be timed.
pub trait Contestant {
    /// What is timed.
    fn call(&mut self);

    /// After a turn: lets threads sleep that would wait actively and disturb the next one.
    fn rest(&mut self) {}
}

fn timed(contestant: &mut dyn Contestant, calls: usize) -> f64 {
    let begin = Instant::now();
    for _ in 0..calls {
        contestant.call();
    }
    begin.elapsed().as_secs_f64() / calls as f64
}

/// Times every contestant, in turns: seconds per call in each turn, rounds in order. Short calls are repeated within a turn, and
/// a call that is not timed comes first: it wakes the threads and brings the operands into the cache.
pub fn rounds(contestants: &mut [Box<dyn Contestant + '_>], effort: Effort) -> Vec<Vec<f64>> {
    /// Above this many seconds, what the first call of a turn costs more does not show.
    const LONG: f64 = 50e-3;
    let mut estimates = Vec::new();
    for contestant in contestants.iter_mut() {
        contestant.call();
        estimates.push(timed(&mut **contestant, 1));
        contestant.rest();
    }
    let begin = Instant::now();
    let mut samples = vec![Vec::new(); contestants.len()];
    for round in 0..effort.most_rounds {
        if round >= effort.least_rounds && begin.elapsed() > Duration::from_secs_f64(effort.seconds) {
            break;
        }
        for (index, contestant) in contestants.iter_mut().enumerate() {
            if estimates[index] < LONG {
                contestant.call();
            }
            let calls = (effort.turn / estimates[index]).ceil().clamp(1.0, 1e6) as usize;
            let time = timed(&mut **contestant, calls);
            estimates[index] = estimates[index].min(time);
            samples[index].push(time);
            contestant.rest();
        }
    }
    samples
}

/// The same, summed up.
pub fn race(contestants: &mut [Box<dyn Contestant + '_>], effort: Effort) -> Vec<Times> {
    rounds(contestants, effort).into_iter().map(Times::of).collect()
}

/// How many times as fast `this` was as `other`: the median of the rounds' ratios. Whatever disturbs the machine for longer than a
/// round is in both of them.
pub fn ratio(this: &[f64], other: &[f64]) -> f64 {
    Times::of(this.iter().zip(other).map(|(this, other)| other / this).collect()).median
}

impl Times {
    pub fn of(mut samples: Vec<f64>) -> Times {
        samples.sort_by(f64::total_cmp);
        Times { minimum: samples[0], median: samples[samples.len() / 2] }
    }
}
