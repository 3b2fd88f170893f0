#!/usr/bin/env python3
"""Compares what libgguffuse dequantises, through its C interface, with PyPI's gguf, bit for bit.

    scripts/check_dequantize.py LIBRARY

Needs the PyPI packages gguf and numpy. 100,000 blocks of each type that gguf dequantises: blocks of random bytes, so that
every scale, code and sign occurs, NaN and infinite scales among them. There is no tolerance: gguf computes in f32, with the
same operations in the same order as ggml. Only that one NaN equals any other: sign and payload of the NaN that comes out of
infinity times 0 are the processor's choice.

Besides, gguffuse_validate has to find those blocks that gguf makes values of that are not finite, all of them and no others;
for MXFP4 and NVFP4 those with a scale above what the type allows. Exit code 1 where anything differs.
"""

import sys
from ctypes import POINTER, byref, c_float, c_uint64, c_void_p

import gguf
import numpy as np
from interface import Differences, Library, TypeInfo, sized

BLOCKS = 100_000
BATCH = 10_000
# What gguf 0.19.0 has: no comparisons at all would agree as well. Of ours it lacks Q1_0 and Q2_0.
TYPES = [gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16, *gguf.quants._type_traits]
TYPES_KNOWN = 26
NO_BAD_BLOCK = 2**64 - 1


def dequantize(library, tensor_type, blocks, elements):
    out = np.full((len(blocks), elements), 7.25, dtype=np.float32)
    source, floats = blocks.ctypes.data_as(c_void_p), out.ctypes.data_as(POINTER(c_float))
    library.dequantize(int(tensor_type), source, blocks.nbytes, floats, out.size)
    return out


def different_values(ours, theirs):
    """How many differ in a bit and are not both NaN."""
    same = (ours.view(np.uint32) == theirs.view(np.uint32)) | (np.isnan(ours) & np.isnan(theirs))
    return same.size - int(same.sum())


def bad_blocks(library, context, tensor_type, blocks):
    """The indices of all bad blocks: the first one, then the first one behind it, and so on."""
    found, begin, bad = [], 0, c_uint64()
    while begin < len(blocks):
        rest = blocks[begin:]
        library.validate(context, int(tensor_type), rest.ctypes.data_as(c_void_p), rest.nbytes, byref(bad))
        if bad.value == NO_BAD_BLOCK:
            break
        found.append(begin + bad.value)
        begin = found[-1] + 1
    return found


def expected_bad_blocks(tensor_type, blocks, values):
    if tensor_type == gguf.GGMLQuantizationType.MXFP4:
        bad = blocks[:, 0] > 252
    elif tensor_type == gguf.GGMLQuantizationType.NVFP4:
        bad = (blocks[:, :4] > 126).any(axis=1)
    else:
        bad = ~np.isfinite(values).all(axis=1)
    return np.flatnonzero(bad).tolist()


def check_type(library, context, tensor_type, random, differences):
    """Returns the number of bad blocks."""
    elements, size = gguf.GGML_QUANT_SIZES[tensor_type]
    name, info = tensor_type.name, sized(TypeInfo)
    library.type_info(int(tensor_type), byref(info))
    differences.equal(f"{name}: block", (info.block_elements, info.block_bytes), (elements, size))
    bad = 0
    for batch in range(BLOCKS // BATCH):
        blocks = random.integers(0, 256, size=(BATCH, size), dtype=np.uint8)
        ours = dequantize(library, tensor_type, blocks, elements)
        with np.errstate(all="ignore"):
            theirs = gguf.quants.dequantize(blocks, tensor_type).astype(np.float32, copy=False).reshape(ours.shape)
        differences.equal(f"{name}, batch {batch}: values that differ", different_values(ours, theirs), 0)
        expected = expected_bad_blocks(tensor_type, blocks, theirs)
        found = bad_blocks(library, context, tensor_type, blocks)
        differences.equal(f"{name}, batch {batch}: bad blocks", found, expected)
        bad += len(found)
    differences.equal(f"{name}: some blocks are bad, but not all", 0 < bad < BLOCKS, True)
    return bad


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: check_dequantize.py LIBRARY")
    library, differences = Library(sys.argv[1]), Differences()
    random, context = np.random.default_rng(26), c_void_p()
    library.context_new(None, byref(context))
    for tensor_type in TYPES:
        bad = check_type(library, context, tensor_type, random, differences)
        print(f"{tensor_type.name:<8} {BLOCKS:,} blocks compared, {bad:,} of them bad")
    library.context_free(context)
    differences.equal("number of types", len(TYPES), TYPES_KNOWN)
    print(f"{differences.compared:,} comparisons, {differences.different} differ")
    sys.exit(differences.different != 0)


if __name__ == "__main__":
    main()
