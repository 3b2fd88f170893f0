//! The weights made anew from the fields alone are the library's, bit for bit, for every type.

use super::{Description, Values, describe};
use gguffuse::blocks::{TensorType, dequantize};
use half::{bf16, f16};
use std::collections::HashMap;

/// xorshift.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A block of random bits with finite weights that are neither huge nor subnormal.
fn random_block(tensor_type: TensorType, state: &mut u64) -> (Vec<u8>, Vec<f32>) {
    let mut block = vec![0; tensor_type.block_bytes()];
    let mut weights = vec![0.0f32; tensor_type.block_elements()];
    loop {
        block.fill_with(|| (next(state) >> 11) as u8);
        dequantize(tensor_type, &block, &mut weights).unwrap();
        if weights.iter().all(|weight| *weight == 0.0 || (1e-9..1e20).contains(&weight.abs())) {
            return (block, weights);
        }
    }
}

impl Description {
    fn values(&self, name: &str) -> &Values {
        let mut found = self.fields.iter().filter(|field| field.name == name);
        let field = found.next().unwrap_or_else(|| panic!("no field {name}"));
        assert!(found.next().is_none(), "two fields {name}");
        &field.values
    }

    fn float(&self, name: &str) -> f32 {
        match self.values(name) {
            Values::F16(bits) => f16::from_bits(*bits).to_f32(),
            Values::Bf16(bits) => bf16::from_bits(*bits).to_f32(),
            Values::F32(value) => *value,
            Values::F64(value) => *value as f32,
            Values::Integers(values) => values[0] as f32,
            Values::Signs(_) => panic!("{name} has signs"),
        }
    }

    /// Number `index` of a field of integers.
    fn at(&self, name: &str, index: usize) -> f32 {
        match self.values(name) {
            Values::Integers(values) => values[index] as f32,
            other => panic!("{name} has {other:?}"),
        }
    }

    fn sign(&self, i: usize) -> f32 {
        match self.values("sign") {
            Values::Signs(signs) if signs[i / 8] >> (i % 8) & 1 == 1 => -1.0,
            Values::Signs(_) => 1.0,
            other => panic!("{other:?}"),
        }
    }
}

/// Tables that the description does not spell out (the grids): which number an entry had wherever it was met.
#[derive(Default)]
struct Learnt(HashMap<(TensorType, u64, usize), f32>);

impl Learnt {
    /// The entry, which must be `weight / scale` every time; all tables have eighths.
    fn entry(&mut self, key: (TensorType, u64, usize), weight: f32, scale: f32) -> f32 {
        if scale == 0.0 {
            return 0.0;
        }
        let new = (weight / scale * 8.0).round() / 8.0;
        *self.0.entry(key).or_insert(new)
    }
}

/// Weight `i`, as the formula has it.
fn weight(tensor_type: TensorType, of: &Description, i: usize, expected: f32, learnt: &mut Learnt) -> f32 {
    let q = || of.at("q", i);
    let s = |per: usize| of.at("s", i / per);
    let d = || of.float("d");
    let mut grid = |scale: f32, per: usize| {
        let entry = learnt.entry((tensor_type, of.at("index", i / per) as u64, i % per), expected * of.sign(i), scale);
        scale * (of.sign(i) * entry)
    };
    let shifted = |scale: f32, delta: f32, learnt: &mut Learnt| {
        let delta = if delta == 1.0 { -0.125 } else { 0.125 };
        let key = (tensor_type, of.at("index", i / 8) as u64, i % 8);
        scale * (learnt.entry(key, expected - scale * delta, scale) + delta)
    };
    const FOUR_BITS: [f32; 16] =
        [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];
    const E2M1: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];
    match tensor_type {
        TensorType::F32 | TensorType::F16 | TensorType::BF16 | TensorType::F64 => of.float("w"),
        TensorType::I8 | TensorType::I16 | TensorType::I32 | TensorType::I64 => of.float("w"),
        TensorType::Q4_0 => (q() - 8.0) * d(),
        TensorType::Q5_0 => (q() - 16.0) * d(),
        TensorType::Q4_1 | TensorType::Q5_1 => q() * d() + of.float("m"),
        TensorType::Q8_0 | TensorType::Q8_1 | TensorType::Q8_K => d() * q(),
        TensorType::Q2_K => d() * s(16) * q() - of.float("dmin") * of.at("m", i / 16),
        TensorType::Q3_K => d() * (s(16) - 32.0) * (q() - 4.0),
        TensorType::Q4_K | TensorType::Q5_K => d() * s(32) * q() - of.float("dmin") * of.at("m", i / 32),
        TensorType::Q6_K => d() * s(16) * (q() - 32.0),
        TensorType::IQ4_NL => d() * FOUR_BITS[q() as usize],
        TensorType::IQ4_XS => d() * (s(32) - 32.0) * FOUR_BITS[q() as usize],
        TensorType::TQ1_0 | TensorType::TQ2_0 | TensorType::Q2_0 => (q() - 1.0) * d(),
        TensorType::Q1_0 => d() * (2.0 * q() - 1.0),
        TensorType::MXFP4 => (of.at("e", 0) - 127.0).exp2() * E2M1[q() as usize],
        TensorType::NVFP4 => {
            let stored = s(16) as u32;
            let (exponent, mantissa) = (stored >> 3 & 15, (stored & 7) as f32);
            let scale = match (stored, exponent) {
                (127, _) => 0.0,
                (_, 0) => mantissa / 512.0,
                _ => (1.0 + mantissa / 8.0) * (exponent as f32 - 7.0).exp2(),
            };
            scale * E2M1[q() as usize]
        }
        TensorType::IQ2_XXS => grid(d() * (0.5 + s(32)) * 0.25, 8),
        TensorType::IQ2_XS | TensorType::IQ2_S => grid(d() * (0.5 + s(16)) * 0.25, 8),
        TensorType::IQ3_XXS => grid(d() * (0.5 + s(32)) * 0.5, 4),
        TensorType::IQ3_S => grid(d() * (2.0 * s(32) + 1.0), 4),
        TensorType::IQ1_S => shifted(d() * (2.0 * s(32) + 1.0), of.at("delta", i / 32), learnt),
        TensorType::IQ1_M => shifted(d() * (2.0 * s(16) + 1.0), of.at("delta", i / 8), learnt),
    }
}

#[test]
fn the_fields_make_the_weights() {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for tensor_type in TensorType::ALL.iter().copied() {
        let mut learnt = Learnt::default();
        // 2048 points of the largest grid, 32 to a block: each is met many times.
        for _ in 0..500 {
            let (block, expected) = random_block(tensor_type, &mut state);
            let description = describe(tensor_type, &block);
            for (i, expected) in expected.iter().enumerate() {
                let made = weight(tensor_type, &description, i, *expected, &mut learnt);
                assert!(made == *expected, "{tensor_type:?}, weight {i}: {made:e} is not {expected:e}");
            }
        }
    }
}

#[test]
fn every_byte_of_a_block_belongs_to_a_field() {
    for tensor_type in TensorType::ALL.iter().copied() {
        let mut owned = vec![false; tensor_type.block_bytes()];
        for field in describe(tensor_type, &vec![0; tensor_type.block_bytes()]).fields {
            for bytes in field.bytes {
                owned[bytes.clone()].fill(true);
            }
        }
        assert!(owned.iter().all(|owned| *owned), "{tensor_type:?}: {owned:?}");
    }
}
