//! `gguffuse quantize`: a copy of a file with its float matrices quantised. Tensors are made while the file is written: some
//! megabytes of memory are enough for any model.

mod importance;
mod rules;

use crate::arguments::Quantize;
use crate::error::{Error, Result};
use crate::open::{open, shape, shape_text};
use crate::terminal::{Output, progress};
use crate::text::{Safe, Side, Table, counted, thousands};
use gguffuse::blocks::{TensorType, dequantize};
use gguffuse::gguf::{File, Maker, Tensor, Writer};
use gguffuse::matmul::{Context, ContextOptions};
use importance::Importance;
use indicatif::ProgressBar;
use std::process::ExitCode;
use std::time::Instant;

/// Weights that are quantised at a go; a row that has more goes alone.
const STRIP: usize = 1 << 20;
/// What llama.cpp calls the current generation of ggml's quantised types.
const QUANTIZATION_VERSION: u32 = 2;

/// What becomes of a tensor.
struct Job<'a> {
    tensor: Tensor<'a>,
    target: TensorType,
    /// Per column and matrix.
    importance: Option<Vec<f32>>,
}

impl Job<'_> {
    fn is_copy(&self) -> bool {
        self.target == self.tensor.tensor_type
    }

    fn size_bytes(&self) -> Result<u64> {
        let Tensor { size_bytes, tensor_type, .. } = self.tensor;
        let (blocks, elements) = (tensor_type.block_bytes() as u64, tensor_type.block_elements() as u64);
        // No type that is quantised has more bytes than the floats before: nothing overflows.
        Ok(self.target.row_size(size_bytes / blocks * elements)?)
    }
}

pub fn run(arguments: &Quantize) -> Result<ExitCode> {
    let start = Instant::now();
    let file = open(&arguments.input)?;
    let context = Context::new(&ContextOptions { threads: arguments.threads, ..ContextOptions::default() })?;
    let importance = arguments.imatrix.as_deref().map(Importance::read).transpose()?;
    let jobs = jobs(&file, arguments, importance.as_ref())?;
    let mut out = Output::new();
    if arguments.dry_run {
        write_jobs(&mut out, &jobs)?;
    } else {
        check(&jobs, &context)?;
        write(&file, arguments, importance.as_ref(), &jobs, &context)?;
    }
    if !arguments.quiet {
        let (mut quantized, mut before, mut after, mut weights) = (0, 0, 0, 0);
        for job in &jobs {
            quantized += u64::from(!job.is_copy());
            before += job.tensor.size_bytes;
            after += job.size_bytes()?;
            weights += crate::open::elements(&job.tensor);
        }
        out.line(format_args!(
            "{}, {} of them quantised: {} bytes become {}, {:.3} bits per weight, {:.1} s",
            counted(file.tensor_count(), "tensor"),
            thousands(quantized),
            thousands(before),
            thousands(after),
            after as f64 * 8.0 / weights.max(1) as f64,
            start.elapsed().as_secs_f64()
        ))?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn jobs<'a>(file: &'a File, arguments: &Quantize, importance: Option<&Importance>) -> Result<Vec<Job<'a>>> {
    let rules = rules::Rules::new(file, arguments.tensor_type, &arguments.tensors);
    let mut jobs = Vec::new();
    for tensor in file.tensors() {
        let target = rules.target(&tensor)?;
        let importance = match importance {
            Some(importance) if target != tensor.tensor_type => importance.of(&tensor)?,
            _ => None,
        };
        jobs.push(Job { tensor, target, importance });
    }
    rules.check_patterns(file)?;
    Ok(jobs)
}

/// There are no blocks for NaN and infinities. Found now, not after hours.
fn check(jobs: &[Job<'_>], context: &Context) -> Result<()> {
    for job in jobs.iter().filter(|job| !job.is_copy()) {
        if let Some(bad) = context.validate(job.tensor.tensor_type, job.tensor.data)? {
            return Err(Error::new(format_args!("{}: weight {bad} is NaN or infinite", Safe(job.tensor.name))));
        }
    }
    Ok(())
}

fn write_jobs(out: &mut Output, jobs: &[Job<'_>]) -> Result<()> {
    let heads =
        [("from", Side::Left), ("to", Side::Left), ("bytes", Side::Right), ("shape", Side::Left), ("name", Side::Left)];
    let mut table = Table::new(&heads);
    for job in jobs {
        table.row(vec![
            job.tensor.tensor_type.name().to_owned(),
            if job.is_copy() { "-".to_owned() } else { job.target.name().to_owned() },
            job.size_bytes()?.to_string(),
            shape_text(&job.tensor),
            Safe(job.tensor.name).to_string(),
        ]);
    }
    out.text(table)
}

fn write(
    file: &File,
    arguments: &Quantize,
    importance: Option<&Importance>,
    jobs: &[Job<'_>],
    context: &Context,
) -> Result<()> {
    let bar = progress(jobs.iter().map(|job| job.tensor.size_bytes).sum(), arguments.quiet);
    let makers: Vec<Box<Maker<'_>>> = jobs.iter().map(|job| maker(job, context, &bar)).collect();
    let mut writer = Writer::new();
    writer.version(file.version())?.copy_metadata(file)?;
    writer.metadata("general.quantization_version", QUANTIZATION_VERSION)?;
    if let Some(file_type) = rules::file_type(arguments.tensor_type) {
        writer.metadata("general.file_type", file_type)?;
    }
    if let Some(importance) = importance {
        importance.describe(&mut writer)?;
    }
    for (job, maker) in jobs.iter().zip(&makers) {
        writer.tensor_made(job.tensor.name, job.target, shape(&job.tensor), maker)?;
    }
    let written = writer.write_file(&arguments.output);
    bar.finish_and_clear();
    written.map_err(|why| Error::new(format_args!("{}: {why}", arguments.output.display())))
}

/// What makes the bytes of a job.
fn maker<'a>(job: &'a Job<'_>, context: &'a Context, bar: &'a ProgressBar) -> Box<Maker<'a>> {
    Box::new(move |hand_on| {
        bar.set_message(Safe(job.tensor.name).to_string());
        if job.is_copy() {
            bar.inc(job.tensor.size_bytes);
            return hand_on(job.tensor.data);
        }
        if job.tensor.data.is_empty() {
            return Ok(());
        }
        let source_type = job.tensor.tensor_type;
        let [k, n, ..] = job.tensor.dims.map(|dim| dim as usize);
        let row_bytes = source_type.row_size(k as u64)? as usize;
        let target_bytes = job.target.row_size(k as u64)? as usize;
        let strip_rows = (STRIP / k).clamp(1, n);
        let mut weights = vec![0.0; strip_rows * k];
        let mut blocks = vec![0; strip_rows * target_bytes];
        // A matrix has importance of its own: strips end where matrices do.
        for (matrix, data) in job.tensor.data.chunks(row_bytes * n).enumerate() {
            let importance = job.importance.as_ref().map(|all| &all[matrix * k..][..k]);
            for strip in data.chunks(strip_rows * row_bytes) {
                let rows = strip.len() / row_bytes;
                let (weights, blocks) = (&mut weights[..rows * k], &mut blocks[..rows * target_bytes]);
                dequantize(source_type, strip, weights)?;
                context.quantize(job.target, weights, rows, k, importance, blocks)?;
                hand_on(blocks)?;
                bar.inc(strip.len() as u64);
            }
        }
        Ok(())
    })
}
