"""A tensor of an open file: where it lies, its bytes, and products with it."""

from ctypes import byref, c_uint64
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _arrays
from ._activations import Activations
from ._arrays import Bytes, Floats
from ._context import Context
from ._errors import ShapeError
from ._native import Handle, TensorInfo, library, sized
from ._types import NUMPY_OF_TYPE, Type, type_info

if TYPE_CHECKING:
    from ._file import File

NO_BAD_BLOCK = 2**64 - 1


class Tensor:
    """A tensor of an open file. As weights it is a matrix `W` of n rows and k columns: k is the last number of its
    shape, n the product of the others.

    It may outlive its file: what it is can still be asked, and everything that needs the file raises InvalidHandleError.
    Arrays that `data` and `array` have made keep the file's memory for as long as they live, closed or not.
    """

    # numpy leaves `array @ tensor` to the tensor.
    __array_ufunc__ = None

    __slots__ = (
        "_address", "_file", "_index", "absolute_offset", "dims", "k", "n", "name", "nbytes", "relative_offset", "shape",
        "type",
    )

    def __init__(self, file: "File", handle: Handle, index: int) -> None:
        info = sized(TensorInfo)
        library.tensor_info(handle.value, index, byref(info))
        self._file, self._index, self._address = file, index, info.data
        self.name: str = info.name.decode()
        self.type = Type(info.type)
        self.dims: tuple[int, ...] = tuple(info.dims[: info.n_dims])
        """As the file stores them: the fastest first."""
        self.shape: tuple[int, ...] = self.dims[::-1]
        """As numpy has them: the fastest last."""
        self.k: int = info.dims[0]
        self.n: int = info.dims[1] * info.dims[2] * info.dims[3]
        self.nbytes: int = info.size_bytes
        self.relative_offset: int = info.relative_offset
        """From the start of the data section. NOT a position in the file."""
        self.absolute_offset: int = info.absolute_offset
        """From the start of the file. Here lies the tensor."""

    @property
    def data(self) -> Bytes:
        """The tensor's bytes: a read-only view without a copy, the bytes of a row as its last axis."""
        shape = _arrays.shape_in_bytes(self.type, self.shape)
        return _arrays.view(self._address, shape, "|u1", self._file.handle)

    @property
    def array(self) -> npt.NDArray[Any]:
        """The tensor itself: a read-only view without a copy, for the types that numpy has: F32, F16, F64 and integers."""
        if self.type not in NUMPY_OF_TYPE:
            raise TypeError(f"numpy has no {self.type.name}; data is its bytes, and dequantize() makes float32 of it")
        return _arrays.view(self._address, self.shape, NUMPY_OF_TYPE[self.type], self._file.handle)

    def dequantize(self) -> Floats:
        """A new array with the values, of the tensor's shape."""
        handle, out = self._file.handle, np.empty(self.shape, np.float32)
        if self._address is not None:
            library.dequantize(self.type, self._address, self.nbytes, _arrays.address(out), out.size)
        del handle  # was held while its memory was read
        return out

    def matmul(self, x: Floats | Activations, out: Floats | None = None, context: Context | None = None) -> Floats:
        """`x @ W.T`: x is (m, k) or (k,), the result (m, n) or (n,), in `out` where that is given.

        Rows may lie apart, as in a slice of a wider array; the elements of one must lie side by side. Nothing is copied:
        an x that is not so, or not float32, is refused. Activations are multiplied in their own context.
        """
        handle = self._file.handle
        if isinstance(x, Activations):
            owner, packed = (context or x.context).handle, x.handle
            out, arguments = x.result(self.n, out)
            library.activations_matmul_tensor(owner.value, packed.value, handle.value, self._index, *arguments)
            return out
        owner = (context or self._file.context).handle
        out, arguments = _arrays.product(x, self.k, self.n, out)
        library.matmul_tensor(owner.value, handle.value, self._index, *arguments)
        return out

    def __matmul__(self, x: Floats | Activations) -> Floats:
        """`W @ x` as numpy has it: x is (k,) or (k, m). The columns of x are its activations: `W @ rows.T`. Activations of
        m rows stand on the other side: `packed @ W.T`."""
        if isinstance(x, Activations) and len(x.shape) > 1:
            raise ShapeError(f"these are rows, of shape {x.shape}: multiply as in packed @ W.T")
        if isinstance(x, np.ndarray) and x.ndim == 2:
            return self.matmul(x.T).T
        return self.matmul(x)

    @property
    def T(self) -> "Transposed":  # noqa: N802: numpy's name
        """For `x @ W.T`, x of shape (m, k) or (k,)."""
        return Transposed(self)

    def validate(self, context: Context | None = None) -> int | None:
        """The index of the first block that has a scale or value which is NaN, infinite or not allowed; None: all well."""
        handle, owner, bad = self._file.handle, (context or self._file.context).handle, c_uint64()
        library.tensor_validate(owner.value, handle.value, self._index, byref(bad))
        return None if bad.value == NO_BAD_BLOCK else bad.value

    @property
    def bits_per_weight(self) -> float:
        info = type_info(self.type)
        return info.block_bytes * 8 / info.block_elements

    def __repr__(self) -> str:
        return f"<gguffuse.Tensor {self.name!r} {self.type.name} {self.shape} at byte {self.absolute_offset}>"


class Transposed:
    """A tensor turned round, which stands on the right side of a product."""

    __array_ufunc__ = None
    __slots__ = ("T",)

    def __init__(self, tensor: Tensor) -> None:
        self.T = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.T.shape[::-1]

    def __rmatmul__(self, x: Floats | Activations) -> Floats:
        return self.T.matmul(x)

