#!/usr/bin/env bash
# Runs all tests: of the Rust code, then of the JavaScript. Arguments go to 'cargo test'.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    printf '%s\n' "usage: test.sh [ARGUMENT...]" "Runs 'cargo test --workspace ARGUMENT...' and sums up the results." \
        "Without an argument it also runs the tests of the JavaScript client, where Node is installed."
    exit
fi

need_toolchain
enter_root
log=$(mktemp)
trap 'rm -f -- "$log"' EXIT
status=0
# No colours in the log, so that the results can be counted.
CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never} cargo test --workspace --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

awk '/^test result: / {
        for (i = 2; i < NF; i++) {
            if ($(i + 1) ~ /^passed/) passed += $i
            if ($(i + 1) ~ /^failed/) failed += $i
            if ($(i + 1) ~ /^ignored/) ignored += $i
        }
        runs++
    }
    END {
        printf "\ntests: %d passed, %d failed, %d ignored, in %d test programs\n", passed, failed, ignored, runs
        exit runs == 0
    }' "$log" || die "no test ran, see above"
(($#)) || scripts/test_js.sh || status=$?
exit "$status"
