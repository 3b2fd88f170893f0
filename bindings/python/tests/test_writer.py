"""Files that the writer makes, read by PyPI's gguf and by the library."""

from pathlib import Path

import gguf
import gguffuse
import numpy as np
import pytest
from conftest import TOKENS, q8_0
from gguffuse import ValueType


def test_written_here_read_by_gguf(tmp_path: Path, weights: np.ndarray) -> None:
    where, blocks = tmp_path / "ours.gguf", gguffuse.quantize(weights, "q4_k")
    with gguffuse.Writer(alignment=128) as writer:
        writer.set("general.architecture", "llama")
        writer.set("count", 7, ValueType.UINT32)
        writer.set("numpy", np.int8(-7))
        writer.set("rate", 0.25, ValueType.FLOAT32)
        writer.set("flag", True)
        writer.set("flags", [True, False])
        writer.set("scores", np.array([0.5, -1], np.float32))
        writer.set("ids", [1, 2, 3], ValueType.INT32)
        writer.set("tokens", TOKENS)
        writer.add_tensor("blocks", blocks, "q4_k")
        writer.add_tensor("plain", weights)
        writer.add_tensor("shaped", q8_0(weights).reshape(-1), "q8_0", shape=(2, 24, 256))
        assert writer.nbytes == writer.to_array().nbytes
        writer.write(where)
    assert where.stat().st_size > blocks.nbytes
    reader = gguf.GGUFReader(where)
    assert reader.alignment == 128
    fields = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert fields == {
        "general.alignment": 128, "general.architecture": "llama", "count": 7, "numpy": -7, "rate": 0.25, "flag": True,
        "flags": [True, False], "scores": [0.5, -1.0], "ids": [1, 2, 3], "tokens": TOKENS,
    }
    kinds = gguf.GGUFValueType
    for key, types in {
        "count": [kinds.UINT32], "numpy": [kinds.INT8], "flag": [kinds.BOOL], "ids": [kinds.ARRAY, kinds.INT32],
        "flags": [kinds.ARRAY, kinds.BOOL], "scores": [kinds.ARRAY, kinds.FLOAT32],
    }.items():
        assert reader.fields[key].types == types
    blocks_there, plain, shaped = reader.tensors
    assert blocks_there.name == "blocks" and np.array_equal(blocks_there.data, blocks)
    assert np.array_equal(plain.data, weights)
    assert list(shaped.shape) == [256, 24, 2] and shaped.data.tobytes() == q8_0(weights).tobytes()


def test_copied(path: Path, file: gguffuse.File) -> None:
    with gguffuse.Writer() as writer:
        writer.copy_metadata(file)
        for tensor in file.values():
            writer.add_tensor(tensor.name, tensor)
        copy = writer.to_array()
    assert copy.tobytes() == path.read_bytes()[: copy.nbytes]
    with gguffuse.Writer() as writer:
        writer.copy_metadata(file, "general.latin")
        writer.set("gone", 1, ValueType.UINT8)
        writer.remove("gone")
        with gguffuse.open_memory(writer.to_array()) as made:
            assert list(made.metadata) == ["general.latin"]
            # What came as surrogates goes out as the same bytes.
            with gguffuse.Writer() as again:
                again.set("general.latin", made.metadata["general.latin"])
                assert again.to_array().tobytes() == writer.to_array().tobytes()


def test_edited_under_its_own_name(tmp_path: Path, path: Path) -> None:
    where = tmp_path / "edited.gguf"
    where.write_bytes(path.read_bytes())
    with gguffuse.open(where) as file, gguffuse.Writer() as writer:
        writer.copy_metadata(file)
        writer.set("general.name", "edited")
        for tensor in file.values():
            writer.add_tensor(tensor.name, tensor)
        file.close()  # the writer keeps what it reads
        writer.write(where)
    with gguffuse.open(where) as edited, gguffuse.open(path) as original:
        assert edited.metadata["general.name"] == "edited"
        assert all(np.array_equal(edited[name].data, original[name].data) for name in original)


@pytest.mark.parametrize(
    ("value", "kind", "error"),
    [
        (7, None, TypeError), (0.5, None, TypeError), ([1, 2], None, TypeError), ([], None, TypeError),
        (None, None, TypeError), (object(), ValueType.UINT8, TypeError), ("text", None, None),
        (256, ValueType.UINT8, ValueError), (-1, ValueType.UINT64, ValueError), (0.5, ValueType.INT8, TypeError),
        (1, ValueType.BOOL, TypeError), (True, ValueType.INT8, TypeError), ([1, 300], ValueType.UINT8, ValueError),
        ([1, "a"], ValueType.UINT8, TypeError), (["a", 1], None, TypeError), ([True, 1], None, TypeError),
        (np.zeros((2, 2)), None, TypeError), (np.zeros(2, complex), None, TypeError), (np.complex64(1), None, TypeError),
        (["a", ["b"]], None, TypeError), ([["a"], 1], None, TypeError), (7, ValueType.ARRAY, TypeError),
        ([[[[[1]]]]], ValueType.UINT8, gguffuse.InvalidArgumentError),
    ],
)
def test_values_without_a_type_or_place(value: object, kind: ValueType | None, error: type[Exception] | None) -> None:
    with gguffuse.Writer() as writer:
        writer.set("before", "here")
        before = writer.to_array().tobytes()
        if error is None:
            writer.set("key", value, kind)
            return
        with pytest.raises(error):
            writer.set("key", value, kind)
        assert writer.to_array().tobytes() == before, "a call that fails leaves the writer as it was"


def test_tensors_that_are_refused(tmp_path: Path, weights: np.ndarray) -> None:
    with gguffuse.Writer() as writer:
        writer.add_tensor("there", weights)
        for name, array, kind, error in (
            ("there", weights, None, gguffuse.InvalidArgumentError), ("x" * 65, weights, None, gguffuse.InvalidArgumentError),
            ("a\0b", weights, None, ValueError), ("c", weights[:, ::2], None, ValueError),
            ("d", weights.astype(complex), None, TypeError), ("e", weights, "q4_k", TypeError),
            ("f", np.zeros((2, 143), np.uint8), "q4_k", gguffuse.ShapeError),
            ("g", np.zeros((1,) * 5, np.float32), None, gguffuse.InvalidArgumentError),
        ):
            with pytest.raises(error):
                writer.add_tensor(name, array, kind)
        with pytest.raises(gguffuse.IoError):
            writer.write(tmp_path / "no" / "folder.gguf")
    for use in (lambda: writer.nbytes, lambda: writer.set("a", "b"), lambda: writer.write(tmp_path / "x")):
        with pytest.raises(gguffuse.InvalidHandleError, match="the writer is closed"):
            use()
    with pytest.raises(gguffuse.InvalidArgumentError):
        gguffuse.Writer(alignment=24)
    with pytest.raises(gguffuse.UnsupportedVersionError):
        gguffuse.Writer(version=1)
