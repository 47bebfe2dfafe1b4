#!/usr/bin/env bash
# Builds goldcrest-edge for ARM boards (aarch64) on an x86-64 Debian or Ubuntu machine.
#
# usage: scripts/cross-build.sh [gnu|musl|all] [CARGO ARGUMENTS...]        default: all
#   musl   aarch64-unknown-linux-musl: one static file, runs on any 64-bit ARM Linux
#   gnu    aarch64-unknown-linux-gnu: uses the board's glibc (the version it needs is printed); not built by scripts/test.sh
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
# shellcheck source=scripts/aarch64.sh
. "$(dirname "${BASH_SOURCE[0]}")/aarch64.sh"

libcs=(gnu musl)
case ${1:-} in
-h | --help) usage; exit 0 ;;
gnu | musl) libcs=("$1"); shift ;;
all) shift ;;
-* | '') ;;
*) usage_error "unknown target $1" ;;
esac

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
    use_gcc "$triple"
    local name=${triple//-/_} cargo=(cargo build --release -p goldcrest-edge --bin goldcrest-edge --target "$triple")
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
