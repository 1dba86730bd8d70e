# shellcheck shell=bash
# Trees of Debian, of another suite or architecture than this machine's, made once and kept.
# Sourced after ground.sh. All packages come from where this machine's own come from.

readonly CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/voice-appliance
readonly KEPT_DAYS=14  # what nobody used for so long goes when another is made

# Takes a suite. Sets SOURCES: this machine's own, naming that suite in place of its own.
find_sources() {
    local suite=$1 codename file
    grep -qs '^ID=debian$' /etc/os-release || give_up "makes trees of Debian, on Debian only"
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        if grep -qs "^\(Suites:\|deb \).*\b$codename\b" "$file"; then
            SOURCES=$(sed "s/\b$codename\b/$suite/g" "$file")
            return
        fi
    done
    give_up "needs Debian's own package sources, and there is no debian.sources to be found"
}

# Takes suite, architectures, variant, folder, further options of mmdebstrap; then `--` and packages.
make_tree() {
    local suite=$1 architectures=$2 variant=$3 tree=$4 options=() packages SOURCES
    shift 4
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    packages=$(IFS=, && echo "$*")
    find_sources "$suite"
    mmdebstrap --quiet --mode=root --architectures="$architectures" --variant="$variant" \
        --include="$packages" --aptopt='Acquire::Retries "3"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "${options[@]}" "$suite" "$tree" - <<<"$SOURCES"
}

# Sets MADE to a folder of the cache that holds what a function makes in the folder it runs in; it
# is made if it has not been. Takes a name, a text that changes with all that goes into it, and the
# function with its words. The folder is made elsewhere and then renamed, so that what was
# interrupted is never taken for whole.
make_once() {
    local name=$1 recipe=$2 building turn
    shift 2
    MADE=$CACHE/$name-$(sha256sum <<<"$recipe" | cut -c 1-16)
    if [[ ! -e $MADE ]]; then
        mkdir -p "$CACHE"
        exec {turn}>"$CACHE/$name.turn"
        flock "$turn"
    fi
    if [[ ! -e $MADE ]]; then
        find "$CACHE" -mindepth 1 -maxdepth 1 -name "$name-building.*" -exec rm -rf {} +
        find "$CACHE" -mindepth 1 -maxdepth 1 -name "$name-*" -mtime "+$KEPT_DAYS" \
            -exec rm -rf {} +
        building=$(mktemp -d "$CACHE/$name-building.XXXXXX")
        chmod 755 "$building"
        # A job, so that it ends at its first fault whoever waits for it.
        { cd "$building" && "$@"; } </dev/null >"$building.log" 2>&1 &
        if ! wait $!; then
            cat "$building.log" >&2
            rm -rf "$building" "$building.log"
            give_up "$name could not be made: see above"
        fi
        rm "$building.log"
        mv -T "$building" "$MADE"
    fi
    touch "$MADE"
    if [[ -n ${turn-} ]]; then exec {turn}>&-; fi
}
