#!/usr/bin/env bash
# Builds the emulated machine of the lab, unless it has been built, and prints its folder:
#
#   disk.qcow2 state.zst    Debian trixie for arm64, and its memory at the moment when all was ready
#   kernel initrd board.dtb what QEMU is given with them (hardware.py)
#   key                     lets ssh in as root
#   wheels/                 the libraries that requirements.lock names, for arm64 and Python 3.13
#   debian-amd64/           the same Debian for amd64, configured and pristine: boots in
#                           systemd-nspawn (with --volatile=overlay it stays so)
#
# The folder lies in the user's cache, under a name made of this recipe, the lock and QEMU's
# version; what it holds is never written again. It is made elsewhere and then renamed, so a build
# that was interrupted leaves nothing that could be taken for a machine.
#
# Maintainer scripts of arm64 packages would take nine minutes under emulation. So that tree is
# only unpacked, and borrows what they would have made from the amd64 tree, which is configured.
# All packages come from where this machine's own come from, of another suite.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh
# shellcheck source=deploy/debian.sh
source deploy/debian.sh

readonly SUITE=trixie
readonly LAB=tests/lab
readonly RECIPE=(
    "$LAB"/{build.sh,board.sh,prepare.sh,init.sh,gpio_sim_lab.c,hardware.py}
    deploy/{debian.sh,wheels.sh,wheelhouse.sh}
)
readonly MACHINES=$CACHE/lab

readonly COMMON=(
    alsa-utils ca-certificates dbus gpiod iproute2 kmod libasound2t64 libsystemd0 openssh-server
    procps python3 python3-venv systemd systemd-sysv udev
)
# What debootstrap would bring, by name: with --variant=extract nothing comes by itself.
readonly BASE=(
    base-files base-passwd bash coreutils dash debianutils diffutils findutils grep gzip hostname
    init-system-helpers libc-bin libpam-modules libpam-runtime login login.defs mount ncurses-base
    passwd sed sysvinit-utils tar util-linux
)
readonly BUILDER=(gcc gcc-14-aarch64-linux-gnu libc6-dev-arm64-cross make xz-utils)
# Of the kernel's modules, what this machine can have any use for.
readonly MODULES=(block char gpio net/virtio_net.ko.xz net/net_failover.ko.xz virtio)
readonly SLOW_UNITS=(
    apt-daily-upgrade.timer apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
    getty@tty1.service systemd-hwdb-update.service systemd-networkd-wait-online.service
    systemd-tmpfiles-clean.timer
)

name_the_machine() {
    { cat "${RECIPE[@]}" "$LOCK" && qemu-system-aarch64 --version; } | sha256sum | cut -c 1-16
}

# shellcheck disable=SC2317  # called by way of `steps`
make_amd64_tree() {
    local tree=debian-amd64 unit
    make_tree "$SUITE" amd64 minbase "$tree" -- "${COMMON[@]}"
    echo lab >"$tree/etc/hostname"
    printf '127.0.0.1 localhost lab\n' >"$tree/etc/hosts"
    install -D -m 600 key.pub "$tree/root/.ssh/authorized_keys"
    # No PAM: a login would wait for logind, which takes its time in the emulated machine.
    printf 'UsePAM no\nUseDNS no\nMaxSessions 100\n' >"$tree/etc/ssh/sshd_config.d/lab.conf"
    printf 'SUBSYSTEM=="gpio", KERNEL=="gpiochip*", GROUP="gpio", MODE="0660"\n' \
        >"$tree/etc/udev/rules.d/60-gpio.rules"
    chroot "$tree" groupadd --system gpio
    chroot "$tree" passwd -d root
    for unit in "${SLOW_UNITS[@]}"; do
        ln -sf /dev/null "$tree/etc/systemd/system/$unit"
    done
}

# shellcheck disable=SC2317
make_arm64_tree() {
    make_tree "$SUITE" arm64 extract debian-arm64 -- "${COMMON[@]}" "${BASE[@]}" linux-image-arm64
}

# The kernel's headers and source belong to the image that `make_arm64_tree` finds.
# shellcheck disable=SC2317
make_builder() {
    # shellcheck disable=SC2016  # mmdebstrap's shell
    make_tree "$SUITE" amd64,arm64 minbase builder --customize-hook='
        set -e
        cd "$1"
        export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
        kernel=$(apt-cache depends linux-image-arm64:arm64 |
            sed -n "s/.*Depends: linux-image-\(.*\)-arm64:arm64$/\1/p")
        apt-get download "linux-headers-$kernel-arm64:arm64" "linux-headers-$kernel-common" \
            "linux-kbuild-$kernel" "linux-source-$(echo "$kernel" | cut -d . -f 1,2)" \
            busybox-static:arm64
        for package in ./*.deb; do
            dpkg -x "$package" .
            rm "$package"
        done' -- "${BUILDER[@]}"
}

# What configuring the arm64 tree would have made is taken from the amd64 tree.
# shellcheck disable=SC2317
furnish_arm64_tree() {
    local from=debian-amd64 to=debian-arm64 folder name
    cp -a "$from/etc/." "$to/etc/"
    cp -a "$from/root/.ssh" "$to/root/"
    for folder in usr/bin usr/sbin; do
        find "$from/$folder" -type l -lname '/etc/alternatives/*' -printf '%f\n' |
            while read -r name; do cp -an "$from/$folder/$name" "$to/$folder/"; done
    done
    # Bytecode knows no architecture.
    (cd "$from" && find usr/lib/python3* -name __pycache__ -print0 |
        xargs -0 cp -a --parents -t "../$to")
    echo '/dev/vda / ext4 rw,noatime 0 0' >"$to/etc/fstab"
    printf '[Match]\nName=e*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' \
        >"$to/etc/systemd/network/10-lab.network"
    mkdir -p "$to/etc/systemd/system/multi-user.target.wants"
    ln -s /usr/lib/systemd/system/systemd-networkd.service \
        "$to/etc/systemd/system/multi-user.target.wants/"
    qemu-aarch64-static "$to/usr/sbin/ldconfig" -r "$to"
}

# shellcheck disable=SC2317
make_gpio_sim() {
    local work=builder/gpio-sim
    mkdir -p "$work"
    tar -C "$work" --wildcards --strip-components=3 -xJf builder/usr/src/linux-source-*.tar.xz \
        '*/drivers/gpio/gpio-sim.c' '*/kernel/irq/irq_sim.c'
    cp "$HERE/gpio_sim_lab.c" "$work/"
    echo 'obj-m := gpio_sim_lab.o' >"$work/Makefile"
    chroot builder make -C "/usr/src/linux-headers-$KERNEL" M=/gpio-sim ARCH=arm64 \
        CROSS_COMPILE=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc-14 \
        CONFIG_DEBUG_INFO_BTF_MODULES= modules
    install -D "$work/gpio_sim_lab.ko" -t "debian-arm64/usr/lib/modules/$KERNEL/updates"
}

# Leaves in wheels/ what the lock names, and in the arm64 tree a Python that has it. Our own wheel
# is not among them: what is tried is pushed into the machine.
# shellcheck disable=SC2317
make_python() {
    local python=debian-arm64/opt/python wheel
    "$TOP/deploy/wheelhouse.sh" --suite "$SUITE" --arch arm64 "$PWD/wheels"
    rm wheels/voice_appliance-*
    mkdir -p "$python/bin" "$python/lib/python3.13/site-packages"
    ln -s /usr/bin/python3 "$python/bin/python"
    printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.13\n' \
        >"$python/pyvenv.cfg"
    for wheel in wheels/[!p]*.whl wheels/p[!i]*.whl; do
        "$PYTHON" -m zipfile -e "$wheel" "$python/lib/python3.13/site-packages"
    done
}

# shellcheck disable=SC2317
make_initrd() {
    local name number=10 module
    mkdir -p initrd.d/{bin,dev,proc,sys,root,modules}
    cp builder/usr/bin/busybox initrd.d/bin/
    install "$HERE/init.sh" initrd.d/init
    for name in virtio_blk ext4; do
        modprobe -d debian-arm64 -S "$KERNEL" --show-depends "$name"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >initrd.modules
    while read -r module; do
        xz -dc "$module" >"initrd.d/modules/$number-$(basename "${module%.xz}")"
        number=$((number + 1))
    done <initrd.modules
    (cd initrd.d && find . | cpio -o -H newc --quiet) >initrd
    rm -r initrd.d initrd.modules
}

# Drops what no emulated machine of ours loads: the drivers of real hardware are 100 MB.
# shellcheck disable=SC2317
make_kernel() {
    local modules=debian-arm64/usr/lib/modules/$KERNEL
    local drivers=$modules/kernel/drivers
    mkdir "$drivers.kept"
    (cd "$drivers" && cp -a --parents "${MODULES[@]}" "$OLDPWD/$drivers.kept")
    rm -r "$drivers"
    mv "$drivers.kept" "$drivers"
    depmod -b debian-arm64 "$KERNEL"
    make_initrd
    mv "debian-arm64/boot/vmlinuz-$KERNEL" kernel
    rm -rf debian-arm64/boot/* debian-arm64/usr/lib/linux-image-*  # other boards' device trees
}

# A device tree that says what gpiozero wants to read, and has no pins beside the simulated ones.
# shellcheck disable=SC2317
make_board() {
    (cd "$TOP" && "$PYTHON" -m tests.lab.hardware "$OLDPWD/board.dtb")
    fdtput -c board.dtb /system
    fdtput -t x board.dtb /system linux,revision c03111
    fdtput -t s board.dtb / model 'Raspberry Pi 4 Model B Rev 1.1'
    fdtput -t s board.dtb /pl061@9030000 status disabled
    fdtput -t s board.dtb /gpio-keys status disabled
}

# shellcheck disable=SC2317
keep_the_machine() {
    local machine=$PWD
    cd "$TOP"
    "$PYTHON" -m tests.lab.machine "$machine"
}

# shellcheck disable=SC2317
make_disk() {
    mke2fs -q -t ext4 -d debian-arm64 disk.raw 2G
    qemu-img convert -O qcow2 disk.raw disk.qcow2
    rm disk.raw
}

# Runs steps beside each other. Each is a job, so that it ends at its first fault, which is heard,
# and a group of processes, so that it can be ended whole.
steps() {
    local step job jobs=()
    set -m
    for step in "$@"; do
        "$step" </dev/null >"$step.log" 2>&1 &
        jobs+=("$step $!")
    done
    set +m
    for job in "${jobs[@]}"; do
        if ! wait "${job#* }"; then
            cat "${job% *}.log" >&2
            give_up "the lab's machine could not be built: see above"
        fi
    done
}

# In the folder where it is made.
build() {
    ssh-keygen -q -t ed25519 -N '' -C lab -f key
    say "lab: unpacking Debian $SUITE for arm64 and amd64, and the tools to build for it"
    steps make_amd64_tree make_arm64_tree make_builder
    KERNEL=$(ls debian-arm64/usr/lib/modules)
    say "lab: building what $LOCK names, for arm64, and pins for Linux $KERNEL"
    steps furnish_arm64_tree make_gpio_sim make_python
    say "lab: writing the disk"
    steps make_kernel make_board
    steps make_disk
    say "lab: starting the machine, to keep it as it is when it is ready"
    steps keep_the_machine
    rm -rf builder debian-arm64 key.pub ./*.log
}

clean_up() {
    local job
    for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done
    wait
    rm -rf "$BUILDING"
}

TOP=$PWD
HERE=$PWD/$LAB
MACHINE=$MACHINES/$(name_the_machine)
if [[ ! -e $MACHINE ]]; then
    ((EUID == 0)) || give_up "the lab's machine is built by root: run deploy/test.sh --lab as root"
    [[ $(dpkg --print-architecture) == amd64 ]] || give_up "the lab's machine is built on amd64"
    mkdir -p "$MACHINES"
    exec {turn}>"$MACHINES/lock"
    flock "$turn"
fi
if [[ ! -e $MACHINE ]]; then
    find "$MACHINES" -mindepth 1 -maxdepth 1 -name 'building.*' -exec rm -rf {} +
    find "$MACHINES" -mindepth 1 -maxdepth 1 -type d -mtime "+$KEPT_DAYS" -exec rm -rf {} +
    BUILDING=$(mktemp -d "$MACHINES/building.XXXXXX")
    trap clean_up EXIT
    trap 'exit 1' INT TERM
    cd "$BUILDING"
    build
    mv -T "$BUILDING" "$MACHINE"
fi
touch "$MACHINE"
echo "$MACHINE"
