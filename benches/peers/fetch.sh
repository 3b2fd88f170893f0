#!/usr/bin/env bash
# Fetches the prebuilt ggml that peers are compared with (npm package @node-llama-cpp/linux-x64, MIT) into ggml/ beside
# this script. Does nothing where it is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

version=3.22.1
sum=0d953e1503d5ab4608d8ed5b739132308c81ac05ffeb760d2a7f30e08a9f90e0

if [[ -e ggml/libggml-base.so ]]; then
    exit 0
fi
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
npm pack --silent --pack-destination "$temporary" "@node-llama-cpp/linux-x64@$version" >/dev/null
archive=$temporary/node-llama-cpp-linux-x64-$version.tgz
sha256sum --check --quiet <<<"$sum  $archive"
tar -xzf "$archive" -C "$temporary"
mkdir -p ggml
cp "$temporary"/package/LICENSE "$temporary"/package/bins/linux-x64/libggml-*.so ggml/
