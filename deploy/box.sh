# shellcheck shell=bash disable=SC2034  # some names are for those who source this
# How the appliance lies on a box, and the steps that put it there. Sourced after ground.sh, by
# root, by whoever installs, updates or removes.
#
#   /opt/voice-appliance/releases/VERSION   a venv each, never moved, whole when it has `made-of`
#   /opt/voice-appliance/current            leads to the one that runs; swapped by rename(2)
#   /opt/voice-appliance/previous           leads to the one before it
#   /opt/voice-appliance/trial              is there while the current one is on trial, and leads to
#                                           the one that it falls back to (trial.sh)
#   /etc/systemd/system, /usr/local/bin     one link each, through `current`: so the swap of that
#                                           one name swaps code, units and command at once
#   /etc/voice-appliance                    config.toml, read by the service's group; the key, root's;
#                                           and what is on trial of both (settings.sh)
#   /var/lib/voice-appliance                state: systemd makes it, for the service's user
#
# Each step looks before it acts. What it did it says in one line and notes in CHANGES, so that a
# second run is silent and changes nothing.

readonly NAME=voice-appliance
readonly HOUSE=/opt/$NAME
readonly RELEASES=$HOUSE/releases
readonly CURRENT=$HOUSE/current
readonly TRIAL=$HOUSE/trial
readonly SHARE=share/$NAME  # in a release: deploy/ and systemd/ as they were when it was built
readonly SETTINGS=/etc/$NAME
readonly CONFIG=$SETTINGS/config.toml
readonly KEY=$SETTINGS/deepgram-api-key
readonly STATE=/var/lib/$NAME
readonly UNIT=$NAME.service
readonly UNITS=/etc/systemd/system
readonly UNIT_LINK=$UNITS/$UNIT
readonly TRIAL_UNIT=$NAME-trial.service
readonly SETTINGS_UNIT=$NAME-settings.service
readonly COMMAND=/usr/local/bin/$NAME
readonly FIRST_BOOT=/usr/local/lib/$NAME/firstboot.sh  # where a card brought it
readonly GROUPS_OF_DEVICES=(audio gpio spi)
# What a box must have of Debian's: all of it is on Raspberry Pi OS already, but for the plugins,
# by which ALSA resamples without aliases.
readonly BOX_PACKAGES=(ca-certificates libasound2-plugins python3)

readonly WRONG_SETTINGS=78  # as the command says it (EX_CONFIG)

CHANGES=0

# Says what was just done.
did() {
    CHANGES=$((CHANGES + 1))
    say "$*"
}

is_booted() { [[ -d /run/systemd/system ]]; }

# Prints seconds by a clock that nobody sets: a board without one of its own begins in the past.
uptime_s() {
    local it
    read -r it _ </proc/uptime
    echo "${it%.*}"
}

# ── who and what ─────────────────────────────────────────────────────────────────────────────────

is_in_group() { [[ " $(id -nG "$1") " == *" $2 "* ]]; }

# The service's user and group. Whoever calls us by sudo comes into the group.
make_account() {
    local group
    if ! getent group "$NAME" >/dev/null; then groupadd --system "$NAME"; fi
    if ! getent passwd "$NAME" >/dev/null; then
        useradd --system --gid "$NAME" --home-dir "$STATE" --no-create-home \
            --shell /usr/sbin/nologin "$NAME"
        did "the service has a user, $NAME"
    fi
    for group in "${GROUPS_OF_DEVICES[@]}"; do
        if getent group "$group" >/dev/null && ! is_in_group "$NAME" "$group"; then
            usermod --append --groups "$group" "$NAME"
            did "user $NAME is in group $group"
        fi
    done
    local owner=${SUDO_USER:-root}
    if [[ $owner != root ]] && ! is_in_group "$owner" "$NAME"; then
        usermod --append --groups "$NAME" "$owner"
        did "you, $owner, may talk to the box from your next login on: you are in group $NAME"
    fi
}

# Prints the board that settings name, or nothing. Takes their file.
name_the_kit() {
    "$PYTHON" - "$1" <<'PYTHON'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    print(tomllib.load(file).get("panel", {}).get("kit", ""))
PYTHON
}

# Prints settings from a file, with the board named in them if one is given. What the edit made is
# read back.
wanted_settings() {
    if [[ -z $2 ]]; then
        cat "$1"
        return
    fi
    "$PYTHON" - "$1" "$2" <<'PYTHON'
import re
import sys
import tomllib
from pathlib import Path

file, kit = Path(sys.argv[1]), sys.argv[2]
text, line = file.read_text(), f'kit = "{kit}"\n'


def is_named(text):
    return tomllib.loads(text).get("panel", {}).get("kit") == kit


try:
    if not is_named(text):
        if not re.search(r"(?m)^\[panel\]", text):
            text += "\n[panel]\n"
        before, header, panel = re.split(r"(?m)^(\[panel\].*\n)", text, maxsplit=1)
        own, *after = re.split(r"(?m)^(?=\[)", panel, maxsplit=1)
        own, known = re.subn(r"(?m)^#?kit *=.*\n", line, own, count=1)
        text = "".join([before, header, "" if known else line, own, *after])
    if not is_named(text):
        raise ValueError("[panel] is written in a way that is not understood")
    sys.stdout.write(text)
except ValueError as error:
    sys.exit(f"{file}: {error}; write {line.strip()} under [panel] yourself")
PYTHON
}

# Lets a release judge settings; the key is none of its business here.
try_settings() {
    local release=$1 file=$2
    if ! DEEPGRAM_API_KEY=any quietly "$RELEASES/$release/bin/$NAME" check --config "$file"; then
        say "these settings cannot be used: see above"
        exit "$WRONG_SETTINGS"
    fi
}

# Settings from a file, if one is given, else those that came with a release; settings that are there
# stay, unless they may be replaced. Takes the release, the file or nothing, `yes` for that, and the
# board or nothing.
make_settings() {
    local release=$1 file=$2 replaces=$3 kit=$4 from=$CONFIG
    if [[ ! -d $SETTINGS ]]; then install -d -m 755 "$SETTINGS"; fi
    if [[ -n $file && ($replaces == yes || ! -e $CONFIG) ]]; then
        [[ -f $file ]] || give_up "the settings, $file, are read more than once: a file is wanted"
        from=$file
    elif [[ ! -e $CONFIG ]]; then
        from=$RELEASES/$release/$SHARE/deploy/config.toml
    elif [[ -n $file ]] && ! cmp -s "$file" "$CONFIG"; then
        say "settings that were there, $CONFIG, stay as they are (--replace-config replaces them)"
    fi
    if cmp -s <(wanted_settings "$from" "$kit") "$CONFIG"; then
        if [[ $(stat -c %G "$CONFIG") != "$NAME" ]]; then
            chgrp "$NAME" "$CONFIG"
            did "settings that were there, $CONFIG, may be read by the service"
        fi
        return
    fi
    try_settings "$release" "$from"
    install -m 640 -g "$NAME" /dev/null "$CONFIG.new"
    wanted_settings "$from" "$kit" >"$CONFIG.new"
    try_settings "$release" "$CONFIG.new"
    sync "$CONFIG.new"
    mv -T "$CONFIG.new" "$CONFIG"
    case $from in
        "$CONFIG") did "the settings name the board $kit" ;;
        "$file") did "the settings are those of $file${kit:+, and name the board $kit}" ;;
        *) did "settings lie in $CONFIG: every key with its default${kit:+, and the board $kit}" ;;
    esac
}

check_key() {
    if [[ $1 == *[![:graph:]]* ]] || ((${#1} > 4096)); then
        give_up "that is no API key: wanted printable characters, without spaces"
    fi
}

# Prints the key that is in a file.
read_key() {
    local key
    key=$(tr -d '\r\n' <"$1") || give_up "the key's file, $1, cannot be read"
    [[ -n $key ]] || give_up "the key's file, $1, is empty"
    check_key "$key"
    printf '%s' "$key"
}

# Takes a file to read the key from, or nothing: then it is asked for, once, if there is somebody
# to ask, and one that is stored is kept.
store_key() {
    local from=$1 key=""
    if [[ -n $from ]]; then
        key=$(read_key "$from")
    elif [[ ! -s $KEY && -t 0 && -t 2 ]]; then
        read -rs -p "Deepgram API key (it is not shown; Enter for none): " key
        echo >&2
        check_key "$key"
    fi
    if [[ -e $KEY && (-z $key || $key == "$(<"$KEY")") ]]; then return; fi
    (umask 077 && printf '%s' "$key" >"$KEY.new")
    mv -T "$KEY.new" "$KEY"
    if [[ -n $key ]]; then
        did "the key is stored in $KEY, for root only"
    else
        did "there is no key yet: put it into $KEY, or run this again with --key-file FILE"
    fi
}

# Takes where a link lies and where it leads.
link() {
    if [[ $(readlink "$1" || true) == "$2" ]]; then return; fi
    if [[ -e $1 && ! -L $1 ]]; then give_up "$1 is there already, and not ours: move it away"; fi
    mkdir -p "$(dirname "$1")"
    ln -sfn "$2" "$1.new"
    mv -T "$1.new" "$1"
    did "$1 leads to $2"
}

# The units and the command; from now on the box starts with the machine.
link_service() {
    link "$COMMAND" "$CURRENT/bin/$NAME"
    link "$UNIT_LINK" "$CURRENT/$SHARE/systemd/$UNIT"
    link "$UNITS/$SETTINGS_UNIT" "$CURRENT/$SHARE/systemd/$SETTINGS_UNIT"
    link "$UNITS/$TRIAL_UNIT" "$CURRENT/$SHARE/systemd/$TRIAL_UNIT"
    local it
    for it in "$UNIT" "$TRIAL_UNIT"; do
        if [[ ! -L $UNITS/multi-user.target.wants/$it ]]; then
            quietly systemctl enable "$it"
            did "$it starts with the machine"
        fi
    done
}

# ── its life ─────────────────────────────────────────────────────────────────────────────────────

# What the service said since it was started last.
last_words() {
    local id
    id=$(systemctl show --value -p InvocationID "$UNIT")
    journalctl --no-pager --quiet --output cat -n 20 "_SYSTEMD_INVOCATION_ID=$id" >&2 || true
}

# Starts it anew, so that it runs what is there now; returns when it is ready.
restart() {
    systemctl daemon-reload
    systemctl reset-failed "$UNIT" 2>/dev/null || true # it may be unknown yet
    if quietly systemctl restart "$UNIT"; then
        did "the service runs"
        return
    fi
    say "the service does not start; it said:"
    last_words
    return 1
}
