//! The corpus of malformed and odd files (`cases`) through each interface: Rust here, C in `corpus.c`, Python in
//! scripts/check_corpus.py. Each file has one status and, where there is a question, one answer; none takes more than 10 ms
//! of the processor or more heap than 4 times its metadata plus 64 KiB, and nothing is left behind.
//!
//! When the library was built with the address sanitizer, the C program is as well, and Python gets its runtime:
//! scripts/check_sanitized.sh runs it so.
#![cfg(unix)]

#[path = "../c_toolchain/mod.rs"]
mod c_toolchain;
mod cases;
#[path = "../heap/mod.rs"]
mod heap;
#[path = "../gguf/raw.rs"]
mod raw;
#[path = "../gguf/walk.rs"]
mod walk;

use c_toolchain::{STRICT, compiler, directory, language, library, run, text};
use cases::{Case, Query};
use gguffuse::gguf::{File, OpenOptions};
use gguffuse::{Error, Result};
use heap::{HEAP, PEAK};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const MOST_TIME: Duration = Duration::from_millis(10);
/// Files up to this size are opened from memory as well.
const SMALL: u64 = 4 << 20;

/// Writes all files into a fresh directory, and an index: name, status, 1 where it is small, and the question (what, key,
/// status, answer; or four `-`), with tabs in between.
fn write_files(name: &str) -> PathBuf {
    let directory = directory(name);
    let mut index = String::new();
    for case in cases::all() {
        let path = directory.join(&case.name);
        std::fs::write(&path, &case.bytes).expect("written");
        if case.size != case.bytes.len() as u64 {
            let file = std::fs::OpenOptions::new().write(true).open(&path).expect("opened");
            file.set_len(case.size).expect("a sparse file");
        }
        let none = Query { what: "-".into(), key: "-", status: "-", answer: 0 };
        let Query { what, key, status, answer } = case.query.as_ref().unwrap_or(&none);
        let small = u32::from(case.size <= SMALL);
        writeln!(index, "{}\t{}\t{small}\t{what}\t{key}\t{status}\t{answer}", case.name, case.status).expect("text");
    }
    std::fs::write(directory.join("index"), index).expect("written");
    directory
}

/// The name of the status that the C interface has for it.
fn status<T>(result: &Result<T>) -> &'static str {
    match result {
        Ok(_) => "OK",
        Err(Error::InvalidArgument(_)) => "INVALID_ARGUMENT",
        Err(Error::Io { .. }) => "IO",
        Err(Error::BadFormat { .. }) => "BAD_FORMAT",
        Err(Error::Truncated { .. }) => "TRUNCATED",
        Err(Error::Limit { .. }) => "LIMIT",
        Err(Error::UnsupportedVersion(_)) => "UNSUPPORTED_VERSION",
        Err(Error::UnsupportedType(_)) => "UNSUPPORTED_TYPE",
        Err(Error::NotFound(_)) => "NOT_FOUND",
        Err(Error::TypeMismatch(_)) => "TYPE_MISMATCH",
        Err(Error::OutOfMemory(_)) => "OUT_OF_MEMORY",
        Err(other) => panic!("no file is answered by {other:?}"),
    }
}

fn ask(file: &File, query: &Query) -> Result<u64> {
    let value = || file.get(query.key);
    match query.what.split_once(' ') {
        Some(("element", index)) => value()?.as_array()?.element(index.parse().expect("a number"))?.as_u64(),
        _ => match &*query.what {
            "u64" => value()?.as_u64(),
            "bool" => value()?.as_bool().map(u64::from),
            "string" => value()?.as_bytes().map(|bytes| bytes.len() as u64),
            "tensor" => Ok(file.tensor(file.find_tensor(query.key)?)?.absolute_offset),
            other => panic!("no question is called {other:?}"),
        },
    }
}

/// The processor time of this thread: other processes of the machine do not count.
fn processor_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a clock that Linux and macOS have, and a local.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) }, 0);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Opens, walks and asks; returns the time of opening and the peak of the heap meanwhile. `given`: bytes of heap that the
/// file takes over.
fn check(case: &Case, how: &str, given: usize, open: impl FnOnce() -> Result<File>) -> (Duration, usize) {
    let name = &case.name;
    let before = HEAP.get();
    PEAK.set(before);
    let began = processor_time();
    let file = open();
    let took = processor_time() - began;
    let peak = PEAK.get() - before;
    assert_eq!(status(&file), case.status, "{name}, {how}: {:?}", file.err());
    match &file {
        Ok(file) => {
            std::hint::black_box(walk::walk(file));
            if let Some(query) = &case.query {
                let answer = ask(file, query);
                assert_eq!(status(&answer), query.status, "{name}, {how}: {:?}", answer.err());
                assert_eq!(answer.unwrap_or(0), query.answer, "{name}, {how}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // What a refused file has of metadata is no more than its bytes.
    let metadata = file.as_ref().map_or(case.bytes.len(), |file| file.metadata_bytes() as usize);
    assert!(peak <= 4 * metadata + (64 << 10), "{name}, {how}: {peak} bytes of heap for {metadata} of metadata");
    assert!(took <= MOST_TIME, "{name}, {how}: {took:?}");
    drop(file);
    assert_eq!(HEAP.get(), before - given, "{name}, {how}: memory was lost");
    (took, peak)
}

#[test]
fn through_rust() {
    let directory = write_files("corpus-rust");
    let options = OpenOptions::default();
    let cases = cases::all();
    let (mut slowest, mut largest) = ((Duration::ZERO, ""), (0, ""));
    for case in &cases {
        let path = directory.join(&case.name);
        let mut results = vec![check(case, "mapped", 0, || File::open(&path, &options))];
        if case.size <= SMALL {
            let mut bytes = case.bytes.clone();
            bytes.resize(case.size as usize, 0);
            bytes.shrink_to_fit();
            results.push(check(case, "from memory", bytes.len(), || File::from_vec(bytes, &options)));
        }
        for (took, heap) in results {
            slowest = slowest.max((took, &case.name));
            largest = largest.max((heap, &case.name));
        }
    }
    let refused = cases.iter().filter(|case| case.status != "OK").count();
    println!("corpus, Rust: {} files, {refused} refused, all as promised", cases.len());
    println!(
        "slowest {} in {:?} of the processor; most heap {} with {} bytes",
        slowest.1, slowest.0, largest.1, largest.0
    );
    let rows = (1..=42).filter(|row| cases.iter().any(|case| case.name.starts_with(&format!("{row:02}-")))).count();
    assert_eq!(rows, 42, "each known vulnerability has a file");
    assert!(cases.len() >= 150);
    std::fs::remove_dir_all(directory).expect("removed");
}

/// Whether the library of this build has the address sanitizer in it.
fn is_sanitized(library: &Path) -> bool {
    text(Command::new("nm").arg("-D").arg(library)).contains("__asan_init")
}

/// The shared library of this build and the path of the sanitizer's runtime for it, where it needs one.
fn shared_library() -> (PathBuf, Option<String>) {
    let name = if cfg!(target_vendor = "apple") { "libgguffuse.dylib" } else { "libgguffuse.so" };
    let library = library(name);
    let runtime = is_sanitized(&library).then(|| {
        let path = text(compiler().arg("-print-file-name=libasan.so"));
        text(Command::new("readlink").arg("-f").arg(path.trim())).trim().to_string()
    });
    (library, runtime)
}

#[test]
fn through_c() {
    let directory = write_files("corpus-c");
    let (library, runtime) = shared_library();
    let program = directory.join("program");
    let mut compile = compiler();
    compile.args(language("c11")).args(STRICT).arg("-I").arg(Path::new(ROOT).join("include"));
    compile.arg("-I").arg(Path::new(ROOT).join("c-tests")).arg(Path::new(ROOT).join("tests/corpus/corpus.c"));
    if runtime.is_some() {
        compile.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]);
    }
    // The loader looks for the library by its soname.
    std::os::unix::fs::symlink(&library, directory.join("libgguffuse.so.0")).expect("a link");
    compile.args(["-x", "none"]).arg(&library).arg(format!("-Wl,-rpath,{}", directory.display()));
    run(compile.args(["-lm", "-o"]).arg(&program)).unwrap_or_else(|reason| panic!("{reason}"));
    let how = if runtime.is_some() { "under AddressSanitizer" } else { "plain" };
    let mut command = Command::new(&program);
    // The C library's caches per thread count as memory in use: without them the program can see every leak.
    command.arg(&directory).env_remove("LD_LIBRARY_PATH").env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");
    println!("corpus, C, {how}: {}", text(&mut command).trim());
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn through_python() {
    let directory = write_files("corpus-python");
    let (library, runtime) = shared_library();
    let mut command = Command::new("python3");
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(Path::new(ROOT).join("scripts/check_corpus.py")).arg(&library).arg(&directory);
    if let Some(runtime) = &runtime {
        // Python itself never gives all memory back.
        command.env("LD_PRELOAD", runtime).env("ASAN_OPTIONS", "detect_leaks=0");
    }
    let how = if runtime.is_some() { "under AddressSanitizer" } else { "plain" };
    println!("corpus, Python, {how}: {}", text(&mut command).trim());
    std::fs::remove_dir_all(directory).expect("removed");
}
