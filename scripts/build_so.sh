#!/usr/bin/env bash
# Builds a version of the logic and puts it in place for /load.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

usage="usage: build_so.sh [--dev] [--crate DIR] [--plugins DIR] [N] [NAME]
Builds the logic as version N and puts it into plugins/ as game.<version>.so and plugin<N>.so (the same file).
  N            1 to 999 stands for version 1000+N; from 1001 on it is the version itself.
               Without it: the version after the highest one in plugins/.
  NAME         what the logic calls itself, [A-Za-z0-9_-], at most 32; game<N> if not given
  --dev        quick build, slow game
  --crate DIR  builds the crate in this folder instead of logic/
  --plugins DIR  puts it there instead of plugins/
A version that is already there is replaced; an engine that runs it is not disturbed."

# The highest version in plugins/, 1000 if there is none.
highest_version() {
    local highest=1000 file version
    for file in "$plugins"/game.*.so; do
        version=${file##*/game.}
        version=${version%.so}
        if [[ $version =~ ^[1-9][0-9]{3,8}$ ]] && ((version > highest)); then
            highest=$version
        fi
    done
    echo "$highest"
}

profile=release
crate=$root/logic
plugins=$root/plugins
positional=()
while (($#)); do
    case $1 in
    --dev) profile=dev ;;
    --crate)
        (($# > 1)) || die "--crate needs a folder; see build_so.sh --help"
        crate=$(cd -- "$2" 2>/dev/null && pwd) || die "there is no folder '$2'"
        shift
        ;;
    --plugins)
        (($# > 1)) || die "--plugins needs a folder; see build_so.sh --help"
        plugins=$(cd -- "$2" 2>/dev/null && pwd) || die "there is no folder '$2'"
        shift
        ;;
    -h | --help) printf '%s\n' "$usage" && exit ;;
    -*) die "unknown option '$1'; see build_so.sh --help" ;;
    *) positional+=("$1") ;;
    esac
    shift
done
((${#positional[@]} <= 2)) || die "too many arguments; see build_so.sh --help"
[[ -f $crate/Cargo.toml ]] || die "there is no Cargo.toml in $crate"

if ((${#positional[@]})); then
    version=${positional[0]}
    [[ $version =~ ^[1-9][0-9]{0,8}$ && $version != 1000 ]] ||
        die "'$version' is no version: give a number from 1 to 999, or from 1001 to 999999999"
    ((version > 1000)) || version=$((version + 1000))
else
    version=$(($(highest_version) + 1))
fi
number=$((version - 1000))
name=${positional[1]:-game$number}
[[ $name =~ ^[A-Za-z0-9_-]{1,32}$ ]] ||
    die "'$name' is no name for a logic: use 1 to 32 of A-Z, a-z, 0-9, '_' and '-'"

need_toolchain
command -v sha256sum >/dev/null || die "sha256sum is missing: install coreutils"
enter_root
mkdir -p -- "$plugins"

# Two builds at once would take each other's artifact: cargo gives every version the same name.
mkdir -p -- "$root/plugins"
exec 9>"$root/plugins/.build_so.lock"
if command -v flock >/dev/null; then
    flock 9
fi

# Options after '--' concern this crate only, so that its dependencies are not built again for them. The linker derives
# the build id from the content: with it the engine knows which code has really answered.
options=(--manifest-path "$crate/Cargo.toml" --lib --crate-type cdylib --profile "$profile")
flags=(-C "link-arg=-Wl,--build-id=sha1")
if [[ $profile == release ]]; then
    # The standard library's debug information is ten times the size of the code.
    flags+=(-C strip=debuginfo)
fi
export HOTSEAT_LOGIC_VERSION=$version HOTSEAT_LOGIC_NAME=$name
# A compiler daemon that this may start must not inherit the lock.
artifact=$(built '\.so$' rustc "${options[@]}" -- "${flags[@]}" 9>&-) || die "the logic does not build, see above"
[[ -f $artifact ]] || die "cargo made no shared library from $crate: is it a library crate?"

# Never written over a file in use: prepared beside it, then renamed.
temporary=$(mktemp "$plugins/.build_so.XXXXXX")
trap 'rm -f -- "$temporary"' EXIT
cp -- "$artifact" "$temporary"
# The seal: docs are in engine/src/loader/seal.rs.
digest=$(sha256sum <"$temporary")
printf 'hotseat-seal:%s\n' "${digest%% *}" >>"$temporary"
chmod 644 -- "$temporary"
size=$(stat -c %s -- "$temporary")
mv -fT -- "$temporary" "$plugins/game.$version.so"

# The short name is the same file, not a symbolic link, which the engine refuses.
rm -f -- "$temporary"
ln -T -- "$plugins/game.$version.so" "$temporary" 2>/dev/null || cp -- "$plugins/game.$version.so" "$temporary"
mv -fT -- "$temporary" "$plugins/plugin$number.so"

shown=${plugins#"$root"/}
echo "built $shown/game.$version.so = $shown/plugin$number.so: version $version, name $name, $size bytes, in $(elapsed)"
