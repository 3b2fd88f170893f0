# For scripts that need unstable flags of the compiler, to be sourced: sets `toolchain` to the argument that makes cargo use a
# nightly toolchain where there is one, else the active one, which then is told to act as such.
if cargo +nightly --version >/dev/null 2>&1; then
    toolchain=+nightly
else
    toolchain=+$(rustup show active-toolchain | cut -d' ' -f1)
    export RUSTC_BOOTSTRAP=1
fi
