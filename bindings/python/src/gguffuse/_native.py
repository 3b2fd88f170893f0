"""The library and its C functions, as ctypes calls them; include/gguffuse.h is the contract.

ctypes releases the GIL during every call. A status other than 0 is raised as an exception. Nothing here knows numpy.
"""

import ctypes
import os
import sys
import weakref
from collections.abc import Callable
from ctypes import POINTER, c_bool, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import _errors

ABI_VERSION = 0

Struct = TypeVar("Struct", bound=ctypes.Structure)


class OpenOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t), ("max_metadata_bytes", c_uint64), ("copy", c_uint32), ("reserved", c_uint32),
    ]


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


class WriterOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("version", c_uint32), ("alignment", c_uint32)]


def sized(struct: type[Struct], **members: Any) -> Struct:
    """A struct of the interface, with its size in its first member."""
    return struct(struct_size=ctypes.sizeof(struct), **members)


WHERE = [c_void_p, c_uint64, POINTER(c_uint64), c_size_t]
# x, its length, stride and rows; y, its length and stride.
ACTIVATIONS = [c_void_p, c_size_t, c_size_t, c_size_t, c_void_p, c_size_t, c_size_t]
KEY = [c_void_p, c_char_p]
FALLIBLE: dict[str, list[Any]] = {
    "file_open": [c_char_p, POINTER(OpenOptions), POINTER(c_void_p)],
    "file_open_memory": [c_void_p, c_size_t, POINTER(OpenOptions), POINTER(c_void_p)],
    "file_verify": [c_void_p],
    "file_info": [c_void_p, POINTER(FileInfo)],
    "tensor_find": [c_void_p, c_char_p, POINTER(c_uint64)],
    "tensor_info": [c_void_p, c_uint64, POINTER(TensorInfo)],
    "metadata_find": [c_void_p, c_char_p, POINTER(c_uint64)],
    "metadata_key": [c_void_p, c_uint64, POINTER(c_void_p), POINTER(c_size_t)],
    "metadata_type": [c_void_p, c_uint64, POINTER(c_uint32)],
    "metadata_array_info": [*WHERE, POINTER(c_uint32), POINTER(c_uint64)],
    "metadata_array_data": [*WHERE, POINTER(c_void_p), POINTER(c_size_t)],
    "metadata_array_strings": [*WHERE, c_void_p, c_void_p, c_size_t],
    "metadata_element_u64": [*WHERE, POINTER(c_uint64)],
    "metadata_element_i64": [*WHERE, POINTER(c_int64)],
    "metadata_element_f64": [*WHERE, POINTER(c_double)],
    "metadata_element_bool": [*WHERE, POINTER(c_bool)],
    "metadata_element_string": [*WHERE, POINTER(c_void_p), POINTER(c_size_t)],
    "type_info": [c_uint32, POINTER(TypeInfo)],
    "row_size": [c_uint32, c_uint64, POINTER(c_size_t)],
    "dequantize": [c_uint32, c_void_p, c_size_t, c_void_p, c_size_t],
    "quantize_with": [c_void_p, c_uint32, c_void_p, c_size_t, c_size_t, c_void_p, c_void_p, c_size_t],
    "context_new": [POINTER(ContextOptions), POINTER(c_void_p)],
    "matmul": [c_void_p, c_uint32, c_void_p, c_size_t, c_size_t, c_size_t, *ACTIVATIONS],
    "matmul_tensor": [c_void_p, c_void_p, c_uint64, *ACTIVATIONS],
    "activations_new": [POINTER(c_void_p)],
    # x, its length, stride and rows; k.
    "activations_pack": [c_void_p, c_void_p, c_void_p, c_size_t, c_size_t, c_size_t, c_size_t],
    # y, its length and stride, at the end of both.
    "activations_matmul": [
        c_void_p, c_void_p, c_uint32, c_void_p, c_size_t, c_size_t, c_size_t, c_void_p, c_size_t, c_size_t,
    ],
    "activations_matmul_tensor": [c_void_p, c_void_p, c_void_p, c_uint64, c_void_p, c_size_t, c_size_t],
    "validate": [c_void_p, c_uint32, c_void_p, c_size_t, POINTER(c_uint64)],
    "tensor_validate": [c_void_p, c_void_p, c_uint64, POINTER(c_uint64)],
    "writer_new": [POINTER(WriterOptions), POINTER(c_void_p)],
    "writer_add_tensor": [*KEY, c_uint32, c_uint32, POINTER(c_uint64), c_void_p, c_size_t],
    "writer_size": [c_void_p, POINTER(c_uint64)],
    "writer_write_memory": [c_void_p, c_void_p, c_size_t, POINTER(c_size_t)],
    "writer_write_file": [c_void_p, c_char_p],
    "writer_set_u8": [*KEY, ctypes.c_uint8],
    "writer_set_i8": [*KEY, ctypes.c_int8],
    "writer_set_u16": [*KEY, ctypes.c_uint16],
    "writer_set_i16": [*KEY, ctypes.c_int16],
    "writer_set_u32": [*KEY, c_uint32],
    "writer_set_i32": [*KEY, c_int32],
    "writer_set_u64": [*KEY, c_uint64],
    "writer_set_i64": [*KEY, c_int64],
    "writer_set_f32": [*KEY, ctypes.c_float],
    "writer_set_f64": [*KEY, c_double],
    "writer_set_bool": [*KEY, c_bool],
    "writer_set_string": [*KEY, c_char_p, c_size_t],
    "writer_set_array": [*KEY, c_uint32, c_void_p, c_size_t],
    "writer_set_string_array": [*KEY, POINTER(c_char_p), POINTER(c_size_t), c_size_t],
    "writer_set_nested_array": [*KEY, POINTER(c_char_p), c_size_t],
    "writer_copy_metadata": [c_void_p, c_void_p, c_char_p],
    "writer_remove_metadata": KEY,
}
TEXTS: dict[str, list[Any]] = {
    "version_string": [], "status_name": [c_int32], "context_isa": [c_void_p], "isa_name": [c_size_t],
}
FREES = ["file_close", "context_free", "activations_free", "writer_free"]


class Library:
    """The functions of the C interface by their names without the prefix."""

    def __init__(self, path: str) -> None:
        self.path = path
        library = ctypes.CDLL(path)
        # Its signature never changes; the others' may, with this number.
        if library.gguffuse_abi_version() != ABI_VERSION:
            raise ImportError(f"{path} has another binary interface than {ABI_VERSION}, for which this package was made")
        self._last_error = library.gguffuse_last_error
        self._last_error.restype, self._last_error.argtypes = c_size_t, [c_char_p, c_size_t]
        for name, arguments in TEXTS.items():
            self._declare(library, name, c_char_p, arguments)
        for name in FREES:
            self._declare(library, name, c_int32, [c_void_p])
        for name, arguments in FALLIBLE.items():
            self._declare(library, name, c_int32, arguments).errcheck = self._check

    def _declare(self, library: ctypes.CDLL, name: str, result: Any, arguments: list[Any]) -> Any:
        function = getattr(library, f"gguffuse_{name}")
        function.restype, function.argtypes = result, arguments
        setattr(self, name, function)
        return function

    def _check(self, status: int, _function: Any, _arguments: Any) -> int:
        if status != 0:
            text = ctypes.create_string_buffer(512)
            self._last_error(text, len(text))
            raise _errors.BY_STATUS.get(status, _errors.Error)(text.value.decode("utf-8", "replace"))
        return status

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Any]: ...


class Handle:
    """A handle of the library, given back when the last object goes that needs it.

    Everything that reads through it holds it meanwhile: a call for as long as it runs, a numpy view of the file's bytes
    for as long as it lives. So nothing is freed under them, whatever is closed where.
    """

    __slots__ = ("__weakref__", "borrowed", "value")

    def __init__(self, value: c_void_p, free: str, borrowed: object = None) -> None:
        self.value = value
        # Memory of others that the library reads: it stays until the handle is given back.
        self.borrowed = borrowed
        # The system does it at the end of the process, when threads may still be at work.
        weakref.finalize(self, getattr(library, free), value).atexit = False

    def __reduce__(self) -> str:
        raise TypeError("files, contexts and writers belong to one process: open them again in the other")


def c_string(text: str | bytes, what: str) -> bytes:
    """For an argument that ends with NUL, and so can't hold one."""
    encoded = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if b"\0" in encoded:
        raise ValueError(f"{what} has a NUL in it")
    return encoded


def _find() -> str:
    """GGUFFUSE_LIBRARY, else the library in this package, else the system's."""
    names = {"win32": ("gguffuse.dll",) * 2, "darwin": ("libgguffuse.dylib",) * 2}
    inside, installed = names.get(sys.platform, ("libgguffuse.so", f"libgguffuse.so.{ABI_VERSION}"))
    own = Path(__file__).with_name(inside)
    return os.environ.get("GGUFFUSE_LIBRARY") or (str(own) if own.exists() else installed)


library = Library(_find())

__all__ = [
    "ContextOptions", "FileInfo", "Handle", "OpenOptions", "TensorInfo", "TypeInfo", "WriterOptions", "c_string",
    "library", "sized",
]
