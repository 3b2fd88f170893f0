//! Opening a file never takes more heap than 4 times its metadata plus 64 KiB, counted by the allocator at its worst
//! moment, a growing allocation as the old and the new one together. One test, as the count is of the whole process.

#[path = "gguf/raw.rs"]
mod raw;

use gguffuse::gguf::{File, OpenOptions};
use raw::{ARRAY, BOOL, F32, I8, Raw, STRING, U8};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static HEAP: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    PEAK.fetch_max(HEAP.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HEAP.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        grow(new_size);
        HEAP.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Opens `path`; the peak of the heap meanwhile, in bytes, and what stays.
fn measure(path: &Path) -> (gguffuse::Result<File>, usize, usize) {
    let before = HEAP.load(Relaxed);
    PEAK.store(before, Relaxed);
    let file = File::open(path, &OpenOptions::default());
    (file, PEAK.load(Relaxed) - before, HEAP.load(Relaxed) - before)
}

fn valid() -> Vec<(&'static str, Raw)> {
    // Names of base 64, so that the records are as short as unique names allow.
    let short = |index: u64| -> String {
        let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |place: u32| digits[(index >> (6 * place)) as usize % 64] as char;
        (0..4).map(digit).collect::<String>()[..if index < 1 << 18 { 3 } else { 4 }].into()
    };
    let count = 300_000u64;
    let tiny_entries = |count| {
        (0..count).fold(Raw::new(3, 0, count), |raw, index| {
            raw.key(&short(index), U8).bytes(&[0])
        })
    };
    let tiny_arrays = (0..count).fold(Raw::new(3, 0, count), |raw, index| {
        raw.key(&short(index), ARRAY).array(STRING, 0)
    });
    let checkpoints = (0..5000).fold(Raw::new(3, 0, 5000), |raw, index| {
        (0..65).fold(raw.key(&short(index), ARRAY).array(STRING, 65), |raw, _| {
            raw.string(b"")
        })
    });
    let tensors = |count: u64| {
        let raw = (0..count).fold(Raw::new(3, count, 0), |raw, index| {
            raw.tensor(&short(index), &[], I8, index * 32)
        });
        raw.pad(32)
            .tap(|raw| raw.0.resize(raw.0.len() + count as usize * 32, 0))
    };
    let zero_tensors = (0..1_000_000).fold(Raw::new(3, 1_000_000, 0), |raw, index| {
        raw.tensor(&short(index), &[0], F32, 0)
    });
    let strings = |length: usize| {
        (0..500_000).fold(
            Raw::new(3, 0, 1).key("s", ARRAY).array(STRING, 500_000),
            |raw, index| raw.string(&b"abcdef"[..(index * length) % 7]),
        )
    };
    let nested = (0..200_000).fold(Raw::new(3, 0, 1).key("n", ARRAY).array(ARRAY, 200_000), |raw, _| {
        raw.array(ARRAY, 1).array(STRING, 1).string(b"")
    });
    let mut files = vec![
        ("nothing", Raw::new(3, 0, 0)),
        (
            "one long string",
            Raw::new(3, 0, 1).key("s", STRING).string(&vec![b'x'; 8 << 20]),
        ),
        (
            "one long array of numbers",
            Raw::new(3, 0, 1).key("s", ARRAY).array(U8, 8 << 20).data(8 << 20),
        ),
        (
            "array of bools",
            Raw::new(3, 0, 1)
                .key("s", ARRAY)
                .array(BOOL, 5 << 20)
                .bytes(&vec![1; 5 << 20]),
        ),
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
    for count in [
        1u64, 100, 1_000, 2_000, 2_200, 3_000, 4_000, 5_000, 7_000, 10_000, 15_000, 23_000, 35_000, 52_000,
    ] {
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
        (
            "alignment 2^31",
            Raw::new(3, 1, 1).alignment(1 << 31).tensor("t", &[1], I8, 0),
        ),
        (
            "tensor of 2^62 bytes",
            Raw::new(3, 1, 0).tensor("t", &[1 << 60], F32, 0),
        ),
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
        println!(
            "{name}: metadata {metadata}, peak {:.2}, stays {:.2}",
            factor(peak),
            factor(stays)
        );
        assert!(
            peak <= 4 * metadata + (64 << 10),
            "{name}: {metadata} bytes of metadata, {peak} of heap"
        );
        // What stays is the copy, 8 bytes per entry and tensor, and the checkpoints.
        let records = (file.metadata_count() + file.tensor_count()) as usize;
        assert!(
            stays > metadata && stays <= metadata + metadata / 32 + records * 8 + 1024,
            "{name}: {stays} bytes stay"
        );
        drop(file);
    }
    for (name, raw) in bombs() {
        std::fs::write(&path, &raw.0).unwrap();
        std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        let (file, peak, _) = measure(&path);
        let error = file.unwrap_err();
        println!("{name}: peak {peak}: {error}");
        assert!(peak <= 4 * raw.0.len() + (64 << 10), "{name}: {peak} bytes of heap");
    }
    std::fs::remove_file(&path).unwrap();
}
