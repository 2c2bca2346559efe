#!/usr/bin/env bash
# Kills an engine under load many times over, and fails if anything acknowledged is lost or doubled.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: kills.sh [N]
Kills a release build of the engine N times (1000 if not given) at random moments: in the middle of messages, requests, joins and
leaves, while a version is being loaded, confirmed or taken back, and in its starts; and starts it again each time. Players send
again what they do not know to be consumed, and the world counts; rooms that are never killed are given what they sent, and have
the same state hashes. The tests do so 50 times. HOTSEAT_SEED=S has the same moments again, as far as a real process can."

kills=${1:-1000}
if [[ $kills == -h || $kills == --help ]]; then
    printf '%s\n' "$usage"
    exit
fi
[[ $kills =~ ^[1-9][0-9]{0,8}$ ]] || die "'$kills' is no number of kills; see kills.sh --help"

need_toolchain
enter_root
HOTSEAT_KILLS=$kills cargo test --release -p engine --test live -- --exact --nocapture \
    kills::a_killed_engine_has_lost_nothing_and_doubled_nothing
echo "ended after $(elapsed)"
