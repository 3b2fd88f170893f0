//! How a status of the library becomes an error.

const std = @import("std");
const c = @import("c.zig");

/// One for each status of the library but OK.
pub const Error = error{
    NullArgument,
    InvalidHandle,
    InvalidArgument,
    Io,
    BadFormat,
    Truncated,
    Limit,
    UnsupportedVersion,
    UnsupportedType,
    NotFound,
    TypeMismatch,
    Shape,
    BufferTooSmall,
    Aliasing,
    Misaligned,
    OutOfMemory,
    Busy,
    Internal,
    UnsupportedIsa,
    Changed,
    /// A status that this package doesn't know.
    Unknown,
};

/// In the order of the statuses, from 1 on.
const errors = [_]Error{
    error.NullArgument, error.InvalidHandle, error.InvalidArgument,    error.Io,              error.BadFormat,
    error.Truncated,    error.Limit,         error.UnsupportedVersion, error.UnsupportedType, error.NotFound,
    error.TypeMismatch, error.Shape,         error.BufferTooSmall,     error.Aliasing,        error.Misaligned,
    error.OutOfMemory,  error.Busy,          error.Internal,           error.UnsupportedIsa,  error.Changed,
};

pub fn check(status: i32) Error!void {
    if (status == 0) return;
    if (status < 1 or status > errors.len) return error.Unknown;
    return errors[@intCast(status - 1)];
}

/// The text of the last call that failed on this thread: what was wrong, where, and why. It is cut to what `buffer` holds.
pub fn lastError(buffer: []u8) []const u8 {
    const needed = c.gguffuse_last_error(buffer.ptr, buffer.len);
    return buffer[0..@min(needed, buffer.len) -| 1];
}

test "every status has its error, in order" {
    for (errors, 1..) |one, status| {
        const name = std.mem.span(c.gguffuse_status_name(@intCast(status)));
        var letters: [64]u8 = undefined;
        var length: usize = 0;
        for (name) |letter| if (letter != '_') {
            letters[length] = letter;
            length += 1;
        };
        try std.testing.expect(std.ascii.eqlIgnoreCase(letters[0..length], @errorName(one)));
    }
    try std.testing.expectEqualStrings("UNKNOWN", std.mem.span(c.gguffuse_status_name(errors.len + 1)));
}
