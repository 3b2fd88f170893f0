#!/usr/bin/env python3
"""Compares the files that libgguffuse writes, through its C interface, with those of PyPI's gguf.

    scripts/check_writer.py LIBRARY MODEL

Needs the PyPI packages gguf and numpy. (a) A file of every metadata type, of arrays of every element type and of tensors of
many types, written by the library, is read back equal by gguf; for several alignments and both versions. (b) The same
written by gguf is read equal by the library, and the library's copy of it has the same bytes. (c) The model that
scripts/fetch-model.sh makes: metadata and tensors are copied to a new file, whose data section is the same byte for byte
and whose metadata gguf reads equal. Exit code 1 where anything differs.
"""

import ctypes
import os
import sys
import tempfile
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_float, c_int8, c_int16, c_int32, c_int64, c_size_t
from ctypes import c_uint8, c_uint16, c_uint32, c_uint64, c_void_p

import gguf
import numpy as np
from check_model import check_metadata_entries
from interface import FALLIBLE, Differences, FileInfo, Library, TensorInfo, sized

Type = gguf.GGUFValueType
BLOCKS = 6


class WriterOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("version", c_uint32), ("alignment", c_uint32)]


# By value type: the setter's name, its argument's type, numpy's type, and values at the edges.
SCALARS = {
    Type.UINT8: ("u8", c_uint8, np.uint8, [0, 255]),
    Type.INT8: ("i8", c_int8, np.int8, [-128, 127]),
    Type.UINT16: ("u16", c_uint16, np.uint16, [0, 65535]),
    Type.INT16: ("i16", c_int16, np.int16, [-32768, 32767]),
    Type.UINT32: ("u32", c_uint32, np.uint32, [0, 2**32 - 1]),
    Type.INT32: ("i32", c_int32, np.int32, [-(2**31), 2**31 - 1]),
    Type.UINT64: ("u64", c_uint64, np.uint64, [0, 2**64 - 1]),
    Type.INT64: ("i64", c_int64, np.int64, [-(2**63), 2**63 - 1]),
    Type.FLOAT32: ("f32", c_float, np.float32, [-0.0, 1.5, float("inf")]),
    Type.FLOAT64: ("f64", c_double, np.float64, [-0.0, 1e-300, float("-inf")]),
    Type.BOOL: ("bool", c_bool, np.bool_, [False, True]),
}
STRINGS = ["", "text", "\N{CRAB} and \0", "x" * 1000]

FALLIBLE.update({
    "writer_new": [POINTER(WriterOptions), POINTER(c_void_p)],
    "writer_free": [c_void_p],
    "writer_set_string": [c_void_p, c_char_p, c_char_p, c_size_t],
    "writer_set_array": [c_void_p, c_char_p, c_uint32, c_void_p, c_size_t],
    "writer_set_string_array": [c_void_p, c_char_p, POINTER(c_char_p), POINTER(c_size_t), c_size_t],
    "writer_set_nested_array": [c_void_p, c_char_p, POINTER(c_char_p), c_size_t],
    "writer_copy_metadata": [c_void_p, c_void_p, c_char_p],
    "writer_add_tensor": [c_void_p, c_char_p, c_uint32, c_uint32, POINTER(c_uint64), c_void_p, c_size_t],
    "writer_write_file": [c_void_p, c_char_p],
    "writer_size": [c_void_p, POINTER(c_uint64)],
    "writer_write_memory": [c_void_p, c_void_p, c_size_t, POINTER(c_size_t)],
    **{f"writer_set_{name}": [c_void_p, c_char_p, argument] for name, argument, _, _ in SCALARS.values()},
})


def tensors():
    """Name, type, dims and bytes of a tensor of every type that gguf knows, and of every number of dimensions."""
    random = np.random.default_rng(3)
    made = []
    for kind in gguf.GGMLQuantizationType:
        if kind == gguf.GGMLQuantizationType.Q8_1:
            continue  # gguf has 40 bytes for its blocks, ggml 36; no file holds it
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        dims = [elements * 2, 3, 1, BLOCKS // 6][: 1 + len(made) % 4]
        count = int(np.prod(dims)) // elements
        made.append((f"blk.{len(made)}.{kind.name}", kind, dims, random.integers(0, 256, count * size, dtype=np.uint8)))
    return made


def new_writer(library, version=0, alignment=0):
    options, writer = sized(WriterOptions), c_void_p()
    options.version, options.alignment = version, alignment
    library.writer_new(byref(options), byref(writer))
    return writer


def add_ours(library, writer, all_tensors):
    """Every value type and every tensor; returns what gguf must read: type, and the values or, for a string, its text."""
    expected = {}
    for kind, (name, _, dtype, values) in SCALARS.items():
        for number, value in enumerate(values):
            key = f"{name}.{number}"
            getattr(library, f"writer_set_{name}")(writer, key.encode(), value)
            expected[key] = ([kind], [dtype(value).tobytes()])
        array = np.array(values * 5, dtype=dtype)
        library.writer_set_array(writer, f"array.{name}".encode(), int(kind), array.ctypes.data, len(array))
        expected[f"array.{name}"] = ([Type.ARRAY, kind], [element.tobytes() for element in array])
    encoded = [text.encode() for text in STRINGS]
    for number, text in enumerate(encoded):
        library.writer_set_string(writer, f"string.{number}".encode(), text, len(text))
        expected[f"string.{number}"] = ([Type.STRING], [text])
    pointers, lengths = (c_char_p * len(encoded))(*encoded), (c_size_t * len(encoded))(*map(len, encoded))
    library.writer_set_string_array(writer, b"array.string", pointers, lengths, len(encoded))
    expected["array.string"] = ([Type.ARRAY, Type.STRING], encoded)
    keys = (c_char_p * 2)(b"inner.0", b"inner.1")
    for key in keys:
        library.writer_set_array(writer, key, int(Type.INT16), np.array([-7, 7], dtype=np.int16).ctypes.data, 2)
    library.writer_set_nested_array(writer, b"nested", keys, 2)
    # gguf shows nested arrays flat.
    expected["nested"] = ([Type.ARRAY, Type.ARRAY, Type.INT16], [np.int16(value).tobytes() for value in (-7, 7, -7, 7)])
    for name, kind, dims, data in all_tensors:
        dims = (c_uint64 * len(dims))(*dims)
        library.writer_add_tensor(writer, name.encode(), int(kind), len(dims), dims, data.ctypes.data, len(data))
    return expected


def check_read_by_gguf(path, expected, version, alignment, all_tensors, differences):
    reader = gguf.GGUFReader(path)
    differences.equal("version", version or 3, int(reader.fields["GGUF.version"].parts[0][0]))
    differences.equal("alignment", alignment or 32, reader.alignment)
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    differences.equal("keys, in order", list(expected), list(fields))
    for key, (types, values) in expected.items():
        differences.equal(f"{key}: types", types, fields[key].types)
        differences.equal(key, values, [fields[key].parts[part].tobytes() for part in fields[key].data])
    differences.equal("number of tensors", len(all_tensors), len(reader.tensors))
    for (name, kind, dims, data), theirs in zip(all_tensors, reader.tensors):
        differences.equal(f"{name}: name", name, theirs.name)
        differences.equal(f"{name}: type", kind, theirs.tensor_type)
        differences.equal(f"{name}: dims", dims, [int(dim) for dim in theirs.shape])
        differences.equal(f"{name}: aligned", int(theirs.data_offset) % (alignment or 32), 0)
        differences.equal(f"{name}: bytes", data.tobytes(), theirs.data.tobytes())


def check_ours(library, directory, all_tensors, differences):
    """(a), and that memory gets the same bytes."""
    files = 0
    for version in (0, 2):
        for alignment in (0, 8, 64, 4096):
            writer, path = new_writer(library, version, alignment), os.path.join(directory, "ours.gguf")
            expected = {"general.alignment": ([Type.UINT32], [np.uint32(alignment).tobytes()])} if alignment else {}
            expected.update(add_ours(library, writer, all_tensors))
            library.writer_write_file(writer, path.encode())
            check_read_by_gguf(path, expected, version, alignment, all_tensors, differences)
            size, written = c_uint64(), c_size_t()
            library.writer_size(writer, byref(size))
            memory = ctypes.create_string_buffer(size.value)
            library.writer_write_memory(writer, memory, size.value, byref(written))
            with open(path, "rb") as file:
                differences.equal("file and memory", file.read(), memory.raw[: written.value])
            library.writer_free(writer)
            files += 1
    return files, len(expected)


def write_theirs(path, all_tensors):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    for kind, (name, _, _, values) in SCALARS.items():
        for number, value in enumerate(values):
            writer.add_key_value(f"{name}.{number}", value, kind)
        writer.add_key_value(f"array.{name}", values * 50, Type.ARRAY, sub_type=kind)
    for number, text in enumerate(STRINGS):
        writer.add_key_value(f"string.{number}", text, Type.STRING)
    writer.add_array("array.string", STRINGS * 50)
    for name, kind, dims, data in all_tensors:
        # It takes the shape in bytes per row, the slowest first.
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        shape = [*reversed(dims[1:]), dims[0] // elements * size]
        writer.add_tensor(name, data.reshape(shape), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def copy(library, file, path):
    """Metadata and tensors of an open file, to a new one."""
    info, writer = sized(FileInfo), c_void_p()
    library.file_info(file, byref(info))
    writer = new_writer(library, info.version)
    library.writer_copy_metadata(writer, file, None)
    for index in range(info.tensor_count):
        tensor = sized(TensorInfo)
        library.tensor_info(file, index, byref(tensor))
        arguments = (tensor.name, tensor.type, tensor.n_dims, tensor.dims, tensor.data, tensor.size_bytes)
        library.writer_add_tensor(writer, *arguments)
    library.writer_write_file(writer, path.encode())
    library.writer_free(writer)
    return info


def check_copy(library, original, path, differences):
    """(b) and (c): read equal, copied, and the copy read equal by gguf. Returns what was compared."""
    file = c_void_p()
    library.file_open(original.encode(), None, byref(file))
    theirs = gguf.GGUFReader(original)
    entries, elements = check_metadata_entries(library, file, theirs, differences)
    for index, tensor in enumerate(theirs.tensors):
        ours = sized(TensorInfo)
        library.tensor_info(file, index, byref(ours))
        what = (ours.name, ours.type, list(ours.dims[: ours.n_dims]), ours.absolute_offset, ours.size_bytes)
        shape = [int(dim) for dim in tensor.shape]
        expected = (tensor.name.encode(), int(tensor.tensor_type), shape, int(tensor.data_offset), int(tensor.n_bytes))
        differences.equal(f"tensor {index}", what, expected)
        differences.equal(f"{tensor.name}: bytes", ctypes.string_at(ours.data, ours.size_bytes), tensor.data.tobytes())
    info = copy(library, file, path)
    library.file_close(file)
    library.file_open(path.encode(), None, byref(file))
    check_metadata_entries(library, file, theirs, differences)
    copied = sized(FileInfo)
    library.file_info(file, byref(copied))
    library.file_close(file)
    before, after = np.memmap(original, dtype=np.uint8, mode="r"), np.memmap(path, dtype=np.uint8, mode="r")
    same = np.array_equal(before[info.data_offset :], after[copied.data_offset :])
    differences.equal("data section, byte for byte", bool(same), True)
    differences.equal("bytes before it", before[: info.data_offset].tobytes(), after[: copied.data_offset].tobytes())
    check_read_by_gguf_alike(theirs, gguf.GGUFReader(path), differences)
    return entries, elements, len(theirs.tensors), len(before) - info.data_offset


def check_read_by_gguf_alike(before, after, differences):
    differences.equal("keys", list(after.fields), list(before.fields))
    for key, field in before.fields.items():
        differences.equal(f"{key}: types", after.fields[key].types, field.types)
        values = [after.fields[key].parts[part].tobytes() for part in after.fields[key].data]
        differences.equal(key, values, [field.parts[part].tobytes() for part in field.data])
    for copied, tensor in zip(after.tensors, before.tensors, strict=True):
        records = [(t.name, t.tensor_type, t.shape.tolist(), int(t.n_bytes), int(t.data_offset)) for t in (copied, tensor)]
        differences.equal(f"{tensor.name}: record", *records)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: check_writer.py LIBRARY MODEL")
    library, differences, all_tensors = Library(sys.argv[1]), Differences(), tensors()
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(sys.argv[1]))) as directory:
        files, entries = check_ours(library, directory, all_tensors, differences)
        print(f"{files} files of ours read by gguf: {entries} metadata entries, {len(all_tensors)} tensors each")
        theirs, again = os.path.join(directory, "theirs.gguf"), os.path.join(directory, "copy.gguf")
        write_theirs(theirs, all_tensors)
        for what, path in (("a file of gguf's", theirs), ("the model", sys.argv[2])):
            entries, elements, count, size = check_copy(library, path, again, differences)
            print(
                f"{what} read and copied by us: {entries} metadata entries, {elements:,} array elements, {count} tensors, "
                f"{size:,} bytes of data section"
            )
        differences.equal("files left behind", sorted(os.listdir(directory)), ["copy.gguf", "ours.gguf", "theirs.gguf"])
    print(f"{differences.compared:,} comparisons, {differences.different} differences")
    sys.exit(1 if differences.different else 0)


if __name__ == "__main__":
    main()
