#!/usr/bin/env bash
# Writes requirements.lock from pyproject.toml: names, versions and hashes of everything that is
# installed, for every Python, and no address. Versions that still fit stay as they are; with
# `--upgrade` all are the newest, with `--upgrade-package NAME` that one is.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh

find_uv
command=(
    pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url
    --all-extras --group build --group test --output-file "$LOCK" pyproject.toml
)
run_uv "${command[@]}" --quiet --custom-compile-command "deploy/lock.sh: uv ${command[*]}" "$@"
