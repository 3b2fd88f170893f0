//! What is NOT official: how ggml lays out the objects that the plugin looks into. ggml hands plugins no header that would
//! hold from version to version, and its version numbers do not tell these layouts apart. So nothing here is believed:
//! `check` compares the tensors with what ggml's public functions say of them, and every function pointer that is replaced
//! with whether ggml's public functions then call the replacement. Known to hold from ggml 0.9.4 to 0.26.0.

use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;

/// `struct ggml_tensor`.
#[repr(C)]
pub struct Tensor {
    pub tensor_type: u32,
    pub buffer: *mut Buffer,
    /// Elements.
    pub ne: [i64; 4],
    /// Bytes from one to the next.
    pub nb: [usize; 4],
    pub op: u32,
    pub op_params: [u32; 16],
    pub flags: i32,
    pub src: [*mut Tensor; 10],
    pub view_src: *mut Tensor,
    pub view_offs: usize,
    pub data: *mut u8,
    pub name: [u8; 64],
    pub extra: *mut c_void,
    pub padding: [u8; 8],
}

const _: () = assert!(offset_of!(Tensor, op_params) == 84);
const _: () = assert!(offset_of!(Tensor, src) == 152);
const _: () = assert!(offset_of!(Tensor, name) == 256);
const _: () = assert!(size_of::<Tensor>() == 336);

/// `struct ggml_object`, which lies before every tensor of a context.
pub const OBJECT_BYTES: usize = 32;

/// Anything that is only handed on.
#[repr(C)]
pub struct Opaque {
    _opaque: [u8; 0],
}

/// `struct ggml_backend_buffer`.
pub type Buffer = Opaque;
/// `struct ggml_backend_buffer_type`.
pub type BufferType = Opaque;
/// `struct ggml_cgraph`.
pub type Graph = Opaque;
/// `struct ggml_context`.
pub type GgmlContext = Opaque;

/// `struct ggml_init_params`.
#[repr(C)]
pub struct InitParams {
    pub mem_size: usize,
    pub mem_buffer: *mut c_void,
    pub no_alloc: bool,
}

/// What a node with `GGML_OP_CUSTOM` calls, in each of ggml's threads: the node, the thread, how many threads.
pub type CustomFunction = extern "C" fn(*mut Tensor, c_int, c_int, *mut c_void);

/// `struct ggml_custom_op_params`, at the start of `op_params`: the function, -1 for all threads, and what it gets.
const CUSTOM_WORDS: usize = 6;

/// The parameters of a custom node.
pub fn custom_params(function: CustomFunction, user: *mut c_void) -> [u32; CUSTOM_WORDS] {
    let (function, user) = (function as usize as u64, user.addr() as u64);
    [function as u32, (function >> 32) as u32, u32::MAX, 0, user as u32, (user >> 32) as u32]
}

/// What those bytes were in a node that becomes a custom one.
pub fn first_params(tensor: &Tensor) -> [u32; CUSTOM_WORDS] {
    std::array::from_fn(|i| tensor.op_params[i])
}

/// Writes what the two functions above return.
pub fn set_first_params(tensor: &mut Tensor, params: &[u32; CUSTOM_WORDS]) {
    tensor.op_params[..CUSTOM_WORDS].copy_from_slice(params);
}

/// In `op_params[1]` of a matrix product: what ggml is told about the weights besides. 0 = nothing.
pub fn product_hint(tensor: &Tensor) -> u32 {
    tensor.op_params[1]
}

pub type GetProcAddress = unsafe extern "C" fn(*mut Registration, *const c_char) -> *mut c_void;
pub type InitBackend = unsafe extern "C" fn(*mut Device, *const c_char) -> *mut Backend;
pub type SupportsOp = unsafe extern "C" fn(*mut Device, *const Tensor) -> bool;
pub type GraphCompute = unsafe extern "C" fn(*mut Backend, *mut Graph) -> c_int;
pub type FreeBackend = unsafe extern "C" fn(*mut Backend);
pub type GetExtraBufferTypes = unsafe extern "C" fn(*mut Device) -> *mut *mut BufferType;
pub type SetThreads = unsafe extern "C" fn(*mut Backend, c_int);

/// `GGML_STATUS_FAILED`.
pub const STATUS_FAILED: c_int = -1;

/// `struct ggml_backend_reg`.
#[repr(C)]
pub struct Registration {
    pub api_version: c_int,
    functions: [*const c_void; 3],
    pub get_proc_address: Option<GetProcAddress>,
    context: *mut c_void,
}

/// The API versions of registrations known to hold.
pub const API_VERSIONS: std::ops::RangeInclusive<c_int> = 2..=3;

/// `struct ggml_backend_device`.
#[repr(C)]
pub struct Device {
    first: [*const c_void; 5],
    pub init_backend: Option<InitBackend>,
    between: [*const c_void; 3],
    pub supports_op: Option<SupportsOp>,
    rest: [*const c_void; 5],
    pub registration: *mut Registration,
    context: *mut c_void,
}

/// `struct ggml_backend`, of which versions differ: pointers only, among them the functions and, behind them, the device.
pub type Backend = Opaque;

/// Pointers of a backend up to which the device is looked for: ggml 0.9 has it at 15, 0.25 at 17.
const BACKEND_WORDS: usize = 20;

/// Which pointer of a backend is its function `free`: behind the GUID and `get_name`.
pub const FREE: usize = 2;

/// Which pointer of `backend` is its `graph_compute`: the last that is there before the device, behind `graph_plan_create`,
/// `graph_plan_free`, no `graph_plan_update`, and `graph_plan_compute`. `None` where the pointers do not look like that.
///
/// # Safety
/// `backend` is ggml's and was made by `device`.
pub unsafe fn graph_compute_of(backend: *mut Backend, device: *mut Device) -> Option<usize> {
    let word = |index: usize| {
        // SAFETY: a backend has the device among its first pointers, and none behind it but one is looked at.
        unsafe { backend.cast::<*const c_void>().add(index).read() }
    };
    let at = (0..BACKEND_WORDS).find(|index| word(*index) == device.cast_const().cast())?;
    let last = (0..at).rfind(|index| !word(*index).is_null())?;
    let there = |index: usize| !word(index).is_null();
    let shape = last >= FREE + 5 && there(last - 1) && !there(last - 2) && there(last - 3) && there(last - 4);
    (shape && there(1) && there(FREE)).then_some(last)
}
