"""What numpy arrays must be to be handed to the library as they are: nothing is ever copied on the way."""

from typing import Any

import numpy as np
import numpy.typing as npt

from . import _native
from ._errors import ShapeError
from ._types import TypeLike, as_type, row_size, type_info

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


class _Memory:
    """Bytes of an open file, for numpy to make a read-only array of; the array keeps this, and so the file."""

    def __init__(self, address: int, shape: tuple[int, ...], typestr: str, owner: _native.Handle) -> None:
        self.__array_interface__ = {"data": (address, True), "shape": shape, "typestr": typestr, "version": 3}
        self.owner = owner


def view(address: int | None, shape: tuple[int, ...], typestr: str, owner: _native.Handle) -> npt.NDArray[Any]:
    if address is None:
        return np.empty(shape, typestr)  # a tensor of no bytes has no address
    return np.asarray(_Memory(address, shape, typestr, owner))


def address(array: npt.NDArray[Any]) -> int:
    where: int = array.__array_interface__["data"][0]
    return where


def _float32(array: object, what: str) -> Floats:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        is_now = f"{array.dtype} array" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{what} must be a numpy array of float32, not {is_now}")
    return array


def rows(array: object, columns: int, what: str) -> tuple[Floats, int, int, int, int]:
    """For `what`, a vector or the rows of a matrix: the array, its address, length and stride in elements, and rows."""
    floats = _float32(array, what)
    if floats.ndim not in (1, 2) or floats.shape[-1] != columns:
        raise ShapeError(f"{what} has shape {floats.shape}, and ({columns},) or (m, {columns}) is needed")
    m = 1 if floats.ndim == 1 else floats.shape[0]
    # A vector, a single row and an array of no elements have any stride that numpy likes.
    stride = floats.strides[0] if floats.ndim == 2 and m > 1 and columns > 0 else 4 * columns
    if (columns > 1 and floats.strides[-1] != 4) or stride % 4 or stride < 4 * columns:
        raise ValueError(f"the elements of a row of {what} must lie side by side, and rows must not overlap; "
                         f"its strides are {floats.strides} bytes. numpy.ascontiguousarray makes a copy that is so")
    length = (m - 1) * (stride // 4) + columns if m else 0
    return floats, address(floats), length, stride // 4, m


def product(x: object, k: int, n: int, out: Floats | None) -> tuple[Floats, list[int]]:
    """Where the product goes, and the arguments of the C functions about x and y."""
    floats, x_address, x_length, x_stride, m = rows(x, k, "x")
    out, y = result((n,) if floats.ndim == 1 else (m, n), out)
    return out, [x_address, x_length, x_stride, m, *y]


def result(shape: tuple[int, ...], out: Floats | None) -> tuple[Floats, list[int]]:
    """Where a product of that shape goes, `out` if there is one, and the arguments of the C functions about y."""
    m = 1 if len(shape) == 1 else shape[0]
    if out is None:
        out = np.empty(shape, np.float32)
    y, y_address, y_length, y_stride, y_rows = rows(out, shape[-1], "out")
    if y_rows != m:
        raise ShapeError(f"out has {y_rows} rows, and x {m}")
    if not y.flags.writeable:
        raise ValueError("out is read-only")
    return out, [y_address, y_length, y_stride]


def contiguous_floats(array: object, what: str) -> Floats:
    floats = _float32(array, what)
    if not floats.flags.c_contiguous:
        raise ValueError(f"{what} must be C-contiguous; numpy.ascontiguousarray makes a copy that is so")
    return floats


def blocks(data: object, what: str) -> Bytes:
    """Quantised blocks, whose last axis is a row's bytes."""
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
        is_now = f"{data.dtype} array" if isinstance(data, np.ndarray) else type(data).__name__
        raise TypeError(f"{what} must be a numpy array of uint8, not {is_now}")
    if data.ndim == 0 or not data.flags.c_contiguous:
        raise ValueError(f"{what} must be C-contiguous, the bytes of a row its last axis")
    return data


def elements_in(kind: TypeLike, row_bytes: int) -> int:
    """The elements of a row that has so many bytes."""
    info = type_info(kind)
    if row_bytes % info.block_bytes:
        raise ShapeError(f"{row_bytes} bytes are no whole blocks of {as_type(kind).name}, "
                         f"which have {info.block_bytes} bytes")
    return row_bytes // info.block_bytes * info.block_elements


def shape_in_bytes(kind: TypeLike, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the blocks of an array of `shape` elements."""
    return (*shape[:-1], row_size(kind, shape[-1] if shape else 1))
