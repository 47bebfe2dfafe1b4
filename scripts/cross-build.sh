#!/usr/bin/env bash
# Builds goldcrest-edge for ARM boards (aarch64) on an x86-64 Debian or Ubuntu machine.
#
# usage: scripts/cross-build.sh [gnu|musl|all] [CARGO ARGUMENTS...]        default: all
#   musl   aarch64-unknown-linux-musl: one static file, runs on any 64-bit ARM Linux
#   gnu    aarch64-unknown-linux-gnu: uses the board's glibc (the version it needs is printed)
#
# The binary is left in target/<triple>/release/goldcrest-edge (or below $CARGO_TARGET_DIR).
# Takes your own Rust toolchain if it has the target, or if rustup can add it (rustup target add
# aarch64-unknown-linux-musl); otherwise unpacks Debian's into a cache folder, see scripts/aarch64-toolchain.sh
# ($GOLDCREST_AARCH64_TOOLCHAIN names another folder). The linker is aarch64-linux-gnu-gcc unless CARGO_TARGET_<TRIPLE>_LINKER says otherwise.
#
# examples:
#   scripts/cross-build.sh
#   scripts/cross-build.sh musl
#   scripts/cross-build.sh musl --no-default-features --features cli      # without the embedded model
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

libcs=(gnu musl)
case ${1:-} in
-h | --help) usage; exit 0 ;;
gnu | musl) libcs=("$1"); shift ;;
all) shift ;;
-* | '') ;;
*) usage_error "unknown target $1" ;;
esac

# Where no other linker was said.
install_gcc() { # TRIPLE
    local name=${1//-/_} linker
    linker=CARGO_TARGET_${name^^}_LINKER
    if [ -n "${!linker:-}" ] || have aarch64-linux-gnu-gcc; then return; fi
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

default() { [ -n "${!1:-}" ] || export "$1=$2"; } # export NAME=VALUE unless it is set

# What makes the binary small. What is not ours only loads, parses and plans, so it is built for size; our kernels,
# and the digest over a bundle, are built for speed.
small=(
    --config 'profile.release.lto="fat"'
    --config 'profile.release.codegen-units=1'
    --config 'profile.release.panic="abort"'
    --config 'profile.release.package."*".opt-level="z"'
    --config 'profile.release.package.sha2.opt-level=3'
)

build() { # LIBC CARGO-ARGUMENTS...
    local libc=$1 triple=aarch64-unknown-linux-$1 tool
    shift
    install_gcc "$triple"
    local name=${triple//-/_} cargo=(cargo build --release -p goldcrest-edge --bin goldcrest-edge --target "$triple")
    default "CARGO_TARGET_${name^^}_LINKER" aarch64-linux-gnu-gcc
    default "CC_$name" aarch64-linux-gnu-gcc
    default "AR_$name" aarch64-linux-gnu-ar
    if has_std "$triple" || add_std "$triple"; then
        say "$triple with $("${RUSTC:-rustc}" --version)"
    else
        tool=$("$ROOT/scripts/aarch64-toolchain.sh" ${GOLDCREST_AARCH64_TOOLCHAIN:+"$GOLDCREST_AARCH64_TOOLCHAIN"})
        export RUSTC=$tool/bin/rustc RUSTDOC=$tool/bin/rustdoc
        say "$triple with $("$RUSTC" --version)"
        if [ "$libc" = musl ]; then # Debian has no compiled library for musl: build it from its source
            export RUSTC_BOOTSTRAP=1
            cargo+=(-Z "build-std=std,panic_abort")
            default "CFLAGS_$name" "-U_FORTIFY_SOURCE -fno-stack-protector -isystem $tool/usr/include/aarch64-linux-musl"
        fi
    fi
    (cd "$ROOT" && CARGO_TARGET_DIR=$TARGET CARGO_PROFILE_RELEASE_STRIP=symbols "${cargo[@]}" "${small[@]}" "$@") || die "cargo failed for $triple"
    describe "$libc" "$TARGET/$triple/release/goldcrest-edge"
}

describe() { # LIBC FILE
    [ -s "$2" ] || die "$2 was not made"
    printf '%s\n  %s bytes\n' "$2" "$(stat -c %s "$2")"
    ! have file || printf '  %s\n' "$(file -b "$2")"
    have readelf || return 0
    local headers versions
    headers=$(readelf -lV "$2")
    case $1 in
    gnu)
        versions=$(grep -oE 'GLIBC_[0-9.]+' <<<"$headers" | sort -Vu | tail -n 1)
        printf '  needs glibc %s or newer\n' "${versions#GLIBC_}"
        ;;
    musl)
        ! grep -q INTERP <<<"$headers" || die "$2 is not static"
        printf '  static: needs no library of the board\n'
        ;;
    esac
}

have cargo || die "cargo is missing: https://rustup.rs"
TARGET=$(target_dir)
for libc in "${libcs[@]}"; do
    (build "$libc" "$@") # a subshell each: one target's environment must not reach the other
done
