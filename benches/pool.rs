//! What a thread pool costs and brings to small calls: Q4_K decode (m = 1, k = 1024) of growing n, on 1 thread and on 2, when
//! calls follow each other at once ("hot") and when the host does something else for a while in between; and the same
//! with rayon, whose threads call the rows form on one packing.
//!
//! The caller is kept on one CPU and the worker on another; last come calls whose threads are where the scheduler puts them, which in a
//! virtual machine may be one CPU for both.
//! Where others compute at the same time, only real-time priority (`chrt -f 1`) shows what the pool does and not the scheduler.
//!
//! Prints medians in microseconds. From the columns one reads where two threads begin to pay, what a sleeping worker costs
//! (the columns after long pauses), and how long workers keep looking for work.

use gguffuse::blocks::{TensorType, quantize};
use gguffuse::matmul::{Activations, Context, ContextOptions, RawMatrixMut, Weights};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::mem::zeroed;
use std::time::{Duration, Instant};

const K: usize = 1024;
const ROW_BYTES: usize = K / 256 * 144;
/// Rows of weights: 18 KiB to 2.3 MiB.
const NS: [usize; 8] = [32, 64, 128, 256, 512, 1024, 2048, 4096];
/// What the host does between two calls, in microseconds.
const PAUSES: [u64; 5] = [0, 10, 50, 200, 2000];

/// Median time of `call` after pauses of that many microseconds, in microseconds.
fn median(pause: u64, mut call: impl FnMut()) -> f64 {
    let count = if pause < 100 { 301 } else { 51 };
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            // Busy, as a host that computes something else.
            let from = Instant::now();
            while from.elapsed() < Duration::from_micros(pause) {}
            let from = Instant::now();
            call();
            from.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[count / 2].as_secs_f64() * 1e6
}

/// Keeps this thread, and those that it starts from now on, on CPU number `index` of those that the process may use.
fn pin(index: usize) {
    // SAFETY: the sets are of the size given, and zeros are a set.
    unsafe {
        let allowed = allowed();
        let cpus: Vec<usize> = (0..8 * size_of_val(allowed)).filter(|cpu| libc::CPU_ISSET(*cpu, allowed)).collect();
        let mut set = zeroed();
        libc::CPU_SET(cpus[index % cpus.len()], &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
    }
}

/// The CPUs that the process may use.
fn allowed() -> &'static libc::cpu_set_t {
    static ALLOWED: std::sync::OnceLock<libc::cpu_set_t> = std::sync::OnceLock::new();
    ALLOWED.get_or_init(|| {
        // SAFETY: a set of the size given, whose zeros are one.
        unsafe {
            let mut set = zeroed();
            assert_eq!(libc::sched_getaffinity(0, size_of_val(&set), &mut set), 0);
            set
        }
    })
}

fn main() {
    pin(1);
    let x: Vec<f32> = (0..K).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    let source: Vec<f32> = (0..K * NS[7]).map(|i| ((i * 97 % 1013) as f32 - 506.0) / 5060.0).collect();
    let mut data = vec![0; NS[7] * ROW_BYTES];
    quantize(TensorType::Q4_K, &source, NS[7], K, None, &mut data).unwrap();
    let with = |threads| Context::new(&ContextOptions { threads, ..ContextOptions::default() }).unwrap();
    let (one, two) = (with(1), with(2));
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(2).start_handler(pin).build().unwrap();
    let mut y = vec![0.0; NS[7]];
    let mut activations = Activations::new();
    // The first large call starts the worker, beside this thread.
    let all = Weights { tensor_type: TensorType::Q4_K, n: NS[7], k: K, data: &data };
    two.matmul(&all, &x, 0, 1, &mut y, 0).unwrap();
    pin(0);

    println!("microseconds, level {}: threads 1 / threads 2 / rayon with 2", one.isa().name());
    print!("{:>9}", "KiB of w");
    PAUSES.iter().for_each(|pause| print!("{:>24}", format!("pause {pause} us")));
    println!();
    for n in NS {
        let w = Weights { tensor_type: TensorType::Q4_K, n, k: K, data: &data };
        print!("{:>9}", (n * ROW_BYTES) >> 10);
        for pause in PAUSES {
            let alone = median(pause, || one.matmul(&w, &x, 0, 1, &mut y, 0).unwrap());
            let pool = median(pause, || two.matmul(&w, &x, 0, 1, &mut y, 0).unwrap());
            let of_rayon = median(pause, || {
                one.pack(&mut activations, &x, 0, 1, K).unwrap();
                let y = RawMatrixMut { data: y.as_mut_ptr(), length: n, stride: 0 };
                let (y, activations, one) = (Shared(y), &activations, &one);
                rayon.install(|| {
                    (0..16usize).into_par_iter().for_each(|part| {
                        let rows = n * part / 16..n * (part + 1) / 16;
                        // SAFETY: y is a vector of this function; the parts are disjoint.
                        unsafe { one.matmul_packed_rows_raw(&w, rows, activations, y.get()) }.unwrap();
                    });
                });
            });
            print!("{:>24}", format!("{alone:.1} / {pool:.1} / {of_rayon:.1}"));
        }
        println!();
    }
    small_calls(&one, &two, &x, &data);
    placed_by_the_scheduler(&one, &all, &x);
}

/// Decode of 2.3 MiB of weights, EXACT, where threads may be on any CPU and the host sleeps before each call.
fn placed_by_the_scheduler(one: &Context, w: &Weights<'_>, x: &[f32]) {
    let all = allowed();
    // SAFETY: a set of the size given.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(all), all) }, 0);
    let two = Context::new(&ContextOptions { threads: 2, ..ContextOptions::default() }).unwrap();
    let mut y = vec![0.0; w.n];
    let mut times = |context: &Context, pause: u64| {
        let mut times: Vec<f64> = (0..300)
            .map(|_| {
                std::thread::sleep(Duration::from_micros(pause));
                let from = Instant::now();
                context.matmul(w, x, 0, 1, &mut y, 0).unwrap();
                from.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        times
    };
    for pause in [100, 1000, 5000] {
        let (alone, shared) = (times(one, pause), times(&two, pause));
        let late = shared.iter().filter(|time| **time > 0.8 * alone[150]).count();
        let (alone, best, shared) = (alone[150], shared[0], shared[150]);
        println!(
            "after {pause} us of sleep: one thread {alone:.0} us, two threads {shared:.0} (at best {best:.0}), {} % gain less \
             than a fifth",
            late * 100 / 300
        );
    }
}

/// k = n = 256, m = 1, hot: what two threads cost where there is nothing to share.
fn small_calls(one: &Context, two: &Context, x: &[f32], data: &[u8]) {
    let floats: Vec<u8> = (0..256 * 256).flat_map(|i| ((i * 7 % 11) as f32).to_le_bytes()).collect();
    for (tensor_type, data) in [(TensorType::Q4_K, data), (TensorType::Q8_0, &floats), (TensorType::F32, &floats)] {
        let w = Weights { tensor_type, n: 256, k: 256, data };
        let mut y = vec![0.0; 256];
        let mut differences = [0.0; 9];
        let mut alone = [0.0; 9];
        for (difference, alone) in differences.iter_mut().zip(&mut alone) {
            *alone = median(0, || one.matmul(&w, &x[..256], 0, 1, &mut y, 0).unwrap());
            *difference = median(0, || two.matmul(&w, &x[..256], 0, 1, &mut y, 0).unwrap()) - *alone;
        }
        differences.sort_unstable_by(f64::total_cmp);
        alone.sort_unstable_by(f64::total_cmp);
        let name = tensor_type.name();
        println!("k = n = 256, {name}: {:.2} on one thread, {:+.2} with two", alone[4], differences[4]);
    }
}

/// A matrix that several threads write at different elements.
struct Shared(RawMatrixMut);

// SAFETY: the threads write disjoint rows.
unsafe impl Sync for Shared {}

impl Shared {
    fn get(&self) -> RawMatrixMut {
        self.0
    }
}
