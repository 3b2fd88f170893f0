#!/usr/bin/env python3
"""Makes checksum.gguf (README.md beside this file), byte for byte the same everywhere. Needs nothing but Python 3: no
gguffuse, whose reading of the file is what the examples show.

    python3 make_file.py checksum.gguf
"""

import struct
import sys

UINT32, STRING, ARRAY = 4, 8, 9
Q4_K = 12
ALIGNMENT = 32
K, N = 256, 64
TOKENS = ["<unk>", "<s>", "</s>", "hello", "wörld", ""]


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def pad(raw):
    return raw + bytes(-len(raw) % ALIGNMENT)


def weights():
    """One block of Q4_K per row: d and dmin as f16, 12 bytes of scales and minimums, 128 bytes of codes, all of them
    from one linear congruential generator. d is about 2^-11 and dmin about 2^-9, so weights lie between -0.2 and 0.6."""
    state = 1
    raw = bytearray()

    def byte():
        nonlocal state
        state = (state * 1664525 + 1013904223) % 2**32
        return state >> 24

    for _ in range(N * K // 256):
        raw += struct.pack("<HH", 4 << 10 | byte(), 6 << 10 | byte())
        raw += bytes(byte() for _ in range(140))
    return bytes(raw)


def file():
    metadata = [
        string("general.architecture") + struct.pack("<I", STRING) + string("checksum"),
        string("general.name") + struct.pack("<I", STRING) + string("gguffuse checksum"),
        string("checksum.block_count") + struct.pack("<II", UINT32, 1),
        string("tokenizer.ggml.tokens")
        + struct.pack("<IIQ", ARRAY, STRING, len(TOKENS))
        + b"".join(map(string, TOKENS)),
    ]
    tensors = [string("blk.0.ffn_gate.weight") + struct.pack("<IQQIQ", 2, K, N, Q4_K, 0)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    return pad(head + b"".join(metadata) + b"".join(tensors)) + pad(weights())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_file.py OUTPUT")
    with open(sys.argv[1], "wb") as output:
        output.write(file())
