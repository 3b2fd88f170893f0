#!/usr/bin/env bash
# From a fresh clone to programs of users: installs into an empty prefix, builds the consumers in examples/ against it and
# nothing else, and compares what they print; takes the headers through the ages of C and C++ with gcc and clang; packs
# the tarball twice, in different folders, and compares its bytes; compares what cargo-c installs with what install.sh does.
# Makes the C reference.
#
# Needs Rust, git, gcc, clang, cmake, doxygen, make, pkg-config, OpenSSL's headers for cargo-c, and the package registry of
# Rust. It takes the last commit: what isn't committed isn't tested.
#
#     scripts/check_install.sh [DIR]     DIR is emptied and keeps the traces; a temporary one without it
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if (($#)); then
    rm -rf "$1"
    mkdir -p "$1"
    work=$(cd "$1" && pwd -P)
else
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
# What is installed and how, not the kernels, is checked here: without most of them the library takes a fifth of the time to build.
export RUSTFLAGS="--cfg few_kernels"
strict=(-Wall -Wextra -Wpedantic -Werror)
# One commit for both clones, should another be made meanwhile.
commit=$(git -C "$root" rev-parse HEAD)
expected=$(cat "$root/examples/checksum/expected.txt")
failures=0

say() { printf '%s\n' "--- $*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    failures=$((failures + 1))
}

# checksum_of WHAT COMMAND...: the command must succeed; its last line must be the checksum.
checksum_of() {
    local what=$1 text
    shift
    text=$("$@" "$consumers/checksum/checksum.gguf") || { fail "$what: exit code $?"; return 0; }
    if [[ ${text##*$'\n'} == "$expected" ]]; then
        printf '%-34s %s\n' "$what" "${text##*$'\n'}"
    else
        fail "$what printed '${text##*$'\n'}', not '$expected'"
    fi
}

# pack NAME: a fresh clone in a folder of its own, and the tarball of it.
pack() {
    git clone --quiet --no-hardlinks --no-checkout "$root" "$work/$1/source"
    git -C "$work/$1/source" checkout --quiet --detach "$commit"
    CARGO_TARGET_DIR=$work/$1/target "$work/$1/source/scripts/tarball.sh" "$work/$1/out"
}

# The cargo-c that Cargo.toml asks for, which stays where Cargo builds. Nobody waits for it: it is compiled without
# optimisation, in half the time.
install_cargo_c() {
    local tools wanted
    tools=$(cd "$root" && cargo metadata --locked --no-deps --format-version 1 | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')/tools
    wanted=$(sed -n 's/^min_version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    # cargo itself would compile it anew each time.
    if ! cargo install --list --root "$tools" | grep -F "cargo-c v$wanted+" >/dev/null; then
        RUSTFLAGS="" CARGO_PROFILE_RELEASE_OPT_LEVEL=0 cargo install --quiet --locked cargo-c --version "=$wanted" --bin cargo-cinstall \
            --root "$tools" --target-dir "$tools/cargo-c"
        rm -rf "$tools/cargo-c"
    fi
    export PATH=$tools/bin:$PATH
}

# The names of what is installed, and what kind each is. By cargo-c the CMake package lies elsewhere.
tree() { (cd "$1" && find . ! -type d -printf '%P %y\n' | sed 's:^share/cmake/:lib/cmake/:' | sort); }

# What pkg-config says, wherever the prefix is; without the libraries for static linking, of which cargo-c names more.
told() { PKG_CONFIG_PATH=$1/lib/pkgconfig pkg-config "${@:2}" gguffuse | sed "s:$1::g; s:/lib/pkgconfig/\.\./\.\.::g"; }

exported() { nm --defined-only --extern-only "${@:2}" "$1" 2>/dev/null | awk '$NF ~ /^gguffuse_/ { print $NF }' | sort -u; }

# What cargo-c installs is what install.sh installs: the same tree, the same names within, and programs work with it.
check_cargo_c() {
    local file option program
    diff <(tree "$work/prefix") <(tree "$1") || fail "cargo-c's tree is another"
    for file in include/gguffuse.h include/gguffuse.hpp share/doc/gguffuse/README.md; do
        cmp "$work/prefix/$file" "$1/$file" || fail "cargo-c's $file is another"
    done
    for file in gguffuse-config.cmake gguffuse-config-version.cmake; do
        cmp "$work/prefix/lib/cmake/gguffuse/$file" "$1/share/cmake/gguffuse/$file" || fail "cargo-c's $file is another"
    done
    [[ $(readlink -f "$1/lib/libgguffuse.so") == "$1/lib/libgguffuse.so.$version" ]] || fail "cargo-c's libgguffuse.so"
    [[ $(readlink -f "$1/lib/libgguffuse.so.0") == "$1/lib/libgguffuse.so.$version" ]] || fail "cargo-c's libgguffuse.so.0"
    readelf -d "$1/lib/libgguffuse.so" | grep 'SONAME.*\[libgguffuse\.so\.0\]' >/dev/null || fail "the SONAME with cargo-c"
    diff <(exported "$work/prefix/lib/libgguffuse.so" -D) <(exported "$1/lib/libgguffuse.so" -D) || fail "cargo-c's .so exports"
    diff <(exported "$work/prefix/lib/libgguffuse.a") <(exported "$1/lib/libgguffuse.a") || fail "cargo-c's .a exports"
    for option in --modversion --cflags --libs; do
        diff <(told "$work/prefix" "$option") <(told "$1" "$option") || fail "pkg-config $option with cargo-c"
    done
    make --silent -C "$consumers/install-pkgconfig" clean
    make --silent -C "$consumers/install-pkgconfig" PREFIX="$1"
    cmake -S "$consumers/install-cmake" -B "$work/cmake-cargo-c" -DCMAKE_PREFIX_PATH="$1" >"$work/cmake-cargo-c.log"
    cmake --build "$work/cmake-cargo-c" >>"$work/cmake-cargo-c.log"
    for program in checksum checksum-static checksum++; do
        checksum_of "cargo-c, make: $program" "$consumers/install-pkgconfig/$program"
        checksum_of "cargo-c, CMake: $program" "$work/cmake-cargo-c/$program"
    done
}

say "a fresh clone, packed, and installed into an empty prefix"
pack first
tarball=$(basename "$work"/first/out/*.tar.gz)
CARGO_TARGET_DIR=$work/first/target "$work/first/source/scripts/install.sh" --prefix "$work/prefix"
# As a distribution's packager does it: another place than the one where it will live, and a libdir with the machine's name.
libdir=lib/$(gcc -dumpmachine)
CARGO_TARGET_DIR=$work/first/target "$work/first/source/scripts/install.sh" --destdir "$work/package" --prefix /usr --libdir "$libdir"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$work/first/source/Cargo.toml" | head -n 1)
consumers=$work/consumers
cp -r "$work/first/source/examples" "$consumers"

say "the reference"
if (cd "$work/first/source" && mkdir -p target && doxygen docs/Doxyfile); then
    cp -r "$work/first/source/target/doxygen/html" "$work/reference"
    # A function of each kind: that it is documented, not only that nothing was warned of.
    for name in gguffuse_file_open gguffuse_matmul_rows gguffuse_writer_set_array; do
        grep -q "$name" "$work/reference/gguffuse_8h.html" || fail "the reference lacks $name"
    done
else
    fail "doxygen has something to say about gguffuse.h"
fi

say "what is in the prefix"
# Nothing but the prefix is left to compile against.
rm -rf "$work/first/source" "$work/first/target"
(cd "$work/prefix" && find . ! -type d -printf '%P %l\n' | sort)
[[ -f $work/prefix/lib/libgguffuse.so.$version ]] || fail "no shared library with the version in its name"

say "what the libraries export"
unwanted=$(nm -D --defined-only "$work/prefix/lib/libgguffuse.so" | awk '$NF !~ /^gguffuse_/')
[[ -z $unwanted ]] || fail "the shared library exports more than gguffuse_*: $unwanted"
readelf -d "$work/prefix/lib/libgguffuse.so" | grep 'SONAME.*\[libgguffuse\.so\.0\]' >/dev/null || fail "the SONAME"
leaks=$(strings "$work/prefix/lib/libgguffuse.so" | grep -c -F "$work" || true)
# Cargo.toml's profile has debug information, which install.sh takes out: no folder of this build is left.
((leaks == 0)) || fail "the shared library names the build's folder $leaks times"

say "the headers alone"
printf '#include <gguffuse.h>\n#include <gguffuse.h>\nint nothing_else;\n' >"$work/alone.c"
printf '#include <gguffuse.hpp>\n#include <gguffuse.hpp>\nint nothing_else;\n' >"$work/alone.cpp"
for compiler in gcc clang; do
    for standard in c99 c11 c17 c++11 c++14 c++17 c++20; do
        language=c
        [[ $standard != c++* ]] || language=c++
        "$compiler" -x "$language" "-std=$standard" "${strict[@]}" -fsyntax-only -I"$work/prefix/include" "$work/alone.c" ||
            fail "gguffuse.h as $standard with $compiler"
    done
    for standard in c++17 c++20; do
        for more in -fexceptions -fno-exceptions; do
            "$compiler" -x c++ "-std=$standard" "$more" "${strict[@]}" -Wconversion -fsyntax-only \
                -I"$work/prefix/include" "$work/alone.cpp" || fail "gguffuse.hpp as $standard, $more, with $compiler"
        done
    done
done
echo "gguffuse.h: C99, C11, C17, C++11, C++14, C++17, C++20; gguffuse.hpp: C++17, C++20; gcc and clang"

say "pkg-config and make"
for compilers in "gcc g++" "clang clang++"; do
    read -r cc cxx <<<"$compilers"
    make --silent -C "$consumers/install-pkgconfig" clean
    make --silent -C "$consumers/install-pkgconfig" PREFIX="$work/prefix" CC="$cc" CXX="$cxx" \
        CFLAGS="-O2 ${strict[*]}" CXXFLAGS="-O2 ${strict[*]}"
    for program in checksum checksum-static checksum++; do
        checksum_of "make, $cc: $program" "$consumers/install-pkgconfig/$program"
    done
done
# A program without any shared library, C's included.
gcc -static -std=c99 -I"$work/prefix/include" "$consumers/checksum/checksum.c" -o "$work/all-static" \
    $(PKG_CONFIG_PATH=$work/prefix/lib/pkgconfig pkg-config --static --libs gguffuse)
checksum_of "gcc -static" "$work/all-static"

say "CMake"
cmake -S "$consumers/install-cmake" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/cmake.log" || fail "cmake"
cmake --build "$work/cmake" >>"$work/cmake.log" || fail "cmake --build"
for program in checksum checksum-static checksum++; do
    checksum_of "CMake: $program" "$work/cmake/$program"
done
cmake -S "$consumers/install-cmake" -B "$work/cmake-package" -DCMAKE_PREFIX_PATH="$work/package/usr" >"$work/cmake-package.log"
cmake --build "$work/cmake-package" >>"$work/cmake-package.log" || fail "cmake --build with $libdir"
checksum_of "CMake, $libdir" "$work/cmake-package/checksum"
export PKG_CONFIG_PATH=$work/package/usr/$libdir/pkgconfig
gcc -std=c99 "$consumers/checksum/checksum.c" $(pkg-config --cflags --libs gguffuse) "-Wl,-rpath,$work/package/usr/$libdir" \
    -o "$work/packaged"
unset PKG_CONFIG_PATH
checksum_of "pkg-config, $libdir" "$work/packaged"
# A version that is not there yet is refused.
mkdir "$work/newer"
sed 's/find_package(gguffuse 0.1 REQUIRED)/find_package(gguffuse 0.999 REQUIRED)/' \
    "$consumers/install-cmake/CMakeLists.txt" >"$work/newer/CMakeLists.txt"
if cmake -S "$work/newer" -B "$work/cmake-newer" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/cmake-newer.log" 2>&1; then
    fail "CMake took this version for 0.999"
fi
grep -F 'compatible with requested version "0.999"' "$work/cmake-newer.log" >/dev/null || fail "CMake refused 0.999 for another reason"

say "the tarball, unpacked elsewhere"
mkdir "$work/elsewhere"
tar -C "$work/elsewhere" -xzf "$work/first/out/$tarball"
moved=$work/elsewhere/${tarball%.tar.gz}
make --silent -C "$consumers/install-pkgconfig" clean
make --silent -C "$consumers/install-pkgconfig" PREFIX="$moved"
checksum_of "tarball, make: checksum" "$consumers/install-pkgconfig/checksum"

say "every level that a cap can name"
for level in scalar avx2 avx512vnni; do
    checksum_of "capped at $level" env "GGUFFUSE_MAX_ISA=$level" "$consumers/install-pkgconfig/checksum"
done

say "another clone in another folder: the same tarball"
pack second/deeper
cmp "$work/first/out/$tarball" "$work/second/deeper/out/$tarball" || fail "the tarballs differ"

say "cargo cinstall"
install_cargo_c
(cd "$work/second/deeper/source" && CARGO_TARGET_DIR=$work/second/deeper/target cargo cinstall --release --locked \
    --prefix "$work/cargo-c" --libdir "$work/cargo-c/lib")
check_cargo_c "$work/cargo-c"

if ((failures)); then
    printf '%d checks failed\n' "$failures" >&2
    exit 1
fi
echo "all of it works"
