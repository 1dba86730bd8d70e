#!/usr/bin/env bash
# Brings a box that is in use to another release, to other settings, or to both at once; or leaves
# it as it was. Run by root on the box; it may be run again at any time, also after the power was
# cut. It needs no network.
#
#   deploy/update.sh [--wheelhouse FOLDER | --extra NAME …] [--config FILE] [--key-file FILE]
#                    [--now] [--force]
#   deploy/update.sh --rollback [--config FILE] [--key-file FILE] [--now]
#
#   --wheelhouse FOLDER  the release's wheels (deploy/wheelhouse.sh makes them); without it they are
#                        built here, from this checkout, which does take network and compiler. Where
#                        this is no checkout, but a release, that release stays if there are settings
#   --extra NAME         build an extra of pyproject.toml's too
#   --config FILE        settings in place of those that are there; without it they stay
#   --key-file FILE      the API key; /dev/stdin is a file too. Without it the one that is stored stays
#   --now                do not wait until the box is asleep: what is said just then is lost
#   --force              also a release that was tried before and was not good
#   --rollback           back to the release that ran before this one; and to the settings that it
#                        had, if this one came with others
#
# The new release is made beside the old one. Its `check` runs as the service would, as its user and
# in its sandbox, on the settings and with the key that it will have: what it does not know of them
# is told, and nothing is changed (exit status 78). The cards and pins are the running daemon's; they
# are looked at when the new one has them. When the box is asleep, for which an hour is waited, the
# new one takes the place of the old one and is on trial: trial.sh judges, and puts the old one back
# unless the new one is good. New settings come and go with it in one step (settings.sh); alone they
# are tried likewise. The state stays as it is.
#
# Settings that name another board are judged without cards and panel: those are there only when
# kit.sh has made the board ready and the box has started anew.
set -euo pipefail
FROM=$PWD
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh
# shellcheck source=deploy/box.sh
source deploy/box.sh
# shellcheck source=deploy/wheels.sh
source deploy/wheels.sh
# shellcheck source=deploy/release.sh
source deploy/release.sh
# shellcheck source=deploy/settings.sh
source deploy/settings.sh

readonly ASLEEP_LIMIT_S=${ASLEEP_LIMIT_S:-3600}
readonly LOOK_EVERY_S=5
readonly LOCK_FILE=/run/lock/$NAME-update
readonly CHECK_UNIT=$NAME-check.service
readonly CHECK_FILE=/run/systemd/system/$CHECK_UNIT
readonly CHECK_SAID=/run/$NAME-check

read_words() {
    local file
    while (($#)); do
        case $1 in
            --wheelhouse | --extra | --config | --key-file)
                (($# > 1)) || give_up "$1 wants a name"
                file=$2
                if [[ $file != /* ]]; then file=$FROM/$file; fi
                case $1 in
                    --wheelhouse) wheelhouse=$file ;;
                    --extra) EXTRAS+=("$2") ;;
                    --config) config=$file ;;
                    --key-file) key_file=$file ;;
                esac
                shift
                ;;
            --now) waits=no ;;
            --force) forces=yes ;;
            --rollback) goes_back=yes ;;
            --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' deploy/update.sh && exit ;;
            *) give_up "knows no $1: see --help" ;;
        esac
        shift
    done
}

# Whatever step fails leaves a box that runs, and what the next run goes on from. Of wrong settings
# all is said.
tell_the_step() {
    local status=$?
    if [[ -n $WORK ]]; then rm -rf "$WORK"; fi
    if [[ $LAID == yes && ! -L $TRIAL ]]; then drop_settings; fi
    if ((status == 0 || status == WRONG_SETTINGS)) || [[ -z $STEP ]]; then return; fi
    say "stopped while $STEP"
}

# ── what is to run ───────────────────────────────────────────────────────────────────────────────

# Sets RELEASE and MADE_OF; for a way back, the settings too.
choose() {
    local without=anew
    if [[ $goes_back == yes ]]; then
        RELEASE=$(led_to previous)
        MADE_OF=$(made_of "$RELEASE")
        if [[ -z $MADE_OF || $RELEASE == "$OLD" ]]; then
            give_up "there is no release to go back to"
        fi
        if [[ -z $config ]]; then config=$(settings_of "$RELEASE"); fi
    else
        if [[ -n $config$key_file ]]; then without=stay; fi
        choose_release "$without"
    fi
}

refuse_a_bad_one() {
    local mark
    mark=$(mark_of "$(name_the_trial "$MADE_OF" "$TRIED.new")")
    if [[ -e $mark && $forces == no ]]; then
        cat "$mark" >&2
        give_up "so it is not tried again; --force does it all the same"
    fi
}

# Lets the release itself say whether it could run here: in a unit that is the service's, with what
# the owner has changed of it, but for what it runs, with the settings and the key that are laid out
# in the places of those that are there, and without the folder that the running one has in /run.
check_release() {
    local folder=$RELEASES/$1 config=$TRIED.new/$SETTINGS_NAME key=$TRIED.new/$KEY_NAME status it
    local had=no
    if [[ -e $CONFIG ]]; then had=yes; fi
    if [[ ! -e $config ]]; then config=""; fi
    if [[ ! -e $key ]]; then key=""; fi
    rm -rf "$CHECK_FILE.d" "$CHECK_SAID"
    mkdir -p "$CHECK_FILE.d"
    cp "$folder/$SHARE/systemd/$UNIT" "$CHECK_FILE"
    for it in $(systemctl show --value -p DropInPaths "$UNIT"); do ln -sf "$it" "$CHECK_FILE.d/"; done
    cat >"$CHECK_FILE.d/zz-check.conf" <<END
[Service]
Type=oneshot
ExecStart=
ExecStart=$folder/bin/$NAME check
StandardOutput=truncate:$CHECK_SAID
StandardError=inherit
RuntimeDirectory=
Restart=no
${config:+BindReadOnlyPaths=$config:$CONFIG}
${key:+LoadCredential=$KEY_NAME:$key}
END
    systemctl daemon-reload
    status=0
    if ! systemctl start "$CHECK_UNIT" 2>/dev/null; then
        status=$(systemctl show --value -p ExecMainStatus "$CHECK_UNIT")
        systemctl reset-failed "$CHECK_UNIT"
        if ((status == 0)); then status=1; fi # it was ended, or could not begin
    fi
    rm -rf "$CHECK_FILE"{,.d}
    # Where there were none, systemd makes an empty file, to lay them over.
    if [[ $had == no && ! -s $CONFIG ]]; then rm -f "$CONFIG"; fi
    if ((status == 0)); then return; fi
    if [[ -s $CHECK_SAID ]]; then
        cat "$CHECK_SAID" >&2
    else
        journalctl --boot --unit "$CHECK_UNIT" --no-pager --quiet --output cat --lines 5 >&2 || true
    fi
    say "release $1 would not run here${config:+ with these settings}, as it says above;" \
        "nothing was changed"
    exit "$((status == WRONG_SETTINGS ? status : 1))"
}

# ── the swap ─────────────────────────────────────────────────────────────────────────────────────

# What the running one says of itself; nothing, if it does not answer.
ask() { timeout 10 "$COMMAND" status --json 2>/dev/null || true; }

# Takes what it says on standard input; prints what it is doing, unless it may be stopped: in mode
# "open" it never sleeps, and in a trouble that keeps no words it does nothing that would be lost.
what_it_does() {
    "$PYTHON" -c '
import json, sys

try:
    told = json.load(sys.stdin)
except ValueError:
    sys.exit()
rests = {"asleep"} | ({"resting"} if told["mode"] == "open" else set())
if told["link"] == "down" and not told["held"] and not told["uplink"]["pending"]:
    rests.add("trouble")
if told["phase"] not in rests:
    print(told["phase"])
'
}

wait_until_asleep() {
    local end does said=no
    if [[ $waits == no ]]; then return; fi
    end=$(($(uptime_s) + ASLEEP_LIMIT_S))
    while does=$(ask | what_it_does) && [[ -n $does ]]; do
        if (($(uptime_s) >= end)); then
            give_up "the box was not asleep for $ASLEEP_LIMIT_S s (it is $does): nothing was changed"
        fi
        if [[ $said == no ]]; then say "waiting until the box is asleep; it is $does"; fi
        said=yes
        sleep "$LOOK_EVERY_S"
    done
}

names_another_board() {
    local was=""
    if [[ -e $CONFIG ]]; then was=$(name_the_kit "$CONFIG"); fi
    [[ -e $TRIED.new/$SETTINGS_NAME &&
        $(name_the_kit "$TRIED.new/$SETTINGS_NAME") != "$was" ]]
}

# From here on the next boot judges, if we do not come to it.
swap() {
    local before=$RELEASES/$RELEASE/status-before
    if names_another_board; then
        say "the settings name another board: no card is judged; deploy/kit.sh makes it ready then"
        : >"$before"
    else
        ask >"$before"
    fi
    rm -f "$(mark_of "$(name_the_trial "$MADE_OF" "$TRIED.new")")"
    keep_settings
    lead trial "$OLD"
    try_them
    lead current "$RELEASE"
    say "release $RELEASE is on trial$(with_them); $OLD was the current one"
}

# Runs what is there now and lets it be judged; what was wrong with it is told. Who hangs up on us
# stops neither.
judge() {
    local tried mark
    tried=$(led_to current)
    mark=$(mark_of "$(name_the_trial "$(made_of "$tried")" "$TRIED")")
    systemctl daemon-reload
    systemctl reset-failed "$UNIT" 2>/dev/null || true # it had not failed
    systemctl --no-block restart "$UNIT"
    systemctl start "$TRIAL_UNIT" || true # what came of it is to be seen
    [[ ! -L $TRIAL ]] || give_up "nobody has judged: see journalctl -u $TRIAL_UNIT"
    if [[ -e $mark ]]; then
        cat "$mark" >&2
        say "release $(led_to current) is back, and runs"
        return 1
    fi
}

finish_what_was_cut_off() {
    if [[ ! -L $TRIAL ]]; then return; fi
    say "release $(led_to current) is still on trial$(with_them)"
    if judge; then say "release $(led_to current) is the current one"; fi
}

update() {
    STEP="looking at the box"
    is_booted || give_up "systemd does not run here: a box that is off is installed, by install.sh"
    exec {lock}>"$LOCK_FILE"
    flock --nonblock "$lock" || give_up "another update is at work"
    [[ -n $(made_of "$(led_to current)") ]] || give_up "nothing is installed: install.sh does that"
    STEP="finishing what was cut off"
    finish_what_was_cut_off
    OLD=$(led_to current)
    STEP="getting the release"
    choose
    STEP="laying out the settings"
    LAID=yes
    lay_out "$RELEASE" "$config" "$key_file"
    if [[ $RELEASE == "$OLD" ]] && ! are_laid_out; then
        say "nothing was to be done: release $RELEASE is the current one"
        return
    fi
    refuse_a_bad_one
    STEP="making the release"
    make_account
    if [[ $goes_back == no ]]; then make_release "$RELEASE" "$MADE_OF" "$wheelhouse"; fi
    [[ -e $RELEASES/$OLD/$SHARE/systemd/$SETTINGS_UNIT &&
        -e $RELEASES/$RELEASE/$SHARE/systemd/$SETTINGS_UNIT ]] ||
        give_up "one of them knows no such trial: install.sh changes $OLD for $RELEASE without one"
    link_service
    STEP="letting the release check itself"
    check_release "$RELEASE"
    STEP="waiting for the box to be asleep"
    wait_until_asleep
    STEP="swapping the releases"
    swap
    STEP="judging the release"
    judge
    if [[ $RELEASE == "$OLD" ]]; then
        say "release $RELEASE has the new settings"
    else
        say "release $RELEASE is the current one, $OLD was"
    fi
    "$COMMAND" status
}

umask 022
wheelhouse="" config="" key_file="" waits=yes forces=no goes_back=no
STEP="" WORK="" OLD="" LAID=no
read_words "$@"
((EUID == 0)) || give_up "run it as root: sudo deploy/update.sh …"
trap tell_the_step EXIT
update
