#!/usr/bin/env bash
# Packs what a box is installed from into one file, for provision.sh, a card or a fleet:
#
#   deploy/payload.sh FILE.tar [--wheelhouse FOLDER] [--suite bookworm|trixie] [--arch arm64|amd64]
#
# In it lie deploy/, systemd/ and wheelhouse/, as install.sh wants them. Without --wheelhouse the
# wheels are built first, for the suite and architecture that were given (both as often as need be),
# which takes Debian and root. The same files give the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ground.sh
source deploy/ground.sh

main() {
    local file="" wheelhouse="" build=()
    while (($#)); do
        case $1 in
            --wheelhouse) wheelhouse=$(realpath -e "$2") && shift ;;
            --suite | --arch) build+=("$1" "$2") && shift ;;
            --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" && return ;;
            -*) give_up "knows no $1; see --help" ;;
            *) file=$1 ;;
        esac
        shift
    done
    [[ -n $file ]] || give_up "wanted the file to write; see --help"
    if [[ -z $wheelhouse ]]; then
        wheelhouse=$PWD/dist/wheelhouse-for-payload
        ./deploy/wheelhouse.sh "${build[@]}" "$wheelhouse"
    fi
    [[ -e $wheelhouse/requirements.txt ]] ||
        give_up "$wheelhouse is no wheelhouse: deploy/wheelhouse.sh makes one"
    mkdir -p "$(dirname "$file")"
    tar --create --file "$file.new" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
        --mode=u=rwX,go=rX --exclude=deploy/fleet \
        --transform "s|^${wheelhouse#/}|wheelhouse|" deploy systemd \
        --directory / "${wheelhouse#/}"
    mv "$file.new" "$file"
    say "$file: $(du -h "$file" | cut -f 1)"
}

main "$@"
