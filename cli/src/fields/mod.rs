//! Blocks field by field: what each type stores where, for people who look at a file. `types` has the layouts.
//!
//! The library has no such thing: its types know how to make weights of a block, in as few steps as possible, and programs
//! that link it would carry these texts for nothing. A type that the library learns must be described here before the
//! command compiles, and the tests make the weights anew from the fields, bit for bit.

// Most fields lie in one piece of the block: a list with one range is meant.
#![allow(clippy::single_range_in_vec_init)]

#[cfg(test)]
mod tests;
mod types;

pub use types::describe;

use std::ops::Range;

/// What a block consists of.
pub struct Description {
    pub fields: Vec<Field>,
    /// How a weight follows from the fields.
    pub formula: &'static str,
}

/// One field of a block.
pub struct Field {
    pub name: &'static str,
    /// The bytes of the block in which it lies.
    pub bytes: &'static [Range<usize>],
    pub note: &'static str,
    pub values: Values,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// A half, as stored.
    F16(u16),
    F32(f32),
    F64(f64),
    /// A bfloat16, as stored.
    Bf16(u16),
    Integers(Vec<i64>),
    /// Eight signs each, the first in the lowest bit; 1 is minus.
    Signs(Vec<u8>),
}

impl Field {
    fn new(name: &'static str, bytes: &'static [Range<usize>], note: &'static str, values: Values) -> Field {
        Field { name, bytes, note, values }
    }

    fn half(block: &[u8], name: &'static str, bytes: &'static [Range<usize>], note: &'static str) -> Field {
        Field::new(name, bytes, note, Values::F16(u16_at(block, bytes[0].start)))
    }

    fn integers<T: Into<i64>>(
        name: &'static str,
        bytes: &'static [Range<usize>],
        note: &'static str,
        values: impl IntoIterator<Item = T>,
    ) -> Field {
        Field::new(name, bytes, note, Values::Integers(values.into_iter().map(Into::into).collect()))
    }
}

fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Numbers of `bits` bits, run by run: byte j of a run of `run` bytes has the numbers j, j + run, j + 2 * run and so on from
/// its lowest bits up.
fn packed(bytes: &[u8], run: usize, bits: usize) -> Vec<u16> {
    let of_run = |run: &[u8]| -> Vec<u16> {
        let shifts = (0..8).step_by(bits);
        shifts.flat_map(|shift| run.iter().map(move |byte| u16::from(*byte) >> shift & ((1 << bits) - 1))).collect()
    };
    bytes.chunks_exact(run).flat_map(of_run).collect()
}

/// `low[i] | high[i] << shift`.
fn joined(low: Vec<u16>, high: Vec<u16>, shift: u32) -> impl Iterator<Item = u16> {
    low.into_iter().zip(high).map(move |(low, high)| low | high << shift)
}

fn signed(bytes: &[u8]) -> impl Iterator<Item = i8> {
    bytes.iter().map(|byte| *byte as i8)
}

/// Seven signs and the eighth that makes the number of minus signs even.
fn even_signs(seven: u32) -> u8 {
    let seven = (seven & 127) as u8;
    seven | (seven.count_ones() as u8 & 1) << 7
}
