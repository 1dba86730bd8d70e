#!/usr/bin/env bash
# Sets a box up from what lies on its card. voice-appliance-firstboot.service runs it at each start
# while there is something to take; prepare.sh has put it on the card. On the first partition, which
# any laptop can write, it looks for
#
#   voice-appliance.toml            the settings; [panel] kit names the board
#   deepgram-api-key.txt            the key, in one line
#   voice-appliance.state           a mixer's state, for a board that wants one (deploy/kit.sh)
#   voice-appliance/payload.tar     what is installed (deploy/payload.sh), and its .sha256
#
# and in this order: installs the payload; stores the key for root and overwrites it on the card;
# checks the settings, and installs them; makes the board ready, with a restart if there must be
# one; renames the settings to voice-appliance-installed.toml. So it was done, and a new
# voice-appliance.toml on the card of a box that runs is taken at its next start, likewise.
#
# What was wrong stands on the card in voice-appliance-result.txt, in words, without the key. It is
# tried again at the next start. Each step looks before it acts and leaves what the next start can go
# on from: power may be cut anywhere. A flash card may keep what was overwritten; who must rule that
# out gives each box a key of its own.
#
# The green light of the board (ACT) tells it too: quick blinking, at work; steady for ten seconds,
# then as ever: done; slow, one second on and one off, until the power is cut: read the file.
#
#   firstboot.sh --attach    from the card: copies itself and the unit to the root file system and
#                            enables the unit; for cloud-init's user-data and for firstrun.sh
#   firstboot.sh --detach    undoes that, and takes its folder off the card
set -euo pipefail

readonly NAME=voice-appliance
readonly FOLDERS=(/boot/firmware /boot)  # where the first partition is seen: bookworm on, before
readonly WORK=/var/lib/$NAME-firstboot
readonly SCRIPT=/usr/local/lib/$NAME/firstboot.sh
readonly UNIT=/etc/systemd/system/$NAME-firstboot.service
readonly WANTS=/etc/systemd/system/multi-user.target.wants/$NAME-firstboot.service
readonly INSTALLED=/opt/$NAME/current/share/$NAME/deploy
readonly CREDENTIALS=/etc/$NAME
readonly LIGHTS=(/sys/class/leds/ACT /sys/class/leds/led0)
readonly READY_LIMIT_S=60
readonly MUST_RESTART=3  # what kit.sh says
readonly DONE_SHOWN_S=10

# ── telling ──────────────────────────────────────────────────────────────────────────────────────

# Sets LIGHT, and ORDINARY to what it shows as ever.
find_light() {
    for LIGHT in "${LIGHTS[@]}"; do
        if [[ -w $LIGHT/trigger ]]; then
            ORDINARY=$(sed 's/.*\[\(.*\)\].*/\1/' "$LIGHT/trigger")
            if [[ $ORDINARY == timer ]]; then ORDINARY=mmc0; fi  # that was us, before
            return
        fi
    done
    LIGHT=""
}

# Blinks by the kernel, so it goes on when we have ended. Takes milliseconds on and off.
blink() {
    if [[ -z $LIGHT ]]; then return; fi
    echo timer >"$LIGHT/trigger" || return 0  # a kernel without it stays as it is
    echo "$1" >"$LIGHT/delay_on" || true
    echo "$2" >"$LIGHT/delay_off" || true
}

shine() {
    if [[ -z $LIGHT ]]; then return; fi
    echo default-on >"$LIGHT/trigger" || return 0
    sleep "$DONE_SHOWN_S"
    echo "$ORDINARY" >"$LIGHT/trigger" || true
}

# Writes the result for whoever puts the card into a laptop; the lines come in.
write_result() {
    cat >"$CARD/$NAME-result.new"
    sync "$CARD/$NAME-result.new"
    mv "$CARD/$NAME-result.new" "$CARD/$NAME-result.txt"
    sync -f "$CARD"
}

# Takes what is wrong, from standard input too, and ends.
fail() {
    local words
    words=$(cat)
    printf '%s\n' "$1" "" "${words:-(nothing more was said)}" "" \
        "Mend this on the card and start the box again: it tries anew at each start." | write_result
    printf '%s\n' "$1" "$words" >&2
    blink 1000 1000
    exit 1
}

# ── steps ────────────────────────────────────────────────────────────────────────────────────────

find_card() {
    for CARD in "${FOLDERS[@]}"; do
        if [[ -e $CARD/config.txt ]]; then return; fi
    done
    echo "there is no boot partition in ${FOLDERS[*]}" >&2
    exit 1
}

# Runs a command whose words are told only if it fails. Takes what it is for, and the command.
try() {
    local what=$1 said=0
    shift
    "$@" </dev/null >"$WORK/said" 2>&1 || said=$?
    cat "$WORK/said" >&2
    if ((said != 0)); then fail "$what" <"$WORK/said"; fi
}

# Sets DEPLOY to the folder of the installer's scripts: the payload's, or what is installed.
unpack_payload() {
    local tar=$CARD/$NAME/payload.tar
    if [[ -e $tar ]]; then
        (cd "$CARD/$NAME" && sha256sum --check --status payload.tar.sha256) ||
            fail "The payload on the card is damaged." <<<"Run deploy/firstboot/prepare.sh again."
        rm -rf "$WORK/payload"
        mkdir "$WORK/payload"
        tar -xf "$tar" -C "$WORK/payload" ||
            fail "The payload cannot be unpacked." <<<"Is the card full?"
    fi
    if [[ -e $WORK/payload/deploy/install.sh ]]; then
        DEPLOY=$WORK/payload/deploy
        INSTALL=(--wheelhouse "$WORK/payload/wheelhouse")
    elif [[ -e $INSTALLED/install.sh ]]; then
        DEPLOY=$INSTALLED
        INSTALL=()
    else
        fail "There is nothing to install." \
            <<<"$NAME/payload.tar is missing on the card: deploy/firstboot/prepare.sh makes it."
    fi
}

# A file from Windows: its byte order mark and its line ends are no part of the key.
clean_key() { sed -e '1s/^\xef\xbb\xbf//' -e 's/[[:space:]]*$//' -e '/^$/d' "$1"; }

# Under another name, so that half of it is never taken for a key.
overwrite_key() {
    local going=$CARD/deepgram-api-key.going size
    if [[ -e $CARD/deepgram-api-key.txt ]]; then
        mv "$CARD/deepgram-api-key.txt" "$going"
        sync -f "$CARD"
    fi
    if [[ ! -e $going ]]; then return; fi
    size=$(stat -c %s "$going")
    dd if=/dev/urandom of="$going" bs="$((size + 1))" count=1 conv=notrunc,fsync status=none
    rm "$going"
    sync -f "$CARD"
}

install_release() {
    local key=$CARD/deepgram-api-key.txt with=()
    if [[ -e $key ]]; then
        (umask 077 && clean_key "$key" >"$WORK/key")
        if (($(grep -c '' "$WORK/key") != 1)); then
            rm "$WORK/key"
            fail "deepgram-api-key.txt is not right." <<<"It must hold the key, alone, in one line."
        fi
        with=(--key-file "$WORK/key")
    fi
    try "It cannot be installed." "$DEPLOY/install.sh" "${INSTALL[@]}" "${with[@]}" --no-start
    sync
    rm -f "$WORK/key"
    overwrite_key
}

install_settings() {
    local settings=$CARD/$NAME.toml
    if [[ ! -e $settings ]]; then return; fi
    local check=("/opt/$NAME/current/bin/$NAME" check --config "$settings")
    try "The settings are not right." env DEEPGRAM_API_KEY=any "${check[@]}"
    try "The key is missing. Write it into deepgram-api-key.txt, alone, in one line." \
        env CREDENTIALS_DIRECTORY="$CREDENTIALS" "${check[@]}"
    try "The settings cannot be installed." "$DEPLOY/install.sh" "${INSTALL[@]}" \
        --config "$settings" --replace-config --no-start
}

fit_the_board() {
    local status=0 with=()
    if [[ -e $CARD/$NAME.state ]]; then with=(--alsa-state "$CARD/$NAME.state"); fi
    "$DEPLOY/kit.sh" "${with[@]}" </dev/null >"$WORK/said" 2>&1 || status=$?
    cat "$WORK/said" >&2
    if ((status == MUST_RESTART)); then
        write_result <<<"The board's overlay was set; the box starts anew and goes on then."
        systemctl reboot
        exit
    elif ((status != 0)); then
        fail "The board is not ready." <"$WORK/said"
    fi
}

start_box() {
    local left=$READY_LIMIT_S
    if ! systemctl restart "$NAME.service"; then
        fail "It does not start. It said:" < <(journalctl -u "$NAME" -n 20 -o cat --no-pager)
    fi
    until "/opt/$NAME/current/bin/$NAME" status >"$WORK/said" 2>&1; do
        if ((left-- <= 0)); then fail "It has started and does not answer." <"$WORK/said"; fi
        sleep 1
    done
}

# The settings go last: while they are there, the next start begins again.
finish() {
    {
        echo "The box is set up: $(hostname), $(hostname -I || true)"
        echo
        cat "$WORK/said"
    } | write_result
    rm -f "$CARD/$NAME"/payload.tar{,.sha256}
    if [[ -e $CARD/$NAME.toml ]]; then
        mv "$CARD/$NAME.toml" "$CARD/$NAME-installed.toml"
    fi
    sync -f "$CARD"
    rm -rf "$WORK/payload"
}

attach() {
    local from
    from=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
    if [[ -e $WANTS ]]; then return; fi
    install -D -m 755 "$from/firstboot.sh" "$SCRIPT"
    install -D -m 644 "$from/$NAME-firstboot.service" "$UNIT"
    sync "$SCRIPT" "$UNIT"
    mkdir -p "$(dirname "$WANTS")"
    ln -sf "$UNIT" "$WANTS"
    systemctl daemon-reload || true  # where no manager runs yet, there is nothing to tell
}

detach() {
    local card
    for card in "${FOLDERS[@]}"; do rm -rf "${card:?}/$NAME"; done
    rm -rf "$UNIT" "$WANTS" "$WORK" "$(dirname "$SCRIPT")"
    systemctl daemon-reload || true
}

main() {
    if [[ -n ${1-} ]]; then
        "${1#--}"  # attach, detach
        return
    fi
    find_card
    find_light
    blink 100 100
    mkdir -p "$WORK"
    chmod 700 "$WORK"
    rm -f "$WORK/key"
    unpack_payload
    install_release
    install_settings
    fit_the_board
    start_box
    finish
    shine
}

main "$@"
