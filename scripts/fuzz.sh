#!/usr/bin/env bash
# Builds fuzz targets, with plain cargo and any toolchain, and runs one of them. See fuzz/README.md.
#
#   scripts/fuzz.sh build SANITIZER TARGET...         SANITIZER: none or address
#   scripts/fuzz.sh run SANITIZER TARGET [ARGUMENT...]   builds it first; arguments are libFuzzer's
#
# The corpus, findings and programs lie in fuzz/ below the target directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

what=${1:?usage: see the first lines}
sanitizer=${2:?usage: see the first lines}
shift 2
directory=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz
triple=$(rustc -vV | sed -n 's/^host: //p')
programs=$directory/$sanitizer/$triple/release

# What cargo-fuzz would say to rustc: coverage for libFuzzer, and every check that the language has. Only code that is built
# for --target gets it: not build scripts, nor the standard library.
build() {
    local flags=(--cfg fuzzing -Cdebug-assertions -Coverflow-checks -Ccodegen-units=16 -Cpasses=sancov-module)
    local option
    for option in level=4 inline-8bit-counters pc-table trace-compares; do
        flags+=("-Cllvm-args=-sanitizer-coverage-$option")
    done
    local targets=() target
    for target in "$@"; do
        targets+=(--bin "$target")
        # Written by a program of the same build: another would compile the library once more.
        [[ $target == parser ]] && targets+=(--example seeds)
    done
    # A sanitizer is an unstable option: the stable toolchain takes it here, for this build alone.
    if [[ $sanitizer != none ]]; then
        # C's buffers are at stake, not the kernels.
        flags+=("-Zsanitizer=$sanitizer" --cfg few_kernels)
        export RUSTC_BOOTSTRAP=1
    fi
    RUSTFLAGS="${flags[*]}" cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$triple" \
        --target-dir "$directory/$sanitizer" "${targets[@]}"
    unset RUSTC_BOOTSTRAP
    if [[ " $* " == *" parser "* ]]; then
        "$programs/examples/seeds" "$directory/corpus/parser"
    fi
}

case $what in
build)
    build "$@"
    ;;
run)
    target=${1:?usage: see the first lines}
    shift
    build "$target"
    mkdir -p "$directory/corpus/$target" "$directory/findings/$target"
    # Anything that takes 10 s or 64 MB at once is a finding as well.
    exec "$programs/$target" "$directory/corpus/$target" -max_len=1024 -rss_limit_mb=1536 -malloc_limit_mb=64 -timeout=10 \
        -print_final_stats=1 -artifact_prefix="$directory/findings/$target/" "$@"
    ;;
*)
    echo "error: build or run, not $what" >&2
    exit 2
    ;;
esac
