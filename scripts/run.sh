#!/usr/bin/env bash
# Builds what is needed and runs the engine.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: run.sh [--dev] [ARGUMENT...]
Builds the engine, and the logic as version 1001 if plugins/ has none; then runs 'engine serve ARGUMENT...' in the
project's folder.
  --dev   quick builds, slow game"

profile=release
dev=()
case ${1:-} in
--dev)
    profile=dev
    dev=(--dev)
    shift
    ;;
-h | --help) printf '%s\n' "$usage" && exit ;;
esac

need_toolchain
enter_root
program=$(built '/engine$' build -p engine --bin engine --profile "$profile") || die "the engine does not build, see above"
if ! compgen -G 'plugins/*.so' >/dev/null; then
    scripts/build_so.sh ${dev[@]+"${dev[@]}"} 1
fi
exec "$program" serve "$@"
