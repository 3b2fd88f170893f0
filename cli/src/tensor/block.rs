//! One block of a tensor: its fields, and the weights that they make.

use crate::error::Result;
use crate::fields::{Values, describe};
use crate::terminal::Output;
use gguffuse::blocks::dequantize;
use gguffuse::gguf::Tensor;
use half::{bf16, f16};
use std::fmt::Display;

/// Codes and weights per line.
const CODES: usize = 32;
const WEIGHTS: usize = 8;

/// Shows block `index`, which the tensor has.
pub fn write(out: &mut Output, tensor: &Tensor<'_>, index: u64) -> Result<()> {
    let (size, count) = (tensor.tensor_type.block_bytes(), tensor.tensor_type.block_elements());
    let start = index as usize * size;
    let block = &tensor.data[start..start + size];
    let mut weights = vec![0.0; count];
    dequantize(tensor.tensor_type, block, &mut weights)?;

    let (first, at) = (index * count as u64, tensor.absolute_offset + start as u64);
    let (row, column) = (first / tensor.dims[0], first % tensor.dims[0]);
    out.heading(format_args!(
        "Block {index}: row {row}, columns {column} to {}; bytes {at} to {} of the file",
        column + count as u64 - 1,
        at + size as u64 - 1
    ))?;
    let description = describe(tensor.tensor_type, block);
    for field in &description.fields {
        let bytes: Vec<String> = field.bytes.iter().map(|bytes| format!("{}..{}", bytes.start, bytes.end)).collect();
        let head = format!("  {:<6} bytes {:<16} {}", field.name, bytes.join(", "), field.note);
        match &field.values {
            Values::F16(bits) => out.line(format_args!("{head}: {:e} (0x{bits:04x})", f16::from_bits(*bits)))?,
            Values::Bf16(bits) => out.line(format_args!("{head}: {:e} (0x{bits:04x})", bf16::from_bits(*bits)))?,
            Values::F32(value) => out.line(format_args!("{head}: {value:e} (0x{:08x})", value.to_bits()))?,
            Values::F64(value) => out.line(format_args!("{head}: {value:e} (0x{:016x})", value.to_bits()))?,
            Values::Integers(values) if values.len() == 1 => out.line(format_args!("{head}: {}", values[0]))?,
            Values::Integers(values) => {
                out.line(head)?;
                rows(out, values, CODES)?;
            }
            Values::Signs(signs) => {
                out.line(head)?;
                let text =
                    |byte: &u8| -> String { (0..8).map(|bit| if byte >> bit & 1 == 1 { '-' } else { '+' }).collect() };
                rows(out, &signs.iter().map(text).collect::<Vec<String>>(), WEIGHTS)?;
            }
        }
    }
    out.line(format_args!("  w[i] = {}", description.formula))?;
    rows(out, &weights.iter().map(|weight| format!("{weight:.4e}")).collect::<Vec<String>>(), WEIGHTS)
}

/// Numbers in columns, each line begun with the index of its first.
fn rows<T: Display>(out: &mut Output, values: &[T], per_line: usize) -> Result<()> {
    let cells: Vec<String> = values.iter().map(T::to_string).collect();
    let width = cells.iter().map(String::len).max().unwrap_or(0);
    for (line, cells) in cells.chunks(per_line).enumerate() {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>width$}")).collect();
        out.line(format_args!("  {:>6}:{cells}", line * per_line))?;
    }
    Ok(())
}
