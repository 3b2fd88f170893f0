"""The C interface of libgguffuse for the scripts beside this one, declared as a user of ctypes would: include/gguffuse.h
is the contract. And the count of what differs.
"""

import ctypes
from ctypes import POINTER, c_bool, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64
from ctypes import c_void_p


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
    "row_size": [c_uint32, c_uint64, POINTER(c_size_t)],
    "context_new": [POINTER(ContextOptions), POINTER(c_void_p)],
    "context_free": [c_void_p],
    "dequantize": [c_uint32, c_void_p, c_size_t, POINTER(c_float), c_size_t],
    "validate": [c_void_p, c_uint32, c_void_p, c_size_t, POINTER(c_uint64)],
    "tensor_validate": [c_void_p, c_void_p, c_uint64, POINTER(c_uint64)],
    "matmul_tensor": [
        c_void_p, c_void_p, c_uint64, POINTER(c_float), c_size_t, c_size_t, c_size_t, POINTER(c_float), c_size_t,
        c_size_t,
    ],
    "matmul_rows": [
        c_void_p, c_uint32, c_void_p, c_size_t, c_size_t, c_size_t, c_size_t, c_size_t, POINTER(c_float), c_size_t,
        c_size_t, c_size_t, POINTER(c_float), c_size_t, c_size_t,
    ],
}


class StatusError(RuntimeError):
    """A status other than 0; `name` is its name, as in "TRUNCATED"."""

    def __init__(self, name, text):
        super().__init__(text)
        self.name = name


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

        status_name = library.gguffuse_status_name
        status_name.restype, status_name.argtypes = c_char_p, [c_int32]

        def check(status, function, _arguments):
            if status != 0:
                text = ctypes.create_string_buffer(600)
                last_error(text, len(text))
                name = status_name(status).decode()
                raise StatusError(name, f"{function.__name__}: {name}: {text.value.decode()}")

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
