"""Making GGUF files."""

import os
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_size_t, c_uint64, c_void_p
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _arrays
from ._errors import InvalidHandleError
from ._file import File
from ._native import Handle, WriterOptions, c_string, library, sized
from ._tensor import Tensor
from ._types import NUMPY_OF_VALUE, TYPE_OF_NUMPY, VALUE_OF_NUMPY, TypeLike, ValueType, as_type

_SETTERS = {
    ValueType.UINT8: "u8", ValueType.INT8: "i8", ValueType.UINT16: "u16", ValueType.INT16: "i16",
    ValueType.UINT32: "u32", ValueType.INT32: "i32", ValueType.UINT64: "u64", ValueType.INT64: "i64",
    ValueType.FLOAT32: "f32", ValueType.FLOAT64: "f64", ValueType.BOOL: "bool",
}


class Writer:
    """A GGUF file that is being made. Metadata and tensors are written in the order in which they were added.

    Tensors' arrays are borrowed, not copied: the writer keeps them, and reads them whenever the file is written.
    """

    def __init__(self, version: int = 3, alignment: int = 0) -> None:
        options, handle = sized(WriterOptions, version=version, alignment=alignment), c_void_p()
        library.writer_new(byref(options), byref(handle))
        self._tensors: list[Any] = []
        self._handle: Handle | None = Handle(handle, "writer_free", self._tensors)

    @property
    def handle(self) -> Handle:
        if (handle := self._handle) is None:
            raise InvalidHandleError("the writer is closed")
        return handle

    def set(self, key: str, value: Any, kind: ValueType | None = None) -> None:
        """Sets a metadata entry: a new one, or another value for a key that is there, which keeps its place.

        str, bytes, bool, numpy's numbers and arrays say their GGUF type themselves, and so do lists of strings, of bools
        and of arrays. Python's int and float don't, nor do lists of them or empty ones: there `kind` is the type of the
        number, or of the elements.
        """
        handle, name = self.handle, c_string(key, "key")
        if isinstance(value, str | bytes):
            text = _encoded(value)
            library.writer_set_string(handle.value, name, text, len(text))
        elif isinstance(value, np.ndarray) and value.ndim > 0:
            _set_array(handle, name, value)
        elif isinstance(value, Sequence):
            self._set_sequence(key, value, kind)
        else:
            kind, number = _number(value, kind)
            getattr(library, f"writer_set_{_SETTERS[kind]}")(handle.value, name, number)

    def _set_sequence(self, key: str, values: Sequence[Any], kind: ValueType | None) -> None:
        handle, name = self.handle, c_string(key, "key")
        first = values[0] if values else None
        if isinstance(first, str | bytes) or (not values and kind == ValueType.STRING):
            texts = [_encoded(text) for text in values]
            pointers, lengths = (c_char_p * len(texts))(*texts), (c_size_t * len(texts))(*map(len, texts))
            library.writer_set_string_array(handle.value, name, pointers, lengths, len(texts))
        elif isinstance(first, np.ndarray | Sequence) or (not values and kind == ValueType.ARRAY):
            self._set_nested(key, values, kind)
        else:
            if kind is None and not isinstance(first, bool | np.generic):
                raise TypeError(f"{key} holds {type(first).__name__} elements: kind must say which GGUF type they are")
            numbers = [_number(value, kind) for value in values]
            kind = numbers[0][0] if numbers else kind
            if kind not in NUMPY_OF_VALUE or any(one != kind for one, _ in numbers):
                raise TypeError(f"the elements of {key} are not of one type")
            _set_array(handle, name, np.array([number for _, number in numbers], NUMPY_OF_VALUE[kind]))

    def _set_nested(self, key: str, values: Sequence[Any], kind: ValueType | None) -> None:
        """The elements are entries of their own at first, which the library then puts into one."""
        handle, keys = self.handle, [f"{key}\x1f{element}" for element in range(len(values))]
        done: list[str] = []
        try:
            for element, value in zip(keys, values, strict=True):
                self.set(element, value, kind)
                done.append(element)
            names = (c_char_p * len(keys))(*(element.encode() for element in keys))
            library.writer_set_nested_array(handle.value, c_string(key, "key"), names, len(keys))
        except BaseException:
            for element in done:
                self.remove(element)
            raise

    def remove(self, key: str) -> None:
        """Removes a metadata entry."""
        library.writer_remove_metadata(self.handle.value, c_string(key, "key"))

    def copy_metadata(self, file: File, key: str | None = None) -> None:
        """Sets an entry to the value that it has in a file; without a key, all that the file has."""
        source = file.handle
        library.writer_copy_metadata(
            self.handle.value, source.value, None if key is None else c_string(key, "key")
        )

    def add_tensor(
        self, name: str, tensor: Tensor | npt.NDArray[Any], kind: TypeLike | None = None, *,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """Adds a tensor: one of a file; an array of numbers, whose type and shape are its own; or, with `kind`, blocks of
        uint8 with the bytes of a row as the last axis. `shape`: that of the elements, where it isn't the array's.
        """
        array: npt.NDArray[Any]
        if isinstance(tensor, Tensor):
            array, kind, shape = tensor.data, tensor.type, tensor.shape
        elif kind is None:
            if (array := tensor).dtype not in TYPE_OF_NUMPY:
                raise TypeError(f"GGUF has no tensors of {array.dtype}; for blocks say of which type they are")
            kind, shape = TYPE_OF_NUMPY[array.dtype], array.shape if shape is None else shape
        else:
            array = _arrays.blocks(tensor, "tensor")
            if shape is None:
                shape = (*array.shape[:-1], _arrays.elements_in(kind, array.shape[-1]))
        if not array.flags.c_contiguous:
            raise ValueError("a tensor's array must be C-contiguous; numpy.ascontiguousarray makes a copy that is so")
        handle, dims = self.handle, (c_uint64 * len(shape))(*reversed(shape))
        library.writer_add_tensor(
            handle.value, c_string(name, "name"), as_type(kind), len(shape), dims, _arrays.address(array), array.nbytes
        )
        self._tensors.append(array)

    @property
    def nbytes(self) -> int:
        """The size of the file as it would be written now."""
        size = c_uint64()
        library.writer_size(self.handle.value, byref(size))
        return size.value

    def write(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        """Writes the file: under another name first, so that `path` is what it was before or the whole file."""
        handle = self.handle
        library.writer_write_file(handle.value, c_string(os.fsencode(path), "path"))

    def to_array(self) -> _arrays.Bytes:
        """The file in memory, for gguffuse.open_memory."""
        handle, size = self.handle, c_size_t()
        out = np.empty(self.nbytes, np.uint8)
        library.writer_write_memory(handle.value, _arrays.address(out), out.nbytes, byref(size))
        return out

    def close(self) -> None:
        self._handle = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _encoded(text: object) -> bytes:
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    raise TypeError(f"a string is needed, not {type(text).__name__}")


def _set_array(handle: Handle, name: bytes, array: npt.NDArray[Any]) -> None:
    if array.ndim != 1 or array.dtype not in VALUE_OF_NUMPY:
        raise TypeError(f"GGUF has no arrays of {array.ndim} dimensions of {array.dtype}")
    elements = np.ascontiguousarray(array)  # copied by the library anyway
    library.writer_set_array(
        handle.value, name, VALUE_OF_NUMPY[array.dtype], _arrays.address(elements), len(elements)
    )


def _number(value: object, kind: ValueType | None) -> tuple[ValueType, bool | int | float]:
    """GGUF's type and Python's number; ValueError where it doesn't fit."""
    if kind is None and isinstance(value, bool | np.generic | np.ndarray):
        kind = VALUE_OF_NUMPY.get(np.asarray(value).dtype)
    if kind not in NUMPY_OF_VALUE:
        raise TypeError(f"a {type(value).__name__} needs a kind, one of gguffuse.ValueType, or numpy's type for it")
    dtype = np.dtype(NUMPY_OF_VALUE[kind])
    if dtype.kind == "b" and isinstance(value, bool | np.bool_):
        return kind, bool(value)
    if dtype.kind == "f" and isinstance(value, int | float | np.number):
        return kind, float(value)
    if dtype.kind in "iu" and isinstance(value, int | np.integer) and not isinstance(value, bool):
        number, limits = int(value), np.iinfo(dtype)
        if not limits.min <= number <= limits.max:
            raise ValueError(f"{number} doesn't fit in {kind.name}")
        return kind, number
    raise TypeError(f"{value!r} is no {kind.name}")
