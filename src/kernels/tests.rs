//! Every level against the scalar one, bit for bit, on buffers with an unmapped page on each side. That the scalar level
//! itself is right is shown in tests/matmul.rs, against f64.

use super::cpu::Cpu;
use super::decode::Job;
use super::panel::STRIPS;
use super::panel_job::{PackJob, Sums, SweepJob, TileJob};
use super::{Isa, Kernels, Level, PanelKernels, Rows, Task, activations, panel};
use crate::blocks::{Affine, Block, FloatWeight, Q2K, TensorType, Visitor, with_block};
use crate::simd::{CHUNK, COLUMNS, LANES, Lookups, Simd};

/// Memory whose first or last byte lies at an unmapped page; what is left of its own pages must not change.
pub(crate) struct Guarded {
    mapping: *mut u8,
    mapped: usize,
    pub(crate) data: *mut u8,
    bytes: usize,
}

const PAGE: usize = 4096;
/// What the rest of the pages holds.
const MARGIN: u8 = 0xa5;

impl Guarded {
    /// `bytes` zeros at the end (`flush_end`, as far as `align` lets it) or at the start of their pages.
    pub(crate) fn new(bytes: usize, flush_end: bool, align: usize) -> Guarded {
        let inner = bytes.next_multiple_of(PAGE).max(PAGE);
        let mapped = inner + 2 * PAGE;
        // SAFETY: a fresh anonymous mapping, of which the inner pages are made accessible.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let mapping = libc::mmap(std::ptr::null_mut(), mapped, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(mapping, libc::MAP_FAILED);
            let mapping = mapping.cast::<u8>();
            let first = mapping.add(PAGE);
            assert_eq!(libc::mprotect(first.cast(), inner, libc::PROT_READ | libc::PROT_WRITE), 0);
            let offset = if flush_end { (inner - bytes) / align * align } else { 0 };
            first.write_bytes(MARGIN, inner);
            first.add(offset).write_bytes(0, bytes);
            Guarded { mapping, mapped, data: first.add(offset), bytes }
        }
    }

    pub(crate) fn of<T: Copy>(values: &[T], flush_end: bool) -> Guarded {
        let guarded = Guarded::new(size_of_val(values), flush_end, align_of::<T>());
        // SAFETY: the memory is that large and aligned.
        unsafe { guarded.data.cast::<T>().copy_from_nonoverlapping(values.as_ptr(), values.len()) };
        guarded
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, and written or zero.
        unsafe { std::slice::from_raw_parts(self.data, self.bytes) }
    }

    /// Whether nothing was written beside the bytes, as far as their pages go.
    fn margins_are_intact(&self) -> bool {
        let before = self.data.addr() - self.mapping.addr() - PAGE;
        // SAFETY: the inner pages, all of them written in `new`.
        let pages = unsafe { std::slice::from_raw_parts(self.mapping.add(PAGE), self.mapped - 2 * PAGE) };
        pages[..before].iter().chain(&pages[before + self.bytes..]).all(|byte| *byte == MARGIN)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.margins_are_intact(), "written beside its bytes");
        // SAFETY: the mapping made in `new`.
        unsafe { libc::munmap(self.mapping.cast(), self.mapped) };
    }
}

/// xorshift64*.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Near normal, with now and then a value 30 times as large.
    pub(crate) fn normal(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            sum += (self.bits() >> 40) as f32 / (1u32 << 24) as f32 - 0.5;
        }
        if self.bits().is_multiple_of(97) { 30.0 * sum } else { sum }
    }
}

/// Rows of activations that exercise the packing: normal ones, and one each of zeros, tiny, subnormal, huge, all at the
/// largest magnitude with either sign, a single spike, and magnitudes just around the powers of two and digit limits.
pub(super) fn activation_rows(random: &mut Random, m: usize, k: usize) -> Vec<f32> {
    let mut x: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
    for (row, values) in x.chunks_exact_mut(k).enumerate() {
        for (i, value) in values.iter_mut().enumerate() {
            match row {
                3 => *value = 0.0,
                4 => *value *= 1e-37,
                5 => *value = f32::from_bits((i as u32 * 7919) & 0x807f_ffff),
                6 => *value *= 1e37,
                7 => *value = if i % 3 == 0 { -1.0 } else { 1.0 },
                8 => *value = if i == k / 2 { f32::MAX } else { 0.0 },
                9 => *value = f32::from_bits(0x3ffe_fdf0 + (i as u32 % 32)),
                10 => *value = -f32::from_bits(0x3fff_fff0 + (i as u32 % 16)),
                _ => {}
            }
        }
    }
    x
}

/// Blocks of random bits whose weights are finite and not huge; the first block of each row is all ones where that is so.
pub(crate) fn random_blocks(random: &mut Random, tensor_type: TensorType, n: usize, k: usize) -> Vec<u8> {
    let (bytes, elements) = (tensor_type.block_bytes(), tensor_type.block_elements());
    let mut w = vec![0xff; n * (k / elements) * bytes];
    let mut values = vec![0.0; elements];
    for (index, block) in w.chunks_exact_mut(bytes).enumerate() {
        let mut usable = |block: &[u8]| {
            crate::blocks::dequantize(tensor_type, block, &mut values).unwrap();
            values.iter().all(|value| value.abs() < 1e9)
        };
        if index % (k / elements) != 0 || !usable(block) {
            loop {
                block.fill_with(|| random.bits() as u8);
                if usable(block) {
                    break;
                }
            }
        }
    }
    w
}

/// The types with quantised kernels.
pub(crate) fn affine_types() -> Vec<TensorType> {
    let is_affine = |t: &&TensorType| matches!(Kernels::of(Level::Scalar, **t), Some(Kernels::Quantized { .. }));
    TensorType::ALL.iter().filter(is_affine).copied().collect()
}

/// For each weight of whole rows of `k` columns: its value, and the sum of the magnitudes of the terms that it is made of.
pub(crate) fn terms(tensor_type: TensorType, data: &[u8], k: usize) -> Vec<(f64, f64)> {
    struct Terms<'a>(&'a [u8], usize);
    struct Row<'a, A>(&'a [A], usize, &'a mut Vec<(f64, f64)>);
    impl<A: Affine> Task for Row<'_, A> {
        fn run<S: Simd>(self, s: S) {
            // SAFETY: a row of k columns.
            let chunks = unsafe { super::chunk::Chunks::<A>::of(self.0.as_ptr().cast(), self.1) };
            for chunk in 0..self.1.div_ceil(CHUNK) {
                // SAFETY: below the number of chunks.
                let blocks = unsafe { chunks.get(chunk) };
                let (mut scales, mut mins) = ([0.0; LANES], [0.0; LANES]);
                let scaling = A::scaling(blocks, s);
                let mut lookups = Lookups::new();
                A::index(blocks, s, &mut lookups);
                s.store_floats(scaling.scales, &mut scales);
                s.store_floats(scaling.mins, &mut mins);
                for column in 0..CHUNK.min(self.1 - chunk * CHUNK) {
                    // The code through a product with a single 1: the vocabulary has no way to read one.
                    let mut x = [0i8; COLUMNS];
                    x[column % COLUMNS] = 1;
                    let dots = s.dot(A::codes(blocks, &lookups, s, column / COLUMNS), s.load(&x), A::CODE_MAX);
                    let mut lanes = [0.0; LANES];
                    s.store_floats(s.to_floats(dots), &mut lanes);
                    let code = f64::from(lanes[column % COLUMNS / 4]);
                    assert!(code >= 0.0 && code <= A::CODE_MAX as f64);
                    let g = column / 16;
                    assert!(scales[g] == scales[column / A::GROUP * A::GROUP / 16]);
                    let (product, min) = (f64::from(scales[g]) * code, f64::from(mins[g]));
                    self.2.push((product - min, product.abs() + min.abs()));
                }
            }
        }
    }
    impl Visitor for Terms<'_> {
        type Output = Vec<(f64, f64)>;
        fn block<B: Block>(self) -> Self::Output {
            unreachable!()
        }
        fn float<B: FloatWeight>(self) -> Self::Output {
            unreachable!()
        }
        fn affine<A: Affine>(self) -> Self::Output {
            let mut terms = Vec::new();
            for row in crate::blocks::as_blocks::<A>(self.0).chunks_exact(self.1 / A::TYPE.block_elements()) {
                // SAFETY: the scalar level is always supported.
                unsafe { super::scalar::Scalar::run(Row(row, self.1, &mut terms)) };
            }
            terms
        }
    }
    with_block(tensor_type, Terms(data, k))
}

/// At every level, whether or not its kernels use them.
#[test]
fn scaled_codes_are_codes_times_scales() {
    struct Compare<'a>(&'a [Q2K; 8]);
    impl Task for Compare<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let blocks = self.0.each_ref();
            let scaling = Q2K::scaling_of_rows(blocks, s);
            for quarter in 0..4 {
                let codes = Q2K::codes_of_rows(blocks, s, quarter);
                let scaled = Q2K::scaled_codes_of_rows(blocks, s, quarter, &scaling);
                for column in 0..COLUMNS {
                    // Products with a single 1, as above.
                    let mut one = [0i8; 8];
                    one[column % 8] = 1;
                    let (half, vector, one) = (column / 32, column % 32 / 8, s.digits_to_rows(&one));
                    let (mut code, mut product, mut scale) = ([0; LANES], [0; LANES], [0.0; LANES]);
                    s.store_ints(s.dot_bytes(s.zero(), codes[half][vector], one, 3), &mut code);
                    s.store_ints(s.dot_bytes(s.zero(), scaled[half][vector], one, 45), &mut product);
                    let group = 4 * quarter + column / 16;
                    s.store_floats(s.row_floats::<false>(scaling.scales[group / 8], group % 8 / 2), &mut scale);
                    for row in 0..8 {
                        let lane = 2 * row + column % 8 / 4;
                        let scale = scale[2 * row + group % 2] as i32;
                        assert_eq!(product[lane], code[lane] * scale, "quarter {quarter} column {column} row {row}");
                    }
                }
            }
        }
    }
    let mut random = Random(5);
    for _ in 0..20 {
        let bytes: Vec<u8> = (0..8 * size_of::<Q2K>()).map(|_| random.bits() as u8).collect();
        let blocks = crate::blocks::as_blocks::<Q2K>(&bytes).as_array().unwrap();
        for level in levels() {
            // SAFETY: the level is available.
            unsafe {
                match level {
                    Level::Scalar => super::scalar::Scalar::run(Compare(blocks)),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => super::avx2::Avx2::run(Compare(blocks)),
                    #[cfg(target_arch = "x86_64")]
                    Level::AvxVnni => super::avxvnni::AvxVnni::run(Compare(blocks)),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512Vnni | Level::Amx => super::avx512vnni::Avx512Vnni::run(Compare(blocks)),
                    #[allow(unreachable_patterns, reason = "on x86_64 every level has its line")]
                    _ => unreachable!(),
                }
            }
        }
    }
}

#[test]
fn the_kernels_view_of_a_type_is_its_dequantised_values() {
    let mut random = Random(6);
    for tensor_type in affine_types() {
        for k in [tensor_type.block_elements(), 256, 512 + tensor_type.block_elements()] {
            let data = random_blocks(&mut random, tensor_type, 5, k);
            let mut values = vec![0.0; 5 * k];
            crate::blocks::dequantize(tensor_type, &data, &mut values).unwrap();
            let terms = terms(tensor_type, &data, k);
            assert_eq!(terms.len(), values.len());
            for (i, ((value, magnitude), dequantised)) in terms.into_iter().zip(values).enumerate() {
                // Both round scale, product, min and difference once or twice.
                let bound = 4.0 * 2f64.powi(-24) * magnitude;
                let error = (value - f64::from(dequantised)).abs();
                assert!(error <= bound, "{tensor_type:?} column {}: {value} for {dequantised}", i % k);
            }
        }
    }
}

fn levels() -> &'static [Level] {
    assert_eq!(Level::available()[0], Level::Scalar);
    Level::available()
}

/// The packed form of `x` as level and digit planes give it, and the flags.
pub(super) fn pack(
    level: Level,
    planes: usize,
    x: &[f32],
    m: usize,
    k: usize,
    flush_end: bool,
) -> (Guarded, Vec<bool>) {
    let packing = Kernels::packing(level).unwrap();
    let x = Guarded::of(x, flush_end);
    let out = Guarded::new(m * k.div_ceil(CHUNK) * activations::chunk_bytes(planes), flush_end, 64);
    let mut finite = vec![false; m];
    let rows = Rows { x: x.data.cast(), x_stride: k, m, k, out: out.data, finite: finite.as_mut_ptr() };
    // SAFETY: an available level; buffers of the sizes that `Rows` demands.
    unsafe { packing[planes - 1](rows) };
    (out, finite)
}

#[test]
fn packed_activations_are_the_same_at_every_level() {
    let mut random = Random(1);
    let mut compared = 0;
    for k in [1, 15, 16, 32, 255, 256, 288, 512, 768 + 16] {
        let m = 12;
        let mut x = activation_rows(&mut random, m, k);
        x[11 * k + k / 2] = f32::NAN;
        for planes in 1..=3 {
            for flush_end in [false, true] {
                let (expected, flags) = pack(Level::Scalar, planes, &x, m, k, flush_end);
                for (row, flag) in flags.iter().enumerate() {
                    assert_eq!(*flag, x[row * k..][..k].iter().all(|value| value.is_finite()), "row {row}");
                }
                for level in levels() {
                    let (packed, level_flags) = pack(*level, planes, &x, m, k, flush_end);
                    assert!(packed.bytes() == expected.bytes(), "{level:?} planes {planes} k {k}");
                    assert_eq!(flags, level_flags);
                    compared += 1;
                }
            }
        }
    }
    println!("{compared} compared");
}

#[test]
fn digits_give_the_activations_back() {
    let (m, k) = (12, 512);
    let x = activation_rows(&mut Random(2), m, k);
    for planes in 1..=3 {
        let (packed, _) = pack(Level::Scalar, planes, &x, m, k, true);
        for (index, chunk) in packed.bytes().chunks_exact(activations::chunk_bytes(planes)).enumerate() {
            // SAFETY: chunks begin at multiples of 64 and hold a header.
            let header = unsafe { &*chunk.as_ptr().cast::<activations::Header>() };
            let digits = &chunk[size_of::<activations::Header>()..];
            let mut sums = [0i64; 16];
            for i in 0..CHUNK {
                let integer = (0..planes).fold(0i64, |sum, p| sum * 256 + i64::from(digits[p * CHUNK + i] as i8));
                sums[i / 16] += integer;
                let value = f64::from(x[index * CHUNK + i]);
                let error = (integer as f64 * f64::from(header.scale) - value).abs();
                // Half a step, and with fewer planes the rounding of scale and inverse.
                let bound = f64::from(header.scale) * 0.5 + value.abs() * if planes < 3 { 3e-7 } else { 0.0 };
                assert!(error <= bound, "planes {planes}, row {}, {value}: {error} > {bound}", index * CHUNK / k);
            }
            assert_eq!(sums.map(|sum| sum as f32), header.sums16);
            for g in 0..8 {
                let sum = sums[2 * g] + sums[2 * g + 1];
                assert_eq!(sum as f32, header.sums32[g]);
                if planes < 3 {
                    let join = |joined, d| joined * 256 + i64::from(header.digits_of_32(planes, d)[g]);
                    assert_eq!((0..=planes).fold(0, join), sum);
                }
            }
            for (g, sum) in sums.into_iter().enumerate() {
                let join = |joined, d| joined * 256 + i64::from(header.digits_of_16(d)[g / 8][g % 8]);
                assert_eq!((0..=planes).fold(0, join), sum);
            }
            let [high, low] = header.starts.map(i64::from);
            assert_eq!(high * 65536 + low, -16 * sums.iter().sum::<i64>());
            assert!(planes == 3 || high == 0);
        }
    }
}

/// Runs `kernel` on guarded operands; y has a canary on both sides of each row where it is strided.
fn run_job(kernel: unsafe fn(Job), w: &Guarded, x: &Guarded, shape: [usize; 3], x_stride: usize) -> Vec<u32> {
    const CANARY: f32 = 1234.5;
    let [m, n, k] = shape;
    let mut results = Vec::new();
    // The way of reading changes no bit either.
    for (flush_end, cpu) in [false, true].into_iter().flat_map(|flush_end| Cpu::ALL.map(|cpu| (flush_end, cpu))) {
        let y_stride = n + 1;
        let y = Guarded::of(&vec![CANARY; (m - 1) * y_stride + n], flush_end);
        let (row_bytes, first) = (w.bytes / n, y.data.cast());
        let job = Job { w: w.data, row_bytes, n, k, x: x.data, x_stride, m, y: first, y_stride, cpu };
        // SAFETY: an available level; buffers of the sizes that the job says.
        unsafe { kernel(job) };
        let y: Vec<u32> = y.bytes().as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect();
        for row in y.chunks(y_stride) {
            assert!(row.len() == n || row[n] == CANARY.to_bits(), "the gap between rows was written");
        }
        results.push(y);
    }
    assert!(results.iter().all(|result| *result == results[0]));
    results.swap_remove(0)
}

/// Row lengths for a type: one block, and whole and broken chunks.
pub(super) fn lengths(tensor_type: TensorType) -> Vec<usize> {
    let block = tensor_type.block_elements();
    let mut lengths = vec![block, 256, 512 + block, 1792];
    lengths.dedup();
    lengths
}

#[test]
fn decode_is_the_same_at_every_level() {
    let mut random = Random(3);
    let mut compared = 0;
    for tensor_type in affine_types() {
        for k in lengths(tensor_type) {
            let all_rows = activation_rows(&mut random, 37, k);
            for (m, n) in (1..=9).map(|m| (m, 3)).chain([(1, 1), (2, 17), (11, 5), (17, 2), (37, 9)]) {
                let w = random_blocks(&mut random, tensor_type, n, k);
                for flush_end in [false, true] {
                    let w = Guarded::of(&w, flush_end);
                    for planes in 1..=3 {
                        let (x, _) = pack(Level::Scalar, planes, &all_rows[..m * k], m, k, flush_end);
                        let mut expected = None;
                        for level in levels() {
                            let Some(Kernels::Quantized { decode, .. }) = Kernels::of(*level, tensor_type) else {
                                panic!("no kernels");
                            };
                            let y = run_job(decode[planes - 1], &w, &x, [m, n, k], x.bytes / m);
                            let expected = expected.get_or_insert_with(|| y.clone());
                            assert!(*expected == y, "{tensor_type:?} {level:?} planes {planes} m {m} n {n} k {k}");
                            compared += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{compared} compared");
}

#[test]
fn float_products_are_the_same_at_every_level() {
    let mut random = Random(4);
    for k in [1, 2, 15, 16, 17, 31, 33, 64, 100] {
        for (m, n) in [(1, 1), (1, 4), (3, 5), (4, 4), (5, 9), (9, 3)] {
            let x: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
            let weights: Vec<f32> = (0..n * k).map(|_| random.normal()).collect();
            for tensor_type in [TensorType::F32, TensorType::F16, TensorType::BF16] {
                let mut w = vec![0; n * k * tensor_type.block_bytes()];
                crate::blocks::quantize(tensor_type, &weights, n, k, None, &mut w).unwrap();
                for flush_end in [false, true] {
                    let (w, x) = (Guarded::of(&w, flush_end), Guarded::of(&x, flush_end));
                    let mut expected = None;
                    for level in levels() {
                        let Some(Kernels::Float(kernel)) = Kernels::of(*level, tensor_type) else {
                            panic!("no kernel");
                        };
                        let y = run_job(kernel, &w, &x, [m, n, k], k * 4);
                        assert_eq!(*expected.get_or_insert(y.clone()), y, "{level:?} {tensor_type:?} {m} {n} {k}");
                    }
                }
            }
        }
    }
}

#[test]
fn panels_and_sweeps_are_the_same_at_every_level() {
    let mut random = Random(5);
    let mut compared = 0;
    for tensor_type in affine_types() {
        for k in lengths(tensor_type).into_iter().take(3) {
            let all_rows = activation_rows(&mut random, 17, k);
            for n in [1, 15, 17, 32, 49] {
                let w = random_blocks(&mut random, tensor_type, n, k);
                for flush_end in [false, true] {
                    let w = Guarded::of(&w, flush_end);
                    let strips = if n > 32 { panel::WIDE_STRIPS } else { panel::STRIPS };
                    let mut expected_panel = None;
                    for level in levels() {
                        let packed = panel_of(&panel_kernels(*level, tensor_type), &w, strips, n, k, flush_end);
                        let expected = expected_panel.get_or_insert_with(|| packed.bytes().to_vec());
                        assert!(packed.bytes() == *expected, "panel of {tensor_type:?} at {level:?}, n {n}, k {k}");
                    }
                    let packed = panel_of(&panel_kernels(Level::Scalar, tensor_type), &w, strips, n, k, flush_end);
                    for m in [1, 2, 3, 4, 5, 6, 7, 13] {
                        for planes in 1..=3 {
                            let (x, _) = pack(Level::Scalar, planes, &all_rows[..m * k], m, k, flush_end);
                            let mut expected = None;
                            for level in levels() {
                                let kernels = panel_kernels(*level, tensor_type);
                                let sums = sums_of(&kernels, planes, &packed, strips, &x, m, k, flush_end);
                                let expected = expected.get_or_insert_with(|| sums.clone());
                                let what = format!("{tensor_type:?} {level:?} planes {planes} m {m} n {n} k {k}");
                                assert!(*expected == sums, "sweep of {what}");
                                compared += 1;
                            }
                        }
                    }
                }
            }
        }
    }
    println!("{compared} compared");
}

/// The panel that every level has.
fn panel_kernels(level: Level, tensor_type: TensorType) -> PanelKernels {
    let Some(Kernels::Quantized { panel, .. }) = Kernels::of(level, tensor_type) else {
        panic!("no kernels");
    };
    panel
}

/// `n` rows of `k` columns as a panel.
pub(super) fn panel_of(
    kernels: &PanelKernels,
    w: &Guarded,
    strips: usize,
    n: usize,
    k: usize,
    flush_end: bool,
) -> Guarded {
    let bytes = strips * k.div_ceil(CHUNK) * kernels.record_bytes;
    let packed = Guarded::new(bytes, flush_end, 64);
    // SAFETY: an available level; buffers of the sizes that the job says.
    unsafe { (kernels.pack)(PackJob { w: w.data, row_bytes: w.bytes / n, strips, n, k, panel: packed.data }) };
    packed
}

/// The sums of a panel with packed activations: added to 0.5 where they lie, then from nothing to rows with gaps.
pub(super) fn sums_of(
    kernels: &PanelKernels,
    planes: usize,
    panel: &Guarded,
    strips: usize,
    x: &Guarded,
    m: usize,
    k: usize,
    flush_end: bool,
) -> Vec<u8> {
    const CANARY: f32 = 1234.5;
    let panel_rows = strips * LANES;
    let sums = Guarded::of(&vec![0.5f32; m * panel_rows], flush_end);
    assert!(sums.data.addr().is_multiple_of(64));
    let kept = Sums { first: sums.data.cast(), stride: panel_rows };
    let chunks = k.div_ceil(CHUNK);
    let tiled = kernels.tiling.map_or(0, |tiling| (tiling.bytes)(m, chunks, planes));
    let tiled = Guarded::new(tiled, flush_end, 64);
    if let Some(tiling) = kernels.tiling {
        let job = TileJob { x: x.data, x_stride: x.bytes / m, m, chunks, out: tiled.data };
        // SAFETY: an available level; buffers of the sizes that the job says.
        unsafe { (tiling.tile[planes - 1])(job) };
    }
    // With tiles, sums may not be left where they are kept.
    let between = Guarded::new(m * STRIPS * LANES * size_of::<f32>(), flush_end, 64);
    let job = SweepJob {
        panel: panel.data,
        chunks,
        x: x.data,
        x_stride: x.bytes / m,
        m,
        tiled: tiled.data,
        strips,
        begin: Some(kept),
        sums: if kernels.tiling.is_some() { between.data.cast() } else { kept.first },
        end: kept,
        // Beyond the guard page: what is asked for is not read.
        next: panel.data,
        next_bytes: 2 * panel.bytes + (1 << 14),
        asks_for_rows: flush_end,
        asks_for_end: flush_end,
    };
    // SAFETY: an available level; buffers of the sizes that the job says.
    unsafe { (kernels.sweep[planes - 1])(job) };
    let mut results = sums.bytes().to_vec();
    let stride = panel_rows + 1;
    let y = Guarded::of(&vec![CANARY; (m - 1) * stride + panel_rows], flush_end);
    // SAFETY: as above.
    unsafe {
        let end = Sums { first: y.data.cast(), stride };
        (kernels.sweep[planes - 1])(SweepJob { begin: None, end, ..job });
    }
    for row in y.bytes().chunks(4 * stride) {
        let (row, gap) = row.split_at(4 * panel_rows);
        assert!(gap.is_empty() || *gap == CANARY.to_le_bytes(), "the gap between rows was written");
        results.extend(row);
    }
    results
}
