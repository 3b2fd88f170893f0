//! Files that are cut at, or changed in, any place: an error or a consistent view, never a panic.

use crate::raw::{ARRAY, BOOL, F32, I8, Raw, STRING, U8, U32};
use crate::views::describe;
use gguffuse::Error;
use gguffuse::gguf::{File, OpenOptions};

/// Files of different build; the directory of each ends where its data begins.
fn seeds() -> Vec<Vec<u8>> {
    let scalars = (0..13u32).filter(|id| ![STRING, ARRAY].contains(id)).fold(Raw::new(3, 0, 11), |raw, id| {
        let size = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][id as usize];
        raw.key(&format!("key.{id}"), id).bytes(&vec![1; size])
    });
    let strings = (0..70)
        .fold(Raw::new(3, 0, 2).key("s", STRING).string(b"text").key("a", ARRAY).array(STRING, 70), |raw, i| {
            raw.string(&vec![b'x'; i % 3])
        });
    let nested = Raw::new(2, 1, 2)
        .key("n", ARRAY)
        .array(ARRAY, 2)
        .array(ARRAY, 1)
        .array(ARRAY, 1)
        .array(BOOL, 2)
        .bytes(&[0, 1])
        .array(STRING, 1)
        .string(b"s")
        .alignment(8)
        .tensor("t", &[2, 3], F32, 0)
        .pad(8)
        .data(24);
    let tensors = Raw::new(3, 4, 1)
        .key("k", ARRAY)
        .array(U8, 3)
        .bytes(&[1, 2, 3])
        .tensor("late", &[4, 2, 2, 1], I8, 64)
        .tensor("early", &[3], F32, 0)
        .tensor("zero", &[5, 0], U32, 32)
        .tensor("", &[], F32, 32)
        .pad(32)
        .data(80);
    let q4 = Raw::new(3, 1, 0).tensor("w", &[256, 2], 12, 0).pad(32).data(288);
    [scalars, strings, nested, tensors.tap(fix_type), q4].map(|raw| raw.0).into()
}

/// The zero tensor is an I32: type 26.
fn fix_type(raw: &mut Raw) {
    let zero = raw.0.windows(4).position(|bytes| bytes == b"zero").unwrap();
    raw.0[zero + 24] = 26;
}

fn open(bytes: Vec<u8>) -> gguffuse::Result<File> {
    File::from_vec(bytes, &OpenOptions::default())
}

#[test]
fn the_seeds_are_valid() {
    for seed in seeds() {
        open(seed).unwrap();
    }
}

#[test]
fn every_truncation_is_an_error_or_the_same_view() {
    for seed in seeds() {
        let whole = open(seed.clone()).unwrap();
        let expected = describe(&whole);
        let tensor_end = whole.tensors().map(|tensor| tensor.absolute_offset + tensor.size_bytes).max();
        let needed = tensor_end.unwrap_or(whole.metadata_bytes()) as usize;
        for length in 0..seed.len() {
            match open(seed[..length].to_vec()) {
                Ok(file) => {
                    assert!(length >= needed);
                    assert_eq!(describe(&file), expected);
                }
                Err(error) => {
                    assert!(length < needed, "{length}: {error}");
                    assert!(matches!(error, Error::Truncated { .. }), "{length}: {error:?}");
                }
            }
        }
    }
}

#[test]
fn no_bit_flip_panics() {
    let mut outcomes = [0, 0];
    for seed in seeds() {
        for bit in 0..seed.len() * 8 {
            let mut bytes = seed.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let outcome = open(bytes).map(|file| describe(&file));
            outcomes[usize::from(outcome.is_ok())] += 1;
        }
    }
    assert!(outcomes[0] > 1000 && outcomes[1] > 1000, "both must occur often: {outcomes:?}");
}

#[test]
fn no_boundary_integer_panics() {
    let mut errors = 0;
    for seed in seeds() {
        for position in 0..seed.len() - 8 {
            for power in [7, 8, 15, 16, 31, 32, 53, 62, 63] {
                for value in [(1u64 << power) - 1, 1 << power, (1 << power) + 1, (1u64 << power).wrapping_neg()] {
                    for width in [4, 8] {
                        let mut bytes = seed.clone();
                        bytes[position..position + width].copy_from_slice(&value.to_le_bytes()[..width]);
                        match open(bytes) {
                            Ok(file) => drop(describe(&file)),
                            Err(error) => errors += usize::from(!error.to_string().is_empty()),
                        }
                    }
                }
            }
        }
    }
    assert!(errors > 10_000);
}
