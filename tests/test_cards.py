"""What a card owes those who use it, as laws: the stand-in keeps them here, ALSA in `paced/`.

The sound is noise, so that each piece of it is found in one place only. No law measures a time; a
count that runs ahead of the clock is a fault, however slow the machine is.
"""

import random
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import pytest
import trio
import trio.testing

from appliance.errors import DeviceError
from appliance.sound.microphone import Capture
from appliance.sound.pcm import SAMPLE_BYTES, Format
from appliance.sound.speaker import Playback
from appliance.standin.card import Room

FORM = Format(16000)
PERIOD = 320  # frames
LIMIT_S = 5.0  # for what takes a fraction of a second
SNIPPET = 160  # bytes: so much noise is nowhere twice


def noise(seconds: float, seed: int = 1) -> bytes:
    """Loud noise that is the same each time; neither byte of a sample is ever zero."""
    dice = random.Random(seed)
    frames = round(seconds * FORM.rate_hz)
    return array("h", (dice.randrange(-16000, 16000) | 0x0101 for _ in range(frames))).tobytes()


def has_any_of(sound: bytes, heard: bytes) -> bool:
    """Whether any snippet of `sound` is to be found in `heard`."""
    snippets = range(0, len(sound) - SNIPPET + 1, SNIPPET)
    return any(sound[start : start + SNIPPET] in heard for start in snippets)


class Rig(Protocol):
    """A card in a room, and what is to be heard and said there."""

    def open_microphone(self) -> Capture:
        """A capture stream."""

    def open_speaker(self) -> Playback:
        """A playback stream."""

    def say(self, sound: bytes) -> None:
        """Into the microphone, soon."""

    def recording(self) -> AbstractContextManager[Callable[[], bytes]]:
        """What the speaker has given since the block was entered, silence included or not."""


async def hear(card: Capture, wanted: bytes) -> bytes:
    """What a card records until `wanted` is in it, in one piece."""
    heard = b""
    with trio.fail_after(LIMIT_S):
        while wanted not in heard:
            await card.wait()
            piece = card.read()
            assert len(piece) % (PERIOD * SAMPLE_BYTES) == 0
            heard += piece
    return heard


async def start(card: Capture) -> None:
    """Begin to record; returns when sound comes."""
    card.start()
    with trio.fail_after(LIMIT_S):
        while not card.read():
            await card.wait()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    with trio.fail_after(LIMIT_S):
        while not is_so():  # noqa: ASYNC110  # a card tells nobody what has left it
            await trio.sleep(0.005)


async def until_heard(sound: bytes, heard: Callable[[], bytes | bytearray]) -> None:
    """Wait until `sound` is in what was heard, in one piece."""
    await until(lambda: sound in heard())


def write_all(card: Playback, sound: bytes) -> None:
    """A first write may leave a period of the card's buffer free."""
    for _ in range(2):
        sound = sound[card.write(sound) * SAMPLE_BYTES :]
    assert not sound


class CardLaws:
    """To be inherited by one class for each kind of card, with fixtures `rig` and `clock`."""

    async def test_it_opens_with_what_was_asked(self, rig: Rig, clock: object) -> None:
        microphone, speaker = rig.open_microphone(), rig.open_speaker()
        assert microphone.form == speaker.form == FORM
        assert speaker.period_frames == PERIOD
        assert speaker.buffer_frames == 10 * PERIOD
        microphone.close()
        speaker.close()

    async def test_what_is_said_is_recorded_in_whole_periods_and_one_piece(
        self, rig: Rig, clock: object
    ) -> None:
        card = rig.open_microphone()
        await start(card)
        rig.say(noise(0.5))
        await hear(card, noise(0.5))
        card.close()

    async def test_a_microphone_that_was_stopped_keeps_nothing(
        self, rig: Rig, clock: object
    ) -> None:
        card = rig.open_microphone()
        await start(card)
        rig.say(noise(0.1, seed=1))
        await hear(card, noise(0.1, seed=1))
        card.stop()
        with rig.recording():  # somebody else listens, to know when it has been said
            rig.say(noise(0.2, seed=2))
            await trio.sleep(0.5)
        await start(card)
        rig.say(noise(0.1, seed=3))
        assert not has_any_of(noise(0.2, seed=2), await hear(card, noise(0.1, seed=3)))
        card.close()

    async def test_one_write_starts_the_speaker_and_all_of_it_is_heard(
        self, rig: Rig, clock: object
    ) -> None:
        card = rig.open_speaker()
        with rig.recording() as heard:
            assert card.queued_frames() == 0
            assert card.write(noise(0.06)) == 960
            assert 0 < card.queued_frames() <= 960
            await until(lambda: card.queued_frames() == 0)
            await until(lambda: heard().strip(b"\0") == noise(0.06))
        card.close()

    @pytest.mark.parametrize("periods", [3, 9, 10])
    async def test_what_is_queued_falls_as_time_passes_and_never_faster(
        self, rig: Rig, clock: object, periods: int
    ) -> None:
        card = rig.open_speaker()
        sound = noise(periods * PERIOD / FORM.rate_hz)
        with rig.recording() as heard:
            began_s = trio.current_time()
            write_all(card, sound)
            queued = before = len(sound) // SAMPLE_BYTES
            with trio.fail_after(LIMIT_S):
                while queued:
                    queued = card.queued_frames()
                    passed = FORM.frames_of(trio.current_time() - began_s)
                    assert len(sound) // SAMPLE_BYTES - queued <= passed + 2 * PERIOD
                    assert queued <= before
                    before = queued
                    await trio.sleep(0.005)
            await until(lambda: heard().strip(b"\0") == sound)
        card.close()

    async def test_a_full_card_takes_no_more(self, rig: Rig, clock: object) -> None:
        card = rig.open_speaker()
        write_all(card, noise(0.2))
        assert card.write(noise(0.2)) <= PERIOD
        card.close()

    @pytest.mark.parametrize("periods", [3, 10])
    @pytest.mark.parametrize("after_s", [0.0, 0.03])
    async def test_a_drop_is_silence_and_the_next_write_is_heard_whole(
        self, rig: Rig, clock: object, periods: int, after_s: float
    ) -> None:
        card = rig.open_speaker()
        first, second = noise(periods * PERIOD / FORM.rate_hz, seed=1), noise(0.2, seed=2)
        with rig.recording() as heard:
            write_all(card, first)
            await trio.sleep(after_s)
            card.drop()
            assert card.queued_frames() == 0
            await trio.sleep(0.1)
            assert card.queued_frames() == 0
            write_all(card, second)
            await until_heard(second, heard)
        card.close()
        left = heard()[: heard().index(second)].strip(b"\0")
        assert first.startswith(left)
        assert len(left) < len(first)

    async def test_who_waits_is_woken_by_a_period_of_sound_or_of_room(
        self, rig: Rig, clock: object
    ) -> None:
        microphone, speaker = rig.open_microphone(), rig.open_speaker()
        await start(microphone)
        write_all(speaker, noise(0.2))
        with trio.fail_after(LIMIT_S):
            while speaker.buffer_frames - speaker.queued_frames() < PERIOD:
                await speaker.wait()
        microphone.close()
        speaker.close()

    async def test_closing_is_silence_at_once_and_twice_is_harmless(
        self, rig: Rig, clock: object
    ) -> None:
        with rig.recording() as heard:
            speaker = rig.open_speaker()
            write_all(speaker, noise(0.2))
            speaker.close()
            speaker.close()
            await trio.sleep(0.3)
            assert noise(0.2) not in heard()
        microphone = rig.open_microphone()
        microphone.start()
        microphone.close()
        microphone.close()

    async def test_it_can_be_opened_again(self, rig: Rig, clock: object) -> None:
        for seed in (1, 2, 3):
            microphone, speaker = rig.open_microphone(), rig.open_speaker()
            await start(microphone)
            with rig.recording() as heard:
                rig.say(noise(0.1, seed))
                write_all(speaker, noise(0.1, seed))
                await hear(microphone, noise(0.1, seed))
                await until_heard(noise(0.1, seed), heard)
            microphone.close()
            speaker.close()

    async def test_whether_it_stands_still_or_not_it_is_there(
        self, rig: Rig, clock: object
    ) -> None:
        microphone, speaker = rig.open_microphone(), rig.open_speaker()
        microphone.check()
        speaker.check()
        microphone.start()
        write_all(speaker, noise(0.2))
        microphone.check()
        speaker.check()
        microphone.stop()
        speaker.drop()
        microphone.check()
        speaker.check()
        microphone.close()
        speaker.close()


# The stand-in


class StandinRig:
    def __init__(self) -> None:
        self.room = Room(FORM.rate_hz)

    def open_microphone(self) -> Capture:
        return self.room.open_microphone()

    def open_speaker(self) -> Playback:
        return self.room.open_speaker()

    def say(self, sound: bytes) -> None:
        self.room.say(sound)

    @contextmanager
    def recording(self) -> Iterator[Callable[[], bytes]]:
        yield lambda: b"".join(bytes(sound) for _, sound in self.room.heard)


class TestStandinCard(CardLaws):
    @pytest.fixture
    def clock(self, autojump_clock: trio.testing.MockClock) -> object:
        return autojump_clock

    @pytest.fixture
    def rig(self) -> Rig:
        return StandinRig()


async def test_the_room_is_recorded_to_the_sample(autojump_clock: object) -> None:
    room = Room(FORM.rate_hz)
    await trio.sleep(1.2345)
    card = room.open_microphone()
    card.start()
    room.say(noise(0.1), after_s=0.05)
    await trio.sleep(0.2)
    heard = card.read()
    assert heard == FORM.silence(800) + noise(0.1) + FORM.silence(800)


async def test_the_speaker_is_heard_when_it_was_written(autojump_clock: object) -> None:
    room = Room(FORM.rate_hz)
    card = room.open_speaker()
    await trio.sleep(1.0)
    card.write(noise(0.1))
    await trio.sleep(0.05)
    assert card.queued_frames() == 800
    card.drop()
    assert room.heard == [(1.0, noise(0.1)[:1600])]


async def test_a_speaker_left_to_run_empty_counts_it(autojump_clock: object) -> None:
    room = Room(FORM.rate_hz)
    card = room.open_speaker()
    card.write(noise(0.02))
    await trio.sleep(0.02)
    assert (card.queued_frames(), card.xruns) == (0, 0)
    card.write(noise(0.02))
    await trio.sleep(0.021)
    assert (card.queued_frames(), card.xruns) == (0, 1)
    assert [began_s for began_s, _ in room.heard] == [0.0, 0.02]


async def test_an_unplugged_card_fails_whatever_is_asked_of_it(autojump_clock: object) -> None:
    room = Room(FORM.rate_hz)
    microphone, speaker = room.open_microphone(), room.open_speaker()
    microphone.start()
    speaker.write(noise(0.2))
    await trio.sleep(0.05)
    room.unplug()
    room.plug()
    failing: list[Callable[[], object]] = [
        *(microphone.check, microphone.start, microphone.read),
        *(speaker.check, speaker.queued_frames, lambda: speaker.write(noise(0.02))),
    ]
    for call in failing:
        with pytest.raises(DeviceError):
            call()
    for card in (microphone, speaker):
        with pytest.raises(DeviceError):
            await card.wait()
        card.close()
    assert room.heard == [(0.0, noise(0.2)[:1600])]
    room.unplug()
    for opens in (room.open_microphone, room.open_speaker):
        with pytest.raises(DeviceError):
            opens()
    assert room.opened == 2
    room.plug()
    room.open_microphone().close()
    assert (room.opened, room.streams) == (3, [])


async def test_who_waits_for_a_card_is_told_at_once_that_it_is_gone(
    autojump_clock: object,
) -> None:
    room = Room(FORM.rate_hz)
    microphone, speaker = room.open_microphone(), room.open_speaker()
    microphone.start()
    write_all(speaker, noise(0.2))
    told: list[float] = []

    async def wait(card: Capture | Playback) -> None:
        with pytest.raises(DeviceError):
            await card.wait()
        told.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, microphone)
        nursery.start_soon(wait, speaker)
        await trio.sleep(0.004)
        room.unplug()
    assert told == [0.004, 0.004]


async def test_a_stalled_card_says_nothing_and_goes_on_where_it_stood(
    autojump_clock: object,
) -> None:
    room = Room(FORM.rate_hz)
    microphone, speaker = room.open_microphone(), room.open_speaker()
    microphone.start()
    write_all(speaker, noise(0.2))
    await trio.sleep(0.05)
    microphone.read()
    room.stall()
    room.stall()
    room.say(noise(1.0, seed=2))
    for card in (microphone, speaker):
        with trio.move_on_after(1.0) as scope:
            await card.wait()
        assert scope.cancelled_caught
    assert microphone.read() == b""
    assert speaker.queued_frames() == 2400
    room.go_on()
    room.go_on()
    assert noise(0.5, seed=2) in microphone.read()
    assert speaker.queued_frames() == 2400
    await speaker.wait()
    await trio.sleep(0.1)
    assert speaker.queued_frames() == 800
    await trio.sleep(0.1)
    assert speaker.queued_frames() == 0
    assert room.heard == [(0.0, noise(0.2))]
