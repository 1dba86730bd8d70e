"""Where the stand-in agent finds speech in sound, and what it makes its answers of."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.standin.ears import Ears, Onset, Turn, is_loud
from appliance.standin.echo import PIECE_MAX_BYTES, PIECE_MIN_BYTES, beeps, pieces, repeated

RATE_HZ = 8000
BLOCK = RATE_HZ // 50 * 2  # bytes of 20 ms


def blocks(pattern: str) -> bytes:
    """Sound in blocks of 20 ms, loud for `#` and quiet for `.`."""
    loud, quiet = struct.pack("<h", 5000) * (BLOCK // 2), struct.pack("<h", 100) * (BLOCK // 2)
    return b"".join(loud if mark == "#" else quiet for mark in pattern)


def test_three_loud_blocks_are_an_onset_and_two_are_a_click() -> None:
    ears = Ears(RATE_HZ, pause_s=0.5)
    assert ears.hear(blocks("....##..#.##.")) == []
    assert ears.hear(blocks("###")) == [Onset(13 * BLOCK)]
    assert ears.hear(blocks("######")) == []
    assert ears.is_turn_open


def test_a_turn_is_from_a_little_before_its_onset_to_its_last_loud_block() -> None:
    ears = Ears(RATE_HZ, pause_s=0.1)
    heard = ears.hear(blocks("." * 20 + "#####..###....."))
    assert heard == [Onset(20 * BLOCK), Turn(10 * BLOCK, 30 * BLOCK, 0.2)]
    assert not ears.is_turn_open


def test_a_turn_that_is_ended_has_all_the_sound_so_far() -> None:
    ears = Ears(RATE_HZ, pause_s=9.0)
    assert ears.end_turn() is None
    ears.hear(blocks("#####.") + b"\x01\x02\x03")
    assert ears.end_turn() == Turn(0, 6 * BLOCK + 2, 0.1)
    assert ears.end_turn() is None


def test_two_turns_share_no_sound() -> None:
    ears = Ears(RATE_HZ, pause_s=0.06)
    turns = [found for found in ears.hear(blocks("####...####...")) if isinstance(found, Turn)]
    assert [(turn.start_byte, turn.end_byte) for turn in turns] == [
        (0, 4 * BLOCK),
        (4 * BLOCK, 11 * BLOCK),
    ]


def test_a_startled_ear_tells_the_onset_again_and_keeps_the_turn() -> None:
    ears = Ears(RATE_HZ, pause_s=0.5)
    ears.hear(blocks("####"))
    ears.startle()
    assert ears.hear(blocks("####")) == [Onset(4 * BLOCK)]
    turn = ears.end_turn()
    assert turn is not None
    assert turn.start_byte == 0


@pytest.mark.parametrize(("peak", "loud"), [(327, False), (329, True), (-329, True)])
def test_loud_begins_at_minus_40_decibels(peak: int, loud: bool) -> None:
    assert is_loud(struct.pack("<h", peak) * 160) is loud


@given(
    st.text("#.", max_size=60),
    st.lists(st.integers(1, 3 * BLOCK), max_size=60),
    st.sampled_from([0.06, 0.1, 0.5]),
)
def test_how_sound_is_cut_into_messages_changes_nothing(
    pattern: str, cuts: list[int], pause_s: float
) -> None:
    sound = blocks(pattern)
    whole = Ears(RATE_HZ, pause_s).hear(sound)
    ears = Ears(RATE_HZ, pause_s)
    found = []
    for cut in cuts:
        found += ears.hear(sound[:cut])
        sound = sound[cut:]
    assert found + ears.hear(sound) == whole


@given(st.binary(max_size=30_000), st.integers())
def test_pieces_are_odd_and_lose_nothing(sound: bytes, seed: int) -> None:
    cut = list(pieces(iter([sound[:7], sound[7:]]), random.Random(seed)))
    assert b"".join(cut) == sound
    assert all(cut), "an empty piece"
    for piece in cut[:-1]:
        assert len(piece) % 2 == 1
        assert PIECE_MIN_BYTES <= len(piece) <= PIECE_MAX_BYTES


@given(
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=3000),
    st.sampled_from([8000, 16000, 24000, 44100, 48000]),
    st.sampled_from([8000, 16000, 24000, 44100, 48000]),
    st.none() | st.floats(0.01, 0.5),
)
def test_a_repeated_sound_is_as_long_as_it_should_be_and_no_louder(
    samples: list[int], heard_hz: int, spoken_hz: int, length_s: float | None
) -> None:
    sound = struct.pack(f"<{len(samples)}h", *samples)
    answer = b"".join(repeated(sound, heard_hz, spoken_hz, length_s))
    wanted = len(samples) * spoken_hz // heard_hz if length_s is None else length_s * spoken_hz
    assert len(answer) // 2 == round(wanted)
    spoken = struct.unpack(f"<{len(answer) // 2}h", answer)
    assert all(min(samples) <= sample <= max(samples) for sample in spoken)


def test_beeps_are_one_for_each_word_and_not_endless() -> None:
    one = beeps("", 16000)
    assert beeps("two words", 16000) == one * 2
    assert beeps("word " * 99, 16000) == one * 12
    assert len(one) == round(0.18 * 16000) * 2
