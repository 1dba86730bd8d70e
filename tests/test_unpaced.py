"""Ear, mouth and a whole box on PCMs that keep no time: they behave as real cards, by the clock.

ALSA's own `null` and `file`, in virtual time, because they wait for nothing; and one whose
descriptor is always ready, which no PCM of ALSA's is.
"""

import errno
import logging
import os
import select
from contextlib import closing
from pathlib import Path

import alsaaudio
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.conversation import Phase
from appliance.sound import card
from appliance.sound.card import AlsaCapture, AlsaPlayback
from appliance.sound.pcm import SAMPLE_BYTES
from appliance.standin.agent import Manners
from appliance.standin.card import Room

from .box import Box, a_box
from .test_cards import FORM, PERIOD, noise, write_all
from .test_microphone import Ear
from .test_plugging import card_status
from .test_speaker import Mouth, without_silence

SAID_S = 12.0
SETTINGS = """</usr/share/alsa/alsa.conf>
pcm.tape {{ type file slave.pcm "null" file "{out}" infile "{said}" format "raw" }}
"""
KEEPS_NO_TIME = "keeps no time, sound passes as fast as it is asked for: paced by a timer"


class Greedy:
    """A PCM that is always ready, and gives or takes whatever is wanted."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(1)
        self._state: int = alsaaudio.PCM_STATE_PREPARED
        self._given_s = 0.0

    def info(self) -> dict[str, object]:
        places = dict.fromkeys(("card_no", "device_no", "subdevice_no"), -1)
        sizes = {"rate": FORM.rate_hz, "channels": 1, "period_size": 320, "buffer_size": 3200}
        return {"format_name": "S16_LE", **places, **sizes}

    def polldescriptors(self) -> list[tuple[int, int]]:
        return [(self._descriptor, select.EPOLLIN)]

    def polldescriptors_revents(self, _descriptors: object) -> None:
        pass

    def avail(self) -> int:
        return 3200

    def state(self) -> int:
        return self._state

    def read(self) -> tuple[int, bytes]:
        self._state = alsaaudio.PCM_STATE_RUNNING
        self._given_s += PERIOD / FORM.rate_hz
        assert self._given_s < 60.0, "nobody sees that it never ends"
        return PERIOD, bytes(PERIOD * SAMPLE_BYTES)

    def write(self, sound: bytes) -> int:
        self._state = alsaaudio.PCM_STATE_RUNNING
        return len(sound) // SAMPLE_BYTES

    def drop(self) -> None:
        self._state = alsaaudio.PCM_STATE_SETUP

    def close(self) -> None:
        os.close(self._descriptor)


class Starving(Greedy):
    """One that says so, too: whatever is written is played at once, and that is an xrun."""

    def write(self, sound: bytes) -> int:
        if self._state == alsaaudio.PCM_STATE_XRUN:
            self._state = alsaaudio.PCM_STATE_PREPARED
            return -errno.EPIPE
        self._state = alsaaudio.PCM_STATE_XRUN
        return len(sound) // SAMPLE_BYTES


@pytest.fixture
def tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The PCM "tape": a file is heard, and this one is written."""
    (tmp_path / "said").write_bytes(noise(SAID_S))
    settings = SETTINGS.format(out=tmp_path / "out", said=tmp_path / "said")
    (tmp_path / "asoundrc").write_text(settings)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asoundrc"))
    return tmp_path / "out"


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is opened is such a one."""
    monkeypatch.setattr(card, "_open", lambda *_: Greedy())


def a_microphone(name: str = "tape") -> AlsaCapture:
    return AlsaCapture(name, FORM.rate_hz, PERIOD)


def a_speaker(name: str = "tape") -> AlsaPlayback:
    return AlsaPlayback(name, FORM.rate_hz, PERIOD)


# The ear


async def test_a_file_is_heard_as_if_it_were_said_from_its_first_sample_on(
    tape: Path, autojump_clock: MockClock
) -> None:
    with closing(a_microphone()) as microphone:
        microphone.start()
        heard, late_s = b"", []
        for _ in range(50):
            while not (sound := microphone.read()):
                await microphone.wait()
            heard += sound
            late_s.append(trio.current_time() - FORM.seconds_of(len(heard)))
    assert heard == noise(SAID_S)[: len(heard)]
    assert max(late_s) < 0.02
    assert min(late_s) > -1e-6, "nothing is heard before it can have been said"


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
async def test_a_microphone_that_is_none_is_silent_and_gives_away_nothing_of_our_memory(
    rate_hz: int, autojump_clock: MockClock
) -> None:
    period = rate_hz // 50
    with closing(AlsaCapture("null", rate_hz, period)) as microphone:
        microphone.start()
        for turn in range(50):
            keys = [b"a key " * (size // 6) for size in (period, period * 2, period * 4) * 9]
            await trio.sleep(0.02)
            del keys
            assert set(microphone.read()) == {0}, turn


async def test_of_what_nobody_reads_in_time_a_card_keeps_one_buffer(
    autojump_clock: MockClock,
) -> None:
    with closing(a_microphone("null")) as microphone:
        microphone.start()
        await trio.sleep(30.0)
        assert len(microphone.read()) == microphone.buffer_frames * SAMPLE_BYTES
        assert microphone.read() == b""
        await trio.sleep(0.04)
        assert len(microphone.read()) == 2 * PERIOD * SAMPLE_BYTES


async def test_an_ear_that_is_switched_on_and_off_hears_what_the_time_allows(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    ear = Ear(Room(FORM.rate_hz), lambda: a_microphone("null"))
    nursery.start_soon(ear.microphone.run)
    await wait_all_tasks_blocked()
    for seconds in (4.0, 0.1, 1.0):
        before = len(ear.heard)
        ear.microphone.on()
        await trio.sleep(seconds + 0.005)
        ear.microphone.off()
        assert FORM.seconds_of(len(ear.heard) - before) == pytest.approx(seconds, abs=0.0201)
        await trio.sleep(1.0)
    assert [word for _, word in ear.told] == ["found"]


async def test_a_card_that_is_always_ready_is_found_out_and_paced_from_then_on(
    greedy: None,
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ear = Ear(Room(FORM.rate_hz), a_microphone)
    nursery.start_soon(ear.microphone.run)
    await wait_all_tasks_blocked()
    assert ear.microphone.status()["paced_by"] == "card"
    for most_s in (5.5, 4.0, 4.0):
        before = len(ear.heard)
        ear.microphone.on()
        await trio.sleep(4.005)
        ear.microphone.off()
        assert 3.97 < FORM.seconds_of(len(ear.heard) - before) <= most_s
        await trio.sleep(1.0)
    assert ear.microphone.status()["paced_by"] == "timer"
    assert [word for _, word in ear.told] == ["found"]
    told = [one for one in caplog.records if KEEPS_NO_TIME in one.message]
    assert [one.levelno for one in told] == [logging.WARNING]


# The mouth


@pytest.mark.parametrize("kind", ["null", "tape", "greedy"])
@pytest.mark.parametrize("seconds", [0.05, 1.0, 7.3])
async def test_an_answer_lasts_as_long_as_it_is(
    kind: str,
    seconds: float,
    request: pytest.FixtureRequest,
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    if kind != "null":
        request.getfixturevalue(kind)
    mouth = Mouth(Room(FORM.rate_hz), lambda: a_speaker(kind))
    nursery.start_soon(mouth.speaker.run)
    await wait_all_tasks_blocked()
    for _ in range(3):
        mouth.told.clear()
        began_s = trio.current_time()
        mouth.hear(noise(seconds), whole=True)
        await trio.sleep(seconds + 0.5)
        assert [word for _, word in mouth.told] == ["began", "dry"]
        if kind != "greedy" or seconds > 0.5:  # by then it has shown itself
            assert mouth.told[-1][0] - began_s == pytest.approx(seconds, abs=0.002)
        mouth.cut()
    status = mouth.speaker.status()
    assert (status["xruns"], status["paced_by"]) == (0, "timer")


async def test_what_a_card_without_time_says_of_running_empty_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    monkeypatch.setattr(card, "_open", lambda *_: Starving())
    mouth = Mouth(Room(FORM.rate_hz), a_speaker)
    nursery.start_soon(mouth.speaker.run)
    await wait_all_tasks_blocked()
    mouth.hear(noise(1.0), whole=True)
    await trio.sleep(1.5)
    mouth.cut()
    before = mouth.speaker.status()["xruns"]
    mouth.hear(noise(7.0), whole=True)
    await trio.sleep(6.95)
    assert mouth.told[-1][1] == "began"
    await trio.sleep(0.1)
    assert mouth.told[-1][1] == "dry"
    assert mouth.speaker.status()["xruns"] == before


async def test_a_full_card_takes_no_more_and_empties_as_time_passes(
    autojump_clock: MockClock,
) -> None:
    with closing(a_speaker("null")) as speaker:
        assert speaker.queued_frames() == 0
        write_all(speaker, noise(0.2))
        assert speaker.queued_frames() == speaker.buffer_frames
        assert speaker.write(noise(0.2)) == 0
        await trio.sleep(0.05)
        assert speaker.queued_frames() == speaker.buffer_frames - 800
        assert speaker.write(noise(0.2)) == 800
        speaker.drop()
        assert speaker.queued_frames() == 0
        assert speaker.write(noise(0.02)) == PERIOD
        await trio.sleep(0.02)
        assert speaker.queued_frames() == 0
        await trio.sleep(0.5)
        assert speaker.write(bytes(640)) == PERIOD
        assert speaker.xruns == 0, "it ran empty, and silence follows"
        await trio.sleep(0.5)
        assert speaker.write(noise(0.02)) == PERIOD
        assert speaker.xruns == 1
        assert speaker.queued_frames() == PERIOD


async def test_what_of_a_cut_answer_was_heard_is_told_by_the_clock(
    tape: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    mouth = Mouth(Room(FORM.rate_hz), a_speaker)
    nursery.start_soon(mouth.speaker.run)
    await wait_all_tasks_blocked()
    mouth.hear(noise(7.0, seed=1), whole=True)
    await trio.sleep(1.0)
    mouth.cut()
    assert FORM.seconds_of(len(mouth.played)) == pytest.approx(1.0, abs=0.001)
    mouth.hear(noise(0.5, seed=2), whole=True)
    await trio.sleep(1.0)
    mouth.cut()
    written = without_silence(await trio.Path(tape).read_bytes())
    first, second = written[: -len(noise(0.5))], written[-len(noise(0.5)) :]
    assert second == noise(0.5, seed=2)
    assert noise(7.0, seed=1).startswith(first)
    assert FORM.seconds_of(len(first)) < 1.21, "what a card's buffer holds is ahead, and no more"


# A whole box


@pytest.fixture
def room(tape: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    """A room whose cards are the PCM "tape"."""
    room = Room(FORM.rate_hz)
    monkeypatch.setattr(room, "open_microphone", lambda _: a_microphone())
    monkeypatch.setattr(room, "open_speaker", lambda _: a_speaker())
    return room


async def hold(box: Box, seconds: float) -> None:
    box.button.press()
    await trio.sleep(seconds)
    box.button.release()


async def test_a_box_on_files_sends_what_was_said_and_speaks_as_long_as_it_answers(
    room: Room, tape: Path, autojump_clock: MockClock
) -> None:
    async with a_box(manners=Manners(answer_s=1.0), room=room) as box:
        for turn in (1, 2):
            before = len(box.agent.connections[-1].heard) if turn > 1 else 0
            await hold(box, 4.0)
            began_s = await box.until(Phase.SPEAKING)
            assert await box.until(Phase.RESTING) - began_s == pytest.approx(1.0, abs=0.03)
            heard = bytes(box.connection.heard)[before:]
            assert FORM.seconds_of(len(heard)) == pytest.approx(4.2, abs=0.03)
            assert heard in noise(SAID_S)
        for which in ("microphone", "speaker"):
            status = card_status(box, which)
            assert (status["paced_by"], status["converter"]) == ("timer", "unknown")
            assert (status["state"], status["xruns"]) == ("open", 0)


async def test_a_turn_is_bounded_by_its_sound_where_the_card_gives_too_much(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with a_box("[talk]\nmax_turn_s = 5") as box:
        box.button.press()
        await trio.sleep(1.0)
        for _ in range(15):  # 0.3 s each
            box.daemon._heard(noise(0.3))
        assert box.at(Phase.THINKING)
        await trio.sleep(0.3)
        box.button.release()
        assert box.daemon.utterances.heard_bytes < FORM.bytes_of(5.4)
        await box.until(Phase.RESTING)
        assert len(box.connection.heard) == box.daemon.utterances.heard_bytes
