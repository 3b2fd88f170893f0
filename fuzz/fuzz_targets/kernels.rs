//! Type, shape, precision, path and all values from the bytes: every level gives the bits of the scalar level's decode or
//! panel algorithm, and touches nothing but its operands, which lie against unmapped pages.
#![no_main]

use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, ContextOptions, Precision, RawMatrix, RawMatrixMut, Weights};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

const CANARY: u32 = 0x449a_5000;
/// Multiplications of a product, at most: larger ones take longer and find no more.
const LARGEST: usize = 40_000;

/// Pages between two that are not mapped. What is placed at the end may end at the page.
struct Guarded {
    first: *mut u8,
    bytes: usize,
}

impl Guarded {
    fn new(pages: usize) -> Guarded {
        const PAGE: usize = 4096;
        let bytes = pages * PAGE;
        // SAFETY: a fresh anonymous mapping, of which the inner pages are made accessible; never unmapped.
        let first = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let mapping = libc::mmap(std::ptr::null_mut(), bytes + 2 * PAGE, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(mapping, libc::MAP_FAILED);
            let first = mapping.cast::<u8>().add(PAGE);
            assert_eq!(libc::mprotect(first.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE), 0);
            first
        };
        Guarded { first, bytes }
    }

    /// `length` elements at the start or at the end.
    fn place<T>(&mut self, length: usize, at_end: bool) -> &mut [T] {
        let bytes = length * size_of::<T>();
        assert!(bytes <= self.bytes);
        let offset = if at_end { self.bytes - bytes } else { 0 };
        // SAFETY: inside of the mapping, aligned as `bytes` is a multiple of T's size; any bits are valid for the numbers
        // placed here; the borrow of self keeps it the only one.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(offset).cast(), length) }
    }
}

struct State {
    /// By level, then by precision.
    contexts: Vec<[Context; 3]>,
    types: Vec<TensorType>,
    w: Guarded,
    x: Guarded,
    y: Guarded,
}

impl State {
    fn new() -> State {
        let context = |level: &Level, precision| {
            Context::new(&ContextOptions { threads: 1, precision, max_isa: Some(level.name()) }).unwrap()
        };
        let contexts = Level::available().iter().map(|level| Precision::ALL.map(|precision| context(level, precision)));
        State {
            contexts: contexts.collect(),
            types: TensorType::ALL.iter().copied().filter(|tensor_type| tensor_type.can_matmul()).collect(),
            w: Guarded::new(64),
            x: Guarded::new(64),
            y: Guarded::new(16),
        }
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::new());
}

/// Fills `to` with `seed`, repeated with changes, so that short inputs reach all of a large operand.
fn fill(to: &mut [u8], seed: &[u8]) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for (i, byte) in to.iter_mut().enumerate() {
        let round = i.checked_div(seed.len()).unwrap_or(1);
        let given = if seed.is_empty() { 0 } else { seed[i % seed.len()] };
        // As given the first time.
        *byte = if round == 0 { given } else { given ^ (state >> 56) as u8 };
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((head, values)) = bytes.split_first_chunk::<8>() else { return };
    STATE.with_borrow_mut(|state| run(state, head, values));
});

fn run(state: &mut State, head: &[u8; 8], values: &[u8]) {
    let [kind, precision, rows, columns, blocks, begin, flags, tame] = *head;
    let tensor_type = state.types[usize::from(kind) % state.types.len()];
    let precision = usize::from(precision) % 3;
    let (m, n) = (usize::from(rows) % 18, usize::from(columns) % 36);
    let block = tensor_type.block_elements();
    let most_blocks = (1024 / block).clamp(1, 40);
    let k = block * (1 + usize::from(blocks) % most_blocks);
    let n = n.min((LARGEST / (k * m.max(1))).max(1));
    let row_bytes = tensor_type.row_size(k as u64).unwrap() as usize;
    let (w_end, x_end, y_end, by_rows) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0, flags & 8 != 0);
    let (x_stride, y_stride) = (k + usize::from(flags >> 4 & 1), n + usize::from(flags >> 5 & 3));
    let x_length = if m == 0 { 0 } else { (m - 1) * x_stride + k };
    let y_length = if m == 0 { 0 } else { (m - 1) * y_stride + n };
    let begin = usize::from(begin) % (n + 1);

    let half = values.len() / 2;
    let data = state.w.place::<u8>(n * row_bytes, w_end);
    fill(data, &values[..half]);
    let x = state.x.place::<u32>(x_length, x_end);
    // Activations of any bits; or, mostly, finite ones of like size, without which rows that are not finite would be all
    // that is ever tried.
    let mut given = vec![0; 4 * x_length];
    fill(&mut given, &values[half..]);
    for (x, bits) in x.iter_mut().zip(given.as_chunks::<4>().0) {
        let bits = u32::from_le_bytes(*bits);
        *x = if tame < 16 { bits } else { bits & 0x87ff_ffff | 0x3800_0000 };
    }
    let x = RawMatrix { data: x.as_ptr().cast(), length: x_length, stride: x_stride };
    let weights = Weights { tensor_type, n, k, data };
    let scalar = &state.contexts[0][precision];

    // Which algorithm a level uses for so many rows is its own choice; the bits of each are those of the scalar level: which
    // decodes a single row, and uses a panel for more. The scalar level comes first, so its y is one of the two; the other
    // is made when a level has neither its bits.
    let mut expected: Option<Vec<u32>> = None;
    let mut decoded: Option<Vec<u32>> = None;
    for (level, contexts) in Level::available().iter().zip(&state.contexts) {
        let y = state.y.place::<u32>(y_length, y_end);
        y.fill(CANARY);
        let data = y.as_mut_ptr().cast();
        let out = || RawMatrixMut { data, length: y_length, stride: y_stride };
        let context = &contexts[precision];
        // SAFETY: buffers of the lengths given, nobody else uses them.
        unsafe {
            if by_rows {
                context.matmul_rows_raw(&weights, 0..begin, m, x, out()).unwrap();
                context.matmul_rows_raw(&weights, begin..n, m, x, out()).unwrap();
            } else {
                context.matmul_raw(&weights, m, x, out()).unwrap();
            }
        }
        let expected = expected.get_or_insert_with(|| y.to_vec());
        // The tiles of `amx` add in an order of their own.
        assert!(
            *level == Level::Amx
                || same(y, expected)
                || same(y, decoded.get_or_insert_with(|| by_single_rows(scalar, &weights, m, x, y_stride))),
            "{level:?} {tensor_type:?} precision {precision} m {m} n {n} k {k}"
        );
        let gap = |i: &usize| n == 0 || i % y_stride >= n;
        assert!((0..y_length).filter(gap).all(|i| y[i] == CANARY), "{level:?} wrote to a gap");
    }
}

/// The product of each row of activations alone, by the scalar level.
fn by_single_rows(scalar: &Context, weights: &Weights<'_>, m: usize, x: RawMatrix, y_stride: usize) -> Vec<u32> {
    let mut y = vec![CANARY; if m == 0 { 0 } else { (m - 1) * y_stride + weights.n }];
    for i in 0..m {
        let row = RawMatrix { data: x.data.wrapping_add(i * x.stride), length: weights.k, stride: x.stride };
        let y = &mut y[i * y_stride..];
        let out = RawMatrixMut { data: y.as_mut_ptr().cast(), length: y.len(), stride: y_stride };
        // SAFETY: buffers of the lengths given, nobody else uses them.
        unsafe { scalar.matmul_raw(weights, 1, row, out) }.unwrap();
    }
    y
}

/// The same bits; a NaN is a NaN: which one is not promised.
fn same(a: &[u32], b: &[u32]) -> bool {
    let bits = |bits: &u32| if f32::from_bits(*bits).is_nan() { u32::MAX } else { *bits };
    a.iter().map(bits).eq(b.iter().map(bits))
}
