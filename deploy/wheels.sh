# shellcheck shell=bash disable=SC2034  # some names are for those who source this
# Wheels of the appliance and of all that requirements.lock names for it: what an installation is
# made of, whether they were built elsewhere (wheelhouse.sh) or on the box (install.sh). Sourced
# after ground.sh, from the top of the repository.
#
# A wheelhouse is a folder that holds
#
#   *.whl             the wheels; for several Pythons and architectures, if need be
#   requirements.txt  each by name, version and the hashes of exactly these files, for pip
#   SHA256SUMS        of every file, pip's own wheel too, which is not installed but installs

EXTRAS=(pi)  # of pyproject.toml: what a box has besides; --extra adds to it
readonly TOOLS=(pip setuptools)  # build what names no tools of its own
readonly BUILD_PACKAGES=(
    ca-certificates gcc libasound2-dev libc6-dev libsystemd-dev make pkg-config python3-dev
    python3-pip python3-venv swig
)

# Prints those entries of the lock that are named, with their hashes.
of_the_lock() {
    local names=$*
    awk -v names="$names" '
        BEGIN { split(names, list, " "); for (i in list) wanted[list[i]] = 1 }
        /^[^ #]/ { split($0, it, "=="); ours = it[1] in wanted }
        ours' "$LOCK"
}

# Prints the entries of the lock for what a box has, by that version of Python.
wanted_for() {
    local version=$1 names extra options=()
    for extra in "${EXTRAS[@]}"; do options+=(--extra "$extra"); done
    names=$(run_uv pip compile --quiet --no-header --no-annotate --python-version "$version" \
        --python-platform aarch64-manylinux_2_36 --constraints "$LOCK" "${options[@]}" \
        pyproject.toml | sed -n 's/==.*//p')
    # shellcheck disable=SC2086  # names have no spaces
    of_the_lock $names
}

# Makes the wheels of what the lock names. Takes a folder to work in, which will hold them under
# wheels/, the entries of the lock, and the words that run a program where they are made: with `/`
# there being that folder, or with nothing for this very machine. What is set in CROSS, as
# variables for `env`, goes for these wheels only.
make_wheels() {
    local root=$1 wanted=$2 inside=$1
    local in_there=("${@:3}")
    if ((${#in_there[@]})); then inside=""; fi
    local pip=("$inside/tools/bin/python" -m pip)
    echo "$wanted" >"$root/wanted.txt"
    of_the_lock "${TOOLS[@]}" >"$root/tools.txt"
    of_the_lock pip >"$root/pip.txt"
    "${in_there[@]}" "$PYTHON" -m venv "$inside/tools"
    "${in_there[@]}" "${pip[@]}" install --require-hashes --no-deps -r "$inside/tools.txt"
    # PYPI: lgpio links its C library in, which Debian does not have. Without -g0 a wheel would hold
    # the name of the folder it was made in, and be another each time.
    "${in_there[@]}" env PYPI=1 CFLAGS=-g0 "${CROSS[@]}" "${pip[@]}" wheel --require-hashes --no-deps \
        --no-build-isolation --no-cache-dir -w "$inside/wheels" -r "$inside/wanted.txt"
    "${in_there[@]}" "${pip[@]}" download --require-hashes --no-deps \
        -d "$inside/wheels" -r "$inside/pip.txt"
}

# Makes our own wheel, in a folder.
make_own_wheel() {
    run_uv build --quiet --wheel --python "$PYTHON" --build-constraints "$LOCK" --require-hashes \
        --no-create-gitignore --out-dir "$1"
}

# Completes a folder of wheels.
write_requirements() {
    local folder=$1
    (
        cd "$folder" || exit
        sha256sum ./*.whl | sort -k 2 | awk '
            { split($2, it, "-"); name = substr(it[1], 3) "==" it[2] }
            name ~ /^pip==/ { next }
            name != last { printf "%s%s", last ? "\n" : "", name; last = name }
            { printf " \\\n    --hash=sha256:%s", $1 }
            END { print "" }' >requirements.txt
        sha256sum ./*.whl requirements.txt >SHA256SUMS
    )
}
