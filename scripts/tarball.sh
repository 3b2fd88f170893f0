#!/usr/bin/env bash
# Packs what scripts/install.sh installs: gguffuse-VERSION-TARGET.tar.gz in the folder DIR, and its SHA-256. The tree in it
# works wherever it is unpacked. One commit and one Rust toolchain make the same bytes, in whatever folder.
#
#     scripts/tarball.sh DIR
set -euo pipefail
(($# == 1)) || { echo "usage: scripts/tarball.sh DIR" >&2; exit 2; }
mkdir -p "$1"
output=$(cd "$1" && pwd -P)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export LC_ALL=C TZ=UTC
umask 022
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=gguffuse-$version-$(rustc -vV | sed -n 's/^host: //p')

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
scripts/install.sh --destdir "$stage" --prefix "/$name"
# The commit's time, or the one that packagers set.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
tar -C "$stage" --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" |
    gzip -9 -n >"$output/$name.tar.gz"
(cd "$output" && sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256")
