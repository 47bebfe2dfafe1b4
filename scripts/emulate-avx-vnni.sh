#!/usr/bin/env bash
# Runs the kernel tests on an emulated processor with AVX-VNNI, which few have.
#
# usage: scripts/emulate-avx-vnni.sh
#
# Bochs emulates the processor (3.0 or later: Debian 13), Linux boots in it from a CD image with the tests as its only
# program: a minute or two once the tests are built. Needs bochs and bochs-term, isolinux, syslinux-common, xorriso, cpio, busybox-static, script (bsdutils),
# and a kernel with a driver for the serial port built in (linux-image-cloud-amd64), named by KERNEL or the newest in /boot.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
    "") ;;
    -h | --help) usage; exit 0 ;;
    *) usage_error "no arguments" ;;
esac
# Linux does not come up on the models that have it, and Haswell has no bit to say so: detection is compiled in
model="corei7_haswell_4770, add_features=\"avx_vnni\""
flags="-C target-feature=+avx2,+fma,+avxvnni"
kernel=${KERNEL:-}
for file in /boot/vmlinuz-*; do
    if [ -z "${KERNEL:-}" ] && [ "$file" -nt "$kernel" ]; then kernel=$file; fi
done
for file in "$kernel" /bin/busybox /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32; do
    [ -f "$file" ] || die "no ${file:-kernel}: --help says what to install"
done

target=$(target_dir)/emulated
triple=x86_64-unknown-linux-gnu
CARGO_TARGET_DIR=$target RUSTFLAGS=$flags cargo test --quiet --release --manifest-path "$ROOT/Cargo.toml" -p goldcrest-edge \
    --no-default-features --features std --target $triple --test kernels_equal --test kernels_machines --no-run

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
system=$work/system disc=$work/disc
mkdir -p "$system/bin" "$system/dev" "$system/proc" "$disc/isolinux"
cp /bin/busybox "$system/bin/"
ln -s busybox "$system/bin/sh"
for test in kernels_equal kernels_machines; do
    for file in "$target/$triple/release/deps/$test"-*; do
        if [ -x "$file" ] && [ "$file" -nt "$system/$test" ]; then cp -p "$file" "$system/$test"; fi
    done
    strip "$system/$test"
    for library in $(ldd "$system/$test" | grep -o '/[^ ]*\.so[^ ]*'); do
        mkdir -p "$system$(dirname "$library")"
        cp -L "$library" "$system$library"
    done
done
cat > "$system/init" <<END
#!/bin/sh
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
exec > /dev/ttyS0 2>&1 < /dev/null
export RUST_TEST_THREADS=1 PROPTEST_CASES=16
/kernels_machines --nocapture && /kernels_equal --nocapture && echo "emulated: all equal"
echo "emulated: end"
busybox poweroff -f
END
chmod +x "$system/init"
(cd "$system" && find . | cpio --quiet -o -H newc | gzip -1) > "$disc/system.gz"
cp "$kernel" "$disc/linux"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$disc/isolinux/"
cat > "$disc/isolinux/isolinux.cfg" <<END
DEFAULT tests
LABEL tests
  KERNEL /linux
  APPEND initrd=/system.gz console=ttyS0,115200n8 quiet mitigations=off nokaslr nosmp idle=poll apparmor=0
END
xorriso -report_about SORRY -as mkisofs -o "$work/disc.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
    -boot-load-size 4 -boot-info-table "$disc"
share=${BXSHARE:-/usr/share/bochs}
cat > "$work/bochsrc" <<END
config_interface: textconfig
display_library: term
romimage: file=$share/BIOS-bochs-latest
vgaromimage: file=${VGABIOS:-/usr/share/vgabios/vgabios-stdvga.bin}
cpu: model=$model, count=1, ips=50000000
memory: guest=512, host=512
boot: cdrom
ata0-master: type=cdrom, path=$work/disc.iso, status=inserted
com1: enabled=1, mode=file, dev=$work/serial
clock: sync=none
log: $work/log
panic: action=fatal
END
# the display wants a terminal
TERM=vt100 timeout 1200 script -qec "${BOCHS:-bochs} -q -f $work/bochsrc" /dev/null > "$work/screen" 2>&1 < /dev/null || true
cat "$work/serial" 2>/dev/null || { tail -n 5 "$work/screen"; exit 1; }
grep -q 'available:.*"avx-vnni"' "$work/serial" && grep -q "emulated: all equal" "$work/serial"
