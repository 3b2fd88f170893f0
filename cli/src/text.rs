//! Text for people: strings of files made harmless, numbers, tables. Knows nothing of GGUF.

use std::fmt::{self, Display};

/// Whether a character may steer a terminal, break a line, or turn the direction of what stands behind it.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A string of a file as it may be printed: on one line, without characters that steer a terminal. A backslash is doubled,
/// so that different strings never look the same.
pub struct Safe<'a>(pub &'a str);

impl Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(self.0.len());
        for c in self.0.chars() {
            match c {
                '\\' | '\n' | '\t' | '\r' => text.extend(c.escape_default()),
                c if is_unsafe(c) => text.extend(c.escape_unicode()),
                c => text.push(c),
            }
        }
        f.pad(&text)
    }
}

/// One line of a message that may quote what was escaped already: as [`Safe`], backslashes as they are.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' | '\t' => line.push(' '),
            c if is_unsafe(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    line
}

/// With commas: 45056 is "45,056".
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As in "1 tensor", "2 tensors".
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// To which side a column's cells go.
#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Left,
    Right,
}

/// Columns as wide as their widest cell, two spaces in between and before the first.
pub struct Table {
    sides: Vec<Side>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first row are `heads`.
    pub fn new(heads: &[(&str, Side)]) -> Table {
        Table {
            sides: heads.iter().map(|(_, side)| *side).collect(),
            rows: vec![heads.iter().map(|(head, _)| (*head).to_owned()).collect()],
        }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths: Vec<Vec<usize>> =
            self.rows.iter().map(|row| row.iter().map(|cell| cell.chars().count()).collect()).collect();
        let widest = |column: usize| lengths.iter().filter_map(|row| row.get(column)).copied().max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.sides.len()).map(widest).collect();
        for (row, lengths) in self.rows.iter().zip(&lengths) {
            let mut line = String::new();
            let mut missing = 0;
            for (((cell, length), width), side) in row.iter().zip(lengths).zip(&widths).zip(&self.sides) {
                // Not by the formatter, whose widths end at 65,535; and only before a cell: the last one may be very long.
                let before = if *side == Side::Right { width - length } else { 0 };
                line.extend(std::iter::repeat_n(' ', missing + 2 + before));
                line.push_str(cell);
                missing = width - length - before;
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        assert_eq!(Safe("blk.0\x1b[2Jk\u{9b}m\nx\\n").to_string(), "blk.0\\u{1b}[2Jk\\u{9b}m\\nx\\\\n");
        assert_eq!(Safe("a\u{202e}gpj.exe\u{2066}\u{7f}").to_string(), "a\\u{202e}gpj.exe\\u{2066}\\u{7f}");
        assert_eq!(Safe("größer ▁the 模型").to_string(), "größer ▁the 模型");
        assert_eq!(one_line("a \"\\n\"\nb\x1b\n"), "a \"\\n\" b\\u{1b}");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("name", Side::Left), ("size", Side::Right)]);
        table.row(vec!["größe".to_owned(), thousands(1_234_567)]);
        table.row(vec!["x".to_owned(), thousands(123)]);
        assert_eq!(table.to_string(), "  name        size\n  größe  1,234,567\n  x            123\n");
        let mut table = Table::new(&[("a", Side::Left), ("b", Side::Left)]);
        let long = "x".repeat(100_000);
        table.row(vec!["aa".to_owned(), long.clone()]);
        assert_eq!(table.to_string(), format!("  a   b\n  aa  {long}\n"));
    }
}
