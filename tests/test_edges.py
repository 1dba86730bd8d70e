"""No clicks: what is heard where sound meets silence, to the sample."""

import math
from array import array
from itertools import pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.sound.answer import Answers
from appliance.sound.edges import EDGE_S, STEP, Edges, Glide, edge, padded
from appliance.sound.pcm import amplified
from appliance.sound.speaker import Speaker
from appliance.sound.voice import Voice
from appliance.sound.volume import Gains
from appliance.standin.card import Room

from .test_cards import FORM
from .test_speaker import Mouth

FRAMES = FORM.frames_of(EDGE_S)
PEAK = 12000
HZ = 200.0


def wave(seconds: float, *, phase: float = 0.25) -> bytes:
    """A tone whose own steps are small; it begins at its crest, unless `phase` says otherwise."""
    turn = 2 * math.pi
    return array(
        "h",
        (
            round(PEAK * math.sin(turn * (HZ * n / FORM.rate_hz + phase)))
            for n in range(FORM.frames_of(seconds))
        ),
    ).tobytes()


OWN_STEP = round(PEAK * 2 * math.pi * HZ / FORM.rate_hz) + 1  # of the tone itself
EDGE_STEP = PEAK // FRAMES + 1


def largest_step(heard: bytes) -> int:
    """Between two samples, the silence before and behind included."""
    samples = [0, *array("h", heard), 0]
    return max(abs(after - before) for before, after in pairwise(samples))


@pytest.fixture
async def mouth(autojump_clock: MockClock, nursery: trio.Nursery) -> Mouth:
    room = Room(FORM.rate_hz)
    mouth = Mouth(room, room.open_speaker, edge_s=EDGE_S)
    nursery.start_soon(mouth.speaker.run)
    await wait_all_tasks_blocked()
    return mouth


async def test_an_answer_that_begins_and_ends_at_its_crest_does_not_click(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    sound = wave(0.5)
    mouth.hear(sound, whole=True)
    await trio.sleep(1.0)
    [(_, heard)] = mouth.room.heard
    assert heard.index(sound) == FRAMES * 2, "it is whole, and 3 ms later than it could be"
    assert largest_step(sound) > 10 * OWN_STEP
    assert largest_step(heard) <= max(OWN_STEP, EDGE_STEP)
    assert mouth.times("dry") == [pytest.approx(0.5 + 2 * EDGE_S)]


async def test_an_answer_that_begins_and_ends_quietly_begins_no_earlier_and_ends_at_once(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    sound = wave(0.5 + 1 / FORM.rate_hz, phase=0.0)  # from a zero to a zero
    mouth.hear(sound, whole=True)
    await trio.sleep(1.0)
    [(began_s, heard)] = mouth.room.heard
    assert began_s == 0.0
    assert heard.startswith(bytes(FRAMES * 2) + sound)
    assert heard[FRAMES * 2 + len(sound) :].strip(b"\0") == b""
    assert mouth.times("dry") == [pytest.approx(FORM.seconds_of(len(sound)) + EDGE_S)]


async def test_a_gap_does_not_click_on_either_side(autojump_clock: MockClock, mouth: Mouth) -> None:
    sound = wave(0.6)
    cut = FORM.bytes_of(0.3)
    mouth.hear(sound[:cut])
    await trio.sleep(0.5)
    mouth.hear(sound[cut:], whole=True)
    await trio.sleep(1.0)
    [(_, heard)] = mouth.room.heard
    assert sound[:cut] in heard
    assert sound[cut:] in heard
    assert mouth.answers.gaps == 1
    assert largest_step(heard) <= max(OWN_STEP, EDGE_STEP)


@pytest.mark.parametrize("lead_in_s", [0.001, 0.003, 0.05])
async def test_the_edge_is_a_part_of_the_lead_in(
    lead_in_s: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    room = Room(FORM.rate_hz)
    mouth = Mouth(room, room.open_speaker, lead_in_s=lead_in_s, edge_s=EDGE_S)
    nursery.start_soon(mouth.speaker.run)
    await wait_all_tasks_blocked()
    mouth.hear(wave(1.0), whole=True)
    await trio.sleep(1.5)
    [(_, heard)] = mouth.room.heard
    assert heard.index(wave(1.0)) == FORM.bytes_of(max(lead_in_s, EDGE_S))
    assert largest_step(heard) <= max(OWN_STEP, EDGE_STEP)


async def test_a_hush_has_no_edge(autojump_clock: MockClock, mouth: Mouth) -> None:
    mouth.hear(wave(1.0, phase=0.0))
    await trio.sleep(0.5 + 0.25 / HZ)
    mouth.cut()
    await trio.sleep(0.5)
    [(_, heard)] = mouth.room.heard
    whole = bytes(FRAMES * 2) + wave(1.0, phase=0.0)
    assert heard == whole[: FORM.bytes_of(0.5 + 0.25 / HZ)]


async def test_what_comes_in_pieces_has_no_edges_inside(
    autojump_clock: MockClock, mouth: Mouth
) -> None:
    sound = wave(2.0)
    for start in range(0, len(sound), 640):
        mouth.hear(sound[start : start + 640])
        await trio.sleep(0.015)
    mouth.hear(b"", whole=True)
    await trio.sleep(1.0)
    [(_, heard)] = mouth.room.heard
    assert sound in heard


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=5), st.integers(0, 100))
def test_an_edge_goes_in_equal_steps_and_is_as_long_as_it_is_said_to_be(
    samples: list[int], frames: int
) -> None:
    edges = Edges(frames)
    sound = array("h", samples).tobytes()
    assert edges.room == frames
    before, room, after = edges.before(sound), edges.room, edges.after()
    assert room == 0
    assert len(before) == 2 * frames
    for one, far in ((before, samples[0]), (after, samples[-1])):
        assert len(one) in (0, 2 * frames)
        whole = [0, *array("h", one), far] if one is before else [far, *array("h", one), 0]
        limit = max(STEP, abs(far) // (frames + 1) + 1)
        assert all(abs(b - a) <= limit for a, b in pairwise(whole))
    assert edges.after() == b""


def test_silence_is_put_before_up_to_a_length() -> None:
    assert padded(b"ab", 3) == b"\0\0\0\0ab"
    assert padded(b"abcd", 1) == b"abcd"


# ── another volume, in the middle ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [40, 640, 1280])
@pytest.mark.parametrize("gains", [(1.0, 0.1), (0.1, 1.0), (1.0, 0.0), (0.5, 0.6)])
async def test_another_volume_under_an_answer_does_not_click(
    gains: tuple[float, float], size: int, autojump_clock: MockClock, mouth: Mouth
) -> None:
    before, after = gains
    mouth.speaker.set_gains(Gains(answers=before))
    sound = wave(1.0)
    for start in range(0, len(sound), size):
        if start >= len(sound) // 2:
            mouth.speaker.set_gains(Gains(answers=after))
        mouth.hear(sound[start : start + size])
        await trio.sleep(FORM.seconds_of(size))
    mouth.hear(b"", whole=True)
    await trio.sleep(1.0)
    [(_, heard)] = mouth.room.heard
    assert amplified(sound, before)[: FORM.bytes_of(0.2)] in heard
    assert amplified(sound, after)[-FORM.bytes_of(0.2) :] in heard
    assert largest_step(heard) <= OWN_STEP + EDGE_STEP + 2
    assert mouth.answers.gaps == 0


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=8),
    st.lists(st.sampled_from([0.0, 0.25, 0.333, 1.0]), min_size=8, max_size=8),
)
def test_a_gain_is_reached_in_equal_steps_however_the_sound_is_cut(
    sizes: list[int], gains: list[float]
) -> None:
    glide, heard, full = Glide(100), bytearray(), 20000
    for size, gain in zip(sizes, gains, strict=False):
        heard += glide.amplified(array("h", [full] * size).tobytes(), gain)
    assert len(heard) == 2 * sum(sizes)
    samples = array("h", heard)
    assert all(abs(b - a) <= full / 100 + 1 for a, b in pairwise(samples))
    if sizes[-1] > 100:
        assert samples[-1] == array("h", amplified(array("h", [full]).tobytes(), gain))[0]


def test_what_stands_alone_has_its_gain_from_the_first_sample() -> None:
    glide, sound = Glide(100), wave(0.1)
    for gain in (1.0, 0.25):
        glide.start()
        assert glide.amplified(sound, gain) == amplified(sound, gain)


# ── something else, in the middle ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.1, 0.4999, 0.55, 0.699, 0.7, 0.72])
@pytest.mark.parametrize("phase", [0.25, 0.75, 0.0])
async def test_what_the_box_says_in_place_of_another_does_not_click(
    phase: float, after_s: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    def nothing() -> None:
        """Nobody is told."""

    room, voice = Room(FORM.rate_hz), Voice(FORM, Answers(FORM))
    speaker = Speaker(
        room.open_speaker,
        voice,
        dry=nothing,
        began=nothing,
        found=nothing,
        lost=nothing,
        edge_s=EDGE_S,
    )
    nursery.start_soon(speaker.run)
    await wait_all_tasks_blocked()
    first, second = wave(0.7 + 0.25 / HZ, phase=0.0), wave(0.3, phase=phase)
    voice.say(first)
    speaker.wake()
    await trio.sleep(after_s)
    voice.say(second)
    speaker.wake()
    await trio.sleep(2.0)
    heard = b"".join(sound for _, sound in room.heard)
    assert second in heard
    assert largest_step(heard) <= max(OWN_STEP, 2 * EDGE_STEP)


def test_neighbours_that_lie_close_need_nothing_between() -> None:
    assert edge(100, 100 + STEP, 48) == b""
    assert len(edge(-100, STEP, 48)) == 96


def test_behind_silence_of_ours_there_is_nothing_to_go_over_from() -> None:
    voice, first, second = Voice(FORM, Answers(FORM)), wave(0.1), wave(0.1, phase=0.0)
    for starves in (False, True):
        voice.say(first)
        voice.read(len(first))
        if starves:
            voice.starve()
        voice.say(second)
        assert (voice.read(len(second)) == second) is starves
        voice.stop()
