"""The enumerations of the interface, and what a tensor type is. Knows no files."""

from ctypes import byref, c_size_t
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from . import _native


class Type(IntEnum):
    """The tensor types, with ggml's numbers. Wherever one is asked for, its name does as well: "q4_k" or "Q4_K"."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q8_1 = 9
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    Q8_K = 15
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39
    NVFP4 = 40
    Q1_0 = 41
    Q2_0 = 42

    @property
    def info(self) -> "TypeInfo":
        return type_info(self)


TypeLike = Type | int | str


@dataclass(frozen=True)
class TypeInfo:
    type: Type
    block_elements: int
    """Elements per block: the columns of a matrix are a multiple of it."""
    block_bytes: int
    can_matmul: bool
    can_quantize: bool


class Precision(IntEnum):
    """How exactly activations enter a product."""

    EXACT = 0
    HIGH = 1
    FAST = 2


class ValueType(IntEnum):
    """The types of metadata values, with GGUF's numbers."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


# The value types that have a numpy type, which is that of arrays of them: little-endian in the file.
NUMPY_OF_VALUE: dict[ValueType, str] = {
    ValueType.UINT8: "<u1", ValueType.INT8: "<i1", ValueType.UINT16: "<u2", ValueType.INT16: "<i2",
    ValueType.UINT32: "<u4", ValueType.INT32: "<i4", ValueType.FLOAT32: "<f4", ValueType.BOOL: "?",
    ValueType.UINT64: "<u8", ValueType.INT64: "<i8", ValueType.FLOAT64: "<f8",
}
VALUE_OF_NUMPY = {np.dtype(code): kind for kind, code in NUMPY_OF_VALUE.items()}

# The tensor types that numpy has as well.
NUMPY_OF_TYPE: dict[Type, str] = {
    Type.F32: "<f4", Type.F16: "<f2", Type.F64: "<f8", Type.I8: "<i1", Type.I16: "<i2", Type.I32: "<i4", Type.I64: "<i8",
}
TYPE_OF_NUMPY = {np.dtype(code): kind for kind, code in NUMPY_OF_TYPE.items()}


def as_type(kind: TypeLike) -> Type:
    if isinstance(kind, str):
        if kind.upper() not in Type.__members__:
            raise ValueError(f"there is no tensor type {kind!r}")
        return Type[kind.upper()]
    return Type(kind)


def type_info(kind: TypeLike) -> TypeInfo:
    """The block of a type, and what can be done with it."""
    kind, info = as_type(kind), _native.sized(_native.TypeInfo)
    _native.library.type_info(kind, byref(info))
    return TypeInfo(kind, info.block_elements, info.block_bytes, bool(info.can_matmul), bool(info.can_quantize))


def row_size(kind: TypeLike, k: int) -> int:
    """The bytes of a row of `k` elements."""
    size = c_size_t()
    _native.library.row_size(as_type(kind), k, byref(size))
    return size.value
