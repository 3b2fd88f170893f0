//! The engine's ggml: its public functions, found at run time from an address inside of it. Nothing of ggml is linked.

use crate::layout::*;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)+) => {
        /// Public functions of ggml.
        #[allow(clippy::type_complexity)]
        #[derive(Clone, Copy)]
        pub struct Host {
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+
            log: Option<unsafe extern "C" fn(c_int, *const c_char, ...)>,
        }

        impl Host {
            /// All functions, or the name of one that is missing.
            fn from_library(library: *mut c_void) -> Result<Host, &'static str> {
                Ok(Host {
                    $($name: {
                        const NAME: &str = concat!(stringify!($name), "\0");
                        let address = symbol(library, NAME);
                        if address.is_null() {
                            return Err(stringify!($name));
                        }
                        // SAFETY: ggml's function of this name has had this signature since 2024.
                        unsafe {
                            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) $(-> $result)?>(address)
                        }
                    },)+
                    log: {
                        let address = symbol(library, "ggml_log_internal\0");
                        // SAFETY: as above; a NULL is `None`.
                        unsafe {
                            std::mem::transmute::<*mut c_void, Option<unsafe extern "C" fn(c_int, *const c_char, ...)>>(address)
                        }
                    },
                })
            }
        }
    };
}

functions! {
    ggml_backend_dev_by_type: fn(c_int) -> *mut Device;
    ggml_backend_reg_dev_count: fn(*mut Registration) -> usize;
    ggml_backend_reg_dev_get: fn(*mut Registration, usize) -> *mut Device;
    ggml_backend_dev_backend_reg: fn(*mut Device) -> *mut Registration;
    ggml_backend_dev_init: fn(*mut Device, *const c_char) -> *mut Backend;
    ggml_backend_reg_get_proc_address: fn(*mut Registration, *const c_char) -> *mut c_void;
    ggml_backend_free: fn(*mut Backend);
    ggml_backend_graph_compute: fn(*mut Backend, *mut Graph) -> c_int;
    ggml_backend_dev_supports_op: fn(*mut Device, *const Tensor) -> bool;
    ggml_backend_buffer_get_type: fn(*mut Buffer) -> *mut BufferType;
    ggml_backend_buffer_is_host: fn(*mut Buffer) -> bool;
    ggml_backend_buft_name: fn(*mut BufferType) -> *const c_char;
    ggml_op_name: fn(u32) -> *const c_char;
    ggml_graph_n_nodes: fn(*mut Graph) -> c_int;
    ggml_graph_nodes: fn(*mut Graph) -> *mut *mut Tensor;
    ggml_tensor_overhead: fn() -> usize;
    ggml_init: fn(InitParams) -> *mut GgmlContext;
    ggml_free: fn(*mut GgmlContext);
    ggml_new_tensor_4d: fn(*mut GgmlContext, u32, i64, i64, i64, i64) -> *mut Tensor;
    ggml_view_1d: fn(*mut GgmlContext, *mut Tensor, i64, usize) -> *mut Tensor;
    ggml_mul_mat: fn(*mut GgmlContext, *mut Tensor, *mut Tensor) -> *mut Tensor;
    ggml_custom_4d: fn(*mut GgmlContext, u32, i64, i64, i64, i64, *mut *mut Tensor, c_int, CustomFunction, c_int, *mut c_void) -> *mut Tensor;
    ggml_get_data: fn(*const Tensor) -> *mut c_void;
    ggml_get_name: fn(*const Tensor) -> *const c_char;
    ggml_new_graph: fn(*mut GgmlContext) -> *mut Graph;
    ggml_build_forward_expand: fn(*mut Graph, *mut Tensor);
}

/// How much a log line matters, with ggml's numbers.
#[derive(Clone, Copy)]
pub enum Importance {
    Info = 2,
    Warning = 3,
}

impl Host {
    /// The ggml that the code at `address` belongs to. An error says why not.
    pub fn of(address: *const c_void) -> Result<Host, String> {
        let path = file_of(address).ok_or("the caller is in no file")?;
        // SAFETY: a C string; the library is loaded, and stays so as this takes a share of it which is never given back.
        let mut library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        if library.is_null() {
            // The main program goes by no name.
            // SAFETY: NULL is the main program.
            library = unsafe { libc::dlopen(std::ptr::null(), libc::RTLD_LAZY) };
        }
        Host::from_library(library).map_err(|name| format!("the engine has no function {name}"))
    }

    /// The numbers of operations, which versions count differently. `None` where one of them is missing.
    pub fn ops<const N: usize>(&self, names: [&str; N]) -> Option<[u32; N]> {
        /// More than any version has; ggml has no function to ask.
        const MOST: u32 = 120;
        let mut numbers = [None; N];
        for number in 0..MOST {
            // SAFETY: the names are a table of C strings, which is left before its end: at the last name wanted, or at an
            // operation that has followed them in all versions.
            let name = unsafe { (self.ggml_op_name)(number) };
            if name.is_null() {
                break;
            }
            // SAFETY: a C string of ggml's.
            let name = unsafe { CStr::from_ptr(name) }.to_bytes();
            if let Some(index) = names.iter().position(|wanted| wanted.as_bytes() == name) {
                numbers[index] = Some(number);
            }
            if numbers.iter().all(Option::is_some) || name == b"CROSS_ENTROPY_LOSS" {
                break;
            }
        }
        let mut all = [0; N];
        for (all, number) in all.iter_mut().zip(numbers) {
            *all = number?;
        }
        Some(all)
    }

    /// A line through the engine's own log.
    pub fn say(&self, importance: Importance, text: &str) {
        let (Some(log), Ok(text)) = (self.log, CString::new(text)) else { return };
        // SAFETY: ggml's function for this, with a format of one C string.
        unsafe { log(importance as c_int, c"gguffuse: %s\n".as_ptr(), text.as_ptr()) };
    }
}

/// The loaded file that holds the code at `address`.
pub fn file_of(address: *const c_void) -> Option<CString> {
    // SAFETY: a plain struct of pointers and numbers, for which zeros are values.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: any address may be asked for.
    let found = unsafe { libc::dladdr(address, &mut info) } != 0 && !info.dli_fname.is_null();
    // SAFETY: a C string of the loader's.
    found.then(|| unsafe { CStr::from_ptr(info.dli_fname) }.to_owned())
}

/// `name` in `library` or in what it depends on; NULL where it is not.
pub fn symbol(library: *mut c_void, name: &str) -> *mut c_void {
    debug_assert!(name.ends_with('\0'));
    // SAFETY: a library that is loaded, and a C string.
    unsafe { libc::dlsym(library, name.as_ptr().cast()) }
}
