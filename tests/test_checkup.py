"""The doctor's round: what it looks at, with a daemon and without one, and what it leaves alone."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance import checkup, cli, config
from appliance.agent.dialer import Address, Dialer
from appliance.checkup import Hands, Patient
from appliance.errors import AgentRefused, ConfigError, DeviceError, Trouble
from appliance.host.doctor import Finding, State
from appliance.standin.card import Room
from appliance.standin.panel import StandinButton, StandinLamp
from tests.far_end import ROOT, serving, stay_silent
from tests.test_dialer import Names

STATUS: dict[str, object] = {
    "version": "1",
    "uptime_s": 1.0,
    "sentence": "asleep",
    "microphone": {"card": "default", "state": "open"},
    "speaker": {"card": "default", "state": "open", "mixer": "PCM"},
    "panel": {"trouble": None, "pins": "gpiod"},
}
TONE = b"\0\x10\0\xf0" * 16000  # two seconds, loud enough


class Box:
    """Stand-ins for all that the doctor looks at."""

    def __init__(self, settings: str = "", **environ: str) -> None:
        self.room = Room(16000)
        self.lamp = StandinLamp()
        self.taken: dict[str, str] = {}
        self.opened: list[str] = []
        self.buttons: list[StandinButton] = []
        self.key: str | None = "Token x"
        self.fails: Exception | None = None
        self.found: list[Finding] = []
        self.patient = Patient(config.parse(settings, "test"), environ, None, "nobody", {})
        self.hands = Hands(
            authorize=self.authorize,
            prepare=trio.lowlevel.checkpoint,
            dial=self.dial,
            open_microphone=self.room.open_microphone,
            open_speaker=self.room.open_speaker,
            find_mixer=lambda: None,
            open_lamp=lambda: self.lamp,
            open_button=self.open_button,
            pins=lambda: "gpiod",
            has_chip=lambda: True,
            card_ids=lambda: {0: "PCH"},
            now=lambda: 1_800_000_000.0,
        )

    async def authorize(self) -> str | None:
        if self.fails is not None:
            raise self.fails
        return self.key

    async def dial(self) -> trio.abc.Stream:
        raise AssertionError("nothing is dialled here")

    def open_button(self, name: str, tell: Any) -> StandinButton:
        self.opened.append(name)
        if name in self.taken:
            raise DeviceError(self.taken[name])
        self.buttons.append(StandinButton(tell))
        return self.buttons[-1]

    def runs(self, **more: object) -> None:
        """A daemon does, from now on."""
        self.patient = replace(self.patient, status={**STATUS, **more})

    def of(self, check: str) -> Finding:
        return next(finding for finding in self.found if finding.check == check)

    @property
    def states(self) -> Mapping[str, State]:
        return {finding.check: finding.state for finding in self.found}


# ── the key ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "fails", "unit", "state", "words"),
    [
        ("Token sesame", None, {}, State.OK, "there is one"),
        (None, None, {}, State.OK, "on loopback"),
        ("", ConfigError(["no API key"]), {}, State.FAULT, "no API key"),
        ("", ConfigError(["no API key"]), {"ActiveState": "active"}, State.OK, "daemon has it"),
        ("", AgentRefused(Trouble.KEY_COMMAND, "exit status 1"), {}, State.FAULT, "status 1"),
    ],
)
async def test_a_key_is_looked_for_and_never_told(
    key: str | None, fails: Exception | None, unit: dict[str, str], state: State, words: str
) -> None:
    box = Box("[agent]\nkey_command = ['/usr/bin/token']")
    box.key, box.fails = key, fails
    settings = config.parse("", "test") if fails is None else box.patient.settings
    box.patient = replace(box.patient, settings=settings, unit=unit)
    await checkup.look_at_key(box.patient, box.hands, box.found.append)
    assert box.of("key").state is state
    assert words in box.of("key").words
    assert "sesame" not in repr(box.found)


async def test_the_key_of_the_service_counts(tmp_path: Path) -> None:
    box = Box()
    box.fails = ConfigError(["no API key"])
    (tmp_path / "key").write_text("sesame")
    unit = {"LoadCredential": f"{config.CREDENTIAL}:{tmp_path}/key"}
    box.patient = replace(box.patient, unit=unit)
    await checkup.look_at_key(box.patient, box.hands, box.found.append)
    assert box.of("key").state is State.OK
    assert "sesame" not in repr(box.found)


@pytest.mark.parametrize("trouble", [Trouble.KEY_REFUSED, Trouble.NO_CREDIT, Trouble.KEY_COMMAND])
async def test_a_key_that_the_daemon_is_in_trouble_with_is_a_fault(trouble: Trouble) -> None:
    box = Box()
    box.runs(trouble=trouble.slug)
    await checkup.look_at_key(box.patient, box.hands, box.found.append)
    assert box.states == {"key": State.FAULT}
    assert trouble.sentence in box.of("key").words


# ── cards and pins ───────────────────────────────────────────────────────────────────────────────


async def test_without_a_daemon_the_cards_are_opened_heard_and_given_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    box = Box()
    box.room.say(TONE)
    await checkup.look_at_cards(box.patient, box.hands, box.found.append)
    assert set(box.states) == {"microphone", "level", "speaker", "mixer"}
    assert set(box.states.values()) == {State.OK}
    assert "-18 dBFS" in box.of("level").words
    assert not box.room.streams
    assert trio.current_time() == pytest.approx(1.3, abs=0.05)


async def test_a_card_that_is_missing_is_a_fault_and_what_hangs_on_it_is_skipped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    box = Box()
    box.room.unplug("microphone", "speaker")
    await checkup.look_at_cards(box.patient, box.hands, box.found.append)
    faulty, left = State.FAULT, State.SKIPPED
    assert list(box.states.values()) == [faulty, left, faulty, left]
    assert "arecord -L" in box.of("microphone").advice


async def test_a_card_by_its_number_is_a_warning(autojump_clock: trio.testing.MockClock) -> None:
    box = Box("[audio]\ncapture = 'plughw:0,0'\nplayback = 'plughw:CARD=PCH'")
    await checkup.look_at_cards(box.patient, box.hands, box.found.append)
    assert "wanted 'plughw:CARD=PCH,DEV=0'" in box.of("card name").words
    assert [one.check for one in box.found].count("card name") == 1


async def test_with_a_daemon_nothing_is_opened() -> None:
    box = Box()
    box.runs()
    await checkup.look_at_cards(box.patient, box.hands, box.found.append)
    checkup.look_at_panel(box.patient, box.hands, box.found.append)
    checkup.look_at_daemon(box.patient, box.found.append)
    assert set(box.states) == {"microphone", "speaker", "mixer", "panel", "daemon"}
    assert set(box.states.values()) == {State.OK}
    assert (box.room.opened, box.opened) == (0, [])
    assert box.of("mixer").words == "PCM, by the daemon"


def test_every_pin_is_tried_and_each_trouble_told_once() -> None:
    box = Box("[panel]\nbuttons = { talk = 17, mute = 22, forget = 23 }")
    box.taken = {"mute": "GPIO 22: taken by 'x'", "forget": "GPIO 22: taken by 'x'"}
    checkup.look_at_panel(box.patient, box.hands, box.found.append)
    assert box.opened == ["talk", "mute", "forget"]
    assert box.of("panel").state is State.FAULT
    assert box.of("panel").words == "GPIO 22: taken by 'x'"


async def test_pins_that_are_free_are_told_and_given_back() -> None:
    box = Box()
    checkup.look_at_panel(box.patient, box.hands, box.found.append)
    assert box.of("panel").words == "lamp and talk, through gpiod"
    with trio.fail_after(1):
        await box.lamp.run()  # ends at once where it is closed
        await box.buttons[0].run()


def test_a_machine_without_pins_is_warned_of_with_a_daemon_too() -> None:
    box = Box()
    box.hands = replace(box.hands, has_chip=lambda: False)
    box.taken = {"talk": "no way to the pins"}
    checkup.look_at_panel(box.patient, box.hands, box.found.append)
    box.runs(panel={"trouble": "no way to the pins"})
    checkup.look_at_panel(box.patient, box.hands, box.found.append)
    assert [one.state for one in box.found] == [State.WARNING, State.WARNING]


def test_a_service_that_does_not_let_itself_be_asked_is_a_fault() -> None:
    box = Box()
    checkup.look_at_daemon(box.patient, box.found.append)
    box.patient = replace(box.patient, unit={"ActiveState": "active"})
    checkup.look_at_daemon(box.patient, box.found.append)
    assert [one.state for one in box.found] == [State.SKIPPED, State.FAULT]
    assert "usermod -aG voice-appliance" in box.found[1].advice


def test_what_alsa_writes_of_a_name_is_not_seen(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("appliance.sound.kernel.card_ids", dict)
    hands = checkup.real_hands(config.parse("[audio]\ncapture = 'none such'", "test"), {})
    with pytest.raises(DeviceError, match="'none such' does not open"):
        hands.open_microphone()
    assert capfd.readouterr().err == ""
    os.write(2, b"heard again\n")
    assert capfd.readouterr().err == "heard again\n"


# ── the way to the agent, on real sockets ────────────────────────────────────────────────────────


async def way(url: str, **environ: str) -> Box:
    box = Box(f"[agent]\nurl = '{url}'\nca_file = '{ROOT}'", **environ)
    dialer = Dialer(Address.of(url), ca_file=ROOT)
    box.hands = replace(box.hands, prepare=dialer.prepare, dial=dialer)
    await checkup.look_at_way(box.patient, box.hands, box.found.append)
    return box


async def test_it_goes_as_far_as_the_certificate_and_asks_for_nothing() -> None:
    heard = bytearray()

    async def listen(stream: trio.abc.Stream) -> None:
        async for data in stream:
            heard.extend(data)

    async with serving(listen, "good") as port:
        box = await way(f"wss://127.0.0.1:{port}/v1/agent/converse")
        with trio.fail_after(5):
            await trio.testing.wait_all_tasks_blocked(0.05)
    well = State.OK
    assert list(box.states.values()) == [well, well, well, State.SKIPPED]
    assert list(box.states) == ["name", "connection", "certificate", "upgrade"]
    assert "trusted, TLSv1.3" in box.of("certificate").words
    assert not heard


@pytest.mark.parametrize(
    ("certificate", "words"),
    [("late", "certificate has expired"), ("early", "not valid yet"), ("", "no TLS is spoken")],
)
async def test_a_certificate_that_cannot_be_trusted_is_a_fault(
    certificate: str, words: str
) -> None:
    async def rude(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stay_silent(stream)

    async with serving(rude, certificate) as port:
        box = await way(f"wss://127.0.0.1:{port}/v1/agent/converse")
    assert box.of("certificate").state is State.FAULT
    assert words in box.of("certificate").words


async def test_nobody_there_is_a_fault_and_a_proxy_in_the_environment_is_told_of() -> None:
    box = await way("wss://127.0.0.1:9/v1/agent/converse", https_proxy="http://p:3128")
    assert box.states == {"name": State.OK, "connection": State.FAULT, "proxy": State.WARNING}


async def test_a_name_that_nobody_knows_ends_the_way() -> None:
    trio.socket.set_custom_hostname_resolver(Names({}))
    box = await way("wss://agent.test/v1/agent/converse")
    assert box.states == {"name": State.FAULT}
    assert "resolvectl query agent.test" in box.of("name").advice


async def test_a_silent_server_is_left_in_time(autojump_clock: trio.testing.MockClock) -> None:
    box = Box("[agent]\nurl = 'wss://127.0.0.1/v1/agent/converse'")
    box.hands = replace(box.hands, dial=trio.sleep_forever)
    await checkup.look_at_way(box.patient, box.hands, box.found.append)
    assert "accepts and then says nothing" in box.of("connection").words
    assert trio.current_time() == checkup.DIAL_LIMIT_S


# ── the command ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Box:
    """The command's hands are this box's, and this machine has no service manager."""
    box = Box()
    run = trio.run

    async def nothing(*_: object) -> dict[str, str]:
        return {}

    async def unknown(*_: object) -> None:
        return None

    def jump(*words: Any) -> Any:
        return run(*words, clock=trio.testing.MockClock(autojump_threshold=0))

    async def dial() -> trio.abc.Stream:
        return trio.testing.memory_stream_pair()[0]

    box.hands = replace(box.hands, dial=dial)
    monkeypatch.setattr("appliance.host.machine.unit", nothing)
    monkeypatch.setattr("appliance.host.machine.is_synchronized", unknown)
    monkeypatch.setattr("appliance.checkup.real_hands", lambda *_: box.hands)
    monkeypatch.setattr("trio.run", jump)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    box.room._said.append((0, TONE))  # before the command's clock begins
    return box


def diagnose(folder: Path, text: str, *words: str) -> int:
    file = folder / "config.toml"
    file.write_text(text)
    return cli.main(["doctor", "--config", str(file), "--socket", str(folder / "no.sock"), *words])


LOOPBACK = "[agent]\nurl = 'ws://127.0.0.1:1/v1/agent/converse'\n"


def test_the_command_tells_each_finding_and_that_nothing_is_wrong(
    box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diagnose(tmp_path, LOOPBACK) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"ok       settings     {tmp_path}/config.toml"
    assert printed[-1].startswith("nothing is wrong")


def test_the_command_tells_a_program(
    box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box.room.unplug("microphone")
    assert diagnose(tmp_path, LOOPBACK, "--json") == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["check"] for one in told if one["state"] == "fault"] == ["microphone"]
    assert all(set(one) == {"check", "state", "words", "advice"} for one in told)


def test_with_wrong_settings_the_machine_is_looked_at_all_the_same(
    box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diagnose(tmp_path, "[talk]\nmode = 'push'\ntap_ms = -1\n", "--json") == 78
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["check"] for one in told if one["state"] == "fault"] == ["settings", "settings"]
    assert {"clock", "state", "service", "daemon"} < {one["check"] for one in told}
    assert box.room.opened == 0
