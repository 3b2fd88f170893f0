//! Runs a model in the libllama that lies in a folder, whoever built it, and prints what the scripts compare: speed, memory,
//! tokens, and how often the plugin was called. Loads everything at run time; knows the few offsets it sets.
//!
//! drive LIBRARIES MODEL [--prompt M] [--tokens T] [--threads N] [--rounds R] [--no-repack] [--logits FILE]
//!       [--reference FILE] [--text TEXT] [--abort NODE]
//!
//! --logits writes the logits of every step of the first round, --reference says how far they are from such a file's.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::io::{Read, Write};
use std::time::Instant;

/// `struct llama_model_params` and `struct llama_context_params` differ from version to version: bytes, more than either has.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Params([u8; 512]);

impl Params {
    /// What a function returns whose result is such a struct, with zeros after it: what happens to lie there must not be taken
    /// for a switch that is on. The caller of such a function on x86-64 hands over a pointer to the room for it.
    ///
    /// # Safety
    /// A function without arguments whose result is a struct of 17 to 512 bytes.
    unsafe fn of(function: unsafe extern "C" fn(*mut Params) -> *mut Params) -> Params {
        let mut params = Params([0; 512]);
        // SAFETY: the caller's promise.
        unsafe { function(&mut params) };
        params
    }
}

/// `struct llama_batch`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Batch {
    n_tokens: i32,
    pointers: [*mut c_void; 6],
}

struct Library(*mut c_void);

impl Library {
    fn open(path: &str) -> Library {
        let name = CString::new(path).unwrap();
        // SAFETY: a C string.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        if library.is_null() {
            // SAFETY: dlopen has failed, so there is a C string.
            let why = unsafe { std::ffi::CStr::from_ptr(libc::dlerror()) };
            panic!("{path}: {why:?}");
        }
        Library(library)
    }

    fn find(&self, name: &str) -> *mut c_void {
        let name = CString::new(name).unwrap();
        // SAFETY: an open library and a C string.
        unsafe { libc::dlsym(self.0, name.as_ptr()) }
    }
}

/// llama.h's function of that name, inside of `unsafe`.
macro_rules! function {
    ($library:expr, $name:ident: fn($($argument:ty),*) $(-> $result:ty)?) => {{
        let address = $library.find(stringify!($name));
        assert!(!address.is_null(), "no {}", stringify!($name));
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(address)
    }};
}

/// The library in `folder` whose name begins with `prefix`.
fn library(folder: &str, prefix: &str) -> Library {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names.filter(|name| name.starts_with(prefix)).min_by_key(String::len);
    Library::open(&format!("{folder}/{}", name.unwrap_or_else(|| panic!("no {prefix} in {folder}"))))
}

/// Resident memory, and the largest so far, in MiB.
fn memory() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    (of("VmRSS"), of("VmHWM"))
}

/// Processor time of the process, in seconds: what work costs on a machine where others work as well.
fn processor_seconds() -> f64 {
    // SAFETY: a plain struct, and room for it.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        assert_eq!(libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time), 0);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }
}

/// The squared error of `logits`, by the square of those that are next in `file`.
fn squared_error(logits: &[f32], file: &mut std::fs::File) -> f64 {
    let mut bytes = vec![0; size_of_val(logits)];
    file.read_exact(&mut bytes).expect("the reference has as many steps");
    let reference = bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    let square = |value: f64| value * value;
    let of = |logit: &f32, reference: f64| (square(f64::from(*logit) - reference), square(reference));
    let pairs = logits.iter().zip(reference).map(|(logit, reference)| of(logit, reference));
    let (error, whole) = pairs.fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    error / whole
}

fn counts() -> [u64; 3] {
    let name = c"gguffuse_plugin_counts";
    // The plugin is not in the global scope: it is looked for by its path.
    let paths = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut counts = [0; 3];
    for line in paths.lines() {
        let Some(path) =
            line.split_whitespace().nth(5).filter(|path| path.contains("gguffuse") && path.ends_with(".so"))
        else {
            continue;
        };
        let path = CString::new(path).unwrap();
        // SAFETY: C strings; the plugin's function of that name, and room for three numbers.
        unsafe {
            let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_NOW);
            let function = if library.is_null() { library } else { libc::dlsym(library, name.as_ptr()) };
            if !function.is_null() {
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut u64)>(function)(counts.as_mut_ptr());
                break;
            }
        }
    }
    counts
}

fn abort_now(left: *mut c_void) -> bool {
    // SAFETY: a number of `main`'s.
    let left = unsafe { &mut *left.cast::<i64>() };
    *left -= 1;
    *left == 0
}

extern "C" fn abort(left: *mut c_void) -> bool {
    abort_now(left)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, model, options @ ..] = &arguments[..] else { panic!("drive LIBRARIES MODEL [options]") };
    let mut set = HashMap::from([("prompt", "512"), ("tokens", "32"), ("threads", "2"), ("rounds", "1")]);
    let mut options = options.iter().map(|option| option.trim_start_matches("--"));
    while let Some(option) = options.next() {
        let value = if option == "no-repack" { "1" } else { options.next().expect("an option has a value") };
        set.insert(option, value);
    }
    let number = |name: &str| set[name].parse::<i32>().unwrap();

    let ggml = library(folder, "libggml.");
    let llama = library(folder, "libllama.");
    extern "C" fn quiet(level: c_int, text: *const c_char, _: *mut c_void) {
        // SAFETY: a C string of the library's.
        let text = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy();
        let verbose = std::env::var_os("DRIVE_VERBOSE").is_some();
        if verbose || (3..5).contains(&level) || text.starts_with("gguffuse") {
            eprint!("{text}");
        }
    }
    type Log = extern "C" fn(c_int, *const c_char, *mut c_void);
    // SAFETY: the functions of llama.h, called as it says.
    unsafe {
        function!(llama, llama_log_set: fn(Log, *mut c_void))(quiet, std::ptr::null_mut());
        if !ggml.find("ggml_backend_load_all_from_path").is_null() {
            let path = CString::new(folder.as_str()).unwrap();
            function!(ggml, ggml_backend_load_all_from_path: fn(*const c_char))(path.as_ptr());
        }
        function!(llama, llama_backend_init: fn())();
        let mut params = Params::of(function!(llama, llama_model_default_params: fn(*mut Params) -> *mut Params));
        if set.contains_key("no-repack") {
            // The only switch of the last ones that is on by default, but for use_mmap, which lies before it.
            let at = (72..104).rfind(|at| params.0[*at] == 1).expect("use_extra_bufts");
            eprintln!("use_extra_bufts at {at}: {:?}", &params.0[64..104]);
            params.0[at] = 0;
        }
        let path = CString::new(model.as_str()).unwrap();
        let from = Instant::now();
        let model = function!(llama, llama_model_load_from_file: fn(*const c_char, Params) -> *mut c_void)(
            path.as_ptr(),
            params,
        );
        assert!(!model.is_null(), "the model was not loaded");
        let load = from.elapsed();
        let mut params = Params::of(function!(llama, llama_context_default_params: fn(*mut Params) -> *mut Params));
        // n_ctx, n_batch, n_ubatch
        for (index, value) in [2048u32, 2048, 512].into_iter().enumerate() {
            params.0[index * 4..][..4].copy_from_slice(&value.to_le_bytes());
        }
        let context = function!(llama, llama_init_from_model: fn(*mut c_void, Params) -> *mut c_void)(model, params);
        assert!(!context.is_null(), "no context");
        let threads = number("threads");
        function!(llama, llama_set_n_threads: fn(*mut c_void, i32, i32))(context, threads, threads);
        let vocab = function!(llama, llama_model_get_vocab: fn(*mut c_void) -> *mut c_void)(model);
        let n_vocab = function!(llama, llama_vocab_n_tokens: fn(*mut c_void) -> i32)(vocab) as usize;
        let decode = function!(llama, llama_decode: fn(*mut c_void, Batch) -> i32);
        let one = function!(llama, llama_batch_get_one: fn(*mut i32, i32) -> Batch);
        let logits_of = function!(llama, llama_get_logits_ith: fn(*mut c_void, i32) -> *const f32);
        let memory_of = function!(llama, llama_get_memory: fn(*mut c_void) -> *mut c_void)(context);
        let clear = function!(llama, llama_memory_clear: fn(*mut c_void, bool));

        let mut prompt: Vec<i32> = match set.get("text") {
            Some(text) => {
                let mut tokens = vec![0; text.len() + 8];
                let tokenize = function!(llama, llama_tokenize: fn(*mut c_void, *const c_char, i32, *mut i32, i32, bool, bool) -> i32);
                let room = tokens.len() as i32;
                let count =
                    tokenize(vocab, text.as_ptr().cast(), text.len() as i32, tokens.as_mut_ptr(), room, true, true);
                tokens.truncate(usize::try_from(count).expect("tokens"));
                tokens
            }
            None => (0..number("prompt")).map(|i| (i * 7919 + 1000) % (n_vocab as i32 - 300) + 259).collect(),
        };
        let mut log = set.get("logits").map(|path| std::fs::File::create(path).unwrap());
        let mut reference = set.get("reference").map(|path| std::fs::File::open(path).unwrap());
        let mut errors = Vec::new();
        let mut prompt_best = f64::INFINITY;
        let mut token_best = f64::INFINITY;
        let (mut prompt_processor, mut token_processor) = (f64::INFINITY, f64::INFINITY);
        let mut token_total = 0.0;
        let mut token_count = 0;
        let mut evaluations = 0u64;
        let before = counts();
        let mut tokens = Vec::new();
        if let Some(nodes) = set.get("abort") {
            let set_abort = function!(llama, llama_set_abort_callback: fn(*mut c_void, *mut c_void, *mut c_void));
            for first in 1..=nodes.parse::<i64>().unwrap() {
                let mut left = first;
                clear(memory_of, true);
                set_abort(context, abort as *mut c_void, (&raw mut left).cast());
                let status = decode(context, one(prompt.as_mut_ptr(), prompt.len() as i32));
                assert!(status == 2 || left > 0, "status {status}, {left} left");
            }
            set_abort(context, std::ptr::null_mut(), std::ptr::null_mut());
        }
        for round in 0..number("rounds") {
            clear(memory_of, true);
            let (from, processor) = (Instant::now(), processor_seconds());
            assert_eq!(decode(context, one(prompt.as_mut_ptr(), prompt.len() as i32)), 0);
            prompt_best = prompt_best.min(from.elapsed().as_secs_f64());
            prompt_processor = prompt_processor.min(processor_seconds() - processor);
            evaluations += 1;
            tokens.clear();
            for step in 0..=number("tokens") {
                let logits = std::slice::from_raw_parts(logits_of(context, -1), n_vocab);
                assert!(logits.iter().all(|logit| logit.is_finite()), "a logit is not finite");
                if let Some(log) = log.as_mut().filter(|_| round == 0) {
                    log.write_all(std::slice::from_raw_parts(logits.as_ptr().cast(), n_vocab * 4)).unwrap();
                }
                if let Some(reference) = reference.as_mut().filter(|_| round == 0) {
                    errors.push(squared_error(logits, reference));
                }
                if step == number("tokens") {
                    break;
                }
                // Without text any token will do, so that all runs do the same.
                let best = (0..n_vocab).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as i32;
                let mut next = if set.contains_key("text") { best } else { 300 + step };
                tokens.push(best);
                let (from, processor) = (Instant::now(), processor_seconds());
                assert_eq!(decode(context, one(&mut next, 1)), 0);
                let seconds = from.elapsed().as_secs_f64();
                token_processor = token_processor.min(processor_seconds() - processor);
                evaluations += 1;
                token_best = token_best.min(seconds);
                token_total += seconds;
                token_count += 1;
            }
        }
        let after = counts();
        let (resident, most) = memory();
        println!(
            "{{\"prompt_tokens\":{},\"prompt_per_s\":{:.2},\"token_ms\":{:.4},\"token_mean_ms\":{:.4},\"prompt_processor_s\":{prompt_processor:.4},\"token_processor_ms\":{:.4},\"load_s\":{:.3},\"resident_mib\":{resident:.1},\"most_mib\":{most:.1},\"evaluations\":{evaluations},\"graphs\":{},\"products\":{},\"shared\":{},\"tokens\":{tokens:?},\"errors\":{errors:?}}}",
            prompt.len(),
            prompt.len() as f64 / prompt_best,
            token_best * 1e3,
            token_total / f64::from(token_count.max(1)) * 1e3,
            token_processor * 1e3,
            load.as_secs_f64(),
            after[0] - before[0],
            after[1] - before[1],
            after[2] - before[2],
        );
        function!(llama, llama_free: fn(*mut c_void))(context);
        function!(llama, llama_model_free: fn(*mut c_void))(model);
        function!(llama, llama_backend_free: fn())();
    }
}
