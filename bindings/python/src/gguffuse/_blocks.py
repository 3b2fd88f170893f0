"""Blocks in your own memory: quantising, dequantising, checking, multiplying."""

from ctypes import byref, c_uint64

import numpy as np

from . import _arrays
from ._activations import Activations
from ._arrays import Bytes, Floats
from ._context import Context, default_context
from ._errors import ShapeError
from ._native import library
from ._tensor import NO_BAD_BLOCK
from ._types import TypeLike, as_type


def quantize(
    array: Floats, kind: TypeLike, importance: Floats | None = None, context: Context | None = None
) -> Bytes:
    """Blocks of type `kind`, of an array of rows: the last axis is quantised, and becomes the bytes of a row.

    `importance`: for each column how much its squared errors count. NaN becomes 0, infinities the largest value.
    """
    floats, owner = _arrays.contiguous_floats(array, "array"), (context or default_context()).handle
    if floats.ndim == 0:
        raise ShapeError("array has no rows")
    k, weights = floats.shape[-1], None
    if importance is not None:
        weights = _arrays.contiguous_floats(importance, "importance")
        if weights.shape != (k,):
            raise ShapeError(f"importance has shape {weights.shape}, and ({k},) is needed")
    out = np.empty(_arrays.shape_in_bytes(kind, floats.shape), np.uint8)
    rows = floats.size // k if k else 0
    where = None if weights is None else _arrays.address(weights)
    library.quantize_with(
        owner.value, as_type(kind), _arrays.address(floats), rows, k, where, _arrays.address(out), out.nbytes
    )
    return out


def dequantize(data: Bytes, kind: TypeLike) -> Floats:
    """A new array with the values of blocks of type `kind`; the last axis of `data` is the bytes of a row."""
    source = _arrays.blocks(data, "data")
    out = np.empty((*source.shape[:-1], _arrays.elements_in(kind, source.shape[-1])), np.float32)
    library.dequantize(as_type(kind), _arrays.address(source), source.nbytes, _arrays.address(out), out.size)
    return out


def validate(data: Bytes, kind: TypeLike, context: Context | None = None) -> int | None:
    """The index of the first block that has a scale or value which is NaN, infinite or not allowed; None: all well."""
    source, owner, bad = _arrays.blocks(data, "data"), (context or default_context()).handle, c_uint64()
    library.validate(owner.value, as_type(kind), _arrays.address(source), source.nbytes, byref(bad))
    return None if bad.value == NO_BAD_BLOCK else bad.value


def matmul(
    data: Bytes, kind: TypeLike, x: Floats | Activations, out: Floats | None = None, context: Context | None = None
) -> Floats:
    """Tensor.matmul for weights of yours: `data` holds the blocks of type `kind`, the bytes of a row as its last axis.

    `gguffuse.matmul(experts.data[e], experts.type, x)` multiplies by one of the matrices in a tensor of three dimensions.
    """
    weights = _arrays.blocks(data, "data")
    row_bytes = weights.shape[-1]
    if row_bytes == 0:
        raise ShapeError("the rows of data have no bytes")
    n, k = weights.size // row_bytes, _arrays.elements_in(kind, row_bytes)
    w = (as_type(kind), _arrays.address(weights), weights.nbytes, n, k)
    if isinstance(x, Activations):
        owner, packed = (context or x.context).handle, x.handle
        out, arguments = x.result(n, out)
        library.activations_matmul(owner.value, packed.value, *w, *arguments)
        return out
    owner = (context or default_context()).handle
    out, arguments = _arrays.product(x, k, n, out)
    library.matmul(owner.value, *w, *arguments)
    return out
