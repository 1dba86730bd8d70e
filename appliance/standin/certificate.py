"""A certificate for the stand-in agent's `wss://`: of its own, made anew each time.

The product ships no private key, and a client never has to be told not to look: an authority is
made, signs one certificate for this machine's loopback, and its key is thrown away. Who trusts the
authority trusts that certificate and nothing else. The key of the certificate lies for some
milliseconds in a folder that only we may read, and from then on in memory only.

Python's library makes no certificates; the `openssl` program does, and is on every Debian that has
`ca-certificates`.
"""

import shutil
import ssl
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.errors import DeviceError

DAYS = 90
LIMIT_S = 30.0  # for a key and a signature: some 10 ms on a PC
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")

# The extensions are those that Python 3.13 insists on. None of the machine's own configuration.
CONFIGURATION = """\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[agent]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:localhost,IP:127.0.0.1,IP:::1
"""


def make(ca_file: Path) -> ssl.SSLContext:
    """Make a certificate to serve with, and write to `ca_file` whom to trust for it.

    A client's `[agent] ca_file` can name that file. Waits for `openssl`, some 20 ms.

    Raises:
        DeviceError: there is no `openssl`, it refuses, or the file cannot be written.
    """
    with TemporaryDirectory(prefix="standin-agent-") as folder:
        place = Path(folder)
        (place / "openssl.cnf").write_text(CONFIGURATION)
        _make(place, "authority")
        _make(place, "agent", "-CA", "authority.pem", "-CAkey", "authority.key")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(place / "agent.pem", place / "agent.key")
        try:
            ca_file.write_bytes((place / "authority.pem").read_bytes())
        except OSError as error:
            raise DeviceError(f"{ca_file}: {error.strerror}") from error
    return context


def _make(place: Path, name: str, *signed_by: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise DeviceError(
            "there is no `openssl` here, which makes certificates: apt install openssl"
        )
    files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
    words = ("-config", "openssl.cnf", "-extensions", name, "-days", str(DAYS))
    subject = ("-subj", f"/CN=voice-appliance stand-in {name}")
    command = (openssl, "req", "-x509", "-batch", *words, *subject, *KEY, *files, *signed_by)
    try:
        made = subprocess.run(  # noqa: S603  # the words are ours
            command,
            cwd=place,
            env={},  # ours may hold an API key, which no child is given
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"{openssl} makes no certificate: {error}") from error
    if made.returncode != 0:
        raise DeviceError(f"{openssl} makes no certificate: {made.stderr.strip()}")
