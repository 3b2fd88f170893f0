//! The level `amx`: when it asks for the permission, what a refusal does, and on a machine without AMX all tests of the product
//! once more, with the level among the others: its instructions are executed by an emulator, and the permission is given here.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod emulator;
#[path = "../matmul/main.rs"]
mod matmul;

use emulator::{ANSWER, PRODUCTS, REQUESTS};
use gguffuse::blocks::TensorType;
use gguffuse::kernels::Level;
use gguffuse::matmul::{Context, ContextOptions, Precision, Weights};
use matmul::{Random, bits, normal_weights, product};

emulator::emulate_before_main!(gguffuse::kernels::pretend_amx);

/// The level builds on AVX-512 VNNI: without, there is nothing to test.
fn has_amx() -> bool {
    let has = Level::available().contains(&Level::Amx);
    if !has {
        println!("no AVX-512 VNNI: nothing to test");
    }
    has
}

fn context(max_isa: Option<&str>, threads: u32) -> Context {
    Context::new(&ContextOptions { threads, precision: Precision::Exact, max_isa }).unwrap()
}

#[test]
fn contexts_ask_for_the_permission_and_nobody_else() {
    if !has_amx() {
        return;
    }
    let mut granted = Level::Amx;
    if !emulator::is_needed() {
        // A permission that the kernel does not know of would be no use.
        emulator::answer_requests();
        ANSWER.set(-i64::from(libc::EPERM));
        granted = Level::Avx512Vnni;
    }
    let asked = || REQUESTS.get();
    // Not when the library is loaded, nor by looking at the levels.
    assert_eq!(Level::available().last(), Some(&Level::Amx));
    assert_eq!(asked(), 0);
    for below in Level::available().iter().filter(|level| **level < Level::Amx) {
        assert_eq!(context(Some(below.name()), 1).isa(), *below);
    }
    assert_eq!(asked(), 0, "a cap below the level does not avoid the request");
    if std::env::var_os("GGUFFUSE_MAX_ISA").is_none() {
        assert_eq!(context(None, 1).isa(), granted);
        assert_eq!(asked(), 1);
        assert_eq!(context(Some("amx"), 1).isa(), granted);
        assert_eq!(asked(), 2);
    }
}

#[test]
fn a_refusal_means_the_level_below() {
    if !has_amx() || std::env::var_os("GGUFFUSE_MAX_ISA").is_some() {
        return;
    }
    let (n, k, m) = (40, 512, 33);
    let mut random = Random(81);
    let (data, _) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    let x = random.normals(m * k);
    let expected = product(&context(Some("avx512vnni"), 1), &w, &x, m);
    if !emulator::is_needed() {
        emulator::answer_requests();
    }
    // ENOSPC is the answer where a thread has an alternate signal stack that is too small for the tiles.
    let errors = [libc::ENOSPC, libc::EPERM, libc::EINVAL, libc::EOPNOTSUPP, libc::ENOSYS];
    for error in errors {
        ANSWER.set(-i64::from(error));
        let refused = context(None, 1);
        ANSWER.set(0);
        assert_eq!(refused.isa(), Level::Avx512Vnni);
        assert_eq!(bits(&product(&refused, &w, &x, m)), bits(&expected));
    }
    // What was refused once may be granted later.
    assert!(!emulator::is_needed() || context(None, 1).isa() == Level::Amx);
    println!("amx: {} refusals by seccomp, each the level below and its bits", errors.len());
}

#[test]
fn tiles_are_used_and_given_back() {
    if !emulator::is_needed() || !has_amx() || std::env::var_os("GGUFFUSE_MAX_ISA").is_some() {
        return;
    }
    let (n, k, m) = (100, 768, 70);
    let mut random = Random(82);
    let x = random.normals(m * k);
    for tensor_type in [TensorType::Q4_K, TensorType::Q6_K, TensorType::Q2_K, TensorType::Q8_0] {
        let (data, _) = normal_weights(&mut random, tensor_type, n, k);
        let w = Weights { tensor_type, n, k, data: &data };
        let (alone, together) = (context(None, 1), context(None, 3));
        let products = PRODUCTS.get();
        let expected = product(&alone, &w, &x, m);
        assert!(!emulator::has_tiles());
        // Eight strips of 16 weight rows; five tiles of activation rows; three chunks; for each 64 columns, three planes with two
        // kinds of digits.
        let of_digits = 8 * 5 * 3 * 4 * 3 * 2;
        let used = if tensor_type == TensorType::Q8_0 { 0 } else { of_digits };
        assert_eq!(PRODUCTS.get() - products, used, "products of tiles for {tensor_type:?}");
        assert_eq!(bits(&product(&together, &w, &x, m)), bits(&expected));
        assert!(!emulator::has_tiles());
    }
}

/// ggml configures the tiles of a thread once and for all: its next product would be an illegal instruction if they were given
/// back by a product of ours.
#[test]
fn the_tiles_of_the_host_are_there_again() {
    if !has_amx() || std::env::var_os("GGUFFUSE_MAX_ISA").is_some() {
        return;
    }
    let context = context(Some("amx"), 1);
    assert_eq!(context.isa(), Level::Amx);
    let (n, k, m) = (40, 512, 33);
    let mut random = Random(83);
    let (data, _) = normal_weights(&mut random, TensorType::Q4_K, n, k);
    let w = Weights { tensor_type: TensorType::Q4_K, n, k, data: &data };
    let x = random.normals(m * k);
    let expected = product(&context, &w, &x, m);
    assert_eq!(configured().0, [0; 64], "tiles that nobody had before");
    let host = Configuration::of([(3, 20), (3, 32), (8, 20)]);
    // SAFETY: the level is available and its permission given; 64 bytes are read.
    unsafe { std::arch::asm!("ldtilecfg [{}]", in(reg) host.0.as_ptr()) };
    assert_eq!(bits(&product(&context, &w, &x, m)), bits(&expected));
    assert_eq!(configured().0, host.0);
    // SAFETY: as above.
    unsafe { std::arch::asm!("tilerelease") };
}

/// What this thread has configured.
fn configured() -> Configuration {
    let mut configuration = Configuration([7; 64]);
    // SAFETY: the level is available; 64 bytes are written.
    unsafe { std::arch::asm!("sttilecfg [{}]", in(reg) configuration.0.as_mut_ptr()) };
    configuration
}

/// Runs `what` in a child and gives its wait status.
fn in_child(what: fn()) -> libc::c_int {
    // SAFETY: fork(2); the child runs `what`, which neither locks nor allocates, and leaves.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            what();
            libc::_exit(0);
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        status
    }
}

/// A configuration of tiles 0 (sums), 1 and 2 (factors), each with its lines of `bytes`.
#[repr(align(64))]
struct Configuration([u8; 64]);

impl Configuration {
    const fn of(shapes: [(u8, u8); 3]) -> Configuration {
        let mut configuration = [0; 64];
        configuration[0] = 1;
        let mut tile = 0;
        while tile < 3 {
            configuration[16 + 2 * tile] = shapes[tile].1;
            configuration[48 + tile] = shapes[tile].0;
            tile += 1;
        }
        Configuration(configuration)
    }
}

/// Loads the configuration, multiplies a tile of ones with itself and stores the sums.
fn multiply(configuration: &Configuration, out: &mut [i32; 256], ones: &[u8; 1024]) {
    // SAFETY: the emulator executes the instructions; it reads and writes at most 16 lines of 64 bytes.
    unsafe {
        std::arch::asm!(
            "ldtilecfg [{configuration}]",
            "tilezero tmm0",
            "tileloadd tmm1, [{ones} + {line}*1]",
            "tileloadd tmm2, [{ones} + {line}*2 - 0]",
            "tdpbsud tmm0, tmm1, tmm2",
            "tilestored [{out} + {line}*1], tmm0",
            "tilerelease",
            configuration = in(reg) configuration.0.as_ptr(), ones = in(reg) ones, out = in(reg) out, line = in(reg) 32usize,
        );
    }
}

#[test]
fn the_emulator_checks_shapes() {
    if !emulator::is_needed() {
        return;
    }
    static ONES: [u8; 1024] = [0xff; 1024];
    // 3 x 32 bytes times 8 x 20 bytes: sums of 3 x 5, each of 32 products of -1 (signed) and 255 (unsigned).
    static RIGHT: Configuration = Configuration::of([(3, 20), (3, 32), (8, 20)]);
    let mut sums = [7; 256];
    multiply(&RIGHT, &mut sums, &ONES);
    for (i, sum) in sums.iter().enumerate() {
        let inside = i / 8 < 3 && i % 8 < 5;
        assert_eq!(*sum, if inside { -32 * 255 } else { 7 }, "sum {i}");
    }
    fn wrong<const WHICH: usize>() {
        // Lines of sums, of the first factor, bytes of the second one; a tile that is too large; one that has no lines.
        const SHAPES: [[(u8, u8); 3]; 5] = [
            [(4, 20), (3, 32), (8, 20)],
            [(3, 20), (3, 36), (8, 20)],
            [(3, 20), (3, 32), (8, 24)],
            [(17, 20), (17, 32), (8, 20)],
            [(3, 20), (3, 32), (0, 0)],
        ];
        multiply(&Configuration::of(SHAPES[WHICH]), &mut [0; 256], &ONES);
    }
    for what in [wrong::<0>, wrong::<1>, wrong::<2>, wrong::<3>, wrong::<4>] {
        let status = in_child(what);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT, "{status:#x}");
    }
    fn other() {
        // SAFETY: ends the process.
        unsafe { std::arch::asm!("ud2") };
    }
    let status = in_child(other);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGILL, "{status:#x}");
}
