//! Tests of the package against the installed library, on the file of examples/checksum and on bytes made here.

const std = @import("std");
const gguffuse = @import("gguffuse");
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;
const expectError = std.testing.expectError;
const expectEqualStrings = std.testing.expectEqualStrings;
const allocator = std.testing.allocator;

const raw = @embedFile("checksum.gguf");
const weights_name = "blk.0.ffn_gate.weight";

fn activations(x: []f32) void {
    for (x, 0..) |*value, i| value.* = @as(f32, @floatFromInt(@as(i64, @intCast((i * 7919) % 2003)) - 1001)) / 1001;
}

/// Blocks of Q8_0 with the scale 1, which hold whole numbers as they are.
fn integerBlocks(comptime n: usize, comptime k: usize, values: *[n * k]i32) [n * k / 32 * 34]u8 {
    var blocks: [n * k / 32 * 34]u8 = undefined;
    for (values, 0..) |*value, i| {
        value.* = @as(i32, @intCast((i / k * 31 + i % k * 17) % 255)) - 127;
        const block = blocks[i / 32 * 34 ..][0..34];
        block[0..2].* = .{ 0x00, 0x3c };
        block[2 + i % 32] = @bitCast(@as(i8, @intCast(value.*)));
    }
    return blocks;
}

test "layout" {
    const file = try gguffuse.File.openMemory(raw, .{});
    defer file.close();
    const info = try file.info();
    try expectEqual(3, info.version);
    try expectEqual(32, info.alignment);
    try expectEqual(1, info.tensor_count);
    try expectEqual(4, info.metadata_count);
    try expectEqual(352, info.data_offset);
    try expectEqual(raw.len, info.size_bytes);
    const tensor = try file.tensor(weights_name);
    try expectEqual(tensor, try file.tensorAt(0));
    try expectEqualStrings(weights_name, tensor.name);
    try expectEqual(.q4_k, tensor.type);
    try expectEqual([4]u64{ 256, 64, 1, 1 }, tensor.dims);
    try expectEqual(2, tensor.n_dims);
    try expectEqual(256, tensor.k());
    try expectEqual(64, tensor.n());
    try expectEqual(0, tensor.relative_offset);
    try expectEqual(352, tensor.absolute_offset);
    try expectEqual(352, try file.absoluteOffset(weights_name));
    try std.testing.expectEqualSlices(u8, raw[352..][0..9216], tensor.data);
    try expectError(error.NotFound, file.tensorAt(1));
    try expectError(error.NotFound, file.tensor("nowhere"));
    var text: [512]u8 = undefined;
    try expect(std.mem.find(u8, gguffuse.lastError(&text), "nowhere") != null);
    try expectEqual(4, gguffuse.lastError(text[0..5]).len);
}

test "metadata" {
    const file = try gguffuse.File.openMemory(raw, .{});
    defer file.close();
    const keys = [_][]const u8{ "general.architecture", "general.name", "checksum.block_count", "tokenizer.ggml.tokens" };
    for (keys, 0..) |key, index| try expectEqualStrings(key, try file.keyAt(index));
    try expectError(error.NotFound, file.keyAt(4));
    try expectEqualStrings("gguffuse checksum", try file.get([]const u8, "general.name"));
    try expectEqual(1, try file.get(u8, "checksum.block_count"));
    try expectEqual(1, try file.get(i64, "checksum.block_count"));
    try expectEqual(1, try file.get(f32, "checksum.block_count"));
    try expectEqual(.uint32, try (try file.metadata("checksum.block_count")).valueType());
    const value = try file.metadata("tokenizer.ggml.tokens");
    try expectEqual(.array, try value.valueType());
    try expectEqual(gguffuse.Value.Array{ .element_type = .string, .count = 6 }, try value.array());
    const tokens = try value.strings(allocator);
    defer allocator.free(tokens);
    for ([_][]const u8{ "<unk>", "<s>", "</s>", "hello", "wörld", "" }, tokens, 0..) |expected, token, i| {
        try expectEqualStrings(expected, token);
        try expectEqualStrings(expected, try (try value.at(i)).get([]const u8));
    }
    try expectEqual(.string, try (try value.at(0)).valueType());
    try expectError(error.NotFound, (try value.at(6)).get([]const u8));
    try expectError(error.NotFound, file.metadata("nowhere"));
    try expectError(error.TypeMismatch, file.get(u64, "general.name"));
    try expectError(error.TypeMismatch, file.get(bool, "checksum.block_count"));
    try expectError(error.TypeMismatch, file.get([]const u8, "tokenizer.ggml.tokens"));
    try expectError(error.TypeMismatch, file.get([]align(1) const u32, "tokenizer.ggml.tokens"));
    try expectError(error.TypeMismatch, (try file.metadata("general.name")).strings(allocator));
}

test "arrays of numbers, and numbers that don't fit" {
    const head = "GGUF" ++ [_]u8{ 3, 0, 0, 0 } ++ [_]u8{ 0, 0, 0, 0, 0, 0, 0, 0 } ++ [_]u8{ 4, 0, 0, 0, 0, 0, 0, 0 };
    const key = [_]u8{ 1, 0, 0, 0, 0, 0, 0, 0 };
    const count = [_]u8{ 2, 0, 0, 0, 0, 0, 0, 0 };
    const array = [_]u8{ 9, 0, 0, 0 };
    const shorts = key ++ "a" ++ array ++ [_]u8{ 3, 0, 0, 0 } ++ count ++ [_]u8{ 0xfe, 0xff, 7, 0 };
    const big = key ++ "b" ++ [_]u8{ 4, 0, 0, 0 } ++ [_]u8{ 0, 1, 0, 0 };
    const third = key ++ "c" ++ [_]u8{ 12, 0, 0, 0 } ++ std.mem.toBytes(@as(f64, 1.0 / 3.0));
    const inner = [_]u8{ 7, 0, 0, 0 } ++ count ++ [_]u8{ 1, 0 };
    const deep = key ++ "d" ++ array ++ array ++ [_]u8{ 1, 0, 0, 0, 0, 0, 0, 0 } ++ inner;
    const file = try gguffuse.File.openMemory(head ++ shorts ++ big ++ third ++ deep, .{});
    defer file.close();
    const values = try file.get([]align(1) const i16, "a");
    try expectEqual(2, values.len);
    try expectEqual(-2, values[0]);
    try expectEqual(7, values[1]);
    try expectEqual(-2, try (try (try file.metadata("a")).at(0)).get(i8));
    try expectError(error.TypeMismatch, file.get([]align(1) const u16, "a"));
    try expectEqual(256, try file.get(u9, "b"));
    try expectError(error.TypeMismatch, file.get(u8, "b"));
    try expectEqual(1.0 / 3.0, try file.get(f64, "c"));
    try expectError(error.TypeMismatch, file.get(f32, "c"));
    const bools = try (try (try file.metadata("d")).at(0)).get([]align(1) const bool);
    try expect(bools.len == 2 and bools[0] and !bools[1]);
}

test "exact products" {
    // Whole numbers, with every sum below 2^24: f32 holds each result exactly, and EXACT must give it.
    const n = 24;
    const k = 256;
    const m = 3;
    var values: [n * k]i32 = undefined;
    const blocks = integerBlocks(n, k, &values);
    var x: [m * k]f32 = undefined;
    for (&x, 0..) |*value, i| value.* = @floatFromInt(@as(i32, @intCast(i * 13 % 17)) - 8);
    var expected: [m * n]f32 = undefined;
    for (&expected, 0..) |*out, i| {
        var sum: i64 = 0;
        for (0..k) |column| sum += @as(i64, @trunc(x[i / n * k + column])) * values[i % n * k + column];
        out.* = @floatFromInt(sum);
    }
    const w: gguffuse.Weights = .{ .type = .q8_0, .data = &blocks, .n = n, .k = k };
    var level: usize = 0;
    while (gguffuse.isaName(level)) |name| : (level += 1) {
        const context = try gguffuse.Context.init(.{ .threads = 2, .max_isa = name });
        defer context.deinit();
        try expectEqualStrings(name, try context.isa());
        var y: [m * n]f32 = @splat(-1);
        try context.matmul(w, &x, &y, .{ .m = m });
        try expectEqual(expected, y);
        var parts: [m * (n + 5)]f32 = @splat(-1);
        for (0..4) |part| try context.matmulRows(w, part * 6, part * 6 + 6, &x, &parts, .{ .m = m, .y_stride = n + 5 });
        for (0..m) |row| {
            try std.testing.expectEqualSlices(f32, expected[row * n ..][0..n], parts[row * (n + 5) ..][0..n]);
            for (parts[row * (n + 5) ..][n .. n + 5]) |untouched| try expectEqual(-1, untouched);
        }
    }
    try expect(level > 0);
}

test "a tensor's product is that of its dequantised values" {
    const file = try gguffuse.File.openMemory(raw, .{});
    defer file.close();
    const context = try gguffuse.Context.init(.{});
    defer context.deinit();
    const w = try file.tensor(weights_name);
    var values: [64 * 256]f32 = undefined;
    try w.dequantize(&values);
    var x: [2 * 256]f32 = undefined;
    activations(&x);
    var y: [2 * 64]f32 = undefined;
    try context.matmulTensor(w, &x, &y, .{ .m = 2 });
    for (y, 0..) |got, i| {
        var sum: f64 = 0;
        var terms: f64 = 0;
        for (0..256) |column| {
            const term = @as(f64, x[i / 64 * 256 + column]) * values[i % 64 * 256 + column];
            sum += term;
            terms += @abs(term);
        }
        try expect(@abs(got - sum) <= 1e-5 * terms); // EXACT's hard limit
    }
    const fast = try gguffuse.Context.init(.{ .precision = .fast });
    defer fast.deinit();
    var rough: [2 * 64]f32 = undefined;
    try fast.matmulTensor(w, &x, &rough, .{ .m = 2 });
    try expect(!std.mem.eql(f32, &y, &rough)); // or the precision doesn't arrive
    try expectEqual(null, try context.validateTensor(w));
}

test "blocks" {
    const context = try gguffuse.Context.init(.{});
    defer context.deinit();
    var values: [2 * 64]i32 = undefined;
    var blocks = integerBlocks(2, 64, &values);
    var floats: [2 * 64]f32 = undefined;
    try gguffuse.dequantize(.q8_0, &blocks, &floats);
    for (values, floats) |value, float| try expectEqual(@as(f32, @floatFromInt(value)), float);
    var plain: [2 * 64 * 4]u8 = undefined;
    var back: [2 * 64]f32 = undefined;
    try context.quantize(.f32, &floats, 64, null, &plain);
    try gguffuse.dequantize(.f32, &plain, &back);
    try expectEqual(floats, back);
    const importance: [64]f32 = @splat(1);
    try context.quantize(.q8_0, &floats, 64, &importance, &blocks);
    try expectEqual(null, try context.validate(.q8_0, &blocks));
    blocks[34..36].* = .{ 0xff, 0x7f };
    try expectEqual(1, try context.validate(.q8_0, &blocks));
    try expectError(error.Shape, context.quantize(.q8_0, &floats, 63, null, &blocks));
    try expectError(error.Shape, context.quantize(.q8_0, &floats, 64, importance[1..], &blocks));
    try expectError(error.BufferTooSmall, context.quantize(.q8_0, &floats, 64, null, blocks[1..]));
    try expectError(error.UnsupportedType, context.quantize(.i32, &floats, 64, null, &blocks));
    const info = try gguffuse.Type.q4_k.info();
    try expectEqualStrings("q4_k", info.name);
    try expect(info.block_elements == 256 and info.block_bytes == 144 and info.can_matmul and info.can_quantize);
    try expectEqual(288, try gguffuse.Type.q4_k.rowSize(512));
    try expectError(error.Shape, gguffuse.Type.q4_k.rowSize(100));
    try expectError(error.UnsupportedType, @as(gguffuse.Type, @fromBackingInt(@intCast(4))).info());
}

test "the types are the library's" {
    for (0..300) |number| {
        const kind: gguffuse.Type = @fromBackingInt(@intCast(number));
        const name = std.enums.tagName(gguffuse.Type, kind);
        if (kind.info()) |info| {
            try expectEqualStrings(info.name, name orelse "a type without a name here");
        } else |_| {
            try expectEqual(null, name);
        }
    }
    try expectEqual(gguffuse.abi_version, gguffuse.libraryAbiVersion());
    try expect(std.mem.countScalar(u8, gguffuse.version(), '.') == 2);
}

test "refusals" {
    try expectError(error.Io, gguffuse.File.open("missing.gguf", .{}));
    var text: [512]u8 = undefined;
    try expect(std.mem.find(u8, gguffuse.lastError(&text), "No such file") != null);
    try expectError(error.BadFormat, gguffuse.File.openMemory("no GGUF at all, but long enough", .{}));
    try expectError(error.Truncated, gguffuse.File.openMemory(raw[0..200], .{}));
    try expectError(error.Limit, gguffuse.File.openMemory(raw, .{ .max_metadata_bytes = 100 }));
    try expectError(error.UnsupportedIsa, gguffuse.Context.init(.{ .max_isa = "avx1024" }));
    const file = try gguffuse.File.openMemory(raw, .{});
    const context = try gguffuse.Context.init(.{});
    const w = try file.tensor(weights_name);
    var x: [256]f32 = undefined;
    activations(&x);
    var y: [64]f32 = @splat(7);
    try expectError(error.BufferTooSmall, context.matmulTensor(w, x[1..], &y, .{}));
    try expectError(error.BufferTooSmall, context.matmulTensor(w, &x, y[1..], .{}));
    try expectError(error.Shape, context.matmulTensor(w, &x, &y, .{ .x_stride = 255 }));
    try expectError(error.Aliasing, context.matmulTensor(w, &x, x[0..64], .{}));
    const weights: gguffuse.Weights = .{ .type = .i32, .data = w.data, .n = 4, .k = 256 };
    try expectError(error.UnsupportedType, context.matmul(weights, &x, &y, .{}));
    file.close();
    file.close();
    try expectError(error.InvalidHandle, file.info());
    try expectError(error.InvalidHandle, file.tensor(weights_name));
    try expectError(error.InvalidHandle, file.get([]const u8, "general.name"));
    try expectError(error.InvalidHandle, context.matmulTensor(w, &x, &y, .{}));
    context.deinit();
    context.deinit();
    try expectError(error.InvalidHandle, context.isa());
    try expectError(error.InvalidHandle, context.matmul(weights, &x, &y, .{}));
    for (y) |untouched| try expectEqual(7, untouched);
}

test "a written file" {
    const writer = try gguffuse.Writer.init(.{ .version = 2, .alignment = 64 });
    defer writer.deinit();
    inline for (.{ u8, i8, u16, i16, u32, i32, u64, i64 }) |T| {
        try writer.set(T, @typeName(T), std.math.minInt(T) + 1);
        try writer.setArray(T, "array " ++ @typeName(T), &.{ std.math.maxInt(T), std.math.minInt(T) });
    }
    inline for (.{ f32, f64 }) |T| {
        try writer.set(T, @typeName(T), -1.5);
        try writer.setArray(T, "array " ++ @typeName(T), &.{ 0.1, 2 });
    }
    try writer.set(bool, "bool", true);
    try writer.setArray(bool, "array bool", &.{ true, false });
    try writer.setArray(f32, "array none", &.{});
    try writer.setString("string", "caf\xe9\x00");
    try writer.setString("string none", "");
    try writer.setStrings(allocator, "strings", &.{ "one", "", "t\x00o", "wörld" });
    try writer.setStrings(allocator, "strings none", &.{});
    try writer.setArray(i16, "a", &.{ 1, 2 });
    try writer.setStrings(allocator, "b", &.{"x"});
    try writer.setNested("nested", &.{ "a", "b" });
    try expectError(error.NotFound, writer.setNested("nested again", &.{"a"}));
    try writer.set(bool, "gone", true);
    try writer.remove("gone");
    try expectError(error.NotFound, writer.remove("gone"));
    try expectError(error.InvalidArgument, writer.set(bool, "", true));
    var values: [2 * 64]i32 = undefined;
    const blocks = integerBlocks(2, 64, &values);
    try writer.add("w", .q8_0, &.{ 64, 2 }, &blocks);
    try writer.add("nothing", .f32, &.{0}, &.{});
    try expectError(error.InvalidArgument, writer.add("w", .q8_0, &.{ 64, 2 }, &blocks));
    try expectError(error.Shape, writer.add("v", .q8_0, &.{ 64, 2 }, blocks[1..]));
    try expectError(error.InvalidArgument, writer.add("v", .i8, &.{ 1, 1, 1, 1, 1 }, blocks[0..1]));

    const buffer = try allocator.alloc(u8, @intCast(try writer.size() + 1));
    defer allocator.free(buffer);
    try expectError(error.BufferTooSmall, writer.writeMemory(buffer[0..100]));
    const made = try writer.writeMemory(buffer);
    try expectEqual(buffer.len - 1, made.len);
    const file = try gguffuse.File.openMemory(made, .{});
    defer file.close();
    try expectEqual(2, (try file.info()).version);
    try expectEqual(64, (try file.info()).alignment);
    inline for (.{ u8, i8, u16, i16, u32, i32, u64, i64 }) |T| {
        try expectEqual(std.math.minInt(T) + 1, try file.get(T, @typeName(T)));
        const array = try (try file.metadata("array " ++ @typeName(T))).elements(T);
        try expect(array.len == 2 and array[0] == std.math.maxInt(T) and array[1] == std.math.minInt(T));
        try expectError(error.TypeMismatch, (try file.metadata("array bool")).elements(T));
    }
    inline for (.{ f32, f64 }) |T| {
        try expectEqual(-1.5, try file.get(T, @typeName(T)));
        const array = try file.get([]align(1) const T, "array " ++ @typeName(T));
        try expect(array.len == 2 and array[0] == @as(T, 0.1) and array[1] == 2);
    }
    try expect(try file.get(bool, "bool"));
    const bools = try file.get([]align(1) const bool, "array bool");
    try expect(bools.len == 2 and bools[0] and !bools[1]);
    try expectEqual(0, (try file.get([]align(1) const f32, "array none")).len);
    try expectEqualStrings("caf\xe9\x00", try file.get([]const u8, "string"));
    try expectEqualStrings("", try file.get([]const u8, "string none"));
    const strings = try (try file.metadata("strings")).strings(allocator);
    defer allocator.free(strings);
    for ([_][]const u8{ "one", "", "t\x00o", "wörld" }, strings) |expected, string| try expectEqualStrings(expected, string);
    try expectEqual(0, (try (try file.metadata("strings none")).array()).count);
    const nested = try file.metadata("nested");
    try expectEqual(2, (try (try nested.at(0)).elements(i16))[1]);
    try expectEqualStrings("x", try (try (try nested.at(1)).at(0)).get([]const u8));
    try expectError(error.NotFound, file.metadata("a"));
    try expectError(error.NotFound, file.metadata("gone"));
    const w = try file.tensor("w");
    try std.testing.expectEqualSlices(u8, &blocks, w.data);
    try expect(w.absolute_offset % 64 == 0 and w.k() == 64 and w.n() == 2);
    try expectEqual(0, (try file.tensor("nothing")).data.len);

    const copy = try gguffuse.Writer.init(.{});
    try copy.copyMetadata(file, "string");
    try copy.copyMetadata(file, null);
    try expectError(error.NotFound, copy.copyMetadata(file, "nowhere"));
    try expectEqual(try file.info(), blk: {
        try copy.add(w.name, w.type, w.dims[0..w.n_dims], w.data);
        try copy.add("nothing", .f32, &.{0}, &.{});
        const bytes = try allocator.alloc(u8, @intCast(try copy.size()));
        defer allocator.free(bytes);
        const again = try gguffuse.File.openMemory(try copy.writeMemory(bytes), .{});
        defer again.close();
        try expectEqualStrings("string", try again.keyAt(0));
        var info = try again.info();
        try expectEqual(3, info.version); // a writer's own, and all else is the file's
        info.version = 2;
        break :blk info;
    });
    copy.deinit();
    copy.deinit();
    try expectError(error.InvalidHandle, copy.size());
    try expectError(error.UnsupportedVersion, gguffuse.Writer.init(.{ .version = 7 }));
    try expectError(error.InvalidArgument, gguffuse.Writer.init(.{ .alignment = 3 }));
}

test "copied and changed" {
    var folder = std.testing.tmpDir(.{});
    defer folder.cleanup();
    var buffer: [std.Io.Dir.max_path_bytes]u8 = undefined;
    const path = try std.fmt.bufPrintSentinel(&buffer, ".zig-cache/tmp/{s}/changing.gguf", .{&folder.sub_path}, 0);
    const writer = try gguffuse.Writer.init(.{});
    defer writer.deinit();
    const weights = "\x01\x02\x03";
    try writer.add("w", .i8, &.{3}, weights);
    try writer.writeFile(path);
    const copied = try gguffuse.File.open(path, .{ .copy = true });
    defer copied.close();
    const mapped = try gguffuse.File.open(path, .{});
    try copied.verify();
    try mapped.verify();
    try writer.writeFile(path); // renamed to the path: another file
    try expectError(error.Changed, mapped.verify());
    try expectEqualStrings(weights, (try mapped.tensor("w")).data);
    try copied.verify();
    mapped.close();
    try expectError(error.InvalidHandle, mapped.verify());
    var memory: [raw.len]u8 = raw.*;
    const own = try gguffuse.File.openMemory(&memory, .{ .copy = true });
    defer own.close();
    @memset(&memory, 0);
    try own.verify();
    try std.testing.expectEqualSlices(u8, raw[352..][0..9216], (try own.tensor(weights_name)).data);
}

const threads = 8;

fn work(number: usize, context: gguffuse.Context, file: gguffuse.File, expected: *const [64]f32, failed: *bool) void {
    failed.* = true;
    var x: [threads * 256]f32 = undefined;
    activations(&x);
    for (0..200) |_| {
        const w = file.tensor(weights_name) catch return;
        var y: [64]f32 = undefined;
        context.matmulTensor(w, x[number * 256 ..][0..256], &y, .{}) catch return;
        if (!std.mem.eql(f32, &y, expected)) return;
        var name: [3:0]u8 = "no0".*;
        name[2] += @intCast(number);
        if (file.tensor(&name)) |_| return else |_| {}
        var text: [512]u8 = undefined;
        // The text is this thread's.
        if (std.mem.find(u8, gguffuse.lastError(&text), &name) == null) return;
    }
    failed.* = false;
}

test "eight threads" {
    const file = try gguffuse.File.openMemory(raw, .{});
    defer file.close();
    const context = try gguffuse.Context.init(.{});
    defer context.deinit();
    var x: [threads * 256]f32 = undefined;
    activations(&x);
    var expected: [threads][64]f32 = undefined;
    for (&expected, 0..) |*y, i| {
        try context.matmulTensor(try file.tensor(weights_name), x[i * 256 ..][0..256], y, .{});
    }
    var failed: [threads]bool = @splat(true);
    var running: [threads]std.Thread = undefined;
    for (&running, 0..) |*thread, i| {
        thread.* = try std.Thread.spawn(.{}, work, .{ i, context, file, &expected[i], &failed[i] });
    }
    for (running) |thread| thread.join();
    for (failed) |one| try expect(!one);
}

fn packedWork(packed_x: gguffuse.Activations, w: gguffuse.Tensor, expected: *const [3 * 64]f32, failed: *bool) void {
    failed.* = true;
    for (0..50) |_| {
        var y: [3 * 64]f32 = undefined;
        packed_x.matmulTensor(w, &y, 0) catch return;
        if (!std.mem.eql(f32, &y, expected)) return;
    }
    failed.* = false;
}

test "packed activations" {
    const file = try gguffuse.File.openMemory(raw, .{});
    defer file.close();
    const w = try file.tensor(weights_name);
    for ([_]gguffuse.Precision{ .exact, .high, .fast }) |precision| {
        const context = try gguffuse.Context.init(.{ .precision = precision });
        defer context.deinit();
        var x: [3 * 256]f32 = undefined;
        activations(&x);
        var expected: [3 * 64]f32 = undefined;
        try context.matmulTensor(w, &x, &expected, .{ .m = 3 });
        const packed_x = try gguffuse.Activations.init(context);
        var y: [3 * 64]f32 = @splat(7);
        try expectError(error.InvalidArgument, packed_x.matmulTensor(w, &y, 0));
        try packed_x.pack(&x, 256, .{ .m = 3 });
        var failed: [threads]bool = @splat(true);
        var running: [threads]std.Thread = undefined;
        for (&running, &failed) |*thread, *one| {
            thread.* = try std.Thread.spawn(.{}, packedWork, .{ packed_x, w, &expected, one });
        }
        for (running) |thread| thread.join();
        for (failed) |one| try expect(!one);
        const weights: gguffuse.Weights = .{ .type = w.type, .data = w.data, .n = 64, .k = 256 };
        try packed_x.matmul(weights, &y, 0);
        try expectEqual(expected, y);
        y = @splat(7);
        for (0..4) |part| try packed_x.matmulRows(weights, part * 16, part * 16 + 16, &y, 0);
        try expectEqual(expected, y);
        try expectError(error.Shape, packed_x.pack(&x, 0, .{}));
        try expectError(error.BufferTooSmall, packed_x.pack(&x, 256, .{ .m = 4 }));
        try packed_x.pack(&x, 32, .{});
        try expectError(error.Shape, packed_x.matmulTensor(w, &y, 0));
        packed_x.deinit();
        packed_x.deinit();
        try expectError(error.InvalidHandle, packed_x.matmulTensor(w, &y, 0));
    }
}

fn closing(context: gguffuse.Context, file: gguffuse.File, wrong: *bool) void {
    wrong.* = true;
    var x: [256]f32 = undefined;
    activations(&x);
    var y: [64]f32 = undefined;
    while (true) {
        const w = file.tensorAt(0) catch |refused| return if (refused == error.InvalidHandle) {
            wrong.* = false;
        };
        context.matmulTensor(w, &x, &y, .{}) catch |refused| return if (refused == error.InvalidHandle) {
            wrong.* = false;
        };
    }
}

test "closed by another thread" {
    const context = try gguffuse.Context.init(.{});
    defer context.deinit();
    const file = try gguffuse.File.openMemory(raw, .{});
    var wrong: [threads]bool = @splat(true);
    var running: [threads]std.Thread = undefined;
    for (&running, &wrong) |*thread, *one| thread.* = try std.Thread.spawn(.{}, closing, .{ context, file, one });
    try std.testing.io.sleep(.fromMilliseconds(20), .awake);
    file.close();
    for (running) |thread| thread.join();
    for (wrong) |one| try expect(!one);
}
