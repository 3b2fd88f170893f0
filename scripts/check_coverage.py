#!/usr/bin/env python3
"""Line coverage of src/gguf and src/ffi by the tests that concern them: prints it by file with the lines that no test
reaches, and fails below 98 %. Tests within those files are not counted.

    scripts/check_coverage.py

Needs rustup's llvm-tools, which it adds.
"""

import os
import pathlib
import re
import subprocess
import sys
from collections import defaultdict

LEAST = 98.0
ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = [
    ["--lib", "--", "gguf::", "ffi::"],
    ["--test", "corpus", "--test", "gguf", "--test", "c_api"],
    # The other test of it takes long when little is optimised.
    ["--test", "gguf_heap", "--", "every_refused_allocation"],
]


def output(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, **more).stdout


def tools():
    directory = pathlib.Path(output("rustc", "--print", "target-libdir").strip()).parent / "bin"
    if not (directory / "llvm-profdata").exists():
        subprocess.run(["rustup", "component", "add", "llvm-tools"], check=True)
    return directory


def run_tests(target, profiles):
    """Runs the tests and returns the files that have the counters in them."""
    environment = dict(
        os.environ,
        CARGO_TARGET_DIR=str(target),
        RUSTFLAGS="-Cinstrument-coverage",
        # Little optimised: fast to build, yet a call still fits on a small stack.
        CARGO_PROFILE_DEV_OPT_LEVEL="1",
        # One file per process and object.
        LLVM_PROFILE_FILE=str(profiles / "%p-%m.profraw"),
    )
    objects = set()
    for arguments in TESTS:
        command = ["cargo", "test", "--locked", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            print(done.stdout)
            sys.exit(f"error: {' '.join(command)} failed")
        objects.update(re.findall(r"Running .*\((.*)\)", done.stdout))
    return [*sorted(str(ROOT / path) for path in objects), str(target / "debug/deps/libgguffuse.so")]


def code_lines(path):
    """Lines before the file's own tests."""
    lines = path.read_text().splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.strip() == "#[cfg(test)]"), len(lines) + 1)


def main():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "coverage"
    profiles, bin_directory = target / "profiles", tools()
    profiles.mkdir(parents=True, exist_ok=True)
    for old in profiles.glob("*.profraw"):
        old.unlink()
    objects = run_tests(target, profiles)
    merged = str(target / "profile")
    files = target / "profiles.txt"
    files.write_text("\n".join(str(path) for path in profiles.glob("*.profraw")))
    output(str(bin_directory / "llvm-profdata"), "merge", "--sparse", "-f", str(files), "-o", merged)

    # Object by object: what one of them does not use hides in a common report that another one does.
    counts = defaultdict(dict)
    for path in objects:
        lcov = output(str(bin_directory / "llvm-cov"), "export", "--format=lcov", "--instr-profile", merged, path,
                      "--sources", str(ROOT / "src/gguf"), str(ROOT / "src/ffi"), stderr=subprocess.DEVNULL)
        for line in lcov.splitlines():
            if line.startswith("SF:"):
                source = pathlib.Path(line[3:])
            elif line.startswith("DA:"):
                number, count = map(int, line[3:].split(",")[:2])
                counts[source][number] = counts[source].get(number, 0) + count
    lines = missed = 0
    for path, numbers in sorted(counts.items()):
        end = code_lines(path)
        numbers = {number: count for number, count in numbers.items() if number < end}
        absent = [number for number, count in sorted(numbers.items()) if count == 0]
        lines, missed = lines + len(numbers), missed + len(absent)
        share = 100 * (1 - len(absent) / max(1, len(numbers)))
        print(f"{share:6.2f} %  {str(path.relative_to(ROOT)):30} missed: {' '.join(map(str, absent)) or 'none'}")
    share = 100 * (1 - missed / lines)
    print(f"line coverage of src/gguf and src/ffi: {share:.2f} % of {lines} lines")
    sys.exit(0 if share >= LEAST else f"error: at least {LEAST} % are wanted")


if __name__ == "__main__":
    main()
