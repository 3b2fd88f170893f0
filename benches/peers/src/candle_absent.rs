//! Instead of candle.rs in a build without candle: it never takes part.

use crate::weights::Matrix;
use gguffuse::kernels::Level;

pub fn level() -> Level {
    Level::Scalar
}

pub struct Uploaded(std::convert::Infallible);

impl Uploaded {
    pub fn new(_: &Matrix) -> Option<Uploaded> {
        None
    }
}

pub struct Product<'a>(&'a Uploaded);

impl<'a> Product<'a> {
    pub fn new(weights: &'a Uploaded, _: &[f32], _: usize) -> Product<'a> {
        Product(weights)
    }

    pub fn compute(&self) {
        match self.0.0 {}
    }

    pub fn result(&self) -> Vec<f32> {
        match self.0.0 {}
    }
}
