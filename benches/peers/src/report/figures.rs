//! The figures of performance.md.

use super::chart::{Bars, Lines, Series};
use crate::records::{Record, Run, Who};

/// Colours of chart.rs: ours from dark to light, the peers, the roofs.
const EXACT: usize = 0;
const HIGH: usize = 1;
const FAST: usize = 2;
const GGML: usize = 3;
const CANDLE: usize = 4;
const FLOATS: usize = 5;
const ROOF: usize = 6;

/// File name, title, SVG.
pub fn all(run: &Run) -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("roofline", "Roofline", roofline(run).draw()),
        ("throughput", "Throughput over m", throughput(run).draw()),
        ("decode", "Decode from DRAM, beside peers", decode(run).draw()),
        ("prefill", "Prefill, beside peers", prefill(run).draw()),
        ("types-decode", "Decode with every type", types(run, 1).draw()),
        ("types-prefill", "Prefill with every type", types(run, 512).draw()),
    ]
}

fn most_threads(run: &Run) -> usize {
    run.threads.iter().copied().max().unwrap_or(1)
}

/// (m, TMAC/s) of one contestant, fastest way at each m.
fn over_rows(run: &Run, job: &str, select: impl Fn(&Record) -> bool) -> Vec<(f64, f64)> {
    let mut rows: Vec<usize> = run.of(job).filter(|record| select(record)).map(|record| record.m).collect();
    rows.sort_unstable();
    rows.dedup();
    let fastest = |m: &usize| run.fastest(job, |record| record.m == *m && select(record));
    rows.iter().filter_map(fastest).map(|record| (record.m as f64, record.tmacs())).collect()
}

fn series(name: &str, colour: usize, points: Vec<(f64, f64)>) -> Series {
    Series { name: name.to_string(), colour, limit: false, points }
}

/// Ours at the best level and everybody else, on TinyLlama's ffn_gate, over m.
fn contestants(run: &Run) -> Vec<Series> {
    let best = run.best_level();
    let ours =
        |precision: &str| over_rows(run, "sweep", |r| r.who == Who::Ours && r.level == best && r.kind == precision);
    let other = |who: Who| over_rows(run, "shapes", |r| r.who == who && r.n == 5632 && r.k == 2048);
    vec![
        series("gguffuse FAST", FAST, ours("FAST")),
        series("gguffuse HIGH", HIGH, ours("HIGH")),
        series("gguffuse EXACT", EXACT, ours("EXACT")),
        series("ggml, its best", GGML, other(Who::Ggml)),
        series("candle", CANDLE, other(Who::Candle)),
        series("f32 on dequantised", FLOATS, other(Who::Floats)),
    ]
}

fn throughput(run: &Run) -> Lines {
    Lines {
        title: format!("Q4_K 5632 x 2048 in cache, {}, {} threads", run.best_level(), most_threads(run)),
        x: "m, activation rows".to_string(),
        y: "TMAC/s".to_string(),
        series: contestants(run),
    }
}

fn roofline(run: &Run) -> Lines {
    let threads = most_threads(run);
    // Multiplications that each byte of Q4_K weights is good for, per activation row.
    let per_row = 256.0 / 144.0;
    let mut all = contestants(run);
    // Its weights have other bytes.
    all.retain(|series| series.colour != FLOATS);
    for point in all.iter_mut().flat_map(|series| &mut series.points) {
        point.0 *= per_row;
    }
    let (low, high) = (per_row, 512.0 * per_row);
    let mut top = 0.0f64;
    for (unit, name) in [("tdpbusd", "tdpbusd"), ("vpdpbusd, 64 B", "vpdpbusd"), ("f32 FMA, 64 B", "f32 FMA")] {
        if let Some(peak) = run.peak(unit, threads) {
            top = top.max(peak);
            let points = vec![(low, peak), (high, peak)];
            all.push(Series { name: name.to_string(), colour: ROOF, limit: true, points });
        }
    }
    if let Some(stream) = run.streams.iter().find(|stream| stream.threads == threads) {
        let slope = stream.gigabytes * 1e-3;
        let end = (top / slope).min(high);
        let points = vec![(low, low * slope), (end, end * slope)];
        all.push(Series { name: "read stream".to_string(), colour: ROOF, limit: true, points });
    }
    let decode = run.fastest("dram", |r| r.who == Who::Ours && r.level == run.best_level() && r.kind == "EXACT");
    if let Some(decode) = decode {
        all.push(series("EXACT from DRAM", EXACT, vec![(per_row, decode.tmacs())]));
    }
    Lines {
        title: format!(
            "Roofline: Q4_K, {}, {threads} threads; weights in cache but where it says DRAM",
            run.best_level()
        ),
        x: "multiplications per byte of weights".to_string(),
        y: "TMAC/s".to_string(),
        series: all,
    }
}

fn names() -> Vec<(String, usize)> {
    let all = [("FAST", FAST), ("HIGH", HIGH), ("EXACT", EXACT), ("ggml", GGML), ("candle", CANDLE), ("f32", FLOATS)];
    all.map(|(name, colour)| (name.to_string(), colour)).to_vec()
}

/// The fastest of each series' ways among the records that `here` selects.
fn group(run: &Run, job: &str, here: impl Fn(&Record) -> bool, value: impl Fn(&Record) -> f64) -> Vec<(usize, f64)> {
    let whose = [
        (Who::Ours, "FAST"),
        (Who::Ours, "HIGH"),
        (Who::Ours, "EXACT"),
        (Who::Ggml, ""),
        (Who::Candle, ""),
        (Who::Floats, ""),
    ];
    let mut bars = Vec::new();
    for (index, (who, kind)) in whose.into_iter().enumerate() {
        if let Some(record) = run.fastest(job, |r| r.who == who && r.kind.contains(kind) && here(r)) {
            bars.push((index, value(record)));
        }
    }
    bars
}

fn decode(run: &Run) -> Bars {
    let threads = most_threads(run);
    let mut groups = Vec::new();
    let reads = run.records.iter().filter(|record| record.job.starts_with("dram") && record.who == Who::Read);
    for read in reads.filter(|read| read.threads == threads) {
        let best = run.best_level();
        let here = |r: &Record| {
            let level = r.who != Who::Ours || r.level == best;
            level && r.tensor_type == read.tensor_type && r.threads == read.threads
        };
        let bars = group(run, &read.job, here, |r| read.times.median / r.times.median);
        groups.push((read.tensor_type.clone(), bars));
    }
    Bars {
        title: format!("Decode, weights from DRAM, {threads} threads: part of the read stream's speed"),
        x: "bytes of weights per second / read stream of the same run".to_string(),
        series: names()[..5].to_vec(),
        groups,
        marks: vec![("read stream".to_string(), 1.0)],
    }
}

fn prefill(run: &Run) -> Bars {
    let threads = most_threads(run);
    let mut groups = Vec::new();
    for level in &run.levels {
        // Candle and the f32 product choose their instructions themselves: shown once.
        let last = level == run.best_level();
        let here = |r: &Record| match r.who {
            Who::Ours | Who::Ggml => r.level == *level && r.threads == threads,
            _ => last && r.threads == threads,
        };
        groups.push((level.clone(), group(run, "prefill", here, Record::tmacs)));
    }
    let mut marks = Vec::new();
    for (unit, name) in
        [("vpdpbusd, 64 B", "vpdpbusd peak"), ("f32 FMA, 64 B", "FMA peak"), ("tdpbusd", "tdpbusd peak")]
    {
        marks.extend(run.peak(unit, threads).map(|peak| (name.to_string(), peak)));
    }
    Bars {
        title: format!("Prefill: Q4_K 5632 x 2048, m = 512, {threads} threads"),
        x: "TMAC/s".to_string(),
        series: names(),
        groups,
        marks,
    }
}

fn types(run: &Run, m: usize) -> Bars {
    let mut groups: Vec<(String, Vec<(usize, f64)>)> = Vec::new();
    for record in run.of("types") {
        if groups.iter().any(|(name, _)| *name == record.tensor_type) {
            continue;
        }
        let here = |r: &Record| r.tensor_type == record.tensor_type && r.m == m && r.kind != "HIGH";
        let scale = if m == 1 { 1e3 } else { 1.0 };
        groups.push((record.tensor_type.clone(), group(run, "types", here, |r| r.tmacs() * scale)));
    }
    let (title, x) = match m {
        1 => ("Decode in cache with every type (5632 x 2048)", "10^9 weights per second"),
        _ => ("Prefill with every type (5632 x 2048, m = 512)", "TMAC/s"),
    };
    let mut series = names()[..5].to_vec();
    series[1].0.clear();
    Bars {
        title: format!("{title}, {}, {} threads", run.best_level(), most_threads(run)),
        x: x.to_string(),
        series,
        groups,
        marks: Vec::new(),
    }
}
