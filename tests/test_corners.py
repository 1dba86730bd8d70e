"""Corners of the table where a promise was once broken. Pure: no clock but numbers."""

import pytest

from appliance.conversation import Action, Event, Link, Mode, Phase
from appliance.errors import Trouble
from tests.test_conversation import Desk


def in_tap(**talk: object) -> Desk:
    """Connected, and nobody has spoken yet."""
    desk = Desk(Mode.TAP, **talk)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.connect()
    return desk


def answered(desk: Desk) -> None:
    """An answer is played to its end."""
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)


# ── the last answer ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ends", [Event.CONVERSATION_OVER, Event.ENDED])
def test_a_press_goes_on_with_a_conversation_that_was_to_end(ends: Event) -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(ends)
    desk.wait(30.0)
    desk.tell(Event.PRESSED)
    assert Action.HANG_UP not in desk.wait(55.0)
    assert desk.at(Phase.LISTENING)
    desk.tell(Event.RELEASED)
    desk.wait(0.2)
    answered(desk)
    assert desk.at(Phase.RESTING)


@pytest.mark.parametrize("mode", Mode)
def test_a_press_at_the_cap_silences_the_box_and_hangs_up(mode: Mode) -> None:
    desk = Desk(mode)
    desk.ask()
    desk.be_answered()
    desk.tell(Event.CAP_REACHED)
    assert desk.at(Phase.SPEAKING)
    done = desk.tell(Event.PRESSED)
    assert done[0] is Action.CUT
    assert Action.HANG_UP in done
    assert Action.LISTEN not in done
    assert desk.talk.trouble is Trouble.CAP_REACHED


@pytest.mark.parametrize("mode", [Mode.HOLD, Mode.TAP])
def test_a_press_after_forget_is_heard_by_a_session_that_remembers_nothing(mode: Mode) -> None:
    desk = Desk(mode)
    desk.ask()
    desk.be_answered()
    desk.tell(Event.FORGOTTEN)
    done = desk.tell(Event.PRESSED)
    assert [it for it in done if it in (Action.HANG_UP, Action.LISTEN, Action.HURRY)] == [
        Action.HANG_UP,
        Action.LISTEN,
        Action.HURRY,
    ]
    assert Action.DIAL in desk.tell(Event.LINK_DOWN)
    assert desk.at(Phase.LISTENING)


# ── the cap ──────────────────────────────────────────────────────────────────────────────────────


def test_a_press_while_it_hangs_up_dials_nothing_if_the_cap_comes_first() -> None:
    desk = Desk()
    desk.ask()
    answered(desk)
    desk.wait(20.0)
    assert desk.talk.link is Link.CLOSING
    desk.tell(Event.PRESSED)
    desk.wait(0.3)
    desk.tell(Event.CAP_REACHED)
    done = desk.tell(Event.LINK_DOWN)
    assert Action.DIAL not in done
    assert Action.DISCARD in done
    assert desk.talk.trouble is Trouble.CAP_REACHED


# ── the link ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", Mode)
def test_a_connection_that_stands_again_is_no_trouble(mode: Mode) -> None:
    desk = Desk(mode)
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.connect()
    desk.tell(Event.LINK_LOST, Trouble.NO_NETWORK)
    assert desk.talk.trouble is Trouble.NO_NETWORK
    desk.wait(1.0)
    desk.connect()
    assert desk.at(Phase.LISTENING)
    assert desk.talk.trouble is None


def test_what_was_not_heard_is_no_trouble_of_the_next_words() -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.TURN_SENT)
    desk.wait(6.0)
    assert desk.talk.trouble is Trouble.HEARD_NOTHING
    desk.ear.pending = True
    desk.wait(3.0)
    assert desk.at(Phase.THINKING)
    assert desk.talk.trouble is None


def test_in_tap_words_said_to_a_dead_link_outlast_the_hanging_up() -> None:
    desk = in_tap()
    desk.wait(15.0)
    desk.jitter = 1.0
    for _ in range(5):  # 15 s of it
        desk.tell(Event.LINK_LOST, Trouble.NO_NETWORK)
        while desk.talk.link is Link.DOWN:
            assert Action.DISCARD not in desk.wait(1.0)
    desk.connect()
    assert desk.at(Phase.LISTENING)


def test_in_tap_words_said_during_a_renewal_outlast_the_hanging_up() -> None:
    desk = in_tap()
    desk.wait(19.9)
    desk.ear.speaking = False
    assert desk.tell(Event.RENEWAL_DUE) == [Action.HANG_UP]
    desk.wait(0.5)
    assert desk.tell(Event.LINK_DOWN) == [Action.DIAL, Action.UPGRADE]
    desk.wait(1.0)
    desk.connect()
    assert desk.at(Phase.LISTENING)


# ── missing hardware in `open` ───────────────────────────────────────────────────────────────────

HALVES = (
    (Event.MICROPHONE_LOST, Event.MICROPHONE_FOUND, Trouble.MICROPHONE_MISSING),
    (Event.SPEAKER_LOST, Event.SPEAKER_FOUND, Trouble.SPEAKER_MISSING),
)


@pytest.mark.parametrize(("lost", "found", "trouble"), HALVES)
def test_open_dials_nothing_while_a_card_is_missing(
    lost: Event, found: Event, trouble: Trouble
) -> None:
    desk = Desk(Mode.OPEN)
    desk.tell(lost)
    assert Action.DIAL not in [*desk.tell(Event.STARTED), *desk.wait(1000.0)]
    assert desk.talk.trouble is trouble
    desk.tell(found)
    assert Action.DIAL in desk.wait(1.0)
    desk.connect()
    assert desk.at(Phase.LISTENING)


@pytest.mark.parametrize(("lost", "found", "trouble"), HALVES)
def test_open_does_not_stay_connected_deaf_or_dumb(
    lost: Event, found: Event, trouble: Trouble
) -> None:
    desk = Desk(Mode.OPEN, max_conversation_s=0.0)
    desk.tell(Event.STARTED)
    desk.connect()
    desk.tell(Event.USER_TEXT)
    desk.tell(lost)
    assert Action.HANG_UP in desk.tell(Event.AUDIO_DONE)  # without a sound
    assert desk.talk.trouble is trouble
    desk.tell(Event.LINK_DOWN)
    desk.tell(found)
    assert Action.DIAL in desk.wait(1.0)


# ── fingers ──────────────────────────────────────────────────────────────────────────────────────


def test_the_release_of_a_press_that_gave_a_permission_ends_nothing() -> None:
    desk = in_tap()
    desk.wait(5.0)
    desk.tell(Event.PRESSED)  # would end the conversation, but words come first
    desk.tell(Event.USER_TEXT)
    desk.tell(Event.RELEASED)
    desk.tell(Event.USER_SPOKE)
    desk.tell(Event.PERMISSION_ASKED)
    assert desk.tell(Event.PRESSED) == [Action.ALLOW]
    assert desk.tell(Event.RELEASED) == []
    assert desk.at(Phase.LISTENING)


# ── an answer that is not heard out ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", Mode)
def test_muted_over_an_answer_with_words_unsent_it_does_not_speak_for_ever(mode: Mode) -> None:
    desk = Desk(mode)
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.connect()
    desk.tell(Event.USER_TEXT)
    desk.tell(Event.ANSWER_BEGAN)
    if mode is Mode.HOLD:
        desk.tell(Event.RELEASED)  # what was withheld is played
        desk.talk.phase = Phase.SPEAKING
    desk.ear.pending = desk.ear.unsent = True
    assert Action.CUT in desk.tell(Event.MUTED)
    assert desk.at(Phase.RESTING)
    assert Action.HANG_UP in desk.wait(20.0)


def test_an_answer_whose_link_was_lost_is_played_out_at_the_cap_too() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    desk.tell(Event.CAP_REACHED)
    assert desk.at(Phase.SPEAKING)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.at(Phase.TROUBLE)
    assert desk.talk.link is Link.DOWN


def test_a_microphone_that_was_open_beside_a_trouble_is_shut_when_the_link_is_lost() -> None:
    desk = in_tap()
    desk.tell(Event.USER_TEXT)
    desk.wait(15.0)
    assert desk.talk.trouble is Trouble.NO_ANSWER
    assert desk.is_open
    assert Action.DISCARD in desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
