"""Has whisper.cpp as it is in PyPI's pywhispercpp listen to a tone, and writes the logits of some tokens.

whisper.py LIBRARIES MODEL LOGITS [PLUGIN]

LIBRARIES: the wheel's pywhispercpp.libs.
"""

import array
import ctypes
import math
import sys
from pathlib import Path

folder, model, logits, *plugins = sys.argv[1:]


def library(pattern):
    # Where the others find what they need of it.
    return ctypes.CDLL(next(Path(folder).glob(pattern)), mode=ctypes.RTLD_GLOBAL)


for pattern in ["libgomp-*", "libggml-base-*", "libggml-cpu-*"]:
    library(pattern)
ggml, whisper = library("libggml-[0-9a-f][0-9a-f][0-9a-f]*"), library("libwhisper-*")
for plugin in plugins:
    ggml.ggml_backend_load(plugin.encode())
whisper.whisper_init_from_file.restype = ctypes.c_void_p
whisper.whisper_get_logits.restype = ctypes.POINTER(ctypes.c_float)
context = ctypes.c_void_p(whisper.whisper_init_from_file(model.encode()))
assert context, "the model was not loaded"
samples = [0.3 * math.sin(i * i * 1e-5) for i in range(5 * 16000)]
threads = 2
assert whisper.whisper_pcm_to_mel(context, (ctypes.c_float * len(samples))(*samples), len(samples), threads) == 0
assert whisper.whisper_encode(context, 0, threads) == 0
with open(logits, "wb") as file:
    for past, token in enumerate([50257, *range(1000, 1008)]):
        assert whisper.whisper_decode(context, (ctypes.c_int * 1)(token), 1, past, threads) == 0
        array.array("f", whisper.whisper_get_logits(context)[: whisper.whisper_n_vocab(context)]).tofile(file)
whisper.whisper_free(context)
