//! The rules where readers in the wild disagree: llama.cpp, ik_llama.cpp and PyPI's gguf accept different files. Each
//! has its answer here.

use super::{Case, entry, one, valid};
use crate::raw::{ARRAY, BOOL, F32, I8, Raw, STRING, U8, U32};

pub fn cases() -> Vec<Case> {
    let named = |name: &str, status, raw| Case::new(&format!("readers-{name}"), status, raw);
    let tensor_named = |name: &[u8]| Raw::new(3, 1, 0).string(name).u32(0).u32(F32).u64(0).pad(32).data(4);
    let big_endian = |version: u32| {
        Raw::default().bytes(b"GGUF").bytes(&version.to_be_bytes()).bytes(&[0; 15]).bytes(&[1]).bytes(&[0; 40])
    };
    let deep =
        |levels: usize| (1..levels).fold(entry("k", ARRAY), |raw, _| raw.array(ARRAY, 1)).array(U8, 1).bytes(&[9]);
    let mut cases = vec![
        named("nul-in-key", "BAD_FORMAT", entry("a\0b", U8).data(1)),
        named("nul-in-tensor-name", "BAD_FORMAT", tensor_named(b"a\0b")),
        named("nul-in-string", "OK", entry("k", STRING).string(b"a\0b")).answers("string", "k", 3),
        named("not-utf8-key", "BAD_FORMAT", Raw::new(3, 0, 1).string(b"a\xff").u32(U8).data(1)),
        named("not-utf8-tensor-name", "BAD_FORMAT", tensor_named(b"\xc3\x28")),
        named("not-utf8-surrogate", "BAD_FORMAT", tensor_named(b"\xed\xa0\x80")),
        named("not-utf8-overlong", "BAD_FORMAT", Raw::new(3, 0, 1).string(b"\xc0\xaf").u32(U8).data(1)),
        named("not-utf8-string", "OK", entry("k", STRING).string(b"\xff\xfe")).answers("string", "k", 2),
        named("not-ascii-key", "OK", entry("\u{1f980}", U8).data(1)),
        named("bool-7", "BAD_FORMAT", entry("k", BOOL).bytes(&[7])),
        named("bool-2-in-array", "BAD_FORMAT", entry("k", ARRAY).array(BOOL, 3).bytes(&[0, 1, 2])),
        named("bool-255-in-nested-array", "BAD_FORMAT", entry("k", ARRAY).array(ARRAY, 1).array(BOOL, 1).bytes(&[255])),
        named("bool-1", "OK", entry("k", BOOL).bytes(&[1])).answers("bool", "k", 1),
        named("nested-array-2", "OK", deep(2)),
        named("nested-array-4", "OK", deep(4)),
        named("nested-array-5", "LIMIT", deep(5)),
        named(
            "overlap-by-one-byte",
            "BAD_FORMAT",
            Raw::new(3, 2, 0).tensor("a", &[33], I8, 0).tensor("b", &[1], I8, 32).pad(32).data(64),
        ),
        named(
            "overlap-within",
            "BAD_FORMAT",
            Raw::new(3, 2, 0).tensor("a", &[96], I8, 0).tensor("b", &[1], I8, 32).pad(32).data(96),
        ),
        named("gap", "OK", Raw::new(3, 2, 0).tensor("a", &[1], I8, 0).tensor("b", &[1], I8, 64).pad(32).data(65))
            .answers("tensor", "b", 160),
        named(
            "out-of-order",
            "OK",
            Raw::new(3, 2, 0).tensor("a", &[1], I8, 32).tensor("b", &[1], I8, 0).pad(32).data(33),
        )
        .answers("tensor", "a", 128),
        named("offset-not-aligned", "BAD_FORMAT", one(&[1], F32, 16, 64)),
        named("offset-1", "BAD_FORMAT", one(&[1], I8, 1, 64)),
        named("data-missing", "TRUNCATED", one(&[1], F32, 0, 0)),
        named("data-cut-by-1", "TRUNCATED", one(&[1], F32, 0, 3)),
        named("big-endian-3", "UNSUPPORTED_VERSION", big_endian(3)),
        named("big-endian-2", "UNSUPPORTED_VERSION", big_endian(2)),
        named("version-0", "UNSUPPORTED_VERSION", Raw::new(0, 0, 0).pad(32)),
        named("version-4", "UNSUPPORTED_VERSION", Raw::new(4, 0, 0).pad(32)),
        named("version-2", "OK", Raw::new(2, 0, 0).pad(32)),
        named("version-minus-1", "UNSUPPORTED_VERSION", Raw::new(u32::MAX, 0, 0)),
        named("zero-and-huge-dims", "OK", one(&[0, 1 << 62, 1 << 62, 1 << 62], F32, 0, 0)),
        named(
            "zero-dim-within-another",
            "OK",
            Raw::new(3, 2, 0).tensor("a", &[64], I8, 0).tensor("z", &[0], I8, 32).pad(32).data(64),
        ),
        named("zero-dim-past-the-end", "TRUNCATED", one(&[0], I8, 64, 32)),
        named("no-dims", "OK", one(&[], F32, 0, 4)),
        named("no-dims-of-blocks", "BAD_FORMAT", one(&[], 8, 0, 64)),
        named("empty-tensor-name", "OK", tensor_named(b"")),
        named("name-of-64", "OK", tensor_named(&[b'n'; 64])),
        named("name-of-65", "LIMIT", tensor_named(&[b'n'; 65])),
        named("key-of-65535", "OK", entry(&"k".repeat(65535), U8).data(1)),
        named("key-of-65536", "LIMIT", entry(&"k".repeat(65536), U8).data(1)),
        named("trailing-junk", "OK", valid().bytes(b"junk junk junk")),
        named("duplicate-key", "BAD_FORMAT", Raw::new(3, 0, 2).key("k", U8).data(1).key("k", U32).u32(1)),
        named(
            "duplicate-name",
            "BAD_FORMAT",
            Raw::new(3, 2, 0).tensor("t", &[1], I8, 0).tensor("t", &[1], F32, 32).pad(32).data(64),
        ),
        named(
            "same-text-as-key-and-name",
            "OK",
            Raw::new(3, 1, 1).key("t", U8).data(1).tensor("t", &[1], I8, 0).pad(32).data(1),
        ),
        named("alignment-1", "OK", Raw::new(3, 1, 1).alignment(1).tensor("t", &[3], I8, 0).data(3))
            .answers("tensor", "t", 90),
        named("alignment-2", "OK", Raw::new(3, 1, 1).alignment(2).tensor("t", &[3], I8, 2).pad(2).data(5))
            .answers("tensor", "t", 92),
        named("alignment-4096", "OK", Raw::new(3, 1, 1).alignment(4096).tensor("t", &[3], I8, 0).pad(4096).data(3))
            .answers("tensor", "t", 4096),
        named(
            "alignment-2p31-and-past-the-end",
            "TRUNCATED",
            Raw::new(3, 1, 1).alignment(1 << 31).tensor("t", &[1], I8, 0).pad(32).data(32),
        ),
        named("dims-past-the-end", "TRUNCATED", one(&[(1 << 32) - 4096, 1 << 31], F32, 0, 64)),
    ];
    // Types that ggml removed, and those that it never had.
    for id in [4, 5, 31, 32, 33, 36, 37, 38, 43, 44, 255, 256, 1 << 31, u32::MAX] {
        cases.push(named(&format!("type-{id}"), "UNSUPPORTED_TYPE", one(&[256], id, 0, 512)));
    }
    cases
}
