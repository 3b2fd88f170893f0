#!/usr/bin/env python3
"""Opens every file of the corpus through ctypes, by path and from memory, reads all of it and asks what the index says.

    scripts/check_corpus.py LIBRARY DIRECTORY

tests/corpus/main.rs makes the directory and runs this. Exit code 1 where a status or an answer is another one.
"""

import ctypes
import pathlib
import sys
from ctypes import POINTER, byref, c_bool, c_char_p, c_size_t, c_uint32, c_uint64, c_void_p

from interface import FALLIBLE, FileInfo, Library, StatusError, TensorInfo, sized

FALLIBLE.update({
    "file_open_memory": [c_void_p, c_size_t, c_void_p, POINTER(c_void_p)],
    "metadata_get_u64": [c_void_p, c_char_p, POINTER(c_uint64)],
    "metadata_get_bool": [c_void_p, c_char_p, POINTER(c_bool)],
    "metadata_get_string": [c_void_p, c_char_p, POINTER(c_void_p), POINTER(c_size_t)],
})


def walk(library, file):
    info = sized(FileInfo)
    library.file_info(file, byref(info))
    for index in range(info.metadata_count):
        key, length, kind, found = c_char_p(), c_size_t(), c_uint32(), c_uint64()
        library.metadata_key(file, index, byref(key), byref(length))
        assert len(key.value) == length.value
        library.metadata_find(file, key, byref(found))
        assert found.value == index
        library.metadata_type(file, index, byref(kind))
        assert kind.value <= 12
    for index in range(info.tensor_count):
        tensor = sized(TensorInfo)
        library.tensor_info(file, index, byref(tensor))
        assert tensor.absolute_offset == info.data_offset + tensor.relative_offset
        if tensor.size_bytes:
            ends = ctypes.string_at(tensor.data, 1) + ctypes.string_at(tensor.data + tensor.size_bytes - 1, 1)
            assert len(ends) == 2


def ask(library, file, what, key):
    """The answer, as a number."""
    key = key.encode()
    out, length = c_uint64(), c_size_t()
    if what == "u64":
        library.metadata_get_u64(file, key, byref(out))
    elif what == "bool":
        truth = c_bool()
        library.metadata_get_bool(file, key, byref(truth))
        out.value = truth.value
    elif what == "string":
        text = c_void_p()
        library.metadata_get_string(file, key, byref(text), byref(length))
        assert len(ctypes.string_at(text.value, length.value + 1)) == length.value + 1
        out.value = length.value
    elif what == "tensor":
        library.tensor_absolute_offset(file, key, byref(out))
    else:
        index, element = c_uint64(), c_uint64(int(what.removeprefix("element ")))
        library.metadata_find(file, key, byref(index))
        library.metadata_element_u64(file, index, byref(element), 1, byref(out))
    return out.value


def outcome(function):
    """The name of the status of what `function` does, and what it returns, 0 if it fails."""
    try:
        return "OK", function()
    except StatusError as error:
        return error.name, 0


def main():
    library, directory = Library(sys.argv[1]), pathlib.Path(sys.argv[2])
    wrong = files = 0
    for line in (directory / "index").read_text().splitlines():
        name, status, small, what, key, query_status, answer = line.split("\t")
        path = directory / name
        ways = [lambda file: library.file_open(str(path).encode(), None, byref(file))]
        if small == "1":
            data = path.read_bytes()
            memory = ctypes.create_string_buffer(data, len(data)) if data else ctypes.create_string_buffer(1)
            ways.append(lambda file: library.file_open_memory(memory, len(data), None, byref(file)))
        for way in ways:
            file = c_void_p()
            got, _ = outcome(lambda: way(file))
            if got != status:
                print(f"{name}: {got}, not {status}")
                wrong += 1
            if got == "OK":
                walk(library, file)
                if what != "-":
                    given = outcome(lambda: ask(library, file, what, key))
                    if given != (query_status, int(answer)):
                        print(f"{name}: {what} of {key} gave {given}")
                        wrong += 1
                library.file_close(file)
        files += 1
    print(f"{files} files, {wrong} not as promised")
    sys.exit(1 if wrong or not files else 0)


if __name__ == "__main__":
    main()
