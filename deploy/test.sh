#!/usr/bin/env bash
# From a bare Debian to a tested appliance: sets up what is missing and runs every test; with --lab
# also those on an emulated Raspberry Pi, which is built first, once, by root. All words go to
# pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh

look_at_the_machine
install_packages "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
check_python
fill_the_venv test
if [[ " $* " == *" --lab "* ]]; then
    install_packages "${LAB_PACKAGES[@]}"
    # Containers need no emulated machine.
    if [[ " $* " != *" tests/lab/containers "* ]]; then ./tests/lab/build.sh >/dev/null; fi
fi

exec "$VENV/bin/python" -m pytest "$@"
