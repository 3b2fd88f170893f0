//! What is measured.

use crate::ours;
use crate::roofs::{Crew, Unit, readers, units};
use crate::session::{Field, Peak, Reading, Session};
use crate::timing::{Contestant, race};
use crate::weights::{Bytes, Matrix};
use gguffuse::blocks::TensorType;
use gguffuse::matmul::Precision;

pub type Job = fn(&mut Session);

/// All jobs by name, in the order in which they run.
pub const ALL: &[(&str, Job)] = &[("roofs", roofs), ("dram", dram), ("cache", cache), ("prefill", prefill)];

/// More than any cache; the bar asks for 512 MiB at least.
const DRAM_BYTES: usize = 528 << 20;

struct Multiplying {
    unit: Unit,
    crew: Crew,
}

impl Contestant for Multiplying {
    fn call(&mut self) {
        let unit = &self.unit;
        self.crew.run(&|_| unit.run());
    }
}

fn roofs(session: &mut Session) {
    let mut bytes = Bytes::zeroed(DRAM_BYTES);
    // Pages that were never written may all be one page of zeros.
    bytes.as_mut_slice().fill(1);
    for threads in session.threads.clone() {
        let mut crowd: Vec<Box<dyn Contestant>> = Vec::new();
        for reader in readers() {
            crowd.push(Box::new(Reading { reader, crew: Crew::new(threads), data: bytes.as_slice() }));
        }
        let times = race(&mut crowd, session.effort(4.0));
        let all = readers().into_iter().zip(times);
        let (reader, times) = all.min_by(|a, b| a.1.median.total_cmp(&b.1.median)).expect("several ways to read");
        let speed = DRAM_BYTES as f64 / times.median * 1e-9;
        println!("read, {threads} threads: {speed:.2} GB/s ({})", reader.name());
        session.readers.push((threads, reader));

        let mut crowd: Vec<Box<dyn Contestant>> = Vec::new();
        for unit in units() {
            crowd.push(Box::new(Multiplying { unit, crew: Crew::new(threads) }));
        }
        let times = race(&mut crowd, session.effort(0.5));
        for (unit, times) in units().into_iter().zip(times) {
            let tmacs = unit.macs * threads as f64 / times.median * 1e-12;
            println!("{}, {threads} threads: {tmacs:.3} TMAC/s", unit.name);
            session.peaks.push(Peak { unit: unit.name, threads, tmacs });
        }
    }
}

/// Everybody, at every level.
fn everybody(session: &Session) -> Field {
    Field {
        levels: ours::levels(),
        precisions: Precision::ALL.to_vec(),
        threads: session.threads.clone(),
        ggml: true,
        read: false,
    }
}

fn dram(session: &mut Session) {
    let k = 4096;
    let tensor_type = TensorType::Q4_K;
    let row_bytes = tensor_type.row_size(k as u64).expect("whole blocks") as usize;
    let n = DRAM_BYTES.div_ceil(row_bytes).next_multiple_of(64);
    let matrix = Matrix::random(session.ggml, tensor_type, n, k);
    let field = Field { read: true, ..everybody(session) };
    session.compare("dram", &matrix, 1, &field, 15.0);
}

fn cache(session: &mut Session) {
    let matrix = Matrix::random(session.ggml, TensorType::Q4_K, 5632, 2048);
    let field = everybody(session);
    session.compare("cache", &matrix, 1, &field, 4.0);
}

fn prefill(session: &mut Session) {
    let matrix = Matrix::random(session.ggml, TensorType::Q4_K, 5632, 2048);
    let field = everybody(session);
    session.compare("prefill", &matrix, 512, &field, 20.0);
}
