//! From how many activation rows on the panel is faster than decode: finds again what `PanelFrom` has. For every type that stands
//! for others, precision and level of this machine, one thread, k = 2048, weights from the last cache: how fast both ways are,
//! and the number of rows from which on the panel should be used, with the most that any m loses by it. In turns, the fastest of
//! all rounds each, as other work on the machine only ever slows one down. At `amx` the first way is the whole of `avx512vnni`,
//! for types with integer scales. Some three minutes; not a criterion bench, since pairs are compared, and there are nearly three
//! thousand of them. Decode has no tiles for more rows than `PanelFrom` says, and is slower from there on than it could be: write
//! numbers above `MOST_ROWS` into the level's tables before measuring anew.
//!
//! ```text
//! cargo bench --bench crossover [-- TYPE...]
//! ```

mod random;

use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, ContextOptions, Precision, Weights};
use std::time::Instant;

const K: usize = 2048;
const N: usize = 2816;
const ROWS: [usize; 20] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32, 33, 40, 48];
const MOST_ROWS: usize = 48;
const ROUNDS: usize = 12;
/// Rows of weights that are different: making them takes longer than measuring.
const DISTINCT: usize = 32;
/// Multiplications that take long enough to be timed.
const LONG_ENOUGH: usize = 40_000_000;

/// A context whose products with `rows` activation rows and more are made by the panel.
fn context(level: &Level, precision: Precision, rows: usize) -> Context {
    let options = ContextOptions { threads: 1, precision, max_isa: Some(level.name()) };
    let mut context = Context::new(&options).unwrap();
    context.use_panels_from(rows);
    context
}

/// A context of the level below AMX, with the thresholds that it has.
fn level_below(precision: Precision) -> Context {
    let options = ContextOptions { threads: 1, precision, max_isa: Some(Level::Avx512Vnni.name()) };
    Context::new(&options).unwrap()
}

/// Seconds of a product by each way, for each number of `ROWS`.
fn times(w: &Weights<'_>, ways: &[Context; 2], x: &[f32], y: &mut [f32]) -> [[f64; 2]; ROWS.len()] {
    let mut least = [[f64::INFINITY; 2]; ROWS.len()];
    for _ in 0..ROUNDS {
        for (m, least) in ROWS.into_iter().zip(&mut least) {
            let calls = (LONG_ENOUGH / (m * K * N)).max(1);
            for (way, least) in ways.iter().zip(least) {
                let begin = Instant::now();
                for _ in 0..calls {
                    way.matmul(w, &x[..m * K], 0, m, &mut y[..m * N], 0).unwrap();
                }
                *least = least.min(begin.elapsed().as_secs_f64() / calls as f64);
            }
        }
    }
    least
}

/// From how many rows on the panel should be used so that the sum of what all lose is least, and the most that one loses.
fn crossover(times: &[[f64; 2]; ROWS.len()]) -> (usize, f64) {
    let losses = |from: usize| {
        let loss = move |(m, [decode, panel]): (usize, &[f64; 2])| {
            let taken = if m >= from { panel } else { decode };
            1.0 - decode.min(*panel) / taken
        };
        ROWS.into_iter().zip(times).map(loss)
    };
    let candidates = ROWS.into_iter().chain([MOST_ROWS + 1]);
    let sum = |from: usize| losses(from).sum::<f64>();
    let best = candidates.min_by(|a, b| sum(*a).total_cmp(&sum(*b))).unwrap();
    (best, losses(best).fold(0.0, f64::max))
}

fn main() {
    use TensorType::*;
    // `cargo bench` adds an option of its own.
    let names: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with("--")).collect();
    let types = [Q4_K, Q2_K, Q5_K, Q3_K, IQ4_XS, Q4_0, IQ4_NL, MXFP4, Q6_K, Q8_0, Q5_0, IQ3_S, IQ2_XS, IQ3_XXS, IQ1_S];
    let x = random::activations(MOST_ROWS * K);
    let mut y = vec![0.0; MOST_ROWS * N];
    println!("panel from (most lost), then m: decode / panel in G products/s");
    for tensor_type in types.into_iter().filter(|kind| names.is_empty() || names.iter().any(|name| name == kind.name()))
    {
        let row_bytes = tensor_type.row_size(K as u64).unwrap() as usize;
        let data = random::blocks(tensor_type, DISTINCT * row_bytes).repeat(N / DISTINCT);
        let w = Weights { tensor_type, n: N, k: K, data: &data };
        for level in Level::available().iter().filter(|level| **level != Level::Scalar) {
            for precision in Precision::ALL {
                // A matrix unit takes over from all of the level below.
                let before = match level {
                    Level::Amx => level_below(precision),
                    _ => context(level, precision, usize::MAX),
                };
                let ways = [before, context(level, precision, 1)];
                let times = times(&w, &ways, &x, &mut y);
                let (from, loss) = crossover(&times);
                print!(
                    "{:8} {:10} {precision:5?} {from:2} ({:2.0} %) ",
                    tensor_type.name(),
                    level.name(),
                    100.0 * loss
                );
                for (m, [decode, panel]) in ROWS.into_iter().zip(times) {
                    let speed = |seconds: f64| (m * K * N) as f64 / seconds * 1e-9;
                    print!("  {m}: {:.0} / {:.0}", speed(decode), speed(panel));
                }
                println!();
            }
        }
    }
}
