# shellcheck shell=bash disable=SC2034  # some names are for those who source this
# The ground that try.sh, test.sh and lock.sh stand on: Debian 12 or 13, amd64 or arm64, from
# nothing to a `.venv` that holds exactly what requirements.lock names. Sourced, from the top of
# the repository.
#
# Each step looks before it acts and says in one line what it does, so a second run is silent and
# takes no time. The system's own Python packages are never touched (PEP 668): what is ours lies
# in `.venv`, and uv, where it is missing, in the user's cache.

readonly PYTHON=/usr/bin/python3  # Debian's: a box has no other, and its headers match
readonly LOCK=requirements.lock
readonly VENV=.venv
readonly UV_FLOOR=0.7.0  # the first that installs a dependency group with `uv pip`

# Two libraries come as source: pyalsaaudio and systemd-python. The plugins bring ALSA the pulse
# device and a resampler without aliases.
readonly RUN_PACKAGES=(
    ca-certificates gcc libasound2-dev libasound2-plugins libc6-dev libsystemd-dev pkg-config
    python3 python3-dev python3-venv
)
readonly TEST_PACKAGES=(alsa-utils git pulseaudio pulseaudio-utils shellcheck systemd)
# The emulated machine and the containers of tests/lab, and what their Debian is built with.
readonly LAB_PACKAGES=(
    cpio device-tree-compiler e2fsprogs iproute2 kmod mmdebstrap openssh-client qemu-system-arm
    qemu-user-static qemu-utils systemd-container util-linux xz-utils zstd
)

say() { printf '%s\n' "set-up: $*" >&2; }

give_up() {
    say "$*"
    exit 1
}

# Runs a command that has much to say; it is heard only when it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" </dev/null >"$log" 2>&1 || status=$?
    if ((status != 0)); then cat "$log" >&2; fi
    rm -f "$log"
    return "$status"
}

# shellcheck disable=SC2317  # called by way of `quietly`
apt_get() {
    local as_root=()
    if ((EUID != 0)); then as_root=(sudo); fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

look_at_the_machine() {
    command -v apt-get >/dev/null || give_up "this is not Debian: there is no apt-get"
    case $(dpkg --print-architecture) in
        amd64 | arm64) ;;
        *) give_up "needs a 64-bit system, amd64 or arm64; here: $(dpkg --print-architecture)" ;;
    esac
    if [[ -e $VENV && ! -O $VENV ]]; then
        give_up "$PWD/$VENV belongs to another user: remove it first"
    fi
}

# Takes the names of Debian packages; calls apt only if one of them is not there.
install_packages() {
    local package missing=()
    for package in "$@"; do
        if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
            missing+=("$package")
        fi
    done
    if ((${#missing[@]} == 0)); then return; fi
    if ((EUID != 0)) && ! command -v sudo >/dev/null; then
        give_up "needs root, or sudo, to install Debian packages: ${missing[*]}"
    fi
    say "installing Debian packages: ${missing[*]}"
    # One broken archive among several spoils the update, not yet the install.
    quietly apt_get update || say "apt-get update had faults (above); trying all the same"
    # A desktop's sound server must not be pushed out by ours: then apt refuses, in its own words.
    quietly apt_get install -y --no-install-recommends --no-remove "${missing[@]}"
}

check_python() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        give_up "needs Python 3.11, which comes with Debian 12; here: $("$PYTHON" --version)"
}

is_uv_good() {
    local version
    version=$("$1" --version 2>/dev/null) || return 1
    version=${version#uv }
    printf '%s\n' "$UV_FLOOR" "${version%% *}" | sort -VC
}

# Sets UV: the one on the PATH, or else one of our own, as the lock names it.
find_uv() {
    local house=${XDG_CACHE_HOME:-~/.cache}/voice-appliance/uv
    for UV in uv "$house/bin/uv"; do
        if is_uv_good "$UV"; then return; fi
    done
    say "installing uv into $house"
    rm -rf "$house"
    quietly "$PYTHON" -m venv "$house"
    # pip reads the lines of the lock that are uv's: its version and its hashes.
    awk '/^uv==/ { ours = 1 } ours { print } ours && !/\\$/ { exit }' "$LOCK" >"$house/uv.txt"
    quietly "$house/bin/pip" install --require-hashes --no-deps -r "$house/uv.txt"
}

# Sets INDEX: where this machine's Python packages come from; empty: from where they do anywhere.
find_index() {
    INDEX=$(sed -n 's/^ *index-url *= *//p' /etc/pip.conf ~/.config/pip/pip.conf 2>/dev/null |
        tail -n 1) || true # neither file need be there
    INDEX=${UV_DEFAULT_INDEX:-${UV_INDEX_URL:-${PIP_INDEX_URL:-$INDEX}}}
}

# uv as this machine wants it: it knows neither pip's index nor, in older versions, the
# certificates that the machine trusts.
run_uv() {
    local INDEX
    find_index
    env ${INDEX:+UV_DEFAULT_INDEX="$INDEX"} UV_PYTHON_DOWNLOADS=never \
        SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$UV" "$@"
}

# What a `.venv` was made of: it cannot be moved, nor outlive its Python or its lock.
name_the_venv() {
    { echo "$PWD" && "$PYTHON" --version && cat "$LOCK" pyproject.toml; } | sha256sum | cut -c 1-64
}

# Takes what the `.venv` is wanted for: `run`, or `test`, which includes it.
fill_the_venv() {
    local extent=$1 groups=() name stamp=$VENV/made-of made_of=""
    name=$(name_the_venv)
    if [[ -e $stamp ]]; then made_of=$(<"$stamp"); fi
    case $made_of in
        "$name $extent" | "$name test") return ;;
        "$name run") ;;
        *) rm -rf "$VENV" ;;
    esac
    find_uv
    if [[ ! -e $VENV ]]; then
        say "making $VENV with $("$PYTHON" --version)"
        quietly run_uv venv --python "$PYTHON" "$VENV"
    fi
    say "installing what $LOCK names, to $extent"
    if [[ $extent == test ]]; then groups=(--group test); fi
    local into=(--python "$VENV/bin/python" --constraints "$LOCK" --build-constraints "$LOCK")
    quietly run_uv pip install "${into[@]}" --require-hashes -r pyproject.toml "${groups[@]}"
    quietly run_uv pip install "${into[@]}" --no-deps --editable .
    echo "$name $extent" >"$stamp"
}
