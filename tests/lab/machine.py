"""The emulated machine: a Raspberry Pi's kernel, sound card and pins, in a process of its own.

    with machine.restored() as box:
        box.push(tar)                   the appliance, or whatever shall be tried
        box.run("uname -m")             waits, and gives what was printed
        box.launch("…", log="/run/x")   goes on by itself; its process id
        box.press(17)                   and so on: see `senses.py`

`build.sh` makes it once and keeps its disk and its memory at the moment when all was ready; here
that is gone on with, in seconds, on a disk of its own that forgets. Nothing that was kept is ever
written, so several machines can run at once. QEMU dies with whoever started it.

All commands go through one ssh connection. `senses.py` runs in the guest beside the appliance: a
finger, an eye and an ear at its pins and its card, on the clock that the appliance has too.

Pure standard library: `build.sh` runs this with Debian's Python, to start the machine for the
first time and keep it.
"""

import base64
import contextlib
import io
import itertools
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.lab import hardware

LAB = Path(__file__).parent
TOP = LAB.parents[1]
PYTHON = "/opt/python/bin/python"  # the guest's, with what requirements.lock names
HOME = "/srv/voice-appliance"  # where `push` unpacks
MOUTH = "aplay -q -D hw:CARD=Loopback,DEV=0,SUBDEV=1 -t raw -f S16_LE -r 16000 -c 1"
CARD = "/sys/bus/platform/drivers/snd_aloop"
BOOT_LIMIT_S = 180.0  # it takes 20 s; going on takes 2
RUN_LIMIT_S = 120.0
STOP_LIMIT_S = 10.0
POLL_S = 0.05


class LabError(Exception):
    """The emulated machine does not do as it should; the words say what."""


@dataclass(frozen=True)
class Recording:
    """What was heard so far, 16 kHz mono S16, and when each piece of so many bytes came."""

    sound: bytes
    pieces: list[tuple[float, int]]

    def since(self, time_s: float) -> bytes:
        """What came after that moment of the guest's clock; a piece is 10 ms long."""
        heard_bytes = sum(size for came_s, size in self.pieces if came_s <= time_s)
        return self.sound[heard_bytes:]


@dataclass(frozen=True)
class Usage:
    """What a process in the guest has used up to a moment, over all its threads."""

    t: float
    voluntary: int
    forced: int
    cpu_s: float
    descriptors: int

    def wakes_since(self, before: "Usage") -> float:
        """Context switches a second, of either kind."""
        switches = self.voluntary + self.forced - before.voluntary - before.forced
        return switches / (self.t - before.t)

    def cpu_since(self, before: "Usage") -> float:
        """Per cent of a core of the guest."""
        return 100 * (self.cpu_s - before.cpu_s) / (self.t - before.t)


def find() -> Path:
    """The folder of the machine, which is built first where it has not been; that takes minutes.

    Raises:
        LabError: it cannot be built here. What was wrong has been printed.
    """
    built = subprocess.run([LAB / "build.sh"], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        raise LabError("there is no emulated machine: build.sh has said why")
    return Path(built.stdout.strip())


@contextlib.contextmanager
def restored() -> Iterator["Machine"]:
    """A machine as it was when it was ready, with its senses about it; gone afterwards."""
    with Machine(find()) as machine:
        machine.wake_senses()
        yield machine


def tar_of_the_appliance() -> bytes:
    """The appliance as it is here, in a tar file, for `push`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.add(TOP / "appliance", "appliance", filter=_unless_compiled)
    return file.getvalue()


def _unless_compiled(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith("__pycache__") else member


def keep(parts: Path) -> None:
    """Boot the machine for the first time, prepare it, and keep it as it is then."""
    with Machine(parts, afresh=True) as machine:
        for script in ("board.sh", "prepare.sh"):
            machine.run("sh -s", stdin=(LAB / script).read_bytes())
        machine.keep()


class Machine:
    """A running machine. Entering starts it and waits for ssh; leaving ends it.

    `folder` is on this side, and goes with it.

    Args:
        parts: the folder of the machine, as `find` gives it.
        afresh: boot it, on the very disk: for `keep`.
    """

    def __init__(self, parts: Path, *, afresh: bool = False) -> None:
        self._parts = parts
        self._afresh = afresh
        self.folder = Path(tempfile.mkdtemp(prefix="voice-appliance-machine-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._senses: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """QEMU's own process id, on this side."""
        return self._processes[0].pid

    def stop(self) -> None:
        """End it, with all that runs in it. A second time does nothing."""
        self._end_processes()
        shutil.rmtree(self.folder, ignore_errors=True)

    def power_cycle(self) -> None:
        """Switch it off in order, and on: what was written to its disk is there, and nothing else.

        It boots, which takes a minute on a loaded machine; its card and its pins are gone, unless
        something of its own makes them.
        """
        self.run("systemctl --no-block poweroff")
        self._processes[0].wait(BOOT_LIMIT_S)
        self._end_processes()
        for name in ("monitor", "ssh"):
            (self.folder / name).unlink(missing_ok=True)
        self._start()
        if self._senses is not None:
            self.wake_senses()

    def _end_processes(self) -> None:
        while self._processes:
            process = self._processes.pop()
            with process:  # closes its pipes too
                process.kill()
                process.wait(STOP_LIMIT_S)

    # ── commands ─────────────────────────────────────────────────────────────────────────────

    def run(self, command: str, *, stdin: bytes = b"", limit_s: float = RUN_LIMIT_S) -> str:
        """What a command of the guest's shell printed, once it has ended.

        Raises:
            LabError: it failed, with its words; or it takes too long.
        """
        try:
            ran = subprocess.run(
                [*self._ssh_words(), "root@lab", command],
                input=stdin,
                capture_output=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{command!r} takes longer than {limit_s:g} s") from error
        if ran.returncode != 0:
            raise LabError(f"{command!r}: {ran.stderr.decode()}{ran.stdout.decode()}")
        return ran.stdout.decode()

    def launch(self, command: str, *, log: str) -> int:
        """Start a program in `HOME` that goes on by itself; its process id in the guest."""
        words = f"cd {HOME} && exec {command}"
        return int(self.run(f"sh -c {shlex.quote(words)} </dev/null >{log} 2>&1 & echo $!"))

    def wait_until(self, condition: str, *, limit_s: float = RUN_LIMIT_S) -> None:
        """Wait until a command of the guest's shell succeeds, without keeping the guest busy.

        Raises:
            LabError: it takes too long.
        """
        self.run(f"until {condition}; do sleep 0.2; done", limit_s=limit_s)

    def lives(self, pid: int) -> bool:
        """Whether a process of the guest is still there."""
        return self.run(f"test -d /proc/{pid} && echo yes || echo no") == "yes\n"

    def end(self, pid: int, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to a process of the guest, and wait until it is gone."""
        self.run(
            f"kill -{int(how)} {pid}; while test -d /proc/{pid}; do sleep 0.05; done",
            limit_s=STOP_LIMIT_S,
        )

    def push(self, tar: bytes) -> None:
        """Make `HOME` hold what is in a tar file, and nothing else."""
        self.run(f"rm -rf {HOME} && mkdir {HOME} && tar -xf - -C {HOME}", stdin=tar)

    # ── ways in and out ──────────────────────────────────────────────────────────────────────

    def lend_port(self, port: int) -> int:
        """A port of the guest's loopback that leads to this one of ours."""
        told = self._forward("-R", f"127.0.0.1:0:127.0.0.1:{port}")
        return int(told)

    def reach_socket(self, path: str) -> Path:
        """A unix socket here that leads to one of the guest, which may come to be later."""
        ours = self.folder / f"reached.{next(self._numbers)}"
        self._forward("-L", f"{ours}:{path}")
        return ours

    def _forward(self, *words: str) -> str:
        return subprocess.run(
            [*self._ssh_words(), "-O", "forward", *words, "root@lab"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    # ── hardware ─────────────────────────────────────────────────────────────────────────────

    def unplug_card(self) -> None:
        """Pull the sound card out."""
        self.run(f"echo snd_aloop.0 >{CARD}/unbind")

    def plug_card(self) -> None:
        """Put it back, if it is out."""
        self.run(f"test -e {CARD}/snd_aloop.0 || echo snd_aloop.0 >{CARD}/bind")

    def say(self, sound: bytes) -> None:
        """Say it into the microphone; returns when it has been said."""
        self.run(MOUTH, stdin=sound)

    def press(self, line: int) -> float:
        """Close the contact at a line; when that was, in the guest's monotonic time."""
        return float(self._sense("press", line=line))

    def press_and_see(self, line: int, lamp: int) -> float:
        """Close the contact at a line; how many seconds later the level of `lamp` was another."""
        return float(self._sense("press", line=line, until=lamp)["took_s"])

    def release(self, line: int) -> float:
        """Open the contact; when that was."""
        return float(self._sense("release", line=line))

    def look(self, line: int) -> None:
        """Watch the level of a line from now on, the same one always."""
        self._sense("look", line=line)

    def seen(self) -> list[tuple[float, bool]]:
        """The level when it was first looked at, and each change since."""
        return [(at_s, bool(level)) for at_s, level in self._sense("seen")]

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record the speaker; `heard` has it, also afterwards. Needs the card to be there."""
        self._sense("listen")
        try:
            yield
        finally:
            self._sense("deafen")

    def heard(self) -> Recording:
        """What has been recorded so far."""
        told = self._sense("heard")
        return Recording(base64.b64decode(told["sound"]), [tuple(it) for it in told["pieces"]])

    def usage(self, pid: int) -> Usage:
        """What a process has used so far."""
        return Usage(**self._sense("usage", pid=pid))

    def wake_senses(self) -> None:
        """Start `senses.py` in the guest."""
        self.run("cat >/run/senses.py", stdin=(LAB / "senses.py").read_bytes())
        self._senses = subprocess.Popen(
            [*self._ssh_words(), "root@lab", "python3 /run/senses.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._processes.append(self._senses)

    def _sense(self, do: str, **order: object) -> Any:
        assert self._senses is not None, "wake_senses() comes first"
        assert self._senses.stdin is not None
        assert self._senses.stdout is not None
        self._senses.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
        self._senses.stdin.flush()
        answer = self._senses.stdout.readline()
        if not answer:
            raise LabError(f"the senses are lost over {do!r}: see stderr")
        return json.loads(answer)

    # ── its life ─────────────────────────────────────────────────────────────────────────────

    def keep(self) -> None:
        """Write the state down that others will go on from, and end. The disk is as it is then."""
        self._processes.pop().kill()  # ssh: the far end is to see it go
        time.sleep(1.0)
        state = shlex.quote(f"{self._parts}/state.zst")
        with Monitor(self.folder / "monitor") as monitor:
            monitor.do("stop")
            monitor.do("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
            monitor.do("migrate", uri=f"exec:zstd -q -3 >{state}")
            while (how := monitor.do("query-migrate")["status"]) != "completed":
                if how == "failed":
                    raise LabError("the machine's state cannot be kept")
                time.sleep(POLL_S)
            monitor.do("quit")
        self._processes[0].wait(STOP_LIMIT_S)

    def _start(self) -> None:
        disk = self._parts / "disk.qcow2"
        ours = self.folder / "disk.qcow2"
        more = []
        if ours.exists():  # it was switched off
            disk = ours
        elif not self._afresh:
            base, disk = disk, ours
            how = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2")
            subprocess.run([*how, "-b", str(base), str(disk)], check=True)
            state = shlex.quote(f"{self._parts}/state.zst")
            more = ["-incoming", f"exec:zstd -dcq {state}"]
        monitor = self.folder / "monitor"
        with (self.folder / "console").open("wb") as console:
            self._processes.append(
                subprocess.Popen(
                    # Should we be killed, it goes too.
                    [
                        *("setpriv", "--pdeathsig", "KILL"),
                        *hardware.command(self._parts, disk, monitor),
                        *more,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=console,
                )
            )
        limit_s = time.monotonic() + BOOT_LIMIT_S
        while not monitor.exists():
            self._wait_a_little(limit_s)
        with Monitor(monitor) as qemu:
            while qemu.do("query-status")["status"] == "inmigrate":
                self._wait_a_little(limit_s)
            qemu.do("cont")  # it was kept standing still
            told = str(qemu.do("human-monitor-command", **{"command-line": "info usernet"}))
        forward = re.search(r"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", told)
        if forward is None:
            raise LabError(f"QEMU forwards no port: {told}")
        self._connect(int(forward[1]), limit_s)
        self.run(f"date -s @{time.time():.3f}")

    def _connect(self, port: int, limit_s: float) -> None:
        words = [*self._ssh_words(), "-M", "-N", "-p", str(port), "-i", f"{self._parts}/key"]
        while True:
            with (self.folder / "ssh.log").open("wb") as log:
                ssh = subprocess.Popen([*words, "root@127.0.0.1"], stderr=log)
            self._processes.append(ssh)
            while ssh.poll() is None:
                if (self.folder / "ssh").exists():
                    return
                self._wait_a_little(limit_s)
            self._processes.remove(ssh)
            self._wait_a_little(limit_s)

    def _wait_a_little(self, limit_s: float) -> None:
        if self._processes[0].poll() is not None or time.monotonic() > limit_s:
            said = [
                (self.folder / name).read_text(errors="replace")
                for name in ("console", "ssh.log")
                if (self.folder / name).exists()
            ]
            raise LabError("\n".join(["the machine does not come up", *said]))
        time.sleep(POLL_S)

    def _ssh_words(self) -> list[str]:
        return [
            *("ssh", "-q", "-F", "none", "-S", f"{self.folder}/ssh", "-o", "BatchMode=yes"),
            *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
            *("-o", "ConnectTimeout=5"),
        ]


class Monitor:
    """QEMU's own control socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(BOOT_LIMIT_S)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        self._lines.readline()  # its greeting
        self.do("qmp_capabilities")
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def do(self, command: str, **arguments: object) -> Any:
        """What a command gives.

        Raises:
            LabError: QEMU declines it.
        """
        words = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(words).encode() + b"\n")
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise LabError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
