#!/usr/bin/env bash
# Makes the recordings of a language from its prompts.toml, with espeak-ng and sox: 16 kHz, mono,
# IMA ADPCM (a quarter of the size, and any player knows it), no silence but 50 ms at the end. They
# are kept in the repository, so that only who changes a sentence needs the two programs; the same
# versions give the same bytes. made-of.txt tells from which text, and by which versions: a test
# compares it. A new language is a folder with a prompts.toml and its name in `LANGUAGES` of
# appliance/sound/sentences.py.
#
#     ./deploy/prompts.sh LANGUAGE [FOLDER]     FOLDER: where to, else where the text lies
set -euo pipefail
cd "$(dirname "$0")/.."

give_up() {
    echo "prompts: $*" >&2
    exit 1
}

(($# == 1 || $# == 2)) || give_up "wanted a language: ./deploy/prompts.sh LANGUAGE [FOLDER]"
readonly TEXT=appliance/sound/prompts/$1/prompts.toml
readonly INTO=${2:-${TEXT%/*}}
[[ -e $TEXT ]] || give_up "there is no $TEXT: write the sentences first, as in the English one"
for program in espeak-ng sox; do
    command -v "$program" >/dev/null ||
        give_up "$program is missing: apt-get install espeak-ng sox"
done

# Prints a line for each sentence: its name, the voice, the speed, the words.
sentences() {
    python3 - "$TEXT" <<'PYTHON'
import sys, tomllib

with open(sys.argv[1], "rb") as file:
    text = tomllib.load(file)
for name, words in text["prompts"].items():
    print(name, text["voice"], text["speed_wpm"], words, sep="\t")
PYTHON
}

# Takes a file, a voice, a speed and the words to speak into it.
speak() {
    local trim=(silence 1 0.02 0.5% reverse)
    espeak-ng -v "$2" -s "$3" --stdout "$4" |
        sox -D -t wav - -r 16000 -c 1 -e ima-adpcm "$1" \
            "${trim[@]}" "${trim[@]}" pad 0 0.05 gain -n -3
}

versions() {
    local espeak sox
    espeak=$(espeak-ng --version) sox=$(sox --version)
    espeak=${espeak#*speech: } sox=${sox##* v}
    echo "espeak-ng ${espeak%% *}, sox $sox"
}

lines=$(sentences)
mkdir -p "$INTO"
if (($# == 1)); then rm -f "$INTO"/*.wav; fi
versions >"$INTO/made-of.txt"
while IFS=$'\t' read -r name voice speed words; do
    speak "$INTO/$name.wav" "$voice" "$speed" "$words"
    hash=$(printf '%s\n' "$voice" "$speed" "$words" | sha256sum)
    echo "$name ${hash%% *}" >>"$INTO/made-of.txt"
done <<<"$lines"
