"""The daemon as a process of the emulated machine, and the stand-in agent that it talks to.

The agent is a process on this side, reached through a port that the machine was lent: it is not
what is tried here, and the machine is slow. `watch` and `status` come over the control socket, and
their times are those of the machine's clock, as are those of its senses.
"""

import math
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from appliance.conversation import Phase
from appliance.errors import DeviceError
from appliance.host import remote
from appliance.panel import looks
from appliance.panel.looks import Look
from tests.paced.test_run import Process

from .machine import PYTHON, Machine

PINS = ("gpiod", "lgpio")
BUTTON, LAMP = 17, 25
SETTINGS = """
[agent]
url = "ws://127.0.0.1:{port}/v1/agent/converse"
[audio]
capture = "plughw:CARD=Loopback,DEV=1,SUBDEV=1"
playback = "plughw:CARD=Loopback,DEV=0,SUBDEV=0"
[panel]
pins = "{pins}"
lamp = {{ kind = "led", pin = {lamp} }}
buttons = {{ talk = {button} }}
"""
FOLDER = "/run/lab"
LIMIT_S = 60.0  # for what takes a second or two; a loaded machine may take its time
POLL_S = 0.05
EDGE_S = 0.02  # a level changes a little before that is told, and is seen a little after
LOOKS = [it for it in vars(looks).values() if isinstance(it, Look)]

Event = dict[str, Any]


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until it is so."""
    limit_s = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < limit_s, f"waited {LIMIT_S:g} s in vain: {what}"
        time.sleep(POLL_S)


class Box:
    """A daemon and its agent. Entering starts both and waits until all parts are open.

    `more` is added to its settings.
    """

    SOCKET = f"{FOLDER}/control.sock"

    def __init__(self, machine: Machine, folder: Path, *, pins: str, more: str = "") -> None:
        self.machine = machine
        self.pins = pins
        self._more = more
        self.events: list[Event] = []
        self.pid = 0
        self._folder = folder
        self._agent: Process | None = None
        self._socket = machine.reach_socket(self.SOCKET)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException as error:
            if self.pid:
                error.add_note(self.log)
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End both; the next one finds nothing of them, the button released, the card there."""
        if self.pid:
            self.end()
        self.machine.release(BUTTON)
        self.machine.plug_card()
        if self._agent is not None:
            self._agent.close()

    def _start(self) -> None:
        self._agent = Process(self._folder, dict(os.environ), "agent", "--port", "0", "--json")
        agent = self._agent
        until(lambda: bool(agent.told), "the agent does not listen")
        port = self.machine.lend_port(urlsplit(agent.told[0]["url"]).port or 0)
        settings = SETTINGS.format(port=port, pins=self.pins, lamp=LAMP, button=BUTTON)
        self.pid = self.begin(settings + self._more)
        self._meet()
        self.machine.look(LAMP)

    def _meet(self) -> None:
        """Wait until all parts of the daemon are open, and hear what it tells."""
        until(self._is_open, "its parts do not open")
        threading.Thread(target=self._watch, daemon=True).start()
        until(lambda: bool(self.events), "it tells nothing")

    def begin(self, settings: str) -> int:
        """Start the daemon; its process id in the guest."""
        self.machine.run(
            f"rm -rf {FOLDER} && mkdir -p {FOLDER}/state && cat >{FOLDER}/config.toml",
            stdin=settings.encode(),
        )
        return self.machine.launch(
            f"env STATE_DIRECTORY={FOLDER}/state {PYTHON} -m appliance run"
            f" --config {FOLDER}/config.toml --socket {self.SOCKET}",
            log=f"{FOLDER}/log",
        )

    def end(self) -> None:
        """End the daemon, if it lives."""
        if self.machine.lives(self.pid):
            self.machine.end(self.pid, signal.SIGKILL)

    # ── what it says ─────────────────────────────────────────────────────────────────────────

    @property
    def status(self) -> Event:
        """What the daemon answers."""
        answer = remote.call(self._socket, "status")
        assert isinstance(answer, dict)
        return answer

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.machine.run(f"cat {FOLDER}/log")

    @property
    def phase(self) -> str:
        """The phase it told last."""
        return str(self.events[-1]["phase"])

    def until_phase(self, phase: Phase) -> None:
        """Wait until it tells of this phase."""
        until(lambda: self.phase == phase.value, f"not {phase.value} but {self.phase}")

    def until_cards(self, state: str) -> None:
        """Wait until both halves of the card are `open` or `missing`."""
        until(lambda: cards(self.status) == {state}, f"the card is not {state}")

    def hold_agent(self) -> None:
        """From now on the agent does nothing."""
        assert self._agent is not None
        self._agent.popen.send_signal(signal.SIGSTOP)

    def let_agent_go(self) -> None:
        """It goes on."""
        assert self._agent is not None
        self._agent.popen.send_signal(signal.SIGCONT)

    def _is_open(self) -> bool:
        assert self.machine.lives(self.pid), self.log
        with suppress(DeviceError):
            status = self.status
            return cards(status) == {"open"} and status["panel"]["state"] == "open"
        return False

    def _watch(self) -> None:
        with suppress(DeviceError):  # it ends with the daemon, or with the machine
            for event in remote.watch(self._socket):
                self.events.append(event)

    # ── what it costs ────────────────────────────────────────────────────────────────────────

    def use(self, length_s: float) -> tuple[float, float]:
        """Wakeups a second, and per cent of a core, over so many seconds of what it does now."""
        return use(self.machine, self.pid, length_s)

    def press_while_asleep(self) -> float:
        """Press and let go; how many seconds after the press the lamp was lit."""
        self.until_phase(Phase.ASLEEP)
        took_s = self.machine.press_and_see(BUTTON, LAMP)
        self.until_phase(Phase.LISTENING)
        self.machine.release(BUTTON)
        self.until_phase(Phase.ASLEEP)
        return took_s

    # ── what it shows ────────────────────────────────────────────────────────────────────────

    def shown_in(self, phase: Phase) -> str:
        """What the lamp was seen to show in the last of these phases, by name."""
        begin_s, end_s = self._span_of(phase)
        return look_of(self.machine.seen(), begin_s, end_s)

    def until_shown(self, phase: Phase) -> None:
        """Wait until the lamp has shown what belongs to the phase that it is in."""
        self.until_phase(phase)
        name = looks.LOOKS[phase].name
        until(lambda: self.shown_in(phase) == name, f"the lamp does not show a {name}")

    def _span_of(self, phase: Phase) -> tuple[float, float]:
        """Begin and end of the last stretch of this phase, in the machine's time."""
        stretches: list[tuple[str, float]] = []
        for event in self.events[1:]:
            if not stretches or stretches[-1][0] != event["phase"]:
                stretches.append((event["phase"], float(event["t"])))
        ends_s = [*(began_s for _, began_s in stretches[1:]), math.inf]
        spans = [
            (at_s, end_s)
            for (it, at_s), end_s in zip(stretches, ends_s, strict=False)
            if it == phase.value
        ]
        assert spans, f"it was never {phase.value}"
        return spans[-1]


def use(machine: Machine, pid: int, length_s: float) -> tuple[float, float]:
    """Wakeups a second, and per cent of a core, of a process of the machine."""
    before = machine.usage(pid)
    time.sleep(length_s)
    after = machine.usage(pid)
    return after.wakes_since(before), after.cpu_since(before)


def cards(status: Event) -> set[str]:
    """What the halves of the card are said to be."""
    return {status[half]["state"] for half in ("microphone", "speaker")}


def look_of(seen: Sequence[tuple[float, bool]], begin_s: float, end_s: float) -> str:
    """The look that what was seen in a stretch of time is most like, by name.

    An eye does not measure: what counts is how long it is lit and how long dark on average, and
    the nearest look in that. Only whole spans do, so a look that moves must have gone round once.
    """
    spans: dict[bool, list[float]] = {True: [], False: []}
    for (from_s, lit), (to_s, _) in pairwise(seen):
        if from_s >= begin_s and to_s <= end_s:
            spans[lit].append(to_s - from_s)
    if not spans[True] or not spans[False]:
        stays_lit = [lit for at_s, lit in seen if at_s < end_s - EDGE_S][-1]
        return (looks.STEADY if stays_lit else looks.DARK).name
    lit_s, dark_s = statistics.mean(spans[True]), statistics.mean(spans[False])

    def distance(look: Look) -> float:
        ours, theirs = (lit_s, dark_s), means(look)
        return sum(abs(a - b) / min(a, b) for a, b in zip(ours, theirs, strict=True))

    return min((look for look in LOOKS if len(look.pattern) > 1), key=distance).name


def means(look: Look) -> tuple[float, float]:
    """How long a look is lit and dark, on average of its spans."""
    lit, dark = (
        [lasts_s for is_lit, lasts_s in look.pattern if is_lit is wanted]
        for wanted in (True, False)
    )
    return statistics.mean(lit), statistics.mean(dark)
