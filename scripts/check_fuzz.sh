#!/usr/bin/env bash
# Runs the fuzz targets for some seconds, all at once; fails on a finding, prints how many executions there were.
#
#   scripts/check_fuzz.sh SECONDS
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:?usage: scripts/check_fuzz.sh SECONDS}
logs=$(realpath -m "${CARGO_TARGET_DIR:-target}")/fuzz/logs
mkdir -p "$logs"

# Little optimised: building takes longer than fuzzing.
export CARGO_PROFILE_RELEASE_OPT_LEVEL=1
# Without sanitizer for the kernels, whose operands lie between unmapped pages; with it where C buffers are at stake.
targets=(parser calls kernels)
declare -A sanitizers=([parser]=none [calls]=address [kernels]=none) running
scripts/fuzz.sh build none parser kernels
scripts/fuzz.sh build address calls
for target in "${targets[@]}"; do
    scripts/fuzz.sh run "${sanitizers[$target]}" "$target" -max_total_time="$seconds" >"$logs/$target" 2>&1 &
    running[$target]=$!
done

failed=0
for target in "${targets[@]}"; do
    if ! wait "${running[$target]}"; then
        tail -n 60 "$logs/$target"
        echo "error: $target has a finding, or could not be run"
        failed=1
    fi
    executions=$(sed -n 's/^stat::number_of_executed_units: //p' "$logs/$target")
    echo "fuzzed $target for $seconds s, sanitizer ${sanitizers[$target]}: ${executions:-0} executions"
    # A target that hardly runs checks nothing.
    if ((${executions:-0} < 1000)); then
        echo "error: $target was hardly executed"
        failed=1
    fi
done
exit $failed
