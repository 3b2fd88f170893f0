//! Opening files whose metadata is large: a vocabulary of 262,144 tokens as in real models, and a million tensors.

use criterion::{Criterion, criterion_group, criterion_main};
use gguffuse::blocks::TensorType;
use gguffuse::gguf::{ArrayInput, File, OpenOptions, Writer};
use std::hint::black_box;
use std::path::PathBuf;

const TOKENS: usize = 262_144;

/// As a model with a large vocabulary has it: tokens of 1 to 13 bytes, scores, types, and a few hundred tensors.
fn vocabulary() -> Vec<u8> {
    let tokens: Vec<String> =
        (0..TOKENS).map(|index| format!("{:.*}", 1 + index % 13, format!("token{index:09}"))).collect();
    let tokens: Vec<&[u8]> = tokens.iter().map(|token| token.as_bytes()).collect();
    let scores: Vec<f32> = (0..TOKENS).map(|index| -(index as f32)).collect();
    let types = vec![1i32; TOKENS];
    let names: Vec<String> = (0..300).map(|index| format!("blk.{}.part{}.weight", index / 9, index % 9)).collect();
    let mut writer = Writer::new();
    writer.metadata("general.architecture", "llama").unwrap();
    writer.metadata("tokenizer.ggml.tokens", ArrayInput::String(&tokens)).unwrap();
    writer.metadata("tokenizer.ggml.scores", &scores[..]).unwrap();
    writer.metadata("tokenizer.ggml.token_type", &types[..]).unwrap();
    for name in &names {
        writer.tensor(name, TensorType::Q4_K, &[256, 1], &[0; 144]).unwrap();
    }
    writer.to_vec().unwrap()
}

fn tensors(count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|index| format!("blk.{}.w", index * 7919 % count)).collect();
    let mut writer = Writer::new();
    for name in &names {
        writer.tensor(name, TensorType::F32, &[1], &[0; 4]).unwrap();
    }
    writer.to_vec().unwrap()
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("gguffuse-bench-{name}-{}.gguf", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn open(criterion: &mut Criterion) {
    let options = OpenOptions::default();
    let mut group = criterion.benchmark_group("open");
    group.sample_size(20);
    for (name, bytes) in [("262144 tokens", vocabulary()), ("1000000 tensors", tensors(1_000_000))] {
        let path = file(&name.replace(' ', "-"), &bytes);
        let metadata = File::open(&path, &options).unwrap().metadata_bytes();
        group.throughput(criterion::Throughput::Bytes(metadata));
        group.bench_function(name, |bencher| bencher.iter(|| File::open(black_box(&path), &options).unwrap()));
        std::fs::remove_file(&path).unwrap();
    }
    group.finish();

    let opened = File::from_vec(tensors(1000), &options).unwrap();
    criterion.bench_function("find one of 1000 tensors", |bencher| {
        bencher.iter(|| opened.find_tensor(black_box("blk.417.w")).unwrap())
    });
    let opened = File::from_vec(vocabulary(), &options).unwrap();
    let tokens = opened.get("tokenizer.ggml.tokens").unwrap().as_array().unwrap();
    criterion
        .bench_function("one token of 262144", |bencher| bencher.iter(|| tokens.element(black_box(200_063)).unwrap()));
    criterion.bench_function("all 262144 tokens", |bencher| {
        bencher.iter(|| tokens.iter().map(|token| token.as_bytes().unwrap().len()).sum::<usize>())
    });
}

criterion_group!(benches, open);
criterion_main!(benches);
