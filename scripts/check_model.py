#!/usr/bin/env python3
"""Compares libgguffuse, through its C interface, with PyPI's gguf on the model that scripts/fetch-model.sh makes.

    scripts/check_model.py LIBRARY MODEL

Needs the PyPI packages gguf and numpy. Every tensor's name, type, dims, offsets, size and bytes; every metadata key, type
and value; every tensor's dequantised values, bit for bit; and for every matrix, at every instruction-set level of this
machine, the product (EXACT, m = 1 and 9) against the f64 product of the weights as gguf dequantises them. Of the token
embedding, whose f64 weights would fill a gigabyte, 4096 rows spread over it are compared; they are also multiplied by
themselves and looked up one by one, as an embedding is used. gguffuse_tensor_validate has to find no bad block. Exit code
1 where anything differs.
"""

import ctypes
import sys
from collections import Counter
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_float, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

import gguf
import numpy as np
from interface import ContextOptions, Differences, FileInfo, Library, TensorInfo, TypeInfo, sized

# What this model has: an empty comparison of two empty lists would agree as well.
TENSORS = {"Q4_K": 27, "Q6_K": 9, "Q5_0": 81, "Q8_0": 10, "F32": 109}
TOKENS = 262_144
ROWS = (1, 9)
# Of a matrix with more rows, parts of some rows each are compared.
MOST_ROWS = 10_000
PARTS, PART_ROWS = 32, 128
NO_BAD_BLOCK = 2**64 - 1
LARGEST_NMSE = 1e-12
LARGEST_RELATIVE = 1e-5


def check_tensors(library, file, reader, differences):
    """Directory and bytes of every tensor. Returns the library's infos."""
    info = sized(FileInfo)
    library.file_info(file, byref(info))
    whole = np.memmap(reader.data.filename, dtype=np.uint8, mode="r")
    differences.equal("size of the file", info.size_bytes, len(whole))
    differences.equal("number of tensors", info.tensor_count, len(reader.tensors))
    differences.equal("alignment", info.alignment, reader.alignment)
    differences.equal("data section", info.data_offset, reader.data_offset)
    differences.equal("GGUF version", info.version, int(reader.fields["GGUF.version"].parts[0][0]))

    infos = []
    for index, theirs in enumerate(reader.tensors):
        ours = sized(TensorInfo)
        library.tensor_info(file, index, byref(ours))
        infos.append(ours)
        what = f"tensor {index}"
        dims = [int(dim) for dim in theirs.shape]
        differences.equal(f"{what}: name", ours.name, theirs.name.encode())
        differences.equal(f"{what}: length of the name", ours.name_length, len(theirs.name.encode()))
        differences.equal(f"{what}: type", ours.type, int(theirs.tensor_type))
        differences.equal(f"{what}: dims", list(ours.dims[: ours.n_dims]), dims)
        differences.equal(f"{what}: unused dims", list(ours.dims[ours.n_dims :]), [1] * (4 - len(dims)))
        differences.equal(f"{what}: absolute offset", ours.absolute_offset, int(theirs.data_offset))
        differences.equal(f"{what}: relative offset", ours.relative_offset, int(theirs.field.parts[-1][0]))
        differences.equal(f"{what}: size", ours.size_bytes, int(theirs.n_bytes))

        found, offset = c_uint64(), c_uint64()
        library.tensor_find(file, ours.name, byref(found))
        library.tensor_absolute_offset(file, ours.name, byref(offset))
        differences.equal(f"{what}: found", found.value, index)
        differences.equal(f"{what}: offset by name", offset.value, int(theirs.data_offset))
        mapped = np.ctypeslib.as_array(ctypes.cast(ours.data, POINTER(ctypes.c_uint8)), shape=(ours.size_bytes,))
        stored = whole[int(theirs.data_offset) :][: int(theirs.n_bytes)]
        differences.equal(f"{what}: bytes", bool(np.array_equal(mapped, stored)), True)
    differences.equal("tensors by type", dict(Counter(tensor.tensor_type.name for tensor in reader.tensors)), TENSORS)
    return infos


def our_value(library, where, value_type):
    """A value that is no array, in Python's type."""
    types = gguf.GGUFValueType
    if value_type == types.STRING:
        text, length = c_void_p(), c_size_t()
        library.metadata_element_string(*where, byref(text), byref(length))
        return ctypes.string_at(text, length.value)
    if value_type == types.BOOL:
        out, get = c_bool(), library.metadata_element_bool
    elif value_type in (types.FLOAT32, types.FLOAT64):
        out, get = c_double(), library.metadata_element_f64
    elif value_type in (types.INT8, types.INT16, types.INT32, types.INT64):
        out, get = c_int64(), library.metadata_element_i64
    else:
        out, get = c_uint64(), library.metadata_element_u64
    get(*where, byref(out))
    return out.value


def their_value(field, part):
    value = field.parts[part]
    return value.tobytes() if field.types[-1] == gguf.GGUFValueType.STRING else value[0].item()


def check_array(library, file, index, field, differences):
    """All elements. Numbers are compared byte by byte, so that NaN equals itself and -0 not 0."""
    whole = (file, index, None, 0)
    element_type, count = c_uint32(), c_uint64()
    library.metadata_array_info(*whole, byref(element_type), byref(count))
    differences.equal(f"{field.name}: element type", element_type.value, int(field.types[1]))
    differences.equal(f"{field.name}: number of elements", count.value, len(field.data))
    if len(field.types) > 2:
        raise NotImplementedError(f"{field.name}: arrays within arrays are not compared")
    if field.types[1] == gguf.GGUFValueType.STRING:
        step = c_uint64()
        for element, part in enumerate(field.data):
            step.value = element
            ours = our_value(library, (file, index, byref(step), 1), field.types[1])
            differences.equal(f"{field.name}[{element}]", ours, their_value(field, part))
    else:
        data, size = c_void_p(), c_size_t()
        library.metadata_array_data(*whole, byref(data), byref(size))
        theirs = b"".join(field.parts[part].tobytes() for part in field.data)
        differences.equal(f"{field.name}: elements", ctypes.string_at(data, size.value) == theirs, True)


def check_metadata_entries(library, file, reader, differences):
    """All keys and values. Returns how many, and how many array elements."""
    info = sized(FileInfo)
    library.file_info(file, byref(info))
    # gguf shows the header's fields as metadata, too.
    fields = [field for field in reader.fields.values() if not field.name.startswith("GGUF.")]
    differences.equal("number of metadata entries", info.metadata_count, len(fields))
    elements = 0
    for index, field in enumerate(fields):
        key, length = c_char_p(), c_size_t()
        library.metadata_key(file, index, byref(key), byref(length))
        differences.equal(f"key {index}", key.value, field.name.encode())
        differences.equal(f"key {index}: length", length.value, len(field.name.encode()))
        found, value_type = c_uint64(), c_uint32()
        library.metadata_find(file, field.name.encode(), byref(found))
        differences.equal(f"{field.name}: found", found.value, index)
        library.metadata_type(file, index, byref(value_type))
        differences.equal(f"{field.name}: type", value_type.value, int(field.types[0]))
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            check_array(library, file, index, field, differences)
            elements += len(field.data)
        else:
            ours = our_value(library, (file, index, None, 0), field.types[0])
            differences.equal(field.name, ours, their_value(field, field.data[0]))
    return len(fields), elements


def check_metadata(library, file, reader, differences):
    differences.equal("number of tokens", len(reader.fields["tokenizer.ggml.tokens"].data), TOKENS)
    return check_metadata_entries(library, file, reader, differences)


def iter_names(library):
    index = 0
    while (name := library.isa_name(index)) is not None:
        yield name
        index += 1


def contexts(library):
    """A context per level of this machine, by the level's name."""
    made = {}
    for name in iter_names(library):
        options, context = sized(ContextOptions), c_void_p()
        options.max_isa = name
        library.context_new(byref(options), byref(context))
        # GGUFFUSE_MAX_ISA may cap several to one.
        made.setdefault(library.context_isa(context).decode(), context)
    return made


def pointer(array):
    return array.ctypes.data_as(POINTER(c_float))


def product(library, context, file, index, x, n):
    y = np.full((len(x), n), np.nan, dtype=np.float32)
    library.matmul_tensor(context, file, index, pointer(x), x.size, 0, len(x), pointer(y), y.size, 0)
    return y


def product_of_parts(library, context, ours, x, n, parts):
    """The rows `parts` only; the columns of y between them stay NaN."""
    y = np.full((len(x), n), np.nan, dtype=np.float32)
    for begin, end in parts:
        library.matmul_rows(
            context, ours.type, ours.data, ours.size_bytes, n, x.shape[1], begin, end, pointer(x), x.size, 0, len(x),
            pointer(y), y.size, 0,
        )
    return y


def compared_rows(n):
    """The rows of a matrix that are compared, and the parts [begin, end) that they are in: all, or some of all over it."""
    parts = [(0, n)]
    if n > MOST_ROWS:
        begins = np.linspace(0, n - PART_ROWS, PARTS).astype(int).tolist()
        parts = [(begin, begin + PART_ROWS) for begin in begins]
    return np.concatenate([np.arange(begin, end) for begin, end in parts]), parts


def check_dequantized(library, ours, theirs, rows, weights, differences):
    """The values of the given rows: of all at once, or where they are not all there are, one row per call."""
    k, row_bytes = weights.shape[1], c_size_t()
    library.row_size(ours.type, k, byref(row_bytes))
    values = np.full(weights.shape, np.nan, dtype=np.float32)
    whole = len(rows) * row_bytes.value == ours.size_bytes
    for place, row in [(0, 0)] if whole else enumerate(rows.tolist()):
        size, out = (ours.size_bytes, values) if whole else (row_bytes.value, values[place])
        library.dequantize(ours.type, ours.data + row * row_bytes.value, size, pointer(out), out.size)
    differences.equal(f"{theirs.name}: dequantised", bool(np.array_equal(values.view("u4"), weights.view("u4"))), True)


def check_product(library, level, file, index, ours, x, truth, rows, parts, differences):
    """Returns NMSE and relative error."""
    name, context = level
    n = ours.dims[1]
    y = product(library, context, file, index, x, n)
    what = f"{ours.name.decode()}, m = {len(x)}, {name}"
    if len(rows) < n:
        some = product_of_parts(library, context, ours, x, n, parts)
        same = np.array_equal(some[:, rows].view("u4"), y[:, rows].view("u4"))
        differences.equal(f"{what}: rows by themselves have the same bits", bool(same), True)
        differences.equal(f"{what}: other rows are not touched", int(np.isnan(some).sum()), len(x) * (n - len(rows)))
        differences.equal(f"{what}: all rows are finite", bool(np.isfinite(y).all()), True)
    error = y[:, rows].astype(np.float64) - truth
    nmse = float((error**2).sum() / (truth**2).sum())
    relative = float(np.abs(error).max() / np.abs(truth).max())
    differences.at_most(f"{what}: NMSE", nmse, LARGEST_NMSE)
    differences.at_most(f"{what}: largest error over largest |y|", relative, LARGEST_RELATIVE)
    return nmse, relative


def check_weights(library, file, reader, infos, differences):
    """Values and products of every tensor. Returns how many matrices and others there are by type, and per level the largest
    NMSE and relative error."""
    random = np.random.default_rng(270)
    levels = contexts(library)
    if not levels:
        raise RuntimeError("the library names no instruction-set level")
    matrices, others, worst = Counter(), Counter(), {name: (0.0, 0.0) for name in levels}
    for index, (ours, theirs) in enumerate(zip(infos, reader.tensors)):
        k, n = int(ours.dims[0]), int(ours.dims[1])
        rows, parts = compared_rows(n)
        data = theirs.data.reshape(n, -1)[rows]
        weights = gguf.quants.dequantize(data, theirs.tensor_type).reshape(len(rows), k)
        check_dequantized(library, ours, theirs, rows, weights, differences)
        if ours.n_dims < 2:
            others[theirs.tensor_type.name] += 1
            continue
        matrices[theirs.tensor_type.name] += 1
        differences.equal(f"{theirs.name}: dimensions", ours.n_dims, 2)
        weights = weights.astype(np.float64)
        for m in ROWS:
            x = random.standard_normal((m, k), dtype=np.float32)
            truth = x.astype(np.float64) @ weights.T
            for level in levels.items():
                errors = check_product(library, level, file, index, ours, x, truth, rows, parts, differences)
                worst[level[0]] = tuple(map(max, worst[level[0]], errors))
    differences.equal("tensors compared", dict(matrices + others), TENSORS)
    for context in levels.values():
        library.context_free(context)
    return matrices, others, worst


def check_validity(library, file, infos, differences):
    context, bad = c_void_p(), c_uint64()
    library.context_new(None, byref(context))
    for index, ours in enumerate(infos):
        bad.value = 0
        library.tensor_validate(context, file, index, byref(bad))
        differences.equal(f"{ours.name.decode()}: first bad block", bad.value, NO_BAD_BLOCK)
        # A copy whose last block is a bad one, whatever the type: all bits are set.
        copy = np.frombuffer(ctypes.string_at(ours.data, ours.size_bytes), dtype=np.uint8).copy()
        info = sized(TypeInfo)
        library.type_info(ours.type, byref(info))
        copy[-info.block_bytes:] = 0xFF
        library.validate(context, ours.type, copy.ctypes.data_as(c_void_p), copy.nbytes, byref(bad))
        differences.equal(f"{ours.name.decode()}: planted bad block", bad.value, copy.nbytes // info.block_bytes - 1)
    library.context_free(context)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: check_model.py LIBRARY MODEL")
    library, differences = Library(sys.argv[1]), Differences()
    reader = gguf.GGUFReader(sys.argv[2])
    file = c_void_p()
    library.file_open(sys.argv[2].encode(), None, byref(file))
    infos = check_tensors(library, file, reader, differences)
    print(f"{len(infos)} tensors compared: names, types, dims, offsets, sizes, bytes")
    entries, elements = check_metadata(library, file, reader, differences)
    print(f"{entries} metadata entries compared, {elements:,} array elements")
    check_validity(library, file, infos, differences)
    print(f"{len(infos)} tensors validated: no bad block, and in copies of them the one that was planted")
    matrices, others, worst = check_weights(library, file, reader, infos, differences)
    kinds, rest = (", ".join(f"{count} {name}" for name, count in some.items()) for some in (matrices, others))
    print(f"dequantised values of {kinds} matrices and {rest} others compared, bit for bit")
    print(f"products with {kinds} matrices, m = {' and '.join(map(str, ROWS))}, against f64:")
    for name, (nmse, relative) in worst.items():
        print(f"  {name:<12} largest NMSE {nmse:.2e}, largest error over largest |y| {relative:.2e}")
    library.file_close(file)
    print(f"{differences.compared:,} comparisons, {differences.different} differ")
    sys.exit(differences.different != 0)


if __name__ == "__main__":
    main()
