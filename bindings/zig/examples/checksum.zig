//! Prints what is in a GGUF file, multiplies by one of its tensors, and prints a checksum of the product.
//!
//!     zig build checksum -- FILE
//!
//! The same numbers in every language: examples/checksum/README.md in the repository says which.

const std = @import("std");
const gguffuse = @import("gguffuse");

pub fn main(init: std.process.Init) u8 {
    run(init) catch |err| {
        var text: [512]u8 = undefined;
        std.debug.print("checksum: {t}: {s}\n", .{ err, gguffuse.lastError(&text) });
        return 1;
    };
    return 0;
}

fn run(init: std.process.Init) !void {
    const allocator = init.arena.allocator();
    const args = try init.minimal.args.toSlice(allocator);
    if (args.len != 2) return error.UsageIsChecksumFile;
    var buffer: [1024]u8 = undefined;
    var output: std.Io.File.Writer = .initStreaming(.stdout(), init.io, &buffer);
    const out = &output.interface;

    const file = try gguffuse.File.open(args[1], .{});
    defer file.close();
    const name = try file.get([]const u8, "general.name");
    try out.print("{s}: {d} tensors, tokens", .{ name, (try file.info()).tensor_count });
    for (try (try file.metadata("tokenizer.ggml.tokens")).strings(allocator)) |token| try out.print(" '{s}'", .{token});
    const weights = try file.tensor("blk.0.ffn_gate.weight");
    const dims = weights.dims[0..weights.n_dims];
    try out.print("\n{s}: {t} {any} at byte {d}\n", .{ weights.name, weights.type, dims, weights.absolute_offset });

    const m = 1;
    const x = try allocator.alloc(f32, m * weights.k());
    for (x, 0..) |*value, i| value.* = @as(f32, @floatFromInt(@as(i64, @intCast((i * 7919) % 2003)) - 1001)) / 1001.0;
    const y = try allocator.alloc(f32, m * weights.n());
    const context = try gguffuse.Context.init(.{}); // exact, all threads
    defer context.deinit();
    try context.matmulTensor(weights, x, y, .{ .m = m });

    var hash: std.hash.Fnv1a_64 = .init();
    for (y) |value| {
        var bytes: [4]u8 = undefined;
        std.mem.writeInt(u32, &bytes, @bitCast(value), .little);
        hash.update(&bytes);
    }
    try out.print("checksum {x:0>16}\n", .{hash.final()});
    try out.flush();
}
