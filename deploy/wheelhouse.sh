#!/usr/bin/env bash
# Builds the wheels that a box is installed from, so that it needs neither compiler nor network:
#
#   deploy/wheelhouse.sh [--suite bookworm|trixie] [--arch arm64|amd64] [--extra NAME] [FOLDER]
#
# These words may be given more than once; without the first two the wheels are for both suites and
# arm64. An extra is one of pyproject.toml's. wheels.sh says what lies in FOLDER (dist/wheelhouse).
#
# It runs on any Debian, as root: the wheels are made in a tree of the very suite they are for, by
# its Python and against its libraries. On amd64 those for arm64 are built across: to pip and
# setuptools the tree is then an arm64 machine, so they choose its wheels, or make them. Trees and
# wheels are kept in the cache, under names made of what went into them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh
# shellcheck source=deploy/debian.sh
source deploy/debian.sh
# shellcheck source=deploy/wheels.sh
source deploy/wheels.sh

readonly CROSS_PACKAGES=(
    gcc-aarch64-linux-gnu libasound2-dev:arm64 libc6-dev-arm64-cross libpython3-dev:arm64
    libsystemd-dev:arm64
)
HOST=$(dpkg --print-architecture)
readonly HOST

# shellcheck disable=SC2317  # called by way of `make_once`
make_builder() {
    local suite=$1 architectures=$HOST packages=("${BUILD_PACKAGES[@]}")
    if [[ $HOST == amd64 ]]; then
        architectures=amd64,arm64
        packages+=("${CROSS_PACKAGES[@]}")
    fi
    make_tree "$suite" "$architectures" minbase tree -- "${packages[@]}"
}

# Sets IN_TREE: the words that run a program in a tree, with nothing of our own around it.
enter() {
    local tree=$1 INDEX
    find_index
    cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$tree/certificates.pem"
    cp -L /etc/resolv.conf /etc/hosts "$tree/etc/"
    IN_TREE=(
        chroot "$tree" env -i PATH=/usr/bin:/usr/sbin HOME=/root LANG=C.UTF-8
        PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
        SOURCE_DATE_EPOCH=1577836800  # 2020: the same files give the same wheel
        SSL_CERT_FILE=/certificates.pem PIP_CERT=/certificates.pem
        ${INDEX:+PIP_INDEX_URL="$INDEX"}
        ${https_proxy:+https_proxy="$https_proxy"} ${http_proxy:+http_proxy="$http_proxy"}
    )
}

# The wheels of others. Takes the builder, entries of the lock, and the architecture they are for.
# shellcheck disable=SC2317
make_theirs() {
    local builder=$1 wanted=$2 architecture=$3 top=$4 CROSS=() IN_TREE
    if [[ $architecture != "$HOST" ]]; then
        CROSS=(
            CC=aarch64-linux-gnu-gcc LDSHARED="aarch64-linux-gnu-gcc -shared"
            PKG_CONFIG_LIBDIR=/usr/lib/aarch64-linux-gnu/pkgconfig
            _PYTHON_HOST_PLATFORM=linux-aarch64
            _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__aarch64-linux-gnu
        )
    fi
    cp -a --reflink=auto "$builder" tree
    enter "$PWD/tree"
    local here=$PWD
    (cd "$top" && make_wheels "$here/tree" "$wanted" "${IN_TREE[@]}")
    mv tree/wheels .
    rm -rf tree
}

# Prints the version of Python that a suite has.
python_of() {
    case $1 in
        bookworm) echo 3.11 ;;
        trixie) echo 3.13 ;;
        *) give_up "knows bookworm and trixie, and no $1" ;;
    esac
}

# Adds to the wheels in FOLDER those of others. Takes suite, architecture and entries of the lock.
add_theirs() {
    local suite=$1 architecture=$2 wanted=$3 builder made_of
    say "wheels for $suite, $architecture"
    make_once "builder-$suite" "$(declare -p BUILD_PACKAGES CROSS_PACKAGES && declare -f \
        make_builder make_tree)" make_builder "$suite"
    builder=$MADE
    made_of=$wanted$(of_the_lock "${TOOLS[@]}")$builder$(declare -f make_theirs make_wheels enter)
    make_once "wheels-$suite-$architecture" "$made_of" \
        make_theirs "$builder/tree" "$wanted" "$architecture" "$PWD"
    # A pure one is there already, if it was made for another suite.
    cp --no-clobber "$MADE"/wheels/*.whl "$FOLDER/"
}

suites=() architectures=() FOLDER=dist/wheelhouse
while (($#)); do
    case $1 in
        --suite) suites+=("$2") && shift ;;
        --arch) architectures+=("$2") && shift ;;
        --extra) EXTRAS+=("$2") && shift ;;
        --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" && exit ;;
        -*) give_up "knows no $1; wanted --suite, --arch, --extra or a folder" ;;
        *) FOLDER=$1 ;;
    esac
    shift
done
if ((${#suites[@]} == 0)); then suites=(bookworm trixie); fi
if ((${#architectures[@]} == 0)); then architectures=(arm64); fi

look_at_the_machine
((EUID == 0)) || give_up "makes trees of Debian and enters them: run it as root"
if [[ $HOST == arm64 && " ${architectures[*]} " == *" amd64 "* ]]; then
    give_up "builds for amd64 on amd64 only"
fi
install_packages mmdebstrap ca-certificates python3 python3-venv
find_uv
rm -rf "$FOLDER"
mkdir -p "$FOLDER"
for suite in "${suites[@]}"; do
    version=$(python_of "$suite")
    wanted=$(wanted_for "$version")
    for architecture in "${architectures[@]}"; do
        add_theirs "$suite" "$architecture" "$wanted"
    done
done
quietly make_own_wheel "$FOLDER"
write_requirements "$FOLDER"
say "$FOLDER: $(find "$FOLDER" -name '*.whl' | wc -l) wheels, $(du -sh "$FOLDER" | cut -f 1)"
