//! ggml, the real library: a prebuilt one is opened at run time and used through its public C functions. One file of
//! kernels per instruction set, so that it can be held to a level.

use crate::tiles::Tiles;
use crate::weights::Matrix;
use gguffuse::kernels::Level;
use libloading::Library as SharedObject;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{NonNull, null_mut};

/// Any of ggml's objects.
type Object = *mut c_void;

#[repr(C)]
struct InitParams {
    memory_size: usize,
    memory: *mut c_void,
    no_alloc: bool,
}

/// Declares a table of C functions and how it is filled.
macro_rules! functions {
    ($(#[$attribute:meta])* $name:ident { $($function:ident: fn($($argument:ty),*) $(-> $result:ty)?;)+ }) => {
        $(#[$attribute])*
        struct $name { $($function: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+ }

        impl $name {
            /// # Safety
            /// `object` is a ggml whose functions have these signatures.
            unsafe fn load(object: &SharedObject) -> Result<$name, libloading::Error> {
                // SAFETY: the caller's promise.
                unsafe { Ok($name { $($function: *object.get(stringify!($function))?,)+ }) }
            }
        }
    };
}

functions! {
    /// Of libggml-base.so.
    Base {
        ggml_version: fn() -> *const c_char;
        ggml_log_set: fn(Option<unsafe extern "C" fn(c_int, *const c_char, *mut c_void)>, *mut c_void);
        ggml_init: fn(InitParams) -> Object;
        ggml_free: fn(Object);
        ggml_new_tensor_2d: fn(Object, c_int, i64, i64) -> Object;
        ggml_mul_mat: fn(Object, Object, Object) -> Object;
        ggml_new_graph: fn(Object) -> Object;
        ggml_build_forward_expand: fn(Object, Object);
        ggml_quantize_chunk: fn(c_int, *const f32, *mut c_void, i64, i64, i64, *const f32) -> usize;
        ggml_threadpool_params_init: fn(*mut ThreadPoolParams, c_int);
        ggml_backend_graph_compute: fn(Object, Object) -> c_int;
        ggml_backend_supports_op: fn(Object, Object) -> bool;
        ggml_backend_alloc_ctx_tensors: fn(Object, Object) -> Object;
        ggml_backend_tensor_alloc: fn(Object, Object, *mut c_void) -> c_int;
        ggml_backend_tensor_set: fn(Object, *const c_void, usize, usize);
        ggml_backend_tensor_get: fn(Object, *mut c_void, usize, usize);
        ggml_backend_buffer_get_base: fn(Object) -> *mut c_void;
        ggml_backend_buffer_free: fn(Object);
        ggml_backend_cpu_buffer_from_ptr: fn(*mut c_void, usize) -> Object;
        ggml_backend_buft_name: fn(Object) -> *const c_char;
        ggml_backend_buft_get_alloc_size: fn(Object, Object) -> usize;
        ggml_backend_buft_alloc_buffer: fn(Object, usize) -> Object;
        ggml_backend_reg_dev_get: fn(Object, usize) -> Object;
        ggml_backend_reg_get_proc_address: fn(Object, *const c_char) -> *mut c_void;
    }
}

functions! {
    /// Of libggml-cpu-LEVEL.so.
    Cpu {
        ggml_backend_score: fn() -> c_int;
        ggml_backend_init: fn() -> Object;
        ggml_backend_cpu_init: fn() -> Object;
        ggml_backend_cpu_set_n_threads: fn(Object, c_int);
        ggml_backend_cpu_set_threadpool: fn(Object, Object);
        ggml_threadpool_new: fn(*mut ThreadPoolParams) -> Object;
        ggml_threadpool_pause: fn(Object);
    }
}

/// Room for a `ggml_threadpool_params` (536 bytes in ggml 0.25), which ggml itself fills.
#[repr(C, align(16))]
struct ThreadPoolParams([u8; 2048]);

unsafe extern "C" fn silent(_: c_int, _: *const c_char, _: *mut c_void) {}

/// ggml without kernels.
pub struct Library {
    base: Base,
}

/// The files of kernels that a level can use, best first where the machine has several: ggml's score decides.
const KERNELS: &[(Level, &[&str])] = &[
    (Level::Avx2, &["haswell"]),
    (Level::AvxVnni, &["alderlake"]),
    (Level::Avx512Vnni, &["zen4", "cooperlake", "icelake", "cascadelake"]),
    (Level::Amx, &["sapphirerapids"]),
];

impl Library {
    /// Opens libggml-base.so in `folder`; it stays open to the end of the process.
    pub fn open(folder: &Path) -> Result<&'static Library, libloading::Error> {
        let object = open(&folder.join("libggml-base.so"))?;
        // SAFETY: fetch.sh fetches the version whose public header these signatures were written to.
        let base = unsafe { Base::load(object)? };
        // SAFETY: ggml's own function with a callback that lives for ever.
        unsafe { (base.ggml_log_set)(Some(silent), null_mut()) };
        Ok(Box::leak(Box::new(Library { base })))
    }

    pub fn version(&self) -> String {
        // SAFETY: a static C string.
        unsafe { text((self.base.ggml_version)()) }
    }

    /// ggml's own quantiser, for types that gguffuse has none for.
    pub fn quantize(&self, id: u32, values: &[f32], rows: usize, k: usize, out: &mut [u8]) {
        assert!(values.len() == rows * k);
        // Some types insist on weights of the columns.
        let weights = vec![1.0f32; k];
        // SAFETY: `values` has `rows` rows of `k`, `weights` has `k`, and the caller made `out` of as many rows of blocks.
        let written = unsafe {
            let out = out.as_mut_ptr().cast();
            (self.base.ggml_quantize_chunk)(
                id as c_int,
                values.as_ptr(),
                out,
                0,
                rows as i64,
                k as i64,
                weights.as_ptr(),
            )
        };
        assert_eq!(written, out.len());
    }

    /// The kernels for every level that this machine has and ggml has a file for, with the process's own rights.
    pub fn kernels(&'static self, folder: &Path, threads: &[usize]) -> Result<Vec<Kernels>, libloading::Error> {
        let mut all = Vec::new();
        for (level, names) in KERNELS {
            let mut best: Option<(c_int, Cpu, &'static str)> = None;
            for name in *names {
                let path = folder.join(format!("libggml-cpu-{name}.so"));
                if !path.exists() {
                    continue;
                }
                // SAFETY: as in `open`.
                let cpu = unsafe { Cpu::load(open(&path)?)? };
                // SAFETY: the score looks at CPUID only; 0 means that the machine cannot run this file.
                let score = unsafe { (cpu.ggml_backend_score)() };
                if score > 0 && best.as_ref().is_none_or(|(other, ..)| score > *other) {
                    best = Some((score, cpu, name));
                }
            }
            if let Some((_, cpu, name)) = best {
                all.push(Kernels::new(self, cpu, *level, name, threads));
            }
        }
        Ok(all)
    }
}

fn open(path: &Path) -> Result<&'static SharedObject, libloading::Error> {
    // SAFETY: the file is a ggml library, whose initialisers only fill tables.
    let object = unsafe { SharedObject::new(path)? };
    Ok(Box::leak(Box::new(object)))
}

/// # Safety
/// `string` is NULL or a C string.
unsafe fn text(string: *const c_char) -> String {
    match string.is_null() {
        true => String::new(),
        // SAFETY: the caller's promise.
        false => unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned(),
    }
}

/// One file of kernels, ready to compute: a backend per number of threads, and the buffer types that it offers.
pub struct Kernels {
    base: &'static Base,
    cpu: &'static Cpu,
    pub level: Level,
    pub name: &'static str,
    /// Of the library.
    pub version: String,
    runners: Vec<Runner>,
    /// Beside plain memory: CPU_REPACK, AMX.
    extra_buffer_types: Vec<Object>,
    tiles: Tiles,
}

/// A backend with its threads.
struct Runner {
    threads: usize,
    backend: Object,
    /// NULL for one thread.
    pool: Object,
}

impl Kernels {
    fn new(library: &'static Library, cpu: Cpu, level: Level, name: &'static str, threads: &[usize]) -> Kernels {
        let (base, version) = (&library.base, library.version());
        let cpu: &'static Cpu = Box::leak(Box::new(cpu));
        let runners = threads.iter().map(|threads| Runner::new(base, cpu, *threads)).collect();
        let mut extra_buffer_types = Vec::new();
        // SAFETY: public functions, used as their header says; the list that the last one returns ends with NULL.
        unsafe {
            let registry = (cpu.ggml_backend_init)();
            let device = (base.ggml_backend_reg_dev_get)(registry, 0);
            let function = c"ggml_backend_dev_get_extra_bufts";
            let function = (base.ggml_backend_reg_get_proc_address)(registry, function.as_ptr());
            if !function.is_null() {
                let list: unsafe extern "C" fn(Object) -> *mut Object = std::mem::transmute(function);
                let mut entry = list(device);
                while !entry.is_null() && !(*entry).is_null() {
                    extra_buffer_types.push(*entry);
                    entry = entry.add(1);
                }
            }
        }
        Kernels { base, cpu, level, name, version, runners, extra_buffer_types, tiles: Tiles::new() }
    }

    /// The matrix in every kind of memory that these kernels have a product for. "plain" reads it where it lies.
    pub fn upload<'a>(&'a self, matrix: &'a Matrix) -> Vec<Uploaded<'a>> {
        let extra = self.extra_buffer_types.iter().map(|kind| Some(*kind));
        std::iter::once(None).chain(extra).filter_map(|kind| Uploaded::new(self, matrix, kind)).collect()
    }

    /// A ggml context for a few tensors, without data.
    fn context(&self) -> Object {
        let parameters = InitParams { memory_size: 256 << 10, memory: null_mut(), no_alloc: true };
        // SAFETY: as the header says.
        NonNull::new(unsafe { (self.base.ggml_init)(parameters) }).expect("ggml has memory").as_ptr()
    }

    fn runner(&self, threads: usize) -> &Runner {
        self.runners
            .iter()
            .find(|runner| runner.threads == threads)
            .expect("a number of threads asked for at the start")
    }

    /// Stops the threads from waiting actively, so that they do not disturb the next contestant.
    pub fn rest(&self, threads: usize) {
        let pool = self.runner(threads).pool;
        if !pool.is_null() {
            // SAFETY: a pool that lives for ever; it goes on by itself at the next product.
            unsafe { (self.cpu.ggml_threadpool_pause)(pool) };
        }
    }
}

impl Runner {
    fn new(base: &'static Base, cpu: &'static Cpu, threads: usize) -> Runner {
        // SAFETY: as the header says; the pool's parameters have room.
        unsafe {
            let backend = (cpu.ggml_backend_cpu_init)();
            (cpu.ggml_backend_cpu_set_n_threads)(backend, threads as c_int);
            let mut pool = null_mut();
            if threads > 1 {
                // Without a pool of its own, ggml starts and ends threads for every product.
                let mut parameters = ThreadPoolParams([0; 2048]);
                (base.ggml_threadpool_params_init)(&mut parameters, threads as c_int);
                pool = (cpu.ggml_threadpool_new)(&mut parameters);
                (cpu.ggml_backend_cpu_set_threadpool)(backend, pool);
                (cpu.ggml_threadpool_pause)(pool);
            }
            Runner { threads, backend, pool }
        }
    }
}

/// A weight matrix in memory of one kind.
pub struct Uploaded<'a> {
    kernels: &'a Kernels,
    matrix: &'a Matrix,
    /// "plain", or ggml's name of the buffer type.
    pub kind: String,
    context: Object,
    tensor: Object,
    buffer: Object,
}

impl<'a> Uploaded<'a> {
    /// `None` where there is no product with such weights.
    fn new(kernels: &'a Kernels, matrix: &'a Matrix, kind: Option<Object>) -> Option<Uploaded<'a>> {
        let base = kernels.base;
        let (context, data) = (kernels.context(), matrix.bytes.as_slice());
        // SAFETY: as the header says; plain weights are only read, for as long as `matrix` is borrowed.
        let uploaded = unsafe {
            let id = matrix.tensor_type.id() as c_int;
            let tensor = (base.ggml_new_tensor_2d)(context, id, matrix.k as i64, matrix.n as i64);
            let (name, buffer) = match kind {
                None => {
                    let buffer = (base.ggml_backend_cpu_buffer_from_ptr)(data.as_ptr().cast_mut().cast(), data.len());
                    ("plain".to_string(), buffer)
                }
                Some(kind) => {
                    let size = (base.ggml_backend_buft_get_alloc_size)(kind, tensor);
                    let buffer = (base.ggml_backend_buft_alloc_buffer)(kind, size);
                    (text((base.ggml_backend_buft_name)(kind)), buffer)
                }
            };
            if buffer.is_null() {
                (base.ggml_free)(context);
                return None;
            }
            let address = (base.ggml_backend_buffer_get_base)(buffer);
            let status = (base.ggml_backend_tensor_alloc)(buffer, tensor, address);
            assert_eq!(status, 0, "ggml places a tensor in a buffer of the size that it asked for");
            Uploaded { kernels, matrix, kind: name, context, tensor, buffer }
        };
        // Asked before the weights are copied: what has no product may have no copy either.
        let probe = Product::new(&uploaded, &vec![0.0; matrix.k], kernels.runners[0].threads);
        let supported = probe.is_supported();
        drop(probe);
        if supported && kind.is_some() {
            // SAFETY: the tensor has as many bytes as the matrix.
            unsafe { (base.ggml_backend_tensor_set)(uploaded.tensor, data.as_ptr().cast(), 0, data.len()) };
        }
        supported.then_some(uploaded)
    }
}

impl Drop for Uploaded<'_> {
    fn drop(&mut self) {
        // SAFETY: both are this object's own; products borrow it.
        unsafe {
            (self.kernels.base.ggml_backend_buffer_free)(self.buffer);
            (self.kernels.base.ggml_free)(self.context);
        }
    }
}

/// A graph of one MUL_MAT with its operands.
pub struct Product<'a> {
    kernels: &'a Kernels,
    runner: &'a Runner,
    context: Object,
    buffer: Object,
    graph: Object,
    y: Object,
    length: usize,
}

impl<'a> Product<'a> {
    /// With activations `x`, whole rows of k.
    pub fn new(uploaded: &'a Uploaded<'_>, x: &[f32], threads: usize) -> Product<'a> {
        let (kernels, matrix) = (uploaded.kernels, uploaded.matrix);
        let (base, runner) = (kernels.base, kernels.runner(threads));
        let context = kernels.context();
        let m = x.len() / matrix.k;
        // SAFETY: as the header says; `activations` has k * m elements.
        unsafe {
            let activations = (base.ggml_new_tensor_2d)(context, 0, matrix.k as i64, m as i64);
            let y = (base.ggml_mul_mat)(context, uploaded.tensor, activations);
            let graph = (base.ggml_new_graph)(context);
            (base.ggml_build_forward_expand)(graph, y);
            let buffer = (base.ggml_backend_alloc_ctx_tensors)(context, runner.backend);
            assert!(!buffer.is_null(), "memory for activations and product");
            (base.ggml_backend_tensor_set)(activations, x.as_ptr().cast(), 0, matrix.k * m * 4);
            Product { kernels, runner, context, buffer, graph, y, length: m * matrix.n }
        }
    }

    fn is_supported(&self) -> bool {
        // SAFETY: the backend and the node live.
        unsafe { (self.kernels.base.ggml_backend_supports_op)(self.runner.backend, self.y) }
    }

    pub fn compute(&self) {
        let compute = self.kernels.base.ggml_backend_graph_compute;
        // SAFETY: the graph and its tensors live; this process computes one graph at a time.
        let status = self.kernels.tiles.during(|| unsafe { compute(self.runner.backend, self.graph) });
        assert_eq!(status, 0);
    }

    pub fn rest(&self) {
        self.kernels.rest(self.runner.threads);
    }

    pub fn result(&self) -> Vec<f32> {
        let mut values = vec![0.0f32; self.length];
        // SAFETY: y has `length` elements.
        unsafe { (self.kernels.base.ggml_backend_tensor_get)(self.y, values.as_mut_ptr().cast(), 0, self.length * 4) };
        values
    }
}

impl Drop for Product<'_> {
    fn drop(&mut self) {
        // SAFETY: both are this object's own.
        unsafe {
            (self.kernels.base.ggml_backend_buffer_free)(self.buffer);
            (self.kernels.base.ggml_free)(self.context);
        }
    }
}
