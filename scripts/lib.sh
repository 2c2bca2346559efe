# shellcheck shell=bash
# What the scripts share: where the project is, and whether this machine can build it. Sourced, never run.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

# Microseconds since 1970; the separator depends on the user's language.
now_us() {
    echo "${EPOCHREALTIME//[!0-9]/}"
}
started_us=$(now_us)

# How long the script has run, in seconds.
elapsed() {
    local ms=$((($(now_us) - started_us) / 1000))
    printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# Says why on one line and ends the script.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# Makes sure of a Rust toolchain that is new enough and of a C linker.
need_toolchain() {
    # Installed, but the shell that started us does not know of it yet: common right after installing it.
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    command -v cargo >/dev/null ||
        die "cargo is not installed: get Rust from https://rustup.rs (or your system's packages), then run this again"
    local found needed
    found=$(rustc --version 2>/dev/null) ||
        die "rustc does not run: choose a toolchain with 'rustup default stable', then run this again"
    found=$(sed -E 's/^rustc ([0-9]+\.[0-9]+).*/\1/' <<<"$found")
    needed=$(sed -nE 's/^rust-version = "([0-9]+\.[0-9]+).*/\1/p' "$root/Cargo.toml" | head -n 1)
    if [[ -n $needed && $(printf '%s\n' "$needed" "$found" | sort -V | head -n 1) != "$needed" ]]; then
        die "Rust $found is too old, $needed or later is needed: run 'rustup update stable', then run this again"
    fi
    if ! command -v cc >/dev/null && ! compgen -e | grep -q '^CARGO_TARGET_.*_LINKER$'; then
        die "no C linker (cc): install gcc or clang (on Debian and Ubuntu: apt install gcc libc6-dev), then run this again"
    fi
}

# Cargo runs in the project's folder, for its configuration; a relative target folder is meant from where the user is.
enter_root() {
    if [[ -n ${CARGO_TARGET_DIR:-} && $CARGO_TARGET_DIR != /* ]]; then
        export CARGO_TARGET_DIR=$PWD/$CARGO_TARGET_DIR
    fi
    cd -- "$root" || exit
}

# Runs a cargo command that builds and prints the path of the last artifact it made whose name matches a pattern. Cargo's
# own messages go to standard error.
built() {
    local pattern=$1 command=$2 messages
    shift 2
    messages=$(cargo "$command" --message-format=json-render-diagnostics "$@") || return 1
    grep '"reason":"compiler-artifact"' <<<"$messages" | grep -oE '"[^"]+"' | tr -d '"' | grep -E "$pattern" | tail -n 1
}
