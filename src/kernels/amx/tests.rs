//! The digit panel against the same algorithm in plain Rust, bit for bit. Where the CPU has no AMX, this and all other tests
//! of the library's own run its instructions on the emulator of tests/amx.

#[path = "../../../tests/amx/emulator.rs"]
mod emulator;

use super::super::Level;
use super::super::digit_panel::{self, Digits, Ints, Tiles};
use super::super::digit_sweep;
use super::super::panel::STRIPS;
use super::super::panel_job::{PackJob, SweepJob, TileJob};
use super::super::scalar::Token;
use super::super::tests::{
    Guarded, Random, activation_rows, affine_types, lengths, pack, panel_of, random_blocks, sums_of,
};
use super::{PanelKernels, Tiling, with_block};
use crate::blocks::{Affine, Block, FloatWeight, TensorType, Visitor};
use crate::simd::{COLUMNS, LANES};

emulator::emulate_before_main!(super::pretend);

impl Digits for Token {
    type Factors = [(i32, u8); LANES];

    fn factors(self, rows: &[[i8; LANES]; LANES], offset: u8) -> [Self::Factors; 16] {
        std::array::from_fn(|g| std::array::from_fn(|r| (i32::from(rows[r][g]), offset)))
    }

    fn split(self, codes: &[u8; COLUMNS], factors: Self::Factors, low: &mut [u8; COLUMNS], high: &mut [u8; COLUMNS]) {
        for i in 0..COLUMNS {
            let (scale, offset) = factors[i / 4];
            let weight = scale * (i32::from(codes[i]) - i32::from(offset));
            let digit = weight as i8;
            low[i] = digit as u8;
            let rest = weight - i32::from(digit);
            assert!(rest % 256 == 0 && i8::try_from(rest / 256).is_ok(), "{weight} has more than two digits");
            high[i] = (rest / 256) as u8;
        }
    }

    fn load_ints(self, ints: &[i32; LANES]) -> [i32; LANES] {
        *ints
    }

    fn add_ints(self, a: [i32; LANES], b: [i32; LANES]) -> [i32; LANES] {
        std::array::from_fn(|i| a[i] + b[i])
    }
}

/// A matrix unit in plain Rust: what `first` has kept, and the sums.
struct Plain {
    w: [*const u8; 2],
    sums: Ints,
}

impl Plain {
    const NEW: Plain = Plain { w: [std::ptr::null(); 2], sums: Ints::ZERO };

    /// # Safety
    /// `x` and `w` point to tiles.
    unsafe fn add(&mut self, tile: usize, x: *const u8, w: *const u8) {
        // SAFETY: the caller's promise.
        let (x, w) =
            unsafe { (x.cast::<[[i8; COLUMNS]; LANES]>().read(), w.cast::<[[[i8; 4]; LANES]; LANES]>().read()) };
        for (sums, x) in self.sums.0[tile].iter_mut().zip(&x) {
            for (x, w) in x.as_chunks::<4>().0.iter().zip(&w) {
                for (sum, w) in sums.iter_mut().zip(w) {
                    *sum += (0..4).map(|i| i32::from(x[i]) * i32::from(w[i])).sum::<i32>();
                }
            }
        }
    }

    /// # Safety
    /// `out` points to sums.
    unsafe fn move_to(&mut self, tile: usize, out: *mut Ints) {
        // SAFETY: the caller's promise.
        unsafe { (&raw mut (*out).0[tile]).write(self.sums.0[tile]) };
        self.sums.0[tile] = Ints::ZERO.0[tile];
    }
}

impl Tiles for Plain {
    unsafe fn first<const STORE: bool>(&mut self, x: *const u8, w: [*const u8; 2], out: *mut Ints) {
        self.w = w;
        for tile in [0, 1] {
            // SAFETY: the caller's promise.
            unsafe {
                if STORE {
                    self.move_to(tile, out);
                }
                self.add(tile, x, w[tile]);
            }
        }
    }

    unsafe fn second<const PLANES: usize, const STORE: bool>(&mut self, x: [*const u8; 2], out: *mut Ints) {
        let [high, low] = self.w;
        // SAFETY: the caller's promise.
        unsafe {
            if STORE {
                self.move_to(2, out);
                self.move_to(3, out);
            }
            if PLANES == 3 {
                // Tile i has weight i.
                self.add(1, x[0], high);
                self.add(2, x[0], low);
                self.add(2, x[1], high);
                self.add(3, x[1], low);
            } else {
                self.add(2, x[0], high);
                self.add(3, x[0], low);
            }
        }
    }

    unsafe fn store(&mut self, out: *mut Ints) {
        // SAFETY: the caller's promise.
        unsafe { out.write(self.sums) };
    }
}

unsafe fn plain_pack<A: Affine>(job: PackJob) {
    // SAFETY: the caller's promise.
    unsafe { digit_panel::pack::<Token, A>(Token::new(), job) }
}

unsafe fn plain_sweep<const MIN_GROUPS: usize, const P: usize>(job: SweepJob) {
    let mut tiles = Plain::NEW;
    // SAFETY: the caller's promise.
    unsafe { digit_sweep::sweep::<Token, Plain, MIN_GROUPS, P>(Token::new(), &mut tiles, job) }
}

unsafe fn plain_tile<const MIN_GROUPS: usize, const P: usize>(job: TileJob) {
    // SAFETY: the caller's promise.
    unsafe { digit_panel::tile::<MIN_GROUPS, P>(job) }
}

/// The digit panel in plain Rust.
fn plain(tensor_type: TensorType) -> PanelKernels {
    struct Plain;
    impl Visitor for Plain {
        type Output = PanelKernels;
        fn block<B: Block>(self) -> PanelKernels {
            unreachable!()
        }
        fn float<B: FloatWeight>(self) -> PanelKernels {
            unreachable!()
        }
        fn affine<A: Affine>(self) -> PanelKernels {
            let min_groups = digit_panel::min_groups::<A>();
            let sweep: [unsafe fn(SweepJob); 3] = by_planes!(plain_sweep, min_groups);
            let tile: [unsafe fn(TileJob); 3] = by_planes!(plain_tile, min_groups);
            let record_bytes = digit_panel::record_bytes(min_groups);
            PanelKernels {
                pack: plain_pack::<A>,
                sweep,
                record_bytes,
                from: [1; 3],
                most_strips: STRIPS,
                most_chunks: digit_panel::PANEL_CHUNKS,
                most_bytes: digit_panel::PANEL_BYTES,
                tiling: Some(Tiling { tile, bytes: digit_panel::tiling_bytes::<A>, most_bytes: 0, limit_bytes: 0 }),
            }
        }
    }
    with_block(tensor_type, Plain)
}

#[test]
fn digit_panels_and_their_sweeps_are_those_of_plain_rust() {
    if !Level::available().contains(&Level::Amx) {
        println!("no AVX-512 VNNI, which the level builds on: nothing to test");
        return;
    }
    assert!(super::request_permission());
    let mut random = Random(71);
    let mut compared = 0;
    for tensor_type in affine_types() {
        let Some(kernels) = super::digit_panel(tensor_type) else { continue };
        let plain = plain(tensor_type);
        assert_eq!(kernels.record_bytes, plain.record_bytes);
        for k in lengths(tensor_type).into_iter().take(2) {
            let all_rows = activation_rows(&mut random, 64, k);
            for n in [1, 15, 17, 32] {
                let w = random_blocks(&mut random, tensor_type, n, k);
                for flush_end in [false, true] {
                    let w = Guarded::of(&w, flush_end);
                    let expected = panel_of(&plain, &w, STRIPS, n, k, flush_end);
                    let packed = panel_of(&kernels, &w, STRIPS, n, k, flush_end);
                    assert!(packed.bytes() == expected.bytes(), "panel of {tensor_type:?}, n {n}, k {k}");
                }
            }
            // Sweeps do not see n. One tile of rows and several, whole and not, and more than one pair of strips.
            for strips in [STRIPS, 3 * STRIPS] {
                let n = strips * LANES;
                let w = Guarded::of(&random_blocks(&mut random, tensor_type, n, k), true);
                for m in [1, 2, 7, 15, 16, 17, 31, 33, 48, 64] {
                    let flush_end = m % 2 == 1;
                    let packed = panel_of(&kernels, &w, strips, n, k, flush_end);
                    for planes in 1..=3 {
                        let (x, _) = pack(Level::Scalar, planes, &all_rows[..m * k], m, k, flush_end);
                        let expected = sums_of(&plain, planes, &packed, strips, &x, m, k, flush_end);
                        let sums = sums_of(&kernels, planes, &packed, strips, &x, m, k, flush_end);
                        assert!(
                            expected == sums,
                            "sweep of {tensor_type:?} planes {planes} m {m} k {k} strips {strips}"
                        );
                        assert!(!emulator::has_tiles(), "the tiles were not released");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 0);
    println!("{compared} compared");
}

/// Weights at both ends of what a scale and a code can make: the digits hold them (the oracle's `split` asserts that).
#[test]
fn every_scale_and_code_has_two_digits() {
    let s = Token::new();
    let mut low = [0; COLUMNS];
    let mut high = [0; COLUMNS];
    for scale in [i8::MIN, -1, 0, 1, i8::MAX] {
        let factors = s.factors(&[[scale; LANES]; LANES], 0)[0];
        for codes in (0..=255u8).collect::<Vec<_>>().as_chunks::<COLUMNS>().0 {
            s.split(codes, factors, &mut low, &mut high);
            for i in 0..COLUMNS {
                let weight = 256 * i32::from(high[i] as i8) + i32::from(low[i] as i8);
                assert_eq!(weight, i32::from(scale) * i32::from(codes[i]));
            }
        }
    }
}
