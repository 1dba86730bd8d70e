#!/bin/sh
# Run once in the emulated machine, after board.sh and before its state is kept: the appliance's
# libraries in the page cache.
set -eu

for library in alsaaudio gpiod gpiozero lgpio msgspec systemd.daemon trio_websocket; do
    /opt/python/bin/python -c "import $library"
done
for tool in aplay arecord; do "$tool" --version >/dev/null; done
systemctl is-system-running --wait || systemctl --failed
sync
