#!/usr/bin/env python3
"""Checks the installed command gguffuse on the model that scripts/fetch-model.sh makes.

    scripts/check_cli.py PREFIX MODEL

PREFIX is where scripts/install-cli.sh installed it. Needs the PyPI package gguf: `gguffuse info --json` must say of every
tensor and every metadata key what gguf says. Bars: `info` of this model, which has 262,144 tokens, takes at most 20 ms;
`verify` runs at 0.8 or more of the speed at which the same threads read the file and do nothing with it. Exit code 1 where
anything is otherwise.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import gguf

INFO_SECONDS = 0.020
VERIFY_SHARE = 0.8
# Others use the machine as well: one undisturbed run shows what it can do.
MOST_RUNS = 200
MOST_COMPARISONS = 40
COMMANDS = ["info", "tensor", "verify", "bench", "quantize", "diff", "completions", "man"]


def run(command, *arguments):
    """Its standard output; it must succeed."""
    done = subprocess.run([command, *map(str, arguments)], check=True, capture_output=True, text=True)
    assert done.stderr == "", done.stderr
    return done.stdout


def check_json(command, model):
    document = json.loads(run(command, "info", "--json", model))
    reader = gguf.GGUFReader(model)
    assert document["data_offset"] == reader.data_offset
    assert len(document["tensors"]) == len(reader.tensors) > 0
    for ours, theirs in zip(document["tensors"], reader.tensors):
        assert ours["name"] == theirs.name
        assert ours["type"] == theirs.tensor_type.name.lower(), ours
        assert ours["shape"] == theirs.shape.tolist(), ours
        assert ours["elements"] == theirs.n_elements, ours
        assert ours["absolute_offset"] == theirs.data_offset, ours
        assert ours["size_bytes"] == theirs.n_bytes, ours
    fields = {key: field for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert [entry["key"] for entry in document["metadata"]] == list(fields)
    for entry in document["metadata"]:
        # Floats are written with the digits that tell an f32 from its neighbours.
        ours, theirs = entry["value"], fields[entry["key"]].contents()
        if entry.get("element_type", entry["type"]) == "f32":
            ours = [f32(value) for value in ours] if isinstance(ours, list) else f32(ours)
        assert ours == theirs, entry["key"]
    tokens = next(entry for entry in document["metadata"] if entry["key"] == "tokenizer.ggml.tokens")
    assert tokens["length"] == 262_144
    print(f"info --json: {len(document['tensors'])} tensors and {len(fields)} keys as gguf has them")


def f32(value):
    import numpy

    return float(numpy.float32(value))


def check_speed(command, model):
    fastest = float("inf")
    for _ in range(MOST_RUNS):
        start = time.perf_counter()
        run(command, "info", model)
        fastest = min(fastest, time.perf_counter() - start)
        if fastest <= INFO_SECONDS:
            break
    print(f"info: {fastest * 1e3:.1f} ms, at most {INFO_SECONDS * 1e3:.0f}")
    assert fastest <= INFO_SECONDS
    share = 0
    for _ in range(MOST_COMPARISONS):
        line = run(command, "verify", "--compare", model).splitlines()[-1]
        share = max(share, float(line.rsplit(":", 1)[1].split()[0]))
        if share >= VERIFY_SHARE:
            break
    print(f"verify: {line}; at least {VERIFY_SHARE}")
    assert share >= VERIFY_SHARE


def main():
    prefix, model = Path(sys.argv[1]), sys.argv[2]
    command = prefix / "bin/gguffuse"
    check_json(command, model)
    check_speed(command, model)
    assert run(command, "diff", model, model) == "0 differences; the same: 236 tensors\n"
    print(run(command, "bench", "--time", 100, "--prefill", 32, model))
    block = run(command, "tensor", model, "blk.0.attn_output.weight")
    assert "d * s[i/32] * q[i] - dmin * m[i/32]" in block
    for name in ["gguffuse", *(f"gguffuse-{name}" for name in COMMANDS)]:
        page = (prefix / f"share/man/man1/{name}.1").read_text()
        assert f".TH {name} 1" in page, name
    completions = prefix / "share/bash-completion/completions/gguffuse"
    subprocess.run(["bash", "-c", 'source "$1" && complete -p gguffuse', "bash", completions], check=True)
    for other in ["zsh/site-functions/_gguffuse", "fish/vendor_completions.d/gguffuse.fish"]:
        assert "quantize" in (prefix / "share" / other).read_text(), other


if __name__ == "__main__":
    main()
