#!/usr/bin/env bash
# Makes a box fit the board on it: what the firmware loads for it at the start (config.txt), and what
# its mixer is set to. On the box, as root, when the appliance is installed:
#
#   deploy/kit.sh                  for the board that [panel] kit of the settings names
#   deploy/kit.sh --check          changes nothing and says what differs
#   deploy/kit.sh --undo           takes all of it out of config.txt again
#     --overlay FILE.dtbo          for a board whose overlay is not in the kernel
#     --alsa-state FILE            for a board whose mixer is set from such a file
#
# Exit status: 0 the board is ready, 3 the box must start anew and this be run again, 5 something
# differs (--check), 1 it failed. What a board needs stands in one place: `voice-appliance kits`.
#
# In config.txt all that is ours stands in one marked block, behind an `[all]`, since the lines
# before it may hold for one model only. A line that a board must not have is put behind a mark.
# Both are taken out and written anew each time, so a change of board leaves nothing of the old one.
#
# That config.txt was changed is noted in /run, which a new start empties, before it is changed: so
# nothing that was interrupted is forgotten, and no box starts anew for nothing. The mixer is set
# once for a board: what somebody turned afterwards stays, and alsa-restore.service brings it back
# at each start.
set -euo pipefail
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=deploy/ground.sh
source "$HERE/ground.sh"
# shellcheck source=deploy/box.sh
source "$HERE/box.sh"

readonly MIXER_NOTE=$SETTINGS/kit-mixer  # what the mixer was set to, as a hash
readonly BOOT_FOLDERS=(/boot/firmware /boot)  # where the card's first partition is seen
readonly NOTE=/run/$NAME-restart-needed
readonly CARD_LIMIT_S=20  # drivers load beside us after a start
readonly MUST_RESTART=3 DIFFERS=5
readonly BEGIN="# voice-appliance: begin, written by deploy/kit.sh"
readonly END="# voice-appliance: end"
readonly OFF="#voice-appliance-off: "

OVERLAY="" ALSA_STATE_FILE=""
CARD="" CONFIG_TXT=() MIXER=() ALSA_STATE=""

# Sets CARD, CONFIG_TXT, MIXER (names and values by turns) and ALSA_STATE to what a board needs.
read_kit() {
    local told
    told=$("$CURRENT/bin/$NAME" kits "$1" --json)
    eval "$("$PYTHON" -c '
import json, shlex, sys

kit = json.loads(sys.argv[1])
words = lambda values: " ".join(map(shlex.quote, values))
print("CARD=" + shlex.quote(kit["card"]))
print("CONFIG_TXT=(" + words(kit["config_txt"]) + ")")
print("MIXER=(" + words(word for pair in kit["mixer"] for word in pair) + ")")
print("ALSA_STATE=" + shlex.quote(kit["alsa_state"]))' "$told")"
}

# Sets BOOT to the folder that the firmware reads; to nothing where there is none.
find_boot() {
    for BOOT in "${BOOT_FOLDERS[@]}"; do
        if [[ -e $BOOT/config.txt ]]; then return; fi
    done
    BOOT=""
}

# From config.txt, as it comes in, to what it was without us.
without_us() {
    awk -v begin="$BEGIN" -v end="$END" -v off="$OFF" '
        { line = $0; sub(/\r$/, "", line) }
        line == begin { ours = 1; next }
        line == end { ours = 0; next }
        ours { next }
        index($0, off) == 1 { $0 = substr($0, length(off) + 1) }
        { print }'
}

# From config.txt without us to what CONFIG_TXT says it should be.
with_us() {
    local line unwanted="" wanted=()
    for line in "${CONFIG_TXT[@]}"; do
        if [[ $line == \#* ]]; then unwanted+=${line#\#}$'\n'; else wanted+=("$line"); fi
    done
    awk -v unwanted="$unwanted" -v off="$OFF" '
        BEGIN { count = split(unwanted, list, "\n"); for (i = 1; i < count; i++) no[list[i]] = 1 }
        { line = $0; sub(/[ \t\r]+$/, "", line) }
        line in no { print off $0; next }
        { print }'
    if ((${#wanted[@]})); then printf '%s\n' "$BEGIN" '[all]' "${wanted[@]}" "$END"; fi
}

# The firmware passes over an overlay that is not there, and the box would have no card.
check_overlays() {
    local line name
    for line in "${CONFIG_TXT[@]}"; do
        if [[ $line != dtoverlay=?* ]]; then continue; fi
        name=${line#dtoverlay=}
        name=${name%%,*}
        if [[ -e $BOOT/overlays/$name.dtbo ]]; then continue; fi
        if [[ $(basename "$OVERLAY") != "$name.dtbo" ]]; then
            give_up "$BOOT/overlays/$name.dtbo is not there: give it with --overlay ($(
            )voice-appliance kits $KIT says where it comes from)"
        fi
        say "copying $name.dtbo to $BOOT/overlays"
        cp "$OVERLAY" "$BOOT/overlays/.new.dtbo"
        sync
        mv "$BOOT/overlays/.new.dtbo" "$BOOT/overlays/$name.dtbo"
    done
}

# Prints what config.txt should be.
wanted_config_txt() {
    without_us <"$BOOT/config.txt" | with_us
}

set_config_txt() {
    local file=$BOOT/config.txt
    if cmp -s <(wanted_config_txt) <(awk 1 "$file"); then return; fi  # its last line may lack an end
    touch "$NOTE"
    say "${CONFIG_TXT[*]:-nothing of ours}: so it stands in $file now"
    wanted_config_txt >"$file.new"
    sync "$file.new"
    mv "$file.new" "$file"
    sync "$BOOT"
}

# What the mixer should be set to, as a hash; nothing, where there is nothing to set.
name_the_mixer() {
    if ((${#MIXER[@]} == 0)) && [[ -z $ALSA_STATE ]]; then return; fi
    printf '%s\n' "$CARD" "${MIXER[@]}" "$ALSA_STATE" | sha256sum | cut -c 1-64
}

is_mixer_set() { [[ $(cat "$MIXER_NOTE" 2>/dev/null) == "$(name_the_mixer)" ]]; }

is_card_here() { amixer -c "$CARD" info >/dev/null 2>&1; }

wait_for_card() {
    local left=$CARD_LIMIT_S
    until is_card_here; do
        if ((left-- <= 0)); then
            give_up "the card $CARD is not there: is the board plugged on, and is it $KIT?"
        fi
        sleep 1
    done
}

set_mixer() {
    local i
    if is_mixer_set; then return; fi
    if [[ -n $ALSA_STATE && -z $ALSA_STATE_FILE ]]; then
        give_up "$KIT is silent until its mixer is set: give --alsa-state FILE, with $ALSA_STATE"
    fi
    say "setting the mixer of $CARD"
    if [[ -n $ALSA_STATE ]]; then alsactl restore -f "$ALSA_STATE_FILE" "$CARD"; fi
    for ((i = 0; i < ${#MIXER[@]}; i += 2)); do
        amixer -q -c "$CARD" sset "${MIXER[i]}" "${MIXER[i + 1]}"
    done
    alsactl store "$CARD"
    name_the_mixer >"$MIXER_NOTE.new"
    mv "$MIXER_NOTE.new" "$MIXER_NOTE"
}

make_ready() {
    if [[ -n $BOOT ]]; then
        check_overlays
        set_config_txt
    elif ((${#CONFIG_TXT[@]})); then
        give_up "$KIT wants lines in config.txt, and there is none: is this a Raspberry Pi?"
    fi
    if [[ -e $NOTE ]]; then
        say "the box must start anew before its card is there"
        exit "$MUST_RESTART"
    fi
    if [[ -z $CARD ]]; then return; fi
    if ! is_mixer_set || ((${#CONFIG_TXT[@]})); then wait_for_card; fi
    set_mixer
}

check() {
    local differs=0
    if [[ -n $BOOT ]] && ! diff -u --label "$BOOT/config.txt" --label wanted \
        <(awk 1 "$BOOT/config.txt") <(wanted_config_txt); then
        differs=1
    fi
    if [[ -n $KIT ]] && ! is_mixer_set; then
        echo "the mixer was never set for $KIT"
        differs=1
    fi
    if [[ -e $NOTE ]]; then
        echo "config.txt was changed and the box has not started anew"
        differs=1
    fi
    if ((differs)); then exit "$DIFFERS"; fi
}

main() {
    local action=make_ready
    while (($#)); do
        case $1 in
            --check) action=check ;;
            --undo) action=undo ;;
            --overlay) OVERLAY=$2 && shift ;;
            --alsa-state) ALSA_STATE_FILE=$2 && shift ;;
            --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && return ;;
            *) give_up "knows no $1; see --help" ;;
        esac
        shift
    done
    find_boot
    if [[ $action == undo ]]; then
        if [[ -n $BOOT ]]; then set_config_txt; fi
        return
    fi
    KIT=""
    if [[ -e $CONFIG ]]; then KIT=$(name_the_kit "$CONFIG"); fi
    if [[ -n $KIT ]]; then read_kit "$KIT"; fi
    "$action"
}

main "$@"
