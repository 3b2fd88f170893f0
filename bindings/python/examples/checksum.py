#!/usr/bin/env python3
"""Prints what is in a GGUF file, multiplies by one of its tensors, and prints a checksum of the product.

    python3 checksum.py FILE

The same numbers in every language: examples/checksum/README.md says which.
"""

import sys

import gguffuse
import numpy as np


def fnv1a(data: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def main() -> None:
    with gguffuse.open(sys.argv[1]) as file:
        print(f"{file.metadata['general.name']}: {file.metadata['general.architecture']}, {len(file)} tensors")
        print(f"tokens: {file.metadata['tokenizer.ggml.tokens']}")
        weights = file["blk.0.ffn_gate.weight"]
        print(f"{weights.name}: {weights.type.name} {list(weights.dims)} at byte {weights.absolute_offset}")
        i = np.arange(weights.k).reshape(1, weights.k)
        x = ((i * 7919) % 2003 - 1001).astype(np.float32) / np.float32(1001)
        y = x @ weights.T
    print(f"checksum {fnv1a(y.astype('<f4').tobytes()):016x}")


if __name__ == "__main__":
    try:
        main()
    except (gguffuse.Error, IndexError) as error:
        sys.exit(f"checksum: {error}")
