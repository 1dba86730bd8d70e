"""The box as its owner has it: `voice-appliance run` and `agent` as processes, on real ALSA.

What is judged is what was recorded from the speaker, what the agent printed, and what `watch` and
`status` said. Nothing here reaches into the daemon.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import pytest

from appliance.conversation import Phase
from appliance.errors import DeviceError
from appliance.host import remote
from appliance.panel.looks import LOOKS
from tests.test_cards import has_any_of, noise

from .pulse import Lab, Recording

KEY = "sekret-123"
LIMIT_S = 20.0  # for what takes a second or two; a loaded machine may take its time
WRONG_SETTINGS = 78

Event = dict[str, Any]


def until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    limit_s = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < limit_s, "waited for too long"
        time.sleep(0.005)


def spoken(name: str) -> bytes:
    """A sentence that ships with the product, without the silence around it."""
    with (files("appliance") / "standin" / name).open("rb") as file, wave.open(file) as sentence:
        sound = bytes(sentence.readframes(sentence.getnframes()))
    first = next(index for index, byte in enumerate(sound) if byte) // 2 * 2
    return sound[first : len(sound.rstrip(b"\0") + b"\0") // 2 * 2]


class Process:
    """A command of ours, with all that it printed."""

    def __init__(self, folder: Path, environment: dict[str, str], *arguments: str) -> None:
        self._out = (folder / f"{arguments[0]}.out").open("w+")
        self._err = (folder / f"{arguments[0]}.err").open("w+")
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "appliance", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
        )

    @property
    def out(self) -> str:
        return self._read(self._out)

    @property
    def err(self) -> str:
        return self._read(self._err)

    @property
    def told(self) -> list[Event]:
        """The lines of JSON that are whole."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if line[-1] == "\n"]

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit status."""
        self.popen.send_signal(how)
        return self.popen.wait(LIMIT_S)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(LIMIT_S)
        self._out.close()
        self._err.close()

    def _read(self, file: IO[str]) -> str:
        return Path(file.name).read_text()


class House:
    """A folder with settings in it, and the processes that were started there."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.socket = folder / "control.sock"
        self.processes: list[Process] = []
        self.state = folder / "state"
        self._folder = folder
        self._environment = {
            **{name: value for name, value in os.environ.items() if "SYSTEMD" not in name},
            **lab.environment(),
            "DEEPGRAM_API_KEY": KEY,
            "GPIOZERO_PIN_FACTORY": "mock",
            "STATE_DIRECTORY": str(self.state),
        }
        self._environment.pop("NOTIFY_SOCKET", None)

    def settle(self, **environment: str | None) -> None:
        """Change what processes find in their environment; None takes it away."""
        for name, value in environment.items():
            self._environment.pop(name, None)
            if value is not None:
                self._environment[name] = value

    def start(self, *arguments: str) -> Process:
        self.processes.append(Process(self._folder, self._environment, *arguments))
        return self.processes[-1]

    def start_agent(self) -> tuple[Process, str]:
        """The stand-in agent, and its address."""
        agent = self.start("agent", "--port", "0", "--json")
        until(lambda: bool(agent.told))
        return agent, agent.told[0]["url"]

    def start_box(self, url: str, *, settings: str = "") -> Process:
        """The daemon on the lab's cards, which are open when this returns."""
        box = self.run_box(
            f'[agent]\nurl = "{url}"\n'
            '[audio]\ncapture = "lab_cap"\nplayback = "lab_play"\n'
            f"{settings}"
        )
        until(lambda: self._is_open(box))
        return box

    def run_box(self, settings: str) -> Process:
        (self._folder / "config.toml").write_text(settings)
        return self.start(
            *("run", "--config", f"{self._folder}/config.toml", "--socket", str(self.socket))
        )

    def start_watch(self) -> Process:
        watch = self.start("watch", "--json", "--socket", str(self.socket))
        until(lambda: bool(watch.told))
        return watch

    def ask(self, command: str) -> Event:
        """What the daemon answers."""
        answer = remote.call(self.socket, command)
        assert isinstance(answer, dict)
        return answer

    @property
    def status(self) -> Event:
        return self.ask("status")

    def until_phase(self, phase: Phase) -> None:
        until(lambda: self.status["phase"] == phase.value)

    def question(self, sound: bytes) -> None:
        """Press, say it, and let go when it has been said."""
        self.ask("press")
        self.say(sound)
        self.ask("release")

    def say(self, sound: bytes) -> None:
        """Say it into the microphone; returns when it has been said."""
        said = self.lab.say(sound + bytes(3200))
        assert said.wait(LIMIT_S) == 0

    def close(self) -> None:
        for process in reversed(self.processes):
            process.close()

    def _is_open(self, box: Process) -> bool:
        assert box.popen.poll() is None, box.err
        try:
            status = self.status
        except DeviceError:
            return False
        return all(status[half]["state"] == "open" for half in ("microphone", "speaker"))


@pytest.fixture
def house(lab: Lab) -> Iterator[House]:
    # Its own folder: the path of a socket may be 107 bytes long, pytest's are longer at times.
    with tempfile.TemporaryDirectory(prefix="voice-appliance-") as folder:
        house = House(lab, Path(folder))
        try:
            yield house
        finally:
            house.close()


@contextmanager
def recorded(house: House) -> Iterator[Recording]:
    with house.lab.record() as recording:
        yield recording


def phases(events: list[Event]) -> list[str]:
    """The phases that were seen, in order."""
    seen: list[str] = []
    for event in events:
        if not seen or seen[-1] != event["phase"]:
            seen.append(event["phase"])
    return seen


# A conversation


def test_a_conversation_is_heard_interrupted_and_taken_up_again(house: House) -> None:
    question, second = spoken("question.wav"), spoken("second.wav")
    agent, url = house.start_agent()
    box = house.start_box(url)
    watch = house.start_watch()

    with recorded(house) as answer:
        house.question(question)
        house.until_phase(Phase.RESTING)
        until(lambda: question in answer.sound)

    with recorded(house) as answer:
        house.question(second)
        house.until_phase(Phase.SPEAKING)
        until(lambda: has_any_of(second[:6400], answer.sound))
        house.ask("press")
        time.sleep(0.3)  # for what cannot be helped: the card's own delay
        silenced = len(answer.sound)
        assert not has_any_of(second[-16000:], answer.sound)
        house.say(question)
        house.ask("release")
        house.until_phase(Phase.RESTING)
        until(lambda: question in answer.sound)
        assert answer.sound[silenced:].strip(b"\0") in around(question)

    status = house.status
    assert status["uplink"]["lost_s"] == 0
    assert status["answers"]["gaps"] == 0
    panel = status["panel"]
    assert (panel["state"], panel["trouble"], panel["pins"]) == ("open", None, "mock")
    until(lambda: phases(watch.told)[-1] == "resting")
    events = watch.told
    assert phases(events) == [
        *("asleep", "listening", "thinking", "speaking", "resting"),
        *("listening", "thinking", "speaking"),
        *("listening", "thinking", "speaking", "resting"),
    ]
    assert all(event["look"] == LOOKS[Phase(event["phase"])].name for event in events)
    times = [event["t"] for event in events[1:]]
    assert times == sorted(times)

    assert box.end() == 0
    until(lambda: watch.popen.poll() == 0)
    until(lambda: agent.told[-1]["event"] == "is gone (1000)")
    assert {event.get("connection") for event in agent.told} == {None, 1}, "one connection"
    assert agent.end(signal.SIGINT) == 0
    assert box.out == ""


def around(sound: bytes) -> bytes:
    """What an answer may be that repeats `sound`: with the silence that lay around it."""
    return bytes(32000) + sound + bytes(32000)


def test_without_pins_everything_works_but_the_panel_which_is_named(house: House) -> None:
    if any(Path("/dev").glob("gpiochip*")):
        pytest.skip("this machine has pins")
    agent, url = house.start_agent()
    house.settle(GPIOZERO_PIN_FACTORY=None)
    box = house.start_box(url)
    status = house.status
    assert status["panel"]["state"] == "missing"
    assert status["panel"]["trouble"].startswith("no way to the pins: no GPIO chip")
    assert "lgpio" not in status["panel"]["trouble"]
    assert "lgpio" in status["panel"]["details"]
    assert status["panel"]["pins"] is None
    assert "button or lamp is missing" in status["sentence"]
    with recorded(house) as answer:
        house.question(noise(0.7))
        house.until_phase(Phase.RESTING)
        until(lambda: noise(0.7) in answer.sound)
    assert box.err.count("button or lamp is missing") == 1
    assert "lgpio" not in box.err
    assert box.end() == 0
    until(lambda: agent.told[-1]["event"] == "is gone (1000)")


@pytest.mark.parametrize(
    ("how", "phase"), [(signal.SIGTERM, Phase.SPEAKING), (signal.SIGINT, Phase.LISTENING)]
)
def test_it_can_be_stopped_in_the_middle_of_anything(
    house: House, how: signal.Signals, phase: Phase
) -> None:
    agent, url = house.start_agent()
    box = house.start_box(url)
    if phase is Phase.SPEAKING:
        house.question(noise(0.7))
    else:
        house.ask("press")
    house.until_phase(phase)
    until(lambda: house.status["link"] == "up")
    assert box.end(how) == 0
    until(lambda: agent.told[-1]["event"] == "is gone (1000)")
    assert not house.socket.exists()


def test_the_commands_press_and_tell(house: House) -> None:
    _, url = house.start_agent()
    box = house.start_box(url)
    for command, phase in (("press", "listening"), ("status", "listening"), ("mute", "resting")):
        asked = house.start(command, "--json", "--socket", str(house.socket))
        assert asked.popen.wait(LIMIT_S) == 0, asked.err
        [answer] = asked.told
        assert answer["phase"] == phase
        until(lambda: house.status["link"] == "up")
    assert box.end() == 0


def test_volume_and_mute_outlive_the_plug(house: House) -> None:
    _, url = house.start_agent()
    box = house.start_box(url)
    assert house.status["speaker"]["mixer"] == "software"  # PulseAudio's has no decibels
    for words in (("volume", "60"), ("volume", "-15"), ("mute",)):
        asked = house.start(*words, "--json", "--socket", str(house.socket))
        assert asked.popen.wait(LIMIT_S) == 0, asked.err
    asked = house.start("volume", "--json", "--socket", str(house.socket))
    assert asked.popen.wait(LIMIT_S) == 0, asked.err
    assert asked.told == [{"volume": 45, "volume_db": -22.0, "mixer": "software"}]
    knobs = house.state / "knobs"
    until(lambda: knobs.exists() and b'"volume":45' in knobs.read_bytes())
    box.end(signal.SIGKILL)
    house.socket.unlink()
    house.start_box(url)
    assert house.status["muted"] is True
    assert house.status["speaker"]["volume"] == 45


# Secrets


def test_the_key_is_told_to_nobody(house: House) -> None:
    _, url = house.start_agent()
    box = house.start_box(url, settings='[log]\nlevel = "debug"\n')
    watch = house.start_watch()
    house.question(noise(0.5))
    house.until_phase(Phase.RESTING)
    status = json.dumps(house.status)
    command_line = Path(f"/proc/{box.popen.pid}/cmdline").read_text()
    assert box.end() == 0
    until(lambda: watch.popen.poll() is not None)
    told = [status, command_line, *(text for it in house.processes for text in (it.out, it.err))]
    assert "connected" in box.err
    assert not any(KEY in text for text in told)


# What is wrong


def test_all_faults_of_the_settings_are_told_at_once(house: House) -> None:
    box = house.run_box('[talk]\nmode = "shout"\n[audio]\nrate_hz = 44100\nprebufer_ms = 60\n')
    assert box.popen.wait(LIMIT_S) == WRONG_SETTINGS
    faults = box.err.splitlines()
    assert len(faults) == 3
    for words in (("mode", "shout"), ("rate_hz", "44100"), ("prebufer_ms", "prebuffer_ms")):
        assert any(all(word in fault for word in words) for fault in faults), words
    assert not house.socket.exists()


def test_a_key_in_the_clear_to_another_host_is_refused(house: House) -> None:
    box = house.run_box('[agent]\nurl = "ws://agent.example/v1/agent/converse"\n')
    assert box.popen.wait(LIMIT_S) == WRONG_SETTINGS
    assert "wss://" in box.err
    assert KEY not in box.err


def test_without_a_key_it_does_not_start_unless_the_agent_is_here(house: House) -> None:
    house.settle(DEEPGRAM_API_KEY=None)
    box = house.run_box("")
    assert box.popen.wait(LIMIT_S) == WRONG_SETTINGS
    assert "DEEPGRAM_API_KEY" in box.err


def test_an_agent_that_is_not_there_is_a_trouble_with_a_name(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    box = house.start_box(f"ws://127.0.0.1:{port}/v1/agent/converse")
    house.ask("press")
    until(lambda: house.status["trouble"] == "unreachable")
    assert house.status["phase"] == "listening"
    assert house.status["look"] == LOOKS[Phase.LISTENING].name
    until(lambda: house.status["uplink"]["waiting_s"] > 0.5)
    house.ask("release")
    until(lambda: house.status["phase"] == "thinking")
    assert house.status["uplink"]["pending"]
    assert house.status["trouble"] == "unreachable"
    assert box.popen.poll() is None
    assert box.end() == 0


def test_a_box_without_cards_says_so_and_lives(house: House) -> None:
    house.lab.kill_server()
    box = house.run_box(
        '[agent]\nurl = "ws://127.0.0.1:1/v1/agent/converse"\n'
        '[audio]\ncapture = "lab_cap"\nplayback = "lab_play"\n'
    )
    until(house.socket.exists)
    until(lambda: house.status["speaker"]["state"] == "missing")
    assert house.ask("press")["trouble"] == "speaker-missing"
    house.ask("release")
    house.lab.restart()
    until(lambda: house.status["microphone"]["state"] == "open")
    until(lambda: house.status["speaker"]["state"] == "open")
    assert house.status["phase"] == "asleep"
    assert house.status["trouble"] is None
    assert box.end() == 0


def test_where_the_sound_server_comes_late_a_rate_is_found_then_and_it_is_said_once_why(
    house: House,
) -> None:
    _, url = house.start_agent()
    house.lab.kill_server()
    settings = f'[agent]\nurl = "{url}"\n[audio]\nrate_hz = 0\n'
    box = house.run_box(f'{settings}capture = "lab_cap"\nplayback = "lab_play"\n')
    until(lambda: house.socket.exists() and house.status["phase"] == "trouble")
    time.sleep(3.5)  # each card is tried twice more
    assert box.err.count("ALSA lib") <= 2
    house.lab.restart()
    until(lambda: house.status["phase"] == "asleep")
    assert house.status["rate"] == {"rate_hz": 16000, "found": True, "unasked": None}

    check = house.start(
        "check", "--config", str(house.socket.parent / "config.toml"), "--socket", str(house.socket)
    )
    assert check.popen.wait(LIMIT_S) == 0
    assert "rate_hz = 0: the daemon that runs has found 16000 Hz" in check.out

    with recorded(house) as answer:
        house.question(spoken("question.wav"))
        house.until_phase(Phase.RESTING)
        until(lambda: spoken("question.wav") in answer.sound)
