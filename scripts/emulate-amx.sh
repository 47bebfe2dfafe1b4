#!/usr/bin/env bash
# Runs the test of the AMX tile on a processor without AMX, its instructions played by a signal handler.
#
# usage: scripts/emulate-amx.sh
#
# What is around the tile is AVX-512's, which is not played: kernels_equal tests it where a processor has both.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
    "") ;;
    -h | --help) usage; exit 0 ;;
    *) usage_error "no arguments" ;;
esac
[ "$(uname -m)" = x86_64 ] || die "tiles are x86-64's"
played=$(target_dir)/emulate-amx.so
mkdir -p "$(target_dir)"
cc -O1 -Wall -Wextra -shared -fPIC -o "$played" "$ROOT/scripts/emulate-amx.c"
LD_PRELOAD=$played GOLDCREST_AMX_PLAYED=1 cargo test --release --manifest-path "$ROOT/Cargo.toml" --workspace --lib -- \
    --exact kernels::x86_64::amx::tests::a_tile_is_the_naive_product | tee "$(target_dir)/emulate-amx.log"
grep -q "1 passed" "$(target_dir)/emulate-amx.log" || die "no test was run"
