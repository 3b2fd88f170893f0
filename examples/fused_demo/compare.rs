//! The measurements: naive against fused, and all precisions at all ISA levels.

use crate::files::Chosen;
use crate::memory::peak_of;
use crate::naive;
use crate::progress::Progress;
use crate::random::Random;
use crate::reference::{Errors, Reference};
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, ContextOptions, Precision, Weights};
use std::time::{Duration, Instant};

/// Activation rows of the comparison.
const ROWS: [usize; 4] = [1, 8, 64, 512];
const SEED: u64 = 7;

/// Limits of the repeats of one case. A case ends with the first that is reached.
const MOST_ROUNDS: usize = 15;
const LONGEST_CASE: Duration = Duration::from_millis(1500);
/// Fused runs per naive one. The first after a naive one are slower, perhaps as the caches are full of f32 weights: with few
/// runs the median would be one of these (measured: m = 8 takes 1.6 ms with 3 runs, 1.0 with 40).
const FUSED_RUNS: usize = 9;
/// The naive product is left out where it would take longer.
const LONGEST_NAIVE: Duration = Duration::from_secs(15);

/// All that is known of one tensor.
pub struct Report {
    pub name: String,
    pub tensor_type: &'static str,
    pub k: usize,
    pub n: usize,
    pub relative_offset: u64,
    pub absolute_offset: u64,
    pub blocks: u64,
    pub size_bytes: u64,
    pub f32_bytes: u64,
    /// Dequantised weights that are NaN or infinite.
    pub not_finite: u64,
    /// ISA level of the comparison.
    pub isa: &'static str,
    pub cases: Vec<Case>,
    /// m = 1 on one thread.
    pub levels: Vec<LevelCase>,
}

/// Naive against fused (EXACT).
pub struct Case {
    pub m: usize,
    pub threads: usize,
    /// `None` where it would have taken too long.
    pub naive: Option<Measured>,
    pub fused: Measured,
    /// Largest difference between the two products, over all elements.
    pub largest_to_naive: Option<f64>,
    /// Whether every bit of the fused product is as on one thread.
    pub same_bits: bool,
}

/// One way of multiplying.
pub struct Measured {
    /// Median.
    pub time: Duration,
    /// Part of it that went into dequantising, median; naive only.
    pub dequantize: Option<Duration>,
    pub errors: Errors,
    pub peak_bytes: usize,
}

/// One precision at one level.
pub struct LevelCase {
    pub isa: &'static str,
    pub precision: &'static str,
    pub time: Duration,
    pub errors: Errors,
}

/// Measures one tensor. `quick`: one repeat of everything.
pub fn compare(chosen: &Chosen<'_>, quick: bool, progress: &mut Progress) -> Result<Report, String> {
    let (tensor, w) = (&chosen.tensor, &chosen.w);
    let rounds = if quick { 1 } else { MOST_ROUNDS };
    let all = context(None, 0, Precision::Exact)?;
    let mut thread_counts = vec![1, all.threads()];
    thread_counts.dedup();

    let mut report = Report {
        name: tensor.name.to_owned(),
        tensor_type: w.tensor_type.name(),
        k: w.k,
        n: w.n,
        relative_offset: tensor.relative_offset,
        absolute_offset: tensor.absolute_offset,
        blocks: tensor.size_bytes / w.tensor_type.block_bytes() as u64,
        size_bytes: tensor.size_bytes,
        f32_bytes: (w.n * w.k * size_of::<f32>()) as u64,
        not_finite: 0,
        isa: all.isa().name(),
        cases: Vec::new(),
        levels: Vec::new(),
    };
    for m in ROWS {
        progress.say(&format!("{}: m = {m}, the f64 product", tensor.name));
        let x = activations(m, w.k);
        let reference = Reference::new(w, &x, m, all.threads())?;
        report.not_finite = reference.not_finite;
        let mut one_thread = None;
        for &threads in &thread_counts {
            progress.say(&format!("{}: m = {m}, {threads} threads", tensor.name));
            let with_naive = naive_is_worth_it(&report.cases, m, threads);
            let mut job = Job { w, x: &x, m, threads, reference: &reference, rounds };
            let (case, y) = job.run(with_naive, one_thread.as_deref())?;
            report.cases.push(case);
            one_thread.get_or_insert(y);
        }
        if m == 1 {
            progress.say(&format!("{}: all levels and precisions", tensor.name));
            report.levels = levels(w, &x, &reference, rounds)?;
        }
    }
    Ok(report)
}

fn context(max_isa: Option<&str>, threads: usize, precision: Precision) -> Result<Context, String> {
    let options = ContextOptions { threads: threads as u32, precision, max_isa };
    Context::new(&options).map_err(|why| why.to_string())
}

fn activations(m: usize, k: usize) -> Vec<f32> {
    let mut x = vec![0f32; m * k];
    Random::new(SEED, m as u64).fill_normal(1.0, &mut x);
    x
}

/// Judged by the time that it took with fewer rows.
fn naive_is_worth_it(cases: &[Case], m: usize, threads: usize) -> bool {
    let before = cases.iter().rfind(|case| case.threads == threads);
    before.is_none_or(|case| {
        let naive = case.naive.as_ref();
        naive.is_some_and(|naive| naive.time * (m / case.m) as u32 <= LONGEST_NAIVE)
    })
}

/// One case of the comparison.
struct Job<'a> {
    w: &'a Weights<'a>,
    x: &'a [f32],
    m: usize,
    threads: usize,
    reference: &'a Reference,
    rounds: usize,
}

impl Job<'_> {
    /// Also returns the fused product, to be `one_thread` of the next case.
    fn run(&mut self, with_naive: bool, one_thread: Option<&[f32]>) -> Result<(Case, Vec<f32>), String> {
        let context = context(None, self.threads, Precision::Exact)?;
        let mut y = vec![0f32; self.m * self.w.n];
        let mut naive_y = y.clone();
        // The first call of a context also makes its threads and takes the memory that later calls use again.
        let (first, fused_peak) = peak_of(|| self.fused(&context, &mut y));
        first?;

        let (mut fused, mut naive, mut dequantize, mut naive_peak) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let start = Instant::now();
        // Naive and fused take turns, so that both see the same weather on the machine.
        for _ in 0..self.rounds {
            if with_naive {
                let start = Instant::now();
                let (done, peak) = peak_of(|| naive::product(self.w, self.x, self.m, &mut naive_y, self.threads));
                naive.push(start.elapsed());
                dequantize.push(done?);
                naive_peak = naive_peak.max(peak);
            }
            for _ in 0..FUSED_RUNS {
                let start = Instant::now();
                self.fused(&context, &mut y)?;
                fused.push(start.elapsed());
            }
            if start.elapsed() >= LONGEST_CASE {
                break;
            }
        }
        let case = Case {
            m: self.m,
            threads: self.threads,
            naive: with_naive.then(|| Measured {
                time: median(&mut naive),
                dequantize: Some(median(&mut dequantize)),
                errors: self.reference.errors_of(&naive_y, self.w.n),
                peak_bytes: naive_peak,
            }),
            fused: Measured {
                time: median(&mut fused),
                dequantize: None,
                errors: self.reference.errors_of(&y, self.w.n),
                peak_bytes: fused_peak,
            },
            largest_to_naive: with_naive.then(|| largest_difference(&y, &naive_y)),
            same_bits: one_thread.is_none_or(|other| same_bits(&y, other)),
        };
        Ok((case, y))
    }

    fn fused(&self, context: &Context, y: &mut [f32]) -> Result<(), String> {
        let done = context.matmul(self.w, self.x, 0, self.m, y, 0);
        done.map_err(|why| why.to_string())
    }
}

/// Every precision at every level, m = 1, one thread.
fn levels(w: &Weights<'_>, x: &[f32], reference: &Reference, rounds: usize) -> Result<Vec<LevelCase>, String> {
    let best = Level::best(None).map_err(|why| why.to_string())?;
    let mut cases = Vec::new();
    for level in Level::available().iter().filter(|level| **level <= best) {
        for (precision, name) in Precision::ALL.into_iter().zip(["EXACT", "HIGH", "FAST"]) {
            let context = context(Some(level.name()), 1, precision)?;
            let mut y = vec![0f32; w.n];
            let mut times = Vec::new();
            let start = Instant::now();
            // Once more than is counted: the first call takes memory.
            for round in 0..=rounds * FUSED_RUNS {
                let start_round = Instant::now();
                let done = context.matmul(w, x, 0, 1, &mut y, 0);
                done.map_err(|why| why.to_string())?;
                if round > 0 {
                    times.push(start_round.elapsed());
                }
                if round > 0 && start.elapsed() >= LONGEST_CASE {
                    break;
                }
            }
            cases.push(LevelCase {
                isa: level.name(),
                precision: name,
                time: median(&mut times),
                errors: reference.errors_of(&y, w.n),
            });
        }
    }
    Ok(cases)
}

/// The middle one. `times` is not empty.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    let differences = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    // `max` would pass over a NaN.
    differences.fold(0.0, |largest, one| if one <= largest { largest } else { one })
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
