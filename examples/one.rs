use gguffuse::blocks::{self, TensorType};
use gguffuse::matmul::*;
fn rng(s: &mut u64) -> u64 {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    *s
}
fn main() {
    let (n, k) = (1024usize, 2048usize);
    let mut s = 88172645463325252u64;
    let name = std::env::args().nth(1).unwrap();
    let isa = std::env::args().nth(2).unwrap();
    let t = *TensorType::ALL.iter().find(|t| t.name() == name).unwrap();
    let bytes = t.block_bytes();
    let mut w = vec![0u8; n * k / t.block_elements() * bytes];
    let mut v = vec![0f32; t.block_elements()];
    for b in w.chunks_exact_mut(bytes) {
        loop {
            b.fill_with(|| rng(&mut s) as u8);
            blocks::dequantize(t, b, &mut v).unwrap();
            if v.iter().all(|x| x.abs() < 1e6) {
                break;
            }
        }
    }
    let weights = Weights { tensor_type: t, n, k, data: &w };
    let x: Vec<f32> = (0..k).map(|_| (rng(&mut s) >> 40) as f32 / 16777216.0 - 0.5).collect();
    let c = Context::new(&ContextOptions { threads: 1, precision: Precision::Exact, max_isa: Some(&isa) }).unwrap();
    let mut y = vec![0f32; n];
    let t0 = std::time::Instant::now();
    let mut it = 0;
    while t0.elapsed().as_millis() < 700 {
        c.matmul(&weights, &x, 0, 1, &mut y, 0).unwrap();
        it += 1;
    }
    println!("{name} {isa} {:.1} G/s", (it * n * k) as f64 / t0.elapsed().as_secs_f64() / 1e9);
}
