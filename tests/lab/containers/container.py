"""A Debian with systemd as its first process, in a container: a box without its hardware.

What is pristine lies below and is never written; what a container writes goes into a layer of its
own, which a next one can be given to stand on, or boot with again. It is not known to this
machine's service manager, which need not be systemd, and has a tree of control groups of its own,
without controllers: limits of memory and tasks mean nothing.
"""

import contextlib
import os
import re
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
again=yes
trap 'again=no; kill -KILL $!' TERM
status=133  # as it ends when what is in it wants to start anew
while [ "$status$again" = 133yes ]; do
    status=0
    setpriv --pdeathsig KILL systemd-nspawn -q -D /mnt/root --boot --register=no --keep-unit \
        --console=pipe -M "$name" "$@" &
    wait $! || status=$?
done
wait || true
echo $$ >/sys/fs/cgroup/cgroup.procs
echo 1 >"$group/cgroup.kill"
tries=0
until find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || [ "$tries" -eq 40 ]; do
    sleep 0.1  # whoever was killed is not gone at once
    tries=$((tries + 1))
done
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


def children(pid: int) -> list[int]:
    """The children of a process; none, if it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def is_first(pid: int) -> bool:
    """Whether it is the first process of a namespace of its own."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        status = Path(f"/proc/{pid}/status").read_text()
        return re.search(r"^NSpid:\t\d+\t1$", status, re.MULTILINE) is not None
    return False


class Container:
    """A running container. Entering boots it; leaving ends it. Its layer stays.

    Args:
        layers: what it stands on, the uppermost first; the last is a tree.
        folder: of its own: for its layer, `folder / "layer"`.
        binds: folders and files of this machine by where they can be read in it.
        network: it has this machine's, not just a loopback of its own.
        cable: the name of a network namespace to live in, in place of either.
    """

    def __init__(
        self,
        layers: Sequence[Path],
        folder: Path,
        *,
        binds: Mapping[str, Path],
        network: bool = False,
        cable: str = "",
    ) -> None:
        self.layers = list(layers)
        self.layer = folder / "layer"
        self._folder = folder
        self._binds = binds
        self._network = network
        self._cable = cable
        self._popen: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        try:
            self.boot()
        except BaseException:
            self.cut()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def boot(self) -> None:
        """Start it; returns when all has started that starts with the machine, or has failed.

        Raises:
            LabError: it does not come up.
        """
        work = Path(tempfile.mkdtemp(dir=self._folder, prefix="work"))
        units = self.layer / "etc/systemd/system"
        if self._network and not units.exists():
            units.mkdir(parents=True)
            (units / "ssh.service").symlink_to("/dev/null")  # it would listen on our port
            (units / "ssh.socket").symlink_to("/dev/null")
        self.layer.mkdir(exist_ok=True)
        layers = ":".join(map(str, self.layers))
        words = [
            *("setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private"),
            *("sh", "-c", START),
            *("sh", layers, str(self.layer), str(work), f"box-{os.urandom(4).hex()}"),
            self._network_word,
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

    @property
    def _network_word(self) -> str:
        if self._cable:
            return f"--network-namespace-path=/run/netns/{self._cable}"
        return "--resolv-conf=copy-host" if self._network else "--private-network"

    @property
    def root(self) -> Path:
        """Its files as it sees them, those in its memory too."""
        return Path(f"/proc/{self._leader}/root")

    def find_again(self) -> None:
        """Go on with it after it has started anew by itself.

        Raises:
            LabError: it does not come up.
        """
        self._leader = 0
        limit_s = time.monotonic() + BOOT_LIMIT_S
        while not self._find_leader():
            self._wait_a_little(limit_s)

    def power_off(self) -> None:
        """Stop it in order."""
        self.run("systemctl", "poweroff", check=False)
        assert self._popen is not None
        self._popen.wait(STOP_LIMIT_S)
        self._leader = 0

    def cut(self) -> None:
        """Take the power away. A second time does nothing."""
        if self._popen is not None:
            self._popen.terminate()
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
        as_user = [] if user == "root" else ["runuser", "-u", user, "--"]
        return subprocess.run(
            [*self._inside(), *as_user, *words],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RUN_LIMIT_S,
            check=False,
        )

    def talk(self, *words: str, question: str, answer: str) -> str:
        """What a program in it printed on a terminal, where it was answered one question.

        Raises:
            LabError: it failed, with what it printed.
        """
        ours, theirs = os.openpty()
        with subprocess.Popen(
            [*self._inside(), *words], stdin=theirs, stdout=theirs, stderr=theirs
        ) as popen:
            os.close(theirs)
            said = b""
            with contextlib.suppress(OSError):  # the end of what comes from a terminal
                while heard := os.read(ours, 4096):
                    said += heard
                    if answer and question.encode() in said:
                        os.write(ours, answer.encode())
                        answer = ""
        os.close(ours)
        if popen.returncode != 0:
            raise LabError(f"{words} ended with {popen.returncode}: {said.decode()}")
        return said.decode()

    def _inside(self) -> list[str]:
        """The words that run a program in it, with nothing of ours around it."""
        there = ["nsenter", "-t", str(self._leader), *NAMESPACES, "--"]
        return [*there, "env", "-i", f"PATH={PATH}", "LANG=C.UTF-8", "HOME=/root"]

    def _is_up(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False)
        return state in {"running", "degraded"}

    def _find_leader(self) -> bool:
        """Ours became a shell; its child is nspawn, and a child of that the first of all inside."""
        assert self._popen is not None
        for nspawn in children(self._popen.pid):
            for pid in children(nspawn):
                if is_first(pid):
                    self._leader = pid
        return self._leader != 0

    def _wait_a_little(self, limit_s: float) -> None:
        assert self._popen is not None
        if self._popen.poll() is not None or time.monotonic() > limit_s:
            said = (self._folder / "console").read_text(errors="replace")
            raise LabError(f"the container does not come up\n{said}")
        time.sleep(POLL_S)
