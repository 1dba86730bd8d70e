"""The service with a sound card that stands still or hangs; and stopped in every phase.

The card is a sound server of this machine's, whose socket the box is lent; the agent is the
stand-in, in the box. What is to happen is decided by whether the interpreter can still run:

  * The clock of a running stream stands still, and the server answers: that is noticed in 2 s,
    named, and waited out. The watchdog gets its pings: nothing is to be won by a restart. So it is
    with a server that is gone.
  * The server stands still: ALSA's call to close the stalled stream does not return, and holds the
    interpreter, so there are no pings. The watchdog ends the service, and systemd starts it anew;
    that one hangs as it opens its card, and is ended in turn. So a restart comes only after the
    watchdog's whole time, however long the server stands, and none comes when it goes on.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.conversation import Event, Phase
from appliance.errors import DeviceError
from appliance.host import remote
from tests.paced.pulse import Lab, missing
from tests.test_cards import has_any_of, noise

from .conftest import Tell
from .container import Container
from .test_install import CONFIG, UNIT
from .test_service import show, until

SOUND = "/mnt/sound"
PORT = 8765
WATCHDOG_S = 4
UNITS = "/etc/systemd/system"
AGENT = f"""
[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=voice-appliance agent --port {PORT}
KillSignal=SIGKILL
"""
EAR = "/opt/voice-appliance/current/lib/python*/site-packages/appliance/sound/microphone.py"
SETTINGS = f"""
[agent]
url = "ws://127.0.0.1:{PORT}/v1/agent/converse"
[audio]
capture = "lab_cap"
playback = "lab_play"
"""
NO_CARD = '[audio]\ncapture = "nowhere"\nplayback = "nowhere"\n'


class Box:
    """The service in a container: who talks to it, and with it."""

    def __init__(self, container: Container, lab: Lab) -> None:
        self.container = container
        self.lab = lab

    def begin(self, settings: str = SETTINGS) -> None:
        """Start service and agent anew."""
        run = self.container.run
        run("sh", "-c", f"cat >{CONFIG}", stdin=settings.encode())
        run("systemctl", "restart", "agent", UNIT)

    def until_open(self) -> None:
        until(lambda: self.cards == {"open"}, "its cards do not open")

    def hold_agent(self) -> None:
        """From now on the agent does nothing."""
        self.container.run("systemctl", "kill", "-s", "STOP", "agent")

    @property
    def _socket(self) -> Path:
        return self.container.root / "run/voice-appliance/control.sock"

    def call(self, command: str) -> dict[str, Any]:
        answer = remote.call(self._socket, command)
        assert isinstance(answer, dict)
        return answer

    @property
    def cards(self) -> set[str]:
        """What the halves of the card are said to be; empty if it does not answer."""
        with suppress(DeviceError):
            status = self.call("status")
            return {status[half]["state"] for half in ("microphone", "speaker")}
        return set()

    def until_phase(self, phase: Phase, link: str = "") -> None:
        def is_so() -> bool:
            status = self.call("status")
            return status["phase"] == phase.value and link in {"", status["link"]}

        until(is_so, f"it is not {phase.value}")

    def watch(self) -> list[str]:
        """What it tells from now on, by name; the list grows as long as the service lives."""
        told: list[str] = []
        threading.Thread(target=self._watch, args=(told,), daemon=True).start()
        until(lambda: bool(told), "it tells nothing")
        return told

    def _watch(self, told: list[str]) -> None:
        with suppress(DeviceError):
            told.extend(str(event["event"]) for event in remote.watch(self._socket))

    def ask(self, question: bytes) -> None:
        """Press, say it, and let go."""
        self.call("press")
        assert self.lab.say(question + bytes(3200)).wait() == 0
        self.call("release")

    def converse(self) -> None:
        """A question is answered; a loaded machine may tear a hole into it."""
        question = noise(0.7)
        with self.lab.record() as answer:
            self.ask(question)
            until(lambda: has_any_of(question, answer.sound), "the answer is not to be heard")

    def show(self, name: str) -> str:
        return show(self.container, name)

    def moment_s(self, name: str) -> float:
        return int(self.show(f"{name}TimestampMonotonic")) / 1e6

    @property
    def ended_by_the_watchdog(self) -> int:
        """How often that was so, in all tests until now."""
        return self.container.run("journalctl", "-o", "cat", "-u", UNIT).count("Watchdog timeout")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    assert not missing(), f"needs {missing()}"
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module")
def installed(
    layers: Sequence[Path],
    binds: Mapping[str, Path],
    lab: Lab,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Box]:
    """A box where it was installed, with the sound server's cards."""
    folder, environment = lab.lend(SOUND)
    drop_in = f"[Service]\nWatchdogSec={WATCHDOG_S}\n"
    drop_in += "".join(f"Environment={name}={value}\n" for name, value in environment.items())
    own = tmp_path_factory.mktemp("cards")
    with Container(layers, own, binds={**binds, SOUND: folder}) as container:
        for name, text in ((f"{UNIT}.service.d/lab.conf", drop_in), ("agent.service", AGENT)):
            container.run("install", "-D", "/dev/stdin", f"{UNITS}/{name}", stdin=text.encode())
        container.run("systemctl", "daemon-reload")
        yield Box(container, lab)


@pytest.fixture
def box(installed: Box) -> Iterator[Box]:
    """The service, started anew and asleep, with its cards open."""
    installed.lab.mend()
    installed.begin()
    installed.until_open()
    yield installed
    sys.stdout.write(installed.container.run("journalctl", "-u", UNIT, "-n", "50"))


def test_a_stream_whose_clock_stands_and_a_server_that_is_gone_are_waited_out(box: Box) -> None:
    pid, ended = box.show("MainPID"), box.ended_by_the_watchdog
    told = box.watch()
    keep_listening(box)
    with box.lab.standing_still("mic"):
        until(lambda: Event.MICROPHONE_LOST.value in told, "the microphone is not missed")
    box.call("release")
    box.until_open()
    speak(box)
    with box.lab.standing_still("speaker"):
        until(lambda: Event.SPEAKER_LOST.value in told, "the speaker is not missed")
    box.until_open()
    keep_listening(box)
    box.lab.kill_server()
    until(lambda: box.cards == {"missing"}, "the cards are not missed")
    time.sleep(WATCHDOG_S + 1.0)  # for what is not to happen
    box.call("release")
    box.lab.restart()
    box.until_open()
    box.converse()
    assert box.show("NRestarts") == "0"
    assert box.show("MainPID") == pid
    assert box.ended_by_the_watchdog == ended


def test_a_server_that_hangs_costs_a_restart_for_each_time_of_the_watchdogs(
    box: Box, tell: Tell
) -> None:
    ended = box.ended_by_the_watchdog
    keep_listening(box)
    box.lab.stop_server()
    stood_s = time.monotonic()
    until(lambda: box.show("NRestarts") == "1", "it is not started anew")
    tell("server hung, started anew", time.monotonic() - stood_s)
    again_s = time.monotonic()
    until(lambda: box.show("NRestarts") == "2", "it is not started anew a second time")
    tell("server still hung, and again", time.monotonic() - again_s)
    box.lab.cont_server()
    box.until_open()
    pid, restarts = box.show("MainPID"), int(box.show("NRestarts"))
    assert box.ended_by_the_watchdog - ended == restarts
    box.converse()
    assert box.show("MainPID") == pid


def test_a_stream_that_nobody_looks_after_gets_no_pings_though_the_loop_turns(
    box: Box, suite: str, tell: Tell
) -> None:
    """A mistake of ours, put into the release that is installed: an ear that never reads again."""
    if suite != "trixie":
        pytest.skip("systemd plays the part that it has in the test above")
    run = box.container.run
    run("sh", "-c", f"sed -i.kept 's/sound = card.read()/await trio.sleep_forever()/' {EAR}")
    try:
        box.begin()
        box.until_open()
        box.call("press")
        pressed_s = time.monotonic()
        box.until_phase(Phase.LISTENING)
        until(lambda: box.show("NRestarts") == "1", "it is not started anew")
        tell("card not looked after, anew", time.monotonic() - pressed_s)
    finally:
        run("sh", "-c", f"for it in {EAR}; do mv $it.kept $it; done")
    assert "The watchdog gets no ping: a part has stopped moving." in run("journalctl", "-u", UNIT)


def keep_listening(box: Box) -> None:
    box.call("press")
    box.until_phase(Phase.LISTENING, link="up")


def dial_in_vain(box: Box) -> None:
    box.hold_agent()
    box.call("press")
    box.until_phase(Phase.LISTENING, link="dialing")


def think(box: Box) -> None:
    keep_listening(box)
    box.hold_agent()
    box.call("release")
    box.until_phase(Phase.THINKING)


def speak(box: Box) -> None:
    box.ask(noise(2.0))
    box.until_phase(Phase.SPEAKING)


def rest(box: Box) -> None:
    box.ask(noise(0.3))
    box.until_phase(Phase.RESTING)


def be_in_trouble(box: Box) -> None:
    box.begin(NO_CARD)
    box.until_phase(Phase.TROUBLE)


@pytest.mark.parametrize(
    ("phase", "begin"),
    [
        ("asleep", lambda _: None),
        ("listening", keep_listening),
        ("listening, dialing", dial_in_vain),
        ("thinking, agent silent", think),
        ("speaking", speak),
        ("resting", rest),
        ("trouble", be_in_trouble),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_it_is_told_to_stop_and_goes(
    box: Box, phase: str, begin: Callable[[Box], None], tell: Tell
) -> None:
    begin(box)
    box.container.run("systemctl", "stop", UNIT)
    tell(f"stopped, {phase}", box.moment_s("InactiveEnter") - box.moment_s("ActiveExit"))
    assert box.show("Result") == "success"
    assert box.show("ExecMainStatus") == "0"
    assert not (box.container.root / "run/voice-appliance").exists()
