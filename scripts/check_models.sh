#!/usr/bin/env bash
# The thread pool in every order that its threads can take, by loom: tests/pool_models.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}/pool_models
output=$(RUSTFLAGS="--cfg loom" cargo test --locked --manifest-path tests/pool_models/Cargo.toml --target-dir "$target" -- \
    --nocapture "$@" 2>&1) || {
    printf '%s\n' "$output"
    exit 1
}
grep -oE 'models: .*|^test result: .* [1-9][0-9]* passed' <<<"$output"
