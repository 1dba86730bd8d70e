#!/bin/bash
# For images without cloud-init (Raspberry Pi OS bookworm): the kernel's command line has systemd run
# this once, in place of all else, and start anew. It is what Raspberry Pi Imager does, with its
# words; where Imager was asked for something, prepare.sh adds the line after `set +e` to its script.
# The path is taken from our own name: the image moves /boot to /boot/firmware in this very file.
set +e
bash "$(dirname "$0")/voice-appliance/firstboot.sh" --attach
card=$(dirname "$0")
rm -f "$card/firstrun.sh"
sed -i -E 's/ systemd\.(run|run_success_action|unit)=[^ ]*//g' "$card/cmdline.txt"
exit 0
