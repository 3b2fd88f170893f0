//! Opening a file never takes more heap than 4 times its metadata plus 64 KiB, counted by the allocator at its worst
//! moment, a growing allocation as the old and the new one together; and no refused allocation does worse than an error.

mod heap;
#[path = "gguf/raw.rs"]
mod raw;

use gguffuse::Error;
use gguffuse::gguf::{File, OpenOptions};
use heap::{FAILED, FOREVER, GRANTED, HEAP, PEAK};
use raw::{ARRAY, BOOL, F32, I8, Raw, STRING, U8};
use std::path::Path;

/// Opens `path`; the peak of the heap meanwhile, in bytes, and what stays.
fn measure(path: &Path) -> (gguffuse::Result<File>, usize, usize) {
    let before = HEAP.get();
    PEAK.set(before);
    let file = File::open(path, &OpenOptions::default());
    (file, PEAK.get() - before, HEAP.get() - before)
}

fn valid() -> Vec<(&'static str, Raw)> {
    // Names of base 64, so that the records are as short as unique names allow.
    let short = |index: u64| -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |place: u32| digits[(index >> (6 * place)) as usize % 64] as char;
        (0..4).map(digit).collect::<String>()[..if index < 1 << 18 { 3 } else { 4 }].into()
    };
    let count = 300_000u64;
    let tiny_entries =
        |count| (0..count).fold(Raw::new(3, 0, count), |raw, index| raw.key(&short(index), U8).bytes(&[0]));
    let tiny_arrays =
        (0..count).fold(Raw::new(3, 0, count), |raw, index| raw.key(&short(index), ARRAY).array(STRING, 0));
    let checkpoints = (0..5000).fold(Raw::new(3, 0, 5000), |raw, index| {
        (0..65).fold(raw.key(&short(index), ARRAY).array(STRING, 65), |raw, _| raw.string(b""))
    });
    let tensors = |count: u64| {
        let raw = (0..count).fold(Raw::new(3, count, 0), |raw, index| raw.tensor(&short(index), &[], I8, index * 32));
        raw.pad(32).tap(|raw| raw.0.resize(raw.0.len() + count as usize * 32, 0))
    };
    let zero_tensors =
        (0..1_000_000).fold(Raw::new(3, 1_000_000, 0), |raw, index| raw.tensor(&short(index), &[0], F32, 0));
    let strings = |length: usize| {
        (0..500_000).fold(Raw::new(3, 0, 1).key("s", ARRAY).array(STRING, 500_000), |raw, index| {
            raw.string(&b"abcdef"[..(index * length) % 7])
        })
    };
    let nested = (0..200_000).fold(Raw::new(3, 0, 1).key("n", ARRAY).array(ARRAY, 200_000), |raw, _| {
        raw.array(ARRAY, 1).array(STRING, 1).string(b"")
    });
    let mut files = vec![
        ("nothing", Raw::new(3, 0, 0)),
        ("one long string", Raw::new(3, 0, 1).key("s", STRING).string(&vec![b'x'; 8 << 20])),
        ("one long array of numbers", Raw::new(3, 0, 1).key("s", ARRAY).array(U8, 8 << 20).data(8 << 20)),
        ("array of bools", Raw::new(3, 0, 1).key("s", ARRAY).array(BOOL, 5 << 20).bytes(&vec![1; 5 << 20])),
        ("strings", strings(3)),
        ("empty strings", strings(0)),
        ("tiny entries", tiny_entries(count)),
        ("tiny arrays", tiny_arrays),
        ("arrays with one checkpoint", checkpoints),
        ("nested arrays", nested),
        ("tiny tensors", tensors(count)),
        ("a million tensors of nothing", zero_tensors.pad(32)),
    ];
    // Sizes around those of the growth steps.
    for count in [1u64, 100, 1_000, 2_000, 2_200, 3_000, 4_000, 5_000, 7_000, 10_000, 15_000, 23_000, 35_000, 52_000] {
        files.push(("fewer tiny entries", tiny_entries(count)));
        files.push(("fewer tiny tensors", tensors(count)));
    }
    // Followed by a lot of data: reading ahead must not follow the file's size.
    let large = tiny_entries(3).pad(32).tap(|raw| raw.0.resize(64 << 20, 0));
    files.push(("small metadata of a large file", large));
    files
}

/// Files that declare much; the file has `size` bytes, all behind `raw` zeros that take no space.
fn bombs() -> Vec<(&'static str, Raw)> {
    let entry = |value_type| Raw::new(3, 0, 1).key("k", value_type);
    vec![
        ("tensors", Raw::new(3, (1 << 30) / 24 - 1, 0)),
        ("entries", Raw::new(3, 0, (1 << 30) / 13 - 2)),
        ("string longer than the limit", entry(STRING).u64((1 << 30) - 64)),
        ("numbers beyond the limit", entry(ARRAY).array(U8, (1 << 30) - 64)),
        ("strings beyond 2^64 bytes", entry(ARRAY).array(STRING, 1 << 61)),
        ("string of 2^64 - 1 bytes", entry(STRING).u64(u64::MAX)),
        ("key of 1 GiB", Raw::new(3, 0, 1).u64((1 << 30) - 64)),
        ("alignment 2^31", Raw::new(3, 1, 1).alignment(1 << 31).tensor("t", &[1], I8, 0)),
        ("tensor of 2^62 bytes", Raw::new(3, 1, 0).tensor("t", &[1 << 60], F32, 0)),
        ("2^32 - 1 dimensions", Raw::new(3, 1, 0).string(b"t").u32(u32::MAX)),
    ]
}

#[test]
fn heap_at_open_is_bounded() {
    let path = std::env::temp_dir().join(format!("gguffuse-heap-{}.gguf", std::process::id()));
    for (name, raw) in valid() {
        std::fs::write(&path, &raw.0).unwrap();
        let (file, peak, stays) = measure(&path);
        let file = file.unwrap();
        let metadata = file.metadata_bytes() as usize;
        let factor = |bytes: usize| bytes as f64 / metadata as f64;
        println!("{name}: metadata {metadata}, peak {:.2}, stays {:.2}", factor(peak), factor(stays));
        assert!(peak <= 4 * metadata + (64 << 10), "{name}: {metadata} bytes of metadata, {peak} of heap");
        // What stays is the copy, 8 bytes per entry and tensor, and the checkpoints. A copy of more than a MiB is a mapping
        // and no heap: tests/gguf_memory.rs measures that.
        let records = (file.metadata_count() + file.tensor_count()) as usize;
        // (Room for it grows by halves, so that it moves at two thirds already.)
        let (least, most) = match metadata {
            0..600_000 => (metadata, metadata),
            600_000..1_048_576 => (0, metadata),
            _ => (0, 0),
        };
        assert!(
            stays >= least && stays <= most + metadata / 32 + records * 8 + 1024,
            "{name}: {stays} bytes stay, the copy has {least} to {most}"
        );
        drop(file);
    }
    for (name, raw) in bombs() {
        std::fs::write(&path, &raw.0).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
        let (file, peak, _) = measure(&path);
        let error = file.unwrap_err();
        println!("{name}: peak {peak}: {error}");
        assert!(peak <= 4 * raw.0.len() + (64 << 10), "{name}: {peak} bytes of heap");
    }
    std::fs::remove_file(&path).unwrap();
}

/// What `File::open` answers when `granted` allocations succeed and then one, or all, do not; and whether one did not.
fn open_with_failures(path: &Path, granted: usize, forever: bool) -> (gguffuse::Result<File>, bool) {
    FOREVER.set(forever);
    GRANTED.set(granted);
    let file = File::open(path, &OpenOptions::default());
    let failed = FAILED.replace(false);
    GRANTED.set(usize::MAX);
    (file, failed)
}

#[test]
fn every_refused_allocation_is_an_error() {
    let path = std::env::temp_dir().join(format!("gguffuse-oom-{}.gguf", std::process::id()));
    let text = vec![b'x'; 100];
    let raw =
        (0..2000).fold(Raw::new(3, 500, 2001), |raw, index| raw.key(&format!("key.{index}"), STRING).string(&text));
    let raw = (0..200).fold(raw.key("array", ARRAY).array(STRING, 200), |raw, _| raw.string(b"element"));
    let raw = (0..500).fold(raw, |raw, index| raw.tensor(&format!("t.{index}"), &[], F32, index * 32));
    std::fs::write(&path, raw.pad(32).data(500 * 32).0).unwrap();
    for forever in [false, true] {
        let (mut errors, mut granted) = (0, 0);
        loop {
            let before = HEAP.get();
            let (file, failed) = open_with_failures(&path, granted, forever);
            match file {
                // Only the shrinking of what is too large already may be refused without an error.
                Ok(file) => {
                    assert_eq!((file.metadata_count(), file.tensor_count()), (2001, 500));
                    assert_eq!(file.find_tensor("t.499").unwrap(), 499);
                }
                Err(error) => {
                    assert!(failed && matches!(error, Error::OutOfMemory(_)), "{granted}: {error:?}");
                    errors += 1;
                }
            }
            assert_eq!(HEAP.get(), before, "{granted} allocations granted: memory was lost");
            if !failed {
                break;
            }
            granted += 1;
        }
        assert!(errors > 15, "{errors} errors");
    }
    // A failing error message is an error too.
    std::fs::write(&path, b"GGUX").unwrap();
    let (file, failed) = open_with_failures(&path, 2, true);
    assert!(failed && matches!(file, Err(Error::BadFormat { .. })));
    std::fs::remove_file(&path).unwrap();
}
