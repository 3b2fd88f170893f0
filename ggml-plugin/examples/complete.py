"""Completes a text with PyPI's xllamacpp, and prints what it says.

complete.py XLLAMACPP MODEL TEXT [PLUGIN]
"""

import ctypes
import json
import sys

folder, model, text, *plugins = sys.argv[1:]
sys.path.insert(0, folder)
import xllamacpp  # noqa: E402

for plugin in plugins:
    ctypes.CDLL(xllamacpp.xllamacpp.__file__).ggml_backend_load(plugin.encode())
params = xllamacpp.CommonParams()
params.model.path = model
params.n_ctx = 512
params.n_parallel = 1
params.cpuparams.n_threads = 2
params.warmup = False
server = xllamacpp.Server(params)
answer = server.handle_completions({"prompt": text, "max_tokens": 24, "temperature": 0})
print(json.dumps(answer["choices"][0]["text"]))
