//! Decode (m = 1, EXACT) with every type that can be multiplied by, one thread, rows of 2048 weights, as many as are
//! 512 KiB, so that all types come from the same cache: weights ("elements") per second, at every SIMD level of this machine.
//! docs/types.md has the table.

mod random;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, ContextOptions, Weights};
use std::time::Duration;

const K: usize = 2048;
const BYTES: usize = 512 << 10;

fn types(criterion: &mut Criterion) {
    let x = random::activations(K);
    for level in Level::available().iter().filter(|level| **level != Level::Scalar) {
        let mut group = criterion.benchmark_group(format!("types/{}", level.name()));
        group.sample_size(20);
        group.warm_up_time(Duration::from_millis(50));
        group.measurement_time(Duration::from_millis(200));
        let options = ContextOptions { threads: 1, max_isa: Some(level.name()), ..ContextOptions::default() };
        let context = Context::new(&options).unwrap();
        for tensor_type in TensorType::ALL.iter().copied().filter(|tensor_type| tensor_type.can_matmul()) {
            let row_bytes = tensor_type.row_size(K as u64).unwrap() as usize;
            let n = BYTES / row_bytes;
            let data = random::blocks(tensor_type, n * row_bytes);
            let w = Weights { tensor_type, n, k: K, data: &data };
            let mut y = vec![0.0; n];
            group.throughput(Throughput::Elements((n * K) as u64));
            group.bench_function(BenchmarkId::from_parameter(tensor_type.name()), |bencher| {
                bencher.iter(|| context.matmul(&w, &x, 0, 1, &mut y, 0).unwrap());
            });
        }
    }
}

criterion_group!(benches, types);
criterion_main!(benches);
