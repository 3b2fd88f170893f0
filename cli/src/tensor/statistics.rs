//! Statistics of a tensor's dequantised weights: two passes over the blocks, on all cores, with f64 sums.

use crate::parallel;
use gguffuse::blocks::{TensorType, dequantize};

/// Bins of the histogram, all of one width.
pub const BINS: usize = 20;

/// Weights that a core dequantises at a go.
const PART: usize = 64 << 10;

/// What there is to say of some weights. Extremes, mean, deviation and histogram are those of the finite ones.
pub struct Statistics {
    pub weights: u64,
    pub nan: u64,
    pub infinite: u64,
    pub zeros: u64,
    pub min: f32,
    pub max: f32,
    pub mean: f64,
    /// Standard deviation, of these weights and not of a population that they are from.
    pub deviation: f64,
    /// How many lie in each bin.
    pub histogram: [u64; BINS],
}

impl Statistics {
    pub fn finite(&self) -> u64 {
        self.weights - self.nan - self.infinite
    }

    /// Where bin `bin` begins.
    pub fn edge(&self, bin: usize) -> f64 {
        let (min, max) = (f64::from(self.min), f64::from(self.max));
        min + (max - min) * bin as f64 / BINS as f64
    }
}

/// The statistics of whole blocks.
pub fn of(tensor_type: TensorType, data: &[u8]) -> Statistics {
    let zero = Statistics {
        weights: 0,
        nan: 0,
        infinite: 0,
        zeros: 0,
        min: f32::INFINITY,
        max: f32::NEG_INFINITY,
        mean: 0.0,
        deviation: 0.0,
        histogram: [0; BINS],
    };
    let mut sum = 0.0;
    let firsts = parts(tensor_type, data, first_pass);
    let mut all = firsts.into_iter().fold(zero, |all, (part, part_sum)| {
        sum += part_sum;
        Statistics {
            weights: all.weights + part.weights,
            nan: all.nan + part.nan,
            infinite: all.infinite + part.infinite,
            zeros: all.zeros + part.zeros,
            min: all.min.min(part.min),
            max: all.max.max(part.max),
            ..all
        }
    });
    if all.finite() == 0 {
        return all;
    }
    all.mean = sum / all.finite() as f64;
    let (min, mean) = (f64::from(all.min), all.mean);
    // 0 where all weights are the same: then all are in the first bin.
    let width = (f64::from(all.max) - min) / BINS as f64;
    let inverse = if width > 0.0 { 1.0 / width } else { 0.0 };
    let mut squares = 0.0;
    for (histogram, part_squares) in parts(tensor_type, data, |weights| second_pass(weights, min, inverse, mean)) {
        squares += part_squares;
        for (count, part) in all.histogram.iter_mut().zip(histogram) {
            *count += part;
        }
    }
    all.deviation = (squares / all.finite() as f64).sqrt();
    all
}

/// What `pass` makes of the weights, part by part.
fn parts<T: Send>(tensor_type: TensorType, data: &[u8], pass: impl Fn(&[f32]) -> T + Sync) -> Vec<T> {
    let blocks = PART / tensor_type.block_elements();
    let parts: Vec<&[u8]> = data.chunks(blocks * tensor_type.block_bytes()).collect();
    parallel::map(parts.len(), |index| {
        let mut weights = vec![0.0; PART];
        let count = parts[index].len() / tensor_type.block_bytes() * tensor_type.block_elements();
        // Whole blocks, and room for all: there is nothing else that could go wrong.
        let done = dequantize(tensor_type, parts[index], &mut weights);
        debug_assert!(done.is_ok());
        pass(&weights[..count])
    })
}

fn first_pass(weights: &[f32]) -> (Statistics, f64) {
    let mut of = Statistics {
        weights: weights.len() as u64,
        nan: 0,
        infinite: 0,
        zeros: 0,
        min: f32::INFINITY,
        max: f32::NEG_INFINITY,
        mean: 0.0,
        deviation: 0.0,
        histogram: [0; BINS],
    };
    let mut sum = 0.0;
    for weight in weights.iter().copied() {
        of.nan += u64::from(weight.is_nan());
        of.infinite += u64::from(weight.is_infinite());
        of.zeros += u64::from(weight == 0.0);
        if weight.is_finite() {
            of.min = of.min.min(weight);
            of.max = of.max.max(weight);
            sum += f64::from(weight);
        }
    }
    (of, sum)
}

/// The histogram, and the sum of the squared distances from the mean.
fn second_pass(weights: &[f32], min: f64, inverse_width: f64, mean: f64) -> ([u64; BINS], f64) {
    let mut histogram = [0; BINS];
    let mut squares = 0.0;
    for weight in weights.iter().copied().filter(|weight| weight.is_finite()) {
        let weight = f64::from(weight);
        // The largest weight would be the first of one bin more.
        histogram[(((weight - min) * inverse_width) as usize).min(BINS - 1)] += 1;
        squares += (weight - mean) * (weight - mean);
    }
    (histogram, squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_floats(weights: &[f32]) -> Statistics {
        of(TensorType::F32, &weights.iter().flat_map(|weight| weight.to_le_bytes()).collect::<Vec<u8>>())
    }

    #[test]
    fn what_is_not_finite_is_counted_and_left_out() {
        let of = of_floats(&[1.0, f32::NAN, -3.0, f32::INFINITY, 0.0, -0.0, f32::NEG_INFINITY, 4.0]);
        assert_eq!((of.weights, of.nan, of.infinite, of.zeros, of.finite()), (8, 1, 2, 2, 5));
        assert_eq!((of.min, of.max, of.mean), (-3.0, 4.0, 0.4));
        // (9 + 1 + 16) / 5 - 0.16; five terms of three roundings each.
        assert!((of.deviation - 5.04f64.sqrt()).abs() <= 8.0 * f64::EPSILON * of.deviation);
        assert_eq!(of.histogram.iter().sum::<u64>(), 5);
        assert_eq!((of.histogram[0], of.histogram[BINS - 1]), (1, 1));
    }

    #[test]
    fn parts_make_the_whole() {
        let count = 3 * PART + 17;
        let of = of_floats(&(0..count).map(|i| (i % 40) as f32).collect::<Vec<f32>>());
        let times = |value: usize| (count / 40 + usize::from(value < count % 40)) as u64;
        let mean = (0..40).map(|value| value as f64 * times(value) as f64).sum::<f64>() / count as f64;
        let squares = (0..40).map(|value| (value as f64 - mean).powi(2) * times(value) as f64).sum::<f64>();
        assert_eq!((of.weights, of.zeros, of.min, of.max), (count as u64, times(0), 0.0, 39.0));
        assert_eq!(of.mean, mean);
        let deviation = (squares / count as f64).sqrt();
        // Sums of `count` terms that are not negative.
        assert!((of.deviation - deviation).abs() <= count as f64 * f64::EPSILON * deviation);
        for (bin, count) in of.histogram.iter().enumerate() {
            let inside = (0..40).filter(|value| (value * BINS / 39).min(BINS - 1) == bin);
            assert_eq!(*count, inside.map(times).sum::<u64>(), "bin {bin}");
        }
    }

    #[test]
    fn weights_that_are_all_the_same_or_no_numbers() {
        let same = of_floats(&[2.5; 7]);
        assert_eq!((same.min, same.max, same.mean, same.deviation, same.histogram[0]), (2.5, 2.5, 2.5, 0.0, 7));
        assert_eq!(of_floats(&[f32::NAN; 3]).finite(), 0);
    }
}
