#!/usr/bin/env bash
# The C programs of c-tests/ where cargo test doesn't run them: in large numbers, on a stack of 64 KiB, under valgrind and
# under the sanitizers. Needs what .ci/run needs, and valgrind (installed if it can be).
#
#   scripts/check_faults.sh          counts for .ci/run
#   scripts/check_faults.sh long     all that is refused, more threads' rounds, every program under valgrind, and the Rust
#                                    tests under AddressSanitizer
#
# The sanitizers are unstable options of rustc, which RUSTC_BOOTSTRAP=1 lets the stable one take, for these builds alone.
# With a sanitizer, all levels have the kernels of AVX2 (`few_kernels`): that no kernel leaves its buffers is what the tests of
# src/kernels show, between unmapped pages. ThreadSanitizer wants a std that is instrumented as well: rustup's component
# rust-src, without which it is left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

long=0
[[ ${1:-} == long ]] && long=1
target=${CARGO_TARGET_DIR:-target}
target=$(mkdir -p "$target" && cd "$target" && pwd)
triple=$(rustc -vV | sed -n 's/^host: //p')
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
dependencies=(-lgcc_s -lutil -lrt -lpthread -lm -ldl)
programs=()
for source in c-tests/*.c; do
    programs+=("$(basename "$source" .c)")
done

# compile DIRECTORY LIBRARY [SANITIZER]: every program, with the static library. A sanitizer's runtime is rustc's: what
# the library was compiled for, and newer than cc's.
compile() {
    local directory=$1 library=$2 sanitizer=${3:-} program runtime
    mkdir -p "$directory"
    for program in "${programs[@]}"; do
        local with=("$library") instrument=()
        [[ $program == unload ]] && with=()
        if [[ -n $sanitizer && $program != unload ]]; then
            runtime=$(rustc --print sysroot)/lib/rustlib/$triple/lib/librustc-stable_rt.${sanitizer:0:1}san.a
            with=(-Wl,--whole-archive "$runtime" -Wl,--no-whole-archive "$library")
            instrument=("-fsanitize=$sanitizer")
        fi
        cc -std=c11 -g -O1 -I include "${instrument[@]}" -c "c-tests/$program.c" -o "$directory/$program.o"
        cc "$directory/$program.o" "${with[@]}" "${dependencies[@]}" -o "$directory/$program"
    done
}

failures=0
# run WHAT COMMAND...: in a directory of its own; the output of a failure, the figures of a success.
run() {
    local what=$1 files
    shift
    files=$(mktemp -d "$scratch/files.XXXXXX")
    if (cd "$files" && "${@//FILES/$files}" >"$scratch/output" 2>&1); then
        grep -E '^[a-z ]+: .*[0-9]' "$scratch/output" | sed "s/^/  $what: /" || true
    else
        printf '  FAILED: %s (%s)\n' "$what" "$*"
        tail -n 40 "$scratch/output"
        failures=$((failures + 1))
    fi
    rm -rf "$files"
}

# The bars of large numbers: issue 5's.
large_numbers() {
    echo "large numbers"
    run "plain" "$scratch/plain/process" FILES 100000 200
    run "plain" "$scratch/plain/unload" FILES 200 "$target/release/libgguffuse.so"
    run "plain" "$scratch/plain/handles" FILES 1000
    run "plain" "$scratch/plain/signals" FILES 10000
    run "plain" "$scratch/plain/threads" FILES $((long ? 100000 : 10000))
    run "plain" "$scratch/plain/faults" FILES $((long ? 1000 : 60))
    run "plain" "$scratch/plain/cpu_state" FILES all
}

small_stack() {
    local program level levels=(scalar avx2 avx512vnni)
    echo "a stack of 64 KiB, for the first thread and for all others"
    for program in "${programs[@]}"; do
        case $program in
        unload | faults | process) continue ;;
        esac
        for level in "${levels[@]}"; do
            run "$level" env "GGUFFUSE_MAX_ISA=$level" bash -c 'ulimit -s 64 && exec "$@"' - "$scratch/plain/$program" FILES
        done
    done
    # Many processes each: a few of them, at the best level.
    run "best" bash -c 'ulimit -s 64 && exec "$@"' - "$scratch/plain/process" FILES 1000 10
    run "best" bash -c 'ulimit -s 64 && exec "$@"' - "$scratch/plain/faults" FILES 3
    run "best" bash -c 'ulimit -s 64 && exec "$@"' - "$scratch/plain/unload" FILES 20 "$target/release/libgguffuse.so"
}

# What valgrind can't run: programs that stand in for malloc, and those that look at MXCSR, which it doesn't keep.
memcheck() {
    local program
    echo "valgrind, up to AVX2: no error, nothing lost"
    for program in "${programs[@]}"; do
        case $program in
        unload | faults | memory | cpu_state | process | manners | signals | stack) continue ;;
        # Children of a fork keep what was in use when they were made; and 200 of them take minutes.
        handles | activations) continue ;;
        matmul) ((long)) || continue ;;
        esac
        run "$program" env GGUFFUSE_MAX_ISA=avx2 valgrind --quiet --error-exitcode=9 --leak-check=full \
            --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect --child-silent-after-fork=yes \
            "$scratch/plain/$program" FILES $([[ $program == threads ]] && echo 50)
    done
}

# sanitized NAME OPTION...: the static library, with debug assertions and overflow checks.
sanitized() {
    local name=$1
    shift
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$name --cfg few_kernels" CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_TARGET_DIR="$target/$name" \
        cargo build --quiet --locked --lib --target "$triple" "$@"
}

address() {
    local program
    echo "AddressSanitizer, with leaks"
    sanitized address
    compile "$scratch/address" "$target/address/$triple/debug/libgguffuse.a" address
    for program in "${programs[@]}"; do
        case $program in
        unload | faults | memory) continue ;; # not linked with the library; stand in for malloc
        process) continue ;;                  # what was freed stays in quarantine, so memory grows
        esac
        run "$program" env ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:handle_segv=0:handle_sigfpe=0 \
            "$scratch/address/$program" FILES
    done
    if ((long)); then
        RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address --cfg few_kernels" CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_TARGET_DIR="$target/address" \
            cargo test --locked --target "$triple" --lib --test gguf --test matmul --test quantize --test weights
    fi
}

thread() {
    local program
    echo "ThreadSanitizer, without suppressions"
    if ! rustup component add rust-src >/dev/null 2>&1; then
        echo "  skipped: no component rust-src; with a std that isn't instrumented, its locks look like races"
        return
    fi
    sanitized thread -Zbuild-std
    compile "$scratch/thread" "$target/thread/$triple/debug/libgguffuse.a" thread
    for program in threads writer log; do
        run "$program" env TSAN_OPTIONS=halt_on_error=1 "$scratch/thread/$program" FILES \
            $([[ $program == threads ]] && echo $((long ? 20000 : 2000)))
    done
}

cargo build --quiet --locked --release --lib
compile "$scratch/plain" "$target/release/libgguffuse.a"
large_numbers
small_stack
command -v valgrind >/dev/null || { apt-get -qq update && apt-get -qq install -y valgrind; } >/dev/null
memcheck
address
thread
printf '%d programs, %d failures\n' "${#programs[@]}" "$failures"
((failures == 0))
