//! The text and tables of performance.md.

use crate::bars::bars;
use crate::jobs::{ROWS, SHAPES};
use crate::records::{Record, Run, Who};
use std::fmt::Write;

/// Title, machine, bars.
pub fn head(run: &Run) -> String {
    let Run { machine, date, versions, .. } = run;
    let all = bars(run);
    let passed = all.iter().filter(|bar| bar.passes()).count();
    let mut text = format!(
        "# Performance\n\n\
         Written by `benches/peers/run.sh` ([how](../benches/peers/README.md)); not to be edited by hand.\n\n\
         - Machine: {machine}\n- Date: {date}\n- Versions: {versions}\n\n\
         Everything was measured in one run: who is compared in a table took turns on the same weights, and every product \
         was checked against the f64 product first. Times are medians of the turns. EXACT, HIGH and FAST are gguffuse's \
         precisions; ggml and candle round activations to 8 bits, as FAST does.\n\n\
         ## Bars\n\n\
         What the project promises of its speed: {passed} of {} hold in this run. \"By minima\" is the same ratio made of \
         the fastest turns, which says how much noise there was.\n\n\
         | | measured | bar | by minima | of |\n|---|---:|---:|---:|---|\n",
        all.len(),
    );
    for bar in &all {
        let verdict = if bar.passes() { "pass" } else { "**fail**" };
        let sign = if bar.at_least { "≥" } else { "≤" };
        let _ = writeln!(
            text,
            "| {verdict} | {:.2} | {sign} {} | {:.2} | {}: {} |",
            bar.median, bar.bound, bar.minimum, bar.job, bar.what,
        );
    }
    text.push_str("\n## Figures\n\n");
    text
}

/// The other tables.
pub fn body(run: &Run) -> String {
    let mut text = String::new();
    roofs(run, &mut text);
    dram(run, &mut text);
    cache_and_prefill(run, &mut text);
    shapes(run, &mut text);
    types(run, &mut text);
    small(run, &mut text);
    text
}

fn roofs(run: &Run, text: &mut String) {
    text.push_str("## Roofs\n\nWhat this machine can do at most.\n\n| |");
    for threads in &run.threads {
        let _ = write!(text, " {} |", count(*threads));
    }
    text.push_str("\n|---|");
    run.threads.iter().for_each(|_| text.push_str("---:|"));
    text.push_str("\n| read stream, GB/s |");
    for stream in &run.streams {
        let _ = write!(text, " {:.1} |", stream.gigabytes);
    }
    text.push('\n');
    for unit in run.peaks.iter().filter(|peak| peak.threads == run.threads[0]).map(|peak| &peak.unit) {
        let _ = write!(text, "| {unit}, TMAC/s |");
        for threads in &run.threads {
            let _ = write!(text, " {:.3} |", run.peak(unit, *threads).unwrap_or(f64::NAN));
        }
        text.push('\n');
    }
    let how: Vec<_> =
        run.streams.iter().map(|stream| format!("{} with {}", stream.how, count(stream.threads))).collect();
    let _ = write!(text, "\nThe fastest way to read: {}.\n\n", how.join("; "));
}

fn count(threads: usize) -> String {
    if threads == 1 { "1 thread".to_string() } else { format!("{threads} threads") }
}

/// The fastest of a peer's ways.
fn peer<'a>(run: &'a Run, job: &'a str, who: Who, select: impl Fn(&Record) -> bool) -> Option<&'a Record> {
    run.fastest(job, |record| record.who == who && select(record))
}

fn dram(run: &Run, text: &mut String) {
    text.push_str(
        "## Decode from DRAM\n\nm = 1, over 512 MiB of weights, GB of weights per second (and part of the read stream).\n\n\
         | type | threads | read | FAST | HIGH | EXACT | ggml | candle |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let reads = run.records.iter().filter(|record| record.job.starts_with("dram") && record.who == Who::Read);
    for read in reads {
        let here = |record: &Record| record.tensor_type == read.tensor_type && record.threads == read.threads;
        let cell = |record: Option<&Record>| {
            record.map_or("–".to_string(), |record| {
                let part = read.times.median / record.times.median;
                format!("{:.1} ({part:.2})", record.gigabytes())
            })
        };
        let ours = |precision: &str| {
            let best = run.best_level();
            cell(peer(run, &read.job, Who::Ours, |r| here(r) && r.level == best && r.kind == precision))
        };
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {} | {} | {} | {} | {} |",
            read.tensor_type,
            read.threads,
            read.gigabytes(),
            ours("FAST"),
            ours("HIGH"),
            ours("EXACT"),
            cell(peer(run, &read.job, Who::Ggml, here)),
            cell(peer(run, &read.job, Who::Candle, here)),
        );
    }
    text.push('\n');
}

fn cache_and_prefill(run: &Run, text: &mut String) {
    for (job, title, m) in [("cache", "Decode in cache", 1), ("prefill", "Prefill", 512)] {
        let _ = write!(
            text,
            "## {title}\n\nQ4_K, 5632 x 2048, m = {m}; every contestant of the race. NMSE is the normalised mean square \
             error against f64; a unit does as many multiplications as the product has.\n\n\
             | who | level | how | threads | ms | ms at best | GB/s | TMAC/s | NMSE |\n\
             |---|---|---|---:|---:|---:|---:|---:|---:|\n"
        );
        for record in run.of(job) {
            let Record { who, level, kind, threads, times, error, .. } = record;
            let _ = writeln!(
                text,
                "| {} | {level} | {kind} | {threads} | {:.3} | {:.3} | {:.1} | {:.3} | {} |",
                who.name(),
                times.median * 1e3,
                times.minimum * 1e3,
                record.gigabytes(),
                record.tmacs(),
                error.map_or("–".to_string(), |error| format!("{error:.0e}")),
            );
        }
        text.push('\n');
    }
}

fn shapes(run: &Run, text: &mut String) {
    let best = run.best_level();
    for precision in ["EXACT", "HIGH", "FAST"] {
        let _ = write!(
            text,
            "## Layers: {precision} against the best of ggml and candle\n\nQ4_K, {best}, all threads; how many times \
             faster, and in parentheses against the f32 product of dequantised weights.\n\n| layer (n x k) |"
        );
        for m in ROWS {
            let _ = write!(text, " m = {m} |");
        }
        text.push_str("\n|---|");
        ROWS.iter().for_each(|_| text.push_str("---:|"));
        text.push('\n');
        for (name, n, k) in SHAPES {
            let _ = write!(text, "| {name} ({n} x {k}) |");
            for m in ROWS {
                let here = |record: &Record| record.n == *n && record.k == *k && record.m == *m;
                let ours = run.fastest("shapes", |r| here(r) && r.who == Who::Ours && r.kind == precision);
                let peer = run.fastest("shapes", |r| here(r) && r.who.is_peer());
                let floats = run.fastest("shapes", |r| here(r) && r.who == Who::Floats);
                match (ours, peer, floats) {
                    (Some(ours), Some(peer), Some(floats)) => {
                        let of = |other: &Record| other.times.median / ours.times.median;
                        let _ = write!(text, " {:.2} ({:.1}) |", of(peer), of(floats));
                    }
                    _ => text.push_str(" – |"),
                }
            }
            text.push('\n');
        }
        text.push('\n');
    }
}

fn types(run: &Run, text: &mut String) {
    let _ = write!(
        text,
        "## Types\n\n5632 x 2048, {}, all threads: 10^9 weights per second in decode (m = 1), TMAC/s in prefill (m = 512). \
         ggml and candle at their best.\n\n\
         | type | bits per weight | FAST 1 | EXACT 1 | ggml 1 | candle 1 | FAST 512 | EXACT 512 | ggml 512 | candle 512 |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        run.best_level(),
    );
    let mut seen = Vec::new();
    for record in run.of("types") {
        if seen.contains(&&record.tensor_type) {
            continue;
        }
        seen.push(&record.tensor_type);
        let bits = record.bytes as f64 * 8.0 / (record.n * record.k) as f64;
        let _ = write!(text, "| {} | {bits:.2} |", record.tensor_type);
        for (m, scale) in [(1, 1e3), (512, 1.0)] {
            for (who, kind) in [(Who::Ours, "FAST"), (Who::Ours, "EXACT"), (Who::Ggml, ""), (Who::Candle, "")] {
                let found = peer(run, "types", who, |r| {
                    r.tensor_type == record.tensor_type && r.m == m && r.kind.contains(kind)
                });
                match found {
                    Some(found) if m == 1 => drop(write!(text, " {:.1} |", found.tmacs() * scale)),
                    Some(found) => drop(write!(text, " {:.3} |", found.tmacs())),
                    None => text.push_str(" – |"),
                }
            }
        }
        text.push('\n');
    }
    text.push('\n');
}

fn small(run: &Run, text: &mut String) {
    text.push_str(
        "## Small calls\n\nQ4_K, 256 x 256, m = 1, one call after the other.\n\n| who | how | threads | us | us at best |\n\
         |---|---|---:|---:|---:|\n",
    );
    for record in run.of("small") {
        let Record { who, level, kind, threads, times, .. } = record;
        let (median, minimum) = (times.median * 1e6, times.minimum * 1e6);
        let _ = writeln!(text, "| {} | {level} {kind} | {threads} | {median:.2} | {minimum:.2} |", who.name());
    }
    text.push('\n');
}
