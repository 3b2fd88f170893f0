//! What is measured.

use crate::heap;
use crate::ours;
use crate::party::{Field, Multiplying, Party, Reading};
use crate::records::{Memory, Peak, Stream};
use crate::roofs::{Crew, readers, units};
use crate::session::Session;
use crate::timing::{Contestant, Effort, race};
use crate::weights::{Bytes, Matrix, gaussian};
use gguffuse::blocks::TensorType;
use gguffuse::matmul::{Context, ContextOptions, Precision};

pub type Job = fn(&mut Session);

/// All jobs by name, in the order in which they run.
pub const ALL: &[(&str, Job)] = &[
    ("roofs", roofs),
    ("dram", dram),
    ("dram-types", dram_types),
    ("cache", cache),
    ("prefill", prefill),
    ("prefill-types", prefill_types),
    ("types", types),
    ("sweep", sweep),
    ("shapes", shapes),
    ("small", small),
    ("memory", memory),
];

/// More than any cache; the bar asks for 512 MiB at least.
const DRAM_BYTES: usize = 528 << 20;

/// TinyLlama's ffn_gate, the shape of the tables: weight rows and columns.
const N: usize = 5632;
const K: usize = 2048;

/// How fast memory is read, how many multiplications the units make.
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
        let (gigabytes, how) = (DRAM_BYTES as f64 / times.median * 1e-9, reader.name());
        println!("read, {threads} threads: {gigabytes:.2} GB/s ({how})");
        session.readers.push((threads, reader));
        session.run.streams.push(Stream { threads, gigabytes, how });

        let mut crowd: Vec<Box<dyn Contestant>> = Vec::new();
        for unit in units() {
            crowd.push(Box::new(Multiplying { unit, crew: Crew::new(threads), calls: 1 }));
        }
        let times = race(&mut crowd, session.effort(0.5));
        for (unit, times) in units().into_iter().zip(times) {
            let tmacs = |seconds: f64| unit.macs * threads as f64 / seconds * 1e-12;
            println!(
                "{}, {threads} threads: {:.3} TMAC/s (median {:.3})",
                unit.name,
                tmacs(times.minimum),
                tmacs(times.median)
            );
            // A peak is the most that was ever seen.
            let tmacs = tmacs(times.minimum);
            session.run.peaks.push(Peak { unit: unit.name.to_string(), threads, tmacs });
        }
    }
}

/// Ours and every peer, at every level, with one thread and with all.
fn everybody(session: &Session) -> Field {
    Field {
        levels: ours::levels(),
        precisions: Precision::ALL.to_vec(),
        threads: session.threads.clone(),
        ggml: true,
        candle: true,
        floats: false,
        read: false,
        units: false,
    }
}

/// The same at the best level only.
fn everybody_at_best(session: &Session) -> Field {
    let best = ours::levels().pop();
    Field { levels: best.into_iter().collect(), ..everybody(session) }
}

/// A matrix of one type that comes from DRAM.
fn large(session: &Session, tensor_type: TensorType) -> Matrix {
    let k = 4096;
    let row_bytes = tensor_type.row_size(k as u64).expect("whole blocks") as usize;
    let n = DRAM_BYTES.div_ceil(row_bytes).next_multiple_of(64);
    Matrix::random(session.ggml, tensor_type, n, k)
}

/// Decode with more weights than caches hold.
fn dram(session: &mut Session) {
    let matrix = large(session, TensorType::Q4_K);
    let party = Party::new(session.kernels, &matrix, &Field { read: true, ..everybody(session) });
    session.race("dram", &[(&party, 1)], session.effort(18.0));
}

fn dram_types(session: &mut Session) {
    use TensorType::*;
    for tensor_type in [Q2_K, Q3_K, Q5_K, Q6_K, Q8_0, Q4_0, IQ4_XS] {
        let matrix = large(session, tensor_type);
        let party = Party::new(session.kernels, &matrix, &Field { read: true, ..everybody_at_best(session) });
        session.race("dram-types", &[(&party, 1)], session.effort(5.0));
    }
}

/// Decode with weights that caches hold.
fn cache(session: &mut Session) {
    let matrix = Matrix::random(session.ggml, TensorType::Q4_K, N, K);
    let party = Party::new(session.kernels, &matrix, &Field { floats: true, ..everybody(session) });
    session.race("cache", &[(&party, 1)], session.effort(5.0));
}

fn prefill(session: &mut Session) {
    let matrix = Matrix::random(session.ggml, TensorType::Q4_K, N, K);
    let party = Party::new(session.kernels, &matrix, &Field { floats: true, units: true, ..everybody(session) });
    session.race("prefill", &[(&party, 512)], session.effort(40.0));
}

/// Prefill with several types, ours only and in one race: their ratios matter.
fn prefill_types(session: &mut Session) {
    use TensorType::*;
    let field =
        Field { threads: vec![session.all_threads()], ggml: false, candle: false, ..everybody_at_best(session) };
    let matrices = [Q4_K, Q6_K, Q5_K, Q8_0, Q4_0, IQ4_XS].map(|kind| Matrix::random(session.ggml, kind, N, K));
    let parties = matrices.each_ref().map(|matrix| Party::new(session.kernels, matrix, &field));
    let heats = parties.each_ref().map(|party| (party, 512));
    session.race("prefill-types", &heats, session.effort(12.0));
}

/// Every quantised type, decode and prefill.
fn types(session: &mut Session) {
    let field = Field { threads: vec![session.all_threads()], ..everybody_at_best(session) };
    let floats = [TensorType::F32, TensorType::F16, TensorType::BF16];
    for &tensor_type in TensorType::ALL.iter().filter(|kind| kind.can_matmul() && !floats.contains(kind)) {
        let matrix = Matrix::random(session.ggml, tensor_type, N, K);
        let party = Party::new(session.kernels, &matrix, &field);
        session.race("types", &[(&party, 1)], session.effort(0.4));
        session.race("types", &[(&party, 512)], Effort { least_rounds: 3, ..session.effort(1.0) });
    }
}

/// Every number of activation rows up to 40, then steps: nothing may become slower. Ours only.
fn sweep(session: &mut Session) {
    let quick = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 24, 32, 33, 64, 128, 512];
    let steps = [48, 64, 96, 128, 192, 256, 384, 512];
    let rows: Vec<usize> = if session.quick { quick.to_vec() } else { (1..=40).chain(steps).collect() };
    let field = Field { threads: vec![session.all_threads()], ggml: false, candle: false, ..everybody(session) };
    let matrix = Matrix::random(session.ggml, TensorType::Q4_K, N, K);
    let party = Party::new(session.kernels, &matrix, &field);
    let heats: Vec<_> = rows.iter().map(|m| (&party, *m)).collect();
    // Long, as the bar is about the worst of all steps.
    session.race("sweep", &heats, session.effort(180.0));
}

/// The layers of TinyLlama and Llama-3-8B, as weight rows and columns.
pub const SHAPES: &[(&str, usize, usize)] = &[
    ("TinyLlama q, o", 2048, 2048),
    ("TinyLlama k, v", 256, 2048),
    ("TinyLlama gate, up", 5632, 2048),
    ("TinyLlama down", 2048, 5632),
    ("TinyLlama output", 32000, 2048),
    ("Llama-3-8B q, o", 4096, 4096),
    ("Llama-3-8B k, v", 1024, 4096),
    ("Llama-3-8B gate, up", 14336, 4096),
    ("Llama-3-8B down", 4096, 14336),
];

/// Activation rows of the table of shapes.
pub const ROWS: &[usize] = &[1, 2, 4, 8, 16, 32, 64, 128, 512];

fn shapes(session: &mut Session) {
    let field = Field { threads: vec![session.all_threads()], floats: true, ..everybody_at_best(session) };
    for &(name, n, k) in SHAPES {
        println!("{name}");
        let matrix = Matrix::random(session.ggml, TensorType::Q4_K, n, k);
        let party = Party::new(session.kernels, &matrix, &field);
        for &m in ROWS {
            // A heat for each: together they would take the caches from each other.
            session.race("shapes", &[(&party, m)], Effort { least_rounds: 3, ..session.effort(0.6) });
        }
    }
}

/// A call so small that waking a thread costs more than the product.
fn small(session: &mut Session) {
    let matrix = Matrix::random(session.ggml, TensorType::Q4_K, 256, 256);
    let party = Party::new(session.kernels, &matrix, &everybody_at_best(session));
    session.race("small", &[(&party, 1)], session.effort(2.0));
}

/// What a context keeps, and whether calls after the first one touch the heap.
fn memory(session: &mut Session) {
    let matrix = Matrix::random(session.ggml, TensorType::Q4_K, N, K);
    for level in ours::levels() {
        for precision in Precision::ALL {
            for m in [1, 512] {
                let x = gaussian(m * K, 7);
                let mut y = vec![0.0; m * N];
                let threads = session.all_threads();
                let options = ContextOptions { threads: threads as u32, precision, max_isa: Some(level.name()) };
                let before = heap::held();
                let context = Context::new(&options).expect("a level that the library itself names");
                ours::multiply(&context, &matrix, &x, &mut y);
                let first = heap::allocations();
                for _ in 0..10 {
                    ours::multiply(&context, &matrix, &x, &mut y);
                }
                // Before the record is made, which takes some of its own.
                let allocations = heap::allocations() - first;
                session.run.memory.push(Memory {
                    level: level.name().to_string(),
                    precision: format!("{precision:?}").to_uppercase(),
                    threads,
                    m,
                    k: K,
                    n: N,
                    allocations,
                    held: heap::held() - before,
                });
            }
        }
    }
}
