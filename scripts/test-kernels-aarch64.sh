#!/usr/bin/env bash
# Compares the NEON kernels with the portable ones, over all shapes and extreme values of the kernel tests, under qemu-user as
# several processors. Also runs clippy over the code for aarch64. Builds no tract.
#
# usage: scripts/test-kernels-aarch64.sh [CPU...]        default: cortex-a53 cortex-a72 cortex-a76 max
#
# Needs qemu-aarch64, aarch64-linux-gnu-gcc (installed when run as root), and a Rust toolchain that has or can add the target
# aarch64-unknown-linux-musl. Skips without that target or qemu; without qemu it fails if GOLDCREST_REQUIRE is set. (Debian's
# toolchain, which cross-build.sh falls back to, has no library to link tests with.)
#
# example:
#   scripts/test-kernels-aarch64.sh cortex-a72
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/aarch64.sh
. "$(dirname "${BASH_SOURCE[0]}")/aarch64.sh"

[[ ${1:-} != -* ]] || { usage; exit 0; }
[ $# -gt 0 ] || set -- cortex-a53 cortex-a72 cortex-a76 max
triple=aarch64-unknown-linux-musl
if ! have qemu-aarch64; then
    [ -z "${GOLDCREST_REQUIRE:-}" ] || die "must run here, but qemu-aarch64 is missing: apt-get install qemu-user"
    say "skipped: qemu-aarch64 is missing: apt-get install qemu-user"
    exit 0
fi
has_std $triple || add_std $triple || { say "skipped: rustup brings no $triple here"; exit 0; }
use_gcc $triple
cd "$ROOT"
CARGO_TARGET_DIR=$(target_dir)
export CARGO_TARGET_DIR
edge=(--release --package goldcrest-edge --no-default-features --features std --target "$triple" --quiet)
cargo clippy "${edge[@]}" --lib -- -D warnings
tests=(--lib)
for file in edge/tests/kernels_*.rs; do tests+=(--test "$(basename "$file" .rs)"); done
for cpu in "$@"; do
    say "kernel tests as $cpu"
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER="timeout 600 qemu-aarch64 -cpu $cpu" cargo test "${edge[@]}" "${tests[@]}"
done
