#!/usr/bin/env python3
"""Gives mutants of small files to libgguffuse, through its C interface, and to PyPI's gguf: both must accept the same files
and read the same contents from them, but for the written rules below.

    scripts/check_differential.py LIBRARY [MUTANTS]

Needs the PyPI packages gguf and numpy. The mutants are the same on every run. A difference of verdicts counts as explained
by a rule only if the file, as gguf reads it or byte by byte, shows what the rule says. Prints how many mutants each rule
explains; exit code 1 where a difference has no rule, or contents differ.
"""

import ctypes
import os
import random
import signal
import struct
import sys
import tempfile
import warnings
from collections import Counter
from ctypes import byref, c_char_p, c_size_t, c_uint32, c_uint64, c_void_p

import gguf
from interface import Differences, FileInfo, Library, StatusError, TensorInfo, sized

MUTANTS = 20_000
TYPES = gguf.GGUFValueType
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY, BOOL = 8, 9, 7
# gguf goes over arrays that end behind the file element by element: it is stopped after so much of the processor.
MOST_SECONDS = 0.1
REMOVED_OR_UNKNOWN_THERE = {42: "Q2_0"}
Q8_1 = 9


# ---- files ----


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def string(data):
    return u64(len(data)) + data


def entry(key, value_type, value):
    return string(key) + u32(value_type) + value


def array(element_type, elements):
    return u32(element_type) + u64(len(elements)) + b"".join(elements)


def tensor(name, dims, kind, offset):
    return string(name) + u32(len(dims)) + b"".join(map(u64, dims)) + u32(kind) + u64(offset)


def whole(entries, tensors, data=0, alignment=32, version=3):
    head = b"GGUF" + u32(version) + u64(len(tensors)) + u64(len(entries)) + b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + bytes(i & 255 for i in range(data))


def seeds():
    scalars = [entry(b"key.%d" % kind, kind, b"\1" * size) for kind, size in SIZES.items()]
    strings = array(STRING, [string(b"x" * (i % 4)) for i in range(20)])
    nested = array(ARRAY, [array(7, [b"\0", b"\1"]), array(ARRAY, [array(STRING, [string(b"s")])])])
    deep = array(ARRAY, [array(ARRAY, [array(ARRAY, [array(0, [b"\7"])])])])
    arrays = [entry(b"a%d" % kind, ARRAY, array(kind, [b"\0" * size] * 3)) for kind, size in SIZES.items()]
    alignment = entry(b"general.alignment", 4, u32(8))
    two = [tensor(b"first", [4, 2], 0, 0), tensor(b"second", [32, 2], 8, 32)]
    return [
        whole(scalars, []),
        whole(scalars[:3], [tensor(b"t", [8], 0, 0)], 32, version=2),
        whole([entry(b"s", STRING, string(b"text")), entry(b"strings", ARRAY, strings)], []),
        whole([entry(b"nested", ARRAY, nested), entry(b"deep", ARRAY, deep)], []),
        whole(arrays, []),
        whole([alignment], [tensor(b"t", [3], 0, 0), tensor(b"u", [5], 24, 16)], 21, 8),
        whole([], two, 32 + 68),
        whole([entry(b"flag", BOOL, b"\1"), entry(b"flags", ARRAY, array(BOOL, [b"\0", b"\1"] * 8))], two, 100),
        whole([], [tensor(b"q%d" % i, [256], kind, i * 288) for i, kind in enumerate([10, 11, 12, 13, 14, 20])], 1728),
        whole([], [tensor(b"late", [16], 24, 64), tensor(b"early", [16], 24, 0), tensor(b"zero", [4, 0], 0, 32)], 80),
        whole([], [tensor(b"name" * 15, [1, 1, 1, 2], 1, 0), tensor(b"", [], 0, 32)], 36),
        whole([], [tensor(b"half", [32], 24, 0), tensor(b"rest", [32], 24, 32)], 64),
    ]


INTERESTING = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 31, 32, 33, 42, 43, 63, 64, 65, 127, 128, 255, 256, 2**16, 2**31 - 1, 2**31,
               2**32 - 1, 2**32, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 8, 2**64 - 1]


def mutant(chance, files):
    data = bytearray(chance.choice(files))
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        at = chance.randrange(len(data))
        how = chance.random()
        if how < 0.35:
            data[at] ^= 1 << chance.randrange(8)
        elif how < 0.7:
            width = chance.choice([1, 4, 8, 8])
            data[at : at + width] = (chance.choice(INTERESTING) % 256**width).to_bytes(width, "little")
        elif how < 0.8:
            # A small step, as lengths and offsets are.
            data[at] = (data[at] + chance.choice([-32, -8, -1, 1, 8, 32])) % 256
        elif how < 0.87:
            del data[chance.randrange(max(1, len(data) - 60), len(data)) :]
        elif how < 0.92:
            del data[at : at + chance.choice([1, 4, 8])]
        elif how < 0.96:
            data[at:at] = bytes(chance.randrange(256) for _ in range(chance.choice([1, 4, 8])))
        else:
            end = at + chance.randrange(1, 24)
            data[at:at] = data[at:end]
        if not data:
            data = bytearray(b"G")
    return bytes(data)


# ---- the two readers ----


class Endless(BaseException):
    pass


def stop(_signal, _frame):
    raise Endless


def theirs(path):
    """A reader, or None where gguf raises, or does not come to an end."""
    # The signal may come as late as in the call that takes the timer back: so that is tried as well.
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return gguf.GGUFReader(path)
        except Exception:  # noqa: BLE001 - whatever it raises is its verdict
            return None
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except Endless:
        return None


def ours(library, path):
    """A handle, or None, and the status and the text of why."""
    file = c_void_p()
    try:
        library.file_open(path.encode(), None, byref(file))
    except StatusError as error:
        return None, error.name, str(error)
    return file, "OK", ""


def leaves(library, file, index, path):
    """All values of a metadata entry in order, arrays within arrays flattened, as their bytes in the file."""
    steps = (c_uint64 * len(path))(*path)
    where = (file, index, steps, len(path))
    kind, count, data, size = c_uint32(), c_uint64(), c_void_p(), c_size_t()
    library.metadata_array_info(*where, byref(kind), byref(count))
    if kind.value == ARRAY:
        return [leaf for element in range(count.value) for leaf in leaves(library, file, index, [*path, element])]
    if kind.value == STRING:
        texts = []
        for element in range(count.value):
            steps = (c_uint64 * (len(path) + 1))(*path, element)
            library.metadata_element_string(file, index, steps, len(path) + 1, byref(data), byref(size))
            texts.append(ctypes.string_at(data, size.value))
        return texts
    library.metadata_array_data(*where, byref(data), byref(size))
    raw, step = ctypes.string_at(data, size.value), SIZES[kind.value]
    return [raw[at : at + step] for at in range(0, len(raw), step)]


def scalar(library, file, index, kind):
    """A value that is no array, as its bytes in the file."""
    where = (file, index, None, 0)
    if kind == STRING:
        text, size = c_void_p(), c_size_t()
        library.metadata_element_string(*where, byref(text), byref(size))
        return ctypes.string_at(text, size.value)
    if kind in (6, 12):
        out = ctypes.c_double()
        library.metadata_element_f64(*where, byref(out))
        return struct.pack("<f" if kind == 6 else "<d", out.value)
    if kind == BOOL:
        out = ctypes.c_bool()
        library.metadata_element_bool(*where, byref(out))
        return bytes([out.value])
    signed = kind in (1, 3, 5, 11)
    out, get = (ctypes.c_int64(), library.metadata_element_i64) if signed else (c_uint64(), library.metadata_element_u64)
    get(*where, byref(out))
    return out.value.to_bytes(SIZES[kind], "little", signed=signed)


def compare(library, file, reader, data, differences):
    """All that both read from an accepted file."""
    info = sized(FileInfo)
    library.file_info(file, byref(info))
    fields = [field for field in reader.fields.values() if not field.name.startswith("GGUF.")]
    differences.equal("entries", info.metadata_count, len(fields))
    differences.equal("tensors", info.tensor_count, len(reader.tensors))
    differences.equal("alignment", info.alignment, int(reader.alignment))
    differences.equal("data section", info.data_offset, int(reader.data_offset))
    differences.equal("version", info.version, int(reader.fields["GGUF.version"].parts[0][0]))
    for index, field in enumerate(fields):
        key, length, kind = c_char_p(), c_size_t(), c_uint32()
        library.metadata_key(file, index, byref(key), byref(length))
        library.metadata_type(file, index, byref(kind))
        differences.equal("key", key.value, field.name.encode())
        differences.equal("value type", kind.value, int(field.types[0]))
        found = [field.parts[part].tobytes() for part in field.data]
        if kind.value == ARRAY:
            differences.equal(f"{key.value}", leaves(library, file, index, []), found)
        else:
            # A NaN does not keep its bits on its way through a double.
            value = scalar(library, file, index, kind.value)
            nan = kind.value in (6, 12) and field.parts[field.data[0]][0] != field.parts[field.data[0]][0]
            differences.equal(f"{key.value}", len(value) if nan else value, len(found[0]) if nan else found[0])
    for index, there in enumerate(reader.tensors):
        here = sized(TensorInfo)
        library.tensor_info(file, index, byref(here))
        dims = [int(dim) for dim in there.shape]
        differences.equal("tensor", here.name, there.name.encode())
        differences.equal("type", here.type, int(there.tensor_type))
        differences.equal("dims", list(here.dims[: here.n_dims]), dims)
        differences.equal("offset", here.absolute_offset, int(there.data_offset))
        differences.equal("size", here.size_bytes, int(there.n_bytes))
        if here.size_bytes:
            stored = data[here.absolute_offset :][: here.size_bytes]
            differences.equal("data", ctypes.string_at(here.data, here.size_bytes), stored)


# ---- the rules: where the library and gguf are meant to differ ----


def names(reader):
    """Keys and tensor names."""
    keys = [field.name for field in reader.fields.values() if not field.name.startswith("GGUF.")]
    return keys, [there.name for there in reader.tensors]


def walk_array(data, at, level, found):
    """Appends (level, element type, number of elements) of the array at byte `at` and of all in it; returns its end."""
    element, count = struct.unpack_from("<IQ", data, at)
    found.append((level, element, count))
    at += 12
    if element in SIZES:
        return at + count * SIZES[element]
    for _ in range(count):
        if element == STRING:
            at += 8 + int.from_bytes(data[at : at + 8], "little")
        else:
            at = walk_array(data, at, level + 1, found)
    return at


def arrays(reader, data):
    found = []
    for field in reader.fields.values():
        if field.types and field.types[0] == TYPES.ARRAY:
            walk_array(data, field.offset + sum(int(part.nbytes) for part in field.parts[:3]), 1, found)
    return found


def extents(reader):
    return sorted((int(t.data_offset), int(t.data_offset) + int(t.n_bytes)) for t in reader.tensors if t.n_bytes)


def values_of(reader, kind):
    for field in reader.fields.values():
        if field.types and field.types[-1] == kind and field.types[0] in (TYPES.ARRAY, kind):
            yield from (field.parts[part].tobytes() for part in field.data)


def missing_bytes(reader):
    """Whether a part of a field has fewer bytes than were declared: numpy's slices just end."""
    for field in reader.fields.values():
        if field.name.startswith("GGUF."):
            continue
        parts = field.parts
        if int(parts[0][0]) != len(parts[1]) or any(part.size == 0 for part in [parts[2], *(parts[i] for i in field.data)]
                                                    if not is_text(field)):
            return True
        if is_text(field) and any(int(parts[i - 1][0]) != len(parts[i]) for i in field.data):
            return True
    return any(int(t.field.parts[0][0]) != len(t.field.parts[1]) or int(t.field.parts[2][0]) != len(t.field.parts[3])
               for t in reader.tensors)


def is_text(field):
    return bool(field.types) and field.types[-1] == TYPES.STRING


# The library refuses, gguf accepts: name, status, and what the file must show.
REFUSED_HERE = [
    ("big-endian files are not read", "UNSUPPORTED_VERSION",
     lambda reader, data: reader.endianess == gguf.GGUFEndian.BIG),
    ("a NUL in a key or tensor name", "BAD_FORMAT",
     lambda reader, data: any("\0" in name for group in names(reader) for name in group)),
    ("a key is not empty", "BAD_FORMAT", lambda reader, data: "" in names(reader)[0]),
    ("a bool is 0 or 1", "BAD_FORMAT", lambda reader, data: any(value > b"\1" for value in values_of(reader, TYPES.BOOL))),
    ("tensors do not overlap", "BAD_FORMAT",
     lambda reader, data: any(a[1] > b[0] for a, b in zip(extents(reader), extents(reader)[1:]))),
    ("offsets are multiples of the alignment", "BAD_FORMAT",
     lambda reader, data: any(int(t.field.parts[5][0]) % int(reader.alignment) for t in reader.tensors)),
    ("at most 4 dimensions", "LIMIT", lambda reader, data: any(len(t.shape) > 4 for t in reader.tensors)),
    ("arrays lie at most 4 deep", "LIMIT",
     lambda reader, data: any(level > 4 for level, _, _ in arrays(reader, data))),
    ("the elements of an empty array have a type, too", "BAD_FORMAT",
     lambda reader, data: any(element > 12 and count == 0 for _, element, count in arrays(reader, data))),
    ("names of at most 64 bytes", "LIMIT", lambda reader, data: any(len(n.encode()) > 64 for n in names(reader)[1])),
    ("declared bytes are there", "TRUNCATED", lambda reader, data: missing_bytes(reader)),
    ("tensors of no bytes lie in the file as well", "TRUNCATED",
     lambda reader, data: any(t.n_bytes == 0 and int(t.data_offset) > len(data) for t in reader.tensors)),
]


def our_tensors(library, file):
    info = sized(FileInfo)
    library.file_info(file, byref(info))
    for index in range(info.tensor_count):
        here = sized(TensorInfo)
        library.tensor_info(file, index, byref(here))
        yield here


def our_keys(library, file):
    info = sized(FileInfo)
    library.file_info(file, byref(info))
    for index in range(info.metadata_count):
        key, length = c_char_p(), c_size_t()
        library.metadata_key(file, index, byref(key), byref(length))
        yield key.value


# The library accepts, gguf refuses: name, and what the open file must show.
REFUSED_THERE = [
    ("types that this gguf does not know", lambda here, keys: any(t.type in REMOVED_OR_UNKNOWN_THERE for t in here)),
    ("Q8_1 blocks have 36 bytes, not 40", lambda here, keys: any(t.type == Q8_1 for t in here)),
    ("a tensor with a dimension of 0 has no bytes, however large the others are",
     lambda here, keys: any(t.size_bytes == 0 and max(t.dims) >= 2**31 for t in here)),
    ("a key may begin with GGUF.", lambda here, keys: any(key.startswith(b"GGUF.") for key in keys)),
]


def rule_of(library, file, status, reader, data):
    """The name of the rule that explains different verdicts, else None."""
    if file is None:
        for name, expected, shows in REFUSED_HERE:
            if status == expected and shows(reader, data):
                return name
        return None
    here, keys = list(our_tensors(library, file)), list(our_keys(library, file))
    return next((name for name, shows in REFUSED_THERE if shows(here, keys)), None)


def main():
    library = Library(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else MUTANTS
    signal.signal(signal.SIGVTALRM, stop)
    chance, files, differences = random.Random(20261122), seeds(), Differences()
    verdicts, rules, unexplained = Counter(), Counter(), 0
    with tempfile.TemporaryDirectory() as directory:
        for number in range(-len(files), count):
            # The seeds themselves first, which both accept.
            data = files[number + len(files)] if number < 0 else mutant(chance, files)
            path = os.path.join(directory, f"{number}.gguf")
            with open(path, "wb") as out:
                out.write(data)
            file, status, text = ours(library, path)
            reader = theirs(path)
            verdicts["accepted" if file else "refused", "accepted" if reader else "refused"] += 1
            if file and reader:
                compare(library, file, reader, data, differences)
            elif file or reader:
                rule = rule_of(library, file, status, reader, data)
                rules[rule] += 1
                if rule is None:
                    unexplained += 1
                    if unexplained <= 10:
                        print(f"NO RULE for mutant {number}: gguffuse {status}, gguf {'accepts' if reader else 'refuses'}; {text}")
                        print(f"  {data.hex()}")
            if number < 0 and not (file and reader):
                differences.report(f"seed {number} is not accepted by both: {text}")
            if file:
                library.file_close(file)
            del reader
            os.unlink(path)
    print(f"{count} mutants of {len(files)} files")
    for (here, there), number in sorted(verdicts.items()):
        print(f"  {number:6} {here} by gguffuse, {there} by gguf")
    print("differences by rule:")
    for name, number in rules.most_common():
        print(f"  {number:6} {name}")
    print(f"{differences.compared} contents compared, {differences.different} differ; {unexplained} verdicts without a rule")
    sys.exit(1 if differences.different or unexplained else 0)


if __name__ == "__main__":
    main()
