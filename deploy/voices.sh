#!/usr/bin/env bash
# Speaks the two questions of the demo anew, with espeak-ng and sox: 16 kHz, mono, 16 bit, silence
# of 0.15 s on both sides. The files are kept in the repository, so that neither program is needed
# to try or to test; the same versions give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

# Takes a file of the stand-in and the words to speak into it.
speak() {
    local trim=(silence 1 0.02 0.5% reverse)
    espeak-ng -v en-us -s 140 --stdout "$2" |
        sox -D -t wav - -r 16000 -c 1 -b 16 "appliance/standin/$1" \
            "${trim[@]}" "${trim[@]}" pad 0.15 0.15
}

speak question.wav "What time is it?"
speak second.wav "And what day is it tomorrow?"
