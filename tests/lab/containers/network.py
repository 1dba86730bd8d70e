"""Boxes that answer ssh: containers on cables of their own to this machine, and who may come in.

Nothing of this machine's own ssh is read or written: `Laptop` has its keys, its known hosts and its
configuration in a folder, and lets whatever calls `ssh` use them.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .container import Container

PASSWORD = "correct horse"
LIMIT_S = 120.0
SSH = "exec /usr/bin/{tool} -F {folder}/config"
# Asked for a password, and for nothing else.
ASKED = 'case $1 in *assword*) echo >>{folder}/asked; echo "{password}" ;; *) exit 1 ;; esac'


@dataclass(frozen=True)
class Cable:
    """A network namespace with one end here, in which a container lives."""

    name: str
    here: str
    there: str


@contextlib.contextmanager
def cable() -> Iterator[Cable]:
    """A cable of its own; pulled out and gone afterwards."""
    number, name = os.urandom(2), f"va{os.urandom(3).hex()}"
    net = f"10.{100 + number[0] % 100}.{number[1]}"
    made = Cable(name, f"{net}.1", f"{net}.2")
    ip("netns", "add", name)
    try:
        ip("link", "add", name, "type", "veth", "peer", "name", "host0", "netns", name)
        ip("addr", "add", f"{made.here}/24", "dev", name)
        ip("link", "set", name, "up")
        ip("-n", name, "addr", "add", f"{made.there}/24", "dev", "host0")
        ip("-n", name, "link", "set", "host0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        ip("netns", "del", name)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@dataclass
class Laptop:
    """Who sets boxes up: its ssh, and what it was told to say when it is asked."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keygen = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "key"))
        subprocess.run(keygen, check=True)
        known = self.folder / "known_hosts"
        known.touch()
        (self.folder / "config").write_text(
            f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\n"
            f"IdentityFile {self.folder}/key\nIdentitiesOnly yes\n"
        )
        tools = self.folder / "bin"
        tools.mkdir()
        for tool in ("ssh", "scp", "sftp"):
            self._write(tools / tool, SSH.format(tool=tool, folder=self.folder) + ' "$@"')
        self._write(self.folder / "ask", ASKED.format(folder=self.folder, password=PASSWORD))
        self.environ = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "SSH_ASKPASS": str(self.folder / "ask"),
            "SSH_ASKPASS_REQUIRE": "force",
        }

    @staticmethod
    def _write(script: Path, line: str) -> None:
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)

    @property
    def asked(self) -> int:
        """How often ssh asked for a password since last."""
        file = self.folder / "asked"
        count = len(file.read_text().splitlines()) if file.exists() else 0
        file.unlink(missing_ok=True)
        return count

    def use_passwords(self) -> None:
        """Have no key any more."""
        (self.folder / "key").unlink()

    def meet(self, box: Container, address: str) -> None:
        """Let its owner in, by key or password, and know its host key."""
        public = (self.folder / "key.pub").read_bytes()
        box.run("install", "-d", "-m", "700", "-o", "maker", "/home/maker/.ssh")
        box.run("sh", "-c", "cat >/home/maker/.ssh/authorized_keys", stdin=public)
        box.run("chpasswd", stdin=f"maker:{PASSWORD}\n".encode())
        host_key = box.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        with (self.folder / "known_hosts").open("a") as known:
            known.write(f"{address} {host_key}\n")

    def run(
        self, *words: str | Path, stdin: str = "", environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as on a laptop, without a terminal; what it said on both ways out."""
        return subprocess.run(
            words,
            input=stdin,
            env={**self.environ, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            timeout=LIMIT_S,
            text=True,
            check=False,
        )


@contextlib.contextmanager
def boxes(
    count: int, layers: Sequence[Path], folder: Path, laptop: Laptop
) -> Iterator[list[tuple[Container, str]]]:
    """So many boxes that the laptop knows, each with its address."""
    with contextlib.ExitStack() as stack:
        made = []
        for number in range(count):
            (own := folder / f"box{number}").mkdir()
            line = stack.enter_context(cable())
            box = Container(layers, own, binds={}, cable=line.name)
            made.append((stack.enter_context(box), line.there))
            laptop.meet(box, line.there)
        yield made
