//! Files that are large in one respect each: a thousand shards at once with few descriptors, terabytes of tensors, a million
//! tensors or entries whose names are chosen to be slow. Opening each takes at most 2 s of the processor and, of heap, 4 times
//! the metadata plus 64 KiB; look-ups don't search.
#![cfg(unix)]

mod heap;
#[path = "gguf/raw.rs"]
mod raw;

use gguffuse::gguf::{File, OpenOptions};
use heap::{HEAP, PEAK};
use raw::{F32, I8, Raw, STRING, U8};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MILLION: u64 = 1_000_000;
const MOST_TIME: Duration = Duration::from_secs(2);

/// A file that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, raw: &Raw) -> Scratch {
        let path = std::env::temp_dir().join(format!("gguffuse-scale-{name}-{}.gguf", std::process::id()));
        fs::write(&path, &raw.0).unwrap();
        Scratch(path)
    }

    /// Makes it longer by zeros that take no space.
    fn resize(&self, size: u64) {
        fs::OpenOptions::new().write(true).open(&self.0).unwrap().set_len(size).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The processor time of this thread: other processes of the machine do not count.
fn processor_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a clock that Linux and macOS have, and a local.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) }, 0);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Opens, within the time (at best of three: a busy machine takes the caches away) and the heap that opening may take, and
/// prints both.
fn open(what: &str, path: &Path) -> File {
    let before = HEAP.get();
    PEAK.set(before);
    let open = || {
        let began = processor_time();
        let file = File::open(path, &OpenOptions::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
        (processor_time() - began, file)
    };
    let (mut took, mut file) = open();
    let peak = PEAK.get() - before;
    for _ in 1..3 {
        if took > MOST_TIME {
            drop(file);
            (took, file) = open();
        }
    }
    let metadata = file.metadata_bytes() as usize;
    println!(
        "scale: {what}: {metadata} bytes of metadata, opened in {took:.1?}, {:.1} ns per byte; heap {:.2} times that",
        took.as_nanos() as f64 / metadata as f64,
        peak as f64 / metadata as f64
    );
    assert!(took <= MOST_TIME, "{what}: {took:?}");
    assert!(peak <= 4 * metadata + (64 << 10), "{what}: {peak} bytes of heap");
    file
}

/// Looks 100,000 names up. To search for them one after the other would take hours.
fn look_up(what: &str, count: u64, find: impl Fn(u64) -> Option<u64>) {
    const LOOK_UPS: u64 = 100_000;
    let began = processor_time();
    for index in 0..LOOK_UPS {
        let index = index * 7919 % count;
        assert_eq!(find(index), Some(index));
    }
    let took = processor_time() - began;
    println!("scale: {what}: {LOOK_UPS} look-ups in {took:.1?}");
    assert!(took <= MOST_TIME, "{what}: {took:?}");
}

#[test]
fn a_thousand_shards_with_64_descriptors() {
    const SHARDS: usize = 1000;
    let shard = |number: usize| {
        let name = format!("blk.{number}.weight");
        Raw::new(3, 1, 1).key("split.no", U8).bytes(&[0]).tensor(&name, &[4], F32, 0).pad(32).data(16)
    };
    let files: Vec<Scratch> =
        (0..SHARDS).map(|number| Scratch::new(&format!("shard-{number}"), &shard(number))).collect();
    // Of the whole process; no other test of this file needs more.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a local.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    limit.rlim_cur = 64;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let open = |file: &Scratch| File::open(&file.0, &OpenOptions::default()).unwrap();
    let began = processor_time();
    let open: Vec<File> = files.iter().map(open).collect();
    let took = processor_time() - began;
    for (number, file) in open.iter().enumerate() {
        let tensor = file.tensor(file.find_tensor(&format!("blk.{number}.weight")).unwrap()).unwrap();
        assert_eq!(tensor.data[..4], [0, 1, 2, 3]);
        file.verify().unwrap();
    }
    println!("scale: {SHARDS} shards open at once with at most {} descriptors, in {took:.1?}", limit.rlim_cur);
    assert!(took <= MOST_TIME, "{took:?}");
}

#[test]
fn a_sparse_file_of_8_tib() {
    const TIB: u64 = 1 << 40;
    let raw = Raw::new(3, 2, 0).tensor("large", &[TIB, 8], I8, 0).tensor("last", &[4], F32, 8 * TIB).pad(32);
    let start = raw.0.len() as u64;
    let file = Scratch::new("sparse", &raw);
    file.resize(start + 8 * TIB + 16);
    let file = open("8 TiB", &file.0);
    let (large, last) = (file.tensor(0).unwrap(), file.tensor(1).unwrap());
    assert_eq!((large.size_bytes, large.data.last()), (8 * TIB, Some(&0)));
    assert_eq!((last.absolute_offset, last.data), (start + 8 * TIB, &[0; 16][..]));
}

#[test]
fn a_million_tensors() {
    let names = |index: u64| format!("blk.{}.w", index * 7919 % MILLION);
    // In the file in the reverse order of their places, so that finding overlaps has to sort.
    let offset = |index: u64| (MILLION - 1 - index) * 32;
    let raw =
        (0..MILLION).fold(Raw::new(3, MILLION, 0), |raw, index| raw.tensor(&names(index), &[1], F32, offset(index)));
    let raw = raw.pad(32);
    let start = raw.0.len() as u64;
    let scratch = Scratch::new("tensors", &raw);
    scratch.resize(start + MILLION * 32);
    let file = open("1,000,000 tensors", &scratch.0);
    look_up("1,000,000 tensors", MILLION, |index| file.find_tensor(&names(index)).ok());
}

/// Keys are sorted by the 8 bytes that follow what all have in common: here that is nothing, as one key is another, and the 8
/// bytes are the same. So every comparison has to look at both names.
#[test]
fn a_million_entries_whose_names_collide() {
    let name = |index: u64| match index {
        0 => "another".to_string(),
        _ => format!("collides.{:07}", index * 7919 % MILLION),
    };
    let raw = (0..MILLION).fold(Raw::new(3, 0, MILLION), |raw, index| raw.key(&name(index), U8).bytes(&[index as u8]));
    let scratch = Scratch::new("entries", &raw);
    let file = open("1,000,000 colliding entries", &scratch.0);
    look_up("1,000,000 colliding entries", MILLION, |index| file.find_metadata(&name(index)).ok());
    assert_eq!(file.get(&name(777_777)).unwrap().as_u64().unwrap(), 777_777 % 256);
}

/// As many comparisons of names as long as the metadata allow: all but their ends are equal.
#[test]
fn long_names_that_collide() {
    for length in [250, 4000, 60_000] {
        let count = (120 << 20) / length as u64;
        let name = |index: u64| match index {
            0 => "another".to_string(),
            _ => format!("{:x>length$}{:07}", "", index * 7919 % count),
        };
        let raw = (0..count).fold(Raw::new(3, 0, count), |raw, index| raw.key(&name(index), U8).bytes(&[1]));
        let scratch = Scratch::new(&format!("long-{length}"), &raw);
        let what = format!("{count} colliding entries of {length} bytes");
        let file = open(&what, &scratch.0);
        drop(raw);
        assert_eq!(file.find_metadata(&name(count - 1)).unwrap(), count - 1);
    }
}

#[test]
fn ten_million_elements() {
    let strings = Raw::new(3, 0, 1).key("strings", raw::ARRAY).array(STRING, 10 * MILLION);
    let strings = (0..10 * MILLION).fold(strings, |raw, index| raw.string(&b"abc"[..index as usize % 4]));
    let scratch = Scratch::new("strings", &strings);
    let file = open("10,000,000 strings", &scratch.0);
    let array = file.get("strings").unwrap().as_array().unwrap();
    look_up("10,000,000 strings", 10 * MILLION, |index| {
        (array.element(index).ok()?.as_bytes().ok()?.len() as u64 == index % 4).then_some(index)
    });
    let numbers = Raw::new(3, 0, 1).key("numbers", raw::ARRAY).array(U8, 200 << 20).data(200 << 20);
    let scratch = Scratch::new("numbers", &numbers);
    let file = open("200 MiB of numbers", &scratch.0);
    assert_eq!(file.get("numbers").unwrap().as_array().unwrap().element(1000).unwrap().as_u64().unwrap(), 1000 % 256);
}
