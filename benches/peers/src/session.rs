//! A run: the machine's libraries and levels, who takes part in a race, and everything that was measured.

use crate::ggml;
use crate::ours::{self, Contexts};
use crate::roofs::{Crew, Reader};
use crate::timing::{Contestant, Effort, Times, race};
use crate::weights::{Matrix, gaussian};
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, Precision};
use std::rc::Rc;

/// Who was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Ours,
    Ggml,
    Read,
}

impl Who {
    pub fn name(self) -> &'static str {
        match self {
            Who::Ours => "gguffuse",
            Who::Ggml => "ggml",
            Who::Read => "read",
        }
    }
}

/// One contestant's result in one race.
#[derive(Clone, Debug)]
pub struct Record {
    pub job: &'static str,
    pub who: Who,
    /// The instruction-set level that it was held to; empty where it chooses itself.
    pub level: &'static str,
    /// A precision of ours; where a peer keeps its weights.
    pub kind: String,
    pub threads: usize,
    pub tensor_type: &'static str,
    pub n: usize,
    pub k: usize,
    pub m: usize,
    pub times: Times,
    /// Normalised mean square error.
    pub error: Option<f64>,
}

impl Record {
    /// 10^12 multiplications with an addition per second.
    pub fn tmacs(&self) -> f64 {
        (self.m * self.n * self.k) as f64 / self.times.median * 1e-12
    }
}

/// A peak of the machine's arithmetic, in 10^12 multiplications with an addition per second.
#[derive(Clone, Debug)]
pub struct Peak {
    pub unit: &'static str,
    pub threads: usize,
    pub tmacs: f64,
}

/// Who takes part in a race, beside the choice that the session makes.
#[derive(Clone, Debug)]
pub struct Field {
    pub levels: Vec<Level>,
    pub precisions: Vec<Precision>,
    pub threads: Vec<usize>,
    pub ggml: bool,
    pub read: bool,
}

pub struct Session {
    pub ggml: &'static ggml::Library,
    pub kernels: &'static [ggml::Kernels],
    pub contexts: Contexts,
    /// 1 and all.
    pub threads: Vec<usize>,
    pub quick: bool,
    pub records: Vec<Record>,
    pub peaks: Vec<Peak>,
    /// The best way to read, by number of threads.
    pub readers: Vec<(usize, Reader)>,
}

/// A contestant with what its record will say.
struct Entry<'a> {
    who: Who,
    level: &'static str,
    kind: String,
    threads: usize,
    error: Option<f64>,
    contestant: Box<dyn Contestant + 'a>,
}

struct Ours<'a> {
    context: Rc<Context>,
    matrix: &'a Matrix,
    x: &'a [f32],
    y: Vec<f32>,
}

impl Contestant for Ours<'_> {
    fn call(&mut self) {
        ours::multiply(&self.context, self.matrix, self.x, &mut self.y);
    }
}

impl Contestant for ggml::Product<'_> {
    fn call(&mut self) {
        self.compute();
    }

    fn rest(&mut self) {
        ggml::Product::rest(self);
    }
}

/// Reads the weights and does nothing with them.
pub struct Reading<'a> {
    pub reader: Reader,
    pub crew: Crew,
    pub data: &'a [u8],
}

impl Contestant for Reading<'_> {
    fn call(&mut self) {
        let (reader, data, shares) = (self.reader, self.data, self.crew.len());
        self.crew.run(&|number| reader.read(data, number, shares));
    }
}

/// Bounds of the normalised mean square error: what each one's arithmetic promises. ggml's own tests allow 5e-4 as well.
fn allowed_error(who: Who, kind: &str) -> f64 {
    match (who, kind) {
        (Who::Ours, "EXACT") => 1e-12,
        (Who::Ours, "HIGH") => 1e-8,
        _ => 5e-4,
    }
}

impl Session {
    /// Rounds and time for one race.
    pub fn effort(&self, seconds: f64) -> Effort {
        match self.quick {
            true => Effort { least_rounds: 3, most_rounds: 9, seconds: seconds / 4.0, turn: 1e-3 },
            false => Effort { least_rounds: 7, most_rounds: 41, seconds, turn: 2e-3 },
        }
    }

    /// Races everybody in `field` for `m` activation rows and keeps the records.
    pub fn compare(&mut self, job: &'static str, matrix: &Matrix, m: usize, field: &Field, seconds: f64) {
        let effort = self.effort(seconds);
        let x = gaussian(m * matrix.k, 7);
        let kernels = if field.ggml { self.kernels } else { &[] };
        let uploaded: Vec<_> = kernels
            .iter()
            .filter(|kernels| field.levels.contains(&kernels.level))
            .flat_map(|kernels| kernels.upload(matrix).into_iter().map(move |uploaded| (kernels, uploaded)))
            .collect();
        let mut entries = Vec::new();
        for &threads in &field.threads {
            for &level in &field.levels {
                for &precision in &field.precisions {
                    entries.push(ours(&mut self.contexts, matrix, &x, level, precision, threads));
                }
            }
            for (kernels, uploaded) in &uploaded {
                entries.push(theirs(kernels, uploaded, matrix, &x, threads));
            }
            if field.read {
                let reader = self.readers.iter().find(|(of, _)| *of == threads).expect("the roofs come first").1;
                let reading = Reading { reader, crew: Crew::new(threads), data: matrix.bytes.as_slice() };
                entries.push(Entry {
                    who: Who::Read,
                    level: "",
                    kind: String::new(),
                    threads,
                    error: None,
                    contestant: Box::new(reading),
                });
            }
        }
        let mut contestants = Vec::new();
        let mut labels = Vec::new();
        for Entry { who, level, kind, threads, error, contestant } in entries {
            contestants.push(contestant);
            labels.push((who, level, kind, threads, error));
        }
        let all = race(&mut contestants, effort);
        for ((who, level, kind, threads, error), times) in labels.into_iter().zip(all) {
            let tensor_type = matrix.tensor_type.name();
            let Matrix { n, k, .. } = *matrix;
            self.keep(Record { job, who, level, kind, threads, tensor_type, n, k, m, times, error });
        }
    }

    fn keep(&mut self, record: Record) {
        let Record { job, who, level, kind, threads, tensor_type, n, k, m, times, error } = &record;
        let gigabytes = gguffuse::blocks::TensorType::ALL
            .iter()
            .find(|of| of.name() == *tensor_type)
            .map_or(0.0, |of| of.row_size(*k as u64).unwrap_or(0) as f64 * *n as f64 * 1e-9);
        println!(
            "{job:<8} {tensor_type:<7} {n:>6} x {k:<5} m {m:<3} {threads} thr {:<8} {level:<10} {kind:<10} {:>9.3} ms (min {:>9.3}) \
             {:>6.2} GB/s {:>6.3} TMAC/s{}",
            who.name(),
            times.median * 1e3,
            times.minimum * 1e3,
            gigabytes / times.median,
            record.tmacs(),
            error.map_or(String::new(), |error| format!("  NMSE {error:.1e}")),
        );
        self.records.push(record);
    }
}

fn ours<'a>(
    contexts: &mut Contexts,
    matrix: &'a Matrix,
    x: &'a [f32],
    level: Level,
    precision: Precision,
    threads: usize,
) -> Entry<'a> {
    let context = contexts.get(level, precision, threads);
    let mut ours = Ours { context, matrix, x, y: vec![0.0; x.len() / matrix.k * matrix.n] };
    ours.call();
    let error = matrix.error(x, &ours.y);
    let kind = format!("{precision:?}").to_uppercase();
    checked(Entry {
        who: Who::Ours,
        level: level.name(),
        kind,
        threads,
        error: Some(error),
        contestant: Box::new(ours),
    })
}

fn theirs<'a>(
    kernels: &ggml::Kernels,
    uploaded: &'a ggml::Uploaded<'_>,
    matrix: &Matrix,
    x: &[f32],
    threads: usize,
) -> Entry<'a> {
    let product = ggml::Product::new(uploaded, x, threads);
    product.compute();
    product.rest();
    let error = Some(matrix.error(x, &product.result()));
    let (level, kind) = (kernels.level.name(), uploaded.kind.clone());
    checked(Entry { who: Who::Ggml, level, kind, threads, error, contestant: Box::new(product) })
}

/// A wrong product would make its time worthless.
fn checked(entry: Entry<'_>) -> Entry<'_> {
    let Entry { who, level, kind, threads, error, .. } = &entry;
    let allowed = allowed_error(*who, kind);
    let error = error.unwrap_or(0.0);
    assert!(error <= allowed, "{} {level} {kind} {threads} threads: NMSE {error:e}, allowed {allowed:e}", who.name());
    entry
}
