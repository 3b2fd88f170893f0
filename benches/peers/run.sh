#!/usr/bin/env bash
# Fetches ggml, builds the peers, runs them. Arguments: README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
features=()
if [[ ${1:-} == --without-candle ]]; then
    features=(--no-default-features)
    shift
fi
"$here/fetch.sh"
cargo run --quiet --locked --release --manifest-path "$here/Cargo.toml" "${features[@]}" -- "$@"
