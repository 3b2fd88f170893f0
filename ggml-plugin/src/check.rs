//! The self-check: what `layout` says against what ggml's public functions say and do. Every check that fails is a reason to
//! stand aside.

use crate::host::Host;
use crate::layout::*;
use gguffuse::blocks::TensorType;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;

/// Tensors are as `layout` says. An error says which are not.
pub fn tensors(host: &Host) -> Result<(), &'static str> {
    // SAFETY: a function without arguments.
    if unsafe { (host.ggml_tensor_overhead)() } != OBJECT_BYTES + size_of::<Tensor>() {
        return Err("tensors have another size");
    }
    let context = Context::new(host)?;
    // SAFETY: ggml's functions on tensors of a context with room for them; as tensors have the size of ours, every field
    // can be read.
    unsafe {
        let a = (host.ggml_new_tensor_4d)(context.0, TensorType::Q8_0.id(), 64, 5, 3, 2);
        let b = (host.ggml_new_tensor_4d)(context.0, TensorType::F32.id(), 64, 7, 3, 2);
        let y = (host.ggml_mul_mat)(context.0, a, b);
        let view = (host.ggml_view_1d)(context.0, b, 8, 16);
        let [a_, b_, y_, view_] = [&*a, &*b, &*y, &*view];
        if (a_.tensor_type, b_.tensor_type) != (TensorType::Q8_0.id(), TensorType::F32.id()) {
            return Err("a tensor's type lies elsewhere");
        }
        if a_.ne != [64, 5, 3, 2] || b_.ne != [64, 7, 3, 2] || y_.ne != [5, 7, 3, 2] {
            return Err("a tensor's dimensions lie elsewhere");
        }
        if a_.nb != [34, 68, 340, 1020] || y_.nb != [4, 20, 140, 420] {
            return Err("a tensor's strides lie elsewhere");
        }
        let op = (host.ggml_op_name)(y_.op);
        if a_.op != 0 || y_.op > 100 || op.is_null() || CStr::from_ptr(op) != c"MUL_MAT" {
            return Err("a tensor's operation lies elsewhere");
        }
        if y_.src[..3] != [a, b, null_mut()] || y_.op_params != [0; 16] {
            return Err("a tensor's sources lie elsewhere");
        }
        if (view_.view_src, view_.view_offs, view_.ne) != (b, 16, [8, 1, 1, 1]) {
            return Err("a view's origin lies elsewhere");
        }
        for tensor in [a, b, y, view] {
            let data = (host.ggml_get_data)(tensor).cast::<u8>();
            if data != (*tensor).data || data.is_null() || !(*tensor).buffer.is_null() || !(*tensor).extra.is_null() {
                return Err("a tensor's data lie elsewhere");
            }
            if (host.ggml_get_name)(tensor) != (&raw const (*tensor).name).cast() {
                return Err("a tensor's name lies elsewhere");
            }
        }
    }
    Ok(())
}

/// Custom nodes are as `layout` says.
pub fn custom_nodes(host: &Host, custom: u32) -> Result<(), &'static str> {
    extern "C" fn function(_: *mut Tensor, _: c_int, _: c_int, _: *mut c_void) {}
    let context = Context::new(host)?;
    let user = (&raw const context).cast_mut().cast::<c_void>();
    // SAFETY: ggml's functions on tensors of a context with room for them.
    let node = unsafe {
        let mut source = (host.ggml_new_tensor_4d)(context.0, TensorType::F32.id(), 8, 1, 1, 1);
        let f32 = TensorType::F32.id();
        &*(host.ggml_custom_4d)(context.0, f32, 8, 1, 1, 1, &mut source, 1, function, -1, user)
    };
    let mut words = first_params(node);
    // Between a number and a pointer there is padding.
    words[3] = 0;
    match node.op == custom && words == custom_params(function, user) {
        true => Ok(()),
        false => Err("a custom operation's parameters lie elsewhere"),
    }
}

/// A context of ggml's with room for a few tensors and a graph.
struct Context<'a>(*mut GgmlContext, &'a Host);

impl Context<'_> {
    fn new(host: &Host) -> Result<Context<'_>, &'static str> {
        let params = InitParams { mem_size: 1 << 20, mem_buffer: null_mut(), no_alloc: false };
        // SAFETY: ggml's function with its parameters.
        let context = unsafe { (host.ggml_init)(params) };
        if context.is_null() { Err("no context can be made") } else { Ok(Context(context, host)) }
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        // SAFETY: made in `new`.
        unsafe { (self.1.ggml_free)(self.0) };
    }
}

const N: usize = 32;
const M: usize = 3;
const K: usize = 256;
/// A block of Q8_0: the scale as f16, and 32 codes.
const BLOCK: usize = 34;

fn code(row: usize, column: usize) -> i8 {
    (row * 7 + column * 13) as i8 >> 3
}

fn activation(row: usize, column: usize) -> i32 {
    // 127 in every group of 32 makes the scale of any rounding to 8 bits 1.
    if column.is_multiple_of(32) { 127 } else { ((row * 5 + column * 11) % 200) as i32 - 100 }
}

/// One product of 32 weight rows with 3 activation rows on `backend`: whether the device says that it can, and it comes out right. The numbers are integers
/// which rounding to 8 bits leaves as they are.
///
/// # Safety
/// `device` and `backend` are the engine's.
pub unsafe fn product(host: &Host, device: *mut Device, backend: *mut Backend) -> Result<(), &'static str> {
    let context = Context::new(host)?;
    // SAFETY: ggml's functions; tensors as `tensors` has checked them, with data of their own in the context.
    unsafe {
        let a = (host.ggml_new_tensor_4d)(context.0, TensorType::Q8_0.id(), K as i64, N as i64, 1, 1);
        let b = (host.ggml_new_tensor_4d)(context.0, TensorType::F32.id(), K as i64, M as i64, 1, 1);
        let y = (host.ggml_mul_mat)(context.0, a, b);
        let blocks = std::slice::from_raw_parts_mut((*a).data, N * K / 32 * BLOCK);
        for (index, block) in blocks.chunks_mut(BLOCK).enumerate() {
            // 1.0
            block[..2].copy_from_slice(&0x3c00u16.to_le_bytes());
            for (column, byte) in block[2..].iter_mut().enumerate() {
                *byte = code(index / (K / 32), index % (K / 32) * 32 + column) as u8;
            }
        }
        let x = std::slice::from_raw_parts_mut((*b).data.cast::<f32>(), M * K);
        for (index, x) in x.iter_mut().enumerate() {
            *x = activation(index / K, index % K) as f32;
        }
        let results = std::slice::from_raw_parts_mut((*y).data.cast::<f32>(), M * N);
        results.fill(f32::NAN);
        let graph = (host.ggml_new_graph)(context.0);
        (host.ggml_build_forward_expand)(graph, y);
        if !(host.ggml_backend_dev_supports_op)(device, y) {
            return Err("the engine's CPU device does not support a product");
        }
        let op = (*y).op;
        let params = (*y).op_params;
        if (host.ggml_backend_graph_compute)(backend, graph) != 0 {
            return Err("a product cannot be computed");
        }
        for (index, result) in results.iter().enumerate() {
            let (row, n) = (index / N, index % N);
            let terms = (0..K).map(|column| i32::from(code(n, column)) * activation(row, column));
            let (exact, all) = terms.fold((0, 0), |(sum, all), term| (sum + term, all + term.abs()));
            // Few roundings of an f32 each, of sums no larger than that of all magnitudes.
            if result.is_nan() || (*result - exact as f32).abs() > all as f32 * 8.0 * f32::EPSILON {
                return Err("a product comes out wrong");
            }
        }
        match (*y).op == op && (*y).op_params == params {
            true => Ok(()),
            false => Err("a node was not restored"),
        }
    }
}

/// Whether the page at `address` may be written.
pub fn is_writable(address: *const c_void) -> bool {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return false };
    maps.lines().any(|line| {
        let mut fields = line.split(' ');
        let range = fields.next().and_then(|range| range.split_once('-'));
        let range = range.and_then(|(begin, end)| {
            Some(usize::from_str_radix(begin, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
        });
        let writable = fields.next().is_some_and(|permissions| permissions.starts_with("rw"));
        writable && range.is_some_and(|range| range.contains(&address.addr()))
    })
}
