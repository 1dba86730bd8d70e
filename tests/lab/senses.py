"""A finger, an eye and an ear, inside the emulated machine; `machine.py` sends this there.

    {"do": "press", "line": 17}                      the contact closes; when that was
    {"do": "press", "line": 17, "until": 25}         and how long until line 25 changed its level
    {"do": "release", "line": 17}
    {"do": "look", "line": 25}                       from now on each change of its level is noted
    {"do": "seen"}                                   the level at first, then each change: [[t, 0]]
    {"do": "listen"} {"do": "deafen"}                begin and end to record the speaker
    {"do": "heard"}                                  what was recorded, and when each piece came
    {"do": "usage", "pid": 1234}                     wakeups and CPU of a process so far

One JSON object a line, and one back. Times are of `time.monotonic()`, which the appliance has too.
The ear is at the other end of the card: what is played at its device 0 is recorded from device 1.
Pure standard library.
"""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

LINES = Path("/sys/devices/platform/gpio-sim.0/gpiochip0")
EAR = ("arecord", "-q", "-D", "hw:CARD=Loopback,DEV=1,SUBDEV=0", "-t", "raw", "-f", "S16_LE")
FORMAT = ("-r", "16000", "-c", "1", "--period-size=160", "--buffer-size=16000")
LOOK_EVERY_S = 0.004  # a level that is shorter than this may go unseen
PATIENCE_S = 5.0

Order = dict[str, Any]


class Level:
    """The level of a line, as often as one likes to know it."""

    def __init__(self, line: int) -> None:
        self._file = os.open(LINES / f"sim_gpio{line}" / "value", os.O_RDONLY)

    def read(self) -> int:
        return int(os.pread(self._file, 1, 0))

    def close(self) -> None:
        os.close(self._file)


class Senses:
    """Does what it is told. One line is looked at, and one recording made, at a time."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = []
        self._looked_at: int | None = None
        self._ear: subprocess.Popen[bytes] | None = None
        self._pieces: list[tuple[float, bytes]] = []
        self._hears = threading.Event()

    def obey(self, order: Order) -> object:
        match order.pop("do"):
            case "press":
                return self._press(**order)
            case "release":
                return pull(order["line"], "pull-up")
            case "look":
                self._look(order["line"])
            case "seen":
                return list(self._seen)
            case "listen":
                return self._listen()
            case "heard":
                return self._heard()
            case "deafen":
                self._deafen()
            case "usage":
                return usage(order["pid"])
        return None

    def _press(self, line: int, until: int | None = None) -> object:
        if until is None:
            return pull(line, "pull-down")
        level = Level(until)
        before = level.read()
        pressed_s = pull(line, "pull-down")
        while (now_s := time.monotonic()) < pressed_s + PATIENCE_S:
            if level.read() != before:
                break
        level.close()
        return {"t": pressed_s, "took_s": now_s - pressed_s}

    def _look(self, line: int) -> None:
        level = Level(line)
        self._seen = [(time.monotonic(), level.read())]
        if self._looked_at is None:
            threading.Thread(target=self._keep_looking, args=(level,), daemon=True).start()
        assert self._looked_at in {None, line}, "it looks at one line only"
        self._looked_at = line

    def _keep_looking(self, level: Level) -> None:
        while True:
            now = level.read()
            seen = self._seen
            if seen[-1][1] != now:
                seen.append((time.monotonic(), now))
            time.sleep(LOOK_EVERY_S)

    def _listen(self) -> float:
        self._pieces = []
        self._hears.clear()
        self._ear = subprocess.Popen([*EAR, *FORMAT], stdout=subprocess.PIPE)
        threading.Thread(target=self._record, args=(self._ear,), daemon=True).start()
        assert self._hears.wait(PATIENCE_S), "the card gives nothing"
        return time.monotonic()

    def _record(self, ear: "subprocess.Popen[bytes]") -> None:
        assert ear.stdout is not None
        pieces = self._pieces
        with ear.stdout as pipe:
            while piece := os.read(pipe.fileno(), 65536):
                pieces.append((time.monotonic(), piece))
                self._hears.set()

    def _heard(self) -> Order:
        pieces = list(self._pieces)
        sound = b"".join(piece for _, piece in pieces)
        return {
            "sound": base64.b64encode(sound).decode(),
            "pieces": [(came_s, len(piece)) for came_s, piece in pieces],
        }

    def _deafen(self) -> None:
        assert self._ear is not None
        self._ear.kill()
        self._ear.wait()
        self._ear = None


def pull(line: int, way: str) -> float:
    """Pull an input line up or down, as a contact does; when that was."""
    (LINES / f"sim_gpio{line}" / "pull").write_text(way)
    return time.monotonic()


def usage(pid: int) -> Order:
    """What a process has used so far, over all its threads: wakeups of either kind, CPU, files."""
    voluntary = forced = 0
    cpu_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        told = (thread / "status").read_text().split()
        voluntary += int(told[told.index("voluntary_ctxt_switches:") + 1])
        forced += int(told[told.index("nonvoluntary_ctxt_switches:") + 1])
        cpu_ns += int((thread / "schedstat").read_text().split()[0])
    return {
        "t": time.monotonic(),
        "voluntary": voluntary,
        "forced": forced,
        "cpu_s": cpu_ns / 1e9,
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }


def main() -> None:
    """Obey until stdin ends."""
    senses = Senses()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(senses.obey(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
