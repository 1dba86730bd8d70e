#!/bin/sh
# Run in the emulated machine after it booted: a sound card whose ends are joined, and the pins of a
# Raspberry Pi.
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
