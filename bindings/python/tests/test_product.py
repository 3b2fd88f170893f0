"""Products. The weights and activations are integers and every sum stays below 2^24, so f32 holds each result exactly:
whatever the order of the sum, EXACT must give numpy's integers."""

import gguffuse
import numpy as np
import pytest
from conftest import integers, q8_0


@pytest.fixture
def x() -> np.ndarray:
    return integers(np.random.default_rng(3), (5, 256), 8)


def exact(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    product = x.astype(np.int64) @ weights.astype(np.int64).T
    assert np.abs(product).max() < 2**24
    return product


def test_as_numpy_has_it(file: gguffuse.File, weights: np.ndarray, x: np.ndarray) -> None:
    tensor, expected = file["weights"], exact(x, weights)
    assert (x @ tensor.T).dtype == np.float32
    assert np.array_equal(x @ tensor.T, expected)
    assert np.array_equal(tensor @ x.T, expected.T)
    assert np.array_equal(tensor @ x[0], expected[0]) and (tensor @ x[0]).shape == (48,)
    assert np.array_equal(x[0] @ tensor.T, expected[0])
    assert np.array_equal(tensor.matmul(x), expected)
    assert (tensor.T.shape, tensor.T.T) == ((256, 48), tensor)
    with pytest.raises(TypeError):
        _ = x @ tensor  # type: ignore[operator]


def test_more_than_two_dimensions(file: gguffuse.File, experts: np.ndarray, x: np.ndarray) -> None:
    tensor, x = file["experts"], np.ascontiguousarray(x[:, :64])
    assert np.array_equal(x @ tensor.T, exact(x, experts.reshape(24, 64)))
    for expert in range(3):
        assert np.array_equal(gguffuse.matmul(tensor.data[expert], tensor.type, x), exact(x, experts[expert]))


def test_rows_that_lie_apart(file: gguffuse.File, weights: np.ndarray, x: np.ndarray) -> None:
    """Strides go to the library as they are: elements between the rows are neither read nor written."""
    wide, out = np.full((10, 300), np.nan, np.float32), np.full((10, 60), np.nan, np.float32)
    wide[::2, 20:276] = x
    result = file["weights"].matmul(wide[::2, 20:276], out=out[::2, 5:53])
    assert np.shares_memory(result, out)
    assert np.array_equal(out[::2, 5:53], exact(x, weights))
    assert np.isnan(out).sum() == 10 * 60 - 5 * 48


def test_out_is_not_copied(file: gguffuse.File, weights: np.ndarray, x: np.ndarray) -> None:
    out = np.empty((5, 48), np.float32)
    assert file["weights"].matmul(x, out) is out
    assert np.array_equal(out, exact(x, weights))
    assert file["weights"].matmul(x[0], out[1]).base is out


def test_contexts(file: gguffuse.File, path: str, weights: np.ndarray, x: np.ndarray) -> None:
    levels = gguffuse.isa_levels()
    assert levels[0] == "scalar"
    for level in levels:
        with gguffuse.Context(threads=2, max_isa=level) as context:
            assert context.isa == level
            assert np.array_equal(file["weights"].matmul(x, context=context), exact(x, weights))
            assert np.array_equal(gguffuse.open(path, context=context)["weights"] @ x[0], exact(x, weights)[0])
        with pytest.raises(gguffuse.InvalidHandleError, match="the context is closed"):
            file["weights"].matmul(x, context=context)
    assert gguffuse.Context(precision="fast").precision == gguffuse.Precision.FAST
    with pytest.raises(gguffuse.UnsupportedIsaError):
        gguffuse.Context(max_isa="avx1024")
    for wrong in ({"threads": -1}, {"threads": 2**32}, {"precision": "perfect"}, {"precision": 7}, {"max_isa": "a\0"}):
        with pytest.raises(ValueError):
            gguffuse.Context(**wrong)


def test_fast_rounds_activations(file: gguffuse.File, x: np.ndarray) -> None:
    """7 bits can't hold these: another result than EXACT's shows that the precision arrives at the library."""
    rough = x + np.float32(1 / 3)
    with gguffuse.Context(precision="fast") as context:
        assert not np.array_equal(file["weights"].matmul(rough, context=context), file["weights"].matmul(rough))


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (lambda x: x.astype(np.float64), TypeError, "float32, not float64 array"),
        (lambda x: x.astype(">f4"), TypeError, "float32, not >f4 array"),
        (lambda x: x.tolist(), TypeError, "float32, not list"),
        (lambda x: x[:, :128], gguffuse.ShapeError, "shape"),
        (lambda x: x[None], gguffuse.ShapeError, "shape"),
        (lambda x: x[0, 0], TypeError, "float32"),
        (lambda x: np.repeat(x, 2, axis=1)[:, ::2], ValueError, "side by side"),
        (lambda x: np.asfortranarray(x), ValueError, "side by side"),
        (lambda x: x[::-1], ValueError, "side by side"),
        (lambda x: np.broadcast_to(x[0], (4, 256)), ValueError, "must not overlap"),
        (lambda x: x[0, ::-1], ValueError, "side by side"),
    ],
)
def test_x_that_would_need_a_copy_is_refused(file: gguffuse.File, x: np.ndarray, wrong, error, text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=text):
        file["weights"].matmul(wrong(x))


def test_out_that_does_not_fit_is_refused(file: gguffuse.File, x: np.ndarray) -> None:
    tensor, read_only = file["weights"], np.empty((5, 48), np.float32)
    read_only.flags.writeable = False
    for out, error in (
        (np.empty((4, 48), np.float32), gguffuse.ShapeError), (np.empty((5, 47), np.float32), gguffuse.ShapeError),
        (np.empty((5, 48)), TypeError), (read_only, ValueError), (x[:, :48], gguffuse.AliasingError),
        (np.empty((48, 5), np.float32).T, ValueError),
    ):
        with pytest.raises(error):
            tensor.matmul(x, out)
    raw = np.empty(5 * 256 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(5, 256)
    raw[:] = x
    with pytest.raises(gguffuse.MisalignedError):
        tensor.matmul(raw)


def test_weights_in_own_memory(weights: np.ndarray, x: np.ndarray) -> None:
    blocks = q8_0(weights)
    assert np.array_equal(gguffuse.matmul(blocks, "q8_0", x), exact(x, weights))
    assert np.array_equal(gguffuse.matmul(blocks[3], "q8_0", x), exact(x, weights[3:4]))
    for data, kind, error in (
        (blocks[:, :-1], "q8_0", ValueError), (blocks[:, 1:].copy(), "q8_0", gguffuse.ShapeError),
        (blocks.astype(np.int32), "q8_0", TypeError), (blocks, "q9_9", ValueError), (blocks, 5, ValueError),
        (blocks, "q8_1", gguffuse.Error), (np.empty((4, 0), np.uint8), "q8_0", gguffuse.ShapeError),
    ):
        with pytest.raises(error):
            gguffuse.matmul(data, kind, x)
    integer = np.zeros((2, 1024), np.uint8)
    with pytest.raises(gguffuse.UnsupportedTypeError):
        gguffuse.matmul(integer, "i32", x)
