#!/usr/bin/env bash
# Makes a pristine Debian of a suite (bookworm, trixie), as a blank Raspberry Pi OS Lite has it but
# for amd64, unless it has been made, and prints its folder. What it holds is never written again:
# container.py lays another folder over it. It has no compiler, no pip and no venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh
# shellcheck source=deploy/debian.sh
source deploy/debian.sh

readonly PACKAGES=(
    alsa-utils ca-certificates dbus iproute2 kmod libasound2-plugins openssh-server procps python3
    sudo systemd systemd-sysv udev
)
readonly SLOW_UNITS=(
    apt-daily-upgrade.timer apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
    console-getty.service systemd-hwdb-update.service systemd-networkd-wait-online.service
    systemd-tmpfiles-clean.timer
)

# shellcheck disable=SC2317  # called by way of `make_once`
make_box() {
    local unit
    make_tree "$1" amd64 minbase tree -- "${PACKAGES[@]}"
    echo box >tree/etc/hostname
    printf '127.0.0.1 localhost box\n' >tree/etc/hosts
    for unit in "${SLOW_UNITS[@]}"; do ln -sf /dev/null "tree/etc/systemd/system/$unit"; done
    # As on Raspberry Pi OS: who owns the box, and the groups of its pins.
    chroot tree groupadd --system gpio
    chroot tree groupadd --system spi
    chroot tree useradd --create-home --shell /bin/bash --groups audio,gpio,spi,sudo maker
}

((EUID == 0)) || give_up "the lab's trees are made by root: run deploy/test.sh --lab as root"
make_once "box-$1" "$(declare -p PACKAGES SLOW_UNITS && declare -f make_box make_tree)" make_box "$1"
echo "$MADE/tree"
