"""Opening, listing, places, views, and what closing does to all of them."""

import copy
import gc
import mmap
import pickle
import weakref
from pathlib import Path

import gguf
import gguffuse
import numpy as np
import pytest


def test_layout_is_what_gguf_reads(path: Path, file: gguffuse.File) -> None:
    reader = gguf.GGUFReader(path)
    assert (file.version, file.alignment, file.nbytes) == (3, 64, path.stat().st_size)
    assert file.data_offset == reader.data_offset
    assert list(file) == [theirs.name for theirs in reader.tensors]
    for ours, theirs in zip(file.values(), reader.tensors, strict=True):
        assert (ours.type, ours.nbytes) == (int(theirs.tensor_type), theirs.n_bytes)
        assert ours.dims == tuple(theirs.shape) == ours.shape[::-1]
        assert ours.absolute_offset == theirs.data_offset == file.data_offset + ours.relative_offset
        assert ours.data.tobytes() == theirs.data.tobytes()
        raw = path.read_bytes()[ours.absolute_offset : ours.absolute_offset + ours.nbytes]
        assert raw == ours.data.tobytes()


def test_mapping_of_names(file: gguffuse.File) -> None:
    assert len(file) == 4
    assert "weights" in file and "nowhere" not in file and "wei\0ghts" not in file
    assert file.get("nowhere") is None
    assert file["weights"].name == "weights"
    assert (file["weights"].n, file["weights"].k) == (48, 256)
    assert (file["experts"].n, file["experts"].k) == (24, 64)
    with pytest.raises(TypeError):
        file[0]  # type: ignore[index]


def test_views_are_the_files_memory(file: gguffuse.File, weights: np.ndarray) -> None:
    data, again = file["weights"].data, file["weights"].data
    assert data.shape == (48, 256 // 32 * 34)
    assert np.shares_memory(data, again)
    assert not data.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        data.setflags(write=True)
    assert file["experts"].data.shape == (3, 8, 64 // 32 * 34)
    assert np.array_equal(file["norm"].array, np.linspace(-1, 1, 256, dtype=np.float32))
    assert file["half"].array.dtype == np.float16
    assert np.array_equal(file["half"].array, weights)
    with pytest.raises(TypeError, match="numpy has no Q8_0"):
        _ = file["weights"].array


def test_dequantised_values(file: gguffuse.File, weights: np.ndarray, experts: np.ndarray) -> None:
    for name, values in {"weights": weights, "experts": experts, "half": weights}.items():
        assert np.array_equal(file[name].dequantize(), values)
    assert file["weights"].bits_per_weight == 8.5
    assert file["weights"].validate() is None


def test_closed(path: Path, weights: np.ndarray) -> None:
    with gguffuse.open(path) as file:
        tensor, metadata = file["weights"], file.metadata
        assert not file.closed
    assert file.closed
    file.close()
    x = np.zeros(256, np.float32)
    for use in (
        lambda: file["weights"], lambda: list(file), lambda: metadata["general.name"], lambda: list(metadata),
        lambda: tensor @ x, lambda: tensor.data, lambda: tensor.array if tensor.type == 0 else tensor.data,
        lambda: tensor.dequantize(), lambda: tensor.validate(), lambda: gguffuse.Writer().copy_metadata(file),
    ):
        with pytest.raises(gguffuse.InvalidHandleError, match="the file is closed"):
            use()
    assert (tensor.name, tensor.shape) == ("weights", (48, 256))
    assert "closed" in repr(file)


def test_arrays_keep_the_memory(path: Path, weights: np.ndarray) -> None:
    """The mapping is there for as long as an array shows it, in whatever order everything else goes."""
    file = gguffuse.open(path)
    handle = weakref.ref(file.handle)
    rows = file["half"].array[7:9][:, ::2]
    file.close()
    del file
    gc.collect()
    assert handle() is not None
    assert np.array_equal(rows, weights[7:9, ::2])
    del rows
    gc.collect()
    assert handle() is None


def test_tensor_keeps_its_file(path: Path) -> None:
    tensor = gguffuse.open(path)["norm"]
    gc.collect()
    assert tensor.array[0] == -1


def test_memory(path: Path) -> None:
    raw = path.read_bytes()
    with gguffuse.open_memory(raw) as file:
        norm = file["norm"].array
    del file, raw
    gc.collect()
    assert norm[-1] == 1
    with Path(path).open("rb") as plain, mmap.mmap(plain.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        with gguffuse.open_memory(mapped) as file:
            assert file["norm"].absolute_offset == mapped.find(np.float32(-1).tobytes())
        del file
        gc.collect()


def test_copied_and_changed(path: Path, tmp_path: Path, weights: np.ndarray) -> None:
    """A copy doesn't notice what happens to its file or memory; a mapping is told by verify."""
    changing, raw = tmp_path / "changing.gguf", path.read_bytes()
    changing.write_bytes(raw)
    with gguffuse.open(changing, copy=True) as copied, gguffuse.open(changing) as mapped:
        copied.verify()
        mapped.verify()
        with changing.open("r+b") as file:
            file.truncate(len(raw) - 1)
        copied.verify()
        with pytest.raises(gguffuse.TruncatedError):
            mapped.verify()
        changing.unlink()
        with pytest.raises(gguffuse.ChangedError):
            mapped.verify()
        assert copied["half"].data.tobytes() == raw[copied["half"].absolute_offset :][: copied["half"].nbytes]
    with pytest.raises(gguffuse.InvalidHandleError):
        copied.verify()
    memory = bytearray(raw)
    with gguffuse.open_memory(memory, copy=True) as file:
        memory[:] = bytes(len(raw))
        memory.clear()  # nobody holds it any more
        file.verify()
        assert np.array_equal(file["half"].array, weights)


def test_no_tensors_and_no_bytes() -> None:
    with gguffuse.Writer() as writer:
        writer.add_tensor("nothing", np.empty((0, 4), np.float32))
        with gguffuse.open_memory(writer.to_array()) as file:
            tensor = file["nothing"]
            assert (tensor.shape, tensor.nbytes) == ((0, 4), 0)
            assert tensor.data.shape == (0, 16)
            assert tensor.dequantize().shape == tensor.array.shape == (0, 4)
            assert tensor.matmul(np.ones((2, 4), np.float32)).shape == (2, 0)


def test_files_stay_in_their_process(file: gguffuse.File) -> None:
    for refused in (lambda: pickle.dumps(file), lambda: copy.deepcopy(file)):
        with pytest.raises(TypeError, match="belong to one process"):
            refused()


def test_what_is_no_file(tmp_path: Path, path: Path) -> None:
    missing = tmp_path / "missing.gguf"
    with pytest.raises(FileNotFoundError, match="No such file") as caught:
        gguffuse.open(missing)
    assert isinstance(caught.value, gguffuse.MissingFileError) and caught.value.status == 4
    with pytest.raises(gguffuse.InvalidArgumentError, match="not a regular file"):
        gguffuse.open(tmp_path)
    with pytest.raises(ValueError, match="NUL"):
        gguffuse.open("a\0b")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no GGUF at all, but long enough")
    with pytest.raises(gguffuse.BadFormatError):
        gguffuse.open(broken)
    broken.write_bytes(path.read_bytes()[:200])
    with pytest.raises(gguffuse.TruncatedError):
        gguffuse.open(broken)
    with pytest.raises(gguffuse.LimitError):
        gguffuse.open(path, max_metadata_bytes=100)
    for name in (str(path), str(path).encode(), path):
        assert len(gguffuse.open(name)) == 4
