"""The bench of the emulated machine: what sleep costs there, and how soon the lamp answers.

    python -m tests.bench.emulated [--quick] [--json]

The daemon is the real one on a Raspberry Pi's kernel, with simulated pins (tests/lab), by each way
to the pins; its floor (`pins_floor.py`) runs on the same machine in the same run. The machine is
some 14 times slower than a PC and shares its cores, so only what is beside each other compares:
wakeups do everywhere, CPU and times do not. A press is held to be one when it has been stable for
10 ms; the floor does not wait for that. Nothing here fails because something is slow.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import machine
from tests.lab.box import BUTTON, LAMP, PINS, Box, use
from tests.lab.machine import PYTHON, LabError, Machine

from .table import Figure, at_most, figure, lines

MS = 1000
PROGRAM = "/run/pins_floor.py"
LOG = "/run/pins_floor.log"


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    stretches: int  # of sleep
    stretch_s: float
    presses: int


FULL = Size(3, 20.0, 20)
QUICK = Size(1, 10.0, 5)


@contextmanager
def floor(box: Machine, kind: str) -> Iterator[int]:
    """A floor that runs in the machine; its process id."""
    with (Path(__file__).with_name("pins_floor.py")).open("rb") as program:
        box.run(f"cat >{PROGRAM}", stdin=program.read())
    pid = box.launch(f"{PYTHON} {PROGRAM} {kind}", log=LOG)
    box.run(
        f"until grep -q ready {LOG}; do"
        f" test -d /proc/{pid} || {{ cat {LOG} >&2; exit 1; }}; sleep 0.2; done; sleep 1"
    )
    try:
        yield pid
    finally:
        box.end(pid)


def press(box: Machine) -> float:
    """Press and let go, with a floor at the pins; how long until the lamp was lit."""
    took_s = box.press_and_see(BUTTON, LAMP)
    box.release(BUTTON)
    box.run("sleep 0.2")
    return took_s


def measure(box: Machine, size: Size) -> Iterator[Figure]:
    """Each way to the pins beside the floor."""
    with floor(box, "sleep") as pid:
        idle = [use(box, pid, size.stretch_s) for _ in range(size.stretches)]
    with floor(box, "edge"):
        edge_ms = [MS * press(box) for _ in range(size.presses)]
    for pins in PINS:
        print(pins, file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder, Box(box, Path(folder), pins=pins) as ours:
            used = [ours.use(size.stretch_s) for _ in range(size.stretches)]
            took_ms = [MS * ours.press_while_asleep() for _ in range(size.presses)]
        wakes, cpu = zip(*used, strict=True)
        idle_wakes, idle_cpu = zip(*idle, strict=True)
        yield figure(f"asleep: wakeups, {pins}", "/s", wakes, idle_wakes, at_most(2, "/s"))
        yield figure(f"asleep: CPU, {pins}", "%", cpu, idle_cpu)
        yield figure(f"press -> lamp, {pins}", "ms", took_ms, edge_ms, at_most(100, "ms"))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.emulated")
    parser.add_argument("--quick", action="store_true", help="fewer of everything: a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    words = parser.parse_args()
    try:
        with machine.restored() as box:
            box.push(machine.tar_of_the_appliance())
            figures = list(measure(box, QUICK if words.quick else FULL))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    if words.json:
        print(json.dumps({"figures": [one.as_json() for one in figures]}))
    else:
        print("\n".join(lines(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
