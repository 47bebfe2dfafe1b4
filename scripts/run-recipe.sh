#!/usr/bin/env bash
# Runs a recipe of host/recipes, after everything that it needs: fetches its base model, and first runs the recipes whose
# models it starts from or learns from. What is finished already is reused.
#
# usage: scripts/run-recipe.sh [--list] NAME
#   --list   print the commands, run nothing
#
# The data sets are not part of the repository: docs/data.md says where the recipes look for them.
#
# examples:
#   scripts/run-recipe.sh trec6
#   scripts/run-recipe.sh --list sst2
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

LIST=no
case ${1:-} in
-h | --help) usage; exit 0 ;;
--list) LIST=yes; shift ;;
esac
[ $# = 1 ] || usage_error "one recipe has to be named"
recipes=$ROOT/host/recipes
[ -e "$recipes/$1.toml" ] || die "there is no recipe $1; there are $(cd "$recipes" && echo *.toml | sed 's/\.toml//g')"

commands=()
add() { # COMMAND, unless it is there already
    local command
    for command in "${commands[@]}"; do [ "$command" != "$1" ] || return 0; done
    commands+=("$1")
}

# What a recipe refers to, but for its own output: `base/NAME`, `runs/NAME/teacher` or `runs/NAME/FILE`.
references() { sed '/^output/d' "$recipes/$1.toml" | grep -oE '\.\./\.\./(base|runs)/[^"]+' | cut -c7- || true; }

plan() { # NAME COMMAND: train makes the teacher, run everything
    local reference name rest
    while IFS=/ read -r reference name rest; do
        case $reference/$name in
        base/all-mpnet-base-v2) add "scripts/fetch-base.sh --teacher" ;;
        base/*) add "scripts/fetch-base.sh" ;;
        runs/*) plan "$name" "$([[ $rest == teacher ]] && echo train || echo run)" ;;
        esac
    done < <(references "$1")
    add "target/release/goldcrest $2 host/recipes/$1.toml"
}
# what only teaches is not packed
plan "$1" "$([[ $1 == *-teacher || $1 == *-mpnet ]] && echo train || echo run)"

cd "$ROOT"
if [ $LIST = yes ]; then
    printf '%s\n' "${commands[@]}"
    exit 0
fi
[ -x target/release/goldcrest ] || die "target/release/goldcrest is missing: cargo build --release"
for command in "${commands[@]}"; do
    say "$command"
    # words without blanks
    # shellcheck disable=SC2086
    $command
done
