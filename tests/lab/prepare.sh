#!/bin/sh
# Run once in the emulated machine, before its state is kept: a sound card whose ends are joined,
# the pins of a Raspberry Pi, and the appliance's libraries in the page cache.
set -eu

modprobe snd-aloop pcm_substreams=2
modprobe gpio_sim_lab

bank=/sys/kernel/config/gpio-sim/pi/bank0
mkdir -p "$bank"
echo 54 >"$bank/num_lines"
echo pinctrl-bcm2711 >"$bank/label"
echo 1 >/sys/kernel/config/gpio-sim/pi/live

udevadm settle
test -c /dev/gpiochip0
test -c /dev/snd/pcmC0D0p
test -d /sys/devices/platform/gpio-sim.0/gpiochip0/sim_gpio17

for library in alsaaudio gpiod gpiozero lgpio msgspec systemd.daemon trio_websocket; do
    /opt/python/bin/python -c "import $library"
done
for tool in aplay arecord; do "$tool" --version >/dev/null; done
systemctl is-system-running --wait || systemctl --failed
sync
