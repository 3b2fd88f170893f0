//! `gguffuse bench`: the products of a model's matrices, as a runtime would have them: decode goes through all matrices, so
//! that each comes from memory and not from a cache, prefill multiplies each shape by many activation rows.

mod matrices;

use crate::arguments::Bench;
use crate::error::{Error, Result};
use crate::open::open;
use crate::stream::{self, gb_per_second};
use crate::terminal::{Output, progress};
use crate::text::{Safe, Side, Table, counted, thousands};
use gguffuse::gguf::File;
use gguffuse::matmul::{Context, ContextOptions, Weights};
use matrices::{Matrices, Shape};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Passes through the model at least.
const LEAST_PASSES: usize = 5;

/// Medians of what was measured.
struct Measured {
    /// Reading all bytes of the tensors.
    read: Duration,
    /// All matrices with one activation row.
    pass: Duration,
    /// Of that, the matrices of each shape.
    decode: Vec<Duration>,
    /// One matrix of each shape with many activation rows; `None` where nobody does that.
    prefill: Vec<Option<Duration>>,
}

pub fn run(arguments: &Bench) -> Result<ExitCode> {
    let file = open(&arguments.file)?;
    let options = ContextOptions {
        threads: arguments.threads,
        precision: arguments.precision.precision(),
        max_isa: arguments.isa.as_deref(),
    };
    let context = Context::new(&options)?;
    let matrices = Matrices::of(&file);
    if matrices.shapes.is_empty() {
        return Err(Error::new(format_args!("{}: no tensor can be multiplied by", arguments.file.display())));
    }
    let measured = measure(&file, &context, &matrices, arguments)?;
    let mut out = Output::new();
    out.line(format_args!(
        "{}, precision {}, {}; reading alone: {:.1} GB/s",
        context.isa().name(),
        format!("{:?}", context.precision()).to_lowercase(),
        counted(context.threads() as u64, "thread"),
        gb_per_second(bytes(&file), measured.read)
    ))?;
    write(&mut out, &file, &matrices, &measured, arguments.prefill)?;
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn bytes(file: &File) -> u64 {
    file.tensors().map(|tensor| tensor.size_bytes).sum()
}

/// Activations between -1 and 1 (splitmix64), the same in every run.
fn activations(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn measure(file: &File, context: &Context, matrices: &Matrices<'_>, arguments: &Bench) -> Result<Measured> {
    let m = arguments.prefill as usize;
    let shapes = &matrices.shapes;
    let prefilled = || shapes.iter().filter(|shape| shape.is_prefilled);
    let longest_x = shapes.iter().map(|shape| shape.k).max().unwrap_or(0);
    let x = activations(longest_x.max(prefilled().map(|shape| m * shape.k).max().unwrap_or(0)));
    let longest_y = shapes.iter().map(|shape| shape.n).max().unwrap_or(0);
    let mut y = vec![0.0; longest_y.max(prefilled().map(|shape| m * shape.n).max().unwrap_or(0))];
    let multiply = |w: &Weights<'_>, m: usize, y: &mut [f32]| -> Result<Duration> {
        let start = Instant::now();
        context.matmul(w, &x[..m * w.k], 0, m, &mut y[..m * w.n], 0)?;
        Ok(start.elapsed())
    };

    let budget = Duration::from_millis(arguments.time);
    let bar = progress(shapes.len() as u64 + 1, false);
    bar.set_message("decode");
    let (mut read, mut passes, mut decode) = (Vec::new(), Vec::new(), vec![Vec::new(); shapes.len()]);
    // Maps the pages.
    stream::read(file, context.threads());
    let start = Instant::now();
    while passes.len() < LEAST_PASSES || start.elapsed() < budget {
        // In turns, so that what else the machine does hits both.
        read.push(stream::read(file, context.threads()));
        let mut of_shapes = vec![Duration::ZERO; shapes.len()];
        for (shape, w) in &matrices.all {
            of_shapes[*shape] += multiply(w, 1, &mut y)?;
        }
        passes.push(of_shapes.iter().sum());
        for (times, time) in decode.iter_mut().zip(of_shapes) {
            times.push(time);
        }
    }
    bar.inc(1);
    let mut prefill = Vec::new();
    for shape in shapes {
        bar.set_message(format!("prefill of {} x {}", shape.k, shape.n));
        let mut times = Vec::new();
        let start = Instant::now();
        // The first is not counted: it takes memory from the system.
        while shape.is_prefilled && (times.len() < 4 || start.elapsed() < budget) {
            times.push(multiply(&shape.first, m, &mut y)?);
        }
        prefill.push(times.get_mut(1..).map(median));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let decode = decode.iter_mut().map(|times| median(times)).collect();
    Ok(Measured { read: median(&mut read), pass: median(&mut passes), decode, prefill })
}

fn write(out: &mut Output, file: &File, of: &Matrices<'_>, measured: &Measured, m: u32) -> Result<()> {
    let reading = gb_per_second(bytes(file), measured.read);
    let milliseconds = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e3);
    let speed = |bytes: u64, time: Duration| {
        let speed = gb_per_second(bytes, time);
        [format!("{speed:.1}"), format!("{:.0} %", 100.0 * speed / reading)]
    };
    let gflops = |work: f64, time: Duration| format!("{:.0}", work / time.as_secs_f64() / 1e9);
    let heads = [
        ("type", Side::Left),
        ("shape", Side::Left),
        ("times", Side::Right),
        ("bytes", Side::Right),
        ("decode ms", Side::Right),
        ("GB/s", Side::Right),
        ("of reading", Side::Right),
        ("prefill ms", Side::Right),
        ("GFLOP/s", Side::Right),
        ("first of them", Side::Left),
    ];
    let mut table = Table::new(&heads);
    let (mut prefill_time, mut prefill_work) = (Duration::ZERO, 0.0);
    for ((shape, decode), prefill) in of.shapes.iter().zip(&measured.decode).zip(&measured.prefill) {
        let [gbs, share] = speed(shape.bytes(), *decode);
        let work = shape.flop(m);
        if let Some(time) = prefill {
            prefill_time += *time * shape.count as u32;
            prefill_work += work * shape.count as f64;
        }
        table.row(vec![
            shape.first.tensor_type.name().to_owned(),
            format!("[{}, {}]", shape.k, shape.n),
            shape.count.to_string(),
            thousands(shape.bytes()),
            milliseconds(*decode),
            gbs,
            share,
            prefill.map_or("-".to_owned(), |time| milliseconds(time * shape.count as u32)),
            prefill.map_or("-".to_owned(), |time| gflops(work, time)),
            Safe(shape.name).to_string(),
        ]);
    }
    let all: u64 = of.shapes.iter().map(Shape::bytes).sum();
    let [gbs, share] = speed(all, measured.pass);
    let times: usize = of.shapes.iter().map(|shape| shape.count).sum();
    table.row(vec![
        "all".to_owned(),
        String::new(),
        times.to_string(),
        thousands(all),
        milliseconds(measured.pass),
        gbs,
        share,
        milliseconds(prefill_time),
        gflops(prefill_work, prefill_time),
        String::new(),
    ]);
    out.text(table)?;
    out.line(format_args!(
        "Decode: 1 activation row, all matrices one after the other. Prefill: {m} rows. Medians. These products alone would \
         take {} ms per token: {:.0} tokens/s{}.",
        milliseconds(measured.pass),
        1.0 / measured.pass.as_secs_f64(),
        match prefill_time {
            Duration::ZERO => String::new(),
            time => format!(" in decode, {:.0} in prefill", f64::from(m) / time.as_secs_f64()),
        }
    ))
}
