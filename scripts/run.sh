#!/usr/bin/env bash
# Builds what is needed and runs the engine.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: run.sh [--dev] [ARGUMENT...]
Builds the engine, and the logic as version 1001 if plugins/ (or the folder given by --plugins) has no game.<N>.so; then
runs 'engine serve ARGUMENT...' in the project's folder.
  --dev   runs 'engine dev ARGUMENT...' instead: each change in logic/ is built and swapped in while it serves"

profile=release
dev=
case ${1:-} in
--dev)
    profile=dev
    dev=1
    shift
    ;;
-h | --help) printf '%s\n' "$usage" && exit ;;
esac

# Where the engine is going to look.
plugins=plugins
previous=
for argument; do
    case $argument in
    --plugins=*) plugins=${argument#*=} ;;
    esac
    if [[ $previous == --plugins ]]; then
        plugins=$argument
    fi
    previous=$argument
done

need_toolchain
enter_root
program=$(built '/engine$' build -p engine --bin engine --profile "$profile") || die "the engine does not build, see above"
if [[ -n $dev ]]; then
    exec "$program" dev "$@"
fi
numbered=("$plugins"/game.[1-9]*.so)
# A folder that is not there is for the engine to tell, and not to be made of a slip of the pen.
if [[ -d $plugins && ! -e ${numbered[0]} ]]; then
    scripts/build_so.sh --plugins "$plugins" 1
fi
exec "$program" serve "$@"
