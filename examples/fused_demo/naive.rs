//! The naive product, as this project began: dequantise the whole tensor into f32, then multiply with plain loops. It
//! is what fused is compared with, so nobody should make it clever.

use gguffuse::blocks::dequantize;
use gguffuse::matmul::Weights;
use std::time::{Duration, Instant};

/// `y = x * w^T` on `threads` threads, each with its share of the weight rows. Returns how long dequantising took.
pub fn product(w: &Weights<'_>, x: &[f32], m: usize, y: &mut [f32], threads: usize) -> Result<Duration, String> {
    let start = Instant::now();
    let mut weights = vec![0f32; w.n * w.k];
    let share = w.n.div_ceil(threads).max(1);
    dequantize_all(w, &mut weights, share)?;
    let dequantized = start.elapsed();

    // Every thread gets its columns of each row of y.
    let mut columns: Vec<Vec<&mut [f32]>> = (0..w.n.div_ceil(share)).map(|_| Vec::with_capacity(m)).collect();
    for row in y.chunks_exact_mut(w.n) {
        for (part, columns) in row.chunks_mut(share).zip(&mut columns) {
            columns.push(part);
        }
    }
    std::thread::scope(|scope| {
        let mut parts = weights.chunks(share * w.k).zip(columns);
        let mine = parts.next();
        for (weights, mut y) in parts {
            scope.spawn(move || multiply(weights, w.k, x, &mut y));
        }
        if let Some((weights, mut y)) = mine {
            multiply(weights, w.k, x, &mut y);
        }
    });
    Ok(dequantized)
}

fn dequantize_all(w: &Weights<'_>, out: &mut [f32], share: usize) -> Result<(), String> {
    let row_bytes = w.data.len() / w.n;
    let parts = w.data.chunks(share * row_bytes).zip(out.chunks_mut(share * w.k));
    let done: Result<Vec<()>, gguffuse::Error> = std::thread::scope(|scope| {
        let mut parts = parts;
        let mine = parts.next();
        let others: Vec<_> =
            parts.map(|(blocks, out)| scope.spawn(move || dequantize(w.tensor_type, blocks, out))).collect();
        let mine = mine.map_or(Ok(()), |(blocks, out)| dequantize(w.tensor_type, blocks, out));
        let others = others.into_iter().map(|other| match other.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(mine).chain(others).collect()
    });
    done.map(|_| ()).map_err(|why| why.to_string())
}

/// The plain triple loop, one accumulator.
fn multiply(weights: &[f32], k: usize, x: &[f32], y: &mut [&mut [f32]]) {
    for (x_row, y_row) in x.chunks_exact(k).zip(y) {
        for (w_row, y) in weights.chunks_exact(k).zip(y_row.iter_mut()) {
            let mut sum = 0f32;
            for (x, w) in x_row.iter().zip(w_row) {
                sum += x * w;
            }
            *y = sum;
        }
    }
}
