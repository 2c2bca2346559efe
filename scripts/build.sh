#!/usr/bin/env bash
# Builds the engine.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: build.sh [--dev]
Builds the engine, by default as it is to be run in production.
  --dev   quick build, slow engine"

profile=release
while (($#)); do
    case $1 in
    --dev) profile=dev ;;
    -h | --help) printf '%s\n' "$usage" && exit ;;
    *) die "unknown argument '$1'; see build.sh --help" ;;
    esac
    shift
done

need_toolchain
enter_root
program=$(built '/engine$' build -p engine --bin engine --profile "$profile") || die "the engine does not build, see above"
echo "built $program ($(stat -c %s "$program") bytes) in $(elapsed)"
