#!/usr/bin/env bash
# From a bare Debian to a conversation: sets up what is missing and runs the demo. Further words
# go to `voice-appliance demo`; without a terminal it plays itself out on stand-ins.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh

look_at_the_machine
install_packages "${RUN_PACKAGES[@]}"
check_python
fill_the_venv run

words=()
if [[ ! -t 0 || ! -t 1 ]]; then words+=(--standin); fi
exec "$VENV/bin/voice-appliance" demo "${words[@]}" "$@"
