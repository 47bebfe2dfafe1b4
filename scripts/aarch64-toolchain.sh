#!/usr/bin/env bash
# Assembles a Rust toolchain for aarch64-unknown-linux-gnu and -musl from Debian packages and prints its folder.
# For machines that cannot or should not use rustup's targets. scripts/cross-build.sh calls it when needed.
#
# usage: scripts/aarch64-toolchain.sh [DIR]   default: $XDG_CACHE_HOME/goldcrest/aarch64-toolchain (or ~/.cache/...)
#
# About 180 MB are downloaded (apt checks the signatures) and 650 MB unpacked; nothing is installed, no root is
# needed. Does nothing when DIR is complete; delete DIR to get a newer compiler.
#   DIR/bin/rustc, rustdoc   Debian's newest rustc, with the standard library for x86_64 and aarch64 glibc
#   DIR/usr/...              unpacked packages: library source (musl is built from it), musl, an unwinder
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
-h | --help) usage; exit 0 ;;
-*) usage_error "unknown option $1" ;;
esac
DIR=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/goldcrest/aarch64-toolchain}
[ "$(uname -sm)" = "Linux x86_64" ] || die "this makes a cross toolchain for x86_64 Linux, not $(uname -sm): use rustup's targets"

mkdir -p "$(dirname "$DIR")"
exec 9>"$DIR.lock"
flock 9 # two builds at the same time share one toolchain
if [ -e "$DIR" ]; then
    "$DIR/bin/rustc" --version >/dev/null || die "$DIR is not a working toolchain: delete it and try again"
    printf '%s\n' "$DIR"
    exit 0
fi
for tool in apt-get dpkg aarch64-linux-gnu-gcc; do
    have "$tool" || die "$tool is needed: on Debian or Ubuntu, apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
done

WORK=$(mktemp -d "$DIR.XXXXXX.tmp") # beside DIR, so that the rename at the end is atomic
trap 'rm -rf "$WORK"' EXIT

# Package lists for both architectures, apart from the machine's own apt state.
APT=$WORK/apt
mkdir -p "$APT"/{lists,cache/archives}/partial "$APT/deb"
cat >"$APT/apt.conf" <<CONF
Dir::State::lists "$APT/lists";
Dir::State::status "/dev/null";
Dir::Cache "$APT/cache";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
export APT_CONFIG=$APT/apt.conf

candidate() { apt-cache policy "$1" | awk '/Candidate:/ && $2 != "(none)" { print $2 }'; }

say "asking apt for rustc"
apt-get update -qq || say "some package lists could not be read; going on with the others"
VERSION=$(candidate rustc-web:amd64)
if [ -z "$VERSION" ]; then # Ubuntu, or a Debian without its security suite: ask Debian itself
    KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -e $KEYRING ] || die "your apt sources serve no rustc-web, and Debian's keys are not here: apt-get install debian-archive-keyring, or rustup target add aarch64-unknown-linux-musl"
    cat >"$APT/sources.list" <<LIST
deb [signed-by=$KEYRING] http://deb.debian.org/debian bookworm main
deb [signed-by=$KEYRING] http://deb.debian.org/debian-security bookworm-security main
LIST
    printf 'Dir::Etc::sourcelist "%s/sources.list";\nDir::Etc::sourceparts "-";\n' "$APT" >>"$APT/apt.conf"
    apt-get update -qq
    VERSION=$(candidate rustc-web:amd64)
    [ -n "$VERSION" ] || die "Debian serves no rustc-web any more: rustup target add aarch64-unknown-linux-musl"
fi

# Compiler, library and library source must be of one version; the suite moves on now and then.
SERIES=$(cut -d. -f1,2 <<<"$VERSION")
DEPENDS=$(apt-cache show "libstd-rust-web-$SERIES:amd64=$VERSION")
LLVM=$(grep -oE 'libllvm[0-9]+' <<<"$DEPENDS" | sort -u | tail -n 1)
Z3=$(apt-cache depends "$LLVM:amd64" | grep -oE 'libz3-[0-9]+' | sort -u || true)
UNWIND=$(apt-cache pkgnames libunwind- | grep -E '^libunwind-[0-9]+-dev$' | sort -V | tail -n 1)
say "downloading rustc-web $VERSION with $LLVM"
(
    cd "$APT/deb"
    apt-get download -qq "rustc-web:amd64=$VERSION" "libstd-rust-web-$SERIES:amd64=$VERSION" \
        "libstd-rust-web-dev:amd64=$VERSION" "libstd-rust-web-dev:arm64=$VERSION" "rust-web-src=$VERSION" \
        "$LLVM:amd64" ${Z3:+"$Z3:amd64"} musl-dev:arm64 "$UNWIND:arm64"
)
ROOTFS=$WORK/toolchain
mkdir "$ROOTFS"
for deb in "$APT"/deb/*.deb; do dpkg -x "$deb" "$ROOTFS"; done

# The compiler, with its libraries, wherever the folder lies.
mkdir "$ROOTFS/bin"
for tool in rustc rustdoc; do
    cat >"$ROOTFS/bin/$tool" <<SH
#!/bin/sh
usr=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")/usr
export LD_LIBRARY_PATH="\$usr/lib/x86_64-linux-gnu:\$usr/lib/llvm-${LLVM#libllvm}/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "\$usr/bin/$tool" "\$@"
SH
    chmod +x "$ROOTFS/bin/$tool"
done

# The library source where cargo's build-std looks for it (the package ships a link there).
LIB=$ROOTFS/usr/lib
rm -rf "$LIB/rustlib/src"
mkdir -p "$LIB/rustlib/src/rust"
mv "$ROOTFS"/usr/src/rustc-*/library "$LIB/rustlib/src/rust/library"
rm -rf "${ROOTFS:?}"/usr/{src,share}

# musl's start files, libc and the unwinder where rustc looks for those that it ships itself.
MUSL=$LIB/rustlib/aarch64-unknown-linux-musl/lib/self-contained
mkdir -p "$MUSL"
cp "$LIB"/aarch64-linux-musl/{crt1.o,Scrt1.o,rcrt1.o,crti.o,crtn.o,libc.a} "$MUSL/"
GCC=$(dirname "$(aarch64-linux-gnu-gcc -print-libgcc-file-name)")
cp "$GCC"/crt{begin,end}{,S}.o "$MUSL/"
cp "$LIB/llvm-$(tr -cd 0-9 <<<"$UNWIND")/lib/libunwind.a" "$MUSL/"
# Debian's unwinder was compiled against glibc with _FORTIFY_SOURCE and calls one function that musl lacks.
aarch64-linux-gnu-gcc -O2 -fno-stack-protector -c -x c - -o "$WORK/fortify.o" <<'C'
#include <stdarg.h>
extern int vfprintf(void *, const char *, va_list);
int __fprintf_chk(void *f, int flag, const char *fmt, ...) {
    va_list a;
    va_start(a, fmt);
    int r = vfprintf(f, fmt, a);
    va_end(a);
    return r;
}
C
aarch64-linux-gnu-ar r "$MUSL/libunwind.a" "$WORK/fortify.o"

GOT=$("$ROOTFS/bin/rustc" --version)
case $GOT in "rustc $SERIES."*) ;; *) die "unpacked $VERSION but the compiler says: $GOT" ;; esac
mv -T "$ROOTFS" "$DIR"
say "$GOT is in $DIR"
printf '%s\n' "$DIR"
