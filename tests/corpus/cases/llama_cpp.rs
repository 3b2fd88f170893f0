//! The cases of llama.cpp's own test of its reader, by the names that they have there. Where the answer is another than
//! theirs a comment says why.

use super::{Case, entry, one};
use crate::raw::{BOOL, F32, I8, I32, Raw, STRING, U8, U32};

const I64: u32 = 27;

pub fn cases() -> Vec<Case> {
    let named = |name: &str, status, raw| Case::new(&format!("llama.cpp-{name}"), status, raw);
    let two = |alignment: Option<u32>, offset: u64| {
        let raw = Raw::new(3, 2, u64::from(alignment.is_some()));
        let raw = alignment.map_or(raw.clone(), |alignment| raw.alignment(alignment));
        raw.tensor("a", &[5], I8, 0).tensor("b", &[7], I8, offset)
    };
    let success = || {
        let raw = Raw::new(3, 0, 4).key("u8", U8).bytes(&[200]).key("i32", I32).u32(u32::MAX);
        raw.key("bool", BOOL).bytes(&[1]).key("string", STRING).string(b"text")
    };
    let root = 1_533_000_000; // some more than the square root of 2^64 / 8
    vec![
        named("HEADER_BAD_MAGIC", "BAD_FORMAT", Raw::default().bytes(b"FUGG").u32(3).u64(0).u64(0)),
        named("HEADER_BAD_VERSION_0", "UNSUPPORTED_VERSION", Raw::new(0, 0, 0)),
        named("HEADER_BAD_VERSION_1", "UNSUPPORTED_VERSION", Raw::new(1, 0, 0)),
        named("HEADER_BAD_VERSION_FUTURE", "UNSUPPORTED_VERSION", Raw::new(4, 0, 0)),
        named("HEADER_BAD_N_TENSORS", "TRUNCATED", Raw::new(3, u64::MAX, 0)),
        named("HEADER_BAD_N_KV", "TRUNCATED", Raw::new(3, 0, u64::MAX)),
        named("HEADER_EMPTY", "OK", Raw::new(3, 0, 0).pad(32)),
        named("KV_BAD_KEY_SIZE", "TRUNCATED", Raw::new(3, 0, 1).u64(u64::MAX).data(64)),
        named("KV_EMPTY_KEY", "BAD_FORMAT", entry("", U8).data(1).pad(32)),
        named("KV_BAD_TYPE", "BAD_FORMAT", entry("key", 13).data(1).pad(32)),
        // Switched off there, as it takes a terabyte.
        named("KV_BAD_VALUE_SIZE", "TRUNCATED", entry("key", STRING).u64(u64::MAX).data(64)),
        named("KV_DUPLICATE_KEY", "BAD_FORMAT", Raw::new(3, 0, 2).key("k", U8).data(1).key("k", U8).data(1).pad(32)),
        named("KV_BAD_ALIGN", "BAD_FORMAT", Raw::new(3, 0, 1).alignment(13).pad(32)),
        named("KV_WRONG_TYPE_ALIGN", "TYPE_MISMATCH", entry("general.alignment", I32).u32(32).pad(32)),
        named("KV_SUCCESS", "OK", success().pad(32)).answers("u64", "u8", 200),
        named("TENSORS_BAD_NAME_SIZE", "LIMIT", Raw::new(3, 1, 0).tensor(&"n".repeat(65), &[1], I8, 0).pad(32).data(1)),
        // They stop at 63 bytes; the format allows 64.
        named("TENSORS_BAD_NAME_SIZE_64", "OK", Raw::new(3, 1, 0).tensor(&"n".repeat(64), &[1], I8, 0).pad(32).data(1)),
        named("TENSORS_BAD_N_DIMS", "LIMIT", one(&[1; 5], F32, 0, 64)),
        named("TENSORS_BAD_SHAPE", "TRUNCATED", one(&[u64::MAX; 4], F32, 0, 64)),
        named("TENSORS_ZERO_DIM", "OK", one(&[4, 0], F32, 0, 0)),
        named("TENSORS_NE_TOO_BIG", "TRUNCATED", one(&[4 * 0x7fff_ffff, 4 * 0x7fff_ffff], I8, 0, 64)),
        named("TENSORS_NBYTES_TOO_BIG", "TRUNCATED", one(&[root, root], I64, 0, 64)),
        named("TENSORS_NBYTES_PAD_WRAP", "TRUNCATED", one(&[4, (1 << 30) - 1, (1 << 30) + 1], F32, 0, 64)),
        named("TENSORS_BAD_TYPE", "UNSUPPORTED_TYPE", one(&[1], 43, 0, 64)),
        named("TENSORS_BAD_OFFSET", "BAD_FORMAT", one(&[1], F32, u64::MAX, 64)),
        named(
            "TENSORS_DUPLICATE_NAME",
            "BAD_FORMAT",
            Raw::new(3, 2, 0).tensor("my_tensor", &[1], I8, 0).tensor("my_tensor", &[1], I8, 32).pad(32).data(64),
        ),
        named("TENSORS_BAD_ALIGN", "BAD_FORMAT", two(Some(13), 13).pad(32).data(64)),
        named("TENSORS_INCONSISTENT_ALIGN", "BAD_FORMAT", two(Some(32), 5).pad(32).data(64)),
        // Without their data, which they do not ask for: a file of a directory only is a file that was cut.
        named("TENSORS_SUCCESS", "TRUNCATED", two(None, 32).pad(32)),
        named("TENSORS_CUSTOM_ALIGN", "TRUNCATED", two(Some(1), 5)),
        named("DATA_NOT_ENOUGH_DATA", "TRUNCATED", two(None, 32).pad(32).data(38)),
        named("DATA_BAD_ALIGN", "BAD_FORMAT", two(Some(13), 13).data(64)),
        named("DATA_INCONSISTENT_ALIGN", "BAD_FORMAT", two(Some(32), 5).pad(32).data(12)),
        named(
            "DATA_MEM_SIZE_OVERFLOW",
            "TRUNCATED",
            Raw::new(3, 2, 0)
                .tensor("a", &[0x7FFF_FFFF_FFFF_FFC0], I8, 0)
                .tensor("b", &[0x7FFF_FFFF_FFFF_FFC0], I8, 0x7FFF_FFFF_FFFF_FFC0)
                .pad(32)
                .data(32),
        ),
        named("DATA_SUCCESS", "OK", two(None, 32).pad(32).data(39)).answers("tensor", "b", 128),
        named("DATA_CUSTOM_ALIGN", "OK", two(Some(1), 5).data(12)).answers("tensor", "b", 128),
        named("KV_SUCCESS_u32", "OK", entry("k", U32).u32(0xdead_beef)).answers("u64", "k", 0xdead_beef),
    ]
}
