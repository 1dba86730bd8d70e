# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # names are of, and for, those who source this
# Settings and key that are tried: with a release, or alone. Sourced after release.sh, by root, by
# update.sh and trial.sh.
#
#   /etc/voice-appliance/tried    what is on trial: settings, key, or one of them; and `release`, the
#                                 name of the release that they are for
#   /etc/voice-appliance/kept     what lay there of these before; one that is not in it did not
#   releases/VERSION/config.toml  the settings that a release had before another came with others:
#                                 `update.sh --rollback` brings them back with it. Keys do not go
#                                 back that way: one that was replaced may have been withdrawn
#
# What is on trial applies while `current` leads to the release that it is for. So it is one rename
# that brings release and settings: that of `current`, or that of `tried` where the release stays. And
# one step takes both back. What applies is put in place before each start of the service while
# something is on trial (voice-appliance-settings.service): so no release is started with the settings
# of another, whatever was cut.

readonly TRIED=$SETTINGS/tried
readonly KEPT=$SETTINGS/kept
readonly SETTINGS_NAME=${CONFIG##*/} KEY_NAME=${KEY##*/}

# Lays out, without effect, what is not as it is there already. Takes the release that it is for, and
# the file of the settings and that of the key, or nothing for either.
lay_out() {
    local release=$1 config=$2 key_file=$3 key
    drop_settings
    mkdir -m 700 "$TRIED.new"
    if [[ -n $config ]]; then
        # It may be a pipe, which is read once.
        install -m 640 -g "$NAME" "$config" "$TRIED.new/$SETTINGS_NAME"
        if cmp -s "$TRIED.new/$SETTINGS_NAME" "$CONFIG"; then rm "$TRIED.new/$SETTINGS_NAME"; fi
    fi
    if [[ -n $key_file ]]; then
        key=$(read_key "$key_file")
        if [[ $key != "$(cat "$KEY" 2>/dev/null)" ]]; then
            (umask 077 && printf '%s' "$key" >"$TRIED.new/$KEY_NAME")
        fi
    fi
    echo "$release" >"$TRIED.new/release"
    if ! are_laid_out; then drop_settings; fi
}

# Whether there is something to try, and nobody tries it yet.
are_laid_out() { [[ -e $TRIED.new/$SETTINGS_NAME || -e $TRIED.new/$KEY_NAME ]]; }

# Keeps what lies in the places of what was laid out; an owner may have changed it until now.
keep_settings() {
    local it
    if ! are_laid_out; then return; fi
    mkdir -m 700 "$KEPT"
    for it in "$SETTINGS_NAME" "$KEY_NAME"; do
        if [[ -e $TRIED.new/$it && -e $SETTINGS/$it ]]; then cp -p "$SETTINGS/$it" "$KEPT/"; fi
    done
    sync -f "$SETTINGS"
}

# Puts on trial what was laid out; if it is for the release that runs, it applies from here on.
try_them() {
    if are_laid_out; then mv -T "$TRIED.new" "$TRIED"; fi
    sync -f "$SETTINGS"
}

# Whether there are settings on trial that are for the release that `current` leads to.
they_apply() { [[ $(cat "$TRIED/release" 2>/dev/null) == "$(led_to current)" ]]; }

# Prints what is to be said of a release that is tried with settings.
with_them() { if they_apply; then echo " with new settings"; fi; }

# Takes them back, if `current` did not do so already.
withdraw() {
    rm -f "$TRIED/release"
    if [[ -d $SETTINGS ]]; then sync -f "$SETTINGS"; fi
}

# Puts in place what applies.
settle() {
    local from=$KEPT it
    if they_apply; then from=$TRIED; fi
    for it in "$SETTINGS_NAME" "$KEY_NAME"; do
        if [[ -e $TRIED/$it && ! -e $from/$it ]]; then
            rm -f "$SETTINGS/$it"
            sync -f "$SETTINGS"
        fi
        if [[ ! -e $from/$it ]] || cmp -s "$from/$it" "$SETTINGS/$it"; then continue; fi
        cp -p "$from/$it" "$SETTINGS/$it.new"
        sync "$SETTINGS/$it.new"
        mv -T "$SETTINGS/$it.new" "$SETTINGS/$it"
        sync -f "$SETTINGS"
    done
}

drop_settings() { rm -rf "$TRIED" "$TRIED.new" "$KEPT"; }

# Leaves all as it is, on trial no more. What it would go back to is dropped when no boot asks for it.
forget_the_trial() {
    rm -f "$TRIAL"
    sync -f "$HOUSE"
    drop_settings
}

# Prints the file of the settings that a release had, if the one after it came with others.
settings_of() {
    local file=$RELEASES/$1/$SETTINGS_NAME
    if [[ -e $file ]]; then echo "$file"; fi
}

# Notes them. Takes the release, and the one after it.
note_settings() {
    local old=$RELEASES/$1/$SETTINGS_NAME
    rm -f "$RELEASES/$2/$SETTINGS_NAME"
    if [[ -e $KEPT/$SETTINGS_NAME ]]; then
        cp -p "$KEPT/$SETTINGS_NAME" "$old.new"
        sync "$old.new"
        mv -T "$old.new" "$old"
    else
        rm -f "$old"
    fi
}

# Prints what is tried, in a line: what a release was made of, and what is in a folder of settings.
name_the_trial() {
    echo "$1"
    if [[ -d $2 ]]; then (cd "$2" && sha256sum "$SETTINGS_NAME" "$KEY_NAME" 2>/dev/null) || true; fi
}
