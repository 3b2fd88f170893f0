//! Random operands of the benches.

use gguffuse::blocks::{TensorType, dequantize};

/// xorshift.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// `bytes` of blocks of random bits with weights that are neither huge nor tiny: not every type has a quantiser. Subnormal
/// scales made products of MXFP4 up to four times as slow on an Intel.
pub fn blocks(tensor_type: TensorType, bytes: usize) -> Vec<u8> {
    let mut state = 1;
    let mut data = vec![0; bytes];
    let mut values = vec![0.0; tensor_type.block_elements()];
    for block in data.chunks_exact_mut(tensor_type.block_bytes()) {
        loop {
            block.fill_with(|| next(&mut state) as u8);
            dequantize(tensor_type, block, &mut values).unwrap();
            if values.iter().all(|value| value.abs() < 1e6) && values.iter().any(|value| value.abs() > 1e-6) {
                break;
            }
        }
    }
    data
}

/// Values in -0.5..0.5.
pub fn activations(count: usize) -> Vec<f32> {
    let mut state = 2;
    (0..count).map(|_| (next(&mut state) >> 40) as f32 / (1 << 24) as f32 - 0.5).collect()
}
