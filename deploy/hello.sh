#!/usr/bin/env bash
# Lets the box say a word, and says whether it could be heard: the whole way is tried, key, network,
# agent and speaker. On the box; a billed connection is open for it, for some seconds.
set -euo pipefail
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=deploy/ground.sh
source "$HERE/ground.sh"
# shellcheck source=deploy/box.sh
source "$HERE/box.sh"

readonly LIMIT_S=30


exec {events}< <(timeout "$LIMIT_S" "$COMMAND" watch --json 2>&1)
read -r -t "$LIMIT_S" _ <&"$events" || give_up "the box does not tell what happens"
"$COMMAND" say "Hello." >/dev/null
while read -r -t "$LIMIT_S" event <&"$events"; do
    case $event in
        *'"phase": "speaking"'*) say "the box says hello" && exit ;;
        *'"trouble": "'*)
            trouble=${event#*'"trouble": "'}
            give_up "the box could not say hello: ${trouble%%\"*}"
            ;;
    esac
done
give_up "the box did not say hello within $LIMIT_S s"
