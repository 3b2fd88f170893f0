#!/usr/bin/env python3
"""How much faster npm's node-llama-cpp is with the ggml plugin than alone, in runs that take turns.

    scripts/measure_plugin.py WORK PROGRAMS MODEL [--rounds N] [--threads N] [--types]

WORK and PROGRAMS: what scripts/check_plugin.sh MODEL WORK has made. The engine alone runs with and without its repacked weights, and the
better of the two counts. Prompt of 512 tokens and decode; the best of all rounds, by the clock and by processor time (which says
more on a machine where others work as well). Models: TinyLlama's shape with random weights and llama.cpp's mix of types, the
real model MODEL; with --types a small model of each type as well.
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

TYPES = "q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4".split()
parser = argparse.ArgumentParser()
parser.add_argument("work", type=Path)
parser.add_argument("programs", type=Path)
parser.add_argument("model", type=Path)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--types", action="store_true")
given = parser.parse_args()
plugin = given.work / "libggml-gguffuse.so"
bins = next(given.work.glob("node/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"))
KEYS = ["prompt_s", "prompt_processor_s", "token_ms", "token_processor_ms"]


def drive(file, tokens, *options, **variables):
    words = [given.programs / "drive", bins, file, "--tokens", tokens, "--threads", given.threads, *options]
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    text = subprocess.run([str(word) for word in words], env=environment, check=True, capture_output=True, text=True).stdout
    result = json.loads(text.splitlines()[-1])
    result["prompt_s"] = result["prompt_tokens"] / result["prompt_per_s"]
    return result


def compare(name, file, tokens):
    """One line: the engine's best by the plugin's best."""
    ways = {
        "repacked": ([], {}),
        "as mapped": (["--no-repack"], {}),
        "plugin": ([], {"GGML_BACKEND_PATH": plugin}),
    }
    best = {}
    for _ in range(given.rounds):
        for way, (options, variables) in ways.items():
            result = drive(file, tokens, *options, **variables)
            old = best.get(way, result)
            best[way] = {**result, **{key: min(old[key], result[key]) for key in KEYS}}
    ours = best.pop("plugin")
    ratios = [min(other[key] for other in best.values()) / ours[key] for key in KEYS]
    print(f"{name:12} prompt {ratios[0]:5.2f}x ({ratios[1]:.2f}x of processor time), {512 / ours['prompt_s']:6.0f} tokens/s;"
          f" decode {ratios[2]:5.2f}x ({ratios[3]:.2f}x), {ours['token_ms']:6.2f} ms;"
          f" {ours['most_mib']:.0f} MiB, the engine {best['repacked']['most_mib']:.0f} or {best['as mapped']['most_mib']:.0f}",
          flush=True)


def make(name, *options):
    path = given.work / name
    if not path.exists():
        subprocess.run([str(given.programs / "make_model"), str(path), *map(str, options)], check=True)
    return path


compare("TinyLlama", make("tinyllama-22.gguf"), 24)
compare(given.model.stem[:12], given.model, 48)
if given.types:
    for name in TYPES:
        path = make(f"only-{name}.gguf", "--layers", 2, "--type", name)
        compare(name, path, 24)
        path.unlink()
