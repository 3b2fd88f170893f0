//! From blocks to floats and back, for any type, on the calling thread.

use super::{Affine, Block, FloatWeight, TensorType, Visitor, as_blocks, as_blocks_mut, with_block};
use crate::error::{Error, Result, error};

/// Dequantises `source`, whole blocks of `tensor_type`, into `out`. Same bits as ggml's `dequantize_row_*`.
///
/// # Errors
/// `Shape` where `source` is not a whole number of blocks;
/// `BufferTooSmall` where `out` holds fewer elements than `source` has. Elements of `out` past them are not touched.
pub fn dequantize(tensor_type: TensorType, source: &[u8], out: &mut [f32]) -> Result<()> {
    struct Dequantize<'a>(&'a [u8], &'a mut [f32]);
    impl Visitor for Dequantize<'_> {
        type Output = ();
        fn block<B: Block>(self) {
            let elements = B::TYPE.block_elements();
            for (block, values) in as_blocks::<B>(self.0).iter().zip(self.1.chunks_exact_mut(elements)) {
                block.dequantize(values);
            }
        }
        fn float<B: FloatWeight>(self) {
            self.block::<B>();
        }
        fn affine<A: Affine>(self) {
            self.block::<A>();
        }
    }
    tensor_type.require_whole_blocks(source)?;
    let elements = source.len() / tensor_type.block_bytes() * tensor_type.block_elements();
    if out.len() < elements {
        return Err(error!(BufferTooSmall, "out holds {} elements, {elements} are needed", out.len()));
    }
    with_block(tensor_type, Dequantize(source, out));
    Ok(())
}

/// Quantises `source`, `rows` x `k` row-major, into `out`: the first `rows` rows of blocks. NaN counts as 0 and infinities
/// as the largest finite values. `importance`, where given, has one weight per column (`k` of them): the squared errors
/// of a column count that much. One thread; [`crate::matmul::Context::quantize`] uses many.
///
/// # Errors
/// `UnsupportedType` where the type has no quantiser; `Shape` where `k` is not a multiple of the block, or `source` or
/// `importance` has another length; `InvalidArgument` where a weight is negative or not finite; `BufferTooSmall` where `out` is
/// shorter than `rows` rows.
///
/// ```
/// use gguffuse::blocks::{TensorType, dequantize, quantize};
/// # fn main() -> gguffuse::Result<()> {
/// let weights: Vec<f32> = (0..64).map(|i| i as f32 - 31.5).collect(); // 2 rows of 32
/// let mut data = vec![0; 2 * TensorType::Q8_0.row_size(32)? as usize];
/// quantize(TensorType::Q8_0, &weights, 2, 32, None, &mut data)?;
/// let mut back = vec![0.0; 64];
/// dequantize(TensorType::Q8_0, &data, &mut back)?;
/// // Half a step of 31.5 / 127, and the rounding of the scale to an f16.
/// assert!(weights.iter().zip(back).all(|(a, b)| (a - b).abs() < 0.15));
/// # Ok(())
/// # }
/// ```
pub fn quantize(
    tensor_type: TensorType,
    source: &[f32],
    rows: usize,
    k: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<()> {
    let bytes = quantized_bytes(tensor_type, source, rows, k, importance, out.len())?;
    with_block(tensor_type, Quantize { source, k, importance, out: &mut out[..bytes] })
        .ok_or(Error::Internal("a quantisable type has no quantiser"))
}

/// The bytes that [`quantize`] writes, and all that it checks.
pub(crate) fn quantized_bytes(
    tensor_type: TensorType,
    source: &[f32],
    rows: usize,
    k: usize,
    importance: Option<&[f32]>,
    out_bytes: usize,
) -> Result<usize> {
    if !tensor_type.can_quantize() {
        return Err(error!(UnsupportedType, "{} has no quantiser", tensor_type.name()));
    }
    let row_bytes = tensor_type.row_size(k as u64)?;
    if rows.checked_mul(k) != Some(source.len()) {
        return Err(error!(Shape, "rows {rows} x k {k} is not the source's {} elements", source.len()));
    }
    if let Some(importance) = importance {
        if importance.len() != k {
            return Err(error!(Shape, "importance has {} elements, k is {k}", importance.len()));
        }
        if let Some(column) = importance.iter().position(|weight| !(0.0..=f32::MAX).contains(weight)) {
            return Err(error!(InvalidArgument, "importance[{column}] is negative or not finite"));
        }
    }
    let needed = row_bytes.checked_mul(rows as u64).and_then(|bytes| usize::try_from(bytes).ok());
    needed
        .filter(|needed| *needed <= out_bytes)
        .ok_or_else(|| error!(BufferTooSmall, "{rows} rows of {row_bytes} bytes do not fit in the {out_bytes} of out"))
}

struct Quantize<'a> {
    source: &'a [f32],
    k: usize,
    importance: Option<&'a [f32]>,
    out: &'a mut [u8],
}

impl Visitor for Quantize<'_> {
    type Output = Option<()>;

    fn block<B: Block>(self) -> Option<()> {
        /// The most elements of a block.
        const LARGEST: usize = 256;
        let quantize = B::QUANTIZE?;
        let elements = B::TYPE.block_elements();
        let mut values = [0.0; LARGEST];
        let values = &mut values[..elements];
        let blocks = as_blocks_mut::<B>(self.out).iter_mut().zip(self.source.chunks_exact(elements));
        for (index, (block, source)) in blocks.enumerate() {
            for (value, source) in values.iter_mut().zip(source) {
                *value = if source.is_nan() { 0.0 } else { source.clamp(f32::MIN, f32::MAX) };
            }
            let column = index * elements % self.k;
            let importance = self.importance.map_or(&[1.0; LARGEST][..elements], |all| &all[column..][..elements]);
            *block = quantize(values, importance);
        }
        Some(())
    }

    fn float<B: FloatWeight>(self) -> Option<()> {
        self.block::<B>()
    }

    fn affine<A: Affine>(self) -> Option<()> {
        self.block::<A>()
    }
}
