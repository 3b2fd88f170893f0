//! docs/performance.md and its figures.

mod chart;
mod figures;
mod tables;

use crate::bars::{Bar, bars};
use crate::records::Run;
use std::fmt::Write;
use std::path::Path;

/// The bars for a terminal.
pub fn bars_as_text(run: &Run) -> String {
    let mut text = String::new();
    for bar in bars(run) {
        let Bar { job, what, bound, median, minimum, .. } = &bar;
        let (verdict, sign) = (if bar.passes() { "pass" } else { "FAIL" }, if bar.at_least { ">=" } else { "<=" });
        let _ = writeln!(text, "{verdict} {median:>8.3} (by minima {minimum:>8.3}) {sign} {bound:<4}  {job}: {what}");
    }
    text
}

/// Writes performance.md and figures/*.svg into `folder`.
pub fn write(run: &Run, folder: &Path) -> std::io::Result<()> {
    let figures = folder.join("figures");
    std::fs::create_dir_all(&figures)?;
    let drawn = figures::all(run);
    for (name, _, drawing) in &drawn {
        std::fs::write(figures.join(format!("{name}.svg")), drawing)?;
    }
    let mut text = tables::head(run);
    for (name, title, _) in &drawn {
        let _ = write!(text, "![{title}](figures/{name}.svg)\n\n");
    }
    text.push_str(&tables::body(run));
    std::fs::write(folder.join("performance.md"), text)
}
