"""Open GGUF model files, know where every tensor lies, and multiply by their quantised weights with fused kernels.

    import gguffuse
    with gguffuse.open("model.gguf") as f:
        weights = f["blk.0.ffn_gate.weight"]
        y = x @ weights.T  # x: numpy, float32, (m, k); y: (m, n)

numpy arrays go in and out without copies. Every call of the library releases the GIL, and any object may be used from any
number of threads.
"""

from ._activations import Activations
from ._blocks import dequantize, matmul, quantize, validate
from ._context import Context, isa_levels
from ._errors import (
    AliasingError,
    BadFormatError,
    BufferTooSmallError,
    BusyError,
    ChangedError,
    Error,
    InternalError,
    InvalidArgumentError,
    InvalidHandleError,
    IoError,
    LimitError,
    MisalignedError,
    MissingFileError,
    NotFoundError,
    NullArgumentError,
    OutOfMemoryError,
    ShapeError,
    TruncatedError,
    TypeMismatchError,
    UnsupportedIsaError,
    UnsupportedTypeError,
    UnsupportedVersionError,
)
from ._file import File, open, open_memory
from ._metadata import Metadata
from ._native import library as _library
from ._tensor import Tensor
from ._types import Precision, Type, TypeInfo, ValueType, row_size, type_info
from ._writer import Writer

__version__: str = _library.version_string().decode()

__all__ = [
    "Activations",
    "AliasingError",
    "BadFormatError",
    "BufferTooSmallError",
    "BusyError",
    "ChangedError",
    "Context",
    "Error",
    "File",
    "InternalError",
    "InvalidArgumentError",
    "InvalidHandleError",
    "IoError",
    "LimitError",
    "Metadata",
    "MisalignedError",
    "MissingFileError",
    "NotFoundError",
    "NullArgumentError",
    "OutOfMemoryError",
    "Precision",
    "ShapeError",
    "Tensor",
    "TruncatedError",
    "Type",
    "TypeInfo",
    "TypeMismatchError",
    "UnsupportedIsaError",
    "UnsupportedTypeError",
    "UnsupportedVersionError",
    "ValueType",
    "Writer",
    "dequantize",
    "isa_levels",
    "matmul",
    "open",
    "open_memory",
    "quantize",
    "row_size",
    "type_info",
    "validate",
]

# The names that users know, in tracebacks and help() too.
for _name in __all__:
    if isinstance(_value := globals()[_name], type):
        _value.__module__ = __name__
del _name, _value
