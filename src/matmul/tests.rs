//! Every type x level x precision x shape against the f64 product, within a bound that follows from the terms.
//! (tests/matmul/bounds.rs does the same for Q4_K through the public interface, with a decoder of its own.) And on operands
//! between unmapped pages.

use super::{Context, ContextOptions, Precision, RawMatrix, RawMatrixMut, Weights};
use crate::blocks::TensorType;
use crate::kernels::Level;
use crate::kernels::tests::{Guarded, Random, affine_types, random_blocks, terms};

/// What one y may be off. See tests/matmul/bounds.rs for where each part comes from; types with groups of 16 columns have
/// 16 groups in a chunk.
fn bound(precision: Precision, w: &[(f64, f64)], x: &[f32]) -> f64 {
    let operations = 3.0 + 2.0 * 16.0 + 3.0 + x.len().div_ceil(256) as f64 + 4.0;
    let mut total = 0.0;
    for (w, x) in w.chunks(256).zip(x.chunks(256)) {
        let largest = x.iter().fold(0.0f64, |largest, x| largest.max(f64::from(x.abs()))).max(2f64.powi(-96));
        let (step, scale_rounding) = match precision {
            Precision::Exact => (largest * 2f64.powf(-21.9), 0.0),
            Precision::High => (largest / (127.0 * 256.0 + 127.0), 3.0 * 2f64.powi(-24)),
            Precision::Fast => (largest / 127.0, 3.0 * 2f64.powi(-24)),
        };
        for ((w, terms), x) in w.iter().zip(x) {
            let x = f64::from(x.abs());
            total += w.abs() * (step / 2.0 * 1.000001 + x * scale_rounding);
            total += terms * (x + step) * operations * 2f64.powi(-24);
        }
    }
    total
}

#[test]
fn every_type_is_within_the_derived_bound() {
    let mut random = Random(51);
    let mut checked = 0;
    for tensor_type in affine_types() {
        let block = tensor_type.block_elements();
        let mut tightest = [0.0f64; 3];
        for k in [block, 2 * block, 3 * block, 7 * block] {
            for n in (1..=17).chain([33]) {
                let data = random_blocks(&mut random, tensor_type, n, k);
                let terms = terms(tensor_type, &data, k);
                for m in (1..=9).chain([16, 17, 33]) {
                    let x: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
                    let exact: Vec<f64> = (0..m * n)
                        .map(|i| {
                            let pairs = terms[i % n * k..][..k].iter().zip(&x[i / n * k..][..k]);
                            pairs.map(|((w, _), x)| w * f64::from(*x)).sum()
                        })
                        .collect();
                    for precision in Precision::ALL {
                        let bounds: Vec<f64> = (0..m * n)
                            .map(|i| bound(precision, &terms[i % n * k..][..k], &x[i / n * k..][..k]))
                            .collect();
                        for level in Level::available() {
                            let options = ContextOptions { threads: 1, precision, max_isa: Some(level.name()) };
                            let context = Context::new(&options).unwrap();
                            let mut y = vec![f32::NAN; m * n];
                            context.matmul(&Weights { tensor_type, n, k, data: &data }, &x, 0, m, &mut y, 0).unwrap();
                            for ((y, exact), bound) in y.iter().zip(&exact).zip(&bounds) {
                                let error = (f64::from(*y) - exact).abs();
                                let what = format_args!("{tensor_type:?} {level:?} {precision:?} m {m} n {n} k {k}");
                                assert!(error <= *bound, "{what}: {error:e} > {bound:e}");
                                tightest[precision as usize] = tightest[precision as usize].max(error / bound);
                                checked += 1;
                            }
                        }
                    }
                }
            }
        }
        println!("{tensor_type:?}: largest error / bound {tightest:.3?}");
        // A bound that errors do not come near would not notice a mistake.
        assert!(tightest[1..].iter().all(|ratio| *ratio > 0.02));
    }
    println!("{checked} results");
}

#[test]
fn float_types_are_within_the_derived_bound() {
    let mut random = Random(52);
    let mut checked = 0;
    for tensor_type in [TensorType::F32, TensorType::F16, TensorType::BF16] {
        for k in [1, 2, 3, 7, 16, 33, 300] {
            for n in (1..=17).chain([33]) {
                let source: Vec<f32> = (0..n * k).map(|_| random.normal()).collect();
                let mut data = vec![0; n * k * tensor_type.block_bytes()];
                crate::blocks::quantize(tensor_type, &source, n, k, None, &mut data).unwrap();
                let mut weights = vec![0.0; n * k];
                crate::blocks::dequantize(tensor_type, &data, &mut weights).unwrap();
                for m in (1..=9).chain([16, 17, 33]) {
                    let x: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
                    for level in Level::available() {
                        let options = ContextOptions { max_isa: Some(level.name()), ..ContextOptions::default() };
                        let context = Context::new(&options).unwrap();
                        let mut y = vec![f32::NAN; m * n];
                        context.matmul(&Weights { tensor_type, n, k, data: &data }, &x, 0, m, &mut y, 0).unwrap();
                        for (i, y) in y.iter().enumerate() {
                            let pairs = weights[i % n * k..][..k].iter().zip(&x[i / n * k..][..k]);
                            let products = pairs.map(|(w, x)| f64::from(*w) * f64::from(*x));
                            let (exact, terms) =
                                products.fold((0.0, 0.0), |(sum, terms), p| (sum + p, terms + p.abs()));
                            // A term passes through one operation per 16 columns and 4 of the final tree.
                            let bound = terms * (k.div_ceil(16) + 4) as f64 * 2f64.powi(-24);
                            let error = (f64::from(*y) - exact).abs();
                            assert!(
                                error <= bound,
                                "{tensor_type:?} {level:?} m {m} n {n} k {k}: {error:e} > {bound:e}"
                            );
                            checked += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{checked} results");
}

/// What y holds before.
const CANARY: f32 = 1234.5;

/// One product on guarded operands, `end`: at the ends of their pages; the bits of y with its gaps.
fn guarded_product(context: &Context, w: &Weights<'_>, x: &Guarded, m: usize, end: bool) -> Vec<u32> {
    let y_stride = w.n + 2;
    let y = Guarded::of(&vec![CANARY; (m - 1) * y_stride + w.n], end);
    let x = RawMatrix { data: x.data.cast(), length: m * w.k, stride: 0 };
    let out = RawMatrixMut { data: y.data.cast(), length: (m - 1) * y_stride + w.n, stride: y_stride };
    // SAFETY: buffers of the lengths given, used by nobody else.
    unsafe { context.matmul_raw(w, m, x, out) }.unwrap();
    let y: Vec<u32> = y.bytes().as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect();
    for row in y.chunks(y_stride) {
        assert!(row[w.n.min(row.len())..].iter().all(|bits| *bits == CANARY.to_bits()), "a gap was written");
    }
    y
}

/// The same on ordinary memory.
fn plain_product(context: &Context, w: &Weights<'_>, x: &[f32], m: usize) -> Vec<u32> {
    let y_stride = w.n + 2;
    let mut y = vec![CANARY; (m - 1) * y_stride + w.n];
    context.matmul(w, &x[..m * w.k], 0, m, &mut y, y_stride).unwrap();
    y.iter().map(|y| y.to_bits()).collect()
}

#[test]
fn products_touch_nothing_but_their_operands() {
    let mut random = Random(53);
    let mut products = 0;
    let types: Vec<_> = TensorType::ALL.iter().copied().filter(|tensor_type| tensor_type.can_matmul()).collect();
    let context = |level: &Level, precision| {
        Context::new(&ContextOptions { threads: 1, precision, max_isa: Some(level.name()) }).unwrap()
    };
    let contexts = Precision::ALL.map(|precision| Level::available().iter().map(|l| context(l, precision)).collect());
    let contexts: [Vec<Context>; 3] = contexts;
    for tensor_type in &types {
        let block = tensor_type.block_elements();
        let lengths = if block == 1 { [1, 15, 33, 100] } else { [1, 2, 3, 9].map(|blocks| blocks * block) };
        for k in lengths {
            let all: Vec<f32> = (0..17 * k).map(|_| random.normal()).collect();
            for n in [1, 2, 3, 4, 5, 15, 16, 17, 33] {
                let data = random_blocks(&mut random, *tensor_type, n, k);
                for end in [false, true] {
                    let w = Guarded::of(&data, end);
                    let w = Weights { tensor_type: *tensor_type, n, k, data: w.bytes() };
                    for m in [1, 2, 3, 4, 5, 7, 8, 17] {
                        let x = Guarded::of(&all[..m * k], end);
                        for contexts in &contexts {
                            // Which algorithm a level takes for so many rows is its own choice; the bits of each are those
                            // of the scalar level, which decodes a single row and uses a panel for more.
                            let mut decoded = Vec::new();
                            for row in 0..m {
                                let one = Guarded::of(&all[row * k..][..k], end);
                                decoded.extend(guarded_product(&contexts[0], &w, &one, 1, end));
                                decoded.extend([CANARY.to_bits(); 2]);
                            }
                            decoded.truncate(decoded.len() - 2);
                            let panelled = guarded_product(&contexts[0], &w, &x, m, end);
                            for context in contexts {
                                let y = guarded_product(context, &w, &x, m, end);
                                let what = format_args!("{tensor_type:?} {:?} m {m} n {n} k {k}", context.isa());
                                // The tiles of `amx` add in an order of their own: its bits are those on ordinary memory.
                                let own = context.isa() == Level::Amx && y == plain_product(context, &w, &all, m);
                                assert!(own || y == decoded || y == panelled, "{what}");
                            }
                            products += contexts.len();
                        }
                    }
                }
            }
        }
    }
    println!("{products} products of {} types between unmapped pages, with the scalar level's bits", types.len());
    assert_eq!(products, types.len() * 4 * 9 * 2 * 8 * 3 * Level::available().len());
}

#[test]
fn it_does_not_matter_where_y_lies() {
    let mut random = Random(54);
    // As many rows as panels are laid out after y for; as many columns as one panel does not hold.
    for (m, n, k) in [(65, 2055, 512), (5, 35, 64 * 256 + 256)] {
        let tensor_type = TensorType::Q4_K;
        let data = random_blocks(&mut random, tensor_type, n, k);
        let w = Weights { tensor_type, n, k, data: &data };
        let x: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
        let terms = terms(tensor_type, &data, k);
        for (level, precision) in Level::available().iter().flat_map(|level| Precision::ALL.map(|p| (level, p))) {
            let mut first: Option<Vec<u32>> = None;
            for threads in [1, 3] {
                let options = ContextOptions { threads, precision, max_isa: Some(level.name()) };
                let mut context = Context::new(&options).unwrap();
                context.use_panels_from(1);
                for (offset, gap) in [(0, n.next_multiple_of(16) - n), (4, n.next_multiple_of(16) - n), (15, 1)] {
                    let y_stride = n + gap;
                    let mut buffer = vec![CANARY; 16 + m * y_stride];
                    let begin = (64 - buffer.as_ptr().addr() % 64) / 4 % 16;
                    let y = &mut buffer[(begin + offset) % 16..][..(m - 1) * y_stride + n];
                    context.matmul(&w, &x, 0, m, y, y_stride).unwrap();
                    let rows: Vec<u32> = y.chunks(y_stride).flat_map(|row| &row[..n]).map(|y| y.to_bits()).collect();
                    let what = format_args!("{level:?} {precision:?} {m} {n} {k} threads {threads} offset {offset}");
                    assert!(rows == *first.get_or_insert_with(|| rows.clone()), "{what}");
                    assert!(y.chunks(y_stride).all(|row| row[n..].iter().all(|y| *y == CANARY)), "{what}: a gap");
                }
            }
            let bits = first.unwrap();
            for i in (0..m * n).step_by(11) {
                let (w, x) = (&terms[i % n * k..][..k], &x[i / n * k..][..k]);
                let exact: f64 = w.iter().zip(x).map(|((w, _), x)| w * f64::from(*x)).sum();
                let error = (f64::from(f32::from_bits(bits[i])) - exact).abs();
                assert!(error <= bound(precision, w, x), "{level:?} {precision:?} {m} {n} {k}: {error:e}");
            }
        }
    }
}
