//! What else is done with weights: checking every type, against reading as many bytes, and quantising; on one thread and
//! on all.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use gguffuse::blocks::TensorType;
use gguffuse::matmul::{Context, ContextOptions};
use std::hint::black_box;
use std::time::Duration;

/// More than caches hold.
const BYTES: usize = 256 << 20;
const K: usize = 2048;
const ROWS: usize = 512;

fn context(threads: u32) -> Context {
    Context::new(&ContextOptions { threads, ..ContextOptions::default() }).unwrap()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group
}

fn validate(criterion: &mut Criterion) {
    // All ones are valid in every type.
    let data = vec![1u8; BYTES];
    let mut group = group(criterion, "validate");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("reading", |bencher| {
        bencher.iter(|| {
            let words = black_box(&data).as_chunks::<8>().0;
            words.iter().fold(0, |all, word| all ^ u64::from_ne_bytes(*word))
        })
    });
    for threads in [1, 0] {
        let context = context(threads);
        for tensor_type in TensorType::ALL {
            let bytes = BYTES / tensor_type.block_bytes() * tensor_type.block_bytes();
            group.bench_function(format!("{}, {} threads", tensor_type.name(), context.threads()), |bencher| {
                bencher.iter(|| assert_eq!(context.validate(*tensor_type, black_box(&data[..bytes])).unwrap(), None))
            });
        }
    }
    group.finish();
}

fn quantize(criterion: &mut Criterion) {
    let mut state = 1u32;
    let mut value = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / u32::MAX as f32 - 0.5
    };
    let source: Vec<f32> = (0..ROWS * K).map(|_| value()).collect();
    let mut out = vec![0; ROWS * K * size_of::<f32>()];
    let mut group = group(criterion, "quantize");
    group.throughput(Throughput::Elements((ROWS * K) as u64));
    for tensor_type in TensorType::ALL.iter().filter(|tensor_type| tensor_type.can_quantize()) {
        for threads in [1, 0] {
            let context = context(threads);
            group.bench_function(format!("{}, {} threads", tensor_type.name(), context.threads()), |bencher| {
                bencher.iter(|| context.quantize(*tensor_type, black_box(&source), ROWS, K, None, &mut out).unwrap())
            });
        }
    }
    group.finish();
}

criterion_group!(benches, validate, quantize);
criterion_main!(benches);
