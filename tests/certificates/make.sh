#!/usr/bin/env bash
# Makes the certificates of the tests anew, for agent.test and 127.0.0.1, and for centuries:
#
#   root.pem         who signs; its key is thrown away, so that nothing else can be signed
#   good.pem         valid
#   early.pem        valid from the year 2900
#   late.pem         valid until the year 2001
#   selfsigned.pem   signed by nobody
#   agent.key        the key of all four; a secret of nothing and nobody
#
# `openssl ca` because it alone takes dates in every release of OpenSSL 3. The extensions are those
# that Python 3.13 insists on.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir signed
touch index
echo 01 >serial
cat >ca.cnf <<'END'
[ca]
default_ca = tests
[tests]
database = index
serial = serial
new_certs_dir = signed
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[agent]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:agent.test,IP:127.0.0.1
END

# Takes: the name, the first year, the last year, and what else `openssl ca` is to know.
sign() {
    local name=$1 from=$2 to=$3
    shift 3
    openssl ca -batch -notext -config ca.cnf -startdate "${from}0101000000Z" \
        -enddate "${to}0101000000Z" -out "$here/$name.pem" "$@"
}

for owner in root agent; do
    openssl ecparam -name prime256v1 -genkey -noout -out "$owner.key"
    openssl req -new -key "$owner.key" -subj "/CN=$owner.test" -out "$owner.csr"
done
by_root=(-extensions agent -in agent.csr -cert "$here/root.pem" -keyfile root.key)
sign root 2000 2999 -extensions root -in root.csr -selfsign -keyfile root.key
sign good 2000 2999 "${by_root[@]}"
sign early 2900 2999 "${by_root[@]}"
sign late 2000 2001 "${by_root[@]}"
sign selfsigned 2000 2999 -extensions agent -in agent.csr -selfsign -keyfile agent.key
mv agent.key "$here/agent.key"
