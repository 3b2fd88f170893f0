#!/usr/bin/env bash
# Builds a newer ggml than the prebuilt one, from the sources in crate llama-cpp-sys-2 (ggml 0.26.0, MIT): it has a tiled
# product for K-quants in plain memory. Into ggml-built/ beside this script; run.sh then lets both take part.
# Needs cmake, ninja and clang: gcc 12 miscompiles the set-up of its AMX kernels. Takes minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

version=0.1.161
variants=(haswell alderlake zen4 sapphirerapids)

if [[ -e ggml-built/libggml-base.so ]]; then
    exit 0
fi
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
mkdir "$temporary/src"
touch "$temporary/src/lib.rs"
cat >"$temporary/Cargo.toml" <<END
[package]
name = "sources"
version = "0.0.0"
edition = "2024"

[dependencies]
llama-cpp-sys-2 = "=$version"

[workspace]
END
cargo vendor --quiet --manifest-path "$temporary/Cargo.toml" "$temporary/vendor" >/dev/null
source=$temporary/vendor/llama-cpp-sys-2/llama.cpp/ggml
# The crate leaves it out; only an installation needs it.
touch "$source/ggml.pc.in"
cmake -G Ninja -S "$source" -B "$temporary/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang \
    -DCMAKE_CXX_COMPILER=clang++ -DBUILD_SHARED_LIBS=ON -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON \
    -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DGGML_BUILD_TESTS=OFF -DGGML_BUILD_EXAMPLES=OFF >/dev/null
ninja -C "$temporary/build" ggml-base "${variants[@]/#/ggml-cpu-}"
mkdir -p ggml-built
cp "$source/../LICENSE" ggml-built/
cp "$temporary"/build/bin/libggml-cpu-*.so ggml-built/
cp -L "$temporary/build/src/libggml-base.so" ggml-built/
