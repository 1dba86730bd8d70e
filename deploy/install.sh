#!/usr/bin/env bash
# Puts the appliance on this box, or takes it away. Run by root on Raspberry Pi OS or Debian,
# bookworm or trixie; it may be run again at any time, also after it was cut off.
#
#   deploy/install.sh [--wheelhouse FOLDER | --extra NAME …] [--config FILE] [--kit NAME]
#                     [--key-file FILE] [--no-start]
#   deploy/install.sh --uninstall [--purge]
#
#   --wheelhouse FOLDER  install these wheels (deploy/wheelhouse.sh makes them): no compiler, no
#                        network. Without it they are built here, from this checkout; where this is
#                        no checkout, but a release, that release stays
#   --extra NAME         build an extra of pyproject.toml's too
#   --config FILE        the settings, if the box has none; with --replace-config in any case. Those
#                        that are wrong are refused (exit status 78) and the old ones stay
#   --kit NAME           [panel] kit of the settings; deploy/kit.sh then makes the board ready
#   --key-file FILE      the API key; /dev/stdin is a file too. Without it one that is stored is
#                        kept, and on a terminal it is asked for
#   --no-start           do all but start it: for images
#   --uninstall          remove all but settings, key and state; with --purge those too
#
# A box that is installed and in use is brought to another release by update.sh, which tries it.
# box.sh says where everything lies.
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

read_words() {
    local file
    while (($#)); do
        case $1 in
            --wheelhouse | --key-file | --extra | --config | --kit)
                (($# > 1)) || give_up "$1 wants a name"
                file=$2
                if [[ $file != /* ]]; then file=$FROM/$file; fi
                case $1 in
                    --wheelhouse) wheelhouse=$file ;;
                    --key-file) key_file=$file ;;
                    --extra) EXTRAS+=("$2") ;;
                    --config) config=$file ;;
                    --kit) kit=$2 ;;
                esac
                shift
                ;;
            --replace-config) replaces=yes ;;
            --no-start) starts=no ;;
            --uninstall) uninstalls=yes ;;
            --purge) purges=yes ;;
            --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' deploy/install.sh && exit ;;
            *) give_up "knows no $1: see --help" ;;
        esac
        shift
    done
    if [[ $purges == yes && $uninstalls == no ]]; then give_up "--purge goes with --uninstall"; fi
}

# Whatever step fails leaves what the next run goes on from. Of wrong settings all is said: the same
# run would refuse them again.
tell_the_step() {
    local status=$?
    if [[ -n $WORK ]]; then rm -rf "$WORK"; fi
    if ((status == 0 || status == WRONG_SETTINGS)) || [[ -z $STEP ]]; then return; fi
    say "stopped while $STEP. What was wrong stands above; when it is mended, run this again."
}

start() {
    if [[ $starts == no ]]; then return; fi
    if ! is_booted; then
        say "systemd does not run here: the box starts when the machine does"
    elif ((CHANGES > 0)) || ! systemctl --quiet is-active "$UNIT"; then
        restart || give_up "mend that, then: systemctl restart $NAME"
    fi
}

install_all() {
    STEP="looking at the machine"
    look_at_the_machine
    command -v systemctl >/dev/null || give_up "there is no systemd on this machine"
    STEP="installing Debian packages (without a network: install them by hand)"
    install_packages "${BOX_PACKAGES[@]}"
    check_python
    STEP="getting the wheels"
    choose_release stay
    STEP="making the release"
    make_release "$RELEASE" "$MADE_OF" "$wheelhouse"
    STEP="making the service's user"
    make_account
    STEP="writing the settings"
    make_settings "$RELEASE" "$config" "$replaces" "$kit"
    STEP="storing the key"
    store_key "$key_file"
    forget_the_trial # if there is one: who installs has the last word
    STEP="switching to the release"
    switch_to "$RELEASE"
    STEP="linking the service"
    link_service
    STEP="starting the service"
    start
    STEP="asking it how it is"
    if ((CHANGES == 0)); then say "nothing was to be done: release $RELEASE is installed"; fi
    if [[ $starts == yes ]] && is_booted; then "$COMMAND" status; fi
}

uninstall() {
    STEP="stopping the service"
    if [[ -L $UNIT_LINK ]]; then
        if is_booted; then quietly systemctl stop "$UNIT"; fi
        rm -f "$UNITS/multi-user.target.wants/$UNIT" "$UNIT_LINK"
        rm -f "$UNITS/multi-user.target.wants/$TRIAL_UNIT" "$UNITS/$TRIAL_UNIT"
        rm -f "$UNITS/$SETTINGS_UNIT"
        if is_booted; then
            systemctl daemon-reload
            systemctl reset-failed "$UNIT" 2>/dev/null || true # it had not failed
        fi
        did "the service is gone"
    fi
    STEP="taking the board's lines out of config.txt"
    deploy/kit.sh --undo
    STEP="removing the files"
    if [[ -x $FIRST_BOOT ]]; then "$FIRST_BOOT" --detach; fi
    if [[ -L $COMMAND ]]; then rm "$COMMAND"; fi
    if [[ -d $HOUSE ]]; then
        rm -rf "$HOUSE"
        drop_settings
        did "$HOUSE is gone"
    fi
    if [[ $purges == yes ]]; then
        if [[ -e $SETTINGS || -e $STATE || -e $UNIT_LINK.d ]]; then
            rm -rf "$SETTINGS" "$STATE" "$UNIT_LINK.d"
            did "settings, key and state are gone"
        fi
    else
        # Whoever gets the number of our user next is not to have them. The service, should it come
        # back, gets its state from systemd.
        local it
        for it in "$SETTINGS" "$STATE"; do
            if [[ -e $it ]]; then chown -R root:root "$it" && say "$it is kept"; fi
        done
    fi
    STEP="removing the service's user"
    if getent passwd "$NAME" >/dev/null; then
        userdel "$NAME"
        did "user $NAME is gone"
    fi
    if getent group "$NAME" >/dev/null; then groupdel "$NAME"; fi
    if ((CHANGES == 0)); then say "nothing was to be done: it is not installed"; fi
}

umask 022
wheelhouse="" config="" replaces=no kit="" key_file="" starts=yes uninstalls=no purges=no
STEP="" WORK=""
read_words "$@"
((EUID == 0)) || give_up "run it as root: sudo deploy/install.sh …"
trap tell_the_step EXIT
if [[ $uninstalls == yes ]]; then uninstall; else install_all; fi
