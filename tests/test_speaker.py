"""The mouth, in a room of virtual time: what is heard of an answer, when, and what it tells."""

from array import array
from bisect import bisect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.sound.answer import Answers
from appliance.sound.pcm import SAMPLE_BYTES, Format, to_card
from appliance.sound.speaker import Playback, Speaker
from appliance.standin.card import Room, StandinPlayback
from tests.test_cards import FORM, PERIOD, noise

PREBUFFER_S = 0.06
SAMPLE_S = 1 / FORM.rate_hz
BYTES_PER_MS = 32


class CountedSpeaker(Speaker):
    steps = 0  # how often it woke to do something

    async def _step(self, card: Playback) -> None:
        self.steps += 1
        await super()._step(card)


@dataclass
class Mouth:
    """A speaker that runs, its queue, and all that it told."""

    room: Room
    opens: Callable[[], Playback]
    lead_in_s: float = 0.0
    edge_s: float = 0.0
    told: list[tuple[float, str]] = field(default_factory=list)
    played: bytearray = field(default_factory=bytearray)
    tries: list[float] = field(default_factory=list)  # when it tried to open the card
    utterances: int = 0

    def __post_init__(self) -> None:
        def tells(word: str) -> Callable[[], None]:
            return lambda: self.told.append((trio.current_time(), word))

        self.answers = Answers(FORM, prebuffer_s=PREBUFFER_S)
        self.speaker = CountedSpeaker(
            self._open,
            self.answers,
            dry=tells("dry"),
            began=tells("began"),
            found=tells("found"),
            lost=tells("lost"),
            edge_s=self.edge_s,
            lead_in_s=self.lead_in_s,
            played=self.played.extend,
        )

    def _open(self) -> Playback:
        self.tries.append(trio.current_time())
        return self.opens()

    def hear(self, sound: bytes, *, whole: bool = False) -> None:
        """From the agent; `whole` with the word that it was the last."""
        if sound:
            self.answers.hear(sound, trio.current_time())
        if whole:
            self.answers.sent_whole()
        self.speaker.wake()

    def cut(self) -> None:
        """A press; and what comes then is another answer."""
        self.utterances += 1
        self.answers.cut(trio.current_time(), after=self.utterances - 1)
        self.speaker.hush()
        self.answers.user_text(self.utterances)

    def times(self, word: str) -> list[float]:
        return [at_s for at_s, said in self.told if said == word]

    @property
    def heard(self) -> bytes:
        """All that was heard in the room, pauses left out where the card stood still."""
        return b"".join(sound for _, sound in self.room.heard)


@pytest.fixture
async def mouth(autojump_clock: MockClock, nursery: trio.Nursery) -> Mouth:
    room = Room(FORM.rate_hz)
    mouth = Mouth(room, room.open_speaker)
    nursery.start_soon(mouth.speaker.run)
    await wait_all_tasks_blocked()
    await trio.sleep(1.0)
    return mouth


def at(time_s: float) -> object:
    """That time, to the sample."""
    return pytest.approx(time_s, rel=0, abs=SAMPLE_S)


def without_silence(sound: bytes) -> bytes:
    """Noise has no zero in it: whatever is zero was put there by the speaker."""
    return array("h", (sample for sample in array("h", sound) if sample)).tobytes()


def silences(sound: bytes) -> list[int]:
    """How many frames each silence lasts that has noise on both sides."""
    lengths, length = [], 0
    for sample in array("h", sound.strip(b"\0")):
        if sample:
            lengths += [length] if length else []
            length = 0
        else:
            length += 1
    return lengths


# An answer


@pytest.mark.parametrize("size", [1, 3, 333, 1919, 1920, 1921, 4097, 6400, 10**6])
async def test_each_sample_is_played_once_and_in_order(
    autojump_clock: MockClock, mouth: Mouth, size: int
) -> None:
    sound = noise(1.5)
    for start in range(0, len(sound), size):
        mouth.hear(sound[start : start + size])
    mouth.hear(b"", whole=True)
    await trio.sleep(1.6)
    mouth.speaker.hush()
    [(began_s, heard)] = mouth.room.heard
    assert began_s == 1.0
    assert heard.startswith(sound)
    assert heard[len(sound) :].strip(b"\0") == b""


@pytest.mark.parametrize("frames", [16, 159, 160, 161, 319, 320, 321, 960, 3199, 3200, 3201, 19999])
async def test_it_is_dry_when_the_last_sample_has_left_the_card(
    autojump_clock: MockClock, mouth: Mouth, frames: int
) -> None:
    mouth.hear(noise(frames * SAMPLE_S), whole=True)
    await trio.sleep(2.0)
    assert mouth.times("began") == [1.0]
    [dry_s] = mouth.times("dry")
    assert dry_s == at(1.0 + frames * SAMPLE_S)
    assert mouth.answers.dry
    assert mouth.answers.gaps == 0


@pytest.mark.parametrize("frames", [1, 160, 959])
async def test_a_short_answer_begins_when_it_is_known_to_be_whole(
    autojump_clock: MockClock, mouth: Mouth, frames: int
) -> None:
    mouth.hear(noise(frames * SAMPLE_S))
    await trio.sleep(0.013)
    assert mouth.room.heard == []
    mouth.hear(b"", whole=True)
    await trio.sleep(0.2)
    assert mouth.times("began") == [1.013]
    assert without_silence(mouth.heard) == noise(frames * SAMPLE_S)
    assert len(mouth.times("dry")) == 1


@pytest.mark.parametrize("frames", [1, 160, 959])
async def test_a_short_answer_that_is_never_told_whole_begins_after_the_prebuffer(
    autojump_clock: MockClock, mouth: Mouth, frames: int
) -> None:
    mouth.hear(noise(frames * SAMPLE_S))
    await trio.sleep(0.5)
    assert mouth.times("began") == [1.0 + PREBUFFER_S]
    assert without_silence(mouth.heard) == noise(frames * SAMPLE_S)
    assert len(mouth.times("dry")) == 1


async def test_a_second_answer_plays_on_behind_the_first(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    mouth.hear(noise(0.5, seed=1), whole=True)
    await trio.sleep(0.45)
    mouth.hear(noise(0.5, seed=2), whole=True)
    await trio.sleep(1.0)
    assert mouth.heard.startswith(noise(0.5, seed=1) + noise(0.5, seed=2))
    [dry_s] = mouth.times("dry")
    assert dry_s == at(2.0)


async def test_what_is_silenced_after_its_end_is_followed_by_a_whole_answer(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    for seed in (1, 2, 3):
        mouth.hear(noise(0.333, seed), whole=True)
        await trio.sleep(0.4)
        mouth.speaker.hush()
        await trio.sleep(0.1)
    assert [without_silence(sound) for _, sound in mouth.room.heard] == [
        noise(0.333, seed) for seed in (1, 2, 3)
    ]
    assert mouth.times("began") == [at(1.0), at(1.5), at(2.0)]


async def test_an_amplifier_is_woken_by_silence_and_loses_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(FORM.rate_hz)
    for lead_in_s in (0.05, 0.1, 0.15, 0.2, 0.21, 2.0):  # shorter and longer than the buffer
        mouth = Mouth(room, room.open_speaker, lead_in_s=lead_in_s)
        nursery.start_soon(mouth.speaker.run)
        await wait_all_tasks_blocked()
        began_s = trio.current_time()
        mouth.hear(noise(1.0), whole=True)
        await trio.sleep(lead_in_s + 1.5)
        mouth.speaker.hush()
        assert room.heard[-1][0] == began_s
        silence = FORM.silence(FORM.frames_of(lead_in_s))
        assert room.heard[-1][1].startswith(silence + noise(1.0))
        [dry_s] = mouth.times("dry")
        assert dry_s == at(began_s + lead_in_s + 1.0)


def beginning(sound: bytes, within: bytes) -> bytes:
    """As much of the beginning of a sound as can be found; a few samples may be any sound's."""
    frames = bisect(range(len(sound) // 2), 0, key=lambda n: sound[: 2 * n + 2] not in within)
    return sound[: 2 * frames] if frames > 4 else b""


@pytest.mark.parametrize("lead_in_s", [0.0, 0.09, 0.5])
@pytest.mark.parametrize("edge_s", [0.0, 0.003])
async def test_of_a_silenced_answer_it_is_known_how_much_was_heard(
    edge_s: float, lead_in_s: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(FORM.rate_hz)
    mouth = Mouth(room, room.open_speaker, lead_in_s=lead_in_s, edge_s=edge_s)
    nursery.start_soon(mouth.speaker.run)
    await wait_all_tasks_blocked()
    for after_s in (0.0, 0.01, 0.08, 0.3, 0.55, 0.605, 0.62, 0.7, 0.9):
        mouth.hear(noise(0.25, 1))
        mouth.hear(noise(0.25, 2))  # and dry after 0.5 s
        began_s = trio.current_time()
        with trio.move_on_at(began_s + lead_in_s + after_s):
            await trio.sleep(lead_in_s + 0.6)
            mouth.hear(noise(1.0, 3), whole=True)
            await trio.sleep_forever()
        given = mouth.answers.read_bytes
        heard = given - mouth.speaker.hush()
        mouth.cut()
        played = room.heard[-1][1] if room.heard and room.heard[-1][0] >= began_s else b""
        pieces = noise(0.25, 1) + noise(0.25, 2), noise(1.0, 3)
        assert heard == sum(len(beginning(piece, played)) for piece in pieces)
        await trio.sleep(1.0)


async def test_a_card_with_two_channels_gets_the_same_on_both(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class Stereo(StandinPlayback):
        def __init__(self, room: Room) -> None:
            super().__init__(room)
            self.form = Format(FORM.rate_hz, channels=2)

        def write(self, sound: bytes) -> int:
            both = array("h", sound)
            assert to_card(both[::2].tobytes(), Format(FORM.rate_hz, channels=2)) == sound
            return super().write(both[::2].tobytes())

    room = Room(FORM.rate_hz)
    mouth = Mouth(room, lambda: Stereo(room))
    nursery.start_soon(mouth.speaker.run)
    mouth.hear(noise(1.0), whole=True)
    await trio.sleep(1.2)
    assert without_silence(mouth.heard) == noise(1.0)


# Silence


@pytest.mark.parametrize("after_ms", [0, 1, 7, 20, 59, 61, 199, 200, 201, 750, 990, 999])
async def test_after_a_press_no_sample_and_then_the_next_answer_whole(
    autojump_clock: MockClock, mouth: Mouth, after_ms: int
) -> None:
    mouth.hear(noise(1.0, seed=1), whole=True)
    await trio.sleep(after_ms / 1000)
    mouth.cut()
    pressed_s = trio.current_time()
    await trio.sleep(0.001)
    mouth.hear(noise(0.5, seed=2), whole=True)
    await trio.sleep(0.6)
    *first, (second_s, second) = mouth.room.heard
    assert without_silence(second) == noise(0.5, seed=2)
    assert second_s == at(pressed_s + 0.001)
    heard = b"".join(sound for _, sound in first)
    assert heard == noise(1.0, seed=1)[: after_ms * BYTES_PER_MS]
    assert mouth.times("dry") == [at(second_s + 0.5)]


async def test_a_hush_where_nothing_sounds_is_harmless(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    mouth.speaker.hush()
    mouth.speaker.hush()
    await trio.sleep(1.0)
    mouth.hear(noise(0.5), whole=True)
    await trio.sleep(1.0)
    assert without_silence(mouth.heard) == noise(0.5)


async def test_dry_may_silence_it_within_the_call(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(FORM.rate_hz)
    answers = Answers(FORM)

    def dry() -> None:
        speaker.hush()

    speaker = Speaker(
        room.open_speaker,
        answers,
        dry=dry,
        began=lambda: None,
        found=lambda: None,
        lost=lambda: None,
    )
    nursery.start_soon(speaker.run)
    for seed in (1, 2):
        answers.hear(noise(0.5, seed), trio.current_time())
        answers.sent_whole()
        speaker.wake()
        await trio.sleep(1.0)
    [first, second] = [sound for _, sound in room.heard]
    assert (without_silence(first), without_silence(second)) == (noise(0.5, 1), noise(0.5, 2))
    assert len(first) <= len(noise(0.5)) + SAMPLE_BYTES


# What comes late


async def test_one_gap_in_the_network_is_one_gap_in_the_sound(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    sound = noise(1.0)
    mouth.hear(sound[:6400])
    await trio.sleep(0.5)
    for start in range(6400, len(sound), 640):
        mouth.hear(sound[start : start + 640])
        await trio.sleep(0.02)
    mouth.hear(b"", whole=True)
    await trio.sleep(0.5)
    assert without_silence(mouth.heard) == sound
    [gap] = silences(mouth.heard)
    assert 0 <= gap - FORM.frames_of(0.5 + 0.04 - 0.2) <= 2 * PERIOD  # prebuffered anew
    assert mouth.answers.gaps == 1
    assert len(mouth.room.heard) == 1, "the card runs on with silence"
    assert mouth.times("dry")[0] == at(1.2)
    assert len(mouth.times("dry")) == 2


@pytest.mark.parametrize("size_ms", [5, 20, 40])
@pytest.mark.parametrize("late_ms", [0, 10, 30, 49, 54])
async def test_jitter_below_the_prebuffer_is_not_heard(
    autojump_clock: MockClock, mouth: Mouth, size_ms: int, late_ms: int
) -> None:
    """The server keeps the pace, with the prebuffer in hand; what it sends is late by turns."""
    sound = noise(2.0)
    began_s = trio.current_time()
    mouth.hear(sound[: 60 * BYTES_PER_MS])
    for number, start in enumerate(range(60, 2000, size_ms)):
        due_s = began_s + (start - 60) / 1000
        await trio.sleep_until(due_s + (late_ms / 1000 if number % 3 else 0))
        mouth.hear(sound[start * BYTES_PER_MS : (start + size_ms) * BYTES_PER_MS])
    mouth.hear(b"", whole=True)
    await trio.sleep(1.0)
    assert mouth.heard.startswith(sound)
    assert mouth.answers.gaps == 0
    assert len(mouth.times("dry")) == 1


@pytest.mark.parametrize("late_ms", [116, 119, 130])
async def test_jitter_beyond_it_is_one_gap_and_then_there_is_more_in_hand(
    autojump_clock: MockClock, mouth: Mouth, late_ms: int
) -> None:
    sound = noise(2.0)
    began_s = trio.current_time()
    mouth.hear(sound[: 60 * BYTES_PER_MS])
    for start in range(60, 2000, 20):
        await trio.sleep_until(began_s + (start - 60 + late_ms) / 1000)
        mouth.hear(sound[start * BYTES_PER_MS : (start + 20) * BYTES_PER_MS])
    mouth.hear(b"", whole=True)
    await trio.sleep(1.0)
    assert without_silence(mouth.heard) == sound
    assert mouth.answers.gaps == 1
    assert len(silences(mouth.heard)) == 1


# How an answer comes: pieces of so many bytes, each after a pause.
PIECES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.03, 0.049, 0.06, 0.1, 0.25, 0.9]),
        st.integers(1, 5000),
    ),
    min_size=1,
    max_size=25,
)


def in_virtual_time(live: Callable[[Mouth], Awaitable[None]], lead_in_s: float = 0.0) -> Mouth:
    """A mouth that has lived so."""

    async def main() -> Mouth:
        room = Room(FORM.rate_hz)
        mouth = Mouth(room, room.open_speaker, lead_in_s=lead_in_s)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(mouth.speaker.run)
            await wait_all_tasks_blocked()
            await live(mouth)
            nursery.cancel_scope.cancel()
        return mouth

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=60)
@given(PIECES, st.sampled_from([0.0, 0.005, 0.1, None]), st.sampled_from([0.0, 0.037]))
def test_however_it_comes_it_is_heard_whole_and_once(
    pieces: list[tuple[float, int]], done_after_s: float | None, lead_in_s: float
) -> None:
    total = sum(size for _, size in pieces)
    sound = noise((total + 1) // 2 * SAMPLE_S)[:total]

    async def live(mouth: Mouth) -> None:
        start = 0
        for pause_s, size in pieces:
            await trio.sleep(pause_s)
            mouth.hear(sound[start : start + size])
            start += size
        if done_after_s is not None:
            await trio.sleep(done_after_s)
            mouth.hear(b"", whole=True)
        await trio.sleep(mouth.answers.waiting_s + 1.0)
        mouth.speaker.hush()

    mouth = in_virtual_time(live, lead_in_s)
    heard = mouth.heard
    assert without_silence(heard) == sound[: total // 2 * 2]
    assert heard == mouth.played
    assert mouth.answers.dry
    if total >= SAMPLE_BYTES:
        assert mouth.told[-1][1] == "dry"
        inner = len(silences(heard))
        assert inner <= mouth.answers.gaps <= inner + 1
        if done_after_s == 0.0:
            assert mouth.answers.gaps == inner


@settings(max_examples=60)
@given(
    PIECES,
    st.lists(st.integers(0, 24), max_size=4),
    st.sampled_from([0.0, 0.0137, 0.06, 0.2]),
)
def test_whenever_it_is_cut_what_was_heard_is_the_beginning_and_nothing_else(
    pieces: list[tuple[float, int]], cuts: list[int], after_s: float
) -> None:
    given_: list[bytes] = [b""]  # the sound of each answer

    async def live(mouth: Mouth) -> None:
        for number, (pause_s, size) in enumerate(pieces):
            await trio.sleep(pause_s)
            piece = noise((size // 2 + 1) * SAMPLE_S, seed=number)[: size // 2 * 2]
            mouth.hear(piece)
            given_[-1] += piece
            if number in cuts:
                await trio.sleep(after_s)
                mouth.cut()
                given_.append(b"")
        mouth.hear(b"", whole=True)
        await trio.sleep(mouth.answers.waiting_s + 1.0)
        mouth.speaker.hush()

    mouth = in_virtual_time(live)
    assert mouth.heard == mouth.played
    left = without_silence(mouth.heard)
    for sound in given_[:-1]:
        left = left[common(left, sound) :]
    assert left == given_[-1]


def common(one: bytes, other: bytes) -> int:
    """How many bytes they begin with alike, in whole samples."""
    low, high = 0, min(len(one), len(other)) // SAMPLE_BYTES
    while low < high:
        middle = (low + high + 1) // 2
        if one[: middle * SAMPLE_BYTES] == other[: middle * SAMPLE_BYTES]:
            low = middle
        else:
            high = middle - 1
    return low * SAMPLE_BYTES


# What has really been played


async def test_what_is_told_to_have_been_played_was_heard_in_the_room(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    for seed in range(1, 6):
        mouth.hear(noise(0.5, seed))
        await trio.sleep(0.123 * seed)
        assert mouth.heard.startswith(mouth.played), "never before it was heard"
        mouth.cut()
        assert mouth.played == mouth.heard
        await trio.sleep(0.01)
    mouth.hear(noise(0.5), whole=True)
    await trio.sleep(1.0)
    mouth.speaker.hush()
    assert mouth.played == mouth.heard
    assert without_silence(bytes(mouth.played)).endswith(noise(0.5))


async def test_who_looks_is_told_to_the_sample_what_has_been_played(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    assert not mouth.speaker.look()
    mouth.hear(noise(1.0), whole=True)
    for _ in range(40):
        await trio.sleep(0.0137)
        assert mouth.speaker.look()
        assert mouth.played == mouth.heard
    mouth.cut()
    assert mouth.played == mouth.heard
    assert not mouth.speaker.look()


async def test_who_looks_at_a_card_that_was_pulled_out_is_told_nothing(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    mouth.hear(noise(1.0))
    await trio.sleep(0.5)
    mouth.room.unplug()
    mouth.speaker.look()
    await trio.sleep(0.1)
    assert not mouth.speaker.look()
    assert mouth.times("lost")


# A card that fails


async def test_a_card_that_is_pulled_out_of_an_answer_is_announced_once(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    mouth.hear(noise(5.0))
    await trio.sleep(1.0)
    mouth.room.unplug()
    await trio.sleep(60.0)
    [lost_s] = mouth.times("lost")
    assert 2.0 <= lost_s <= 2.02
    assert mouth.heard == noise(5.0)[:32000]


async def test_where_the_kernel_tells_it_is_missed_at_once_and_hardly_looked_at(
    autojump_clock: MockClock, mouth: Mouth, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    monkeypatch.setattr(StandinPlayback, "check", lambda _card: looks.append(trio.current_time()))
    mouth.speaker.cards_changed()
    await trio.sleep(100.0)
    assert looks == [1.0, 31.0, 61.0, 91.0]
    monkeypatch.undo()
    await trio.sleep(0.5)
    mouth.room.unplug()
    mouth.speaker.cards_changed()
    await trio.sleep(0.05)
    assert mouth.times("lost") == [101.5]
    mouth.room.plug()
    await trio.sleep(0.1)
    assert mouth.times("found")[1:] == [101.6]


async def test_it_is_tried_again_after_1_2_4_and_then_each_5_seconds(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    await trio.sleep(0.5)
    mouth.room.unplug()
    await trio.sleep(22.0)
    assert mouth.times("lost") == [2.0], "it is looked at each 2 seconds"
    assert mouth.tries == [0.0, 3.0, 5.0, 9.0, 14.0, 19.0]
    mouth.room.plug()
    await trio.sleep(1.0)
    assert mouth.times("found") == [0.0, 24.0]
    mouth.hear(noise(0.5), whole=True)
    await trio.sleep(1.0)
    assert without_silence(mouth.heard) == noise(0.5)


async def test_the_next_answer_plays_on_the_card_that_was_put_back(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    mouth.hear(noise(0.5, seed=1))
    await trio.sleep(0.1)
    mouth.room.unplug()
    mouth.room.plug()
    await trio.sleep(0.1)
    mouth.cut()
    mouth.hear(noise(0.5, seed=2), whole=True)
    await trio.sleep(2.0)
    assert [word for _, word in mouth.told] == ["found", "began", "lost", "found", "began", "dry"]
    assert without_silence(mouth.room.heard[-1][1]) == noise(0.5, seed=2)


async def test_to_silence_a_card_that_is_gone_is_harmless(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(FORM.rate_hz)
    mouth = Mouth(room, room.open_speaker)
    nursery.start_soon(mouth.speaker.run)
    mouth.hear(noise(5.0))
    await trio.sleep(0.5)
    room.unplug()
    mouth.speaker.hush()  # before anybody has noticed
    await trio.sleep(5.0)
    mouth.speaker.hush()
    assert len(mouth.times("lost")) == 1


async def test_being_told_that_it_is_lost_one_may_silence_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(FORM.rate_hz)
    answers = Answers(FORM)
    told: list[str] = []

    def lost() -> None:
        told.append("lost")
        answers.cut(trio.current_time(), after=0)
        speaker.hush()

    speaker = Speaker(
        room.open_speaker,
        answers,
        dry=lambda: told.append("dry"),
        began=lambda: None,
        found=lambda: None,
        lost=lost,
        played=lambda _: None,
    )
    nursery.start_soon(speaker.run)
    answers.hear(noise(5.0), 0.0)
    speaker.wake()
    await trio.sleep(1.0)
    room.unplug()
    await trio.sleep(1.0)
    assert told == ["lost"]


@pytest.mark.parametrize("after_s", [0.05, 0.5])
async def test_a_card_whose_count_stands_still_for_two_seconds_has_failed(
    autojump_clock: MockClock, mouth: Mouth, after_s: float
) -> None:
    mouth.hear(noise(0.6), whole=True)
    await trio.sleep(after_s)
    mouth.room.stall()
    await trio.sleep(2.5)
    [lost_s] = mouth.times("lost")
    # Counted from when it was first seen not to have moved: it looks when there is need.
    assert 0 <= lost_s - (1.0 + after_s + 2.0) <= 0.2
    assert mouth.times("dry") == []
    mouth.room.go_on()
    mouth.cut()
    await trio.sleep(2.0)
    mouth.hear(noise(0.5, seed=2), whole=True)
    await trio.sleep(1.0)
    assert without_silence(mouth.room.heard[-1][1]) == noise(0.5, seed=2)


async def test_a_card_that_stalls_for_less_goes_on_and_loses_nothing(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    mouth.hear(noise(1.0), whole=True)
    await trio.sleep(0.5)
    mouth.room.stall()
    await trio.sleep(1.9)
    mouth.room.go_on()
    await trio.sleep(1.0)
    assert mouth.times("lost") == []
    assert without_silence(mouth.heard) == noise(1.0)
    assert mouth.times("dry") == [pytest.approx(1.0 + 1.0 + 1.9, abs=0.001)]  # it had to look


async def test_it_may_stand_still_for_as_long_as_there_is_nothing_to_play(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    mouth.hear(noise(0.5), whole=True)
    await trio.sleep(0.6)
    mouth.speaker.hush()
    await trio.sleep(3600.0)
    mouth.hear(noise(0.5), whole=True)
    await trio.sleep(0.6)
    assert mouth.times("lost") == []
    assert [len(without_silence(sound)) for _, sound in mouth.room.heard] == [16000, 16000]


async def test_a_card_that_has_room_and_takes_nothing_has_failed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class Shut(StandinPlayback):
        def write(self, sound: bytes) -> int:
            return 0

    room = Room(FORM.rate_hz)
    mouth = Mouth(room, lambda: Shut(room))
    nursery.start_soon(mouth.speaker.run)
    mouth.hear(noise(0.5), whole=True)
    await trio.sleep(0.5)
    assert [word for _, word in mouth.told] == ["found", "lost"]


async def test_what_comes_after_a_hush_waits_for_no_card(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    """The card was full, and does not tell that it is not any more."""
    mouth.hear(noise(5.0, seed=1), whole=True)
    await trio.sleep(1.0)
    mouth.cut()
    mouth.hear(noise(0.5, seed=2), whole=True)
    cut_s = trio.current_time()
    await trio.sleep(1.0)
    began_s, heard = mouth.room.heard[-1]
    assert began_s == cut_s
    assert heard.startswith(noise(0.5, seed=2))


async def test_that_it_is_lost_is_told_before_a_close_that_may_hang(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class Slow(StandinPlayback):
        def close(self) -> None:
            owner.told.append((trio.current_time(), "closed"))
            super().close()

    room = Room(FORM.rate_hz)
    owner = Mouth(room, lambda: Slow(room))
    nursery.start_soon(owner.speaker.run)
    owner.hear(noise(5.0))
    await trio.sleep(0.5)
    room.unplug()
    await trio.sleep(0.5)
    assert [word for _, word in owner.told] == ["found", "began", "lost", "closed"]


async def test_whatever_fails_one_stream_is_open_and_at_the_end_none(
    autojump_clock: MockClock,
) -> None:
    room = Room(FORM.rate_hz)
    mouth = Mouth(room, room.open_speaker)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mouth.speaker.run)
        for turn in range(20):
            await wait_all_tasks_blocked()
            assert len(room.streams) == 1
            mouth.hear(noise(0.3), whole=bool(turn % 2))
            await trio.sleep(0.1 * (turn % 7))
            room.unplug()
            await trio.sleep(3.0)
            assert room.streams == []
            room.plug()
            mouth.cut()
            await trio.sleep(5.0)
        assert room.opened == 21
        nursery.cancel_scope.cancel()
    assert room.streams == []


# What it costs


class Lumpy(StandinPlayback):
    """A card of a sound server, whose count moves once a period."""

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.chain = replace(self.chain, converter="sound server", is_kernels=False)

    def queued_frames(self) -> int:
        queued = super().queued_frames()
        return queued + -queued % PERIOD


@pytest.mark.parametrize("seconds", [0.1, 0.333, 0.415, 0.4251])
async def test_a_card_that_counts_in_lumps_does_not_run_empty_behind_an_answer(
    seconds: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(FORM.rate_hz)
    mouth = Mouth(room, lambda: Lumpy(room))
    nursery.start_soon(mouth.speaker.run)
    await wait_all_tasks_blocked()
    mouth.hear(noise(seconds), whole=True)
    await trio.sleep(seconds + 0.5)
    assert mouth.speaker.status()["xruns"] == 0
    assert len(room.heard) == 1
    assert without_silence(room.heard[0][1]) == noise(seconds)


async def test_a_card_that_counts_in_lumps_waits_for_a_late_packet_as_long_as_any(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(FORM.rate_hz)
    mouth = Mouth(room, lambda: Lumpy(room))
    nursery.start_soon(mouth.speaker.run)
    await wait_all_tasks_blocked()
    sound = noise(0.4)
    half = len(sound) // 2
    mouth.hear(sound[:half])
    await trio.sleep(0.2 - 0.015)  # less than a period before it runs dry
    mouth.hear(sound[half:], whole=True)
    await trio.sleep(1.0)
    assert without_silence(room.heard[0][1]) == sound
    assert mouth.answers.gaps == 0


@pytest.mark.parametrize("pace", [1, 8, 1000])
async def test_a_long_answer_wakes_it_about_once_a_period(
    autojump_clock: MockClock, mouth: Mouth, pace: int
) -> None:
    sound = noise(10.0)
    for start in range(0, len(sound), 2 * PERIOD):
        mouth.hear(sound[start : start + 2 * PERIOD])
        await trio.sleep(0.02 / pace)
    mouth.hear(b"", whole=True)
    await trio.sleep(10.1)
    periods = len(sound) // (2 * PERIOD)
    assert mouth.speaker.steps <= (2.5 if pace == 1 else 1.5) * periods + 20
    assert mouth.heard.startswith(sound)
