#!/usr/bin/env bash
# Runs the tests of the AMX tile and of the AVX-VNNI kernels on a processor that has neither: a signal handler emulates their
# instructions.
#
# usage: scripts/emulate-x86.sh
#
# Needs AVX2. The code around the AMX tile uses AVX-512, which is not emulated: kernels_equal tests it on processors with both.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
    "") ;;
    -h | --help) usage; exit 0 ;;
    *) usage_error "no arguments" ;;
esac
[ "$(uname -m)" = x86_64 ] || die "these are instructions of x86-64"
grep -qw avx2 /proc/cpuinfo || { say "skipped: this processor has no AVX2"; exit 0; }
played=$(target_dir)/emulate-x86.so
mkdir -p "$(target_dir)"
cc -O1 -Wall -Wextra -shared -fPIC -o "$played" "$ROOT/scripts/emulate-x86.c"
LD_PRELOAD=$played GOLDCREST_EMULATED=1 cargo test --release --manifest-path "$ROOT/Cargo.toml" --workspace --lib -- \
    --exact kernels::x86_64::amx::tests::a_tile_is_the_naive_product kernels::tests::avx_vnni_equals_portable | tee "$(target_dir)/emulate-x86.log"
grep -q "2 passed" "$(target_dir)/emulate-x86.log" || die "not both tests were run"
