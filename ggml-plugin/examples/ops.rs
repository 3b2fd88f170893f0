//! Matrix products through the public functions of any ggml, without and with the plugin, against the f64 product: every
//! weight type, decode and prompt shapes, broadcast, experts, activations that are overwritten. Several libraries are several
//! engines in one process.
//!
//! ops PLUGIN HIGHEST_TYPE LIBGGML...

use gguffuse::blocks::{TensorType, dequantize, quantize};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

#[repr(C)]
struct InitParams {
    bytes: usize,
    memory: *mut c_void,
    no_alloc: bool,
}

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)+) => {
        /// ggml's functions; pointers to its objects are only handed back to it.
        struct Ggml {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+
        }

        impl Ggml {
            fn open(path: &str) -> Ggml {
                let name = CString::new(path).unwrap();
                // SAFETY: a C string; ggml's functions of these names.
                unsafe {
                    let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
                    assert!(!library.is_null(), "{path}: {:?}", std::ffi::CStr::from_ptr(libc::dlerror()));
                    Ggml {
                        $($name: {
                            let address = libc::dlsym(library, concat!(stringify!($name), "\0").as_ptr().cast());
                            assert!(!address.is_null(), "no {}", stringify!($name));
                            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(address)
                        },)+
                    }
                }
            }
        }
    };
}

type Pointer = *mut c_void;
type Log = extern "C" fn(c_int, *const c_char, Pointer);

functions! {
    ggml_log_set: fn(Log, Pointer);
    ggml_backend_load_all_from_path: fn(*const c_char);
    ggml_backend_load: fn(*const c_char) -> Pointer;
    ggml_backend_dev_by_type: fn(c_int) -> Pointer;
    ggml_backend_dev_init: fn(Pointer, *const c_char) -> Pointer;
    ggml_backend_free: fn(Pointer);
    ggml_backend_dev_backend_reg: fn(Pointer) -> Pointer;
    ggml_backend_reg_get_proc_address: fn(Pointer, *const c_char) -> Pointer;
    ggml_backend_graph_compute: fn(Pointer, Pointer) -> c_int;
    ggml_init: fn(InitParams) -> Pointer;
    ggml_free: fn(Pointer);
    ggml_new_tensor_4d: fn(Pointer, u32, i64, i64, i64, i64) -> Pointer;
    ggml_get_data: fn(Pointer) -> Pointer;
    ggml_mul_mat: fn(Pointer, Pointer, Pointer) -> Pointer;
    ggml_mul_mat_id: fn(Pointer, Pointer, Pointer, Pointer) -> Pointer;
    ggml_cpy: fn(Pointer, Pointer, Pointer) -> Pointer;
    ggml_new_graph: fn(Pointer) -> Pointer;
    ggml_build_forward_expand: fn(Pointer, Pointer);
    ggml_version: fn() -> *const c_char;
}

#[path = "random/mod.rs"]
mod random;

use random::Random;

/// Nearly normal, and now and then far out, as activations are.
fn activation(random: &mut Random) -> f32 {
    let value = (0..4).map(|_| random.next()).sum::<f32>();
    if random.next() > 0.99 { value * 10.0 } else { value }
}

#[derive(Clone, Debug)]
struct Case {
    tensor_type: TensorType,
    k: usize,
    n: usize,
    /// Tokens; with experts each has two choices.
    m: usize,
    /// Matrices, or experts.
    matrices: usize,
    /// Activation matrices per weight matrix; with experts, activation rows per token.
    repeats: usize,
    experts: bool,
}

/// The operands of a case, and the f64 product.
struct Operands {
    w: Vec<u8>,
    x: Vec<f32>,
    ids: Vec<i32>,
    exact: Vec<f64>,
}

fn operands(case: &Case) -> Operands {
    let &Case { tensor_type, k, n, m, matrices, repeats, experts } = case;
    let mut random = Random(0x1234_5678_9abc_def1 ^ (k * 31 + n * 7 + m) as u64);
    let values: Vec<f32> = (0..matrices * n * k).map(|_| activation(&mut random) * 0.05).collect();
    let mut w = vec![0; matrices * n * tensor_type.row_size(k as u64).unwrap() as usize];
    quantize(tensor_type, &values, matrices * n, k, None, &mut w).unwrap();
    let mut weights = vec![0f32; values.len()];
    dequantize(tensor_type, &w, &mut weights).unwrap();
    let x: Vec<f32> = (0..matrices.max(m) * repeats * m * k).map(|_| activation(&mut random)).collect();
    let dot = |matrix: usize, row: usize, x: &[f32]| -> f64 {
        let w = &weights[(matrix * n + row) * k..][..k];
        w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()
    };
    let mut ids = Vec::new();
    let mut exact = Vec::new();
    if experts {
        for token in 0..m {
            for choice in 0..2 {
                let expert = (token * 5 + choice * (1 + token % (matrices - 1))) % matrices;
                ids.push(expert as i32);
                let x = &x[(token * repeats + choice % repeats) * k..][..k];
                exact.extend((0..n).map(|row| dot(expert, row, x)));
            }
        }
    } else {
        for matrix in 0..matrices * repeats {
            for token in 0..m {
                let x = &x[(matrix * m + token) * k..][..k];
                exact.extend((0..n).map(|row| dot(matrix / repeats, row, x)));
            }
        }
    }
    Operands { w, x, ids, exact }
}

/// The product of a case on a backend: twice in one graph, with the activations overwritten in between by their negatives, then
/// once more with the same activations.
fn compute(ggml: &Ggml, backend: Pointer, case: &Case, operands: &Operands) -> Vec<f32> {
    let &Case { tensor_type, k, n, m, matrices, repeats, experts } = case;
    let [k_, n_, m_] = [k, n, m].map(|count| count as i64);
    // SAFETY: ggml's functions, on tensors of a context with room for them and their data.
    unsafe {
        let bytes = (16 << 20) + operands.w.len() + operands.x.len() * 16 + operands.exact.len() * 32;
        let context = (ggml.ggml_init)(InitParams { bytes, memory: null_mut(), no_alloc: false });
        let (x_ne, f32) = match experts {
            true => ([k_, repeats as i64, m_, 1], 0),
            false => ([k_, m_, (matrices * repeats) as i64, 1], 0),
        };
        let tensor = |tensor_type: u32, ne: [i64; 4]| {
            (ggml.ggml_new_tensor_4d)(context, tensor_type, ne[0], ne[1], ne[2], ne[3])
        };
        let fill = |tensor: Pointer, data: *const u8, bytes: usize| {
            (ggml.ggml_get_data)(tensor).cast::<u8>().copy_from_nonoverlapping(data, bytes);
        };
        let w = tensor(tensor_type.id(), [k_, n_, matrices as i64, 1]);
        fill(w, operands.w.as_ptr(), operands.w.len());
        let count = (x_ne[0] * x_ne[1] * x_ne[2]) as usize;
        let (x, negative) = (tensor(f32, x_ne), tensor(f32, x_ne));
        fill(x, operands.x.as_ptr().cast(), count * 4);
        let negatives: Vec<f32> = operands.x.iter().map(|x| -x).collect();
        fill(negative, negatives.as_ptr().cast(), count * 4);
        let product = || match experts {
            false => (ggml.ggml_mul_mat)(context, w, x),
            true => {
                let ids = tensor(26, [2, m_, 1, 1]);
                fill(ids, operands.ids.as_ptr().cast(), operands.ids.len() * 4);
                (ggml.ggml_mul_mat_id)(context, w, x, ids)
            }
        };
        let graph = (ggml.ggml_new_graph)(context);
        let first = product();
        (ggml.ggml_build_forward_expand)(graph, first);
        (ggml.ggml_build_forward_expand)(graph, (ggml.ggml_cpy)(context, negative, x));
        let [second, third] = [product(), product()];
        (ggml.ggml_build_forward_expand)(graph, second);
        (ggml.ggml_build_forward_expand)(graph, third);
        assert_eq!((ggml.ggml_backend_graph_compute)(backend, graph), 0);
        let results = [first, second, third].map(|tensor| {
            let data = (ggml.ggml_get_data)(tensor).cast::<f32>();
            std::slice::from_raw_parts(data, operands.exact.len()).to_vec()
        });
        let [first, second, third] = results;
        assert!(second == third, "{case:?}: one product, two results");
        // Negatives round a little otherwise; old activations would differ by twice the value.
        let negatives: Vec<f64> = second.iter().map(|value| -f64::from(*value)).collect();
        assert!(error(&first, &negatives) < 1e-6, "{case:?}: old activations");
        (ggml.ggml_free)(context);
        first
    }
}

/// Squared error by squared value.
fn error(values: &[f32], exact: &[f64]) -> f64 {
    let square = |value: f64| value * value;
    let error: f64 = values.iter().zip(exact).map(|(value, exact)| square(f64::from(*value) - exact)).sum();
    error / exact.iter().copied().map(square).sum::<f64>()
}

fn cases(highest: u32) -> Vec<Case> {
    let types = TensorType::ALL.iter().copied();
    let types = types
        .filter(|tensor_type| tensor_type.can_matmul() && tensor_type.can_quantize() && tensor_type.id() <= highest);
    let mut cases = Vec::new();
    for tensor_type in types {
        let case = |n, m, matrices, repeats, experts| Case { tensor_type, k: 768, n, m, matrices, repeats, experts };
        cases.extend([
            case(96, 1, 1, 1, false),
            case(33, 3, 1, 1, false),
            case(200, 70, 1, 1, false),
            case(64, 5, 3, 2, false),
            case(96, 1, 4, 1, true),
            case(65, 40, 4, 1, true),
            case(65, 40, 4, 2, true),
        ]);
    }
    cases
}

fn counts(plugin: &CString) -> [u64; 3] {
    let mut counts = [0; 3];
    // SAFETY: C strings; the plugin's function of that name, and room for three numbers.
    unsafe {
        let library = libc::dlopen(plugin.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_NOW);
        if !library.is_null() {
            let function = libc::dlsym(library, c"gguffuse_plugin_counts".as_ptr());
            std::mem::transmute::<Pointer, unsafe extern "C" fn(*mut u64)>(function)(counts.as_mut_ptr());
            libc::dlclose(library);
        }
    }
    counts
}

extern "C" fn log(_: c_int, text: *const c_char, _: Pointer) {
    // SAFETY: a C string of ggml's.
    let text = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy();
    if text.starts_with("gguffuse") || text.contains("fail") {
        print!("{text}");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, plugin, highest, libraries @ ..] = &arguments[..] else { panic!("ops PLUGIN HIGHEST_TYPE LIBGGML...") };
    let plugin = CString::new(plugin.as_str()).unwrap();
    let cases = cases(highest.parse().expect("a type's number"));
    for path in libraries {
        let ggml = Ggml::open(path);
        // SAFETY: ggml's functions.
        let backend = |with: bool| unsafe {
            (ggml.ggml_log_set)(log, null_mut());
            if (ggml.ggml_backend_dev_by_type)(0).is_null() {
                let folder = CString::new(Path::new(path).parent().unwrap().to_str().unwrap()).unwrap();
                (ggml.ggml_backend_load_all_from_path)(folder.as_ptr());
            }
            if with {
                // Loaded many times, as an engine that is started again does.
                for _ in 0..100 {
                    (ggml.ggml_backend_load)(plugin.as_ptr());
                }
            }
            let device = (ggml.ggml_backend_dev_by_type)(0);
            let backend = (ggml.ggml_backend_dev_init)(device, null());
            let registration = (ggml.ggml_backend_dev_backend_reg)(device);
            let name = c"ggml_backend_set_n_threads".as_ptr();
            let set_threads = (ggml.ggml_backend_reg_get_proc_address)(registration, name);
            std::mem::transmute::<Pointer, unsafe extern "C" fn(Pointer, c_int)>(set_threads)(backend, 2);
            backend
        };
        let operands: Vec<Operands> = cases.iter().map(operands).collect();
        let all = |backend| -> Vec<Vec<f32>> {
            cases.iter().zip(&operands).map(|(case, operands)| compute(&ggml, backend, case, operands)).collect()
        };
        let (stock, ours) = (backend(false), backend(true));
        let expected = all(stock);
        let before = counts(&plugin);
        let results = all(ours);
        let after = counts(&plugin);
        // SAFETY: a C string; backends that were made above.
        let version = unsafe {
            (ggml.ggml_backend_free)(stock);
            (ggml.ggml_backend_free)(ours);
            std::ffi::CStr::from_ptr((ggml.ggml_version)()).to_string_lossy().into_owned()
        };
        let products = after[1] - before[1];
        let mut last = None;
        let mut worst: f64 = 0.0;
        for (index, case) in cases.iter().enumerate() {
            let of = |values: &[Vec<f32>]| error(&values[index], &operands[index].exact);
            let (stock, ours) = (of(&expected), of(&results));
            if last != Some(case.tensor_type) {
                print!("\n{:8} squared error, engine > plugin:", case.tensor_type.name());
                last = Some(case.tensor_type);
            }
            print!(" {stock:.1e} > {ours:.1e}");
            if stock > 1e-11 {
                worst = worst.max(ours / stock);
            }
        }
        println!(
            "\nggml {version}: products={products} of={} shared={} worst={worst:.3}",
            3 * cases.iter().filter(|case| case.tensor_type.block_elements() > 1).count(),
            after[2] - before[2]
        );
    }
}
