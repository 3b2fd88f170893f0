//! Open GGUF files, know where every tensor lies, and multiply by their quantised weights.
//!
//!     const file = try gguffuse.File.open("model.gguf", .{});
//!     defer file.close();
//!     const weights = try file.tensor("blk.0.ffn_gate.weight");
//!     const context = try gguffuse.Context.init(.{});
//!     defer context.deinit();
//!     try context.matmulTensor(weights, x, y, .{ .m = 3 }); // y[m][n] = x[m][k] * W^T
//!
//! Any handle may be used from any thread at any time without a lock. Handles are looked up, never followed: using one that
//! is closed is error.InvalidHandle. Slices of a file (names, strings, tensors' bytes) are good until it is closed.

const std = @import("std");
const c = @import("c.zig");
const errors = @import("errors.zig");
const types = @import("types.zig");

pub const Error = errors.Error;
pub const lastError = errors.lastError;
const check = errors.check;

/// The library's version, as in "0.1.0".
pub fn version() [:0]const u8 {
    return std.mem.span(c.gguffuse_version_string());
}

/// The number of the binary interface; this package is made for `abi_version`.
pub fn libraryAbiVersion() u32 {
    return c.gguffuse_abi_version();
}
pub const abi_version = 0;

/// The instruction-set level of that index that this machine and the library have, the lowest first; null past the last.
pub fn isaName(index: usize) ?[:0]const u8 {
    return if (c.gguffuse_isa_name(index)) |name| std.mem.span(name) else null;
}

pub const Type = types.Type;
pub const Precision = types.Precision;
pub const ValueType = types.ValueType;
const valueTypeOf = types.valueTypeOf;

/// A tensor of an open file. As weights it is a matrix W of `n` rows and `k` columns.
pub const Tensor = struct {
    name: [:0]const u8,
    type: Type,
    /// The fastest first; unused ones are 1.
    dims: [4]u64,
    n_dims: u32,
    /// From the start of the data section. NOT a position in the file.
    relative_offset: u64,
    /// From the start of the file. Here lies the tensor.
    absolute_offset: u64,
    /// Its bytes, as they lie in the file.
    data: []const u8,
    file: File,
    index: u64,

    pub fn k(self: Tensor) usize {
        return @intCast(self.dims[0]);
    }

    pub fn n(self: Tensor) usize {
        return @intCast(self.dims[1] * self.dims[2] * self.dims[3]);
    }

    /// Makes f32 of all elements, in the file's order; `out` has room for n * k of them.
    pub fn dequantize(self: Tensor, out: []f32) Error!void {
        return gguffuse.dequantize(self.type, self.data, out);
    }
};

const gguffuse = @This();

/// An open GGUF file.
pub const File = struct {
    handle: *c.File,

    pub const Options = struct {
        /// More before the data section is error.Limit; 0: 256 MiB.
        max_metadata_bytes: u64 = 0,
        /// Reads all of it into memory: what happens to the file, or the memory that it lies in, doesn't matter afterwards.
        copy: bool = false,

        fn native(self: Options) c.OpenOptions {
            return .{ .max_metadata_bytes = self.max_metadata_bytes, .copy = @intFromBool(self.copy) };
        }
    };

    pub const Info = c.FileInfo;

    /// Opens the file at `path` and checks all of its metadata. The tensors' bytes are mapped, not read.
    pub fn open(path: [:0]const u8, options: Options) Error!File {
        var handle: ?*c.File = null;
        try check(c.gguffuse_file_open(path, &options.native(), &handle));
        return .{ .handle = handle.? };
    }

    /// Opens a file that lies in memory, which is borrowed until it is closed, unless it is copied: `@embedFile` will do.
    pub fn openMemory(data: []const u8, options: Options) Error!File {
        var handle: ?*c.File = null;
        try check(c.gguffuse_file_open_memory(data.ptr, data.len, &options.native(), &handle));
        return .{ .handle = handle.? };
    }

    /// Returns at once: calls of other threads that are using the file finish, and its memory goes with the last of them.
    pub fn close(self: File) void {
        // The only error is that it is closed already, which was all that was wanted.
        _ = c.gguffuse_file_close(self.handle);
    }

    /// Whether the file on disk is still what was opened. error.Truncated: it is shorter, and reading its tensors may be a
    /// SIGBUS. error.Changed: it was written to, or its path stands for another file or none. What was copied or opened from
    /// memory is always well.
    pub fn verify(self: File) Error!void {
        return check(c.gguffuse_file_verify(self.handle));
    }

    pub fn info(self: File) Error!Info {
        var out: c.FileInfo = .{};
        try check(c.gguffuse_file_info(self.handle, &out));
        return out;
    }

    /// error.NotFound: there is no tensor of that name.
    pub fn tensor(self: File, name: [:0]const u8) Error!Tensor {
        var index: u64 = 0;
        try check(c.gguffuse_tensor_find(self.handle, name, &index));
        return self.tensorAt(index);
    }

    /// Tensor `index`, 0 to info().tensor_count - 1.
    pub fn tensorAt(self: File, index: u64) Error!Tensor {
        var out: c.TensorInfo = .{};
        try check(c.gguffuse_tensor_info(self.handle, index, &out));
        return .{
            .name = out.name[0..out.name_length :0],
            .type = @fromBackingInt(@intCast(out.type)),
            .dims = out.dims,
            .n_dims = out.n_dims,
            .relative_offset = out.relative_offset,
            .absolute_offset = out.absolute_offset,
            .data = if (out.data) |data| data[0..@intCast(out.size_bytes)] else &.{},
            .file = self,
            .index = index,
        };
    }

    /// Where the tensor of that name begins, in bytes from the start of the file.
    pub fn absoluteOffset(self: File, name: [:0]const u8) Error!u64 {
        var offset: u64 = 0;
        try check(c.gguffuse_tensor_absolute_offset(self.handle, name, &offset));
        return offset;
    }

    /// The key of metadata entry `index`, 0 to info().metadata_count - 1.
    pub fn keyAt(self: File, index: u64) Error![:0]const u8 {
        var key: [*:0]const u8 = "";
        var length: usize = 0;
        try check(c.gguffuse_metadata_key(self.handle, index, &key, &length));
        return key[0..length :0];
    }

    /// A metadata entry. error.NotFound: the file has no such key.
    pub fn metadata(self: File, key: [:0]const u8) Error!Value {
        var index: u64 = 0;
        try check(c.gguffuse_metadata_find(self.handle, key, &index));
        return .{ .file = self, .entry = index };
    }

    /// metadata(key).get(T).
    pub fn get(self: File, comptime T: type, key: [:0]const u8) Error!T {
        return (try self.metadata(key)).get(T);
    }
};

/// A metadata value: an entry's, or, after `at`, an element of an array in it.
pub const Value = struct {
    file: File,
    entry: u64,
    path: [4]u64 = undefined,
    depth: u8 = 0,

    /// An element of the array that this is. Of arrays of strings and arrays, `strings` is the faster way.
    pub fn at(self: Value, element: u64) Error!Value {
        if (self.depth == self.path.len) return error.NotFound; // deeper than any file
        var inner = self;
        inner.path[self.depth] = element;
        inner.depth += 1;
        return inner;
    }

    /// The type of an entry's value, and of an array the elements' type and number.
    pub fn valueType(self: Value) Error!ValueType {
        if (self.depth > 0) {
            var outer = self;
            outer.depth -= 1;
            return (try outer.array()).element_type;
        }
        var out: u32 = 0;
        try check(c.gguffuse_metadata_type(self.file.handle, self.entry, &out));
        return @fromBackingInt(@intCast(out));
    }

    pub const Array = struct { element_type: ValueType, count: usize };

    /// error.TypeMismatch: the value is no array.
    pub fn array(self: Value) Error!Array {
        var element_type: u32 = 0;
        var count: u64 = 0;
        try check(c.gguffuse_metadata_array_info(self.file.handle, self.entry, &self.path, self.depth, &element_type, &count));
        return .{ .element_type = @fromBackingInt(@intCast(element_type)), .count = @intCast(count) };
    }

    /// As T: any integer or float type, which the value must fit in exactly, bool, or []const u8 for a string; else
    /// error.TypeMismatch. For `[]align(1) const` of a number or bool: `elements` of that type.
    pub fn get(self: Value, comptime T: type) Error!T {
        const handle = self.file.handle;
        switch (@typeInfo(T)) {
            .bool => {
                var out = false;
                try check(c.gguffuse_metadata_element_bool(handle, self.entry, &self.path, self.depth, &out));
                return out;
            },
            .float => {
                var out: f64 = 0;
                try check(c.gguffuse_metadata_element_f64(handle, self.entry, &self.path, self.depth, &out));
                const narrow: T = @floatCast(out);
                return if (narrow == out or out != out) narrow else error.TypeMismatch;
            },
            .int => |int| {
                if (int.signedness == .signed) {
                    var out: i64 = 0;
                    try check(c.gguffuse_metadata_element_i64(handle, self.entry, &self.path, self.depth, &out));
                    return std.math.cast(T, out) orelse error.TypeMismatch;
                }
                var out: u64 = 0;
                try check(c.gguffuse_metadata_element_u64(handle, self.entry, &self.path, self.depth, &out));
                return std.math.cast(T, out) orelse error.TypeMismatch;
            },
            else => {},
        }
        if (T == []const u8) {
            var out: [*:0]const u8 = "";
            var length: usize = 0;
            try check(c.gguffuse_metadata_element_string(handle, self.entry, &self.path, self.depth, &out, &length));
            return out[0..length];
        }
        const Element = @typeInfo(T).pointer.child;
        if (T != []align(1) const Element) @compileError("a value can't be had as " ++ @typeName(T));
        return self.elements(Element);
    }

    /// The elements of an array of numbers or bools as they lie in the file, without a copy. error.TypeMismatch: they are
    /// not of that very type. (An array of u8 can be had here alone: `get([]const u8)` is a string.)
    pub fn elements(self: Value, comptime Element: type) Error![]align(1) const Element {
        if ((try self.array()).element_type != comptime valueTypeOf(Element)) return error.TypeMismatch;
        var data: [*]const u8 = "";
        var bytes: usize = 0;
        try check(c.gguffuse_metadata_array_data(self.file.handle, self.entry, &self.path, self.depth, &data, &bytes));
        return @as([*]align(1) const Element, @ptrCast(data))[0 .. bytes / @sizeOf(Element)];
    }

    /// All strings of an array of strings, in one call. The caller frees the slice, the file has the strings.
    pub fn strings(self: Value, allocator: std.mem.Allocator) Error![][]const u8 {
        const found = try self.array();
        if (found.element_type != .string) return error.TypeMismatch;
        const addresses = try allocator.alloc([*:0]const u8, found.count);
        defer allocator.free(addresses);
        const lengths = try allocator.alloc(usize, found.count);
        defer allocator.free(lengths);
        const out = try allocator.alloc([]const u8, found.count);
        errdefer allocator.free(out);
        if (found.count > 0) {
            try check(c.gguffuse_metadata_array_strings(self.file.handle, self.entry, &self.path, self.depth, addresses.ptr, lengths.ptr, found.count));
        }
        for (out, addresses, lengths) |*string, address, length| string.* = address[0..length];
        return out;
    }
};

/// Weights in memory of yours: n rows of type.rowSize(k) bytes, at any alignment.
pub const Weights = struct { type: Type, data: []const u8, n: usize, k: usize };

/// Rows of x and y, and the elements from one to the next; 0: side by side.
pub const Rows = struct { m: usize = 1, x_stride: usize = 0, y_stride: usize = 0 };

/// Threads, precision and instruction set of products.
pub const Context = struct {
    handle: *c.Context,

    pub const Options = struct {
        /// That one call may use, the calling one included; 0: as many as the process may run on.
        threads: u32 = 0,
        precision: Precision = .exact,
        /// The highest instruction-set level to use, by its name; null: the best that the machine has.
        max_isa: ?[:0]const u8 = null,
    };

    pub fn init(options: Options) Error!Context {
        var handle: ?*c.Context = null;
        try check(c.gguffuse_context_new(&.{
            .threads = options.threads,
            .precision = @backingInt(options.precision),
            .max_isa = if (options.max_isa) |name| name.ptr else null,
        }, &handle));
        return .{ .handle = handle.? };
    }

    /// Calls of other threads that are using it finish.
    pub fn deinit(self: Context) void {
        _ = c.gguffuse_context_free(self.handle); // as for File.close
    }

    /// The name of the instruction-set level in use.
    pub fn isa(self: Context) Error![:0]const u8 {
        return std.mem.span(c.gguffuse_context_isa(self.handle) orelse return error.InvalidHandle);
    }

    /// y[m][n] = x[m][k] * W^T, with a tensor of an open file as W.
    pub fn matmulTensor(self: Context, w: Tensor, x: []const f32, y: []f32, rows: Rows) Error!void {
        return check(c.gguffuse_matmul_tensor(self.handle, w.file.handle, w.index, x.ptr, x.len, rows.x_stride, rows.m, y.ptr, y.len, rows.y_stride));
    }

    /// y[m][n] = x[m][k] * W^T.
    pub fn matmul(self: Context, w: Weights, x: []const f32, y: []f32, rows: Rows) Error!void {
        return check(c.gguffuse_matmul(self.handle, @backingInt(w.type), w.data.ptr, w.data.len, w.n, w.k, x.ptr, x.len, rows.x_stride, rows.m, y.ptr, y.len, rows.y_stride));
    }

    /// matmul for weight rows begin to end - 1 only, on the calling thread alone: for hosts that bring their own threads.
    pub fn matmulRows(self: Context, w: Weights, begin: usize, end: usize, x: []const f32, y: []f32, rows: Rows) Error!void {
        return check(c.gguffuse_matmul_rows(self.handle, @backingInt(w.type), w.data.ptr, w.data.len, w.n, w.k, begin, end, x.ptr, x.len, rows.x_stride, rows.m, y.ptr, y.len, rows.y_stride));
    }

    /// The first block with a scale or value that is NaN, infinite, or not allowed; null: all is well.
    pub fn validateTensor(self: Context, w: Tensor) Error!?u64 {
        var bad: u64 = 0;
        try check(c.gguffuse_tensor_validate(self.handle, w.file.handle, w.index, &bad));
        return if (bad == std.math.maxInt(u64)) null else bad;
    }

    /// validateTensor for blocks in memory of yours.
    pub fn validate(self: Context, kind: Type, data: []const u8) Error!?u64 {
        var bad: u64 = 0;
        try check(c.gguffuse_validate(self.handle, @backingInt(kind), data.ptr, data.len, &bad));
        return if (bad == std.math.maxInt(u64)) null else bad;
    }

    /// Makes blocks of rows of k floats. `importance`: for each column how much its squared errors count.
    pub fn quantize(self: Context, kind: Type, source: []const f32, k: usize, importance: ?[]const f32, out: []u8) Error!void {
        if (k == 0 or source.len % k != 0) return error.Shape;
        if (importance) |weights| if (weights.len != k) return error.Shape;
        const weights: ?[*]const f32 = if (importance) |weights| weights.ptr else null;
        return check(c.gguffuse_quantize_with(self.handle, @backingInt(kind), source.ptr, source.len / k, k, weights, out.ptr, out.len));
    }
};

/// x in the form that products read: packed once, multiplied with any number of weights of the same k, as those for q, k and
/// v, or gate and up. Any number of threads may multiply with one at once; packing another x meanwhile is error.Busy.
/// `y_stride`, in elements, is from one row of y to the next; 0: side by side.
pub const Activations = struct {
    handle: *c.Activations,
    /// Which packs, and in which the products are made.
    context: Context,

    /// With nothing packed yet.
    pub fn init(context: Context) Error!Activations {
        var handle: ?*c.Activations = null;
        try check(c.gguffuse_activations_new(&handle));
        return .{ .handle = handle.?, .context = context };
    }

    /// Calls of other threads that are using them finish.
    pub fn deinit(self: Activations) void {
        _ = c.gguffuse_activations_free(self.handle); // as for File.close
    }

    /// Packs rows.m rows of k floats, in place of what was packed before. x is copied.
    pub fn pack(self: Activations, x: []const f32, k: usize, rows: Rows) Error!void {
        return check(c.gguffuse_activations_pack(self.context.handle, self.handle, x.ptr, x.len, rows.x_stride, rows.m, k));
    }

    /// Context.matmulTensor with these activations; the same bits.
    pub fn matmulTensor(self: Activations, w: Tensor, y: []f32, y_stride: usize) Error!void {
        return check(c.gguffuse_activations_matmul_tensor(self.context.handle, self.handle, w.file.handle, w.index, y.ptr, y.len, y_stride));
    }

    /// Context.matmul with these activations.
    pub fn matmul(self: Activations, w: Weights, y: []f32, y_stride: usize) Error!void {
        return check(c.gguffuse_activations_matmul(self.context.handle, self.handle, @backingInt(w.type), w.data.ptr, w.data.len, w.n, w.k, y.ptr, y.len, y_stride));
    }

    /// Context.matmulRows with these activations, which any number of threads may share.
    pub fn matmulRows(self: Activations, w: Weights, begin: usize, end: usize, y: []f32, y_stride: usize) Error!void {
        return check(c.gguffuse_activations_matmul_rows(self.context.handle, self.handle, @backingInt(w.type), w.data.ptr, w.data.len, w.n, w.k, begin, end, y.ptr, y.len, y_stride));
    }
};

pub const Writer = @import("writer.zig").Writer;

/// Makes f32 of whole blocks.
pub fn dequantize(kind: Type, data: []const u8, out: []f32) Error!void {
    return check(c.gguffuse_dequantize(@backingInt(kind), data.ptr, data.len, out.ptr, out.len));
}

test {
    _ = errors; // its tests
}
