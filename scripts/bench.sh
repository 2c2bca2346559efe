#!/usr/bin/env bash
# Measures the bars of docs/performance.md and prints its table.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: bench.sh [GROUP...]
Measures each figure beside its plain counterpart, in one run, and prints the table of docs/performance.md. Takes some minutes;
progress goes to stderr. Leave the machine alone meanwhile.
  GROUP  only these: tables, callbacks, rewind, schema, journal, loads, http, sockets, durability;
         or of sockets only: echo, fan-out, idle, swaps; or of schema only: rewrites"

for word in "$@"; do
    case $word in
    tables | callbacks | rewind | schema | journal | loads | http | sockets | durability) ;;
    echo | fan-out | idle | swaps | rewrites) ;;
    -h | --help) printf '%s\n' "$usage" && exit ;;
    *) die "unknown group '$word'; see bench.sh --help" ;;
    esac
done

need_toolchain
enter_root
processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
printf '%s, %s cores, %s, %s\n\n' "${processor:-unknown processor}" "$(nproc)" "$(uname -sr)" "$(rustc --version)"
cargo bench --quiet --package engine --bench bars -- "$@"
