"""What may be played, and that nothing of a dead answer ever is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import AgentLost
from appliance.sound.answer import Answers, Heard
from appliance.sound.pcm import Format

FORM = Format(16000)
SECOND = 32000


def answers(prebuffer_s: float = 0.06) -> Answers:
    return Answers(FORM, prebuffer_s=prebuffer_s)


@given(st.lists(st.binary(min_size=1, max_size=301), max_size=60), st.integers(2, 999))
def test_sound_in_pieces_of_any_length_comes_out_as_it_went_in(
    pieces: list[bytes], step: int
) -> None:
    mouth = answers()
    for piece in pieces:
        mouth.hear(piece, 0.0)
    out = b""
    while piece := mouth.read(step):
        assert len(piece) % 2 == 0
        out += piece
    whole = b"".join(pieces)
    assert out == whole[: len(whole) // 2 * 2]


def test_the_first_sound_begins_an_answer() -> None:
    mouth = answers()
    assert mouth.hear(b"\1\0", 0.0) is Heard.BEGAN
    assert mouth.hear(b"\1\0", 0.0) is Heard.MORE
    mouth.read(99)
    assert mouth.hear(b"\1\0", 0.0) is Heard.MORE
    mouth.read(99)
    mouth.played()
    assert mouth.dry
    assert mouth.hear(b"\1\0", 0.0) is Heard.BEGAN


def test_it_flows_with_the_prebuffer_or_its_end_or_its_age() -> None:
    mouth = answers()
    mouth.hear(bytes(1920), 0.0)
    assert not mouth.flows(0.0)
    mouth.hear(bytes(2), 0.0)
    assert mouth.flows(0.0)
    long = answers()
    long.hear(bytes(2 * 1920), 0.0)
    assert long.flows(0.0)
    short = answers()
    short.hear(bytes(2), 0.0)
    assert not short.flows(0.059)
    assert short.flows_s == 0.06
    assert short.flows(0.06)
    ended = answers()
    ended.hear(bytes(2), 0.0)
    ended.sent_whole()
    assert ended.flows(0.0)


def test_while_the_card_has_sound_left_what_follows_flows_at_once() -> None:
    mouth = answers()
    mouth.hear(bytes(3840), 0.0)
    assert mouth.flows(0.0)
    mouth.read(3840)
    assert not mouth.flows(0.02)
    mouth.hear(bytes(2), 0.02)
    assert mouth.flows(0.02)
    assert mouth.gaps == 0


def test_after_silence_it_is_prebuffered_anew() -> None:
    mouth = answers()
    mouth.hear(bytes(3840), 0.0)
    assert mouth.flows(0.0)
    mouth.read(3840)
    mouth.starve()
    mouth.starve()
    assert mouth.gaps == 1
    mouth.hear(bytes(2), 1.0)
    assert not mouth.flows(1.0)
    assert mouth.flows(1.06)


def test_silence_behind_a_whole_answer_is_no_gap() -> None:
    mouth = answers()
    mouth.hear(bytes(2), 0.0)
    mouth.sent_whole()
    assert mouth.flows(0.0)
    mouth.read(2)
    mouth.starve()
    mouth.played()
    assert mouth.gaps == 0


def test_a_cut_discards_for_as_long_as_the_agent_goes_on() -> None:
    mouth = answers()
    mouth.hear(bytes(SECOND), 0.0)
    mouth.cut(1.0, after=1)
    assert mouth.dry
    for n in range(140):  # 14 seconds
        assert mouth.hear(b"\1\0" * 50, 1.0 + n / 10) is Heard.DISCARDED
    mouth.sent_whole()
    mouth.agent_turns()
    assert mouth.hear(b"\1\0", 15.0) is Heard.DISCARDED
    assert mouth.read(99) == b""


def test_only_the_text_of_a_later_utterance_ends_a_cut() -> None:
    mouth = answers()
    mouth.cut(0.0, after=3)
    mouth.user_text(3)
    assert mouth.discarding
    mouth.user_text(4)
    assert mouth.hear(b"\1\0", 0.0) is Heard.BEGAN


def test_a_new_connection_ends_a_cut() -> None:
    mouth = answers()
    mouth.cut(0.0, after=3)
    mouth.new_connection()
    assert mouth.hear(b"\1\0", 0.0) is Heard.BEGAN


def test_ten_seconds_without_sound_end_a_cut() -> None:
    mouth = answers()
    mouth.cut(100.0, after=3)
    assert mouth.hear(b"\1\0", 109.9) is Heard.DISCARDED
    assert mouth.hear(b"\1\0", 119.8) is Heard.DISCARDED
    assert mouth.hear(b"\1\0", 129.8) is Heard.BEGAN


@pytest.mark.parametrize("by_server", [True, False])
def test_a_new_answer_ends_a_cut_only_once_the_server_has_stopped(by_server: bool) -> None:
    mouth = answers()
    mouth.cut(0.0, after=3)
    if by_server:
        mouth.cut_by_server(0.5)
    mouth.agent_turns()
    assert mouth.discarding is not by_server


def test_the_odd_byte_of_a_dead_answer_does_not_shift_the_next() -> None:
    mouth = answers()
    mouth.hear(b"\1\2\3", 0.0)
    mouth.cut(0.0, after=0)
    mouth.hear(b"\4", 0.0)
    mouth.user_text(1)
    mouth.hear(b"\5\6", 0.0)
    assert mouth.read(99) == b"\5\6"


def test_the_odd_byte_of_an_ended_answer_does_not_shift_the_next() -> None:
    mouth = answers()
    mouth.hear(b"\1\2\3", 0.0)
    mouth.sent_whole()
    mouth.hear(b"\5\6", 0.0)
    assert mouth.read(99) == b"\1\2\5\6"


def test_withheld_is_what_comes_under_a_held_button() -> None:
    mouth = answers()
    mouth.withhold()
    assert mouth.hear(bytes(SECOND), 0.0) is Heard.WITHHELD
    assert mouth.hear(bytes(2), 0.0) is Heard.MORE
    assert mouth.withheld
    assert not mouth.flows(9.0)
    mouth.release(9.0)
    assert mouth.flows(9.0)
    assert len(mouth.read(2 * SECOND)) == SECOND + 2


def test_more_than_ten_minutes_that_wait_are_an_error_with_a_name() -> None:
    mouth = answers()
    for _ in range(600):
        mouth.hear(bytes(SECOND), 0.0)
    with pytest.raises(AgentLost, match="600 s"):
        mouth.hear(bytes(SECOND), 0.0)
    assert mouth.waiting_s == 0
