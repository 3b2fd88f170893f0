//! gguffuse itself: a context for every level, precision and number of threads.

use crate::weights::Matrix;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, ContextOptions, Precision};
use std::collections::HashMap;
use std::rc::Rc;

/// Contexts, made once.
#[derive(Default)]
pub struct Contexts(HashMap<(Level, Precision, usize), Rc<Context>>);

impl Contexts {
    pub fn get(&mut self, level: Level, precision: Precision, threads: usize) -> Rc<Context> {
        let context = self.0.entry((level, precision, threads)).or_insert_with(|| {
            let options = ContextOptions { threads: threads as u32, precision, max_isa: Some(level.name()) };
            Rc::new(Context::new(&options).expect("a level that the library itself names"))
        });
        context.clone()
    }
}

/// The levels to be compared: all but scalar code.
pub fn levels() -> Vec<Level> {
    Level::available().iter().copied().filter(|level| *level != Level::Scalar).collect()
}

pub fn multiply(context: &Context, matrix: &Matrix, x: &[f32], y: &mut [f32]) {
    let m = x.len() / matrix.k;
    context.matmul(&matrix.view(), x, 0, m, y, 0).expect("operands that fit");
}
