"""A file that PyPI's gguf has written, with values and tensors of every kind that the tests look at."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import gguffuse
import numpy as np
import pytest

TOKENS = ["<unk>", "<s>", "", "wörld", "\N{CRAB}", "x" * 300] + [f"token {i}" for i in range(200)]


def integers(random: np.random.Generator, shape: tuple[int, ...], largest: int) -> np.ndarray:
    """Float32 integers: products of these are exact whatever the order of the sum, as long as they stay below 2^24."""
    return random.integers(-largest, largest, shape, endpoint=True).astype(np.float32)


def q8_0(values: np.ndarray) -> np.ndarray:
    """Blocks of Q8_0 with the scale 1, which hold integers up to 127 as they are."""
    blocks = np.empty((*values.shape[:-1], values.shape[-1] // 32, 34), np.uint8)
    blocks[..., :2] = np.array([1], "<f2").view(np.uint8)
    blocks[..., 2:] = values.astype(np.int8).view(np.uint8).reshape(*values.shape[:-1], -1, 32)
    return blocks.reshape(*values.shape[:-1], -1)


@pytest.fixture(scope="session")
def weights() -> np.ndarray:
    return integers(np.random.default_rng(1), (48, 256), 127)


@pytest.fixture(scope="session")
def experts() -> np.ndarray:
    return integers(np.random.default_rng(2), (3, 8, 64), 127)


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory, weights: np.ndarray, experts: np.ndarray) -> Path:
    where = tmp_path_factory.mktemp("files") / "theirs.gguf"
    writer = gguf.GGUFWriter(where, "llama")
    writer.add_custom_alignment(64)
    kinds = gguf.GGUFValueType
    numbers = {
        kinds.UINT8: 255, kinds.INT8: -128, kinds.UINT16: 65535, kinds.INT16: -32768, kinds.UINT32: 2**32 - 1,
        kinds.INT32: -(2**31), kinds.UINT64: 2**64 - 1, kinds.INT64: -(2**63), kinds.FLOAT32: 1.5,
        kinds.FLOAT64: 1e-300, kinds.BOOL: True,
    }
    for kind, number in numbers.items():
        writer.add_key_value(f"scalar.{kind.name}", number, kind)
        writer.add_key_value(f"array.{kind.name}", [number, number], kinds.ARRAY, sub_type=kind)
    writer.add_string("general.name", "wörld \0 and on")
    writer.add_key_value("general.latin", b"caf\xe9", kinds.STRING)
    writer.add_array("tokenizer.ggml.tokens", TOKENS)
    writer.add_tensor("weights", q8_0(weights), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("experts", q8_0(experts), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("norm", np.linspace(-1, 1, 256, dtype=np.float32))
    writer.add_tensor("half", weights.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return where


@pytest.fixture
def file(path: Path) -> Iterator[gguffuse.File]:
    with gguffuse.open(path) as opened:
        yield opened
