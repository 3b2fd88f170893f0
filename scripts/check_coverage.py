#!/usr/bin/env python3
"""Line coverage of src/gguf and src/ffi by the Rust tests that concern them and by the C programs: prints it by file with the
lines that no test reaches, and fails below 98 %. The lines of tests within those files are not counted.

    scripts/check_coverage.py

Needs llvm-profdata and llvm-cov of rustc's LLVM: rustup's llvm-tools, else Debian's package, either of which it installs.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
from collections import defaultdict

LEAST = 98.0
ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = [
    ["--lib", "--", "gguf::", "ffi::"],
    ["--test", "corpus", "--test", "gguf"],
    # The other test of it takes long when little is optimised.
    ["--test", "gguf_heap", "--", "every_refused_allocation"],
]
# The programs of c-tests, with what follows the directory for temporary files. Not unload, which loads the library itself, and
# not faults, threads, cpu_state and memory with all threads, which take long.
PROGRAMS = {
    **{name: [[]] for name in "activations log offsets matmul metadata status nulls handles manners validate writer "
       "writer_misuse misuse truncation".split()},
    "memory": [[], ["pool"], ["environment"], ["writing"]],
    "process": [["1000", "5"]],
}


def output(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, **more).stdout


def tools():
    """llvm-profdata and llvm-cov that read what this rustc writes."""
    version = re.search(r"LLVM version: (\d+)", output("rustc", "-vV")).group(1)
    places = [pathlib.Path(output("rustc", "--print", "target-libdir").strip()).parent / "bin",
              pathlib.Path(f"/usr/lib/llvm-{version}/bin")]
    root = [] if os.geteuid() == 0 else ["sudo"]
    installers = [["rustup", "component", "add", "llvm-tools"],
                  [*root, "apt-get", "install", "-qq", "-y", "--no-install-recommends", f"llvm-{version}"]]
    for install in [None, *installers]:
        try:
            if install:
                subprocess.run(install, stdout=subprocess.DEVNULL)
        except FileNotFoundError:
            continue
        for place in places:
            if (place / "llvm-profdata").exists() and (place / "llvm-cov").exists():
                return place / "llvm-profdata", place / "llvm-cov"
    sys.exit(f"error: no llvm-profdata and llvm-cov of LLVM {version}, neither by rustup nor by apt-get")


def run(command, environment):
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, errors="replace", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout)
        sys.exit(f"error: {' '.join(map(str, command))} gave {done.returncode}")
    return done.stdout


def run_tests(target, profiles):
    """Runs the tests and returns the files that have the counters in them."""
    environment = dict(
        os.environ,
        CARGO_TARGET_DIR=str(target),
        RUSTFLAGS="-Cinstrument-coverage --cfg few_kernels",
        # Processes of one object add to one file.
        LLVM_PROFILE_FILE=str(profiles / "%m.profraw"),
    )
    objects = set()
    for arguments in TESTS:
        printed = run(["cargo", "test", "--locked", *arguments], environment)
        objects.update(str(ROOT / path) for path in re.findall(r"Running .*\((.*)\)", printed))
    library = target / "debug/deps/libgguffuse.so"
    with tempfile.TemporaryDirectory() as scratch:
        # The loader looks for the library by its soname.
        (pathlib.Path(scratch) / "libgguffuse.so.0").symlink_to(library)
        environment["LD_LIBRARY_PATH"] = scratch
        for name, arguments in PROGRAMS.items():
            program = f"{scratch}/{name}"
            run([os.environ.get("CC", "cc"), "-std=c11", "-O1", "-Iinclude", f"c-tests/{name}.c", str(library), "-lpthread",
                 "-lm", "-ldl", "-o", program], environment)
            for more in arguments:
                with tempfile.TemporaryDirectory() as directory:
                    run([program, directory, *more], environment)
    return [*sorted(objects), str(library)]


def code_lines(path):
    """Lines before the file's own tests."""
    lines = path.read_text().splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.strip() == "#[cfg(test)]"), len(lines) + 1)


def main():
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "coverage"
    profiles, (profdata, cov) = target / "profiles", tools()
    profiles.mkdir(parents=True, exist_ok=True)
    for old in profiles.glob("*.profraw"):
        old.unlink()
    objects = run_tests(target, profiles)
    merged = str(target / "profile")
    output(str(profdata), "merge", "--sparse", *map(str, profiles.glob("*.profraw")), "-o", merged)

    # Object by object: what one of them does not use hides in a common report that another one does.
    counts = defaultdict(dict)
    for path in objects:
        lcov = output(str(cov), "export", "--format=lcov", "--instr-profile", merged, path,
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
