"""Activations that are packed once, for products with several weights."""

from ctypes import byref, c_void_p

import numpy as np

from . import _arrays
from ._arrays import Floats
from ._context import Context
from ._errors import InvalidHandleError
from ._native import Handle, library


class Activations:
    """x in the form that products read: packed once, multiplied with any number of weights of the same k, as those for q,
    k and v, or gate and up. Wherever x stands in a product, this may stand: `packed @ W.T`, `W.matmul(packed)`.

    x is (m, k) or (k,), as in Tensor.matmul; it is copied, and not needed afterwards. Precision, threads and instruction
    set are those of `context`, in which the products are made too. Any number of threads may multiply with one at once;
    packing another x meanwhile is BusyError.
    """

    # numpy leaves `array @ activations` to this, which refuses it.
    __array_ufunc__ = None

    def __init__(self, context: Context, x: Floats) -> None:
        handle = c_void_p()
        library.activations_new(byref(handle))
        self._handle: Handle | None = Handle(handle, "activations_free")
        self.context = context
        self.pack(x)

    @property
    def handle(self) -> Handle:
        if (handle := self._handle) is None:
            raise InvalidHandleError("the activations are closed")
        return handle

    def pack(self, x: Floats) -> None:
        """Packs another x, in place of what was packed before; memory is taken only for larger ones."""
        handle, owner = self.handle, self.context.handle
        columns = x.shape[-1] if isinstance(x, np.ndarray) and x.ndim else 0
        floats, address, length, stride, m = _arrays.rows(x, columns, "x")
        library.activations_pack(owner.value, handle.value, address, length, stride, m, columns)
        self.shape = floats.shape
        """(m, k) or (k,)"""

    def result(self, n: int, out: Floats | None) -> tuple[Floats, list[int]]:
        """Where a product with n weight rows goes, and the arguments of the C functions about y."""
        return _arrays.result((*self.shape[:-1], n), out)

    def close(self) -> None:
        """Gives the memory back. Products that are being computed finish."""
        self._handle = None

    def __repr__(self) -> str:
        return f"<gguffuse.Activations {self.shape}>"
