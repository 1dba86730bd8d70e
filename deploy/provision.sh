#!/usr/bin/env bash
# From a Raspberry Pi that answers ssh to a box that talks, in one command, from a laptop with Linux
# and bash 4.4:
#
#   deploy/provision.sh USER@HOST --kit NAME --key-file FILE
#
#     --kit NAME         the board: [panel] kit of the settings, config.txt, mixer (kits.py)
#     --config FILE      the settings; a box that has some keeps them, unless --replace-config
#     --key-file FILE    Deepgram's key; `-` reads it from standard input. Without: a box that has
#                        none is asked for here, without an echo
#     --wheelhouse DIR   made by deploy/wheelhouse.sh; without, it is built (Debian, root or sudo)
#     --overlay FILE, --alsa-state FILE    for boards that want one: see deploy/kit.sh
#     --port N, --identity FILE            as ssh's -p and -i
#     --no-hello         do not let the box speak at the end, which opens a billed connection
#
# It may be interrupted and run again at any point, and against a box that is done: then nothing is
# changed. What it copied is removed again. Exit status: 0 the box is set up and has spoken.
#
# ssh is asked once: all goes through one connection, so a password is typed once, and once more
# after a restart. Host keys are checked as your ssh is set up to. The password for sudo is asked
# for only where sudo wants one, and goes through standard input; the key does too, into a folder
# that only root can read. Neither is in an argument, nor in a file on this side. Without a terminal
# the answers are read from standard input: sudo's password, if it is wanted, and then the key.
set -euo pipefail
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=deploy/ground.sh
source "$HERE/ground.sh"
# shellcheck source=deploy/box.sh
source "$HERE/box.sh"

readonly STAGE=/var/cache/$NAME-payload  # on the box; of root, for root
readonly RESTART_LIMIT_S=300 READY_LIMIT_S=60
readonly MUST_RESTART=3  # what kit.sh says

HOST="" SSH=() SUDO="" SUDO_PASSWORD="" NEW_KEY=""
INSTALL=() KIT_WORDS=() NEW_CONFIG="" KEY_FILE="" WHEELHOUSE="" HELLO=yes

# ── the way to the box ───────────────────────────────────────────────────────────────────────────

connect() {
    ssh "${SSH[@]}" -o ControlMaster=yes -o ControlPersist=yes -o ServerAliveInterval=15 \
        -o ConnectTimeout=20 -f -N "$HOST"
}

disconnect() { ssh "${SSH[@]}" -O exit "$HOST" 2>/dev/null || true; }

# Runs a command on the box; what comes in here goes in there. Where the connection is gone, nobody is
# asked for a password again.
on_box() {
    ssh "${SSH[@]}" -o ControlMaster=no -o BatchMode=yes "$HOST" "$(printf '%q ' "$@")"
}

# The same, as root. sudo takes a password off the front of what comes in, and no more; that it asks
# is made sure of by -k, or it would leave the password to the command.
as_root() {
    case $SUDO in
        root) on_box "$@" ;;
        free) on_box sudo -n -- "$@" ;;
        asks) { printf '%s\n' "$SUDO_PASSWORD" && cat; } | on_box sudo -k -S -p '' -- "$@" ;;
    esac
}

# Asks for a line that nobody else shall see. Sets ANSWER.
ask_secretly() {
    local from=/dev/stdin
    if : 2>/dev/null </dev/tty; then from=/dev/tty; fi
    printf '%s' "$1" >&2
    IFS= read -rs ANSWER <"$from" || give_up "no answer, and no terminal to ask at"
    printf '\n' >&2
}

find_sudo() {
    if [[ $(on_box id -u </dev/null) == 0 ]]; then
        SUDO=root
    elif on_box sudo -n true </dev/null 2>/dev/null; then
        SUDO=free
    else
        SUDO=asks
        ask_secretly "sudo's password on $HOST: "
        SUDO_PASSWORD=$ANSWER
        as_root true </dev/null || give_up "sudo on $HOST does not take that password"
    fi
}

# ── steps ────────────────────────────────────────────────────────────────────────────────────────

check_files() {
    local file
    for file in "$NEW_CONFIG" "${KEY_FILE#-}" "${KIT_WORDS[@]}"; do
        if [[ -n $file && $file != --* && ! -r $file ]]; then give_up "cannot read $file"; fi
    done
    if [[ -n ${KEY_FILE#-} && -n $(find -L "$KEY_FILE" -perm /077) ]]; then
        say "others on this machine can read $KEY_FILE: chmod 600 would keep them out"
    fi
}

# Sets NEW_KEY to what the box shall have, or to nothing where it keeps what it has.
find_key() {
    case $KEY_FILE in
        -) IFS= read -r NEW_KEY || true ;;
        ?*) NEW_KEY=$(<"$KEY_FILE") ;;
        "")
            if as_root test -s "$KEY" </dev/null; then return; fi
            # A box that gets tokens has no key.
            if [[ -n $NEW_CONFIG ]] && grep -q '^ *key_command' "$NEW_CONFIG"; then return; fi
            ask_secretly "Deepgram's key for $HOST: "
            NEW_KEY=$ANSWER
            ;;
    esac
    [[ -n $NEW_KEY ]] || give_up "that is no key: it is empty"
}

# Sets SUITE and ARCHITECTURE to the box's.
look_at_the_box() {
    local told
    # shellcheck disable=SC2016  # the box's shell
    told=$(on_box sh -c '. /etc/os-release && echo "$VERSION_CODENAME $(dpkg --print-architecture)"' \
        </dev/null)
    read -r SUITE ARCHITECTURE <<<"$told"
    case $SUITE in
        bookworm | trixie) ;;
        *) give_up "$HOST has ${SUITE:-no Debian}; wanted Raspberry Pi OS bookworm or trixie" ;;
    esac
    case $ARCHITECTURE in
        arm64 | amd64) ;;
        *) give_up "$HOST is $ARCHITECTURE; wanted the 64-bit image" ;;
    esac
    say "$HOST: $SUITE, $ARCHITECTURE"
}

build_wheels() {
    if [[ -n $WHEELHOUSE ]]; then return; fi
    local become=()
    if ((EUID != 0)); then become=(sudo); fi
    WHEELHOUSE=$HERE/../dist/wheelhouse-$SUITE-$ARCHITECTURE
    "${become[@]}" "$HERE/wheelhouse.sh" --suite "$SUITE" --arch "$ARCHITECTURE" "$WHEELHOUSE"
}

# Puts a file of ours, as it comes in, beside the payload, for root's eyes.
put() {
    # shellcheck disable=SC2016  # the box's shell
    as_root sh -c 'umask 077 && cat >"$1"' sh "$STAGE/$1"
}

copy_payload() {
    local i file
    quietly "$HERE/payload.sh" "$WORK/payload.tar" --wheelhouse "$WHEELHOUSE"
    say "copying $(du -h "$WORK/payload.tar" | cut -f 1) to $HOST"
    # shellcheck disable=SC2016
    as_root sh -c 'rm -rf "$1" && mkdir -m 700 "$1" && tar -xf - -C "$1"' sh "$STAGE" \
        <"$WORK/payload.tar"
    if [[ -n $NEW_CONFIG ]]; then
        put config.toml <"$NEW_CONFIG"
        INSTALL+=(--config "$STAGE/config.toml")
    fi
    for ((i = 1; i < ${#KIT_WORDS[@]}; i += 2)); do
        file=${KIT_WORDS[i]}
        KIT_WORDS[i]=$STAGE/${file##*/}
        put "${file##*/}" <"$file"
    done
    if [[ -n $NEW_KEY ]]; then
        printf '%s\n' "$NEW_KEY" | put key
        INSTALL+=(--key-file "$STAGE/key")
    fi
}

remove_payload() { as_root rm -rf "$STAGE" </dev/null || say "$STAGE is left on $HOST"; }

install_on_box() {
    # shellcheck disable=SC2016
    as_root sh -c 'trap "rm -f $0/key" EXIT && "$0/deploy/install.sh" "$@"' "$STAGE" \
        --wheelhouse "$STAGE/wheelhouse" "${INSTALL[@]}" </dev/null
}

boot_of_the_box() { on_box cat /proc/sys/kernel/random/boot_id </dev/null; }

restart_box() {
    local before began=$SECONDS
    before=$(boot_of_the_box)
    say "$HOST starts anew"
    as_root systemctl reboot </dev/null || true  # the connection may break under it
    disconnect
    until sleep 3 && connect 2>"$WORK/connect.log" && [[ $(boot_of_the_box) != "$before" ]]; do
        disconnect
        if ((SECONDS - began > RESTART_LIMIT_S)); then
            cat "$WORK/connect.log" >&2
            give_up "$HOST did not come back within $RESTART_LIMIT_S s"
        fi
    done
}

fit_the_board() {
    local status=0
    as_root "$STAGE/deploy/kit.sh" "${KIT_WORDS[@]}" </dev/null || status=$?
    if ((status == MUST_RESTART)); then
        restart_box
        as_root "$STAGE/deploy/kit.sh" "${KIT_WORDS[@]}" </dev/null
    elif ((status != 0)); then
        return "$status"
    fi
}

wait_until_ready() {
    local began=$SECONDS
    until as_root "$COMMAND" status --json </dev/null >"$WORK/status" 2>"$WORK/status.log"; do
        if ((SECONDS - began > READY_LIMIT_S)); then
            cat "$WORK/status.log" >&2
            as_root journalctl -u voice-appliance -n 20 --no-pager </dev/null >&2 || true
            give_up "$HOST is installed, and does not run: see above"
        fi
        sleep 1
    done
}

speak() {
    if [[ $HELLO != yes ]]; then return; fi
    as_root "$STAGE/deploy/hello.sh" </dev/null
}

# ── words ────────────────────────────────────────────────────────────────────────────────────────

read_words() {
    while (($#)); do
        case $1 in
            --kit) INSTALL+=(--kit "$2") && shift ;;
            --config) NEW_CONFIG=$2 && shift ;;
            --replace-config) INSTALL+=(--replace-config) ;;
            --key-file) KEY_FILE=$2 && shift ;;
            --wheelhouse) WHEELHOUSE=$2 && shift ;;
            --overlay | --alsa-state) KIT_WORDS+=("$1" "$2") && shift ;;
            --port) SSH+=(-p "$2") && shift ;;
            --identity) SSH+=(-i "$2") && shift ;;
            --no-hello) HELLO=no ;;
            --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && exit ;;
            -*) give_up "knows no $1; see --help" ;;
            *)
                [[ -z $HOST ]] || give_up "wanted one box, not $HOST and $1"
                HOST=$1
                ;;
        esac
        shift
    done
    [[ -n $HOST ]] || give_up "wanted USER@HOST; see --help"
}

leave() {
    if [[ -n $SUDO ]]; then remove_payload; fi
    disconnect
    rm -rf "$WORK"
}

main() {
    local spoke=0
    read_words "$@"
    check_files
    WORK=$(mktemp -d)
    SSH+=(-o "ControlPath=$WORK/ssh")
    trap leave EXIT
    connect || give_up "no ssh to $HOST"
    look_at_the_box
    find_sudo
    find_key
    build_wheels
    copy_payload
    install_on_box
    fit_the_board
    wait_until_ready
    speak || spoke=$?
    as_root "$COMMAND" status </dev/null
    return "$spoke"
}

main "$@"
