use gguffuse::blocks::{self, TensorType};
use gguffuse::matmul::*;
use std::time::Instant;
fn rng(s: &mut u64) -> u64 {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    *s
}
fn main() {
    let (n, k) = (1024usize, 2048usize);
    let mut s = 88172645463325252u64;
    let ms: Vec<usize> =
        std::env::args().nth(1).map(|a| a.split(',').map(|x| x.parse().unwrap()).collect()).unwrap_or(vec![1]);
    for isa in ["avx2", "avx512vnni"] {
        let mut base = vec![0.0; 6];
        for t in std::iter::once(TensorType::Q4_K).chain(TensorType::ALL.iter().copied().filter(|t| t.can_matmul())) {
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
                    if bytes <= 4 {
                        b.fill(0);
                        break;
                    }
                }
            }
            let weights = Weights { tensor_type: t, n, k, data: &w };
            let mut line = format!("{isa:11} {:8}", t.name());
            let mut i = 0;
            for m in &ms {
                let m = *m;
                for p in [Precision::Exact, Precision::High, Precision::Fast] {
                    let x: Vec<f32> = (0..m * k).map(|_| (rng(&mut s) >> 40) as f32 / 16777216.0 - 0.5).collect();
                    let c = Context::new(&ContextOptions { threads: 1, precision: p, max_isa: Some(isa) }).unwrap();
                    let mut y = vec![0f32; m * n];
                    let mut tv = vec![];
                    let t0 = Instant::now();
                    while tv.len() < 3 || t0.elapsed().as_millis() < 25 {
                        let t = Instant::now();
                        c.matmul(&weights, &x, 0, m, &mut y, 0).unwrap();
                        tv.push(t.elapsed().as_secs_f64());
                    }
                    tv.sort_by(f64::total_cmp);
                    let g = (m * n * k) as f64 / tv[tv.len() / 2] / 1e9;
                    if base[i] == 0.0 {
                        base[i] = g;
                    }
                    line += &format!("  m{m} {p:?} {g:6.1} G/s {:3.0}%", 100.0 * g / base[i]);
                    i += 1;
                }
            }
            println!("{line}");
        }
    }
}
