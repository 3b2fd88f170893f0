//! Files that are cut at any place: an error, or the same view. (tests/single_faults.rs changes them in any place.)

use crate::seeds::seeds;
use crate::views::describe;
use gguffuse::Error;
use gguffuse::gguf::{File, OpenOptions};

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
        // Of the padding before the data section nothing is needed where there is no data.
        let far = whole.tensors().filter(|tensor| tensor.relative_offset + tensor.size_bytes > 0);
        let tensor_end = far.map(|tensor| tensor.absolute_offset + tensor.size_bytes).max();
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
