#!/usr/bin/env bash
# Runs the tests of the JavaScript client, and of the arena in a browser.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    printf '%s\n' "usage: test_js.sh [ARGUMENT...]" "Runs the tests of clients/js with Node 20 or later, against an engine that it builds, and, where Chromium" \
        "is installed, the arena in a browser. Arguments go to 'node --test'."
    exit
fi

node=$(command -v node) || {
    echo "JavaScript tests: left out, since Node is not installed"
    exit
}
major=$("$node" -p 'process.versions.node.split(".")[0]')
if ((major < 20)); then
    echo "JavaScript tests: left out, since Node 20 or later is needed and this is $major"
    exit
fi
options=(--test)
# Node 20 and 21 have a WebSocket, but not by default.
((major >= 22)) || options+=(--experimental-websocket)
command -v chromium chromium-browser google-chrome >/dev/null ||
    echo "the arena in a browser: left out, since Chromium is not installed"

need_toolchain
enter_root
HOTSEAT_ENGINE=$(built '/engine$' build -p engine --bin engine) || die "the engine does not build, see above"
export HOTSEAT_ENGINE
cd -- "$root/clients/js"
"$node" "${options[@]}" "$@"
if command -v tsc >/dev/null; then
    tsc --noEmit --strict --target es2022 --moduleResolution node --lib es2022,dom tests/types.ts
else
    echo "type declarations: not compiled, since tsc is not installed"
fi
