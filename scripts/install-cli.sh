#!/usr/bin/env bash
# Builds the command gguffuse and installs it with its manual pages and completions:
#
#     scripts/install-cli.sh [PREFIX]      PREFIX is /usr/local unless given; DESTDIR is put before it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=${DESTDIR:-}${1:-/usr/local}
binary=${CARGO_TARGET_DIR:-target}/release/gguffuse

cargo build --locked --release -p gguffuse-cli
install -D -m 755 "$binary" "$root/bin/gguffuse"
install -d "$root/share/man/man1"
"$binary" man --directory "$root/share/man/man1"

# completions SHELL PATH
completions() {
    install -d "$(dirname "$root/share/$2")"
    "$binary" completions "$1" >"$root/share/$2"
}
completions bash bash-completion/completions/gguffuse
completions zsh zsh/site-functions/_gguffuse
completions fish fish/vendor_completions.d/gguffuse.fish
