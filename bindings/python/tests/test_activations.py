"""Packed activations give the bits of the product that packs for itself."""

import threading
from concurrent.futures import ThreadPoolExecutor

import gguffuse
import numpy as np
import pytest
from conftest import q8_0


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(8).standard_normal((5, 256), dtype=np.float32)


@pytest.mark.parametrize("precision", gguffuse.Precision)
def test_same_bits(file: gguffuse.File, weights: np.ndarray, x: np.ndarray, precision: gguffuse.Precision) -> None:
    with gguffuse.Context(precision=precision) as context:
        packed, tensor = gguffuse.Activations(context, x), file["weights"]
        expected = tensor.matmul(x, context=context)
        assert packed.shape == (5, 256)
        assert np.array_equal(packed @ tensor.T, expected)
        assert np.array_equal(tensor.matmul(packed), expected)
        assert np.array_equal(packed @ file["half"].T, file["half"].matmul(x, context=context))
        assert np.array_equal(gguffuse.matmul(q8_0(weights), "q8_0", packed), expected)
        out = np.full((5, 60), np.nan, np.float32)
        assert np.shares_memory(tensor.matmul(packed, out[:, 3:51]), out)
        assert np.array_equal(out[:, 3:51], expected) and np.isnan(out).sum() == 5 * 12
        # One row by itself is summed in another order than among five.
        packed.pack(x[2])
        alone = tensor.matmul(x[2], context=context)
        assert packed.shape == (256,)
        assert np.array_equal(tensor @ packed, alone) and (tensor @ packed).shape == (48,)
        assert np.array_equal(packed @ tensor.T, alone)


def test_x_is_copied(file: gguffuse.File, x: np.ndarray) -> None:
    expected, packed = file["half"].matmul(x), gguffuse.Activations(gguffuse.Context(), x)
    x[:] = np.nan
    assert np.array_equal(packed @ file["half"].T, expected)


def test_refused(file: gguffuse.File, x: np.ndarray) -> None:
    context, tensor = gguffuse.Context(), file["weights"]
    packed = gguffuse.Activations(context, x)
    for wrong, error in (
        (lambda: tensor @ packed, gguffuse.ShapeError),
        (lambda: x @ packed, TypeError),
        (lambda: packed @ file["experts"].T, gguffuse.ShapeError),
        (lambda: tensor.matmul(packed, np.empty((4, 48), np.float32)), gguffuse.ShapeError),
        (lambda: tensor.matmul(packed, context=gguffuse.Context()), gguffuse.InvalidArgumentError),
        (lambda: packed.pack(x.astype(np.float64)), TypeError),
        (lambda: packed.pack(x[:, ::2]), ValueError),
        (lambda: packed.pack(x.tolist()), TypeError),
        (lambda: packed.pack(np.float32(1)), TypeError),
        (lambda: packed.pack(np.array(1, np.float32)), gguffuse.ShapeError),
    ):
        with pytest.raises(error):
            wrong()
    assert np.array_equal(packed @ tensor.T, tensor.matmul(x, context=context)), "what was packed before stays"
    packed.close()
    with pytest.raises(gguffuse.InvalidHandleError, match="the activations are closed"):
        _ = packed @ tensor.T
    with pytest.raises(gguffuse.InvalidHandleError, match="the activations are closed"):
        packed.pack(x)
    again = gguffuse.Activations(context, x)
    context.close()
    with pytest.raises(gguffuse.InvalidHandleError, match="the context is closed"):
        _ = again @ tensor.T


def test_eight_threads_share_one(file: gguffuse.File, x: np.ndarray) -> None:
    packed, expected = gguffuse.Activations(gguffuse.Context(), x), {}
    for name in ("weights", "half"):
        expected[name] = file[name].matmul(x).tobytes()
    start = threading.Barrier(8)

    def work(_number: int) -> None:
        start.wait()
        for _ in range(50):
            for name, product in expected.items():
                assert (packed @ file[name].T).tobytes() == product

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(work, range(8)):
            pass
