# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names are of, and for, those who source this
# Releases: made of a wheelhouse or of this checkout, and changed for one another. Sourced after
# box.sh and wheels.sh, by root, by whoever installs or updates.
#
#   releases/VERSION   whole when it has `made-of`, which says what it was made of; what a power cut
#                      leaves has none, or an empty one, and is made anew
#   current            leads to the one that runs
#   previous           leads to the one that ran before, for `update.sh --rollback`
#   bad/               a file for each that was tried and not kept, with the reason; named by what
#                      it was made of and by the settings that were tried with it, so that a mended
#                      build of the same version may come, and so may other settings
#
# A name of HOUSE is changed by rename(2), and the disk has it before the next step begins: so
# whatever is cut, a name leads to a whole release.

# ── making ────────────────────────────────────────────────────────────────────────────────────────

# Refuses a wheelhouse that did not arrive whole, or that is not for this machine.
check_wheelhouse() {
    local folder=$1 tag
    [[ -f $folder/SHA256SUMS ]] || give_up "$folder is no wheelhouse: deploy/wheelhouse.sh makes one"
    (cd "$folder" && quietly sha256sum --check --quiet SHA256SUMS) ||
        give_up "$folder did not arrive whole: copy it again"
    tag=$("$PYTHON" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
    compgen -G "$folder/pyalsaaudio-*-$tag-*_$(uname -m).whl" >/dev/null ||
        give_up "$folder has no wheels for $("$PYTHON" --version) on $(uname -m): see wheelhouse.sh"
}

# Prints the version of our own wheel in a wheelhouse.
version_of() {
    local wheels=("$1"/voice_appliance-*.whl)
    local version=${wheels[0]##*/voice_appliance-}
    echo "${version%%-*}"
}

# Prints what a release in this folder of releases was made of; nothing, if it is not whole.
made_of() { cat "$RELEASES/$1/made-of" 2>/dev/null || true; }

# Prints a short name for a text.
short_name() { sha256sum <<<"$1" | cut -c 1-8; }

# Sets RELEASE to the name that a release has, or will have: its version, or, where another of that
# version lies already, the version and what tells the two apart.
name_the_release() {
    local version=$1 made_of=$2 it
    for it in "$RELEASES"/*; do
        RELEASE=${it##*/}
        if [[ $(made_of "$RELEASE") == "$made_of" ]]; then return; fi
    done
    RELEASE=$version
    if [[ -n $(made_of "$version") ]]; then RELEASE=$version+$(short_name "$made_of"); fi
}

# Makes a release of a wheelhouse, unless it lies there whole. Nothing that runs is touched.
make_release() {
    local release=$1 made_of=$2 wheelhouse=$3 folder=$RELEASES/$1
    if [[ $(made_of "$release") == "$made_of" ]]; then return; fi
    remove_release "$release"
    mkdir -p "$RELEASES"
    quietly "$PYTHON" -m venv --without-pip "$folder"
    local pip=("$wheelhouse"/pip-*.whl)
    pip=("$folder/bin/python" -I "${pip[0]}/pip" --isolated)
    quietly "${pip[@]}" install --no-index --find-links "$wheelhouse" --no-cache-dir --no-compile \
        --disable-pip-version-check --root-user-action ignore --require-hashes \
        -r "$wheelhouse/requirements.txt"
    quietly "$folder/bin/python" -m compileall -q "$folder/lib"
    # What a power cut leaves has no `made-of`, or it has all.
    sync -f "$folder"
    echo "$made_of" >"$folder/made-of.new"
    mv -T "$folder/made-of.new" "$folder/made-of"
    sync -f "$folder"
    did "release $release lies in $folder"
}

# Sets wheelhouse, RELEASE and MADE_OF: what is to be installed, and what it is made of. Builds
# nothing that lies there already. Where there is nothing to make one of, `stay` means the one that
# runs; `anew` is refused then.
choose_release() {
    local python version
    python=$("$PYTHON" --version)
    if [[ -n $wheelhouse ]]; then
        check_wheelhouse "$wheelhouse"
        version=$(version_of "$wheelhouse")
        MADE_OF="$python, wheels $(sha256sum <"$wheelhouse/requirements.txt" | cut -c 1-64)"
        name_the_release "$version" "$MADE_OF"
        return
    fi
    if [[ ! -f pyproject.toml ]]; then
        RELEASE=$(basename "$(readlink "$CURRENT" || true)")
        MADE_OF=$(made_of "$RELEASE")
        [[ $1 == stay && -n $MADE_OF ]] ||
            give_up "this is no checkout: --wheelhouse FOLDER is wanted"
        return
    fi
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' appliance/__init__.py)
    MADE_OF="$python, with ${EXTRAS[*]}, source $(find appliance deploy systemd pyproject.toml "$LOCK" -type f \
        ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-64)"
    name_the_release "$version" "$MADE_OF"
    if [[ $(made_of "$RELEASE") != "$MADE_OF" ]]; then build_wheels; fi
}

build_wheels() {
    local CROSS=() version
    install_packages "${BUILD_PACKAGES[@]}"
    WORK=$(mktemp -d -p /var/tmp)  # /tmp may be in memory, of which a small board has little
    export XDG_CACHE_HOME=$WORK/cache  # nothing is to be left of it
    find_uv
    say "building the wheels; on a small board this takes some minutes"
    version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    quietly make_wheels "$WORK" "$(wanted_for "$version")"
    wheelhouse=$WORK/wheels
    quietly make_own_wheel "$wheelhouse"
    write_requirements "$wheelhouse"
}

# ── changing ──────────────────────────────────────────────────────────────────────────────────────

# Takes a name in HOUSE and a release: from now on the one leads to the other.
lead() {
    ln -sfn "releases/$2" "$HOUSE/$1.new"
    sync -f "$HOUSE"
    mv -T "$HOUSE/$1.new" "$HOUSE/$1"
    sync -f "$HOUSE"
}

# Prints the release that a name leads to; nothing, if there is none.
led_to() {
    local it
    it=$(readlink "$HOUSE/$1" || true)
    echo "${it##*/}"
}

# Makes a release the one that runs from the next start on. It and the one before it are kept.
switch_to() {
    local release=$1 before
    before=$(led_to current)
    if [[ $before == "$release" ]]; then return; fi
    [[ -n $(made_of "$release") ]] || give_up "release $release is not whole"
    if [[ -n $before ]]; then lead previous "$before"; fi
    lead current "$release"
    did "release $release is the current one${before:+, $before was}"
    remove_old
}

# What is half removed is not whole any more, also when the power is cut in between.
remove_release() {
    rm -f "$RELEASES/$1/made-of"
    if [[ -e $RELEASES/$1 ]]; then sync -f "$HOUSE"; fi
    rm -rf "${RELEASES:?}/$1"
}

# Removes the releases that no name leads to.
remove_old() {
    local it kept
    kept=" $(led_to current) $(led_to previous) $(led_to trial) "
    for it in "$RELEASES"/*; do
        if [[ -e $it && $kept != *" ${it##*/} "* ]]; then remove_release "${it##*/}"; fi
    done
}

# Prints the file that tells why what was tried was not kept, if it was not. Takes its name
# (settings.sh).
mark_of() { echo "$HOUSE/bad/$(short_name "$1")"; }
