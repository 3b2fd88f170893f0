//! The module "gguffuse" around an installed libgguffuse, its tests, and the example.
//!
//! pkg-config says where the library is; without it, `--search-prefix DIR` does.

const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});

    const gguffuse = b.addModule("gguffuse", .{
        .root_source_file = b.path("src/root.zig"),
        .target = target,
        .optimize = optimize,
        .link_libc = true,
    });
    gguffuse.linkSystemLibrary("gguffuse", .{});

    const tests = b.createModule(.{
        .root_source_file = b.path("src/tests.zig"),
        .target = target,
        .optimize = optimize,
        .imports = &.{.{ .name = "gguffuse", .module = gguffuse }},
    });
    const file = b.option(std.Build.LazyPath, "file", "The repository's examples/checksum/checksum.gguf, for the tests") orelse
        b.path("../../examples/checksum/checksum.gguf");
    tests.addAnonymousImport("checksum.gguf", .{ .root_source_file = file });
    const test_step = b.step("test", "Run the tests");
    for ([_]*std.Build.Module{ gguffuse, tests }) |module| {
        test_step.dependOn(&b.addRunArtifact(b.addTest(.{ .root_module = module })).step);
    }

    const checksum = b.addExecutable(.{
        .name = "checksum",
        .root_module = b.createModule(.{
            .root_source_file = b.path("examples/checksum.zig"),
            .target = target,
            .optimize = optimize,
            .imports = &.{.{ .name = "gguffuse", .module = gguffuse }},
        }),
    });
    b.installArtifact(checksum);
    const run = b.addRunArtifact(checksum);
    run.addPassthruArgs();
    b.step("checksum", "Run the example").dependOn(&run.step);
}
