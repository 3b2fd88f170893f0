"""The exceptions: one per status of the C library, each also the builtin exception that Python's users expect.

This module knows no ctypes: _native raises these.
"""


class Error(Exception):
    """Whatever the library has refused. `status` is its number, as in the C header."""

    status: int = -1


class NullArgumentError(Error, ValueError):
    status = 1


class InvalidHandleError(Error, ValueError):
    """The file, context or writer is closed."""

    status = 2


class InvalidArgumentError(Error, ValueError):
    status = 3


class IoError(Error, OSError):
    """The operating system refused."""

    status = 4


class MissingFileError(IoError, FileNotFoundError):
    """There is no file of that name."""


class BadFormatError(Error, ValueError):
    """The file breaks a rule of the format."""

    status = 5


class TruncatedError(Error, ValueError):
    """The file ends before something that it declares."""

    status = 6


class LimitError(Error, ValueError):
    status = 7


class UnsupportedVersionError(Error, ValueError):
    status = 8


class UnsupportedTypeError(Error, ValueError):
    """A ggml type that is unknown, removed, or can't do what was asked."""

    status = 9


class NotFoundError(Error, KeyError):
    """No tensor or metadata key of that name."""

    status = 10

    def __str__(self) -> str:
        # KeyError's shows the text as a quoted string.
        return Exception.__str__(self)


class TypeMismatchError(Error, TypeError):
    status = 11


class ShapeError(Error, ValueError):
    """Dimensions that don't fit together, or not the type's block size."""

    status = 12


class BufferTooSmallError(Error, ValueError):
    status = 13


class AliasingError(Error, ValueError):
    """An output overlaps an input."""

    status = 14


class MisalignedError(Error, ValueError):
    status = 15


class OutOfMemoryError(Error, MemoryError):
    status = 16


class BusyError(Error, RuntimeError):
    """Another thread's call is using the writer."""

    status = 17


class InternalError(Error, RuntimeError):
    """A bug in the library, caught. Please report its text."""

    status = 18


class UnsupportedIsaError(Error, ValueError):
    """No instruction-set level of that name."""

    status = 19


class ChangedError(Error):
    """The file is no longer the one that was opened."""

    status = 20


BY_STATUS: dict[int, type[Error]] = {kind.status: kind for kind in Error.__subclasses__()}
