"""The laws of a card, kept by ALSA on the lab's devices; and ear and mouth at work there."""

import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from appliance.errors import DeviceError
from appliance.sound.answer import Answers
from appliance.sound.card import AlsaCapture, AlsaPlayback
from appliance.sound.microphone import Microphone
from appliance.sound.pcm import SAMPLE_BYTES, Chain
from tests.test_cards import (
    FORM,
    LIMIT_S,
    PERIOD,
    CardLaws,
    Rig,
    has_any_of,
    hear,
    noise,
    until,
    until_heard,
)
from tests.test_speaker import CountedSpeaker

from .pulse import Lab

WAKES_MAX = 4  # a period
STOPPED_S = 3.0  # longer than a stall lasts until it is one


class AlsaRig:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def open_microphone(self) -> AlsaCapture:
        return AlsaCapture("lab_cap", FORM.rate_hz, PERIOD)

    def open_speaker(self) -> AlsaPlayback:
        return AlsaPlayback("lab_play", FORM.rate_hz, PERIOD)

    def say(self, sound: bytes) -> None:
        self.lab.say(sound)

    @contextmanager
    def recording(self) -> Iterator[Callable[[], bytes]]:
        with self.lab.record() as recording:
            yield lambda: recording.sound


class TestAlsaCard(CardLaws):
    @pytest.fixture
    def clock(self) -> object:
        return None

    @pytest.fixture
    def rig(self, lab: Lab) -> Rig:
        return AlsaRig(lab)


# Beyond the laws


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_card_that_is_not_there_is_named(lab: Lab) -> None:
    descriptors = open_descriptors()
    for opens in (AlsaCapture, AlsaPlayback):
        with pytest.raises(DeviceError, match="'nowhere' does not open"):
            opens("nowhere", FORM.rate_hz, PERIOD)
    assert open_descriptors() == descriptors


def test_a_card_that_grants_another_rate_is_refused_in_words(lab: Lab) -> None:
    with pytest.raises(DeviceError, match="Hz; wanted is 1000000 Hz"):
        AlsaPlayback("lab_play", 1_000_000, PERIOD)


async def test_a_card_that_cannot_be_waited_on_is_paced_by_a_timer(lab: Lab) -> None:
    card = AlsaCapture("null", FORM.rate_hz, PERIOD)
    wakes = 0
    with trio.move_on_after(0.2):
        while True:
            await card.wait()
            wakes += 1
    card.close()
    assert 1 <= wakes <= 20, "every half of a period"


async def test_a_card_whose_server_has_ended_fails_and_leaves_nothing_behind(lab: Lab) -> None:
    rig = AlsaRig(lab)
    descriptors = open_descriptors()
    for _ in range(3):
        microphone, speaker = rig.open_microphone(), rig.open_speaker()
        microphone.start()
        speaker.write(noise(0.2))
        lab.kill_server()
        with pytest.raises(DeviceError):
            await hear(microphone, b"what nobody says")
        with pytest.raises(DeviceError):
            await play_on(speaker)
        speaker.queued_frames()
        speaker.drop()
        microphone.close()
        speaker.close()
        with pytest.raises(DeviceError):
            rig.open_microphone()
        lab.restart()
    assert open_descriptors() <= descriptors + 1  # the lab's own may differ by one


async def play_on(card: AlsaPlayback) -> None:
    with trio.fail_after(LIMIT_S):
        while True:
            card.write(noise(0.02))
            await trio.sleep(0.01)


@pytest.mark.parametrize(("next_one", "xruns"), [(bytes(640), 0), (noise(0.02), 1)])
async def test_running_empty_is_counted_where_sound_follows_and_not_silence(
    lab: Lab, next_one: bytes, xruns: int
) -> None:
    with closing(AlsaPlayback("lab_play", FORM.rate_hz, PERIOD)) as card:
        card.write(noise(0.02))
        await until(lambda: card.queued_frames() == 0)
        await trio.sleep(0.1)  # until the server has told the card
        card.write(next_one)
        assert card.xruns == xruns


# Ear and mouth


@dataclass
class Head:
    """A microphone and a speaker at work on the lab's cards."""

    lab: Lab
    heard: bytearray = field(default_factory=bytearray)
    told: list[str] = field(default_factory=list)
    cards: list["CountedCapture"] = field(default_factory=list)
    utterances: int = 0

    def __post_init__(self) -> None:
        self.answers = Answers(FORM)
        self.microphone = Microphone(
            self._open_microphone,
            heard=self.heard.extend,
            found=lambda: self.told.append("microphone found"),
            lost=lambda: self.told.append("microphone lost"),
        )
        self.speaker = CountedSpeaker(
            lambda: AlsaPlayback("lab_play", FORM.rate_hz, PERIOD),
            self.answers,
            dry=self._dry,
            began=lambda: self.told.append("began"),
            found=lambda: self.told.append("speaker found"),
            lost=lambda: self.told.append("speaker lost"),
        )

    def _open_microphone(self) -> "CountedCapture":
        self.cards.append(CountedCapture("lab_cap", FORM.rate_hz, PERIOD))
        return self.cards[-1]

    def _dry(self) -> None:
        """As the box does: an answer that is over is let go."""
        self.told.append("dry")
        if self.answers.done:
            self.speaker.hush()

    async def answer(self, sound: bytes, *, size: int = 10**6, every_s: float = 0.0) -> None:
        """From the agent, in pieces."""
        for start in range(0, len(sound), size):
            self.answers.hear(sound[start : start + size], trio.current_time())
            self.speaker.wake()
            if every_s:
                await trio.sleep(every_s)
        self.answers.sent_whole()
        self.speaker.wake()

    def cut(self) -> None:
        """A press; and what comes then is another answer."""
        self.utterances += 1
        self.answers.cut(trio.current_time(), after=self.utterances - 1)
        self.speaker.hush()
        self.answers.user_text(self.utterances)

    async def until_told(self, *words: str) -> None:
        """Wait until each of them was told since it was last forgotten."""
        await until(lambda: set(words) <= set(self.told))


class CountedCapture(AlsaCapture):
    waits = 0

    async def wait(self) -> None:
        self.waits += 1
        await super().wait()


@asynccontextmanager
async def a_head(lab: Lab) -> AsyncIterator[Head]:
    head = Head(lab)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(head.microphone.run)
        nursery.start_soon(head.speaker.run)
        await head.until_told("microphone found", "speaker found")
        head.told.clear()
        yield head
        paced_by = {half.status()["paced_by"] for half in (head.microphone, head.speaker)}
        assert paced_by <= {"card", None}, "a sound server keeps time, whatever befell it"
        nursery.cancel_scope.cancel()


async def test_the_microphone_hears_what_is_said(lab: Lab) -> None:
    async with a_head(lab) as head:
        for seed in (1, 2):
            head.microphone.on()
            await until(lambda: len(head.heard) > 0)
            lab.say(noise(0.5, seed))
            await until_heard(noise(0.5, seed), lambda: head.heard)
            head.microphone.off()
            head.heard.clear()
            await trio.sleep(0.05)
            assert head.heard == b""


@pytest.mark.parametrize("frames", [100, 960, 2880, 3200, 3201, 4000, 12345])
async def test_an_answer_that_comes_at_once_is_heard_to_its_last_sample(
    lab: Lab, frames: int
) -> None:
    sound = noise(frames / FORM.rate_hz)
    async with a_head(lab) as head:
        with lab.record() as recording:
            await head.answer(sound)
            await head.until_told("dry")
            await until(lambda: sound in recording.sound)
    assert recording.sound.strip(b"\0") == sound
    assert head.told == ["began", "dry"]


@pytest.mark.parametrize(("size", "every_s"), [(1281, 0.005), (640, 0.012)])
async def test_an_answer_that_comes_in_pieces_is_heard_without_a_gap(
    lab: Lab, size: int, every_s: float
) -> None:
    sound = noise(1.0)
    async with a_head(lab) as head:
        with lab.record() as recording:
            await head.answer(sound, size=size, every_s=every_s)
            await head.until_told("dry")
            await until(lambda: sound in recording.sound)
    assert recording.sound.strip(b"\0") == sound
    assert head.answers.gaps == 0


async def test_a_silenced_answer_is_never_heard_again_and_the_next_one_whole(lab: Lab) -> None:
    async with a_head(lab) as head:
        for after_s in (0.25, 0.36, 0.47):
            dead, whole = noise(2.0, seed=1), noise(0.5, seed=2)
            with lab.record() as recording:
                await head.answer(dead)
                await trio.sleep(after_s)
                head.cut()
                await trio.sleep(0.3)  # for what cannot be helped: the card's own delay
                silenced = len(recording.sound)
                await head.answer(whole)
                await head.until_told("dry")
                head.told.remove("dry")
                await trio.sleep(0.1)
            heard = recording.sound[:silenced].strip(b"\0")
            assert FORM.bytes_of(0.1) < len(heard) < FORM.bytes_of(1.5)
            assert dead.startswith(heard)
            assert recording.sound[silenced:].strip(b"\0") == whole
        assert "speaker lost" not in head.told


async def test_the_next_answer_may_follow_a_press_at_once(lab: Lab) -> None:
    async with a_head(lab) as head:
        with lab.record() as recording:
            await head.answer(noise(2.0, seed=1))
            await trio.sleep(0.25)
            head.cut()
            await head.answer(noise(0.5, seed=2))
            await until(lambda: noise(0.5, seed=2) in recording.sound)
    heard = recording.sound.strip(b"\0")
    assert heard.endswith(noise(0.5, seed=2))
    dead = heard.removesuffix(noise(0.5, seed=2)).rstrip(b"\0")
    assert noise(2.0, seed=1).startswith(dead)


async def test_a_card_is_used_without_spinning(lab: Lab) -> None:
    """PulseAudio's descriptor is ready for nothing at times; after a second that is known."""
    async with a_head(lab) as head:
        head.microphone.on()
        await head.answer(noise(3.0))
        await trio.sleep(1.5)
        began_s, waits, steps = trio.current_time(), head.cards[-1].waits, head.speaker.steps
        await trio.sleep(1.0)
        periods = (trio.current_time() - began_s) * FORM.rate_hz / PERIOD
        assert 0 < head.cards[-1].waits - waits <= WAKES_MAX * periods
        assert 0 < head.speaker.steps - steps <= WAKES_MAX * periods


async def test_a_server_that_ends_is_waited_out_by_ear_and_mouth(lab: Lab) -> None:
    async with a_head(lab) as head:
        head.microphone.on()
        await head.answer(noise(10.0, seed=1))
        await until(lambda: len(head.heard) > 0)
        lab.kill_server()
        await head.until_told("microphone lost", "speaker lost")
        head.cut()
        head.told.clear()
        lab.restart()
        await head.until_told("microphone found", "speaker found")
        await hears_and_is_heard(head)
        assert "microphone lost" not in head.told
        assert "speaker lost" not in head.told


async def test_a_server_that_ends_while_nobody_wants_it_is_missed_all_the_same(lab: Lab) -> None:
    async with a_head(lab) as head:
        head.microphone.on()
        await head.answer(noise(0.2))
        await head.until_told("dry")
        head.microphone.off()
        lab.restart()  # both stood still all the while
        await head.until_told("microphone lost", "speaker lost")
        await head.until_told("microphone found", "speaker found")
        head.told.clear()
        head.microphone.on()
        await hears_and_is_heard(head)
        assert "microphone lost" not in head.told
        assert "speaker lost" not in head.told


async def test_a_server_that_stands_still_is_missed_and_brings_nothing_old(lab: Lab) -> None:
    """Whoever misses it first is held up by its close; so the speaker may not miss it at all."""
    async with a_head(lab) as head:
        head.microphone.on()
        await until(lambda: len(head.heard) > 0)
        await head.answer(noise(10.0, seed=1))
        lab.say(noise(0.8, seed=2))
        await until(lambda: has_any_of(noise(0.3, seed=2), bytes(head.heard)))
        go_on = going_on(lab, STOPPED_S)
        lab.stop_server()
        await head.until_told("microphone lost")
        head.heard.clear()
        head.cut()
        await trio.to_thread.run_sync(go_on.wait)
        lab.cont_server()
        await head.until_told("microphone found")
        if "speaker lost" in head.told:
            await head.until_told("speaker found")
        await hears_and_is_heard(head)
        assert not has_any_of(noise(0.8, seed=2), bytes(head.heard))


async def test_a_server_that_stands_still_for_a_second_loses_no_word(lab: Lab) -> None:
    """What piled up was said since the microphone was switched on: it comes late, and whole."""
    async with a_head(lab) as head:
        head.microphone.on()
        await until(lambda: len(head.heard) > 0)
        lab.say(noise(0.5, seed=2))
        await until(lambda: has_any_of(noise(0.2, seed=2), bytes(head.heard)))
        go_on = going_on(lab, 1.0)
        lab.stop_server()
        await trio.to_thread.run_sync(go_on.wait)
        lab.cont_server()
        # The lab itself may swallow the first block of 10 ms, and pause where it stood still.
        said = noise(0.5, seed=2)[FORM.bytes_of(0.01) :]
        await until(lambda: has_each_block_of(said, bytes(head.heard)))
        await hears_and_is_heard(head)
        assert head.told.count("microphone lost") == 0


async def test_what_runs_beneath_a_stream_of_a_sound_server_is_told(lab: Lab) -> None:
    rig = AlsaRig(lab)
    for card in (rig.open_microphone(), rig.open_speaker()):
        assert card.chain == Chain(FORM.rate_hz, converter="sound server", is_kernels=False)
        card.close()


def has_each_block_of(said: bytes, heard: bytes) -> bool:
    """Whether every 10 ms of it were heard, one after the other."""
    at, size = 0, FORM.bytes_of(0.01)
    for begin in range(0, len(said), size):
        at = heard.find(said[begin : begin + size], at)
        if at < 0:
            return False
    return True


def going_on(lab: Lab, after_s: float) -> subprocess.Popen[bytes]:
    """Somebody else who lets the server go on: while it stands still, it holds up who closes."""
    assert lab._server is not None
    return subprocess.Popen(["sh", "-c", f"sleep {after_s}; kill -CONT {lab._server.pid}"])


async def hears_and_is_heard(head: Head) -> None:
    heard = len(head.heard)
    await until(lambda: len(head.heard) > heard)
    with head.lab.record() as recording:
        head.lab.say(noise(0.3, seed=3))
        await head.answer(noise(0.3, seed=4))
        await until(lambda: noise(0.3, seed=3) in head.heard)
        await until(lambda: noise(0.3, seed=4) in recording.sound)
    assert len(recording.sound) % SAMPLE_BYTES == 0
