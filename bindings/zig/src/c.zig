//! The C interface, declared by hand: include/gguffuse.h is the contract. Only what root.zig uses.

pub const File = opaque {};
pub const Context = opaque {};
pub const Activations = opaque {};
pub const Writer = opaque {};

pub const OpenOptions = extern struct {
    struct_size: usize = @sizeOf(OpenOptions),
    max_metadata_bytes: u64 = 0,
    copy: u32 = 0,
    reserved: u32 = 0,
};

pub const FileInfo = extern struct {
    struct_size: usize = @sizeOf(FileInfo),
    version: u32 = 0,
    alignment: u32 = 0,
    tensor_count: u64 = 0,
    metadata_count: u64 = 0,
    data_offset: u64 = 0,
    size_bytes: u64 = 0,
};

pub const TensorInfo = extern struct {
    struct_size: usize = @sizeOf(TensorInfo),
    name: [*:0]const u8 = "",
    name_length: usize = 0,
    type: u32 = 0,
    n_dims: u32 = 0,
    dims: [4]u64 = @splat(0),
    relative_offset: u64 = 0,
    absolute_offset: u64 = 0,
    size_bytes: u64 = 0,
    data: ?[*]const u8 = null,
};

pub const TypeInfo = extern struct {
    struct_size: usize = @sizeOf(TypeInfo),
    name: [*:0]const u8 = "",
    block_elements: u32 = 0,
    block_bytes: u32 = 0,
    can_matmul: u32 = 0,
    can_quantize: u32 = 0,
};

pub const ContextOptions = extern struct {
    struct_size: usize = @sizeOf(ContextOptions),
    threads: u32 = 0,
    precision: u32 = 0,
    max_isa: ?[*:0]const u8 = null,
};

pub const WriterOptions = extern struct {
    struct_size: usize = @sizeOf(WriterOptions),
    version: u32 = 0,
    alignment: u32 = 0,
};

const Status = i32;

pub extern fn gguffuse_version_string() [*:0]const u8;
pub extern fn gguffuse_abi_version() u32;
pub extern fn gguffuse_status_name(status: Status) [*:0]const u8;
pub extern fn gguffuse_last_error(buffer: ?[*]u8, capacity: usize) usize;
pub extern fn gguffuse_isa_name(index: usize) ?[*:0]const u8;

pub extern fn gguffuse_file_open(path: [*:0]const u8, options: *const OpenOptions, out: *?*File) Status;
pub extern fn gguffuse_file_open_memory(data: [*]const u8, size: usize, options: *const OpenOptions, out: *?*File) Status;
pub extern fn gguffuse_file_close(file: ?*File) Status;
pub extern fn gguffuse_file_verify(file: *File) Status;
pub extern fn gguffuse_file_info(file: *File, out: *FileInfo) Status;
pub extern fn gguffuse_tensor_find(file: *File, name: [*:0]const u8, index: *u64) Status;
pub extern fn gguffuse_tensor_info(file: *File, index: u64, out: *TensorInfo) Status;
pub extern fn gguffuse_tensor_absolute_offset(file: *File, name: [*:0]const u8, offset: *u64) Status;

pub extern fn gguffuse_metadata_find(file: *File, key: [*:0]const u8, index: *u64) Status;
pub extern fn gguffuse_metadata_key(file: *File, index: u64, key: *[*:0]const u8, length: *usize) Status;
pub extern fn gguffuse_metadata_type(file: *File, index: u64, value_type: *u32) Status;
pub extern fn gguffuse_metadata_array_info(file: *File, index: u64, path: ?[*]const u64, path_length: usize, element_type: *u32, count: *u64) Status;
pub extern fn gguffuse_metadata_array_data(file: *File, index: u64, path: ?[*]const u64, path_length: usize, data: *[*]const u8, bytes: *usize) Status;
pub extern fn gguffuse_metadata_array_strings(file: *File, index: u64, path: ?[*]const u64, path_length: usize, strings: [*][*:0]const u8, lengths: [*]usize, capacity: usize) Status;
pub extern fn gguffuse_metadata_element_u64(file: *File, index: u64, path: ?[*]const u64, path_length: usize, out: *u64) Status;
pub extern fn gguffuse_metadata_element_i64(file: *File, index: u64, path: ?[*]const u64, path_length: usize, out: *i64) Status;
pub extern fn gguffuse_metadata_element_f64(file: *File, index: u64, path: ?[*]const u64, path_length: usize, out: *f64) Status;
pub extern fn gguffuse_metadata_element_bool(file: *File, index: u64, path: ?[*]const u64, path_length: usize, out: *bool) Status;
pub extern fn gguffuse_metadata_element_string(file: *File, index: u64, path: ?[*]const u64, path_length: usize, out: *[*:0]const u8, length: *usize) Status;

pub extern fn gguffuse_type_info(type: u32, out: *TypeInfo) Status;
pub extern fn gguffuse_row_size(type: u32, k: u64, bytes: *usize) Status;
pub extern fn gguffuse_dequantize(type: u32, source: [*]const u8, source_bytes: usize, out: [*]f32, out_length: usize) Status;
pub extern fn gguffuse_quantize_with(context: *Context, type: u32, source: [*]const f32, rows: usize, k: usize, importance: ?[*]const f32, out: [*]u8, out_bytes: usize) Status;

pub extern fn gguffuse_context_new(options: *const ContextOptions, out: *?*Context) Status;
pub extern fn gguffuse_context_free(context: ?*Context) Status;
pub extern fn gguffuse_context_isa(context: *Context) ?[*:0]const u8;

pub extern fn gguffuse_matmul(context: *Context, type: u32, w: [*]const u8, w_bytes: usize, n: usize, k: usize, x: [*]const f32, x_length: usize, x_stride: usize, m: usize, y: [*]f32, y_length: usize, y_stride: usize) Status;
pub extern fn gguffuse_matmul_rows(context: *Context, type: u32, w: [*]const u8, w_bytes: usize, n: usize, k: usize, n_begin: usize, n_end: usize, x: [*]const f32, x_length: usize, x_stride: usize, m: usize, y: [*]f32, y_length: usize, y_stride: usize) Status;
pub extern fn gguffuse_matmul_tensor(context: *Context, file: *File, tensor: u64, x: [*]const f32, x_length: usize, x_stride: usize, m: usize, y: [*]f32, y_length: usize, y_stride: usize) Status;
pub extern fn gguffuse_activations_new(out: *?*Activations) Status;
pub extern fn gguffuse_activations_free(activations: ?*Activations) Status;
pub extern fn gguffuse_activations_pack(context: *Context, activations: *Activations, x: [*]const f32, x_length: usize, x_stride: usize, m: usize, k: usize) Status;
pub extern fn gguffuse_activations_matmul(context: *Context, activations: *Activations, type: u32, w: [*]const u8, w_bytes: usize, n: usize, k: usize, y: [*]f32, y_length: usize, y_stride: usize) Status;
pub extern fn gguffuse_activations_matmul_rows(context: *Context, activations: *Activations, type: u32, w: [*]const u8, w_bytes: usize, n: usize, k: usize, n_begin: usize, n_end: usize, y: [*]f32, y_length: usize, y_stride: usize) Status;
pub extern fn gguffuse_activations_matmul_tensor(context: *Context, activations: *Activations, file: *File, tensor: u64, y: [*]f32, y_length: usize, y_stride: usize) Status;
pub extern fn gguffuse_validate(context: *Context, type: u32, data: [*]const u8, bytes: usize, bad_block: *u64) Status;
pub extern fn gguffuse_tensor_validate(context: *Context, file: *File, tensor: u64, bad_block: *u64) Status;

pub extern fn gguffuse_writer_new(options: *const WriterOptions, out: *?*Writer) Status;
pub extern fn gguffuse_writer_free(writer: ?*Writer) Status;
pub extern fn gguffuse_writer_add_tensor(writer: *Writer, name: [*:0]const u8, type: u32, n_dims: u32, dims: [*]const u64, data: [*]const u8, size: usize) Status;
pub extern fn gguffuse_writer_size(writer: *Writer, bytes: *u64) Status;
pub extern fn gguffuse_writer_write_memory(writer: *Writer, buffer: [*]u8, capacity: usize, written: *usize) Status;
pub extern fn gguffuse_writer_write_file(writer: *Writer, path: [*:0]const u8) Status;
pub extern fn gguffuse_writer_set_u8(writer: *Writer, key: [*:0]const u8, value: u8) Status;
pub extern fn gguffuse_writer_set_i8(writer: *Writer, key: [*:0]const u8, value: i8) Status;
pub extern fn gguffuse_writer_set_u16(writer: *Writer, key: [*:0]const u8, value: u16) Status;
pub extern fn gguffuse_writer_set_i16(writer: *Writer, key: [*:0]const u8, value: i16) Status;
pub extern fn gguffuse_writer_set_u32(writer: *Writer, key: [*:0]const u8, value: u32) Status;
pub extern fn gguffuse_writer_set_i32(writer: *Writer, key: [*:0]const u8, value: i32) Status;
pub extern fn gguffuse_writer_set_u64(writer: *Writer, key: [*:0]const u8, value: u64) Status;
pub extern fn gguffuse_writer_set_i64(writer: *Writer, key: [*:0]const u8, value: i64) Status;
pub extern fn gguffuse_writer_set_f32(writer: *Writer, key: [*:0]const u8, value: f32) Status;
pub extern fn gguffuse_writer_set_f64(writer: *Writer, key: [*:0]const u8, value: f64) Status;
pub extern fn gguffuse_writer_set_bool(writer: *Writer, key: [*:0]const u8, value: bool) Status;
pub extern fn gguffuse_writer_set_string(writer: *Writer, key: [*:0]const u8, string: [*]const u8, length: usize) Status;
pub extern fn gguffuse_writer_set_array(writer: *Writer, key: [*:0]const u8, element_type: u32, data: [*]const u8, count: usize) Status;
pub extern fn gguffuse_writer_set_string_array(writer: *Writer, key: [*:0]const u8, strings: [*]const [*]const u8, lengths: [*]const usize, count: usize) Status;
pub extern fn gguffuse_writer_set_nested_array(writer: *Writer, key: [*:0]const u8, element_keys: [*]const [*:0]const u8, count: usize) Status;
pub extern fn gguffuse_writer_copy_metadata(writer: *Writer, file: *File, key: ?[*:0]const u8) Status;
pub extern fn gguffuse_writer_remove_metadata(writer: *Writer, key: [*:0]const u8) Status;
