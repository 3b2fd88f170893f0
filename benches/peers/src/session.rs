//! A run: the machine's libraries and levels, and everything that was measured.

use crate::ggml;
use crate::ours::Contexts;
use crate::party::Party;
use crate::records::{Record, Run};
use crate::roofs::Reader;
use crate::timing::{Effort, Times, ratio, rounds};
use crate::weights::gaussian;

pub struct Session {
    pub ggml: &'static ggml::Library,
    pub kernels: &'static [ggml::Kernels],
    pub contexts: Contexts,
    /// 1 and all.
    pub threads: Vec<usize>,
    pub quick: bool,
    /// The best way to read, by number of threads.
    pub readers: Vec<(usize, Reader)>,
    pub run: Run,
}

impl Session {
    /// Rounds and time for one race.
    pub fn effort(&self, seconds: f64) -> Effort {
        match self.quick {
            true => Effort { least_rounds: 3, most_rounds: 9, seconds: seconds / 4.0, turn: 1e-3 },
            false => Effort { least_rounds: 7, most_rounds: 41, seconds, turn: 2e-3 },
        }
    }

    /// The largest number of threads.
    pub fn all_threads(&self) -> usize {
        self.threads.iter().copied().max().unwrap_or(1)
    }

    /// Races everybody in all heats (a party with its number of activation rows) against each other, keeps the records.
    pub fn race(&mut self, job: &str, heats: &[(&Party<'_>, usize)], effort: Effort) {
        let activations: Vec<_> = heats.iter().map(|(party, m)| gaussian(m * party.matrix.k, 7)).collect();
        let (mut contestants, mut records) = (Vec::new(), Vec::new());
        for ((party, m), x) in heats.iter().zip(&activations) {
            for entry in party.entries(&mut self.contexts, &self.readers, x) {
                records.push(Record {
                    job: job.to_string(),
                    who: entry.who,
                    level: entry.level.to_string(),
                    kind: entry.kind,
                    threads: entry.threads,
                    tensor_type: party.matrix.tensor_type.name().to_string(),
                    bytes: party.matrix.bytes.as_slice().len(),
                    n: party.matrix.n,
                    k: party.matrix.k,
                    m: *m,
                    times: Default::default(),
                    step: None,
                    error: entry.error,
                });
                contestants.push(entry.contestant);
            }
        }
        // Every party of a job has the same entries.
        let entries = records.len() / heats.len();
        let samples = rounds(&mut contestants, effort);
        for (index, mut record) in records.into_iter().enumerate() {
            record.times = Times::of(samples[index].clone());
            if index >= entries && heats[index / entries - 1].0.matrix.tensor_type.name() == record.tensor_type {
                let grown = record.m as f64 / heats[index / entries - 1].1 as f64;
                record.step = Some(ratio(&samples[index], &samples[index - entries]) * grown);
            }
            show(&record);
            self.run.records.push(record);
        }
    }
}

fn show(record: &Record) {
    let Record { job, who, level, kind, threads, tensor_type, n, k, m, times, error, .. } = record;
    println!(
        "{job:<8} {tensor_type:<7} {n:>6} x {k:<5} m {m:<3} {threads} thr {:<8} {level:<10} {kind:<10} {:>9.4} ms \
         (min {:>9.4}) {:>7.2} GB/s {:>6.3} TMAC/s{}",
        who.name(),
        times.median * 1e3,
        times.minimum * 1e3,
        record.gigabytes(),
        record.tmacs(),
        error.map_or(String::new(), |error| format!("  NMSE {error:.0e}")),
    );
}
