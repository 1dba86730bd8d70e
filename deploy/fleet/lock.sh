#!/usr/bin/env bash
# Pins what requirements.in names, with hashes, for Python 3.11 and later: deploy/fleet/lock.sh. All
# words go to uv: `--upgrade` takes newer versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh

find_uv
run_uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --custom-compile-command deploy/fleet/lock.sh \
    --output-file deploy/fleet/requirements.txt deploy/fleet/requirements.in "$@"
