#!/usr/bin/env bash
# Runs each fuzz target for some seconds; fails on a finding, prints how many executions there were. Installs cargo-fuzz
# below the target directory where it is missing. See fuzz/README.md.
#
#   scripts/check_fuzz.sh SECONDS
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/nightly.sh

seconds=${1:?usage: scripts/check_fuzz.sh SECONDS}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export PATH=$target/tools/bin:$PATH
unset CARGO_TARGET_DIR
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install --locked --quiet --root "$target/tools" --target-dir "$target/tools-build" cargo-fuzz
fi

# Without sanitizer for the kernels, whose operands lie between unmapped pages; with it where C buffers are at stake.
declare -A sanitizers=([parser]=none [calls]=address [kernels]=none)
for name in parser calls kernels; do
    sanitizer=${sanitizers[$name]}
    cargo "$toolchain" fuzz build -s "$sanitizer" -O --debug-assertions --target-dir "$target/fuzz-$sanitizer" "$name"
done
cargo run --quiet --manifest-path fuzz/Cargo.toml --target-dir "$target/fuzz-seeds" --example seeds \
    "$target/fuzz-corpus/parser"

status=0
for name in parser calls kernels; do
    program=$target/fuzz-${sanitizers[$name]}/x86_64-unknown-linux-gnu/release/$name
    artifacts=$target/fuzz-artifacts/$name/
    log=$target/fuzz-$name.log
    mkdir -p "$target/fuzz-corpus/$name" "$artifacts"
    if ! "$program" "$target/fuzz-corpus/$name" -max_len=1024 -rss_limit_mb=1536 -malloc_limit_mb=64 -timeout=10 \
        -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$artifacts" >"$log" 2>&1; then
        tail -n 60 "$log"
        echo "error: $name has a finding, see $artifacts"
        status=1
    fi
    executions=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
    echo "fuzzed $name for $seconds s, sanitizer ${sanitizers[$name]}: ${executions:-0} executions"
    # A target that hardly runs checks nothing.
    if ((${executions:-0} < 1000)); then
        echo "error: $name was hardly executed"
        status=1
    fi
done
exit $status
