#!/usr/bin/env bash
# Runs the blocks of commands in README.md, those fenced as ```sh, in order, each in a fresh bash that stops at the first
# failure, in a scratch copy of the tree. What a block prints has to hold every line of a block fenced as ```jsonl after it; a
# line may end in an ellipsis. Blocks fenced otherwise (```console) are for reading.
#
# usage: scripts/test-readme.sh [--list] [FILE]     default: README.md
#   --list   print the blocks, run nothing
#
# GOLDCREST_README_LIMIT bounds each block in seconds (default 900). The copy shares the target folder, so
# nothing is built twice. A line that calls scripts/test.sh is left out: that is what runs this.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

LIST=no
case ${1:-} in
-h | --help) usage; exit 0 ;;
--list) LIST=yes; shift ;;
-*) usage_error "unknown option $1" ;;
esac
FILE=${1:-$ROOT/README.md}
[ -r "$FILE" ] || die "$FILE is missing"

WORK=$(mktemp -d "${TMPDIR:-/tmp}/goldcrest-readme.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
# block N becomes $WORK/block.N: its line number first, then its text
awk -v out="$WORK/block." '
    /^```sh[ \t]*$/ && !inside { inside = 1; file = out sprintf("%02d", ++n); print "# line " NR > file; next }
    /^```jsonl[ \t]*$/ && !inside && n { inside = 1; file = file ".expected"; next }
    /^```/ && inside { inside = 0; close(file); next }
    inside { if ($0 ~ /scripts\/test\.sh/) print "# left out: " $0 > file; else print > file }
    END { if (inside) { print "a block is not closed" > "/dev/stderr"; exit 1 } }' "$FILE"
shopt -s nullglob
BLOCKS=("$WORK"/block.??)
[ ${#BLOCKS[@]} -gt 0 ] || die "$FILE has no block fenced as \`\`\`sh"

if [ $LIST = yes ]; then
    cat "${BLOCKS[@]}"
    exit 0
fi

TREE=$WORK/goldcrest
mkdir "$TREE"
(cd "$ROOT" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [ ! -e "$file" ] || printf '%s\0' "$file" # deleted, but not yet from the index
done | xargs -0 cp --parents --preserve=all -t "$TREE")
TARGET=$(target_dir)
mkdir -p "$TARGET"
ln -s "$TARGET" "$TREE/target"
# what was fetched before need not be fetched again
[ ! -e "$ROOT/base" ] || cp -rl "$ROOT/base" "$TREE/base" 2>/dev/null || cp -r "$ROOT/base" "$TREE/base"

for block in "${BLOCKS[@]}"; do
    where="$(basename "$FILE"), $(head -n 1 "$block" | cut -c3-)"
    say "$where:"
    sed 's/^/    /' <(tail -n +2 "$block") >&2
    start=$SECONDS
    status=0
    (cd "$TREE" && env -u CARGO_TARGET_DIR timeout "${GOLDCREST_README_LIMIT:-900}" bash -euo pipefail "$block" </dev/null) >"$block.out" || status=$?
    cat "$block.out"
    [ $status = 0 ] || die "$where failed with exit code $status$([ $status != 124 ] || echo ': not done in time')"
    [ ! -e "$block.expected" ] || while IFS= read -r line; do
        grep -qF -- "${line%…}" "$block.out" || die "$where did not print $line"
    done <"$block.expected"
    say "done in $((SECONDS - start)) s"
done
say "${#BLOCKS[@]} blocks ran"
