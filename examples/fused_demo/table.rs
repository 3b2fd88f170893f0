//! The output for people: tables; and the figures that follow from times and sizes.

use crate::compare::{Case, LevelCase, Report};
use crate::files::Opened;
use std::fmt::Write;
use std::time::Duration;

/// In milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How many times as fast.
pub fn speed_up(naive: Duration, fused: Duration) -> f64 {
    naive.as_secs_f64() / fused.as_secs_f64()
}

/// Bytes of the quantised weights over the time, in 10^9 per second.
pub fn gb_per_second(report: &Report, time: Duration) -> f64 {
    report.size_bytes as f64 / time.as_secs_f64() / 1e9
}

/// A multiplication and an addition per weight and activation row, in 10^9 per second.
pub fn gflop_per_second(report: &Report, m: usize, time: Duration) -> f64 {
    2.0 * m as f64 * report.n as f64 * report.k as f64 / time.as_secs_f64() / 1e9
}

impl Report {
    /// Time of the naive product, m = 1 on one thread.
    pub fn naive_decode(&self) -> Option<Duration> {
        let case = self.cases.iter().find(|case| case.m == 1 && case.threads == 1)?;
        case.naive.as_ref().map(|naive| naive.time)
    }
}

/// Everything.
pub fn text(opened: &Opened, reports: &[Report]) -> String {
    let file = &opened.file;
    let mut out = Lines(String::new());
    out.line(format_args!(
        "file                  {}, GGUF v{}, {} bytes",
        opened.name,
        file.version(),
        file.size_bytes()
    ));
    out.line(format_args!("data section start    {}", file.data_offset()));
    for report in reports {
        out.line(format_args!(""));
        place(&mut out, report);
        out.line(format_args!(""));
        out.line(format_args!("Naive (dequantise all, then multiply) against fused (EXACT, {}):", report.isa));
        out.table(&products(report));
        out.line(format_args!(""));
        out.line(format_args!("Fused by level and precision, m = 1, 1 thread; speed-up over naive:"));
        out.table(&levels(report));
        if !report.cases.iter().all(|case| case.same_bits) {
            out.line(format_args!("BUG: the fused product's bits depend on the number of threads."));
        }
    }
    out.line(format_args!(""));
    out.line(format_args!(
        "GB/s: quantised weights over the time. max diff: largest absolute difference to the f64 product of the \
         dequantised weights; rel. error: root of\nthe NMSE against it; both over all weight rows and up to 8 activation \
         rows. peak: most heap bytes of a call, the first one for fused. Times are\nmedians; dequant. is the part of \
         naive's that went into dequantising; - was not run, as it would take more than 15 s."
    ));
    out.0
}

fn place(out: &mut Lines, report: &Report) {
    let Report { name, tensor_type, k, n, .. } = report;
    out.line(format_args!("tensor                {name}, [{k}, {n}] {}", tensor_type.to_uppercase()));
    out.line(format_args!("relative offset       {}", report.relative_offset));
    out.line(format_args!("absolute offset       {}", report.absolute_offset));
    out.line(format_args!("blocks                {}", thousands(report.blocks)));
    out.line(format_args!(
        "quantised / f32       {} / {} MB",
        megabytes(report.size_bytes),
        megabytes(report.f32_bytes)
    ));
    out.line(format_args!("NaN or Inf            {}", report.not_finite));
}

fn products(report: &Report) -> Vec<Vec<String>> {
    let heads = [
        "m",
        "threads",
        "naive ms",
        "dequant.",
        "fused ms",
        "speed-up",
        "naive GB/s",
        "fused GB/s",
        "naive GFLOP/s",
        "fused GFLOP/s",
        "naive max diff",
        "fused max diff",
        "naive rel. error",
        "fused rel. error",
        "naive peak",
        "fused peak",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(report.cases.iter().map(|case| product(report, case)));
    rows
}

fn product(report: &Report, case: &Case) -> Vec<String> {
    let fused = &case.fused;
    let naive = case.naive.as_ref();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        case.m.to_string(),
        case.threads.to_string(),
        or_dash(naive.map(|naive| time(naive.time))),
        or_dash(naive.and_then(|naive| naive.dequantize).map(time)),
        time(fused.time),
        or_dash(naive.map(|naive| format!("{:.1}x", speed_up(naive.time, fused.time)))),
        or_dash(naive.map(|naive| format!("{:.2}", gb_per_second(report, naive.time)))),
        format!("{:.2}", gb_per_second(report, fused.time)),
        or_dash(naive.map(|naive| format!("{:.1}", gflop_per_second(report, case.m, naive.time)))),
        format!("{:.1}", gflop_per_second(report, case.m, fused.time)),
        or_dash(naive.map(|naive| format!("{:.1e}", naive.errors.largest))),
        format!("{:.1e}", fused.errors.largest),
        or_dash(naive.map(|naive| format!("{:.1e}", naive.errors.relative()))),
        format!("{:.1e}", fused.errors.relative()),
        or_dash(naive.map(|naive| thousands(naive.peak_bytes as u64))),
        thousands(fused.peak_bytes as u64),
    ]
}

fn levels(report: &Report) -> Vec<Vec<String>> {
    let heads = ["isa", "precision", "ms", "speed-up", "GB/s", "max diff", "NMSE"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(report.levels.iter().map(|case| level(report, case)));
    rows
}

fn level(report: &Report, case: &LevelCase) -> Vec<String> {
    let naive = report.naive_decode();
    vec![
        case.isa.to_owned(),
        case.precision.to_owned(),
        time(case.time),
        naive.map_or("-".to_owned(), |naive| format!("{:.1}x", speed_up(naive, case.time))),
        format!("{:.2}", gb_per_second(report, case.time)),
        format!("{:.1e}", case.errors.largest),
        format!("{:.1e}", case.errors.nmse),
    ]
}

fn time(time: Duration) -> String {
    format!("{:.3}", milliseconds(time))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1e6)
}

/// With commas: 45056 is "45,056".
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The text so far.
struct Lines(String);

impl Lines {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{text}");
    }

    /// Columns as wide as their widest cell, to the right. The heads are split at the first space into two lines.
    fn table(&mut self, rows: &[Vec<String>]) {
        let Some((heads, rows)) = rows.split_first() else {
            return;
        };
        let (upper, lower): (Vec<String>, Vec<String>) = heads
            .iter()
            .map(|head| match head.split_once(' ') {
                Some((upper, lower)) => (upper.to_owned(), lower.to_owned()),
                None => (String::new(), head.clone()),
            })
            .unzip();
        let lines: Vec<&Vec<String>> = [&upper, &lower].into_iter().chain(rows).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<usize> = (0..heads.len()).map(|column| width(column).unwrap_or(0)).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths);
            let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:>width$}")).collect();
            self.line(format_args!("{}", cells.join("  ")));
        }
    }
}
