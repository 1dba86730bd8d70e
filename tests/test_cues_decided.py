"""When the conversation lets itself be heard. Pure: no clock but numbers."""

import pytest
from hypothesis import settings

from appliance.conversation import (
    ATTENDED_S,
    HARDWARE,
    SHOW_BRIEFLY_S,
    Action,
    Event,
    Link,
    Mode,
    Phase,
)
from appliance.errors import Retry, Trouble
from tests.test_conversation import Desk, Walk

HEARD = frozenset({Action.CUE_LISTENING, Action.CUE_DONE, Action.CUE_TROUBLE, Action.PROMPT})
WAITS_FOR_A_PERSON = [it for it in Trouble if it.retry is Retry.ON_PRESS and it not in HARDWARE]


class Audible(Desk):
    """A desk whose owner wants to hear everything, and that minds the rules."""

    def __init__(self, mode: Mode = Mode.HOLD, **talk: object) -> None:
        super().__init__(mode, **{"audible": HEARD, **talk})
        self.heard: list[tuple[Action, Trouble | None]] = []

    def tell(self, event: Event, why: Trouble | None = None) -> list[Action]:
        actions = super().tell(event, why)
        for action in actions:
            if action in HEARD:
                self._mind(action)
                self.heard.append((action, self.talk.complaint))
        return actions

    def _mind(self, action: Action) -> None:
        assert Trouble.SPEAKER_MISSING not in self.talk.missing
        if action in (Action.CUE_TROUBLE, Action.PROMPT):
            assert not self.talk.held
            assert self.talk.phase in (Phase.THINKING, Phase.TROUBLE)
            assert self.talk.complaint is not None
            assert self.now_s - self.talk._attended_s <= ATTENDED_S

    def complaints(self) -> list[Trouble | None]:
        return [trouble for action, trouble in self.heard if action is not Action.CUE_LISTENING]


@pytest.mark.parametrize("why", WAITS_FOR_A_PERSON)
def test_what_waits_for_a_person_is_told_when_the_button_is_let_go(why: Trouble) -> None:
    desk = Audible()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    assert desk.tell(Event.LINK_LOST, why)[-1] is Action.END
    assert desk.at(Phase.TROUBLE)
    assert desk.tell(Event.RELEASED) == [Action.CUE_TROUBLE]
    assert desk.complaints() == [why]


def test_what_is_over_when_the_button_is_let_go_is_not_told() -> None:
    desk = Audible()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.tell(Event.LINK_LOST, Trouble.KEY_REFUSED)
    desk.wait(31.0)
    assert desk.at(Phase.ASLEEP)
    assert desk.tell(Event.RELEASED) == []


def test_a_loss_that_is_made_good_in_silence_is_not_told() -> None:
    desk = Audible()
    desk.ask()
    desk.tell(Event.TURN_SENT)
    desk.heard.clear()
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert desk.heard == [(Action.PROMPT, Trouble.LINK_LOST)]  # which has no words


def test_words_that_wait_in_tap_are_told_of_at_the_end_only() -> None:
    desk = Audible(Mode.TAP)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.ear.pending = True
    desk.tell(Event.LINK_LOST, Trouble.NO_NETWORK)
    desk.wait(29.0)
    assert desk.complaints() == []
    desk.wait(2.0)
    assert desk.complaints() == [Trouble.NO_CONNECTION]


@pytest.mark.parametrize(("mode", "told"), [(Mode.HOLD, [Trouble.NO_NETWORK]), (Mode.TAP, [])])
def test_nothing_is_said_into_an_open_microphone(mode: Mode, told: list[Trouble]) -> None:
    desk = Audible(mode)
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.connect()
    desk.tell(Event.RELEASED)
    desk.wait(0.2)
    desk.tell(Event.USER_TEXT)
    assert desk.at(Phase.THINKING)
    desk.heard.clear()
    desk.tell(Event.LINK_LOST, Trouble.NO_NETWORK)
    assert desk.at(Phase.THINKING)
    assert desk.complaints() == told


def test_a_turn_whose_function_had_begun_is_lost_with_a_cue() -> None:
    desk = Audible()
    desk.ask()
    desk.tell(Event.TURN_SENT)
    desk.tell(Event.USER_TEXT)
    desk.ear.pending = desk.ear.unanswered = False  # taken by the call of a function
    desk.heard.clear()
    assert desk.tell(Event.LINK_LOST, Trouble.LINK_LOST) == [Action.CUE_TROUBLE]
    assert desk.complaints() == [Trouble.LINK_LOST]


def test_an_answer_played_to_its_end_is_no_loss() -> None:
    desk = Audible()
    desk.ask()
    desk.be_answered()
    desk.heard.clear()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.at(Phase.ASLEEP)
    assert desk.heard == []


def test_a_link_lost_at_rest_is_silence() -> None:
    desk = Audible()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.at(Phase.RESTING)
    desk.heard.clear()
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert desk.heard == []


def test_the_spent_money_is_told_at_each_press() -> None:
    desk = Audible()
    desk.tell(Event.CAP_REACHED)
    assert desk.heard == []
    desk.tell(Event.PRESSED)
    assert desk.tell(Event.RELEASED) == [Action.CUE_TROUBLE]
    assert desk.complaints() == [Trouble.CAP_REACHED]


def test_an_unplugged_microphone_at_night_is_told_in_the_morning() -> None:
    desk = Audible()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    desk.wait(20.0)
    desk.tell(Event.LINK_DOWN)
    desk.wait(ATTENDED_S)
    desk.heard.clear()
    desk.tell(Event.MICROPHONE_LOST)
    assert desk.heard == []
    desk.wait(10_000.0)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    assert desk.heard == [(Action.CUE_TROUBLE, Trouble.MICROPHONE_MISSING)]


def test_a_microphone_unplugged_before_somebodys_eyes_is_told_at_once() -> None:
    desk = Audible(Mode.TAP)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.connect()
    desk.tell(Event.MICROPHONE_LOST)
    assert desk.complaints() == [Trouble.MICROPHONE_MISSING]


def test_the_microphone_is_shut_beside_a_complaint_and_opens_with_the_phase() -> None:
    desk = Audible(Mode.TAP)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.connect()
    desk.tell(Event.USER_TEXT)
    assert desk.wait(15.0) == [Action.SHUT, Action.CUE_TROUBLE]
    assert desk.complaints() == [Trouble.NO_ANSWER]
    assert desk.wait(SHOW_BRIEFLY_S) == [Action.LISTEN, Action.SEND]


@pytest.mark.parametrize("talk", [{"half_duplex": False}, {"audible": frozenset()}])
def test_the_microphone_is_not_shut_for_nothing(talk: dict[str, object]) -> None:
    desk = Audible(Mode.TAP, **talk)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.connect()
    desk.tell(Event.USER_TEXT)
    assert Action.SHUT not in desk.wait(15.0)


@pytest.mark.parametrize("mode", Mode)
def test_a_press_that_listens_has_its_cue_after_the_microphone_is_open(mode: Mode) -> None:
    desk = Audible(mode)
    actions = desk.tell(Event.PRESSED)
    assert actions.index(Action.CUE_LISTENING) == actions.index(Action.LISTEN) + 1


def test_a_box_that_listens_by_itself_has_no_cue() -> None:
    desk = Audible(Mode.OPEN)
    desk.tell(Event.STARTED)
    desk.connect()
    assert desk.at(Phase.LISTENING)
    desk.tell(Event.USER_TEXT)
    desk.tell(Event.ANSWER_BEGAN)
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    desk.wait(1.0)
    assert desk.at(Phase.LISTENING)
    assert desk.heard == []


def test_the_end_of_a_turn_has_its_cue_and_a_tap_has_none() -> None:
    desk = Audible()
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    assert desk.talk.link is Link.CLOSING
    desk.tell(Event.LINK_DOWN)
    assert Action.CUE_DONE not in desk.done
    desk.ask()
    assert desk.done[-2:] == [Action.END, Action.CUE_DONE]


class AudibleWalk(Walk):
    """Whatever may happen: the rules of `Audible` hold."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Audible(self.mode)


class AudibleTapWalk(AudibleWalk):
    """The same in the other profile."""

    mode = Mode.TAP


TestAudibleWalk = AudibleWalk.TestCase
TestAudibleTapWalk = AudibleTapWalk.TestCase
TestAudibleWalk.settings = TestAudibleTapWalk.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None
)
