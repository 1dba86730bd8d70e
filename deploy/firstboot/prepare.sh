#!/usr/bin/env bash
# Prepares a freshly written card, so that the box sets itself up at its first start:
#
#   deploy/firstboot/prepare.sh BOOT_FOLDER [ROOT_FOLDER] [--config FILE] [--key-file FILE]
#
#     BOOT_FOLDER        where the card's first partition is mounted (bootfs)
#     ROOT_FOLDER        its second, where that can be mounted (Linux): then nothing is left to
#                        cloud-init or the kernel's command line
#     --config FILE      the settings, as voice-appliance.toml; or put them there yourself
#     --key-file FILE    the key, as deepgram-api-key.txt; it is overwritten there when it was taken
#     --wheelhouse DIR   made by deploy/wheelhouse.sh; without, it is built for arm64 and the card's
#                        suite (Debian and root)
#
# Write the image with Raspberry Pi Imager first, and let it make the user and the Wi-Fi. It may be
# run again; nothing on the card is changed but what it names. Without ROOT_FOLDER the image starts
# us by cloud-init, if it has that (trixie), or as Imager starts its own script (bookworm).
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh

readonly NAME=voice-appliance
readonly FIRST=deploy/firstboot
readonly RUN_ONCE="systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot \
systemd.unit=kernel-command-line.target"  # Imager's; the image knows what to make of /boot

BOOT="" ROOT="" NEW_CONFIG="" KEY_FILE="" WHEELHOUSE=""

read_words() {
    while (($#)); do
        case $1 in
            --config) NEW_CONFIG=$(realpath -e "$2") && shift ;;
            --key-file) KEY_FILE=$(realpath -e "$2") && shift ;;
            --wheelhouse) WHEELHOUSE=$(realpath -e "$2") && shift ;;
            --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
            -*) give_up "knows no $1; see --help" ;;
            *)
                [[ -z $ROOT ]] || give_up "wanted BOOT_FOLDER and ROOT_FOLDER, and then there is $1"
                if [[ -z $BOOT ]]; then BOOT=$(realpath -e "$1"); else ROOT=$(realpath -e "$1"); fi
                ;;
        esac
        shift
    done
    [[ -n $BOOT ]] || give_up "wanted the folder of the card's first partition; see --help"
    [[ -e $BOOT/config.txt && -e $BOOT/cmdline.txt ]] ||
        give_up "$BOOT is no Raspberry Pi's first partition: no config.txt and cmdline.txt there"
    [[ -z $ROOT || -e $ROOT/etc/os-release ]] || give_up "$ROOT is no system's second partition"
}

has_cloud_init() { [[ -e $BOOT/user-data || -e $BOOT/meta-data ]]; }

# Sets SUITE.
find_suite() {
    if [[ -n $ROOT ]]; then
        SUITE=$(sed -n 's/^VERSION_CODENAME=//p' "$ROOT/etc/os-release")
    elif has_cloud_init; then
        SUITE=trixie
    else
        SUITE=bookworm
    fi
}

copy_payload() {
    local words=(--suite "$SUITE" --arch arm64)
    if [[ -n $WHEELHOUSE ]]; then words=(--wheelhouse "$WHEELHOUSE"); fi
    mkdir -p "$BOOT/$NAME"
    ./deploy/payload.sh "$BOOT/$NAME/payload.tar" "${words[@]}"
    (cd "$BOOT/$NAME" && sha256sum payload.tar >payload.tar.sha256)
    cp "$FIRST/firstboot.sh" "$FIRST/$NAME-firstboot.service" "$BOOT/$NAME/"
}

copy_files() {
    if [[ -n $NEW_CONFIG ]]; then cp "$NEW_CONFIG" "$BOOT/$NAME.toml"; fi
    if [[ -n $KEY_FILE ]]; then (umask 077 && cat "$KEY_FILE" >"$BOOT/deepgram-api-key.txt"); fi
    rm -f "$BOOT/$NAME-result.txt"
}

attach_in_root() {
    local unit=$ROOT/etc/systemd/system/$NAME-firstboot.service
    install -D -m 755 "$FIRST/firstboot.sh" "$ROOT/usr/local/lib/$NAME/firstboot.sh"
    install -D -m 644 "$FIRST/$NAME-firstboot.service" "$unit"
    mkdir -p "${unit%/*}/multi-user.target.wants"
    ln -sf "../${unit##*/}" "${unit%/*}/multi-user.target.wants/${unit##*/}"
    say "the unit lies in $ROOT"
}

attach_by_cloud_init() {
    local file=$BOOT/user-data
    if [[ ! -e $file ]]; then
        cp "$FIRST/user-data" "$file"
    elif grep -q "$NAME/firstboot.sh" "$file"; then
        return
    elif ! head -n 1 "$file" | grep -q '^#cloud-config'; then
        give_up "$file is no #cloud-config: run by it what $FIRST/user-data runs"
    elif grep -q '^bootcmd:' "$file"; then
        give_up "$file has a bootcmd already: add to it what stands in that of $FIRST/user-data"
    else
        cp "$file" "$file.new"
        if [[ -n $(tail -c 1 "$file") ]]; then echo >>"$file.new"; fi
        sed -n '/^bootcmd:/,$p' "$FIRST/user-data" >>"$file.new"
        mv "$file.new" "$file"
    fi
    say "cloud-init starts it, by $file"
}

attach_by_command_line() {
    local script=$BOOT/firstrun.sh line
    line=$(grep '^bash ' "$FIRST/firstrun.sh")
    if [[ ! -e $script ]]; then
        cp "$FIRST/firstrun.sh" "$script"
    elif ! grep -q "$NAME/firstboot.sh" "$script"; then
        grep -q '^set +e' "$script" || give_up "$script is not Imager's: add to it: $line"
        awk -v line="$line" '{ print } /^set \+e/ && !done { print line; done = 1 }' "$script" \
            >"$script.new"
        mv "$script.new" "$script"
    fi
    if ! grep -q 'systemd\.run=' "$BOOT/cmdline.txt"; then
        sed -i "1s|\$| $RUN_ONCE|" "$BOOT/cmdline.txt"
    fi
    say "the kernel's command line starts it, by $script"
}

main() {
    read_words "$@"
    find_suite
    copy_payload
    copy_files
    if [[ -n $ROOT ]]; then
        attach_in_root
    elif has_cloud_init; then
        attach_by_cloud_init
    else
        attach_by_command_line
    fi
    sync -f "$BOOT"
    say "the card is ready: voice-appliance-result.txt on it will say what became of it"
}

main "$@"
