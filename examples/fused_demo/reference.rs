//! The truth: the f64 product of the dequantised weights and the activations, for all weight rows and a sample of the
//! activation rows, and the errors of a product against it.

use gguffuse::blocks::dequantize;
use gguffuse::matmul::Weights;

/// The most activation rows that are compared: every f64 product costs as much as a naive one. They are spread evenly
/// over all; what lies between them is compared with the naive product instead, where that was run.
const MOST_ROWS: usize = 8;

/// f64 products of some activation rows with all weight rows.
pub struct Reference {
    /// Activation rows, numbers in 0..m.
    rows: Vec<usize>,
    /// `[n][rows]`.
    values: Vec<f64>,
    /// Weights that are NaN or infinite.
    pub not_finite: u64,
}

/// How far a product is from the truth.
#[derive(Clone, Copy)]
pub struct Errors {
    /// Largest absolute difference.
    pub largest: f64,
    /// The same, over the largest value of the truth.
    pub largest_relative: f64,
    /// Sum of squared differences over sum of squared true values.
    pub nmse: f64,
}

impl Errors {
    /// Root of the NMSE: the relative error of the product as a whole.
    pub fn relative(&self) -> f64 {
        self.nmse.sqrt()
    }
}

impl Reference {
    /// Computes it on `threads` threads, one weight row in f32 at a time.
    pub fn new(w: &Weights<'_>, x: &[f32], m: usize, threads: usize) -> Result<Reference, String> {
        let count = m.min(MOST_ROWS);
        let rows: Vec<usize> = (0..count).map(|row| row * m / count).collect();
        let x: Vec<f64> = rows.iter().flat_map(|row| &x[row * w.k..][..w.k]).map(|x| f64::from(*x)).collect();
        let mut values = vec![0f64; w.n * count];
        let share = w.n.div_ceil(threads).max(1);
        let row_bytes = w.data.len() / w.n;
        let parts = w.data.chunks(share * row_bytes).zip(values.chunks_mut(share * count));
        let counts: Result<Vec<u64>, String> = std::thread::scope(|scope| {
            let x = &x;
            let workers: Vec<_> =
                parts.map(|(blocks, values)| scope.spawn(move || some_rows(w, blocks, row_bytes, x, values))).collect();
            let joined = workers.into_iter().map(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect()
        });
        Ok(Reference { rows, values, not_finite: counts?.iter().sum() })
    }

    /// The errors of `y`, `[m][n]`.
    pub fn errors_of(&self, y: &[f32], n: usize) -> Errors {
        let (mut largest, mut largest_value, mut squares, mut square_values) = (0f64, 0f64, 0f64, 0f64);
        for (column, values) in self.values.chunks_exact(self.rows.len()).enumerate() {
            for (row, truth) in self.rows.iter().zip(values) {
                let difference = f64::from(y[row * n + column]) - truth;
                // `max` would pass over a NaN.
                largest = if difference.abs() <= largest { largest } else { difference.abs() };
                largest_value = largest_value.max(truth.abs());
                squares += difference * difference;
                square_values += truth * truth;
            }
        }
        Errors { largest, largest_relative: ratio(largest, largest_value), nmse: ratio(squares, square_values) }
    }
}

/// 0 of 0 is no error.
fn ratio(error: f64, of: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / of }
}

/// Products of the weight rows in `blocks`; returns how many weights are not finite.
fn some_rows(w: &Weights<'_>, blocks: &[u8], row_bytes: usize, x: &[f64], values: &mut [f64]) -> Result<u64, String> {
    let mut weights = vec![0f32; w.k];
    let mut not_finite = 0;
    let count = x.len() / w.k;
    for (row, values) in blocks.chunks_exact(row_bytes).zip(values.chunks_exact_mut(count)) {
        dequantize(w.tensor_type, row, &mut weights).map_err(|why| why.to_string())?;
        not_finite += weights.iter().filter(|weight| !weight.is_finite()).count() as u64;
        for (x, value) in x.chunks_exact(w.k).zip(values) {
            *value = x.iter().zip(&weights).map(|(x, w)| x * f64::from(*w)).sum();
        }
    }
    Ok(not_finite)
}
