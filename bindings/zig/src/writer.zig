//! Making GGUF files.

const std = @import("std");
const c = @import("c.zig");
const errors = @import("errors.zig");
const types = @import("types.zig");
const File = @import("root.zig").File;
const Error = errors.Error;
const Type = types.Type;
const check = errors.check;
const valueTypeOf = types.valueTypeOf;

/// A GGUF file that is being made. Entries and tensors are written in the order in which they were added; a call that fails
/// leaves it as it was. A call that meets another thread's that changes it is error.Busy.
pub const Writer = struct {
    handle: *c.Writer,

    pub const Options = struct {
        /// Of the format, 2 or 3; 0: 3.
        version: u32 = 0,
        /// Of every tensor, in bytes, a power of two; 0: 32.
        alignment: u32 = 0,
    };

    pub fn init(options: Options) Error!Writer {
        var handle: ?*c.Writer = null;
        try check(c.gguffuse_writer_new(&.{ .version = options.version, .alignment = options.alignment }, &handle));
        return .{ .handle = handle.? };
    }

    /// Calls of other threads that are using it finish.
    pub fn deinit(self: Writer) void {
        _ = c.gguffuse_writer_free(self.handle); // as for File.close
    }

    /// Sets a metadata entry to a number or bool, of which T is the type in the file: a new entry, or another value for a
    /// key that is there, which keeps its place.
    pub fn set(self: Writer, comptime T: type, key: [:0]const u8, value: T) Error!void {
        _ = comptime valueTypeOf(T);
        const setter = @field(c, "gguffuse_writer_set_" ++ @typeName(T));
        return check(setter(self.handle, key, value));
    }

    pub fn setString(self: Writer, key: [:0]const u8, string: []const u8) Error!void {
        return check(c.gguffuse_writer_set_string(self.handle, key, string.ptr, string.len));
    }

    /// An array of numbers or bools.
    pub fn setArray(self: Writer, comptime Element: type, key: [:0]const u8, elements: []align(1) const Element) Error!void {
        return check(c.gguffuse_writer_set_array(self.handle, key, @backingInt(comptime valueTypeOf(Element)), @ptrCast(elements.ptr), elements.len));
    }

    /// An array of strings. Takes some memory for the time of the call.
    pub fn setStrings(self: Writer, allocator: std.mem.Allocator, key: [:0]const u8, strings: []const []const u8) Error!void {
        const addresses = try allocator.alloc([*]const u8, strings.len);
        defer allocator.free(addresses);
        const lengths = try allocator.alloc(usize, strings.len);
        defer allocator.free(lengths);
        for (strings, addresses, lengths) |string, *address, *length| {
            address.* = string.ptr;
            length.* = string.len;
        }
        return check(c.gguffuse_writer_set_string_array(self.handle, key, addresses.ptr, lengths.ptr, strings.len));
    }

    /// An array of the arrays that were set under these keys, whose entries go.
    pub fn setNested(self: Writer, key: [:0]const u8, element_keys: []const [*:0]const u8) Error!void {
        return check(c.gguffuse_writer_set_nested_array(self.handle, key, element_keys.ptr, element_keys.len));
    }

    /// Sets an entry to the value that it has in a file; without a key all that the file has.
    pub fn copyMetadata(self: Writer, file: File, key: ?[:0]const u8) Error!void {
        return check(c.gguffuse_writer_copy_metadata(self.handle, file.handle, if (key) |name| name.ptr else null));
    }

    pub fn remove(self: Writer, key: [:0]const u8) Error!void {
        return check(c.gguffuse_writer_remove_metadata(self.handle, key));
    }

    /// `dims`: the fastest first, k and then n. `data`: exactly what type and dims make; it is borrowed until deinit. So is a
    /// tensor of an open file: `add(w.name, w.type, w.dims[0..w.n_dims], w.data)`, and the file stays open.
    pub fn add(self: Writer, name: [:0]const u8, kind: Type, dims: []const u64, data: []const u8) Error!void {
        const n_dims = std.math.cast(u32, dims.len) orelse return error.InvalidArgument;
        return check(c.gguffuse_writer_add_tensor(self.handle, name, @backingInt(kind), n_dims, dims.ptr, data.ptr, data.len));
    }

    /// The size in bytes of the file as it would be written now.
    pub fn size(self: Writer) Error!u64 {
        var bytes: u64 = 0;
        try check(c.gguffuse_writer_size(self.handle, &bytes));
        return bytes;
    }

    /// Writes the file to the start of `buffer`; that part of it.
    pub fn writeMemory(self: Writer, buffer: []u8) Error![]u8 {
        var written: usize = 0;
        try check(c.gguffuse_writer_write_memory(self.handle, buffer.ptr, buffer.len, &written));
        return buffer[0..written];
    }

    /// Writes the file under another name in the same directory, and renames it: `path` is what it was before or the whole file.
    pub fn writeFile(self: Writer, path: [:0]const u8) Error!void {
        return check(c.gguffuse_writer_write_file(self.handle, path));
    }
};
