#!/usr/bin/env bash
# Runs the seeded simulations, of rooms with their journals and of rooms alone, for many seeds.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: simulate.sh [N]
Runs the simulations for N seeds (10000 if not given), from 0 on, each twice: rooms whose process is killed or ends by an input,
whose machine loses power and whose disk fails, and rooms alone. A seed that fails is named, with how to run it alone. The tests run 200."

seeds=${1:-10000}
if [[ $seeds == -h || $seeds == --help ]]; then
    printf '%s\n' "$usage"
    exit
fi
[[ $seeds =~ ^[1-9][0-9]{0,8}$ ]] || die "'$seeds' is no number of seeds; see simulate.sh --help"

need_toolchain
enter_root
export HOTSEAT_SEEDS=$seeds
# Logic that is told to panic, in what the simulation is for, is not to cost a stack trace.
export RUST_BACKTRACE=0
cargo test --release -p engine --test journal -- --exact --nocapture \
    simulation::rooms_agree_with_a_model_whatever_happens_to_them_and_their_disk
cargo test --release -p room --test proofs -- --exact --nocapture rooms::rooms_agree_with_a_model_without_faults
echo "ended after $(elapsed)"
