#!/usr/bin/env python3
"""Compares libgguffuse, through its C interface, with PyPI's gguf on the model that scripts/fetch-model.sh makes.

    scripts/check_model.py LIBRARY MODEL

Needs the PyPI packages gguf and numpy. Every tensor's name, type, dims, offsets, size and bytes; every metadata key, type
and value; and for every matrix that the library multiplies by, at every instruction-set level of this machine, the
product (EXACT, m = 1 and 9) against the f64 product of the weights as gguf dequantises them. Exit code 1 where anything
differs. It declares what it calls by itself, as a user of ctypes would: include/gguffuse.h is the contract.
"""

import ctypes
import sys
from collections import Counter
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64
from ctypes import c_void_p

import gguf
import numpy as np

# What this model has: an empty comparison of two empty lists would agree as well.
TENSORS = {"Q4_K": 27, "Q6_K": 9, "Q5_0": 81, "Q8_0": 10, "F32": 109}
TOKENS = 262_144
ROWS = (1, 9)
LARGEST_NMSE = 1e-12
LARGEST_RELATIVE = 1e-5


class FileInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("version", c_uint32), ("alignment", c_uint32), ("tensor_count", c_uint64),
        ("metadata_count", c_uint64), ("data_offset", c_uint64), ("size_bytes", c_uint64),
    ]


class TensorInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("name", c_char_p), ("name_length", c_size_t), ("type", c_uint32),
        ("n_dims", c_uint32), ("dims", c_uint64 * 4), ("relative_offset", c_uint64), ("absolute_offset", c_uint64),
        ("size_bytes", c_uint64), ("data", c_void_p),
    ]


class TypeInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("name", c_char_p), ("block_elements", c_uint32), ("block_bytes", c_uint32),
        ("can_matmul", c_uint32), ("can_quantize", c_uint32),
    ]


class ContextOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("threads", c_uint32), ("precision", c_uint32), ("max_isa", c_char_p)]


def sized(struct):
    """A struct of the interface, with its size in its first member."""
    return struct(struct_size=ctypes.sizeof(struct))


WHERE = [c_void_p, c_uint64, POINTER(c_uint64), c_size_t]
FALLIBLE = {
    "file_open": [c_char_p, c_void_p, POINTER(c_void_p)],
    "file_close": [c_void_p],
    "file_info": [c_void_p, POINTER(FileInfo)],
    "tensor_find": [c_void_p, c_char_p, POINTER(c_uint64)],
    "tensor_info": [c_void_p, c_uint64, POINTER(TensorInfo)],
    "tensor_absolute_offset": [c_void_p, c_char_p, POINTER(c_uint64)],
    "metadata_find": [c_void_p, c_char_p, POINTER(c_uint64)],
    "metadata_key": [c_void_p, c_uint64, POINTER(c_char_p), POINTER(c_size_t)],
    "metadata_type": [c_void_p, c_uint64, POINTER(c_uint32)],
    "metadata_array_info": [*WHERE, POINTER(c_uint32), POINTER(c_uint64)],
    "metadata_array_data": [*WHERE, POINTER(c_void_p), POINTER(c_size_t)],
    "metadata_element_u64": [*WHERE, POINTER(c_uint64)],
    "metadata_element_i64": [*WHERE, POINTER(c_int64)],
    "metadata_element_f64": [*WHERE, POINTER(c_double)],
    "metadata_element_bool": [*WHERE, POINTER(c_bool)],
    "metadata_element_string": [*WHERE, POINTER(c_void_p), POINTER(c_size_t)],
    "type_info": [c_uint32, POINTER(TypeInfo)],
    "context_new": [POINTER(ContextOptions), POINTER(c_void_p)],
    "context_free": [c_void_p],
    "matmul_tensor": [
        c_void_p, c_void_p, c_uint64, POINTER(c_float), c_size_t, c_size_t, c_size_t, POINTER(c_float), c_size_t,
        c_size_t,
    ],
}


class Library:
    """The functions of the C interface by their names without the prefix; a status other than 0 is an exception."""

    def __init__(self, path):
        library = ctypes.CDLL(path)
        last_error = library.gguffuse_last_error
        last_error.restype, last_error.argtypes = c_size_t, [c_char_p, c_size_t]
        self.isa_name = library.gguffuse_isa_name
        self.isa_name.restype, self.isa_name.argtypes = c_char_p, [c_size_t]
        self.context_isa = library.gguffuse_context_isa
        self.context_isa.restype, self.context_isa.argtypes = c_char_p, [c_void_p]

        def check(status, function, _arguments):
            if status != 0:
                text = ctypes.create_string_buffer(600)
                last_error(text, len(text))
                raise RuntimeError(f"{function.__name__}: status {status}: {text.value.decode()}")

        for name, arguments in FALLIBLE.items():
            function = getattr(library, f"gguffuse_{name}")
            function.restype, function.argtypes, function.errcheck = c_int32, arguments, check
            setattr(self, name, function)


class Differences:
    """Counts comparisons, and shows those that differ."""

    def __init__(self):
        self.compared = self.different = 0

    def equal(self, what, ours, theirs):
        self.compared += 1
        if ours != theirs:
            self.report(f"{what}: gguffuse has {ours!r:.200}, gguf has {theirs!r:.200}")

    def at_most(self, what, value, bound):
        self.compared += 1
        # Turned round, so that a NaN is too much.
        if not value <= bound:
            self.report(f"{what} is {value:.3g}, at most {bound:g} is allowed")

    def report(self, text):
        self.different += 1
        if self.different <= 20:
            print(f"DIFFERENT {text}")


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


def product(library, context, file, index, x, n):
    y = np.full((len(x), n), np.nan, dtype=np.float32)
    pointers = [array.ctypes.data_as(POINTER(c_float)) for array in (x, y)]
    library.matmul_tensor(context, file, index, pointers[0], x.size, 0, len(x), pointers[1], y.size, 0)
    return y.astype(np.float64)


def check_products(library, file, reader, infos, differences):
    """Returns the number of matrices by type, and per level the largest NMSE and relative error."""
    random = np.random.default_rng(270)
    levels = contexts(library)
    if not levels:
        raise RuntimeError("the library names no instruction-set level")
    matrices, worst = Counter(), {name: [0.0, 0.0] for name in levels}
    for index, (ours, theirs) in enumerate(zip(infos, reader.tensors)):
        type_info = sized(TypeInfo)
        library.type_info(ours.type, byref(type_info))
        if not type_info.can_matmul or ours.n_dims < 2:
            continue
        matrices[theirs.tensor_type.name] += 1
        k = int(theirs.shape[0])
        weights = gguf.quants.dequantize(theirs.data, theirs.tensor_type).reshape(-1, k).astype(np.float64)
        for m in ROWS:
            x = random.standard_normal((m, k), dtype=np.float32)
            truth = x.astype(np.float64) @ weights.T
            for name, context in levels.items():
                error = product(library, context, file, index, x, len(weights)) - truth
                nmse = float((error**2).sum() / (truth**2).sum())
                relative = float(np.abs(error).max() / np.abs(truth).max())
                what = f"{theirs.name}, m = {m}, {name}"
                differences.at_most(f"{what}: NMSE", nmse, LARGEST_NMSE)
                differences.at_most(f"{what}: largest error over largest |y|", relative, LARGEST_RELATIVE)
                worst[name] = [max(worst[name][0], nmse), max(worst[name][1], relative)]
    differences.equal("Q4_K matrices multiplied", matrices["Q4_K"], TENSORS["Q4_K"])
    for context in levels.values():
        library.context_free(context)
    return matrices, worst


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
    matrices, worst = check_products(library, file, reader, infos, differences)
    kinds = ", ".join(f"{count} {name}" for name, count in matrices.items())
    print(f"products with {kinds}, m = {' and '.join(map(str, ROWS))}, against f64:")
    for name, (nmse, relative) in worst.items():
        print(f"  {name:<12} largest NMSE {nmse:.2e}, largest error over largest |y| {relative:.2e}")
    library.file_close(file)
    print(f"{differences.compared:,} comparisons, {differences.different} differ")
    sys.exit(differences.different != 0)


if __name__ == "__main__":
    main()
