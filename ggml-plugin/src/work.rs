//! What one of the engine's threads does for a node of ours: its part of the packing, waiting for the others, and tiles of
//! the product until there are none left, so that a slow core keeps nobody waiting.

use crate::experts::Choice;
use crate::graph::Job;
use gguffuse::Result;
use gguffuse::matmul::{Context, RawMatrixMut, RowActivations, Weights};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Weight rows of a tile are a multiple of this: what the library unpacks at a time.
const UNIT: usize = 32;
/// Tiles per thread. Each begins with waiting for memory: with 8, tokens take 1 % longer.
const TILES_PER_THREAD: usize = 4;
/// The least weight bytes of a tile: about a microsecond.
const TILE_BYTES: usize = 16 << 10;
/// The least activation rows of a tile, where those are divided.
const TILE_M: usize = 128;
/// Activation rows of an expert's tile, whose results lie on the stack before they go to their places.
const EXPERT_M: usize = 128;

/// The work of one of `threads` threads. Every one of them calls this.
pub fn run(job: &Job, threads: usize) {
    if job.packs {
        // Nobody may stay away from where the others wait.
        if let Some(ids) = &job.ids {
            if !job.sorting.swap(true, Ordering::Relaxed) {
                // SAFETY: the first thread to come, while the others wait.
                guarded(job, || match unsafe { (*job.groups).sort(ids) } {
                    true => Ok(()),
                    false => Err(gguffuse::Error::Internal("an id is no expert's")),
                });
            }
            wait_for_all(&job.grouped, threads);
        }
        if !job.failed.load(Ordering::Relaxed) {
            guarded(job, || pack(job, threads));
        }
        wait_for_all(&job.packed, threads);
    }
    if !job.failed.load(Ordering::Relaxed) {
        guarded(job, || if job.ids.is_none() { products(job, threads) } else { expert_products(job, threads) });
    }
}

/// A panic must not reach the engine.
fn guarded(job: &Job, work: impl FnOnce() -> Result<()>) {
    if !matches!(catch_unwind(AssertUnwindSafe(work)), Ok(Ok(()))) {
        job.failed.store(true, Ordering::Relaxed);
    }
}

/// Returns when all threads have come here.
fn wait_for_all(arrived: &AtomicUsize, threads: usize) {
    /// Some microseconds. Where there are more threads than cores, the one waited for needs this one's.
    const SPINS: usize = 2000;
    arrived.fetch_add(1, Ordering::AcqRel);
    let mut spins = 0;
    while arrived.load(Ordering::Acquire) < threads {
        spins += 1;
        if spins < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

/// Calls `part` with ranges of at most `size` of `0..count`, as long as there are any.
fn take_parts(
    next: &AtomicUsize,
    count: usize,
    size: usize,
    mut part: impl FnMut(Range<usize>) -> Result<()>,
) -> Result<()> {
    loop {
        let begin = next.fetch_add(size, Ordering::Relaxed);
        if begin >= count {
            return Ok(());
        }
        part(begin..(begin + size).min(count))?;
    }
}

/// Which of `count` parts is taken at place `index`, so that each thread goes through parts that follow each other as long as all are
/// equally fast: while the library multiplies by the weights of one part, it asks for those behind them.
fn in_lanes(index: usize, count: usize, threads: usize) -> usize {
    let length = count / threads;
    if index < length * threads { index % threads * length + index / threads } else { index }
}

fn contexts(job: &Job) -> (&Context, &RowActivations) {
    // SAFETY: the contexts live as long as the process, the activations until the graph has been computed.
    unsafe { (&*job.context, &*job.activations) }
}

fn pack(job: &Job, threads: usize) -> Result<()> {
    let (context, activations) = contexts(job);
    let count = activations.m();
    let size = (count / (threads * TILES_PER_THREAD)).clamp(1, 16);
    // SAFETY: sorted already, where there are experts.
    let lists = job.ids.is_some().then(|| unsafe { (*job.groups).lists() });
    take_parts(&job.next_row, count, size, |rows| {
        for row in rows {
            let x = match lists {
                None => job.x.nth(row),
                Some(lists) => {
                    let Choice { token, choice } = lists.choice(row);
                    job.x.row([choice % job.x.ne[0], token, 0])
                }
            };
            // SAFETY: a row of the node's activations, which stay until all nodes that read the packing are done; this
            // thread took the row.
            unsafe { context.pack_row_raw(activations, row, x)? };
        }
        Ok(())
    })
}

/// Tiles of `n` weight rows each, for `threads` threads: see [`TILES_PER_THREAD`].
fn tile_n(job: &Job, tiles_besides: usize, threads: usize) -> usize {
    let wanted = (threads * TILES_PER_THREAD).div_ceil(tiles_besides);
    let least = (TILE_BYTES / job.w.row_bytes).max(1);
    (job.w.n / wanted).max(least).next_multiple_of(UNIT)
}

/// The weight rows `rows` of matrix `matrix`.
///
/// # Safety
/// They exist.
unsafe fn weights(job: &Job, matrix: [usize; 2], rows: Range<usize>) -> Weights<'_> {
    let w = &job.w;
    let offset = matrix[0] * w.nb[0] + matrix[1] * w.nb[1] + rows.start * w.row_bytes;
    // SAFETY: rows of the tensor, contiguous, which nobody writes while the graph is computed.
    let data = unsafe { std::slice::from_raw_parts(w.data.add(offset), rows.len() * w.row_bytes) };
    Weights { tensor_type: w.tensor_type, n: rows.len(), k: w.k, data }
}

fn products(job: &Job, threads: usize) -> Result<()> {
    let (context, activations) = contexts(job);
    let y = &job.y;
    // Several products with the same weights are one, if their results lie in line.
    let one = job.w.ne == [1, 1]
        && (y.ne[1..] == [1, 1] || y.nb[1] == y.ne[0] * y.nb[0] && (y.ne[2] == 1 || y.nb[2] == y.ne[1] * y.nb[1]));
    let (batches, m) = if one { (1, y.count()) } else { (y.ne[1] * y.ne[2], y.ne[0]) };
    // With few weight rows and many threads, activations are divided as well.
    let n_units = job.w.n.div_ceil(UNIT);
    let m_parts = (threads * TILES_PER_THREAD / 2).div_ceil(n_units * batches).clamp(1, m.div_ceil(TILE_M));
    let tile_m = m.div_ceil(m_parts);
    let m_parts = m.div_ceil(tile_m);
    let tile_n = tile_n(job, batches * m_parts, threads);
    let n_parts = job.w.n.div_ceil(tile_n);
    take_parts(&job.next_tile, batches * m_parts * n_parts, 1, |tile| {
        let (batch, m_part, n_part) =
            (tile.start / n_parts / m_parts, tile.start / n_parts % m_parts, tile.start % n_parts);
        let [i2, i3] = [batch % y.ne[1], batch / y.ne[1]];
        let matrix = [i2 / (y.ne[1] / job.w.ne[0]), i3 / (y.ne[2] / job.w.ne[1])];
        let n_part = in_lanes(n_part, n_parts, threads);
        let rows = n_part * tile_n..((n_part + 1) * tile_n).min(job.w.n);
        let x_rows = m_part * tile_m..((m_part + 1) * tile_m).min(m);
        let stride = y.nb[0] / size_of::<f32>();
        let data = y.row([0, i2, i3]).wrapping_add(x_rows.start * stride);
        let length = (x_rows.len() - 1) * stride + job.w.n;
        let first = batch * m;
        // SAFETY: rows of the tensors, of which this thread took these results; packed before, as all threads have passed
        // the point where they wait, in this node or an earlier one.
        unsafe {
            let w = weights(job, matrix, 0..job.w.n);
            let y = RawMatrixMut { data, length, stride };
            context.matmul_row_activations_raw(&w, rows, activations, first + x_rows.start..first + x_rows.end, y)
        }
    })
}

fn expert_products(job: &Job, threads: usize) -> Result<()> {
    let (context, activations) = contexts(job);
    // SAFETY: sorted, in this node or an earlier one.
    let lists = unsafe { (*job.groups).lists() };
    let choices = job.y.count();
    // Where an expert has one row, its result goes where it belongs at once.
    let one_each = lists.chosen.len() == choices;
    let tile_n = if one_each { tile_n(job, choices, threads) } else { UNIT };
    let n_parts = job.w.n.div_ceil(tile_n);
    take_parts(&job.next_tile, lists.chosen.len() * n_parts, 1, |tile| {
        let expert = lists.chosen[tile.start / n_parts] as usize;
        let begin = tile.start % n_parts * tile_n;
        let rows = begin..(begin + tile_n).min(job.w.n);
        // SAFETY: an expert, and rows of its weights.
        let w = unsafe { weights(job, [expert, 0], rows.clone()) };
        let place = |position: usize| {
            let Choice { token, choice } = lists.choice(position);
            job.y.row([choice, token, 0]).wrapping_add(rows.start)
        };
        let positions = lists.of(expert);
        for begin in positions.clone().step_by(EXPERT_M) {
            let x_rows = begin..(begin + EXPERT_M).min(positions.end);
            // SAFETY: packed before; this thread took these columns of the expert's results.
            unsafe {
                if x_rows.len() == 1 {
                    let y = RawMatrixMut { data: place(begin), length: w.n, stride: 0 };
                    context.matmul_row_activations_raw(&w, 0..w.n, activations, x_rows, y)?;
                } else {
                    let mut results = [0f32; EXPERT_M * UNIT];
                    let y = RawMatrixMut { data: results.as_mut_ptr(), length: results.len(), stride: 0 };
                    context.matmul_row_activations_raw(&w, 0..w.n, activations, x_rows.clone(), y)?;
                    for (result, position) in results.chunks(w.n).zip(x_rows) {
                        place(position).copy_from_nonoverlapping(result.as_ptr(), w.n);
                    }
                }
            }
        }
        Ok(())
    })
}
