#!/usr/bin/env bash
# Judges the release that is on trial, and puts the one before it back unless it is good. Run by
# voice-appliance-trial.service, as root, from the release before: after update.sh has swapped them,
# or at the next boot, if the power was cut before the verdict. Settings that are on trial are judged
# with their release, or alone where the release stays, and go back with it (settings.sh).
#
#   deploy/trial.sh --settle   puts in place the settings that apply, and judges nothing
#
# Good is a release that gets ready, answers `status`, and then stays up for TRIAL_SETTLED_S, with
# no card and no panel in a trouble that the one before was not in; it has TRIAL_LIMIT_S for that.
# One that falls three times, or gives itself up, is not waited for.
#
# On trial is what `current` leads to, while there is `trial`, which leads to the one to fall back
# to. Both are changed by rename, and `trial` goes last: so whatever is cut, the next boot either
# judges again or finds that they lead to the same, that no settings apply, and that nothing is on
# trial. And settings that cannot be put in place, since the disk is full, stay on trial, for the
# next boot: what was kept is dropped only when what applies lies in its place.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh
# shellcheck source=deploy/box.sh
source deploy/box.sh
# shellcheck source=deploy/release.sh
source deploy/release.sh
# shellcheck source=deploy/settings.sh
source deploy/settings.sh

readonly LIMIT_S=${TRIAL_LIMIT_S:-120}
readonly SETTLED_S=${TRIAL_SETTLED_S:-10}
readonly FALLS_MAX=3
readonly ANSWER_LIMIT_S=10
readonly WORDS_MAX=15  # lines of the journal that are kept with the reason

# Takes the file of what `status` said before, and what it says now on standard input.
new_troubles() {
    "$PYTHON" -c '
import json, sys

def parts(text):
    try:
        told = json.loads(text)
    except ValueError:
        told = {}
    return {it: told[it] for it in ("microphone", "speaker", "panel") if it in told}

with open(sys.argv[1]) as file:
    before = parts(file.read())
for name, part in parts(sys.stdin.read()).items():
    was = before.get(name, part)["state"]
    if part["state"] not in ("open", was):
        print(f"{name}: {part['"'state'"']} ({part.get('"'trouble'"')}), and it was {was} before")
' "$1"
}

# Sets ACTIVE, PID and FALLS of the service.
look_at_the_service() {
    local name value
    while IFS='=' read -r name value; do
        case $name in
            ActiveState) ACTIVE=$value ;;
            MainPID) PID=$value ;;
            NRestarts) FALLS=$value ;;
        esac
    done < <(systemctl show -p ActiveState -p MainPID -p NRestarts "$UNIT")
}

# Whether it is well at this moment; if not, REASON says why.
is_well() {
    local answer
    if [[ $ACTIVE != active ]]; then
        REASON="it did not get ready"
        return 1
    fi
    if ! answer=$(timeout "$ANSWER_LIMIT_S" "$CURRENT/bin/$NAME" status --json 2>&1); then
        REASON="it got ready, and does not answer: ${answer:-nothing within $ANSWER_LIMIT_S s}"
        return 1
    fi
    REASON=$(new_troubles "$BEFORE" <<<"$answer")
    [[ -z $REASON ]]
}

# Whether it is good; if not, REASON says why.
is_good() {
    local now end since=0 pid=""
    now=$(uptime_s)
    end=$((now + LIMIT_S))
    REASON="there was no time"
    while ((now < end)); do
        look_at_the_service
        if [[ $ACTIVE == failed ]]; then
            REASON="it ended, and is not to be started again"
            return 1
        elif ((FALLS >= FALLS_MAX)); then
            REASON="it fell $FALLS times"
            return 1
        elif ! is_well; then
            pid=""
        elif [[ $PID != "$pid" ]]; then
            pid=$PID since=$now
        elif ((now - since >= SETTLED_S)); then
            return
        fi
        sleep 1
        now=$(uptime_s)
    done
    return 1
}

# The next release is another's to judge.
end_trial() {
    forget_the_trial
    rm -f "$BEFORE"
    remove_old
}

keep() {
    settle
    if [[ $NEW != "$OLD" ]]; then
        note_settings "$OLD" "$NEW"
        lead previous "$OLD"
    fi
    rm -f "$(mark_of "$(made_of "$NEW")")" "$(mark_of "$(name_the_trial "$(made_of "$NEW")" "$TRIED")")"
    end_trial
    say "release $NEW is good$WITH and stays"
}

fall_back() {
    local mark
    mark=$(mark_of "$(name_the_trial "$(made_of "$NEW")" "$TRIED")")
    mkdir -p "$HOUSE/bad"
    journalctl --sync || true # an older one cannot
    {
        echo "release $NEW was tried$WITH on $(date '+%F %T') and is not good: $REASON. It said:"
        # ALSA says ten lines for each card that is not there.
        journalctl --boot --unit "$UNIT" --no-pager --quiet --output cat --lines 200 |
            grep -v '^ALSA lib' | tail -n "$WORDS_MAX" || true
    } >"$mark.new"
    mv "$mark.new" "$mark"
    cat "$mark" >&2
    lead current "$OLD"
    withdraw
    settle
    restart || true # it is started again and again, as ever
    end_trial
    say "release $OLD is back${WITH:+, with its settings}"
}

# ── the verdict ──────────────────────────────────────────────────────────────────────────────────

[[ -L $TRIAL ]] || give_up "nothing is on trial"
if [[ ${1-} == --settle ]]; then
    settle
    exit
fi
OLD=$(led_to trial) NEW=$(led_to current) BEFORE=$RELEASES/$(led_to current)/status-before REASON=""
WITH=$(with_them)
if [[ $OLD == "$NEW" && -z $WITH ]]; then
    settle
    end_trial
    exit
fi
verdict=keep
is_good || verdict=fall_back
if [[ -L $TRIAL && $(led_to current) == "$NEW" ]]; then
    "$verdict"
else
    drop_settings
    say "somebody has installed $(led_to current) meanwhile"
fi
