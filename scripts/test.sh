#!/usr/bin/env bash
# Runs all tests, in an order that shares the builds, and stops at the first step that fails.
#
# usage: scripts/test.sh [STEP...]        default: all of them, in this order
#   format   cargo fmt --check, shellcheck
#   clippy   all targets and the documentation, warnings are errors
#   cross    the device binary for aarch64 (static musl), see scripts/cross-build.sh; the kernels' tests on aarch64, where
#            rustup has that target
#   test     cargo test --release --workspace, with ONNX Runtime from PyPI and, if it was built, the aarch64 binary under
#            qemu-user; the emulated AMX and AVX-VNNI kernels; scripts/check-tiles
#   python   the exported ONNX in onnx.checker and ONNX Runtime; checkpoints in Transformers where installed
#   readme   the blocks of commands in README.md
#
# A test that lacks a tool or a file prints "skipped: ..."; with the step `cross`, those of the aarch64 binary must not.
# GOLDCREST_PYTHON names a Python with torch and transformers for the step `python`.
#
# examples:
#   scripts/test.sh
#   scripts/test.sh cross test
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

step_format() {
    cargo fmt --all --check
    if have shellcheck; then
        shellcheck .ci/run scripts/*.sh scripts/check-bits
    else
        say "skipped: shellcheck is not installed"
    fi
}

step_clippy() {
    cargo clippy --release --workspace --all-targets --quiet -- -D warnings
    # what needs no operating system: tokenizer, kernels, decision, bundle
    cargo clippy --release --package goldcrest-edge --lib --no-default-features --quiet -- -D warnings
    # the device's program without its model, as scripts/cross-build.sh can build it, and the host's library without its
    # command line; all packages are named so that tract is not checked with other features once more
    cargo clippy --release --package goldcrest --package goldcrest-edge --package goldcrest-tests --no-default-features \
        --features goldcrest-edge/cli --quiet -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --workspace --quiet
}

step_cross() {
    scripts/cross-build.sh musl --quiet
    scripts/test-kernels-aarch64.sh
}

# venv: a Python with ONNX Runtime; 1 where pip brings none
venv() {
    local folder=$VENV
    [ ! -e "$folder/ready" ] || return 0
    say "making $folder"
    if ! { python3 -m venv "$folder" && "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -r scripts/requirements.txt; }; then
        rm -rf "$folder"
        say "skipped: pip brings no onnxruntime here"
        return 1
    fi
    touch "$folder/ready"
}

step_test() {
    local python=python3
    ! venv || python=$VENV/bin/python
    GOLDCREST_ONNXRUNTIME_PYTHON=$python cargo test --release --workspace
    # without std, whose arithmetic libm replaces
    cargo test --release --package goldcrest-edge --no-default-features --lib --test kernels_machines --quiet
    [ "$(uname -m)" != x86_64 ] || scripts/emulate-x86.sh
    scripts/check-tiles
}

step_python() {
    local python=$VENV/bin/python run=$TARGET/tmp/end_to_end
    [ -d "$run" ] || { say "skipped: no exported model, run the step test first"; return; }
    venv || return 0
    local bin=$TARGET/release texts=tests/data/messages.txt student=$run/out/student-2
    check_onnx() { # PRECISION OURS TOLERANCE
        "$python" scripts/check-onnx.py "$run/out/model.$1.onnx" "$student/tokenizer.json" "$texts" --max-tokens 48 --ours "$2" --tolerance "$3"
    }
    "$bin/goldcrest-edge" classify --bundle "$run/out/tiny.bundle" --format jsonl --logits <"$texts" >"$run/int8.jsonl"
    check_onnx int8 "$run/int8.jsonl" 0.01
    "$bin/goldcrest" predict "$student" --max-tokens 48 --logits <"$texts" >"$run/fp32.jsonl"
    check_onnx fp32 "$run/fp32.jsonl" 0.0001
    if [ -z "${GOLDCREST_PYTHON:-}" ]; then
        say "skipped: GOLDCREST_PYTHON names no Python with torch and transformers"
        return
    fi
    "$GOLDCREST_PYTHON" scripts/reference-forward.py --check
    local data=host/recipes/data/voice_commands.csv
    "$python" scripts/labelled.py $data | "$bin/goldcrest" predict "$student" --logits >"$run/voice.jsonl"
    "$GOLDCREST_PYTHON" scripts/check-transformers.py "$student" $data --ours "$run/voice.jsonl" --tolerance 0.0001
}

step_readme() { scripts/test-readme.sh; }

ALL=(format clippy cross test python readme)
[[ ${1:-} != -h && ${1:-} != --help ]] || { usage; exit 0; }
[ $# -gt 0 ] || set -- "${ALL[@]}"
for step in "$@"; do
    [[ " ${ALL[*]} " == *" $step "* ]] || usage_error "unknown step $step"
done
have cargo || die "cargo is missing: https://rustup.rs"
cd "$ROOT"
TARGET=$(target_dir)
VENV=$TARGET/venv-$(sha256sum scripts/requirements.txt | cut -c1-8)
export CARGO_TARGET_DIR=$TARGET
[[ " $* " != *" cross "* ]] || export GOLDCREST_REQUIRE=aarch64
times=()
finish() {
    local status=$?
    [ ${#times[@]} = 0 ] || say "times: ${times[*]}"
    [ $status = 0 ] || say "step $step FAILED with exit code $status"
}
trap finish EXIT
for step in "$@"; do
    say "== $step"
    start=$SECONDS
    "step_$step"
    times+=("$step $((SECONDS - start)) s;")
    say "== $step passed in $((SECONDS - start)) s"
done
say "all passed"
