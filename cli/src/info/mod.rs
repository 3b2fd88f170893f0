//! `gguffuse info`: what a file declares. Reads no weights.

mod json;
pub mod values;

use crate::arguments::Info;
use crate::error::Result;
use crate::open::{bits_per_weight, elements, open, shape_text};
use crate::terminal::Output;
use crate::text::{Safe, Side, Table, counted, thousands};
use gguffuse::blocks::TensorType;
use gguffuse::gguf::File;
use std::path::Path;
use std::process::ExitCode;
use values::Detail;

pub fn run(arguments: &Info) -> Result<ExitCode> {
    let file = open(&arguments.file)?;
    let mut out = Output::new();
    match arguments.json {
        true => json::write(&mut out, &arguments.file, &file)?,
        false => write(&mut out, &arguments.file, &file, if arguments.all { Detail::All } else { Detail::Short })?,
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// How much of a file is of one type.
#[derive(serde::Serialize)]
pub struct Total {
    #[serde(rename = "type")]
    pub type_name: &'static str,
    pub tensors: u64,
    pub elements: u64,
    pub size_bytes: u64,
    pub bits_per_weight: f64,
}

/// Per type, that with the most bytes first; and over all.
pub fn totals(file: &File) -> (Vec<Total>, Total) {
    let zero = |type_name| Total { type_name, tensors: 0, elements: 0, size_bytes: 0, bits_per_weight: 0.0 };
    let mut types: Vec<Total> = TensorType::ALL.iter().map(|tensor_type| zero(tensor_type.name())).collect();
    let mut all = zero("all");
    for tensor in file.tensors() {
        let index = TensorType::ALL.iter().position(|tensor_type| *tensor_type == tensor.tensor_type);
        for total in index.and_then(|index| types.get_mut(index)).into_iter().chain([&mut all]) {
            total.tensors += 1;
            total.elements = total.elements.saturating_add(elements(&tensor));
            total.size_bytes += tensor.size_bytes;
        }
    }
    types.retain(|total| total.tensors > 0);
    types.sort_by_key(|total| std::cmp::Reverse(total.size_bytes));
    for total in types.iter_mut().chain([&mut all]) {
        if total.elements > 0 {
            total.bits_per_weight = total.size_bytes as f64 * 8.0 / total.elements as f64;
        }
    }
    (types, all)
}

fn write(out: &mut Output, path: &Path, file: &File, detail: Detail) -> Result<()> {
    let (types, all) = totals(file);
    out.line(format_args!("file      {}", Safe(&path.display().to_string())))?;
    out.line(format_args!("format    GGUF v{}, tensors at multiples of {} bytes", file.version(), file.alignment()))?;
    out.line(format_args!(
        "size      {} bytes: {} of metadata, {} of {}",
        thousands(file.size_bytes()),
        thousands(file.metadata_bytes()),
        thousands(all.size_bytes),
        counted(all.tensors, "tensor"),
    ))?;
    out.line(format_args!("data      begins at byte {}", thousands(file.data_offset())))?;

    out.heading(format_args!("Metadata: {}", counted(file.metadata_count(), "key")))?;
    let mut table = Table::new(&[("key", Side::Left), ("type", Side::Left), ("value", Side::Left)]);
    for index in 0..file.metadata_count() {
        let (key, value) = file.metadata(index)?;
        table.row(vec![Safe(key).to_string(), values::type_name(&value), values::text(&value, detail)]);
    }
    out.text(table)?;

    out.heading("Tensors (offsets count from the start of the file)")?;
    let heads = [
        ("offset", Side::Right),
        ("bytes", Side::Right),
        ("type", Side::Left),
        ("bits", Side::Right),
        ("shape", Side::Left),
        ("name", Side::Left),
    ];
    let mut table = Table::new(&heads);
    for tensor in file.tensors() {
        table.row(vec![
            tensor.absolute_offset.to_string(),
            tensor.size_bytes.to_string(),
            tensor.tensor_type.name().to_owned(),
            bits_per_weight(tensor.tensor_type).to_string(),
            shape_text(&tensor),
            Safe(tensor.name).to_string(),
        ]);
    }
    out.text(table)?;

    out.heading("Totals")?;
    out.text(totals_table(types.iter().chain([&all])))
}

fn totals_table<'a>(totals: impl Iterator<Item = &'a Total>) -> Table {
    let heads = [
        ("type", Side::Left),
        ("tensors", Side::Right),
        ("weights", Side::Right),
        ("bytes", Side::Right),
        ("bits", Side::Right),
    ];
    let mut table = Table::new(&heads);
    for total in totals {
        table.row(vec![
            total.type_name.to_owned(),
            thousands(total.tensors),
            thousands(total.elements),
            thousands(total.size_bytes),
            format!("{:.3}", total.bits_per_weight),
        ]);
    }
    table
}
