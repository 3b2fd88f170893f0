#!/usr/bin/env bash
# The corpus of malformed files through Rust, C and Python with the address and leak sanitizers in the library; and other
# tests of tests/, if named.
#
#   scripts/check_sanitized.sh [TEST...]        single_faults: the millions of files of one fault
#
# The sanitizer is an unstable option of rustc, which RUSTC_BOOTSTRAP=1 lets the stable one take, for this build alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests=(--test corpus)
for name in "$@"; do
    tests+=(--test "$name")
done
# With --target, build scripts and macros are built without the sanitizer. The same build as in check_faults.sh.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Zsanitizer=address --cfg few_kernels" CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/address
export RUSTC_BOOTSTRAP=1
output=$(cargo test --locked --target "$host" "${tests[@]}" -- --nocapture) || {
    printf '%s\n' "$output"
    exit 1
}
# A test's first line follows its name.
grep -oE '(corpus, |slowest |single faults: ).*|^test result.*' <<<"$output"
# That it was the sanitized library: the C program and Python say so.
(($(grep -c 'under AddressSanitizer' <<<"$output") == 2))
