"""Quantising and dequantising, against PyPI's gguf."""

import gguf
import gguffuse
import numpy as np
import pytest

QUANTISED = [kind for kind in gguffuse.Type if kind.info.can_quantize]


@pytest.mark.parametrize("kind", QUANTISED, ids=lambda kind: kind.name)
def test_quantised_here_read_there(kind: gguffuse.Type) -> None:
    values = np.random.default_rng(4).standard_normal((2, 3, 512), dtype=np.float32)
    blocks = gguffuse.quantize(values, kind)
    assert blocks.shape == (2, 3, gguffuse.row_size(kind, 512))
    ours = gguffuse.dequantize(blocks, kind)
    assert ours.shape == values.shape
    assert np.array_equal(ours[1], gguffuse.dequantize(blocks[1], kind))
    assert gguffuse.validate(blocks, kind) is None
    # The data that was quantised is nearer to its blocks' values than to zero.
    assert np.square(ours - values).sum() < np.square(values).sum()
    if kind.name not in ("Q1_0", "Q2_0"):  # which gguf 0.19.0 doesn't read
        assert np.array_equal(ours, gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[kind.name]))


def test_quantised_there_read_here() -> None:
    values = np.random.default_rng(5).standard_normal((4, 256), dtype=np.float32)
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.BF16):
        blocks = gguf.quants.quantize(values, kind).view(np.uint8)
        assert np.array_equal(gguffuse.dequantize(blocks, kind.name), gguf.quants.dequantize(blocks, kind))


def test_importance() -> None:
    """The columns that count are nearer than without it."""
    values = np.random.default_rng(6).standard_normal((64, 256), dtype=np.float32)
    importance = np.where(np.arange(256) % 8 == 0, 100, 0.01).astype(np.float32)
    with gguffuse.Context(threads=2) as context:
        plain = gguffuse.dequantize(gguffuse.quantize(values, "q4_k", context=context), "q4_k")
        weighted = gguffuse.dequantize(gguffuse.quantize(values, "q4_k", importance, context), "q4_k")
    error = [np.square((made - values)[:, ::8]).sum() for made in (weighted, plain)]
    assert error[0] < error[1]


def test_validate_finds_the_block() -> None:
    blocks = gguffuse.quantize(np.ones((4, 256), np.float32), "q4_k")
    blocks[2, :2] = [0xFF, 0x7F]
    assert gguffuse.validate(blocks, "q4_k") == 2


def test_refused() -> None:
    values = np.ones((4, 256), np.float32)
    for call, error in (
        (lambda: gguffuse.quantize(values.astype(np.float64), "q4_k"), TypeError),
        (lambda: gguffuse.quantize(values[:, ::2], "q8_0"), ValueError),
        (lambda: gguffuse.quantize(values[:, :100].copy(), "q4_k"), gguffuse.ShapeError),
        (lambda: gguffuse.quantize(np.float32(3), "q4_k"), TypeError),
        (lambda: gguffuse.quantize(np.array(3, np.float32), "q4_k"), gguffuse.ShapeError),
        (lambda: gguffuse.quantize(values, "i32"), gguffuse.UnsupportedTypeError),
        (lambda: gguffuse.quantize(values, "q4_k", np.ones(255, np.float32)), gguffuse.ShapeError),
        (lambda: gguffuse.quantize(values, "q4_k", -np.ones(256, np.float32)), gguffuse.InvalidArgumentError),
        (lambda: gguffuse.dequantize(np.zeros(143, np.uint8), "q4_k"), gguffuse.ShapeError),
        (lambda: gguffuse.dequantize(np.zeros(144, np.int8), "q4_k"), TypeError),
    ):
        with pytest.raises(error):
            call()


def test_types_are_the_librarys() -> None:
    known = {kind: kind.info for kind in gguffuse.Type}
    for number in range(300):
        try:
            info = gguffuse.Type(number).info
        except ValueError:
            continue
        assert info == known[info.type] == gguffuse.type_info(info.type.name.lower())
    for kind in gguf.GGMLQuantizationType:
        if kind.name in gguffuse.Type.__members__ and kind.name != "Q8_1":  # gguf has another size for that one
            info = gguffuse.Type[kind.name].info
            assert int(kind) == info.type
            assert (info.block_elements, info.block_bytes) == gguf.GGML_QUANT_SIZES[kind]
