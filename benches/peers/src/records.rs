//! What was measured, in a form that outlives the run.

use crate::timing::Times;
use serde::{Deserialize, Serialize};

/// Who was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    Ours,
    Ggml,
    Candle,
    /// f32 on dequantised weights.
    Floats,
    /// The read stream.
    Read,
    /// One instruction, as many multiplications as the product has.
    Unit,
}

impl Who {
    pub fn name(self) -> &'static str {
        match self {
            Who::Ours => "gguffuse",
            Who::Ggml => "ggml",
            Who::Candle => "candle",
            Who::Floats => "f32 gemm",
            Who::Read => "read",
            Who::Unit => "unit",
        }
    }

    /// Whether it multiplies by quantised weights as gguffuse does.
    pub fn is_peer(self) -> bool {
        matches!(self, Who::Ggml | Who::Candle)
    }
}

/// One contestant's result in one race.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub job: String,
    pub who: Who,
    /// The instruction-set level that it was held to; empty where there is none.
    pub level: String,
    /// A precision of ours; where a peer keeps its weights.
    pub kind: String,
    pub threads: usize,
    pub tensor_type: String,
    /// Of all weights.
    pub bytes: usize,
    pub n: usize,
    pub k: usize,
    pub m: usize,
    pub times: Times,
    /// Throughput relative to that of the same contestant with the activation rows of the heat before, the median of the rounds'
    /// ratios. None in a first heat.
    pub step: Option<f64>,
    /// Normalised mean square error.
    pub error: Option<f64>,
}

impl Record {
    /// 10^12 multiplications with an addition per second.
    pub fn tmacs(&self) -> f64 {
        (self.m * self.n * self.k) as f64 / self.times.median * 1e-12
    }

    /// 10^9 bytes of weights per second.
    pub fn gigabytes(&self) -> f64 {
        self.bytes as f64 / self.times.median * 1e-9
    }
}

/// A peak of the machine, in the unit that its name says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Peak {
    pub unit: String,
    pub threads: usize,
    /// 10^12 multiplications with an addition per second.
    pub tmacs: f64,
}

/// The best way to read memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stream {
    pub threads: usize,
    pub gigabytes: f64,
    pub how: String,
}

/// What a context holds and does to the heap.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    pub level: String,
    pub precision: String,
    pub threads: usize,
    pub m: usize,
    pub k: usize,
    pub n: usize,
    /// Of ten calls after the first one.
    pub allocations: usize,
    /// Kept after the calls.
    pub held: usize,
}

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub machine: String,
    pub date: String,
    pub versions: String,
    pub threads: Vec<usize>,
    /// Ours, lowest first.
    pub levels: Vec<String>,
    pub records: Vec<Record>,
    pub peaks: Vec<Peak>,
    pub streams: Vec<Stream>,
    pub memory: Vec<Memory>,
}
