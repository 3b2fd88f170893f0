#!/usr/bin/env bash
# The corpus of malformed files through Rust, C and Python, and every single fault, with the address and leak sanitizers in
# the library. With a nightly toolchain where there is one, else with the stable one, told to act as such for this build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# With --target, build scripts and macros are built without the sanitizer. Other optimisation would take minutes.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS=-Zsanitizer=address CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/asan
if cargo +nightly --version >/dev/null 2>&1; then
    toolchain=+nightly
else
    toolchain=+$(rustup show active-toolchain | cut -d' ' -f1)
    export RUSTC_BOOTSTRAP=1
fi
output=$(cargo "$toolchain" test --locked --target "$host" --test corpus --test single_faults -- --nocapture) || {
    printf '%s\n' "$output"
    exit 1
}
grep -E '^(corpus|slowest|single faults)|^test result' <<<"$output"
# That it was the sanitized library: the C program and Python say so.
(($(grep -c 'under AddressSanitizer' <<<"$output") == 2))
