"""The metadata of an open file, as a mapping."""

import ctypes
from collections.abc import Iterator, Mapping
from ctypes import byref, c_bool, c_double, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any

import numpy as np

from ._errors import NotFoundError
from ._native import Handle, c_string, library
from ._types import NUMPY_OF_VALUE, ValueType

if TYPE_CHECKING:
    from ._file import File

_SIGNED = {ValueType.INT8, ValueType.INT16, ValueType.INT32, ValueType.INT64}
_FLOATS = {ValueType.FLOAT32, ValueType.FLOAT64}


class Metadata(Mapping[str, Any]):
    """Key to value, in the file's order.

    Numbers are int or float, strings str, arrays of numbers or bools numpy arrays of their own type, other arrays lists.
    Strings that aren't UTF-8, which GGUF allows, have surrogates in place of the bytes that aren't:
    `text.encode("utf-8", "surrogateescape")` gives all bytes back.
    """

    __slots__ = ("_file",)

    def __init__(self, file: "File") -> None:
        self._file = file

    def __len__(self) -> int:
        return self._file.metadata_count

    def __iter__(self) -> Iterator[str]:
        for index in range(len(self)):
            handle, text, length = self._file.handle, c_void_p(), c_size_t()
            library.metadata_key(handle.value, index, byref(text), byref(length))
            yield _text(text.value, length.value)

    def __getitem__(self, key: str) -> Any:
        handle = self._file.handle
        index, kind = _find(handle, key)
        return _value(handle, index, kind, ())

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        try:
            _find(self._file.handle, key)
        except NotFoundError:
            return False
        return True

    def value_type(self, key: str) -> ValueType:
        """The type that the file stores the value of `key` with."""
        return _find(self._file.handle, key)[1]

    def element_type(self, key: str) -> ValueType:
        """The type of the elements of the array `key`; TypeMismatchError if it isn't one."""
        handle = self._file.handle
        return _array(handle, _find(handle, key)[0], ())[0]

    def __repr__(self) -> str:
        return f"<gguffuse.Metadata of {len(self)} entries>"


Path = tuple[int, ...]


def _find(handle: Handle, key: str) -> tuple[int, ValueType]:
    if not isinstance(key, str):
        raise TypeError(f"keys are strings, not {type(key).__name__}")
    if "\0" in key:
        raise NotFoundError("keys have no NUL in them")
    index, kind = c_uint64(), c_uint32()
    library.metadata_find(handle.value, c_string(key, "key"), byref(index))
    library.metadata_type(handle.value, index, byref(kind))
    return index.value, ValueType(kind.value)


def _text(start: int | None, length: int) -> str:
    return ctypes.string_at(start or 0, length).decode("utf-8", "surrogateescape")


def _where(handle: Handle, index: int, path: Path) -> tuple[c_void_p, int, Any, int]:
    return handle.value, index, (c_uint64 * len(path))(*path), len(path)


def _value(handle: Handle, index: int, kind: ValueType, path: Path) -> Any:
    where = _where(handle, index, path)
    if kind == ValueType.STRING:
        text, length = c_void_p(), c_size_t()
        library.metadata_element_string(*where, byref(text), byref(length))
        return _text(text.value, length.value)
    if kind == ValueType.ARRAY:
        return _elements(handle, index, path)
    number: c_bool | c_double | c_int64 | c_uint64
    if kind == ValueType.BOOL:
        library.metadata_element_bool(*where, byref(number := c_bool()))
    elif kind in _FLOATS:
        library.metadata_element_f64(*where, byref(number := c_double()))
    elif kind in _SIGNED:
        library.metadata_element_i64(*where, byref(number := c_int64()))
    else:
        library.metadata_element_u64(*where, byref(number := c_uint64()))
    return number.value


def _array(handle: Handle, index: int, path: Path) -> tuple[ValueType, int]:
    kind, count = c_uint32(), c_uint64()
    library.metadata_array_info(*_where(handle, index, path), byref(kind), byref(count))
    return ValueType(kind.value), count.value


def _elements(handle: Handle, index: int, path: Path) -> Any:
    kind, count = _array(handle, index, path)
    if kind == ValueType.STRING:
        starts, lengths = (c_void_p * count)(), (c_size_t * count)()
        library.metadata_array_strings(*_where(handle, index, path), starts, lengths, count)
        return [_text(start, length) for start, length in zip(starts, lengths, strict=True)]
    if kind not in NUMPY_OF_VALUE:
        return [_value(handle, index, kind, (*path, element)) for element in range(count)]
    data, size = c_void_p(), c_size_t()
    library.metadata_array_data(*_where(handle, index, path), byref(data), byref(size))
    return np.frombuffer(bytearray(ctypes.string_at(data.value or 0, size.value)), NUMPY_OF_VALUE[kind])
