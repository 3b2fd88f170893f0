"""Metadata as a mapping, against the values that gguf has written."""

import math

import gguffuse
import numpy as np
import pytest
from conftest import TOKENS
from gguffuse import ValueType

NUMBERS = {
    ValueType.UINT8: (255, np.uint8), ValueType.INT8: (-128, np.int8), ValueType.UINT16: (65535, np.uint16),
    ValueType.INT16: (-32768, np.int16), ValueType.UINT32: (2**32 - 1, np.uint32),
    ValueType.INT32: (-(2**31), np.int32), ValueType.UINT64: (2**64 - 1, np.uint64),
    ValueType.INT64: (-(2**63), np.int64), ValueType.FLOAT32: (1.5, np.float32),
    ValueType.FLOAT64: (1e-300, np.float64), ValueType.BOOL: (True, np.bool_),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_and_arrays(file: gguffuse.File, kind: ValueType) -> None:
    value, dtype = NUMBERS[kind]
    read = file.metadata[f"scalar.{kind.name}"]
    assert read == value and type(read) is type(value)
    assert file.metadata.value_type(f"scalar.{kind.name}") == kind
    array = file.metadata[f"array.{kind.name}"]
    assert array.dtype == dtype and array.tolist() == [value, value]
    assert array.flags.writeable, "a copy, which is the caller's"
    assert file.metadata.value_type(f"array.{kind.name}") == ValueType.ARRAY
    assert file.metadata.element_type(f"array.{kind.name}") == kind


def test_strings(file: gguffuse.File) -> None:
    assert file.metadata["general.architecture"] == "llama"
    assert file.metadata["general.name"] == "wörld \0 and on"
    assert file.metadata["general.latin"].encode("utf-8", "surrogateescape") == b"caf\xe9"
    assert file.metadata["tokenizer.ggml.tokens"] == TOKENS
    assert file.metadata.element_type("tokenizer.ggml.tokens") == ValueType.STRING


def test_mapping(file: gguffuse.File) -> None:
    keys = list(file.metadata)
    assert keys[:2] == ["general.architecture", "general.alignment"] and keys[-1] == "tokenizer.ggml.tokens"
    assert len(keys) == len(file.metadata) == 5 + 2 * len(NUMBERS)
    assert "general.name" in file.metadata
    assert "nowhere" not in file.metadata and "a\0b" not in file.metadata and 7 not in file.metadata
    assert file.metadata.get("nowhere", "else") == "else"


def test_what_is_not_there(file: gguffuse.File) -> None:
    with pytest.raises(KeyError) as caught:
        file.metadata["nowhere"]
    assert isinstance(caught.value, gguffuse.NotFoundError)
    assert str(caught.value)[0] not in "'\"", "the text itself, not as KeyError shows its key"
    with pytest.raises(gguffuse.TypeMismatchError):
        file.metadata.element_type("general.name")
    with pytest.raises(TypeError):
        file.metadata[3]  # type: ignore[index]


def test_deep_arrays_and_special_floats() -> None:
    with gguffuse.Writer() as writer:
        writer.set("deep", [[np.array([1, 2], np.int16)], [np.array([], np.int16), np.array([3], np.int16)]])
        writer.set("texts", [["a", "b"], ["c"]])
        writer.set("empty", [], ValueType.STRING)
        writer.set("nan", float("nan"), ValueType.FLOAT32)
        with gguffuse.open_memory(writer.to_array()) as file:
            assert list(file.metadata) == ["deep", "texts", "empty", "nan"]
            deep = file.metadata["deep"]
            assert [[array.tolist() for array in arrays] for arrays in deep] == [[[1, 2]], [[], [3]]]
            assert deep[0][0].dtype == np.int16
            assert file.metadata["texts"] == [["a", "b"], ["c"]]
            assert file.metadata["empty"] == []
            assert math.isnan(file.metadata["nan"])
