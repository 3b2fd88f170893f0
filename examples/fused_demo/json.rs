//! The output for machines: one JSON object, times in milliseconds, sizes in bytes. Numbers that are not finite and
//! what was not measured are null.

use crate::compare::{Case, LevelCase, Measured, Report};
use crate::files::Opened;
use crate::table::{gb_per_second, gflop_per_second, milliseconds, speed_up};
use serde_json::{Value, json};

/// The object, one line per member that a person may look for.
pub fn text(opened: &Opened, reports: &[Report]) -> String {
    let file = &opened.file;
    let object = json!({
        "gguffuse": env!("CARGO_PKG_VERSION"),
        "file": {
            "name": opened.name,
            "gguf_version": file.version(),
            "alignment": file.alignment(),
            "data_offset": file.data_offset(),
            "size_bytes": file.size_bytes(),
        },
        "tensors": reports.iter().map(tensor).collect::<Vec<_>>(),
    });
    format!("{object:#}\n")
}

fn tensor(report: &Report) -> Value {
    json!({
        "name": report.name,
        "type": report.tensor_type,
        "k": report.k,
        "n": report.n,
        "relative_offset": report.relative_offset,
        "absolute_offset": report.absolute_offset,
        "blocks": report.blocks,
        "size_bytes": report.size_bytes,
        "f32_bytes": report.f32_bytes,
        "nan_or_inf": report.not_finite,
        "isa": report.isa,
        "products": report.cases.iter().map(|case| product(report, case)).collect::<Vec<_>>(),
        "levels": report.levels.iter().map(|case| level(report, case)).collect::<Vec<_>>(),
    })
}

fn product(report: &Report, case: &Case) -> Value {
    json!({
        "m": case.m,
        "threads": case.threads,
        "naive": case.naive.as_ref().map(|naive| measured(report, case.m, naive)),
        "fused": measured(report, case.m, &case.fused),
        "speed_up": case.naive.as_ref().map(|naive| speed_up(naive.time, case.fused.time)),
        "max_abs_diff_to_naive": case.largest_to_naive,
        "same_bits_as_one_thread": case.same_bits,
    })
}

fn measured(report: &Report, m: usize, measured: &Measured) -> Value {
    json!({
        "ms": milliseconds(measured.time),
        "dequantize_ms": measured.dequantize.map(milliseconds),
        "gb_per_s": gb_per_second(report, measured.time),
        "gflop_per_s": gflop_per_second(report, m, measured.time),
        "max_abs_diff": measured.errors.largest,
        "max_rel_diff": measured.errors.largest_relative,
        "relative_error": measured.errors.relative(),
        "nmse": measured.errors.nmse,
        "peak_bytes": measured.peak_bytes,
    })
}

fn level(report: &Report, case: &LevelCase) -> Value {
    json!({
        "isa": case.isa,
        "precision": case.precision,
        "ms": milliseconds(case.time),
        "speed_up": report.naive_decode().map(|naive| speed_up(naive, case.time)),
        "gb_per_s": gb_per_second(report, case.time),
        "max_abs_diff": case.errors.largest,
        "nmse": case.errors.nmse,
    })
}
