//! No heap in steady state: after the first calls of a shape, products take no memory from the allocator, on any thread,
//! in one-call form, by rows, or packed once; at every precision and level. And scratch does not pile up.
//!
//! One test, as the allocator counts for the whole process: worker threads are the library's.

use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Activations, Context, ContextOptions, Precision, RawMatrix, RawMatrixMut, Weights};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Allocations so far, and bytes now.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations made by `calls`.
fn allocations(calls: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.load(Relaxed);
    calls();
    ALLOCATIONS.load(Relaxed) - before
}

/// Weights of zero bytes: 0 in every type. What is counted does not depend on them.
const TYPES: [TensorType; 4] = [TensorType::Q4_K, TensorType::Q8_0, TensorType::F16, TensorType::F32];
const N: usize = 200;
const K: usize = 1024;
/// Decode and panel.
const M: [usize; 3] = [33, 1, 5];
const THREADS: usize = 3;

struct Case<'a> {
    context: &'a Context,
    weights: &'a [Weights<'a>],
    x: &'a [f32],
}

impl Case<'_> {
    /// Every form of product, with every shape; `rows` are those of the rows forms.
    fn multiply(&self, activations: &mut Activations, y: &mut [f32], rows: std::ops::Range<usize>) {
        for m in M {
            self.context.pack(activations, self.x, 0, m, K).unwrap();
            for w in self.weights {
                self.context.matmul(w, self.x, 0, m, y, 0).unwrap();
                self.context.matmul_packed(w, activations, y, 0).unwrap();
                let x = RawMatrix { data: self.x.as_ptr(), length: self.x.len(), stride: 0 };
                let y = RawMatrixMut { data: y.as_mut_ptr(), length: y.len(), stride: 0 };
                // SAFETY: both matrices are borrowed slices.
                unsafe {
                    self.context.matmul_rows_raw(w, rows.clone(), m, x, y).unwrap();
                    self.context.matmul_packed_rows_raw(w, rows.clone(), activations, y).unwrap();
                }
            }
        }
    }
}

#[test]
fn no_heap_after_the_first_call_of_a_shape() {
    let data = vec![0; N * K * 4];
    let weights = TYPES.map(|tensor_type| Weights { tensor_type, n: N, k: K, data: &data });
    let mut x = vec![1.0; M[0] * K];
    let mut checked = 0;
    for level in Level::available() {
        for precision in Precision::ALL {
            // The second time with a row that has no digits, which takes another way.
            for finite in [true, false] {
                x[K - 1] = if finite { 1.0 } else { f32::NAN };
                let options = ContextOptions { threads: THREADS as u32, precision, max_isa: Some(level.name()) };
                let context = Context::new(&options).unwrap();
                let case = Case { context: &context, weights: &weights, x: &x };
                one_caller(&case);
                many_callers(&case);
                checked += 1;
            }
        }
    }
    assert_eq!(checked, Level::available().len() * 6);
}

fn one_caller(case: &Case<'_>) {
    let (mut activations, mut y) = (Activations::new(), vec![0.0; M[0] * N]);
    assert!(allocations(|| case.multiply(&mut activations, &mut y, 7..150)) > 0, "the first time takes memory");
    let more = allocations(|| {
        for _ in 0..3 {
            case.multiply(&mut activations, &mut y, 7..150);
        }
    });
    assert_eq!(more, 0, "{:?} {:?}", case.context.isa(), case.context.precision());
}

/// Threads of a host that use one context at the same time. Each has at most one buffer of packed activations and one of
/// panels at a time, and one in the hand while it looks for another, and a buffer is replaced at most once per shape that
/// wants more than all before: all that is ever allocated is bounded, whatever the number of calls.
fn many_callers(case: &Case<'_>) {
    const CALLERS: usize = 4;
    const ROUNDS: usize = 3;
    let start = Barrier::new(CALLERS + 1);
    let end = Barrier::new(CALLERS + 1);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let (mut activations, mut y) = (Activations::new(), vec![0.0; M[0] * N]);
                case.multiply(&mut activations, &mut y, 0..N);
                start.wait();
                for _ in 0..ROUNDS {
                    case.multiply(&mut activations, &mut y, 0..N);
                }
                end.wait();
            });
        }
        start.wait();
        let bytes = BYTES.load(Relaxed);
        let more = allocations(|| {
            end.wait();
        });
        let most = 2 * 2 * CALLERS * M.len() * 2;
        let calls = CALLERS * ROUNDS * M.len() * TYPES.len() * 4;
        assert!(most * 4 < calls && more <= most, "{more} allocations in {calls} calls, at most {most} expected");
        // Two buffers in use and in the hand for each caller: packed rows of 3 planes, or panels of all threads.
        let grown = BYTES.load(Relaxed).saturating_sub(bytes);
        let packed = M[0] * (K / 256 * 1024 + 1);
        assert!(grown <= 2 * CALLERS * (packed + THREADS * (2 << 20)), "{grown} bytes more");
    });
}
