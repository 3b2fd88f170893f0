#!/usr/bin/env bash
# Builds the library and installs it: shared and static library, headers, pkg-config file, CMake package. Needs Rust
# and a C linker; `cargo cinstall` of cargo-c installs the same (Cargo.toml has its settings), if you have it.
#
#     scripts/install.sh [--prefix DIR] [--libdir DIR] [--destdir DIR]
#
# --prefix:  where it will live; /usr/local without it.
# --libdir:  the libraries' folder below the prefix; "lib" without it ("lib64", "lib/x86_64-linux-gnu").
# --destdir: put in front of the prefix for this copy, for packagers.
#
# Installed as a distribution would have it: without debug information. The tree may be moved. Linux; elsewhere cargo-c
# knows the names and links that libraries have.
set -euo pipefail

usage() {
    sed -n '5,9s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

prefix=/usr/local libdir=lib destdir=""
while (($#)); do
    (($# >= 2)) || usage
    case $1 in
        --prefix) prefix=$2 ;;
        --libdir) libdir=$2 ;;
        --destdir) destdir=$2 ;;
        *) usage ;;
    esac
    shift 2
done
[[ $libdir != /* && $libdir != *..* ]] || { echo "install.sh: --libdir is a folder below the prefix" >&2; exit 2; }
[[ $(uname -s) == Linux ]] || { echo "install.sh: for Linux; use cargo-c: cargo cinstall" >&2; exit 1; }
# The caller's folder, before leaving it.
[[ -n $destdir || $prefix == /* ]] || prefix=$PWD/$prefix
[[ -z $destdir || $destdir == /* ]] || destdir=$PWD/$destdir

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# cargo itself says where it builds, whatever the environment or a configuration file sets. A folder of its own there: other
# flags than those of `cargo build` would make that one build all again.
target=$(cargo metadata --locked --no-deps --format-version 1 | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')/install
# Messages of panics hold paths: where this checkout and Cargo's files lie must not be among them, or no two folders would
# make the same bytes.
read -ra flags <<<"${RUSTFLAGS:-}"
flags+=("--remap-path-prefix=$(pwd -P)=/gguffuse" "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo")
export CARGO_ENCODED_RUSTFLAGS
# Encoded, as folders may have spaces in their names.
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${flags[*]}")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
cargo build --locked --release --lib --package gguffuse --target-dir "$target"

abi=$(sed -n 's/^#define GGUFFUSE_ABI_VERSION //p' include/gguffuse.h)
lib=$destdir$prefix/$libdir
# From lib/pkgconfig or lib/<triplet>/pkgconfig back to the prefix.
up=$(sed -E 's:[^/]+:..:g' <<<"$libdir/pkgconfig")

install -d "$destdir$prefix/include" "$lib/pkgconfig" "$lib/cmake/gguffuse" "$destdir$prefix/share/doc/gguffuse"
install -m 644 include/gguffuse.h include/gguffuse.hpp "$destdir$prefix/include"
install -m 755 "$target/release/libgguffuse.so" "$lib/libgguffuse.so.$version"
install -m 644 "$target/release/libgguffuse.a" "$lib/libgguffuse.a"
strip --strip-unneeded "$lib/libgguffuse.so.$version"
strip --strip-debug --enable-deterministic-archives "$lib/libgguffuse.a"
ln -sf "libgguffuse.so.$version" "$lib/libgguffuse.so.$abi"
ln -sf "libgguffuse.so.$abi" "$lib/libgguffuse.so"
sed -e "s:@UP@:$up:; s:@LIBDIR@:$libdir:; s:@VERSION@:$version:" packaging/gguffuse.pc.in >"$lib/pkgconfig/gguffuse.pc"
chmod 644 "$lib/pkgconfig/gguffuse.pc"
install -m 644 packaging/gguffuse-config.cmake packaging/gguffuse-config-version.cmake "$lib/cmake/gguffuse"
install -m 644 README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE "$destdir$prefix/share/doc/gguffuse"
echo "installed gguffuse $version in $destdir$prefix"
