//! Opening by path: what is not a regular file, and files that change while they are open.

use crate::raw::{F32, Raw, STRING};
use crate::views::describe;
use gguffuse::Error;
use gguffuse::gguf::{File, OpenOptions};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A directory that is removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("gguffuse-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(path: impl AsRef<Path>) -> gguffuse::Result<File> {
    File::open(path.as_ref(), &OpenOptions::default())
}

/// A file whose metadata is much longer than the first read.
fn sample() -> Raw {
    (0..20_000)
        .fold(Raw::new(3, 1, 20_000), |raw, index| raw.key(&format!("key.{index}"), STRING).string(b"value"))
        .tensor("t", &[4], F32, 32)
        .pad(32)
        .data(48)
}

#[test]
fn all_ways_of_opening_see_the_same() {
    let scratch = Scratch::new("same");
    let bytes = sample().0;
    let mapped = open(scratch.file("a.gguf", &bytes)).unwrap();
    let owned = File::from_vec(bytes.clone(), &OpenOptions::default()).unwrap();
    let borrowed = File::from_static(Vec::leak(bytes.clone()), &OpenOptions::default()).unwrap();
    assert_eq!(describe(&mapped), describe(&owned));
    assert_eq!(describe(&mapped), describe(&borrowed));
    assert_eq!(mapped.size_bytes(), bytes.len() as u64);
    assert_eq!(mapped.tensor(0).unwrap().data, &bytes[bytes.len() - 16..]);
}

/// Beyond a MiB the private copy is a mapping, which grows while the rest is walked.
#[test]
fn large_metadata_is_read_the_same() {
    let scratch = Scratch::new("large");
    let long = vec![b'x'; 3 << 20];
    let raw = Raw::new(3, 1, 20_002).key("long", STRING).string(&long);
    let raw = (0..20_000).fold(raw, |raw, index| raw.key(&format!("key.{index}"), STRING).string(&[b'y'; 40]));
    let raw = raw.key("last", STRING).string(b"z").tensor("t", &[4], F32, 0).pad(32).data(16);
    let mapped = open(scratch.file("large.gguf", &raw.0)).unwrap();
    assert!(mapped.metadata_bytes() > 4 << 20);
    assert_eq!(mapped.get("long").unwrap().as_bytes().unwrap(), long);
    assert_eq!(mapped.get("key.19999").unwrap().as_string().unwrap().as_bytes_with_nul().last(), Some(&0));
    assert_eq!(mapped.get("last").unwrap().as_bytes().unwrap(), b"z");
    let owned = File::from_vec(raw.0, &OpenOptions::default()).unwrap();
    assert_eq!(describe(&mapped), describe(&owned));
}

#[test]
fn what_is_not_a_regular_file_is_refused_and_never_waited_for() {
    let scratch = Scratch::new("kinds");
    let fifo = scratch.0.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let socket = scratch.0.join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&scratch.0, &fifo, &socket, Path::new("/dev/zero"), Path::new("/dev/null"), Path::new("a\0b")] {
        let error = open(path).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{path:?}: {error:?}");
    }
    for path in [scratch.0.join("missing"), scratch.file("file", b"x").join("below")] {
        let error = open(&path).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{path:?}: {error:?}");
    }
    // An empty file, and one of /proc, which says that it has 0 bytes.
    for path in [scratch.file("empty", b""), "/proc/self/status".into()] {
        let error = open(&path).unwrap_err();
        assert!(matches!(error, Error::Truncated { offset: 0, .. }), "{path:?}: {error:?}");
    }
}

#[test]
fn a_file_that_changes_keeps_its_metadata() {
    let scratch = Scratch::new("change");
    let bytes = sample().0;
    let path = scratch.file("a.gguf", &bytes);
    let file = open(&path).unwrap();
    let before = describe(&file);
    let data_offset = file.data_offset() as usize;
    let mut other = fs::OpenOptions::new().write(true).open(&path).unwrap();
    other.write_all(&vec![0xFF; data_offset]).unwrap();
    assert_eq!(describe(&file), before);
    // The data is the file's: a change of it shows.
    other.seek(SeekFrom::End(-1)).unwrap();
    other.write_all(&[0xAB]).unwrap();
    assert_eq!(file.tensor(0).unwrap().data.last(), Some(&0xAB));
    // Names and values stay when the file is emptied and gone.
    other.set_len(0).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(file.find_tensor("t").unwrap(), 0);
    assert_eq!(file.tensor(0).unwrap().absolute_offset, data_offset as u64 + 32);
    assert_eq!(file.get("key.19999").unwrap().as_bytes().unwrap(), b"value");
}

#[test]
fn a_tensor_beyond_4_gib_of_a_sparse_file() {
    let scratch = Scratch::new("sparse");
    let offset = 5u64 << 30;
    let path = scratch.file("a.gguf", &Raw::new(3, 1, 0).tensor("t", &[1], F32, offset).pad(32).0);
    let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(64 + offset)).unwrap();
    file.write_all(&[1, 2, 3, 4]).unwrap();
    let file = open(&path).unwrap();
    let tensor = file.tensor(0).unwrap();
    assert_eq!((tensor.absolute_offset, tensor.data), (64 + offset, &[1, 2, 3, 4][..]));
}

#[test]
fn files_are_closed() {
    let scratch = Scratch::new("descriptors");
    let path = scratch.file("a.gguf", &sample().0);
    let descriptors = || {
        let links =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        links.filter(|target| target.starts_with(&scratch.0)).count()
    };
    let file = open(&path).unwrap();
    let bad = open(scratch.file("bad", b"GGUX....")).unwrap_err();
    assert!(matches!(bad, Error::BadFormat { .. }));
    assert_eq!(descriptors(), 0, "the mapping needs no descriptor");
    drop(file);
}

#[test]
fn a_file_that_changes_while_it_is_opened() {
    let scratch = Scratch::new("race");
    let entries = |value: &[u8]| {
        (0..1000).fold(Raw::new(3, 0, 1000), |raw, index| raw.key(&format!("key.{index}"), STRING).string(value)).0
    };
    let (a, b) = (entries(b"text"), entries(b"longer text"));
    let path = scratch.file("a.gguf", &a);
    let running = std::sync::atomic::AtomicBool::new(true);
    let mut outcomes = [0u32, 0];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            for bytes in [&b, &a].into_iter().cycle() {
                file.set_len(100).unwrap();
                file.seek(SeekFrom::Start(0)).unwrap();
                file.write_all(bytes).unwrap();
                if !running.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        // Until the race was both won and lost; on a busy machine that takes a while.
        let deadline = Instant::now() + Duration::from_secs(30);
        while outcomes.iter().sum::<u32>() < 10_000 || outcomes.contains(&0) && Instant::now() < deadline {
            match open(&path) {
                Ok(file) => {
                    assert_eq!(describe(&file), describe(&file));
                    outcomes[0] += 1;
                }
                Err(error) => {
                    assert!(!matches!(error, Error::Internal(_) | Error::Io { .. }), "{error:?}");
                    outcomes[1] += 1;
                }
            }
        }
        running.store(false, std::sync::atomic::Ordering::Relaxed);
    });
    let [opened, refused] = outcomes;
    println!("opened while it is rewritten: {opened} times a file that stays as it is, {refused} times an error");
    assert!(opened > 0 && refused > 0);
}
