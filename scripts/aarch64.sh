# shellcheck shell=bash
# What scripts that compile for aarch64 share. Sourced after lib.sh, never run.

default() { [ -n "${!1:-}" ] || export "$1=$2"; } # export NAME=VALUE unless it is set

# use_gcc TRIPLE: names the compiler and linker for it, and installs them, unless others were said
use_gcc() {
    local name=${1//-/_}
    install_gcc "CARGO_TARGET_${name^^}_LINKER"
    default "CARGO_TARGET_${name^^}_LINKER" aarch64-linux-gnu-gcc
    default "CC_$name" aarch64-linux-gnu-gcc
    default "AR_$name" aarch64-linux-gnu-ar
}

install_gcc() { # LINKER-VARIABLE
    if [ -n "${!1:-}" ] || have aarch64-linux-gnu-gcc; then return; fi
    local packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
    if [ "$(id -u)" != 0 ] || ! have apt-get; then
        die "the ARM linker is missing. As root: apt-get install ${packages[*]}"
    fi
    say "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

# add_std TRIPLE: lets rustup fetch the target's standard library, unless a folder of Debian's toolchain is named
add_std() {
    [ -z "${GOLDCREST_AARCH64_TOOLCHAIN:-}${RUSTC:-}" ] && have rustup || return 1
    say "rustup target add $1"
    (cd "$ROOT" && timeout 180 rustup target add "$1") >/dev/null 2>&1 && has_std "$1"
}

# has_std TRIPLE: the toolchain that cargo will use brings the standard library for it
has_std() {
    local dir
    dir=$("${RUSTC:-rustc}" --print target-libdir --target "$1" 2>/dev/null) && compgen -G "$dir/libstd-*.rlib" >/dev/null
}
