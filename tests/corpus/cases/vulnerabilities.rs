//! What broke readers before: one or more files for each known vulnerability. The number in the name is the row of the
//! list that SECURITY.md gives, the rest its identifier. The comments say what went wrong there.

use super::{Case, entry, one, valid};
use crate::raw::{ARRAY, BOOL, F32, I8, I32, Raw, STRING, U8, U32};

const U64: u32 = 10;
const GIB: u64 = 1 << 30;

pub fn cases() -> Vec<Case> {
    let mut cases = counts_and_lengths();
    cases.extend(extents());
    cases.extend(types_and_values());
    cases
}

fn case(name: &str, status: &'static str, raw: Raw) -> Case {
    Case::new(name, status, raw)
}

fn counts_and_lengths() -> Vec<Case> {
    const T: &str = "TRUNCATED";
    let tail = |raw: Raw| raw.data(64);
    let mut cases = vec![
        // n * sizeof(string) wraps.
        case("01-CVE-2024-21825-array-2p61", T, tail(entry("k", ARRAY).array(STRING, 1 << 61))),
        // length + 1 wraps.
        case("02-CVE-2024-23496-string-2p64m1", T, tail(entry("k", STRING).u64(u64::MAX))),
        case("02-CVE-2024-23496-string-2p63", T, tail(entry("k", STRING).u64(1 << 63))),
        case("02-CVE-2024-23496-string-one-more", T, tail(entry("k", STRING).u64(65))),
        case("02-CVE-2024-23496-key-2p64m1", T, tail(Raw::new(3, 0, 1).u64(u64::MAX))),
        // More dimensions than there is room for.
        case("03-CVE-2024-21802-dims-5", "LIMIT", one(&[1; 5], F32, 0, 4)),
        case("03-CVE-2024-21802-dims-255", "LIMIT", tail(Raw::new(3, 1, 0).string(b"t").u32(255))),
        case("03-CVE-2024-21802-dims-2p32m1", "LIMIT", tail(Raw::new(3, 1, 0).string(b"t").u32(u32::MAX))),
        // n * sizeof(tensor) wraps, n * sizeof(entry) wraps.
        case("04-CVE-2024-21836-tensors-2p60", T, tail(Raw::new(3, 1 << 60, 0))),
        case("04-CVE-2024-21836-tensors-2p64m1", T, tail(Raw::new(3, u64::MAX, 0))),
        case("05-CVE-2024-23605-entries-2p60", T, tail(Raw::new(3, 0, 1 << 60))),
        case("05-CVE-2024-23605-entries-2p64m1", T, tail(Raw::new(3, 0, u64::MAX))),
        // Counts and types that nobody looked at.
        case("06-CVE-2024-25664-entries", T, tail(Raw::new(3, 1, 1 << 32))),
        case("06-CVE-2024-25665-string", T, tail(entry("k", STRING).u64(1 << 32))),
        case("06-CVE-2024-25666-tensors", T, tail(Raw::new(3, 1 << 32, 0))),
        case("06-CVE-2024-25667-array-count", T, tail(entry("k", ARRAY).array(U32, 1 << 62))),
        case("06-CVE-2024-25668-array-type-13", "BAD_FORMAT", tail(entry("k", ARRAY).array(13, 1))),
        case("06-CVE-2024-25668-array-type-2p31", "BAD_FORMAT", tail(entry("k", ARRAY).array(1 << 31, 1))),
        case("06-CVE-2024-25668-array-type-minus-1", "BAD_FORMAT", tail(entry("k", ARRAY).array(u32::MAX, 1))),
        // Only the header.
        case("08-CVE-2024-41130-no-body", T, Raw::new(3, 1, 1)),
        case("08-CVE-2024-41130-no-tensors", T, Raw::new(3, 1, 0)),
        // A token whose length does not fit in an i32; and cut.
        case("10-CVE-2025-49847-token-2gib", "LIMIT", entry("t", ARRAY).array(STRING, 1).u64(2 * GIB + 1))
            .sparse(3 * GIB),
        case("10-CVE-2025-49847-token-cut", T, tail(entry("t", ARRAY).array(STRING, 1).u64(2 * GIB + 1))),
        // No tokenizer here: a long text is a long text.
        case("11-CVE-2025-52566-long-text", "OK", entry("k", STRING).string(&[b'a'; 100_000]))
            .answers("string", "k", 100_000),
        case("28-CVE-2025-0315-entries-for-a-terabyte", T, tail(Raw::new(3, 0, 1 << 40))),
        case("28-PR-14175-dims-2p32m1", T, one(&[u32::MAX.into(); 4], I8, 0, 64)),
        case("28-17042-one-dim-2p32m1", T, one(&[u32::MAX.into()], I8, 0, 64)),
        case("30-CVE-2025-66959-version-1", "UNSUPPORTED_VERSION", tail(Raw::default().bytes(b"GGUF").u32(1).u32(0))),
        case("30-CVE-2025-66960-huge-string", T, tail(entry("k", STRING).u64(i64::MAX as u64))),
        case("33-gguf-tools-25-dims-9", "LIMIT", one(&[1; 9], F32, 0, 4)),
        case("34-candle-3533-string-of-the-address-space", T, entry("k", STRING).u64(1 << 47)),
        case("34-candle-3533-array-of-the-address-space", T, entry("k", ARRAY).array(U8, 1 << 47)),
        case("36-gguf-parser-go-20-string-minus-8", T, tail(entry("k", STRING).u64(8u64.wrapping_neg()))),
        case("36-gguf-parser-go-20-array-minus-1", T, tail(entry("k", ARRAY).array(U8, u64::MAX))),
    ];
    // Cut inside of each of the entries: what was not read yet must not be freed.
    let whole = (0..6).fold(Raw::new(3, 0, 6), |raw, index| raw.key(&format!("key{index}"), STRING).string(b"value"));
    for index in 0..6 {
        let raw = whole.clone().tap(|raw| raw.0.truncate(24 + 29 * index + 17));
        cases.push(case(&format!("07-CVE-2024-32878-cut-in-entry-{index}"), T, raw));
    }
    // Every prefix up to the end of the header, and some more.
    for length in (0..=24).chain([25, 33, 36, 40, 60, 80, 100]) {
        let raw = valid().tap(|raw| raw.0.truncate(length));
        cases.push(case(&format!("24-CVE-2024-39720-prefix-{length:03}"), T, raw));
    }
    // Declared sizes that a sparse file backs: nothing may be taken for them.
    cases.extend([
        case("22-ggml-1516-string-1gib", "LIMIT", entry("k", STRING).u64(GIB)).sparse(2 * GIB),
        case("22-ggml-1516-array-2p30", "LIMIT", entry("k", ARRAY).array(U8, GIB)).sparse(2 * GIB),
        case("22-ggml-1516-empty-strings-128-mi", "LIMIT", entry("k", ARRAY).array(STRING, GIB / 8)).sparse(2 * GIB),
        case("22-ggml-1516-tensors-40-mi", "LIMIT", Raw::new(3, 40 << 20, 0)).sparse(2 * GIB),
        case("22-ggml-1516-entries-80-mi", "LIMIT", Raw::new(3, 0, 80 << 20)).sparse(2 * GIB),
        case("22-alignment-2p31", T, Raw::new(3, 1, 1).alignment(1 << 31).tensor("t", &[1], I8, 0).pad(32).data(1)),
        // Recursion, endless loops.
        case("23-gguf-py-arrays-65536-deep", "LIMIT", (0..65536).fold(entry("k", ARRAY), |raw, _| raw.array(ARRAY, 1))),
        case("37-huggingface-2020-arrays-of-empty-arrays", T, entry("k", ARRAY).array(ARRAY, 1 << 58).data(240)),
        case(
            "37-huggingface-2020-many-empty-arrays",
            "OK",
            (0..1000).fold(entry("k", ARRAY).array(ARRAY, 1000), |raw, _| raw.array(U8, 0)),
        ),
        case("37-huggingface-2028-dims-of-a-million", T, one(&[1_000_000; 3], F32, 0, 64)),
        case("37-huggingface-2028-strings-of-nothing", T, entry("k", ARRAY).array(STRING, 1 << 32).data(4096)),
        case("37-huggingface-2028-dims-2p31", "LIMIT", Raw::new(3, 1, 0).string(b"t").u32(1 << 31).data(64)),
        case("37-huggingface-2028-name-of-a-gib", T, Raw::new(3, 1, 0).u64(GIB).data(64)),
    ]);
    cases
}

fn extents() -> Vec<Case> {
    const T: &str = "TRUNCATED";
    const NEAR: u64 = 0x7FFF_FFFF_FFFF_FFC0;
    let twice =
        |size: u64| Raw::new(3, 2, 0).tensor("a", &[size], I8, 0).tensor("b", &[size], I8, size).pad(32).data(32);
    vec![
        case("09-llama.cpp-6774-cut-in-data", T, valid().tap(|raw| raw.0.truncate(raw.0.len() - 40))),
        // The sum of padded sizes wraps; then the memory for it.
        case("12-CVE-2025-53630-sum-wraps", T, twice(1 << 63)),
        case("13-CVE-2026-27940-memory-size-wraps", T, twice(NEAR)),
        // The product wraps to something small.
        case("14-CVE-2026-33298-product-wraps", T, one(&[1 << 20, (1 << 42) + 1], F32, 0, 4096)),
        case("16-llama.cpp-25596-zero-dim", "OK", one(&[i64::MAX as u64, 0], F32, 0, 0)),
        case("17-llama.cpp-26978-padding-wraps", T, one(&[4, (1 << 30) - 1, (1 << 30) + 1], F32, 0, 64)),
        case("18-llama.cpp-27203-product-negative", T, one(&[i64::MAX as u64, 2], I8, 0, 64)),
        case("19-llama.cpp-26318-size-near-2p64", T, one(&[u64::MAX - 16], I8, 0, 64)),
        case("26-CVE-2024-12055-offset-past-the-end", T, one(&[1], F32, 1 << 20, 64)),
        case("26-CVE-2024-12055-length-past-the-end", T, one(&[1 << 20], F32, 0, 64)),
        case("31-CVE-2026-7482-offset-at-the-end", T, one(&[8], F32, 64, 64)),
        case("31-CVE-2026-7482-size-past-the-end", T, one(&[17], F32, 0, 64)),
        case("31-CVE-2026-7482-last-tensor-cut-by-1", T, valid().tap(|raw| raw.0.truncate(raw.0.len() - 1))),
        case("32-CVE-2025-62609-base-plus-offset-wraps", T, one(&[1], F32, u64::MAX - 31, 64)),
        case("32-MLX-4136-offset-2p63", T, one(&[1], F32, 1 << 63, 64)),
        case("32-lucebox-459-sum-of-three-wraps", T, one(&[u64::MAX / 4 - 16], F32, 64, 64)),
        case("35-candle-3714-product-of-2p40", T, one(&[1 << 40, 1 << 40], F32, 0, 64)),
        case("35-gguf-rs-15-product-of-four", T, one(&[1 << 16; 4], F32, 0, 64)),
        // The tail of one tensor is read from the next.
        case(
            "38-ik-2437-overlap",
            "BAD_FORMAT",
            Raw::new(3, 2, 0).tensor("a", &[64], I8, 0).tensor("b", &[32], I8, 32).pad(32).data(64),
        ),
        case(
            "38-ik-2437-same-place",
            "BAD_FORMAT",
            Raw::new(3, 2, 0).tensor("a", &[32], I8, 0).tensor("b", &[32], I8, 0).pad(32).data(64),
        ),
    ]
}

fn types_and_values() -> Vec<Case> {
    let aligned = |alignment| Raw::new(3, 1, 1).alignment(alignment).tensor("t", &[1], I8, 0).pad(32).data(32);
    let alignment_of = |value_type: u32, value: &[u8]| entry("general.alignment", value_type).bytes(value);
    let array_alignment = || entry("general.alignment", ARRAY).array(U32, 1).u32(32);
    vec![
        case("15-llama.cpp-24884-empty-key", "BAD_FORMAT", entry("", U8).data(1)),
        case("16-llama.cpp-25596-alignment-i32", "TYPE_MISMATCH", alignment_of(I32, &[32, 0, 0, 0])),
        case("16-llama.cpp-25596-alignment-u64", "TYPE_MISMATCH", alignment_of(U64, &[32, 0, 0, 0, 0, 0, 0, 0])),
        case("16-llama.cpp-25596-alignment-array", "TYPE_MISMATCH", array_alignment()),
        // The number of a shard as another type than its reader expected: opening is fine, asking tells.
        case("20-split-no-as-string", "OK", entry("split.no", STRING).string(b"1")).refuses(
            "u64",
            "split.no",
            "TYPE_MISMATCH",
        ),
        case("20-split-no-as-u32", "OK", entry("split.no", U32).u32(1)).answers("u64", "split.no", 1),
        case(
            "21-nul-merges-names",
            "BAD_FORMAT",
            Raw::new(3, 2, 0).tensor("a\0x", &[1], I8, 0).tensor("a\0y", &[1], I8, 32).pad(32).data(64),
        ),
        case("25-CVE-2024-8063-block-count-string", "OK", entry("llama.block_count", STRING).string(b"22")).refuses(
            "u64",
            "llama.block_count",
            "TYPE_MISMATCH",
        ),
        case("25-CVE-2024-8063-block-count-negative", "OK", entry("llama.block_count", I32).u32(u32::MAX)).refuses(
            "u64",
            "llama.block_count",
            "TYPE_MISMATCH",
        ),
        case("27-CVE-2025-0312-missing-key", "OK", entry("general.name", STRING).string(b"x")).refuses(
            "string",
            "general.architecture",
            "NOT_FOUND",
        ),
        case("29-CVE-2025-0317-alignment-0", "BAD_FORMAT", aligned(0)),
        case("29-gguf-tools-27-alignment-3", "BAD_FORMAT", aligned(3)),
        case("29-candle-3876-alignment-13", "BAD_FORMAT", aligned(13)),
        case("29-ik-alignment-2p31", "TRUNCATED", aligned(1 << 31)),
        case("29-ik-alignment-minus-1", "BAD_FORMAT", aligned(u32::MAX)),
        case("39-ik-alignment-bool", "TYPE_MISMATCH", alignment_of(BOOL, &[1])),
        case("39-ik-alignment-string", "TYPE_MISMATCH", entry("general.alignment", STRING).string(b"32")),
        case("39-ik-type-4", "UNSUPPORTED_TYPE", one(&[32], 4, 0, 64)),
        case("39-ik-type-43", "UNSUPPORTED_TYPE", one(&[32], 43, 0, 64)),
        case("39-ik-type-minus-1", "UNSUPPORTED_TYPE", one(&[32], u32::MAX, 0, 64)),
        case("39-ik-type-31", "UNSUPPORTED_TYPE", one(&[32], 31, 0, 64)),
        case("39-ik-nested-array", "OK", entry("k", ARRAY).array(ARRAY, 1).array(U8, 1).bytes(&[9])),
        case("39-ik-value-type-13", "BAD_FORMAT", entry("k", 13).data(8)),
        case("39-ik-value-type-minus-1", "BAD_FORMAT", entry("k", u32::MAX).data(8)),
        case("39-ik-row-of-half-a-block", "BAD_FORMAT", one(&[16], 8, 0, 64)),
        case("39-ik-huge-dims-and-a-zero", "OK", one(&[0, 1 << 62, 1 << 62, 1 << 62], F32, 0, 0)),
        case(
            "40-lm-studio-2289-vocabulary",
            "OK",
            entry("tokenizer.ggml.tokens", ARRAY).array(STRING, 2).string(b"<0x-1>").string(b"<0xFFFFFFFF>"),
        ),
        case(
            "41-CVE-2024-34359-chat-template",
            "OK",
            entry("tokenizer.chat_template", STRING).string(b"{{ ''.__class__.__mro__[1].__subclasses__() }}"),
        )
        .answers("string", "tokenizer.chat_template", 46),
        case("42-mistral.rs-2215-array-of-another-type", "OK", entry("k", ARRAY).array(STRING, 1).string(b"x"))
            .refuses("element 0", "k", "TYPE_MISMATCH"),
        case("42-mistral.rs-2215-short-array", "OK", entry("k", ARRAY).array(U32, 1).u32(7)).refuses(
            "element 1",
            "k",
            "NOT_FOUND",
        ),
        case("42-mistral.rs-2215-no-array", "OK", entry("k", U32).u32(7)).refuses("element 0", "k", "TYPE_MISMATCH"),
    ]
}
