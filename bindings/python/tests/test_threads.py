"""The GIL is released, eight threads share everything, and closing meanwhile harms nobody."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguffuse
import numpy as np


def all_at_once(work: Callable[[int], None], count: int = 8) -> None:
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait()
        work(number)

    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(run, number) for number in range(count)]:
            done.result()


def test_eight_threads(file: gguffuse.File, weights: np.ndarray) -> None:
    """One file and one context; every thread sees the bits that one thread alone sees."""
    xs = np.random.default_rng(7).standard_normal((8, 3, 256), dtype=np.float32)
    expected = [file["weights"].matmul(x).tobytes() for x in xs]

    def work(number: int) -> None:
        for _ in range(50):
            assert file["weights"].matmul(xs[number]).tobytes() == expected[number]
            assert file.metadata["tokenizer.ggml.tokens"][3] == "wörld"
            try:
                file[f"no tensor {number}"]
            except gguffuse.NotFoundError as error:
                assert f"no tensor {number}" in str(error), "the text is this thread's"

    all_at_once(work)


def test_closed_by_another_thread(path: Path, weights: np.ndarray) -> None:
    x, expected = np.ones(256, np.float32), weights.sum(axis=1)

    def work(number: int) -> None:
        for _ in range(2000):
            try:
                tensor = file["half"]
                assert np.array_equal(tensor.array, weights)
                assert np.array_equal(tensor @ x, expected)
                assert file.metadata["general.architecture"] == "llama"
            except gguffuse.InvalidHandleError:
                return
        raise AssertionError("never closed")

    for _ in range(20):
        file = gguffuse.open(path)
        closer = threading.Timer(0.01, file.close)
        closer.start()
        all_at_once(work)
        closer.join()


def test_the_gil_is_released() -> None:
    """This thread goes on while another one is inside of a call; with the GIL held it would stand still until the end."""
    context, rows, ticks = gguffuse.Context(threads=1), 64, 0
    while True:
        values, inside = np.ones((rows, 4096), np.float32), threading.Event()
        span: list[float] = []

        def work() -> None:
            inside.set()
            began = time.perf_counter()
            gguffuse.quantize(values, "q4_k", context=context)
            span.extend((began, time.perf_counter()))

        thread = threading.Thread(target=work)
        thread.start()
        inside.wait()
        seen = []
        while thread.is_alive():
            time.sleep(0.001)
            seen.append(time.perf_counter())
        thread.join()
        if span[1] - span[0] < 0.3:
            rows *= 2
            continue
        # Away from both ends, where Python's own code runs.
        ticks = sum(span[0] + 0.1 < moment < span[1] - 0.1 for moment in seen)
        break
    assert ticks > 0
