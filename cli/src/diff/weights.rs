//! How far the dequantised weights of two tensors of one shape are from each other.

use crate::error::Result;
use crate::parallel;
use gguffuse::blocks::dequantize;
use gguffuse::gguf::Tensor;

/// Weights that a core compares at a go: whole blocks of every type.
const PART: usize = 64 << 10;

/// What was found in a part, or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Difference {
    /// Weights that are not equal, NaN being equal to NaN.
    count: u64,
    /// Of those, the ones whose difference is no number.
    not_finite: u64,
    largest: f64,
    /// Where the largest is.
    at: u64,
    /// Sums of squares: of the differences, and of the first tensor's weights.
    squares: f64,
    reference: f64,
}

/// In words.
pub fn compare(a: &Tensor<'_>, b: &Tensor<'_>) -> Result<String> {
    let weights = crate::open::elements(a);
    let parts = weights.div_ceil(PART as u64) as usize;
    let of_parts: Vec<Result<Difference>> = parallel::map(parts, |part| {
        let (a, b) = (values(a, part)?, values(b, part)?);
        Ok(difference(&a, &b, (part * PART) as u64))
    });
    let mut all = Difference::default();
    for part in of_parts {
        all.add(&part?);
    }
    Ok(all.text(weights))
}

/// The weights of part `part`.
fn values(tensor: &Tensor<'_>, part: usize) -> Result<Vec<f32>> {
    let (elements, bytes) = (tensor.tensor_type.block_elements(), tensor.tensor_type.block_bytes());
    let part_bytes = PART / elements * bytes;
    let data = &tensor.data[part * part_bytes..tensor.data.len().min((part + 1) * part_bytes)];
    let mut values = vec![0.0; data.len() / bytes * elements];
    dequantize(tensor.tensor_type, data, &mut values)?;
    Ok(values)
}

fn difference(a: &[f32], b: &[f32], first: u64) -> Difference {
    let mut of = Difference::default();
    for (at, (a, b)) in (first..).zip(a.iter().zip(b)) {
        if a.is_finite() {
            of.reference += f64::from(*a) * f64::from(*a);
        }
        if a == b || (a.is_nan() && b.is_nan()) {
            continue;
        }
        of.count += 1;
        let distance = (f64::from(*a) - f64::from(*b)).abs();
        if !distance.is_finite() {
            of.not_finite += 1;
            continue;
        }
        of.squares += distance * distance;
        if distance > of.largest {
            (of.largest, of.at) = (distance, at);
        }
    }
    of
}

impl Difference {
    fn add(&mut self, part: &Difference) {
        self.count += part.count;
        self.not_finite += part.not_finite;
        self.squares += part.squares;
        self.reference += part.reference;
        if part.largest > self.largest {
            (self.largest, self.at) = (part.largest, part.at);
        }
    }

    fn text(&self, weights: u64) -> String {
        if self.count == 0 {
            return "other bytes, the same weights".to_owned();
        }
        let Difference { count, largest, at, .. } = self;
        let mut text = format!("{count} of {weights} weights differ, the most by {largest:.3e} (weight {at})");
        if self.reference > 0.0 {
            text += &format!(", relative error {:.3e}", (self.squares / self.reference).sqrt());
        }
        if self.not_finite > 0 {
            text += &format!(", {} where one is NaN or infinite", self.not_finite);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences() {
        let (nan, infinite) = (f32::NAN, f32::INFINITY);
        let a = [1.0, 2.0, nan, nan, infinite, infinite, -3.0, 0.0];
        let b = [1.0, 2.5, nan, 1.0, infinite, -infinite, 1.0, -0.0];
        let of = difference(&a, &b, 100);
        let expected =
            Difference { count: 4, not_finite: 2, largest: 4.0, at: 106, squares: 16.25, reference: 1.0 + 4.0 + 9.0 };
        assert_eq!(of, expected);
        let mut all = difference(&a[..4], &b[..4], 100);
        all.add(&difference(&a[4..], &b[4..], 104));
        assert_eq!(all, expected);
    }
}
