//! The bars: what the project promises of its speed, each as a ratio measured in this run.

use crate::records::{Record, Run, Who};
use crate::timing::Times;

/// One promise and what became of it.
pub struct Bar {
    pub job: &'static str,
    pub what: String,
    /// "at least" if true, else "at most".
    pub at_least: bool,
    pub bound: f64,
    /// Of the medians, and of the minima.
    pub median: f64,
    pub minimum: f64,
}

impl Bar {
    pub fn passes(&self) -> bool {
        match self.at_least {
            true => self.median >= self.bound,
            false => self.median <= self.bound,
        }
    }
}

/// How many times faster `time` is than `reference`: of medians, and of minima.
fn faster(time: Times, reference: Times) -> (f64, f64) {
    (reference.median / time.median, reference.minimum / time.minimum)
}

/// The order of the levels; empty (no level) is lowest.
fn rank(level: &str) -> usize {
    ["", "scalar", "avx2", "avxvnni", "avx512vnni", "amx"].iter().position(|name| *name == level).unwrap_or(0)
}

impl Run {
    /// The records of a job.
    pub fn of<'a>(&'a self, job: &'a str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter(move |record| record.job == job)
    }

    /// The fastest record of a job for which `select` holds.
    pub fn fastest<'a>(&'a self, job: &'a str, select: impl Fn(&Record) -> bool) -> Option<&'a Record> {
        self.of(job).filter(|record| select(record)).min_by(|a, b| a.times.median.total_cmp(&b.times.median))
    }

    /// Ours at the best level.
    pub fn best_level(&self) -> &str {
        self.levels.last().map_or("", String::as_str)
    }

    pub fn peak(&self, unit: &str, threads: usize) -> Option<f64> {
        self.peaks.iter().find(|peak| peak.unit == unit && peak.threads == threads).map(|peak| peak.tmacs)
    }
}

fn is_ours(record: &Record, level: &str, precision: &str) -> bool {
    record.who == Who::Ours && record.level == level && record.kind == precision
}

/// All bars for which the run has records.
pub fn bars(run: &Run) -> Vec<Bar> {
    let mut all = Vec::new();
    stream(run, &mut all);
    stream_of_types(run, &mut all);
    decode_peers(run, &mut all);
    prefill(run, &mut all);
    prefill_types(run, &mut all);
    monotone(run, &mut all);
    small(run, &mut all);
    memory(run, &mut all);
    all
}

/// Decode against the read stream.
fn stream(run: &Run, all: &mut Vec<Bar>) {
    for (level, precision, with_one, with_all) in [
        ("avx512vnni", "FAST", 0.95, 0.95),
        ("avx512vnni", "HIGH", 0.95, 0.95),
        ("avx512vnni", "EXACT", 0.85, 0.90),
        ("avx2", "FAST", 0.85, 0.85),
        ("avx2", "EXACT", 0.70, 0.70),
    ] {
        for &threads in &run.threads {
            let bound = if threads == 1 { with_one } else { with_all };
            push_stream(run, all, "dram", "q4_k", level, precision, threads, bound);
        }
    }
}

fn stream_of_types(run: &Run, all: &mut Vec<Bar>) {
    for tensor_type in ["q2_k", "q3_k", "q5_k", "q6_k", "q8_0", "q4_0", "iq4_xs"] {
        for (precision, bound) in [("FAST", 0.90), ("EXACT", 0.80)] {
            for &threads in &run.threads {
                push_stream(run, all, "dram-types", tensor_type, run.best_level(), precision, threads, bound);
            }
        }
    }
}

fn push_stream(
    run: &Run,
    all: &mut Vec<Bar>,
    job: &str,
    tensor_type: &str,
    level: &str,
    precision: &str,
    threads: usize,
    bound: f64,
) {
    let here = |record: &Record| record.tensor_type == tensor_type && record.threads == threads;
    let ours = run.fastest(job, |record| here(record) && is_ours(record, level, precision));
    let read = run.fastest(job, |record| here(record) && record.who == Who::Read);
    if let (Some(ours), Some(read)) = (ours, read) {
        let (median, minimum) = faster(ours.times, read.times);
        all.push(Bar {
            job: "decode from DRAM / read stream",
            what: format!("{tensor_type}, {level}, {precision}, {threads} threads"),
            at_least: true,
            bound,
            median,
            minimum,
        });
    }
}

/// Ours (`what`, the best number of threads) against the best peer up to a level.
fn push_peer(run: &Run, all: &mut Vec<Bar>, bar: &'static str, job: &str, level: &str, precision: &str, bound: f64) {
    let ours = run.fastest(job, |record| is_ours(record, level, precision));
    let only_ggml = bar.contains("ggml");
    let peer = run.fastest(job, |record| {
        record.who.is_peer() && rank(&record.level) <= rank(level) && (!only_ggml || record.who == Who::Ggml)
    });
    if let (Some(ours), Some(peer)) = (ours, peer) {
        let (median, minimum) = faster(ours.times, peer.times);
        let place = match job {
            "dram" => "from DRAM",
            "cache" => "in cache",
            _ => "m = 512",
        };
        let peer = [peer.who.name(), &peer.level, &peer.kind].join(" ");
        let what = format!("q4_k {place}, {level}, {precision}; best peer {}", peer.trim_end());
        all.push(Bar { job: bar, what, at_least: true, bound, median, minimum });
    }
}

fn decode_peers(run: &Run, all: &mut Vec<Bar>) {
    for job in ["cache", "dram"] {
        for (precision, bound) in [("EXACT", 1.2), ("FAST", 1.5)] {
            push_peer(run, all, "decode / best peer", job, run.best_level(), precision, bound);
        }
    }
}

/// Ours, m = 512, against a unit of the machine that does as many multiplications, in the same race.
fn push_peak(run: &Run, all: &mut Vec<Bar>, level: &str, precision: &str, unit: &str, bound: f64) {
    for &threads in &run.threads {
        let ours = run.fastest("prefill", |record| is_ours(record, level, precision) && record.threads == threads);
        let peak = run
            .fastest("prefill", |record| record.who == Who::Unit && record.kind == unit && record.threads == threads);
        if let (Some(ours), Some(peak)) = (ours, peak) {
            let (median, minimum) = faster(ours.times, peak.times);
            all.push(Bar {
                job: "prefill / peak of the unit",
                what: format!("q4_k m = 512, {level}, {precision}, {threads} threads; {unit}"),
                at_least: true,
                bound,
                median,
                minimum,
            });
        }
    }
}

fn prefill(run: &Run, all: &mut Vec<Bar>) {
    push_peak(run, all, "amx", "FAST", "tdpbusd", 0.30);
    for (precision, bound) in [("FAST", 5.0), ("HIGH", 3.5), ("EXACT", 1.8)] {
        push_peer(run, all, "prefill / best of ggml", "prefill", "amx", precision, bound);
    }
    push_peak(run, all, "avx512vnni", "FAST", "vpdpbusd, 64 B", 0.50);
    push_peer(run, all, "prefill / best peer", "prefill", "avx512vnni", "FAST", 1.8);
    push_peak(run, all, "avx512vnni", "EXACT", "f32 FMA, 64 B", 1.0);
    push_peer(run, all, "prefill / best of ggml", "prefill", "avx2", "FAST", 1.3);
}

fn prefill_types(run: &Run, all: &mut Vec<Bar>) {
    let job = "prefill-types";
    for tensor_type in ["q6_k", "q5_k", "q8_0", "q4_0", "iq4_xs"] {
        for precision in ["FAST", "HIGH", "EXACT"] {
            let of = |tensor_type: &str| {
                run.fastest(job, |record| record.tensor_type == tensor_type && record.kind == precision)
            };
            if let (Some(ours), Some(reference)) = (of(tensor_type), of("q4_k")) {
                let (median, minimum) = faster(ours.times, reference.times);
                let what = format!("{tensor_type} / q4_k, m = 512, {}, {precision}", ours.level);
                all.push(Bar { job: "prefill of other types", what, at_least: true, bound: 0.85, median, minimum });
            }
        }
    }
}

/// Throughput over m, and level over level.
fn monotone(run: &Run, all: &mut Vec<Bar>) {
    let precisions = ["FAST", "HIGH", "EXACT"];
    let rows = |level: &str, precision: &str| -> Vec<&Record> {
        run.of("sweep").filter(|record| is_ours(record, level, precision)).collect()
    };
    for level in &run.levels {
        for precision in precisions {
            let rows = rows(level, precision);
            // By the rounds' ratios: the worst of nearly fifty ratios of two medians each was noise more often than not.
            let steps = rows.windows(2).filter_map(|pair| {
                let grown = pair[1].m as f64 / pair[0].m as f64;
                let (_, minimum) = faster(pair[1].times, pair[0].times);
                Some((pair[1].step?, minimum * grown, format!("m = {} to {}", pair[0].m, pair[1].m)))
            });
            push_worst(all, "throughput from one m to the next", &format!("{level}, {precision}"), 0.95, steps);
        }
    }
    for pair in run.levels.windows(2) {
        for precision in precisions {
            let (lower, higher) = (rows(&pair[0], precision), rows(&pair[1], precision));
            let ratios = lower.iter().zip(&higher).map(|(lower, higher)| {
                let (median, minimum) = faster(higher.times, lower.times);
                (median, minimum, format!("m = {}", lower.m))
            });
            // Levels that share a kernel take the same time, but for noise.
            push_worst(all, "level / level below it", &format!("{} / {}, {precision}", pair[1], pair[0]), 0.97, ratios);
        }
    }
}

/// The worst of many ratios, and where.
fn push_worst(
    all: &mut Vec<Bar>,
    job: &'static str,
    what: &str,
    bound: f64,
    ratios: impl Iterator<Item = (f64, f64, String)> + Clone,
) {
    let least = ratios.clone().map(|(_, minimum, _)| minimum).min_by(f64::total_cmp);
    let worst = ratios.min_by(|a, b| a.0.total_cmp(&b.0));
    if let (Some((median, _, place)), Some(minimum)) = (worst, least) {
        all.push(Bar { job, what: format!("{what}; worst at {place}"), at_least: true, bound, median, minimum });
    }
}

fn small(run: &Run, all: &mut Vec<Bar>) {
    for precision in ["FAST", "HIGH", "EXACT"] {
        let of = |threads: usize| {
            run.fastest("small", |record| is_ours(record, run.best_level(), precision) && record.threads == threads)
        };
        let most = run.threads.iter().copied().max().unwrap_or(1);
        if let (Some(one), Some(many)) = (of(1), of(most)) {
            all.push(Bar {
                job: "small call: microseconds over one thread",
                what: format!("n = k = 256, m = 1, {precision}, {most} threads"),
                at_least: false,
                bound: 3.0,
                median: (many.times.median - one.times.median) * 1e6,
                minimum: (many.times.minimum - one.times.minimum) * 1e6,
            });
        }
    }
}

fn memory(run: &Run, all: &mut Vec<Bar>) {
    if run.memory.is_empty() {
        return;
    }
    let most = run.memory.iter().map(|memory| memory.allocations).max().unwrap_or(0) as f64;
    let what = "all levels, precisions, m = 1 and 512; ten calls after the first".to_string();
    all.push(Bar { job: "heap allocations", what, at_least: false, bound: 0.0, median: most, minimum: most });
    for memory in run.memory.iter().filter(|memory| memory.m > 1) {
        let planes = match memory.precision.as_str() {
            "FAST" => 1,
            "HIGH" => 2,
            _ => 3,
        };
        // The digits, and three quarters of a byte for each activation's part of scales and sums.
        let packed = memory.m * memory.k * planes + memory.m * memory.k * 3 / 4;
        let scratch = memory.held.saturating_sub(packed) as f64 / memory.threads as f64 / f64::from(1 << 20);
        all.push(Bar {
            job: "scratch, MiB per thread",
            what: format!("m = 512, {}, {}", memory.level, memory.precision),
            at_least: false,
            bound: 2.0,
            median: scratch,
            minimum: scratch,
        });
    }
}
