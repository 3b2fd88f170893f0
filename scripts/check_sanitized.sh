#!/usr/bin/env bash
# The corpus of malformed files through Rust, C and Python with the address and leak sanitizers in the library; and other
# tests of tests/, if named.
#
#   scripts/check_sanitized.sh [TEST...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/nightly.sh

tests=(--test corpus)
for name in "$@"; do
    tests+=(--test "$name")
done
# With --target, build scripts and macros are built without the sanitizer. Other optimisation would take minutes.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS=-Zsanitizer=address CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/asan
output=$(cargo "$toolchain" test --locked --target "$host" "${tests[@]}" -- --nocapture) || {
    printf '%s\n' "$output"
    exit 1
}
grep -E '^(corpus|slowest|single faults)|^test result' <<<"$output"
# That it was the sanitized library: the C program and Python say so.
(($(grep -c 'under AddressSanitizer' <<<"$output") == 2))
