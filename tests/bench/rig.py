"""The rig: the lab's card, an ear at it, and the processes that are measured.

    bench process ── control socket ──▶ subject: the daemon, or a floor ◀── wire ── server process
          │                                   │ ALSA
          └── ear ◀── parec ── monitor ◀── PulseAudio (tests/paced/pulse.py)

All times are of `time.monotonic()`, which all processes of a machine share.
"""

import array
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.paced.pulse import FORMAT, LATENCY_MS, LOUD, RATE_HZ, Lab

TOP = Path(__file__).parents[2]
LIMIT_S = 10.0  # for what takes far less
POLL_S = 0.005
IDLE_S = 30.0  # after so long a control connection is made anew: the daemon drops those that rest
# What this machine's shell may have set, and a service manager would not.
STRANGE = (
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY"),
    *("DEEPGRAM_API_KEY", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"),
)


def wait_until(is_so: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait for `is_so`, asking every few milliseconds; fails after `limit_s`."""
    until_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < until_s, f"waited {limit_s:g} s in vain: {what}"
        time.sleep(POLL_S)


class Ear:
    """Hears what a sink plays, sample by sample and with the time of each.

    PulseAudio renders a block of LATENCY_MS when it begins to sound and hands it to the monitor at
    once, on the machine's own clock: arrivals keep to a line within 0.3 ms. The earliest of them
    are that line, so a sample's time is known better than the piece's in which it came.
    """

    def __init__(self, lab: Lab, sink: str) -> None:
        self._samples = array.array("h")
        self._began_s = float("inf")  # when sample 0 sounded
        self._parec = subprocess.Popen(
            ["parec", *FORMAT, f"--device={sink}.monitor", f"--latency-msec={LATENCY_MS}"],
            env={**os.environ, **lab.environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        wait_until(lambda: len(self._samples) > 0, "the ear hears nothing, not even silence")
        return self

    def __exit__(self, *_: object) -> None:
        self._parec.kill()
        self._parec.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._parec.stdout is not None
        with self._parec.stdout as pipe:
            while piece := os.read(pipe.fileno(), 65536):
                self._began_s = min(self._began_s, time.monotonic() - len(self._samples) / RATE_HZ)
                self._samples.frombytes(piece)

    def _index(self, time_s: float) -> int:
        return max(0, round((time_s - self._began_s) * RATE_HZ))

    def wait_loud(self, since_s: float, limit_s: float = LIMIT_S) -> float:
        """Wait for sound after `since_s`; when its first sample sounded."""
        at = self._index(since_s)
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            end = len(self._samples)
            for index in range(at, end):
                if abs(self._samples[index]) > LOUD:
                    return self._began_s + index / RATE_HZ
            at = max(at, end)
            time.sleep(POLL_S)
        msg = f"no sound in {limit_s:g} s"
        raise AssertionError(msg)

    def spans(self, since_s: float, until_s: float, gap_s: float) -> list[tuple[float, float]]:
        """Begin and end of each sound in a stretch of time; `gap_s` of silence parts two.

        Waits until that stretch has been heard.
        """
        begin, end = self._index(since_s), self._index(until_s)
        wait_until(lambda: len(self._samples) >= end, "the ear has gone deaf")
        found: list[tuple[float, float]] = []
        for offset, sample in enumerate(self._samples[begin:end]):
            if abs(sample) > LOUD:
                at_s = self._began_s + (begin + offset) / RATE_HZ
                if found and at_s - found[-1][1] < gap_s:
                    found[-1] = (found[-1][0], at_s)
                else:
                    found.append((at_s, at_s))
        return found


class Server:
    """The far end in its process: see `server.py` for what may be ordered."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.server"],
            cwd=TOP,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.port = int(self._answer())

    def order(self, do: str, **more: object) -> Any:
        """Have it do something; its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def wait(self, kind: str) -> float:
        """Wait for a message of this type that was not waited for yet; when it arrived."""
        arrived_s = self.order("wait", **{"for": kind})
        assert arrived_s is not None, f"no {kind} came"
        return float(arrived_s)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server of the bench has ended"
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Usage:
    """What a process has used up to a moment, over all its threads."""

    at_s: float
    cpu_s: float
    wakes: int

    def since(self, before: "Usage") -> tuple[float, float]:
        """CPU in per cent of a core, and wakeups a second."""
        length_s = self.at_s - before.at_s
        return 100 * (self.cpu_s - before.cpu_s) / length_s, (self.wakes - before.wakes) / length_s


class Subject:
    """A process that is measured. Started when made; ready when the constructor returns."""

    def __init__(self, words: list[str], control: Path, environ: dict[str, str]) -> None:
        self._control = control
        self._connection: socket.socket | None = None
        self._spoke_s = 0.0
        notify, log = control.with_suffix(".notify"), control.with_suffix(".log")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, log.open("wb") as out:
            manager.bind(str(notify))
            manager.settimeout(LIMIT_S)
            began_s = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, *words],
                cwd=TOP,
                env={**environ, "NOTIFY_SOCKET": str(notify)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
            try:
                while b"READY=1" not in manager.recv(4096):
                    pass
            except TimeoutError:
                self.close()
                raise AssertionError(f"{words} is not ready:\n{log.read_text()}") from None
            self.ready_s = time.monotonic() - began_s

    # ── the control socket ───────────────────────────────────────────────────────────────────

    def ask(self, command: str) -> Any:
        """What it answers; see `press` for how long that took."""
        return self._ask(command)[2]

    def press(self) -> tuple[float, float]:
        """Press: when that was said, and when the answer came.

        Both subjects answer when all that a press does has been done, `PCM.drop()` included.
        """
        said_s, answered_s, _ = self._ask("press")
        return said_s, answered_s

    def release(self) -> None:
        """Let go."""
        self._ask("release")

    def wait_phase(self, phase: str) -> None:
        """Wait until `status` names this phase."""
        wait_until(lambda: self.ask("status")["phase"] == phase, f"not {phase}")

    def _ask(self, command: str) -> tuple[float, float, Any]:
        if self._connection is None or time.monotonic() - self._spoke_s > IDLE_S:
            self._connect()
        assert self._connection is not None
        line = json.dumps({"command": command}).encode() + b"\n"
        said_s = time.monotonic()
        self._connection.sendall(line)
        answer = self._connection.recv(65536)
        answered_s = self._spoke_s = time.monotonic()
        while not answer.endswith(b"\n"):
            answer += self._connection.recv(65536)
        return said_s, answered_s, json.loads(answer)["ok"]

    def _connect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.settimeout(LIMIT_S)
        self._connection.connect(str(self._control))

    # ── the process ──────────────────────────────────────────────────────────────────────────

    def usage(self) -> Usage:
        """From /proc: `schedstat` counts nanoseconds, where `stat` counts hundredths of seconds."""
        cpu_ns = wakes = 0
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ends just now
                spent_ns = int((thread / "schedstat").read_text().split()[0])
                status = (thread / "status").read_text()
                wakes += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
                cpu_ns += spent_ns
        return Usage(time.monotonic(), cpu_ns / 1e9, wakes)

    def memory_mib(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("\nVmRSS:")[2].split()[0]) / 1024

    def terminate(self) -> float:
        """SIGTERM; how long until it was gone."""
        descriptor = os.pidfd_open(self._process.pid)
        try:
            told_s = time.monotonic()
            self._process.send_signal(signal.SIGTERM)
            gone, _, _ = select.select([descriptor], [], [], LIMIT_S)
            gone_s = time.monotonic()
        finally:
            os.close(descriptor)
        assert gone, "it outlives SIGTERM"
        self.close()
        return gone_s - told_s

    def close(self) -> None:
        """End it, if it has not ended."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._process.kill()
        self._process.wait()


class Rig:
    """The lab and whoever lives in it for a while."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._folder = Path(tempfile.mkdtemp(prefix="voice-appliance-bench-"))
        self._count = 0
        kept = {name: it for name, it in os.environ.items() if name not in STRANGE}
        self._environ = {
            **kept,
            **lab.environment(),
            "GPIOZERO_PIN_FACTORY": "mock",
            "STATE_DIRECTORY": str(self._folder / "state"),
            # As on a box: there the program was compiled when it was installed.
            "PYTHONPYCACHEPREFIX": str(self._folder / "bytecode"),
        }

        self._warm()

    def _warm(self) -> None:
        """Start everything once, so that nothing that is measured compiles its own program."""
        with self.daemon(), self.floor(), self.floor("trio"):
            pass

    @contextlib.contextmanager
    def daemon(self, settings: str = "", *, mode: str = "hold") -> Iterator[tuple[Subject, Server]]:
        """The real daemon, asleep, and the server that it will dial."""
        with contextlib.closing(Server()) as server:
            control = self._new_path()
            file = control.with_suffix(".toml")
            file.write_text(
                f'[agent]\nurl = "ws://127.0.0.1:{server.port}/v1/agent/converse"\n'
                f'[audio]\ncapture = "lab_cap"\nplayback = "lab_play"\n'
                '[cues]\ntrouble = false\nlanguage = ""\n'  # its far end says no words: complaints
                f'[talk]\nmode = "{mode}"\n{settings}\n'
            )
            words = ["-m", "appliance", "run", "--config", str(file), "--socket", str(control)]
            with contextlib.closing(Subject(words, control, self._environ)) as subject:
                yield subject, server

    @contextlib.contextmanager
    def floor(self, kind: str = "threads") -> Iterator[tuple[Subject, Server]]:
        """A floor, and its server; the one of threads connects when it is pressed."""
        with contextlib.closing(Server()) as server:
            control = self._new_path()
            port = ["--port", str(server.port), "--socket", str(control)]
            words = ["-m", "tests.bench.floor", kind, *port]
            with contextlib.closing(Subject(words, control, self._environ)) as subject:
                yield subject, server

    def close(self) -> None:
        """Forget the settings, logs and bytecode of all that ran here."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _new_path(self) -> Path:
        self._count += 1
        return self._folder / str(self._count)
