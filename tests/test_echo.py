"""The echo canceller's place: framing, keeping step, the reference, and whole boxes with it.

The canceller here is a plain one that knows its room; the real one has `tests/dsp`.
"""

import random
import subprocess
import sys
from array import array
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from appliance import assembly, cli, config
from appliance.conversation import Phase
from appliance.errors import ConfigError
from appliance.sound.echo import FRAMES_PER_S, Echo, WebRtc
from appliance.sound.pcm import Format
from appliance.standin.agent import Manners
from tests.box import RATE_HZ, a_box, tone

FORM = Format(RATE_HZ)
FRAME = RATE_HZ // FRAMES_PER_S  # samples
FULL = '[talk]\nmode = "tap"\nduplex = "full"'
GAIN = 0.5


class Knowing:
    """A canceller that knows the room, and nothing of time: it takes frame for frame."""

    name = "knowing"

    def __init__(self, delay: int) -> None:
        self.given: list[bytes] = []
        self._line = deque([0] * delay)  # played, and not back yet
        self._late = 0  # frames of the microphone for which nothing had been played yet

    def played(self, frame: bytes) -> None:
        assert len(frame) == FRAME * 2
        samples = array("h", frame)
        self._line.extend(samples[self._late :])
        self._late = max(0, self._late - len(samples))

    def heard(self, frame: bytes) -> bytes:
        assert len(frame) == FRAME * 2
        self.given.append(frame)
        out = array("h", frame)
        for at in range(FRAME):
            if self._line:
                out[at] -= int(self._line.popleft() * GAIN)
            else:
                self._late += 1
        return out.tobytes()


class Desk:
    """A canceller between two cards whose counts are told by hand; a clock of its own."""

    def __init__(self, delay: int = 0) -> None:
        self.now_s = 0.0
        self.plays = False
        self.out = b""  # has left the speaker, and was not told
        self.canceller = Knowing(delay)
        self.echo = Echo(self.canceller, FORM, look=self.look, clock=lambda: self.now_s)

    def begin(self, at_s: float) -> None:
        """The speaker begins to move, between two pieces of the microphone."""
        now_s, self.now_s = self.now_s, at_s
        self.echo.played(b"")
        self.now_s, self.plays = now_s, True

    def end(self, at_s: float) -> None:
        """The speaker is hushed: it tells what has left it until then."""
        now_s, self.now_s = self.now_s, at_s
        self.look()
        self.now_s, self.plays = now_s, False

    def look(self) -> bool:
        if self.out:
            self.echo.played(self.out)
            self.out = b""
        return self.plays


def noise(samples: int, seed: int = 0) -> bytes:
    dice = random.Random(seed)
    return array("h", (dice.randint(-9000, 9000) for _ in range(samples))).tobytes()


def quieter(sound: bytes) -> bytes:
    return array("h", (int(sample * GAIN) for sample in array("h", sound))).tobytes()


# ── framing ──────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3000), max_size=20))
def test_pieces_of_any_length_go_through_whole_and_in_frames(sizes: list[int]) -> None:
    desk = Desk()
    said = noise(sum(sizes), seed=1)
    out, at = b"", 0
    for size in sizes:
        desk.now_s += size / RATE_HZ
        out += desk.echo.hear(said[at * 2 : (at + size) * 2])
        at += size
        assert at - FRAME < len(out) // 2 <= at
    assert desk.echo.frames == at // FRAME == len(desk.canceller.given)
    out += desk.echo.flush()
    assert out.startswith(said)
    assert not any(out[len(said) :])


def test_a_flush_of_nothing_gives_nothing() -> None:
    assert Desk().echo.flush() == b""


@pytest.mark.parametrize("size", [1, 37, 163, 320, 333, 2560])
def test_echo_goes_whatever_the_microphones_pieces_are(size: int) -> None:
    """What a card was seen to give: 2560 samples at once, which frames of 10 ms had all refused."""
    desk = Desk(delay=100)
    far = noise(RATE_HZ)
    back = bytes(200) + quieter(far)
    out = desk.echo.hear(bytes(2 * FRAME))
    desk.begin(0.0)
    for at in range(0, RATE_HZ - size, size):
        desk.now_s += size / RATE_HZ
        desk.out = far[at * 2 : (at + size) * 2]
        out += desk.echo.hear(back[at * 2 : (at + size) * 2])
    assert desk.echo.frames > 80
    assert not any(out)
    assert desk.echo.erle_db is not None
    assert desk.echo.erle_db > 60


# ── keeping step ─────────────────────────────────────────────────────────────────────────────────


def test_a_card_that_counts_in_lumps_keeps_step() -> None:
    desk = Desk(delay=640)  # the echo takes longer than the count is behind, and a frame
    far = noise(RATE_HZ)
    back = bytes(1280) + quieter(far)
    out, told = desk.echo.hear(bytes(2 * FRAME)), 0
    desk.begin(0.0)
    for at in range(0, RATE_HZ - 320, 320):
        desk.now_s += 0.02
        now = (at + 320) // 441 * 441
        desk.out, told = far[told * 2 : now * 2], now
        out += desk.echo.hear(back[at * 2 : (at + 320) * 2])
    assert not any(out)


@pytest.mark.parametrize("begins", [0, 1, 100, 319])
@pytest.mark.parametrize("apart", [7, 320, 5000, 32000])
def test_silence_between_answers_is_as_long_as_it_was(begins: int, apart: int) -> None:
    desk = Desk(delay=50)
    far = bytes(begins * 2) + noise(3333) + bytes(apart * 2) + noise(3333, seed=2)
    sounds = [(begins, begins + 3333), (begins + 3333 + apart, len(far) // 2)]
    back = bytes(100) + quieter(far)
    out = b""
    desk.echo.hear(bytes(640))
    for at in range(0, len(far) // 2 - 320, 320):
        desk.now_s += 0.02
        for low, high in sounds:
            if at <= low < at + 320:
                desk.begin(low / RATE_HZ)
            desk.out = far[max(at, low) * 2 : min(at + 320, high) * 2]
            if at < high <= at + 320:
                desk.end(high / RATE_HZ)
            elif desk.out:
                break
        out += desk.echo.hear(back[at * 2 : (at + 320) * 2])
    assert not any(out)
    assert desk.echo.delay_ms == 0


def test_sound_that_a_hanging_card_swallowed_is_made_up_for() -> None:
    desk = Desk()
    desk.plays = True
    desk.echo.hear(bytes(640))
    for _ in range(10):
        desk.now_s += 0.02
        desk.echo.hear(bytes(640))  # nothing was played, although it plays
    desk.out = noise(320)
    desk.now_s += 0.02
    desk.echo.hear(bytes(640))
    assert desk.echo.delay_ms == 0


def test_a_microphone_that_had_stood_still_begins_anew() -> None:
    desk = Desk()
    desk.echo.hear(noise(250))
    desk.now_s += 5.0
    for _ in range(100):
        desk.echo.played(noise(RATE_HZ))  # nobody listens, and nothing piles up
    said = noise(320, seed=3)
    assert desk.echo.hear(said) == said
    assert desk.echo.delay_ms == 0


@pytest.mark.parametrize("away_s", [0.15, 0.4, 3.0])
def test_a_microphone_that_comes_back_within_an_answer_keeps_step(away_s: float) -> None:
    desk = Desk(delay=100)
    far = noise(4 * RATE_HZ)
    back = bytes(200) + quieter(far)
    out = desk.echo.hear(bytes(640))
    desk.begin(0.0)
    away = range(3200, 3200 + round(away_s * RATE_HZ))
    for at in range(0, len(far) // 2 - 320, 320):
        desk.now_s += 0.02
        desk.out = far[at * 2 : (at + 320) * 2]
        if at in away:
            desk.look()
        else:
            out += desk.echo.hear(back[at * 2 : (at + 320) * 2])
    assert desk.echo.delay_ms == 0
    assert not any(out[: 3200 * 2])
    assert not any(out[-8000 * 2 :])


# ── whole boxes ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("delay_s", [0.0, 0.013, 0.1])
async def test_a_box_that_hears_itself_is_not_heard_by_the_agent(
    delay_s: float, autojump_clock: MockClock
) -> None:
    canceller = Knowing(FORM.frames_of(delay_s))
    async with a_box(FULL, Manners(answer_s=3.0), canceller=canceller) as box:
        box.room.echo(delay_s=delay_s, gain=GAIN)
        box.button.press()
        box.button.release()
        for number in range(3):  # answers that begin wherever they begin
            await trio.sleep(0.5 + number / 7)
            said = tone(1.0, hz=400 + 100 * number)
            box.room.say(said)
            await box.until(Phase.SPEAKING)
            begun = len(box.connection.heard)
            await box.until(Phase.LISTENING)
            await trio.sleep(1.0)
            assert said in bytes(box.connection.heard)
            assert len(box.connection.heard) > begun + 3.0 * RATE_HZ * 2
            assert not any(box.connection.heard[begun:])
        status = box.daemon.status()["echo"]
        assert isinstance(status, dict)
        assert status["frames"] > 1000
        assert status["erle_db"] > 60
        assert (status["mode"], status["canceller"]) == ("full", "knowing")
        assert status["delay_ms"] == 0


async def test_without_a_canceller_the_box_interrupts_itself(autojump_clock: MockClock) -> None:
    async with a_box(FULL, Manners(answer_s=3.0)) as box:
        box.room.echo(delay_s=0.01, gain=GAIN)
        box.button.press()
        box.button.release()
        await trio.sleep(0.5)
        box.room.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await box.until(Phase.LISTENING)
        assert "user started speaking" in [one["event"] for one in box.events[-3:]]
        echo = {"mode": "full", "canceller": "none", "frames": 0, "delay_ms": None, "erle_db": None}
        assert box.daemon.status()["echo"] == echo


async def test_who_speaks_over_a_cancelled_answer_silences_it_and_is_heard_whole(
    autojump_clock: MockClock,
) -> None:
    async with a_box(FULL, Manners(answer_s=10.0), canceller=Knowing(160)) as box:
        box.room.echo(delay_s=0.01, gain=GAIN)
        box.button.press()
        box.button.release()
        await trio.sleep(0.5)
        box.room.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await trio.sleep(2.0)
        said = tone(1.0, hz=900, level=0.2)
        box.room.say(said)
        await box.until(Phase.LISTENING)
        await trio.sleep(2.0)
        assert said in bytes(box.connection.heard)


async def test_what_is_kept_is_all_that_the_microphone_heard(autojump_clock: MockClock) -> None:
    """Pieces of 15 ms make no whole frames: what is left at the end of a turn is kept as well."""
    settings = "[audio]\nperiod_ms = 15"
    async with a_box(settings, canceller=Knowing(0)) as box:
        box.room.period_frames = 240
        said = tone(1.0)
        await box.say(said)
        await box.until(Phase.SPEAKING)
        heard = bytes(box.connection.heard)
        assert heard.startswith(said)
        assert len(heard) >= FORM.bytes_of(1.2) - 2 * 240


# ── settings ─────────────────────────────────────────────────────────────────────────────────────

LOOPBACK = "[agent]\nurl = 'ws://127.0.0.1:1/v1/agent/converse'\n"
WANTED = '[talk]\nmode = "tap"\nduplex = "full"\n[audio]\necho = "webrtc"\n'


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, "test")
    return caught.value.faults


def test_the_canceller_is_none_unless_it_is_wanted() -> None:
    assert config.parse("", "test").audio.echo == "none"
    assert config.parse(WANTED, "test").audio.echo == "webrtc"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ('mode = "tap"', 'mode = "hold"'),
            '[talk] mode = "hold" hears nothing while an answer sounds; wanted "tap" or "open"',
        ),
        (
            ('duplex = "full"', 'duplex = "half"'),
            '[talk] duplex = "half" hears nothing while an answer sounds; wanted "full"',
        ),
        (
            ("[audio]", "[audio]\nrate_hz = 24000"),
            "it cannot work at rate_hz = 24000; wanted one of 8000, 16000, 32000, 48000",
        ),
        (('"webrtc"', '"speex"'), 'wanted one of "none", "webrtc"'),
    ],
)
def test_a_canceller_that_could_do_nothing_is_refused(change: tuple[str, str], words: str) -> None:
    said = '"speex"' if "speex" in change[1] else '"webrtc"'
    assert faults(WANTED.replace(*change)) == (f"test: [audio] echo = {said}: {words}",)


@pytest.mark.parametrize("found", [(), ("livekit",)])  # another package of the same family
@pytest.mark.parametrize("command", ["check", "run", "demo"])
def test_a_missing_package_is_named_by_whoever_reads_the_settings(
    command: str,
    found: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "appliance.config.find_spec", lambda name: object() if name in found else None
    )
    file = tmp_path / "config.toml"
    file.write_text(WANTED)
    assert cli.main([command, "--config", str(file)]) == 78
    words = "it needs the extra dsp: pip install 'voice-appliance[dsp]', install.sh --extra dsp"
    assert capsys.readouterr().err == f'{file}: [audio] echo = "webrtc": {words}\n'


def test_settings_with_the_package_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.config.find_spec", lambda _: object())
    file = tmp_path / "config.toml"
    file.write_text(WANTED)
    assert config.read(file).audio.echo == "webrtc"


def test_a_package_that_does_not_load_is_a_fault_of_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "livekit", None)
    with pytest.raises(ConfigError, match="livekit does not load"):
        WebRtc()
    with pytest.raises(ConfigError, match="livekit does not load"):
        assembly.standin_parts(config.parse(f"{LOOPBACK}{WANTED}", "test"), {}, None)


class Module:
    """livekit's module, as far as it is used: it takes frames of one length, and halves them."""

    def __init__(self, **_: bool) -> None:
        self.took: list[str] = []

    def process_reverse_stream(self, frame: Any) -> None:
        self.took.append("played")

    def set_stream_delay_ms(self, _: int) -> None:
        self.took.append("delay")

    def process_stream(self, frame: Any) -> None:
        self.took.append("heard")
        frame.data[:] = array("h", (sample // 2 for sample in frame.data))


class AudioFrame:
    def __init__(self, data: bytearray, rate_hz: int, channels: int, samples: int) -> None:
        assert (channels, samples * 100) == (1, rate_hz)
        self.data = memoryview(data).cast("h")


def test_the_box_of_the_settings_has_the_canceller(monkeypatch: pytest.MonkeyPatch) -> None:
    rtc = SimpleNamespace(AudioProcessingModule=Module, AudioFrame=AudioFrame)
    monkeypatch.setitem(sys.modules, "livekit", SimpleNamespace(rtc=rtc))
    parts, _ = assembly.standin_parts(config.parse(f"{LOOPBACK}{WANTED}", "test"), {}, None)
    canceller = parts.canceller
    assert isinstance(canceller, WebRtc)
    assert canceller.name == "webrtc"
    canceller.played(bytes(320))
    assert canceller.heard(b"\x08\0" * 160) == b"\x04\0" * 160
    with pytest.raises(AssertionError):  # the real one would end the process
        canceller.heard(bytes(322))
    plain, _ = assembly.standin_parts(config.parse(LOOPBACK, "test"), {}, None)
    assert plain.canceller is None


def test_the_canceller_is_not_imported_where_it_is_not_wanted(tmp_path: Path) -> None:
    (tmp_path / "livekit.py").write_text("raise SystemExit('it was imported')")
    words = "from appliance import assembly, cli, config, daemon; config.parse('', 'test')"
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {words}; print('lived')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "lived\n", done.stderr
