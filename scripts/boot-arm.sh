#!/usr/bin/env bash
# Boots Debian's arm64 kernels, with pages of 4 and of 16 KiB (as on a Raspberry Pi 5), under qemu-system-aarch64 as four
# processors. In each of them the device's program has to take the kernels that the processor has, answer with the same bytes
# as on x86-64 (also on four threads), stay below the memory that `inspect` states, and run without /proc and /dev.
#
# usage: scripts/boot-arm.sh ARM-BINARY X86-BINARY BUNDLE...
#
# Needs qemu-system-arm, cpio, apt and Debian's keyring. Downloads some 135 MB into a cache folder, once
# ($GOLDCREST_ARM_KERNELS, default arm-kernels in the target folder). Not part of scripts/test.sh.
#
# example:
#   scripts/boot-arm.sh target/aarch64-unknown-linux-musl/release/goldcrest-edge target/release/goldcrest-edge models/commands/commands.bundle
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ ${1:-} != -h && ${1:-} != --help ]] || { usage; exit 0; }
[ $# -ge 3 ] || usage_error "two binaries and a bundle have to be named"
ARM=$(realpath "$1")
HOST=$(realpath "$2")
shift 2
for tool in qemu-system-aarch64 cpio apt-get dpkg-deb; do
    have $tool || die "$tool is needed: on Debian or Ubuntu, apt-get install qemu-system-arm cpio"
done
CACHE=${GOLDCREST_ARM_KERNELS:-$(target_dir)/arm-kernels}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/goldcrest-boot.XXXXXX")
trap 'rm -rf "$WORK"' EXIT

# Kernels and busybox, by a private apt that leaves the machine's own alone.
fetch() {
    local apt=$WORK/apt key=/usr/share/keyrings/debian-archive-keyring.gpg suite deb
    [ -e $key ] || die "Debian's keys are not here: apt-get install debian-archive-keyring"
    mkdir -p "$apt"/{lists,cache/archives}/partial "$apt/deb" "$apt/files"
    for suite in bookworm trixie; do
        echo "deb [arch=arm64 signed-by=$key] http://deb.debian.org/debian $suite main"
    done >"$apt/sources.list"
    cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$apt/lists";
Dir::State::status "/dev/null";
Dir::Cache "$apt/cache";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
CONF
    export APT_CONFIG=$apt/apt.conf
    say "downloading Debian's kernels"
    apt-get update -qq
    # of a package in a suite, the kernel that it depends on
    kernel() {
        local version
        version=$(apt-cache madison "$1" | awk -v suite="$2/" '$0 ~ suite { print $3; exit }')
        apt-cache show "$1=$version" | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p'
    }
    (cd "$apt/deb" && apt-get download -qq busybox-static/bookworm \
        "$(kernel linux-image-cloud-arm64 bookworm)" "$(kernel linux-image-arm64-16k trixie)")
    for deb in "$apt"/deb/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$apt/files" --wildcards './boot/vmlinuz*' './bin/busybox' './usr/bin/busybox' 2>/dev/null || true
    done
    mkdir -p "$CACHE"
    mv "$apt"/files/boot/vmlinuz-*16k "$CACHE/vmlinuz-16k"
    mv "$apt"/files/boot/vmlinuz-* "$CACHE/vmlinuz-4k"
    mv "$(find "$apt/files" -name busybox | head -n 1)" "$CACHE/busybox"
}
[ -e "$CACHE/busybox" ] || fetch

TREE=$WORK/tree
mkdir -p "$TREE"/{bin,proc,sys,dev,tmp,models,want,bare}
cp "$CACHE/busybox" "$TREE/bin/"
for name in sh mount umount cat grep cmp awk sleep wc mkfifo rm poweroff chroot; do ln -s busybox "$TREE/bin/$name"; done
cp "$ARM" "$TREE/goldcrest-edge"
ln "$TREE/goldcrest-edge" "$TREE/bare/goldcrest-edge"
cp "$@" "$TREE/models/"
{ awk 'NR % 4 == 1' "$ROOT/tests/data/messages.txt"; printf 'caf\xe9\n\0nul\0\n'; } >"$TREE/messages"
for bundle in "$@"; do
    "$HOST" -q --bundle "$bundle" --format jsonl --top 20 --logits "$TREE/messages" >"$TREE/want/$(basename "$bundle")"
done
cat >"$TREE/init" <<'INIT'
#!/bin/sh
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
edge=/goldcrest-edge
fail() { echo "FAIL: $*"; }
isa=$(grep -o 'isa=[^ ]*' /proc/cmdline); isa=${isa#isa=}
lines=$(wc -l < /messages)
for bundle in /models/*; do
    name=${bundle##*/}
    $edge verify --bundle $bundle || fail "verify $name"
    $edge inspect --bundle $bundle | grep -q "int8, $isa)" || fail "$name does not run on $isa"
    most=$($edge inspect --bundle $bundle | awk '/memory.peak_bytes/ { print int($2 / 1024) }')
    # its memory is read while it waits for more
    rm -f /tmp/in; mkfifo /tmp/in
    $edge -q --bundle $bundle --format jsonl --top 20 --logits < /tmp/in > /tmp/out & pid=$!
    exec 3> /tmp/in; cat /messages >&3
    waited=0; while [ $(wc -l < /tmp/out) -lt $lines ] && [ $waited -lt 300 ]; do sleep 0.2; waited=$((waited + 1)); done
    taken=$(awk '/^VmHWM/ { print $2 }' /proc/$pid/status)
    exec 3>&-; wait $pid || fail "exit code $?"
    cmp /tmp/out /want/$name || fail "other answers of $name"
    [ "$taken" -le "$most" ] || fail "$name takes $taken KiB, more than $most"
    $edge -q --threads 4 --bundle $bundle --format jsonl --top 20 --logits /messages > /tmp/out
    cmp /tmp/out /want/$name || fail "other answers of $name on four threads"
    echo "$name: $isa, $taken of at most $most KiB"
done
cat $bundle > /bare/bundle
echo hello > /bare/message; chroot /bare /goldcrest-edge -q --bundle bundle message || fail "without /dev and /proc"
umount /proc; echo hello | $edge -q --bundle $bundle || fail "without /proc"
echo COMPLETE
poweroff -f
INIT
chmod +x "$TREE/init"
(cd "$TREE" && find . | cpio -o -H newc --quiet) | gzip -1 >"$WORK/initrd"

failed=0
boot() { # PAGES CPU ISA
    say "$2, pages of $1"
    timeout 300 nice qemu-system-aarch64 -M virt -cpu "$2" -accel tcg,thread=multi -m 512 -smp 2 -nographic -no-reboot -nic none \
        -kernel "$CACHE/vmlinuz-$1" -initrd "$WORK/initrd" -append "console=ttyAMA0 quiet loglevel=3 panic=-1 isa=$3" \
        </dev/null 2>&1 | tr -d '\r' | tee "$WORK/log" | grep -v '^\[' || true
    if grep -q FAIL "$WORK/log" || ! grep -q COMPLETE "$WORK/log"; then
        say "FAILED: $2, pages of $1"
        failed=1
    fi
}
boot 4k cortex-a53 neon
boot 4k cortex-a72 neon
boot 16k cortex-a76 neon-dot
boot 16k max,sve=off,pauth-impdef=on neon-i8mm
[ $failed = 0 ] || exit 1
say "all passed"
