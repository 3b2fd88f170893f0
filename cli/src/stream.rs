//! How fast this machine reads: what verifying and decoding are held against.

use gguffuse::gguf::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that a thread reads at a go.
const PART: usize = 256 << 10;

/// How long `threads` threads take to read every byte of the tensors of `file`, and to do nothing with them.
pub fn read(file: &File, threads: usize) -> Duration {
    let parts: Vec<&[u8]> = file.tensors().flat_map(|tensor| tensor.data.chunks(PART)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut sum = 0u64;
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            sum = sum.wrapping_add(sum_of(part));
        }
        // Else the compiler sees that nobody needs to read.
        std::hint::black_box(sum);
    };
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    start.elapsed()
}

/// Adds up words: less work than anything that uses the bytes.
fn sum_of(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for words in bytes.as_chunks::<8>().0.as_chunks::<16>().0 {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*word));
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

/// In 10^9 bytes per second.
pub fn gb_per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64() / 1e9
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_word_is_read() {
        let bytes: Vec<u8> = (0..1024u64).flat_map(|i| (1u64 << (i % 63)).to_ne_bytes()).collect();
        let expected = (0..1024u64).fold(0u64, |sum, i| sum.wrapping_add(1 << (i % 63)));
        assert_eq!(super::sum_of(&bytes), expected);
    }
}
