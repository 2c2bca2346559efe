#!/usr/bin/env bash
# Loads two versions to and fro many times over, and fails if anything grows or a wrong version answers.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: loads.sh [N]
Runs N loads (10000 if not given) to and fro between two versions, against a release build of the engine. The tests run
the same with some hundred."

loads=${1:-10000}
if [[ $loads == -h || $loads == --help ]]; then
    printf '%s\n' "$usage"
    exit
fi
[[ $loads =~ ^[1-9][0-9]{0,8}$ ]] || die "'$loads' is no number of loads; see loads.sh --help"

need_toolchain
enter_root
HOTSEAT_LOADS=$loads cargo test --release -p engine --test live -- --exact --nocapture \
    bad_input::to_and_fro::loads_to_and_fro_leave_nothing_behind
echo "ended after $(elapsed)"
