//! Weights in bulk: bad blocks are found in every type, wherever they are and with any number of threads; quantising has
//! the same bytes with any number of threads.

use gguffuse::blocks::{self, TensorType};
use gguffuse::error::Error;
use gguffuse::matmul::{Context, ContextOptions};
use half::f16;

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Between -1 and 1.
    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }
}

fn contexts() -> Vec<Context> {
    let context = |threads| Context::new(&ContextOptions { threads, ..ContextOptions::default() }).unwrap();
    [1, 2, 3, 8].map(context).into()
}

/// A scale or value of a block, and how bits get there.
enum Field {
    /// Little-endian, at this byte.
    F16(usize),
    BF16,
    F32,
    F64,
    /// A float of 8 bits at this byte.
    Byte(usize),
    /// IQ1_M: four bits in the high nibble of every second one of the last 8 bytes.
    Spread,
}

impl Field {
    /// The scales of a type, from ggml-common.h.
    fn all(tensor_type: TensorType) -> Vec<Field> {
        use TensorType::*;
        match tensor_type {
            I8 | I16 | I32 | I64 => vec![],
            F32 | Q8_K => vec![Field::F32],
            F64 => vec![Field::F64],
            BF16 => vec![Field::BF16],
            IQ1_M => vec![Field::Spread],
            MXFP4 => vec![Field::Byte(0)],
            NVFP4 => (0..4).map(Field::Byte).collect(),
            Q4_1 | Q5_1 | Q8_1 | Q4_K | Q5_K => vec![Field::F16(0), Field::F16(2)],
            Q2_K => vec![Field::F16(80), Field::F16(82)],
            Q3_K | Q6_K | TQ1_0 | TQ2_0 => vec![Field::F16(tensor_type.block_bytes() - 2)],
            F16 | Q4_0 | Q5_0 | Q8_0 | IQ1_S | IQ2_XXS | IQ2_XS | IQ2_S | IQ3_XXS | IQ3_S | IQ4_NL | IQ4_XS | Q1_0
            | Q2_0 => {
                vec![Field::F16(0)]
            }
        }
    }

    fn set(&self, block: &mut [u8], bits: u64) {
        let mut put = |at: usize, size: usize| block[at..at + size].copy_from_slice(&bits.to_le_bytes()[..size]);
        match self {
            Field::F16(at) => put(*at, 2),
            Field::BF16 => put(0, 2),
            Field::F32 => put(0, 4),
            Field::F64 => put(0, 8),
            Field::Byte(at) => put(*at, 1),
            Field::Spread => {
                for (word, byte) in block[48..].iter_mut().skip(1).step_by(2).enumerate() {
                    *byte = *byte & 15 | ((bits >> (4 * word)) as u8 & 15) << 4;
                }
            }
        }
    }

    /// Bits that are fine, and bits that are not: infinite, NaN (quiet or not, of either sign), or too large.
    fn bits(&self, tensor_type: TensorType) -> (u64, Vec<u64>) {
        let halves = vec![0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff];
        match self {
            Field::F16(_) | Field::Spread => (f16::MAX.to_bits().into(), halves),
            Field::BF16 => (0x7f7f, vec![0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff]),
            Field::F32 if tensor_type == TensorType::Q8_K => (0x7bff_ffff, vec![0x7c00_0000, 0x7f80_0000, 0xffff_ffff]),
            Field::F32 => (0x7f7f_ffff, vec![0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001, 0xffff_ffff]),
            Field::F64 => (f64::from(f32::MAX).to_bits(), [1e39, f64::INFINITY, -f64::NAN].map(f64::to_bits).into()),
            Field::Byte(_) if tensor_type == TensorType::MXFP4 => (252, vec![253, 254, 255]),
            Field::Byte(_) => (126, vec![127, 128, 200, 255]),
        }
    }
}

/// Random blocks with scales that are just fine.
fn good_blocks(random: &mut Random, tensor_type: TensorType, count: usize) -> Vec<u8> {
    let mut data = random.bytes(count * tensor_type.block_bytes());
    for block in data.chunks_exact_mut(tensor_type.block_bytes()) {
        for field in Field::all(tensor_type) {
            field.set(block, field.bits(tensor_type).0);
        }
    }
    data
}

#[test]
fn one_bad_block_is_found_wherever_it_is() {
    let mut random = Random(1);
    let contexts = contexts();
    for tensor_type in TensorType::ALL.iter().copied() {
        let (name, size) = (tensor_type.name(), tensor_type.block_bytes());
        // Some parts, the last one short.
        let count = 900_000 / size + 3;
        let mut data = good_blocks(&mut random, tensor_type, count);
        for context in &contexts {
            assert_eq!(context.validate(tensor_type, &data).unwrap(), None, "{name}: all are good");
        }
        assert_eq!(blocks::first_bad_block(tensor_type, &[]).unwrap(), None, "{name}: none are good");
        for field in Field::all(tensor_type) {
            for bits in field.bits(tensor_type).1 {
                for bad in [0, 1, count / 2, count - 2, count - 1] {
                    let block = bad * size..(bad + 1) * size;
                    let good = data[block.clone()].to_vec();
                    field.set(&mut data[block.clone()], bits);
                    assert_eq!(blocks::first_bad_block(tensor_type, &data).unwrap(), Some(bad), "{name} {bits:#x}");
                    for context in &contexts {
                        let found = context.validate(tensor_type, &data).unwrap();
                        assert_eq!(found, Some(bad as u64), "{name} {bits:#x} {} threads", context.threads());
                    }
                    data[block].copy_from_slice(&good);
                }
            }
        }
    }
}

#[test]
fn the_first_of_many_bad_blocks_is_found_with_any_number_of_threads() {
    let mut random = Random(2);
    let contexts = contexts();
    for tensor_type in [TensorType::F32, TensorType::Q4_K, TensorType::MXFP4] {
        let size = tensor_type.block_bytes();
        let count = 4_000_000 / size;
        let good = good_blocks(&mut random, tensor_type, count);
        for bad in 1..60 {
            let mut data = good.clone();
            let mut first = usize::MAX;
            for _ in 0..bad {
                let index = random.next() as usize % count;
                let field = &Field::all(tensor_type)[0];
                field.set(&mut data[index * size..][..size], field.bits(tensor_type).1[0]);
                first = first.min(index);
            }
            for context in &contexts {
                assert_eq!(context.validate(tensor_type, &data).unwrap(), Some(first as u64));
            }
        }
    }
}

/// Every value that a scale can have (for those of 32 bits and more, some) in blocks of any codes: what is valid has
/// only finite weights, and of what is not, at least a code that the block may have makes one that is not.
#[test]
fn valid_blocks_are_those_with_finite_weights() {
    let mut random = Random(3);
    for tensor_type in TensorType::ALL.iter().copied() {
        let name = tensor_type.name();
        let mut values = vec![0.0; tensor_type.block_elements()];
        for field in Field::all(tensor_type) {
            let mut seen = [0; 2];
            for bits in 0..1u64 << 16 {
                let bits = match field {
                    Field::F32 => bits << 16 | random.next() & 0xffff,
                    Field::F64 => bits << 48 | random.next() >> 16,
                    _ => bits,
                };
                let mut block = good_blocks(&mut random, tensor_type, 1);
                field.set(&mut block, bits);
                let valid = blocks::first_bad_block(tensor_type, &block).unwrap().is_none();
                blocks::dequantize(tensor_type, &block, &mut values).unwrap();
                let finite = values.iter().all(|value| value.is_finite());
                seen[usize::from(valid)] += 1;
                assert!(finite || !valid, "{name} {bits:#x}: {values:?}");
                // Weights of a bad block may be finite where its scale is no number, but one for ggml (MXFP4, NVFP4), where
                // its largest code does not occur, or where the field is not read (Q8_1's sum).
                let may =
                    matches!(tensor_type, TensorType::MXFP4 | TensorType::NVFP4 | TensorType::Q8_K | TensorType::Q8_1);
                assert!(valid || !finite || may, "{name} {bits:#x} is bad, its weights are finite");
            }
            assert!(seen[0] > 0 && seen[1] > 0, "{name}: {seen:?}");
        }
    }
}

#[test]
fn blocks_that_were_quantised_are_good() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut checked = 0;
    for tensor_type in TensorType::ALL.iter().copied() {
        let Ok(data) = std::fs::read(root.join(format!("{}.quantized.bin", tensor_type.name()))) else { continue };
        assert_eq!(blocks::first_bad_block(tensor_type, &data).unwrap(), None, "{}", tensor_type.name());
        checked += 1;
    }
    assert_eq!(checked, 28);
}

#[test]
fn data_that_are_no_whole_blocks_are_refused() {
    let context = &contexts()[1];
    let error = context.validate(TensorType::Q4_K, &[0; 145]).unwrap_err();
    assert!(matches!(error, Error::Shape(_)), "{error}");
    let error = blocks::first_bad_block(TensorType::Q4_K, &[0; 143]).unwrap_err();
    assert!(matches!(error, Error::Shape(_)), "{error}");
}

#[test]
fn quantising_has_the_same_bytes_with_any_number_of_threads() {
    let mut random = Random(4);
    let contexts = contexts();
    for tensor_type in TensorType::ALL.iter().copied().filter(|tensor_type| tensor_type.can_quantize()) {
        for (rows, k) in [(0, 256), (1, 256), (1, 65_536), (37, 1024), (150, 256)] {
            let source = random.values(rows * k);
            let importance: Vec<f32> = random.values(k).iter().map(|value| value.powi(4)).collect();
            for importance in [None, Some(&importance[..])] {
                let bytes = rows * tensor_type.row_size(k as u64).unwrap() as usize;
                let mut alone = vec![0xaa; bytes + 5];
                blocks::quantize(tensor_type, &source, rows, k, importance, &mut alone).unwrap();
                assert!(alone[bytes..] == [0xaa; 5]);
                for context in &contexts {
                    let mut out = vec![0xaa; bytes + 5];
                    context.quantize(tensor_type, &source, rows, k, importance, &mut out).unwrap();
                    let (name, threads) = (tensor_type.name(), context.threads());
                    assert!(out == alone, "{name}, {rows} x {k}, {threads} threads, {}", importance.is_some());
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_quantised_is_refused() {
    let context = &contexts()[1];
    let source = [1.0f32; 512];
    let mut out = [0u8; 288];
    let mut refusal = |tensor_type, k, importance: Option<&[f32]>, bytes: usize| {
        let error = context.quantize(tensor_type, &source, 2, k, importance, &mut out[..bytes]).unwrap_err();
        assert!(out == [0; 288]);
        error
    };
    let weights = |bad: f32| -> Vec<f32> { (0..256).map(|i| if i == 255 { bad } else { 1.0 }).collect() };
    assert!(matches!(refusal(TensorType::IQ2_S, 256, None, 288), Error::UnsupportedType(_)));
    assert!(matches!(refusal(TensorType::Q4_K, 255, None, 288), Error::Shape(_)));
    assert!(matches!(refusal(TensorType::Q4_K, 512, None, 288), Error::Shape(_)));
    assert!(matches!(refusal(TensorType::Q4_K, 256, Some(&[1.0; 255]), 288), Error::Shape(_)));
    assert!(matches!(refusal(TensorType::Q4_K, 256, None, 287), Error::BufferTooSmall(_)));
    for bad in [-1.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(refusal(TensorType::Q4_K, 256, Some(&weights(bad)), 288), Error::InvalidArgument(_)), "{bad}");
    }
    assert!(context.quantize(TensorType::Q4_K, &source, 2, 256, Some(&weights(-0.0)), &mut out).is_ok());
}
