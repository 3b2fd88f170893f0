//! Millions of files with a single fault: seeds that are cut everywhere, have each bit turned, and a boundary integer of 4
//! and of 8 bytes written over every position. Each is refused or can be read in whole, and takes no more heap than any
//! file may.

mod heap;
#[path = "gguf/raw.rs"]
mod raw;
#[path = "gguf/seeds.rs"]
mod seeds;
#[path = "gguf/walk.rs"]
mod walk;

use gguffuse::gguf::{File, OpenOptions};
use heap::{HEAP, PEAK};
use std::sync::Mutex;
use std::time::Instant;

/// Around the powers of two at which something wraps, and what wraps when it is added to or multiplied.
fn boundaries() -> Vec<u64> {
    let around = |power: u32| [(1u64 << power) - 1, 1 << power, (1 << power) + 1];
    let mut values: Vec<u64> = [8, 16, 31, 32, 61, 62, 63].into_iter().flat_map(around).collect();
    values.extend([0, 1, 5, 9, 13, u64::MAX, u64::MAX - 1, u64::MAX - 7, u64::MAX - 31, 0x7FFF_FFFF_FFFF_FFC0]);
    values
}

#[derive(Default)]
struct Totals {
    files: usize,
    accepted: usize,
    most_heap: usize,
}

impl Totals {
    fn check(&mut self, bytes: &[u8]) {
        let length = bytes.len();
        let without = HEAP.get();
        let bytes = bytes.to_vec();
        let before = HEAP.get();
        PEAK.set(before);
        let file = File::from_vec(bytes, &OpenOptions::default());
        let heap = PEAK.get() - before;
        self.most_heap = self.most_heap.max(heap);
        let metadata = match &file {
            Ok(file) => {
                std::hint::black_box(walk::walk(file));
                self.accepted += 1;
                file.metadata_bytes() as usize
            }
            Err(error) => {
                // Faults are answered by what they are, never as a bug or an accident of the machine.
                use gguffuse::Error::*;
                let expected = matches!(
                    error,
                    BadFormat { .. }
                        | Truncated { .. }
                        | Limit { .. }
                        | UnsupportedVersion(_)
                        | UnsupportedType(_)
                        | TypeMismatch(_)
                );
                assert!(expected, "{error:?}");
                length
            }
        };
        assert!(heap <= 4 * metadata + (64 << 10), "{heap} bytes of heap for {metadata} of metadata");
        drop(file);
        assert_eq!(HEAP.get(), without, "memory was lost");
        self.files += 1;
    }

    fn all_faults_of(&mut self, seed: &[u8]) {
        for length in 0..seed.len() {
            self.check(&seed[..length]);
        }
        let mut bytes = seed.to_vec();
        for bit in 0..seed.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            self.check(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for position in 0..seed.len() {
            for width in [4, 8] {
                let end = (position + width).min(seed.len());
                for value in boundaries() {
                    bytes[position..end].copy_from_slice(&value.to_le_bytes()[..end - position]);
                    self.check(&bytes);
                }
                bytes[position..end].copy_from_slice(&seed[position..end]);
            }
        }
    }
}

#[test]
fn every_single_fault() {
    let seeds = seeds::seeds();
    assert!(seeds.len() >= 18);
    for seed in &seeds {
        File::from_vec(seed.clone(), &OpenOptions::default()).unwrap();
    }
    let (queue, totals) = (Mutex::new(seeds.iter()), Mutex::new(Totals::default()));
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(16));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Totals::default();
                loop {
                    let Some(seed) = queue.lock().unwrap().next() else { break };
                    mine.all_faults_of(seed);
                }
                let mut all = totals.lock().unwrap();
                all.files += mine.files;
                all.accepted += mine.accepted;
                all.most_heap = all.most_heap.max(mine.most_heap);
            });
        }
    });
    let Totals { files, accepted, most_heap } = totals.into_inner().unwrap();
    println!(
        "single faults: {files} files from {} seeds, {accepted} of them accepted and read, 0 panics, in {:.1?}; most heap \
         {most_heap} bytes",
        seeds.len(),
        began.elapsed()
    );
    assert!(files >= 2_000_000);
    assert!(accepted > 10_000 && files - accepted > 10_000, "both must occur often");
}
