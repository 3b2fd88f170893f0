#!/usr/bin/env bash
# Fetches ggml, builds the peers, runs them. Arguments go to the program: README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/fetch.sh"
cargo run --quiet --locked --release --manifest-path "$here/Cargo.toml" -- "$@"
