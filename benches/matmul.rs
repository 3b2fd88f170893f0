//! The product with 2048 x 5632 Q4_K weights (TinyLlama's ffn_gate), one thread: decode (m = 1) in bytes of weights per
//! second, panel (m = 64, 512) in multiplications with an addition ("elements") per second, for every precision at every
//! level of this machine.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gguffuse::blocks::{TensorType, quantize};
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, ContextOptions, Precision, Weights};
use std::time::Duration;

const K: usize = 2048;
const N: usize = 5632;
const ROW_BYTES: usize = K / 256 * 144;

/// Values in -0.5..0.5 (a linear congruential generator: their distribution does not matter to the time).
fn values(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn weights() -> Vec<u8> {
    let mut blocks = vec![0; N * ROW_BYTES];
    quantize(TensorType::Q4_K, &values(N * K), N, K, None, &mut blocks).unwrap();
    blocks
}

fn product(criterion: &mut Criterion, group: &str, blocks: &[u8], rows: &[usize], throughput: fn(usize) -> Throughput) {
    let w = Weights { tensor_type: TensorType::Q4_K, n: N, k: K, data: blocks };
    let mut group = criterion.benchmark_group(group);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(200));
    group.measurement_time(Duration::from_millis(800));
    for level in Level::available() {
        for precision in Precision::ALL {
            let options = ContextOptions { threads: 1, precision, max_isa: Some(level.name()) };
            let context = Context::new(&options).unwrap();
            for &m in rows {
                // A second for each product, and nobody waits for it.
                if *level == Level::Scalar && m > 1 {
                    continue;
                }
                let x = values(m * K);
                let mut y = vec![0f32; m * N];
                group.throughput(throughput(m));
                group.bench_function(BenchmarkId::new(format!("{}/{precision:?}", level.name()), m), |bencher| {
                    bencher.iter(|| context.matmul(&w, &x, 0, m, &mut y, 0).unwrap());
                });
            }
        }
    }
}

fn decode(criterion: &mut Criterion) {
    product(criterion, "decode", &weights(), &[1], |_| Throughput::Bytes((N * ROW_BYTES) as u64));
}

fn panel(criterion: &mut Criterion) {
    product(criterion, "panel", &weights(), &[64, 512], |m| Throughput::Elements((m * N * K) as u64));
}

criterion_group!(benches, decode, panel);
criterion_main!(benches);
