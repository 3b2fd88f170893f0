"""Every status of the library has its exception, and the numbers are the library's."""

import ctypes

import gguffuse
from gguffuse import _errors, _native


def test_one_exception_for_each_status() -> None:
    names = {}
    for status in range(1, 100):
        name = _native.library.status_name(status).decode()
        if name != "UNKNOWN":
            names[status] = name.removeprefix("ERROR_").replace("_", "").lower() + "error"
    assert {status: kind.__name__.lower() for status, kind in _errors.BY_STATUS.items()} == names
    assert len(names) >= 19
    for kind in _errors.BY_STATUS.values():
        assert getattr(gguffuse, kind.__name__) is kind
        assert issubclass(kind, gguffuse.Error) and len(kind.__mro__) > 4, "a builtin exception as well"


def test_every_type_of_the_library_has_a_name_here() -> None:
    known = set()
    for number in range(300):
        info = _native.sized(_native.TypeInfo)
        try:
            _native.library.type_info(number, ctypes.byref(info))
        except gguffuse.UnsupportedTypeError:
            continue
        known.add((number, info.name.decode().upper()))
    assert known == {(int(kind), kind.name) for kind in gguffuse.Type}


def test_version() -> None:
    assert gguffuse.__version__.count(".") == 2
