"""An open GGUF file, as a mapping from tensor names to tensors."""

import os
from collections.abc import Iterator, Mapping
from ctypes import byref, c_uint64, c_void_p
from types import TracebackType
from typing import Any

import numpy as np

from . import _arrays
from ._context import Context, default_context
from ._errors import InvalidHandleError, IoError, MissingFileError, NotFoundError
from ._metadata import Metadata
from ._native import FileInfo, Handle, OpenOptions, c_string, library, sized
from ._tensor import Tensor


class File(Mapping[str, Tensor]):
    """An open GGUF file: the tensors by their names, in the file's order. Use gguffuse.open to make one.

    Any number of Python threads may use it at a time.
    """

    __slots__ = (
        "__weakref__", "_context", "_handle", "alignment", "data_offset", "metadata", "metadata_count", "nbytes",
        "tensor_count", "version",
    )

    def __init__(self, handle: Handle, context: Context | None) -> None:
        info = sized(FileInfo)
        library.file_info(handle.value, byref(info))
        self._handle: Handle | None = handle
        self._context = context
        self.version: int = info.version
        self.alignment: int = info.alignment
        self.tensor_count: int = info.tensor_count
        self.metadata_count: int = info.metadata_count
        self.data_offset: int = info.data_offset
        """Where the data section begins, from the start of the file."""
        self.nbytes: int = info.size_bytes
        self.metadata = Metadata(self)

    @property
    def handle(self) -> Handle:
        if (handle := self._handle) is None:
            raise InvalidHandleError("the file is closed")
        return handle

    @property
    def context(self) -> Context:
        """The context of products that name none."""
        return self._context or default_context()

    @property
    def closed(self) -> bool:
        return self._handle is None

    def close(self) -> None:
        """Closes the file. Calls of other threads that are using it finish; its memory goes with the last of them, or of
        the numpy arrays that show it."""
        self._handle = None

    def verify(self) -> None:
        """Raises where the file on disk is no longer what was opened: TruncatedError (it is shorter: reading its tensors
        may end the process with SIGBUS), ChangedError (written to, replaced, or gone). Files that were copied or opened
        from memory are always well."""
        handle = self.handle
        library.file_verify(handle.value)

    def __len__(self) -> int:
        return self.tensor_count

    def __iter__(self) -> Iterator[str]:
        return (tensor.name for tensor in self.tensors())

    def tensors(self) -> Iterator[Tensor]:
        """All tensors, in the file's order."""
        return (Tensor(self, self.handle, index) for index in range(self.tensor_count))

    def __getitem__(self, name: str) -> Tensor:
        if not isinstance(name, str):
            raise TypeError(f"tensors have names, not {type(name).__name__}")
        if "\0" in name:
            raise NotFoundError("names have no NUL in them")
        handle, index = self.handle, c_uint64()
        library.tensor_find(handle.value, c_string(name, "name"), byref(index))
        return Tensor(self, handle, index.value)

    # Mapping's would compare tensor by tensor.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __enter__(self) -> "File":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed, " if self.closed else ""
        return f"<gguffuse.File {state}{self.tensor_count} tensors, {self.metadata_count} metadata entries>"


def open(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes], *, context: Context | None = None,
    max_metadata_bytes: int = 0, copy: bool = False,
) -> File:
    """Opens the GGUF file at `path` and checks all of its metadata. The tensors' bytes are mapped, not read.

    `context`: that of products which name none; None: one for all such files, EXACT and with all threads.
    `max_metadata_bytes`: more before the data section raises LimitError; 0: 256 MiB. `copy`: the whole file is read into
    memory, and what happens to it on disk afterwards doesn't matter.
    """
    name = c_string(os.fsencode(path), "path")
    options, handle = sized(OpenOptions, max_metadata_bytes=max_metadata_bytes, copy=bool(copy)), c_void_p()
    try:
        library.file_open(name, byref(options), byref(handle))
    except IoError as error:
        if not os.path.exists(path):
            raise MissingFileError(str(error)) from None
        raise
    return File(Handle(handle, "file_close"), context)


def open_memory(
    data: Any, *, context: Context | None = None, max_metadata_bytes: int = 0, copy: bool = False
) -> File:
    """Opens a GGUF file that lies in memory: bytes, a mmap, an array, anything that has a buffer. It isn't copied, and must
    stay unchanged; the file keeps it for as long as it is needed. With `copy` it is copied, and not needed afterwards."""
    memory = np.frombuffer(data, np.uint8)
    options, handle = sized(OpenOptions, max_metadata_bytes=max_metadata_bytes, copy=bool(copy)), c_void_p()
    library.file_open_memory(_arrays.address(memory), memory.size, byref(options), byref(handle))
    return File(Handle(handle, "file_close", None if copy else memory), context)
