//! The ggml types: numbers, block sizes, dequantising and quantising without a file.

use super::arguments::{self, Out, OutStruct, Struct};
use super::guard;
use super::status::gguffuse_status;
use crate::blocks::{self, TensorType};
use crate::error::{Error, error};
use std::ffi::{c_char, c_void};

/// ggml's numbers of the tensor types, as stored in GGUF files. Functions take them as uint32_t.
#[allow(dead_code)] // for C only
#[repr(u32)]
pub enum gguffuse_type {
    GGUFFUSE_TYPE_F32 = 0,
    GGUFFUSE_TYPE_F16 = 1,
    GGUFFUSE_TYPE_Q4_0 = 2,
    GGUFFUSE_TYPE_Q4_1 = 3,
    GGUFFUSE_TYPE_Q5_0 = 6,
    GGUFFUSE_TYPE_Q5_1 = 7,
    GGUFFUSE_TYPE_Q8_0 = 8,
    GGUFFUSE_TYPE_Q8_1 = 9,
    GGUFFUSE_TYPE_Q2_K = 10,
    GGUFFUSE_TYPE_Q3_K = 11,
    GGUFFUSE_TYPE_Q4_K = 12,
    GGUFFUSE_TYPE_Q5_K = 13,
    GGUFFUSE_TYPE_Q6_K = 14,
    GGUFFUSE_TYPE_Q8_K = 15,
    GGUFFUSE_TYPE_IQ2_XXS = 16,
    GGUFFUSE_TYPE_IQ2_XS = 17,
    GGUFFUSE_TYPE_IQ3_XXS = 18,
    GGUFFUSE_TYPE_IQ1_S = 19,
    GGUFFUSE_TYPE_IQ4_NL = 20,
    GGUFFUSE_TYPE_IQ3_S = 21,
    GGUFFUSE_TYPE_IQ2_S = 22,
    GGUFFUSE_TYPE_IQ4_XS = 23,
    GGUFFUSE_TYPE_I8 = 24,
    GGUFFUSE_TYPE_I16 = 25,
    GGUFFUSE_TYPE_I32 = 26,
    GGUFFUSE_TYPE_I64 = 27,
    GGUFFUSE_TYPE_F64 = 28,
    GGUFFUSE_TYPE_IQ1_M = 29,
    GGUFFUSE_TYPE_BF16 = 30,
    GGUFFUSE_TYPE_TQ1_0 = 34,
    GGUFFUSE_TYPE_TQ2_0 = 35,
    GGUFFUSE_TYPE_MXFP4 = 39,
    GGUFFUSE_TYPE_NVFP4 = 40,
    GGUFFUSE_TYPE_Q1_0 = 41,
    GGUFFUSE_TYPE_Q2_0 = 42,
}

/// What the function of this name tells; being also a function's, the name needs the word `struct` before it. Set
/// struct_size to sizeof(struct gguffuse_type_info) before the call, and all else to 0.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct gguffuse_type_info {
    /// sizeof(struct gguffuse_type_info).
    pub struct_size: usize,
    /// ggml's name in lower case, as in "q4_k". A static string.
    pub name: *const c_char,
    /// Elements per block: k is a multiple of this.
    pub block_elements: u32,
    /// Bytes per block.
    pub block_bytes: u32,
    /// 1 if gguffuse_matmul takes weights of this type, else 0.
    pub can_matmul: u32,
    /// 1 if gguffuse_quantize makes this type, else 0.
    pub can_quantize: u32,
}

// SAFETY: repr(C), struct_size first, plain numbers and a pointer.
unsafe impl Struct for gguffuse_type_info {}

/// Name, block size and abilities of a type.
///
/// Errors: GGUFFUSE_ERROR_UNSUPPORTED_TYPE (no such type in ggml, or removed from it), _NULL_ARGUMENT, _MISALIGNED,
/// _INVALID_ARGUMENT (struct_size).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_type_info(r#type: u32, out: *mut gguffuse_type_info) -> gguffuse_status {
    guard(|| {
        let tensor_type = TensorType::require(r#type)?;
        // SAFETY: the caller's word for its pointer.
        let out = unsafe { OutStruct::new(out, "out") }?;
        out.write(gguffuse_type_info {
            struct_size: 0,
            name: tensor_type.name_with_nul().as_ptr().cast(),
            block_elements: tensor_type.block_elements() as u32,
            block_bytes: tensor_type.block_bytes() as u32,
            can_matmul: tensor_type.can_matmul().into(),
            can_quantize: tensor_type.can_quantize().into(),
        });
        Ok(())
    })
}

/// The bytes of one row of `k` elements.
///
/// Errors: GGUFFUSE_ERROR_UNSUPPORTED_TYPE, _SHAPE (k is no multiple of the block, or the size doesn't fit),
/// _NULL_ARGUMENT, _MISALIGNED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_row_size(r#type: u32, k: u64, bytes: *mut usize) -> gguffuse_status {
    guard(|| {
        let row = TensorType::require(r#type)?.row_size(k)?;
        let row = usize::try_from(row).map_err(|_| error!(Shape, "a row of {row} bytes doesn't fit in memory"))?;
        // SAFETY: the caller's word for its pointer.
        unsafe { Out::new(bytes, "bytes") }?.write(row);
        Ok(())
    })
}

/// Dequantises whole blocks: `source_bytes` bytes at `source` (any alignment) to floats at `out`, which has room for
/// `out_length` of them. Same bits as ggml's. Floats past the last block's are not touched.
///
/// Errors, nothing is written: GGUFFUSE_ERROR_UNSUPPORTED_TYPE, _SHAPE (not whole blocks), _BUFFER_TOO_SMALL, _ALIASING
/// (the buffers overlap), _MISALIGNED (out), _NULL_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_dequantize(
    r#type: u32,
    source: *const c_void,
    source_bytes: usize,
    out: *mut f32,
    out_length: usize,
) -> gguffuse_status {
    guard(|| {
        let tensor_type = TensorType::require(r#type)?;
        // SAFETY: the caller's word for its pointers and lengths.
        let source = unsafe { arguments::bytes(source, source_bytes, "source") }?;
        if arguments::overlap(source, out, out_length) {
            return Err(Error::Aliasing("out overlaps source"));
        }
        // SAFETY: the caller's word, and no overlap with what we read.
        let out = unsafe { arguments::slice_mut(out, out_length, "out") }?;
        blocks::dequantize(tensor_type, source, out)
    })
}

/// Quantises `rows` x `k` floats, row-major without gaps, to blocks at `out`, which has room for `out_bytes` bytes: rows
/// times gguffuse_row_size are needed, bytes past them are not touched. NaN becomes 0, infinities the largest value.
///
/// Errors, nothing is written: GGUFFUSE_ERROR_UNSUPPORTED_TYPE, _SHAPE (k, or rows * k is too large), _BUFFER_TOO_SMALL,
/// _ALIASING (the buffers overlap), _MISALIGNED (source), _NULL_ARGUMENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gguffuse_quantize(
    r#type: u32,
    source: *const f32,
    rows: usize,
    k: usize,
    out: *mut c_void,
    out_bytes: usize,
) -> gguffuse_status {
    guard(|| {
        let tensor_type = TensorType::require(r#type)?;
        let elements = rows
            .checked_mul(k)
            .ok_or_else(|| error!(Shape, "rows {rows} x k {k} is too large"))?;
        // SAFETY: the caller's word for its pointers and lengths.
        let source = unsafe { arguments::slice(source, elements, "source") }?;
        let out = out.cast::<u8>();
        if arguments::overlap(source, out, out_bytes) {
            return Err(Error::Aliasing("out overlaps source"));
        }
        // SAFETY: the caller's word, and no overlap with what we read.
        let out = unsafe { arguments::slice_mut(out, out_bytes, "out") }?;
        blocks::quantize(tensor_type, source, rows, k, None, out)
    })
}

#[cfg(test)]
mod tests {
    use crate::blocks::TensorType;

    #[test]
    fn constants_are_the_type_tables() {
        let constants: Vec<(String, u32)> = include_str!("types.rs")
            .lines()
            .filter_map(|line| {
                let (name, number) = line
                    .trim()
                    .strip_prefix("GGUFFUSE_TYPE_")?
                    .strip_suffix(',')?
                    .split_once(" = ")?;
                Some((name.to_lowercase(), number.parse().ok()?))
            })
            .collect();
        let table = TensorType::ALL.iter().map(|t| (t.name().to_string(), t.id()));
        assert!(constants.into_iter().eq(table));
    }
}
