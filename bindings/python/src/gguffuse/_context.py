"""Contexts: the threads, precision and instruction set of products."""

import threading
from ctypes import byref, c_void_p
from types import TracebackType

from ._errors import InvalidHandleError
from ._native import ContextOptions, Handle, c_string, library, sized
from ._types import Precision


class Context:
    """Threads, precision and instruction set of products. Any number of Python threads may use one at a time.

    `threads`: threads that one call may use, its own included; 0: as many as the process may run on. `precision`: a
    Precision or its name. `max_isa`: the highest instruction-set level to use, one of isa_levels(); None: the best that
    the machine has. The environment variable GGUFFUSE_MAX_ISA is a cap as well.
    """

    def __init__(
        self, threads: int = 0, precision: Precision | str = Precision.EXACT, max_isa: str | None = None
    ) -> None:
        if isinstance(precision, str):
            if precision.upper() not in Precision.__members__:
                raise ValueError(f"there is no precision {precision!r}")
            precision = Precision[precision.upper()]
        if not 0 <= threads < 2**32:
            raise ValueError(f"threads is {threads}")
        level = None if max_isa is None else c_string(max_isa, "max_isa")
        options, handle = sized(ContextOptions, threads=threads, precision=precision, max_isa=level), c_void_p()
        library.context_new(byref(options), byref(handle))
        self._handle: Handle | None = Handle(handle, "context_free")
        self.precision = Precision(precision)

    @property
    def handle(self) -> Handle:
        if (handle := self._handle) is None:
            raise InvalidHandleError("the context is closed")
        return handle

    @property
    def isa(self) -> str:
        """The name of the instruction-set level in use."""
        handle = self.handle
        name: bytes = library.context_isa(handle.value)
        return name.decode()

    def close(self) -> None:
        """Gives the threads back. Products that are being computed finish."""
        self._handle = None

    def __enter__(self) -> "Context":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_default: Context | None = None
_default_lock = threading.Lock()


def default_context() -> Context:
    """The context of calls that name none: EXACT, all threads, made with the first of them."""
    global _default
    with _default_lock:
        if _default is None or _default._handle is None:
            _default = Context()
        return _default


def isa_levels() -> list[str]:
    """The instruction-set levels that this machine and this library have, the lowest first."""
    names: list[str] = []
    while name := library.isa_name(len(names)):
        names.append(name.decode())
    return names
