//! What else is malformed, odd or large, most of it generated: metadata of every type cut and mistyped, rows that are not
//! whole blocks, weights that are not numbers, files beyond 4 GiB.

use super::{Case, entry, one};
use crate::raw::{ARRAY, F32, I8, Raw, STRING, U8};
use gguffuse::blocks::TensorType;
use gguffuse::gguf::ValueType;

pub fn cases() -> Vec<Case> {
    let named = |name: &str, status, raw| Case::new(&format!("odd-{name}"), status, raw);
    let text = |text: &[u8]| Raw::default().bytes(text);
    const GIB: u64 = 1 << 30;
    let mut cases = vec![
        named("git-lfs-pointer", "BAD_FORMAT", text(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")),
        named("html", "BAD_FORMAT", text(b"<!DOCTYPE html><html><body>404</body></html>")),
        named("zip", "BAD_FORMAT", text(b"PK\x03\x04\x14\x00\x00\x00\x08\x00 and so on")),
        named("safetensors", "BAD_FORMAT", text(b"\x10\0\0\0\0\0\0\0{\"__metadata__\":{}}")),
        named("ggml", "BAD_FORMAT", text(b"lmgg\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")),
        named("zeros", "BAD_FORMAT", text(&[0; 4096])),
        named("zeros-sparse", "BAD_FORMAT", text(&[0; 32])).sparse(5 * GIB),
        named("lower-case-magic", "BAD_FORMAT", text(b"gguf\x03\0\0\0").data(64)),
        named("magic-twice", "UNSUPPORTED_VERSION", text(b"GGUFGGUF").data(64)),
        named(
            "past-4-gib",
            "OK",
            Raw::new(3, 2, 0).tensor("low", &[32], I8, 0).tensor("high", &[32], I8, 5 * GIB).pad(32),
        )
        .sparse(6 * GIB)
        .answers("tensor", "high", 5 * GIB + 96),
        named("larger-than-4-gib", "OK", Raw::new(3, 1, 0).tensor("t", &[5 * GIB], I8, 0).pad(32)).sparse(6 * GIB),
        named("larger-than-4-gib-cut-by-1", "TRUNCATED", Raw::new(3, 1, 0).tensor("t", &[5 * GIB], I8, 0).pad(32))
            .sparse(5 * GIB + 63),
        named("alignment-2p31-and-present", "OK", Raw::new(3, 1, 1).alignment(1 << 31).tensor("t", &[1], I8, 0))
            .sparse(2 * GIB + 1)
            .answers("tensor", "t", 2 * GIB),
        named("one-entry-too-many", "TRUNCATED", Raw::new(3, 0, 2).key("k", U8).data(1)),
        named("one-tensor-too-many", "TRUNCATED", Raw::new(3, 2, 0).tensor("t", &[1], I8, 0)),
        named(
            "tensor-where-an-entry-should-be",
            "BAD_FORMAT",
            Raw::new(3, 0, 1).tensor("t", &[1], 24, 0).pad(32).data(1).tap(|raw| raw.0[33] = 13),
        ),
        named(
            "two-thousand-entries",
            "OK",
            (0..2_000).fold(Raw::new(3, 0, 2_000), |raw, index| raw.key(&format!("k{index}"), U8).bytes(&[0])),
        ),
        named(
            "a-thousand-equal-prefixes",
            "OK",
            (0..1_000).fold(Raw::new(3, 0, 1_000), |raw, index| {
                raw.key(&format!("{}{index}", "prefix.".repeat(8)), U8).bytes(&[0])
            }),
        ),
        named(
            "two-thousand-tensors",
            "OK",
            (0..2_000).fold(Raw::new(3, 2_000, 0), |raw, index| raw.tensor(&format!("t{index}"), &[0], F32, 0)).pad(32),
        ),
        named(
            "last-of-many-is-a-duplicate",
            "BAD_FORMAT",
            (0..1_000)
                .fold(Raw::new(3, 0, 1_001), |raw, index| raw.key(&format!("k{index}"), U8).bytes(&[0]))
                .key("k500", U8)
                .bytes(&[1]),
        ),
    ];
    // Each value cut by one byte, and each with the wrong question.
    for value_type in ValueType::ALL {
        let (id, name) = (value_type.id(), value_type.name());
        let value = match value_type.size_bytes() {
            Some(size) => entry("k", id).bytes(&vec![1; size]),
            None if id == STRING => entry("k", id).string(b"text"),
            None => entry("k", id).array(U8, 2).bytes(&[1, 2]),
        };
        let cut = value.clone().tap(|raw| raw.0.truncate(raw.0.len() - 1));
        cases.push(named(&format!("{name}-cut-by-1"), "TRUNCATED", cut));
        let wrong = if id == STRING { "u64" } else { "string" };
        cases.push(named(&format!("{name}-asked-for-{wrong}"), "OK", value).refuses(wrong, "k", "TYPE_MISMATCH"));
        let array = entry("k", ARRAY).array(id, 1 << 62).data(64);
        cases.push(named(&format!("array-of-{name}-2p62"), "TRUNCATED", array));
    }
    for tensor_type in TensorType::ALL {
        let (id, name) = (tensor_type.id(), tensor_type.name());
        let (elements, bytes) = (tensor_type.block_elements() as u64, tensor_type.block_bytes());
        if elements > 1 {
            let raw = one(&[elements + elements / 2], id, 0, 4 * bytes);
            cases.push(named(&format!("tensor-{name}-half-a-block"), "BAD_FORMAT", raw));
        }
        // All ones: NaN or infinite scales, the largest codes. Weights are not judged when a file is opened.
        let raw = Raw::new(3, 1, 0).tensor("t", &[elements, 2], id, 0).pad(32).bytes(&vec![0xff; 2 * bytes]);
        cases.push(named(&format!("tensor-{name}-all-ones"), "OK", raw.clone()));
        cases.push(named(
            &format!("tensor-{name}-cut-by-1"),
            "TRUNCATED",
            raw.tap(|raw| raw.0.truncate(raw.0.len() - 1)),
        ));
    }
    cases
}
