"""What was said, and what a new session is told of it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.agent.history import CHARACTERS_MAX, RESPONSE_MAX, TURNS_MAX, VERSION, History
from appliance.agent.messages import Called, Said, Side

REMEMBER_S = 600.0
HELLO = Said(Side.USER, "Hello.")
HI = Said(Side.AGENT, "Hi. How are you?")


def one_turn(at_s: float = 0.0) -> History:
    """A question and its answer, of two sentences, heard to the end."""
    history = History(REMEMBER_S)
    history.user_said("Hello.", at_s)
    history.agent_said("Hi.", 0, at_s)
    history.agent_said("How are you?", 32_000, at_s)
    history.answer_ended()
    return history


def texts_of(told: tuple[Said | Called, ...]) -> list[str]:
    """What was said; nothing else is expected."""
    return [one.text for one in told if isinstance(one, Said)]


# ── what is told ─────────────────────────────────────────────────────────────────────────────────


def test_nothing_was_said_at_first() -> None:
    history = History(REMEMBER_S)
    assert history.replay(0.0) == ()
    assert history.replay(0.0, without_last=True) == ()
    assert not history.is_remembered(0.0)
    assert history.last_question == ""


def test_the_sentences_of_an_answer_are_one_turn() -> None:
    assert one_turn().replay(1.0) == (HELLO, HI)


def test_an_answer_is_over_when_the_user_says_something() -> None:
    history = History(REMEMBER_S)
    history.user_said("Hello.", 0.0)
    history.agent_said("Hi.", 0, 1.0)
    history.user_said("And you?", 2.0)
    assert history.replay(3.0) == (
        HELLO,
        Said(Side.AGENT, "Hi."),
        Said(Side.USER, "And you?"),
    )


def test_an_answer_whose_end_was_never_told_counts_when_it_is_told_again() -> None:
    history = History(REMEMBER_S)
    history.agent_said("Dinner is ready.", 0, 0.0)
    assert history.replay(1.0) == (Said(Side.AGENT, "Dinner is ready."),)
    assert history.replay(1.0) == (Said(Side.AGENT, "Dinner is ready."),)


def test_an_answer_that_ends_twice_counts_once() -> None:
    history = one_turn()
    history.answer_ended()
    history.answer_cut(99)
    assert history.replay(1.0) == (HELLO, HI)


# ── answers that were cut ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("played_bytes", "told"),
    [
        (0, None),
        (1, "One."),
        (999, "One."),
        (1000, "One."),  # the second had not begun: its first byte is the 1001st
        (1001, "One. Two."),
        (1500, "One. Two."),
        (2001, "One. Two. Three."),
        (10**9, "One. Two. Three."),
    ],
)
def test_of_an_answer_that_was_cut_the_sentences_count_whose_sound_had_begun(
    played_bytes: int, told: str | None
) -> None:
    history = History(REMEMBER_S)
    history.user_said("Count.", 0.0)
    history.agent_said("One.", 0, 1.0)
    history.agent_said("Two.", 1000, 1.0)
    history.agent_said("Three.", 2000, 1.0)
    history.answer_cut(played_bytes)
    answer = () if told is None else (Said(Side.AGENT, told),)
    assert history.replay(2.0) == (Said(Side.USER, "Count."), *answer)


def test_what_was_cut_is_not_there_when_the_next_answer_begins() -> None:
    history = History(REMEMBER_S)
    history.user_said("Count.", 0.0)
    history.agent_said("One.", 0, 1.0)
    history.answer_cut(0)
    history.user_said("Hello.", 2.0)
    history.agent_said("Hi.", 0, 3.0)
    history.answer_ended()
    assert history.replay(4.0) == (Said(Side.USER, "Count."), HELLO, Said(Side.AGENT, "Hi."))


# ── the greeting ─────────────────────────────────────────────────────────────────────────────────


def test_the_greeting_is_no_part_of_the_conversation() -> None:
    history = History(REMEMBER_S)
    history.expect_greeting()
    history.agent_said("Good morning.", 0, 0.0)
    history.agent_said("How can I help?", 100, 0.0)
    history.answer_ended()
    assert history.replay(1.0) == ()
    history.user_said("Hello.", 2.0)
    history.agent_said("Hi.", 0, 3.0)
    history.agent_said("How are you?", 100, 3.0)
    assert history.replay(4.0) == (HELLO, HI)


def test_only_the_first_thing_that_the_agent_says_is_the_greeting() -> None:
    history = History(REMEMBER_S)
    history.expect_greeting()
    history.agent_said("Good morning.", 0, 0.0)
    history.answer_ended()
    history.agent_said("Dinner is ready.", 0, 5.0)
    assert history.replay(6.0) == (Said(Side.AGENT, "Dinner is ready."),)


def test_a_greeting_that_never_came_takes_the_place_of_no_answer() -> None:
    history = History(REMEMBER_S)
    history.expect_greeting()
    history.answer_ended()  # nothing was said
    history.user_said("Hello.", 1.0)
    history.agent_said("Hi.", 0, 2.0)
    assert history.replay(3.0) == (HELLO, Said(Side.AGENT, "Hi."))


@pytest.mark.parametrize("played_bytes", [0, 10**6])
def test_a_greeting_that_was_cut_is_none_either(played_bytes: int) -> None:
    history = History(REMEMBER_S)
    history.expect_greeting()
    history.agent_said("Good morning.", 0, 0.0)
    history.answer_cut(played_bytes)
    history.user_said("Hello.", 1.0)
    assert history.replay(1.0) == (HELLO,)


# ── words that go again by themselves ────────────────────────────────────────────────────────────


def test_words_that_go_again_are_left_out_once() -> None:
    history = one_turn()
    history.user_said("And you?", 1.0)
    assert history.last_question == "And you?"
    assert history.replay(2.0, without_last=True) == (HELLO, HI)
    assert history.replay(2.0) == (HELLO, HI, Said(Side.USER, "And you?"))


def test_nothing_is_left_out_of_what_was_answered() -> None:
    history = one_turn()
    assert history.last_question == ""
    assert history.replay(1.0, without_last=True) == (HELLO, HI)


def test_the_only_words_may_be_left_out() -> None:
    history = History(REMEMBER_S)
    history.user_said("Hello.", 0.0)
    assert history.replay(1.0, without_last=True) == ()
    assert history.last_question == "Hello."


def test_a_question_is_answered_as_soon_as_the_answer_is_told() -> None:
    history = History(REMEMBER_S)
    history.user_said("Hello.", 0.0)
    history.agent_said("Hi.", 0, 1.0)
    assert history.last_question == ""
    history.answer_cut(0)  # … but nobody heard it
    assert history.last_question == "Hello."


# ── how long, how much ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("at_s", "told"), [(599.9, 2), (600.0, 0), (10_000.0, 0)])
def test_everything_is_forgotten_so_long_after_the_newest_turn(at_s: float, told: int) -> None:
    history = one_turn()
    assert history.is_remembered(at_s) is bool(told)
    assert len(history.replay(at_s)) == told


def test_what_was_forgotten_does_not_come_back_with_the_next_turn() -> None:
    history = one_turn()
    assert history.replay(600.0) == ()
    history.user_said("And you?", 601.0)
    assert history.replay(602.0) == (Said(Side.USER, "And you?"),)


@pytest.mark.parametrize("who", list(Side))
def test_each_turn_of_either_side_keeps_all_of_it(who: Side) -> None:
    history = one_turn()
    if who is Side.USER:
        history.user_said("Still there?", 500.0)
    else:
        history.agent_said("Still there?", 0, 500.0)
    assert history.replay(1099.0) == (HELLO, HI, Said(who, "Still there?"))
    assert history.replay(1100.0) == ()


def test_who_remembers_for_no_time_at_all_is_told_nothing() -> None:
    history = History(0.0)
    history.user_said("Hello.", 1.0)
    assert history.replay(1.0) == ()


def test_what_is_to_be_forgotten_is() -> None:
    history = one_turn()
    history.agent_said("By the way", 0, 1.0)
    history.forget()
    assert history.replay(1.0) == ()
    assert history.last_question == ""
    assert json.loads(history.save(1.0, 0.0))["turns"] == []
    history.user_said("Hello.", 2.0)
    assert history.replay(2.0) == (HELLO,)


def test_no_more_turns_are_kept_than_the_newest_forty() -> None:
    history = History(REMEMBER_S)
    for n in range(TURNS_MAX + 5):
        history.user_said(f"{n}", 0.0)
    told = history.replay(1.0)
    assert texts_of(told) == [f"{n}" for n in range(5, TURNS_MAX + 5)]


def test_of_long_turns_fewer_are_kept() -> None:
    history = History(REMEMBER_S)
    for n in range(10):
        history.user_said(f"{n}" * (CHARACTERS_MAX // 4), 0.0)
    assert [text[0] for text in texts_of(history.replay(1.0))] == ["6", "7", "8", "9"]


def test_the_newest_turn_is_kept_however_long_it_is() -> None:
    history = one_turn()
    history.user_said("x" * (CHARACTERS_MAX + 1), 1.0)
    assert [len(text) for text in texts_of(history.replay(2.0))] == [CHARACTERS_MAX + 1]


TURNS = st.lists(
    st.tuples(st.sampled_from(["user", "agent", "ended", "cut"]), st.text(max_size=2000)),
    max_size=120,
)


@given(TURNS)
def test_whatever_is_said_what_is_told_is_bounded_and_the_newest(
    said: list[tuple[str, str]],
) -> None:
    history = History(REMEMBER_S)
    texts: list[str] = []
    for kind, text in said:
        match kind:
            case "user":
                history.user_said(text, 0.0)
                texts.append(text)
            case "agent":
                history.agent_said(text, 0, 0.0)
                history.answer_ended()
                texts.append(text)
            case "ended":
                history.answer_ended()
            case _:
                history.answer_cut(0)
    told = texts_of(history.replay(1.0))
    assert told == texts[len(texts) - len(told) :]
    assert len(told) <= TURNS_MAX
    assert sum(map(len, told)) <= CHARACTERS_MAX or len(told) == 1
    if len(told) < len(texts):  # no more is left out than has to be
        one_more = texts[-len(told) - 1 :]
        assert len(one_more) > TURNS_MAX or sum(map(len, one_more)) > CHARACTERS_MAX


# ── over a restart ───────────────────────────────────────────────────────────────────────────────


def test_what_was_said_survives_a_restart_and_another_clock() -> None:
    history = one_turn(at_s=50_000.0)
    file = history.save(wall_s=1_000_000.0, now_s=50_000.0)
    other = History(REMEMBER_S)
    other.load(file, wall_s=1_000_010.0, now_s=7.0)
    assert other.replay(7.0) == (HELLO, HI)
    # It goes on to be forgotten when it would have been.
    assert other.is_remembered(7.0 + 589.9)
    assert not other.is_remembered(7.0 + 590.0)


def test_what_was_loaded_goes_on_with_what_is_said_then() -> None:
    other = History(REMEMBER_S)
    other.load(one_turn().save(0.0, 0.0), wall_s=1.0, now_s=0.0)
    other.user_said("And you?", 2.0)
    assert other.replay(3.0) == (HELLO, HI, Said(Side.USER, "And you?"))
    assert other.last_question == "And you?"


def test_an_answer_whose_end_was_never_told_is_in_the_file() -> None:
    history = one_turn()
    history.agent_said("By the way …", 0, 1.0)
    other = History(REMEMBER_S)
    other.load(history.save(1.0, 1.0), wall_s=1.0, now_s=0.0)
    assert other.replay(0.0) == (HELLO, HI, Said(Side.AGENT, "By the way …"))


def test_saving_late_makes_nothing_younger() -> None:
    file = one_turn(at_s=0.0).save(wall_s=1_000_000.0, now_s=5_000.0)
    other = History(REMEMBER_S)
    other.load(file, wall_s=1_000_001.0, now_s=0.0)
    assert other.replay(0.0) == ()


def test_a_greeting_is_not_in_the_file() -> None:
    history = History(REMEMBER_S)
    history.expect_greeting()
    history.agent_said("Good morning.", 0, 0.0)
    assert json.loads(history.save(0.0, 0.0))["turns"] == []


@pytest.mark.parametrize(
    ("later_s", "turns"),
    [(0.0, 2), (599.9, 2), (600.0, 0), (1e9, 0), (-0.1, 0), (-1e9, 0)],
)
def test_what_is_too_old_or_of_the_future_is_not_loaded(later_s: float, turns: int) -> None:
    file = one_turn().save(2e9, 0.0)
    other = History(REMEMBER_S)
    other.load(file, wall_s=2e9 + later_s, now_s=0.0)
    assert len(other.replay(0.0)) == turns


@pytest.mark.parametrize("version", [VERSION + 1, 99])
def test_the_file_of_a_newer_program_is_refused_in_words(version: int) -> None:
    file: dict[str, Any] = json.loads(one_turn().save(0.0, 0.0))
    assert file["version"] == VERSION
    history = History(REMEMBER_S)
    with pytest.raises(ValueError, match=f"version {version} is newer than ours, which is 1"):
        history.load(json.dumps({**file, "version": version}).encode(), 1.0, 0.0)
    assert history.replay(0.0) == ()


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"version": 1}',
        b'{"version": 1, "saved_s": "yesterday", "turns": []}',
        b'{"version": 1, "saved_s": 0, "turns": [{"who": "ghost", "text": "boo"}]}',
        b'{"version": 1, "saved_s": 0, "turns": [{"who": "user"}]}',
        b'{"version": 1, "saved_s": 0, "turns": [{"who": "user", "text": "hal',
        b'{"version": 1, "saved_s": 0, "turns": [{"who": "user", "text": "\xff"}]}',
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_changes_nothing(file: bytes) -> None:
    history = one_turn()
    with pytest.raises(ValueError):
        history.load(file, 1.0, 0.0)
    assert history.replay(1.0) == (HELLO, HI)


@given(TURNS)
def test_whatever_was_said_comes_back_from_the_file(said: list[tuple[str, str]]) -> None:
    history = History(REMEMBER_S)
    for kind, text in said:
        if kind == "user":
            history.user_said(text, 0.0)
        else:
            history.agent_said(text, 0, 0.0)
    history.answer_ended()
    other = History(REMEMBER_S)
    other.load(history.save(100.0, 0.0), wall_s=101.0, now_s=0.0)
    assert other.replay(0.0) == history.replay(0.0)


# ── what was called ──────────────────────────────────────────────────────────────────────────────

LIGHT = Called("fc_1", "light", '{"on": true}', "The light is on.", signature="s")


def test_a_function_that_was_called_is_told_again_and_is_no_open_question() -> None:
    history = History(REMEMBER_S)
    history.user_said("Hello.", 0.0)
    assert history.last_question == "Hello."
    history.called(LIGHT)
    assert history.last_question == ""
    assert history.replay(1.0) == (HELLO, LIGHT)
    assert history.replay(1.0, without_last=True) == (HELLO, LIGHT)


def test_what_it_gave_is_told_in_part_if_it_is_long() -> None:
    history = History(REMEMBER_S)
    history.user_said("Hello.", 0.0)
    history.called(replace(LIGHT, response="x" * (RESPONSE_MAX + 1)))
    assert history.replay(1.0)[1] == replace(LIGHT, response="x" * RESPONSE_MAX)


def test_calls_count_towards_the_bound() -> None:
    history = one_turn()
    for _ in range(CHARACTERS_MAX // RESPONSE_MAX + 1):
        history.called(replace(LIGHT, response="x" * RESPONSE_MAX))
    told = history.replay(1.0)
    assert HELLO not in told
    assert sum(
        len(one.response) + len(one.arguments) for one in told if isinstance(one, Called)
    ) <= (CHARACTERS_MAX)


def test_over_a_restart_only_words_go() -> None:
    history = History(REMEMBER_S)
    history.user_said("Hello.", 0.0)
    history.called(LIGHT)
    again = History(REMEMBER_S)
    again.load(history.save(100.0, 1.0), 101.0, 0.0)
    assert again.replay(0.0) == (HELLO,)
