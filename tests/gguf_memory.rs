//! What opening a file takes of the process's memory, heap and mappings together, as the system counts it: at most 4 times
//! the metadata. A test of its own, as it measures the whole process. (tests/gguf_heap.rs counts the heap exactly.)
#![cfg(target_os = "linux")]

use gguffuse::gguf::{ArrayInput, File, OpenOptions, Writer};

/// A field of /proc/self/status, in bytes.
fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches([':', ' ', '\t']).split(' ').next().unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn memory_at_open_is_bounded() {
    let path = std::env::temp_dir().join(format!("gguffuse-memory-{}.gguf", std::process::id()));
    let long = vec![b'x'; 40 << 20];
    let tokens: Vec<Vec<u8>> = (0..2_000_000).map(|i| format!("token{i}").into_bytes()).collect();
    let tokens: Vec<&[u8]> = tokens.iter().map(|token| &token[..]).collect();
    let scores: Vec<f32> = (0..10_000_000).map(|i| i as f32).collect();
    for name in ["one long string", "strings", "numbers"] {
        let mut writer = Writer::new();
        match name {
            "one long string" => writer.metadata("k", &long[..]).unwrap(),
            "strings" => writer.metadata("k", ArrayInput::String(&tokens)).unwrap(),
            _ => writer.metadata("k", ArrayInput::F32(&scores)).unwrap(),
        };
        std::fs::write(&path, writer.to_vec().unwrap()).unwrap();
        drop(writer);
        // Resets the peak.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS");
        let file = File::open(&path, &OpenOptions::default()).unwrap();
        let (peak, stays) = (status("VmHWM").saturating_sub(before), status("VmRSS").saturating_sub(before));
        let metadata = file.metadata_bytes() as usize;
        let factor = |bytes: usize| bytes as f64 / metadata as f64;
        println!("{name}: metadata {metadata}, peak {:.2}, stays {:.2}", factor(peak), factor(stays));
        assert!(metadata > 20 << 20 && peak > metadata / 2, "{name}: this measures nothing");
        assert!(peak <= 4 * metadata + (64 << 10), "{name}: {metadata} bytes of metadata, {peak} of memory");
        assert!(stays <= metadata + metadata / 16 + (1 << 20), "{name}: {stays} bytes stay");
    }
    std::fs::remove_file(&path).unwrap();
}
