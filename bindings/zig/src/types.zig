//! The enumerations of the interface, and what a tensor type is. Knows no files.

const std = @import("std");
const c = @import("c.zig");
const errors = @import("errors.zig");
const Error = errors.Error;
const check = errors.check;

/// The tensor types, with ggml's numbers.
pub const Type = enum(u32) {
    f32 = 0,
    f16 = 1,
    q4_0 = 2,
    q4_1 = 3,
    q5_0 = 6,
    q5_1 = 7,
    q8_0 = 8,
    q8_1 = 9,
    q2_k = 10,
    q3_k = 11,
    q4_k = 12,
    q5_k = 13,
    q6_k = 14,
    q8_k = 15,
    iq2_xxs = 16,
    iq2_xs = 17,
    iq3_xxs = 18,
    iq1_s = 19,
    iq4_nl = 20,
    iq3_s = 21,
    iq2_s = 22,
    iq4_xs = 23,
    i8 = 24,
    i16 = 25,
    i32 = 26,
    i64 = 27,
    f64 = 28,
    iq1_m = 29,
    bf16 = 30,
    tq1_0 = 34,
    tq2_0 = 35,
    mxfp4 = 39,
    nvfp4 = 40,
    q1_0 = 41,
    q2_0 = 42,
    _,

    pub const Info = struct {
        /// ggml's, as in "q4_k".
        name: [:0]const u8,
        /// The columns of a matrix are a multiple of it.
        block_elements: u32,
        block_bytes: u32,
        can_matmul: bool,
        can_quantize: bool,
    };

    /// error.UnsupportedType: ggml has no such type.
    pub fn info(self: Type) Error!Info {
        var out: c.TypeInfo = .{};
        try check(c.gguffuse_type_info(@backingInt(self), &out));
        return .{
            .name = std.mem.span(out.name),
            .block_elements = out.block_elements,
            .block_bytes = out.block_bytes,
            .can_matmul = out.can_matmul != 0,
            .can_quantize = out.can_quantize != 0,
        };
    }

    /// The bytes of a row of k elements. error.Shape: k is no multiple of the block.
    pub fn rowSize(self: Type, k: u64) Error!usize {
        var bytes: usize = 0;
        try check(c.gguffuse_row_size(@backingInt(self), k, &bytes));
        return bytes;
    }
};

/// How exactly activations enter a product.
pub const Precision = enum(u32) { exact = 0, high = 1, fast = 2 };

/// The types of metadata values, with GGUF's numbers.
pub const ValueType = enum(u32) {
    uint8 = 0,
    int8 = 1,
    uint16 = 2,
    int16 = 3,
    uint32 = 4,
    int32 = 5,
    float32 = 6,
    bool = 7,
    string = 8,
    array = 9,
    uint64 = 10,
    int64 = 11,
    float64 = 12,
    _,
};

/// The value type of the elements of arrays, in Zig's words.
pub fn valueTypeOf(comptime T: type) ValueType {
    return switch (T) {
        u8 => .uint8,
        i8 => .int8,
        u16 => .uint16,
        i16 => .int16,
        u32 => .uint32,
        i32 => .int32,
        u64 => .uint64,
        i64 => .int64,
        f32 => .float32,
        f64 => .float64,
        bool => .bool,
        else => @compileError("GGUF has no arrays of " ++ @typeName(T)),
    };
}
