"""The chirps: what is found of a known delay, loss and noise; and the whole measurement."""

import json
import math
import random
from array import array
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from appliance import cli
from appliance.errors import DeviceError
from appliance.host import remote
from appliance.host.state import StateFile
from appliance.sound import chirp, sounding
from appliance.sound.chirp import Finding, Verdict
from appliance.sound.pcm import Format, amplified
from appliance.sound.volume import gains_of
from appliance.standin.card import Room

RATES_HZ = (8000, 16000, 24000, 32000, 44100, 48000)
LEAD_S = 1.0  # of quiet, before the first chirp


def recording(
    form: Format,
    *,
    delay_s: float,
    loss_db: float,
    noise: float = 3.0,
    walls: float = 0.0,
    seed: int = 0,
    other: dict[int, float] | None = None,
) -> Finding:
    """What is found where each chirp comes back so late and so quiet."""
    dice = random.Random(seed)
    one = chirp.chirp(form)
    step, lead = form.frames_of(chirp.CHIRP_S + chirp.GAP_S), form.frames_of(LEAD_S)
    air = [dice.gauss(0, noise) for _ in range(chirp.end_of(lead, form))]
    gain = 10 ** (-loss_db / 20)
    for turn in range(chirp.CHIRPS):
        back = (other or {}).get(turn, delay_s)
        paths = [(back, 1.0)]
        if walls:
            paths += [(back + dice.uniform(0.002, 0.1), dice.uniform(-walls, walls))]
        for late_s, share in paths:
            begins = lead + turn * step + form.frames_of(late_s)
            for at, sample in enumerate(array("h", one)):
                air[begins + at] += sample * gain * share
    heard = array("h", (max(-32768, min(32767, round(sample))) for sample in air))
    return chirp.find(one, heard.tobytes(), lead, form)


@pytest.mark.parametrize(
    ("rate_hz", "delay_s", "loss_db"),
    [*((rate_hz, 0.0123, 20.0) for rate_hz in RATES_HZ), (8000, 0.0, 3.0), (16000, 0.3, 40.0)],
)
def test_delay_and_loss_are_found(rate_hz: int, delay_s: float, loss_db: float) -> None:
    found = recording(Format(rate_hz), delay_s=delay_s, loss_db=loss_db)
    assert found.delay_ms == pytest.approx(1000 * delay_s, abs=0.2)
    assert found.return_loss_db == pytest.approx(loss_db, abs=0.5)
    assert found.heard_dbfs == pytest.approx(found.played_dbfs - loss_db, abs=0.5)
    assert found.noise_dbfs == pytest.approx(-80.8, abs=1.0)
    assert found.delay_spread_ms is not None
    assert found.delay_spread_ms <= 0.2  # a sum of neighbours
    assert not found.is_clipped


@settings(max_examples=5)
@given(st.floats(0, 0.3), st.floats(0, 40), st.floats(0.5, 40), st.integers(0, 1000))
def test_they_are_found_in_noise_and_between_walls(
    delay_s: float, loss_db: float, noise: float, seed: int
) -> None:
    found = recording(
        Format(8000), delay_s=delay_s, loss_db=loss_db, noise=noise, walls=0.3, seed=seed
    )
    assert found.delay_ms == pytest.approx(1000 * delay_s, abs=0.5)
    assert found.return_loss_db == pytest.approx(loss_db, abs=3.0)


@pytest.mark.parametrize("noise", [0.0, 3.0, 300.0])
def test_noise_is_no_chirp(noise: float) -> None:
    for seed in range(3):
        found = recording(Format(8000), delay_s=0.01, loss_db=120, noise=noise, seed=seed)
        assert (found.delay_ms, found.heard_dbfs) == (None, None)
        assert found.return_loss_db == pytest.approx(found.played_dbfs - found.noise_dbfs)
        assert found.verdict is Verdict.HALF
        assert "no chirp came back" in found.reason


@pytest.mark.parametrize(
    ("loss_db", "delay_s", "verdict"),
    [
        (25.0, 0.005, Verdict.FULL),
        (17.5, 0.3, Verdict.FULL),
        (16.0, 0.005, Verdict.WEBRTC),
        (1.0, 0.1, Verdict.WEBRTC),
        (10.0, 0.25, Verdict.HALF),
        (-2.0, 0.005, Verdict.HALF),
        (10.0, -0.01, Verdict.HALF),
    ],
)
def test_the_verdict_follows_the_numbers(loss_db: float, delay_s: float, verdict: Verdict) -> None:
    found = recording(Format(8000), delay_s=delay_s, loss_db=loss_db)
    assert found.verdict is verdict, found.reason


def test_a_clipped_echo_allows_nothing() -> None:
    found = recording(Format(8000), delay_s=0.01, loss_db=-12.0)
    assert found.is_clipped
    assert found.verdict is Verdict.HALF
    assert "overdriven" in found.reason


def test_an_echo_that_wanders_allows_nothing() -> None:
    found = recording(Format(8000), delay_s=0.02, loss_db=20.0, other={1: 0.024})
    assert found.delay_spread_ms == pytest.approx(4.0, abs=0.3)
    assert found.verdict is Verdict.HALF
    assert "differently" in found.reason


# ── the whole measurement, on stand-in cards ─────────────────────────────────────────────────────


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize(("delay_s", "gain"), [(0.0, 0.5), (0.0625, 0.05)])
async def test_a_room_is_sounded_out(
    rate_hz: int, delay_s: float, gain: float, autojump_clock: MockClock
) -> None:
    room = Room(rate_hz)
    room.echo(delay_s=delay_s, gain=gain)
    found = await sounding.sound_out(room.open_microphone, room.open_speaker, gain=1.0)
    assert trio.current_time() < 5.0
    assert found.delay_ms == pytest.approx(1000 * delay_s, abs=0.13)
    assert found.return_loss_db == pytest.approx(-20 * math.log10(gain), abs=0.2)
    assert found.verdict is (Verdict.WEBRTC if gain == 0.5 else Verdict.FULL)
    assert not room.streams  # both cards were given back
    assert len(room.given) == 1


async def test_the_room_is_sounded_out_at_the_boxs_volume(autojump_clock: MockClock) -> None:
    room = Room(16000)
    room.echo(delay_s=0.01, gain=0.5)
    gain = gains_of(50, 0.0).answers
    found = await sounding.sound_out(room.open_microphone, room.open_speaker, gain=gain)
    assert found.played_dbfs == pytest.approx(-12.3 - 20, abs=0.3)
    assert found.return_loss_db == pytest.approx(6.0, abs=0.3)
    one = amplified(chirp.chirp(Format(16000)), gain)
    assert room.given[0][1].startswith(one)


async def test_a_dead_microphone_is_named(autojump_clock: MockClock) -> None:
    room = Room(16000)
    room.stall()
    with pytest.raises(DeviceError, match="nothing came from the microphone for 2 s"):
        await sounding.sound_out(room.open_microphone, room.open_speaker, gain=1.0)
    assert not room.streams


async def test_a_silent_room_has_no_echo(autojump_clock: MockClock) -> None:
    room = Room(16000)
    found = await sounding.sound_out(room.open_microphone, room.open_speaker, gain=1.0)
    assert found.delay_ms is None
    assert found.verdict is Verdict.HALF


# ── the command ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Room:
    """The command's cards are this room's, on a clock that jumps; there is no daemon."""
    room = Room(16000)
    run = trio.run
    monkeypatch.setattr(
        "appliance.assembly.cards", lambda _: (room.open_microphone, room.open_speaker)
    )
    monkeypatch.setattr("trio.run", lambda call: run(call, clock=MockClock(autojump_threshold=0)))
    monkeypatch.setattr("appliance.cli.SETTINGS", tmp_path / "none.toml")
    return room


def test_the_command_prints_what_it_found(
    room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room.echo(delay_s=0.02, gain=0.25)
    assert cli.main(["echo", "--socket", str(tmp_path / "no.sock")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "heard               -24.4 dBFS"
    assert printed[3] == "echo delay          20.0 ms (between 3 chirps 0.0)"
    assert printed[4] == "echo return loss    12.0 dB (between 3 chirps 0.0)"
    assert printed[5].endswith('[talk] duplex = "full" with [audio] echo = "webrtc"')
    room.given.clear()  # the clock begins anew
    assert cli.main(["echo", "--json", "--socket", str(tmp_path / "no.sock")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["delay_ms"] == pytest.approx(20.0, abs=0.2)
    assert told["return_loss_db"] == pytest.approx(12.0, abs=0.2)
    assert told["verdict"] == "webrtc"


@pytest.mark.parametrize("kept", [None, 50])
def test_the_command_plays_at_the_volume_that_the_box_was_left_at(
    kept: int | None,
    room: Room,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    if kept is not None:
        content = {"version": 1, "volume": kept, "setting": 100, "muted": False}
        StateFile(tmp_path / "knobs", 1).write(json.dumps(content).encode())
    before = sorted(tmp_path.iterdir())
    assert cli.main(["echo", "--json", "--socket", str(tmp_path / "no.sock")]) == 0
    assert json.loads(capsys.readouterr().out)["volume"] == (100 if kept is None else kept)
    peak = max(max(array("h", sound)) for _, sound in room.heard)
    assert peak == pytest.approx((1.0 if kept is None else 0.1) * chirp.LEVEL * 0x7FFF, rel=0.05)
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_prints_that_it_heard_nothing(
    room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["echo", "--socket", str(tmp_path / "no.sock")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "heard               nothing"
    assert printed[4] == "echo return loss    at least 83.6 dB"


def test_beside_a_daemon_the_command_says_what_to_do(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remote, "call", lambda *_: {"phase": "asleep"})
    assert cli.main(["echo", "--socket", str(tmp_path / "a.sock")]) == 1
    said = capsys.readouterr().err
    assert "holds the cards: stop it first (systemctl stop voice-appliance)" in said
    assert room.opened == 0


def test_a_card_that_does_not_open_is_said_in_words(
    room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    room.unplug()
    assert cli.main(["echo", "--socket", str(tmp_path / "no.sock")]) == 1
    assert capsys.readouterr().err == "voice-appliance: the stand-in card is unplugged\n"
