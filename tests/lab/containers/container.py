"""A Debian with systemd as its first process, in a container: a box without its hardware.

What is pristine lies below and is never written; what a container writes goes into a layer of its
own, which a next one can be given to stand on, or boot with again. It has no network but its own
loopback. It is not known to this machine's service manager, which need not be systemd, and has a
tree of control groups of its own, without controllers: limits of memory and tasks mean nothing.
"""

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
BOOT_LIMIT_S = 60.0  # it takes half a second
RUN_LIMIT_S = 180.0
STOP_LIMIT_S = 10.0
POLL_S = 0.05
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C", "-w")  # all that nspawn makes, and its root
# The mounts and the group end with the process; the words are: layers, upper, work, name, more.
START = """
set -e
mount -t tmpfs none /mnt
mkdir /mnt/root
mount -t overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" none /mnt/root
umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
group=/sys/fs/cgroup/$4
mkdir "$group"
echo $$ >"$group/cgroup.procs"
name=$4
shift 4
setpriv --pdeathsig KILL systemd-nspawn -q -D /mnt/root --boot --register=no --keep-unit \
    --console=pipe -M "$name" --private-network "$@" || true
echo $$ >/sys/fs/cgroup/cgroup.procs
find "$group" -depth -type d -exec rmdir {} + || true
"""


class LabError(Exception):
    """The container does not do as it should; the words say what."""


def tree(suite: str) -> Path:
    """The pristine tree of a suite, which is made first where it has not been.

    Raises:
        LabError: it cannot be made here. What was wrong has been printed.
    """
    made = subprocess.run([HERE / "tree.sh", suite], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode != 0:
        raise LabError(f"there is no tree of {suite}: tree.sh has said why")
    return Path(made.stdout.strip())


class Container:
    """A running container. Entering boots it; leaving ends it. Its layer stays.

    Args:
        layers: what it stands on, the uppermost first; the last is a tree.
        folder: of its own: for its layer, `folder / "layer"`.
        binds: folders of this machine by where they can be read in it.
    """

    def __init__(self, layers: Sequence[Path], folder: Path, *, binds: Mapping[str, Path]) -> None:
        self.layers = list(layers)
        self.layer = folder / "layer"
        self._folder = folder
        self._binds = binds
        self._popen: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def boot(self) -> None:
        """Start it; returns when all has started that starts with the machine, or has failed.

        Raises:
            LabError: it does not come up.
        """
        work = Path(tempfile.mkdtemp(dir=self._folder, prefix="work"))
        self.layer.mkdir(exist_ok=True)
        layers = ":".join(map(str, self.layers))
        words = [
            *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"),
            *("sh", "-c", START),
            *("sh", layers, str(self.layer), str(work), f"box-{os.urandom(4).hex()}"),
            *(f"--bind-ro={ours}:{theirs}" for theirs, ours in self._binds.items()),
        ]
        with (self._folder / "console").open("wb") as console:
            self._popen = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        limit_s = time.monotonic() + BOOT_LIMIT_S
        while not self._find_leader():
            self._wait_a_little(limit_s)
        while not self._is_up():
            self._wait_a_little(limit_s)

    def power_off(self) -> None:
        """Stop it in order."""
        self.run("systemctl", "poweroff", check=False)
        assert self._popen is not None
        self._popen.wait(STOP_LIMIT_S)

    def cut(self) -> None:
        """Take the power away. A second time does nothing."""
        if self._popen is not None:
            if self._leader:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._leader, 9)
            else:
                self._popen.kill()
            self._popen.wait(STOP_LIMIT_S)
            self._popen, self._leader = None, 0

    def run(
        self, *words: str | Path, user: str = "root", stdin: bytes = b"", check: bool = True
    ) -> str:
        """What a program in it printed, on both ways out, once it has ended.

        Raises:
            LabError: it failed, with what it printed; not if `check` is false.
        """
        ran = self.try_to_run(*words, user=user, stdin=stdin)
        said = ran.stdout.decode().strip()
        if check and ran.returncode != 0:
            raise LabError(f"{words} ended with {ran.returncode}: {said}")
        return said

    def try_to_run(
        self, *words: str | Path, user: str = "root", stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in it to its end, however it ends."""
        there = ["nsenter", "-t", str(self._leader), *NAMESPACES, "--"]
        clean = ["env", "-i", f"PATH={PATH}", "LANG=C.UTF-8", f"HOME=/{user}"]
        as_user = [] if user == "root" else ["runuser", "-u", user, "--"]
        return subprocess.run(
            [*there, *clean, *as_user, *words],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_LIMIT_S,
            check=False,
        )

    def _is_up(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False)
        return state in {"running", "degraded"}

    def _find_leader(self) -> bool:
        """nspawn's child, which is the container's first process."""
        assert self._popen is not None
        pid = self._popen.pid
        for _ in range(2):  # ours became the shell; its child is nspawn
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if not children:
                return False
            pid = int(children[0])
        self._leader = pid
        return True

    def _wait_a_little(self, limit_s: float) -> None:
        assert self._popen is not None
        if self._popen.poll() is not None or time.monotonic() > limit_s:
            said = (self._folder / "console").read_text(errors="replace")
            raise LabError(f"the container does not come up\n{said}")
        time.sleep(POLL_S)
