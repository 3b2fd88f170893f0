//! `gguffuse tensor`: the weights of one tensor, together and one block of them in detail.

mod block;
mod statistics;

use crate::arguments::Tensor as Arguments;
use crate::error::{Error, Result};
use crate::open::{bits_per_weight, elements, open, shape_text};
use crate::terminal::Output;
use crate::text::{Safe, Side, Table, thousands};
use gguffuse::gguf::Tensor;
use statistics::Statistics;
use std::process::ExitCode;

/// Characters of the histogram's longest bar.
const LONGEST_BAR: f64 = 50.0;

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let file = open(&arguments.file)?;
    let tensor = file.find_tensor(&arguments.name).and_then(|index| file.tensor(index));
    let tensor = tensor.map_err(|why| Error::new(format_args!("{}: {why}", arguments.file.display())))?;
    let blocks = tensor.size_bytes / tensor.tensor_type.block_bytes() as u64;
    if blocks > 0 && arguments.block >= blocks {
        return Err(Error::new(format_args!("block {} of {blocks}: they are counted from 0", arguments.block)));
    }
    let mut out = Output::new();
    place(&mut out, &tensor)?;
    if blocks == 0 {
        out.line("\nIt has no weights.")?;
    } else {
        write(&mut out, &statistics::of(tensor.tensor_type, tensor.data))?;
        block::write(&mut out, &tensor, arguments.block)?;
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn place(out: &mut Output, tensor: &Tensor<'_>) -> Result<()> {
    let tensor_type = tensor.tensor_type;
    out.line(format_args!("tensor    {}", Safe(tensor.name)))?;
    out.line(format_args!(
        "type      {}: {} weights in {} bytes, {} bits each",
        tensor_type.name(),
        tensor_type.block_elements(),
        tensor_type.block_bytes(),
        bits_per_weight(tensor_type)
    ))?;
    out.line(format_args!("shape     {}, {} weights", shape_text(tensor), thousands(elements(tensor))))?;
    out.line(format_args!(
        "offset    {} from the start of the file ({} from the start of the data), {} bytes",
        tensor.absolute_offset, tensor.relative_offset, tensor.size_bytes
    ))
}

fn write(out: &mut Output, of: &Statistics) -> Result<()> {
    out.heading("Statistics")?;
    let share = |count: u64| format!("{} ({:.3} %)", thousands(count), 100.0 * count as f64 / of.weights as f64);
    out.line(format_args!("  NaN       {}", thousands(of.nan)))?;
    out.line(format_args!("  infinite  {}", thousands(of.infinite)))?;
    out.line(format_args!("  zeros     {}", share(of.zeros)))?;
    if of.finite() == 0 {
        return out.line("  no weight is a number");
    }
    out.line(format_args!("  min       {:e}", of.min))?;
    out.line(format_args!("  max       {:e}", of.max))?;
    out.line(format_args!("  mean      {:.6e}", of.mean))?;
    out.line(format_args!("  std       {:.6e}", of.deviation))?;

    out.heading("Histogram")?;
    let heads = [("from", Side::Right), ("to", Side::Right), ("weights", Side::Right), ("", Side::Left)];
    let mut table = Table::new(&heads);
    let most = of.histogram.iter().copied().max().unwrap_or(1).max(1);
    for (bin, count) in of.histogram.iter().enumerate() {
        let bar = "#".repeat((LONGEST_BAR * *count as f64 / most as f64).ceil() as usize);
        let edge = |bin: usize| format!("{:.3e}", of.edge(bin));
        table.row(vec![edge(bin), edge(bin + 1), thousands(*count), bar]);
        // All weights are the same: one bin says it.
        if of.min == of.max {
            break;
        }
    }
    out.text(table)
}
