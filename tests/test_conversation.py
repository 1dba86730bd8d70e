"""The table is total, and what it does is what the design says. Pure: no clock but numbers."""

import inspect
from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.conversation import (
    ECHO_S,
    HARDWARE,
    PHASES,
    TABLE,
    Action,
    Cell,
    Event,
    Link,
    Mode,
    Phase,
    Talk,
)
from appliance.errors import Retry, Trouble
from appliance.mind import Conversation


@dataclass
class Ear:
    """Utterances as the machine sees them."""

    pending: bool = False
    speaking: bool = False
    unheard: bool = False
    sent: bool = False
    unanswered: bool = False
    heard_early: bool = False
    unsent: bool = False


@dataclass
class Mouth:
    """Answers as the machine sees them."""

    withheld: bool = False
    discarding: bool = False
    done: bool = False
    dry: bool = True


class Desk:
    """A conversation, and hands that do to ear and mouth what its actions say."""

    def __init__(self, mode: Mode = Mode.HOLD, **talk: object) -> None:
        self.ear = Ear()
        self.mouth = Mouth()
        self.now_s = 100.0
        self.done: list[Action] = []
        self.jitter = 0.5
        self.is_open = self.is_shut = False  # an utterance, and the microphone in it
        self.quiet_s = 0.0  # when the walls will have ended
        self.talk = Conversation(
            replace(Talk(mode=mode), **talk),  # type: ignore[arg-type]
            self.ear,
            self.mouth,
            random=lambda: self.jitter,
        )

    def tell(self, event: Event, why: Trouble | None = None) -> list[Action]:
        self._happens(event)
        was_shut = self.is_open and self.is_shut
        actions = self.talk.handle(event, self.now_s, why)
        for action in actions:
            self._does(action)
        if was_shut and self.is_open and not self.is_shut:
            assert event in (Event.PRESSED, Event.USER_SPOKE) or self.now_s >= self.quiet_s
        self.done += actions
        return actions

    def _happens(self, event: Event) -> None:
        if event is Event.USER_TEXT:
            self.ear.unanswered = self.ear.pending or self.ear.speaking
            self.ear.pending = self.ear.speaking = self.mouth.discarding = False
        elif event is Event.ANSWER_BEGAN:
            self.mouth.dry = self.mouth.done = self.ear.unanswered = False
        elif event is Event.SPEAKER_DRY:
            self.mouth.dry, self.quiet_s = True, self.now_s + ECHO_S
        elif event is Event.AUDIO_DONE:
            self.mouth.done = True

    def _does(self, action: Action) -> None:
        if action in (Action.LISTEN, Action.HEAR, Action.SHUT):
            self.is_shut = action is Action.SHUT
        if action in (Action.LISTEN, Action.END, Action.DISCARD, Action.ERASE):
            self.is_open = action is Action.LISTEN
        if action is Action.LISTEN:
            self.ear.speaking, self.ear.sent = True, False
        elif action is Action.END:
            self.ear.pending, self.ear.speaking = True, False
        elif action in (Action.DISCARD, Action.ERASE):
            self.ear.speaking = self.ear.sent = False
        elif action in (Action.CALL_OFF, Action.DROP_SENT, Action.DROP_ALL):
            self.ear.pending = self.ear.unanswered = self.ear.unsent = False
        elif action is Action.PLAY:
            self.mouth.dry = self.mouth.withheld = False
        elif action in (Action.CUT, Action.CUT_BY_SERVER):
            self.mouth.discarding, self.mouth.dry, self.mouth.withheld = True, True, False

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass, deadline by deadline."""
        until_s = self.now_s + seconds
        done: list[Action] = []
        while self.talk.next_deadline_s <= until_s:
            self.now_s = self.talk.next_deadline_s
            for event in self.talk.due(self.now_s):
                done += self.tell(event)
        self.now_s = until_s
        return done

    def is_muted(self) -> bool:
        return self.talk.muted

    def at(self, phase: Phase) -> bool:
        return self.talk.phase is phase

    def connect(self) -> None:
        self.tell(Event.LINK_UP)

    def ask(self) -> None:
        """Press, talk for a second, let go, and the tail."""
        self.tell(Event.PRESSED)
        self.wait(1.0)
        if self.talk.link is Link.DIALING:
            self.connect()
        self.tell(Event.RELEASED)
        self.wait(0.2)

    def be_answered(self) -> None:
        self.tell(Event.TURN_SENT)
        self.tell(Event.USER_TEXT)
        self.tell(Event.ANSWER_BEGAN)


@pytest.mark.parametrize("mode", Mode)
def test_the_table_is_total_and_each_cell_has_its_rule(mode: Mode) -> None:
    assert set(TABLE[mode]) == set(Event)
    for row in TABLE[mode].values():
        assert tuple(row) == PHASES
        for cell in row.values():
            assert callable(getattr(Conversation, f"_{cell.name.lower()}"))


def test_every_cell_is_used() -> None:
    used = {cell for table in TABLE.values() for row in table.values() for cell in row.values()}
    assert used == set(Cell)


def test_every_deadline_is_armed_somewhere() -> None:
    source = inspect.getsource(Conversation)
    deadlines = list(Event)[list(Event).index(Event.TAP_OVER) :]
    assert [it for it in deadlines if f"_arm(Event.{it.name}," not in source] == []


# ── hold ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_press_listens_and_dials_and_the_upgrade_waits_for_more_than_a_tap() -> None:
    desk = Desk()
    assert desk.tell(Event.PRESSED) == [Action.LISTEN, Action.DIAL]
    assert desk.at(Phase.LISTENING)
    assert desk.wait(0.249) == []
    assert desk.wait(0.001) == [Action.SEND, Action.UPGRADE]


def test_a_tap_sends_nothing_and_opens_no_bill() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(0.2)
    assert desk.tell(Event.RELEASED) == [Action.DISCARD, Action.ABORT]
    assert desk.at(Phase.ASLEEP)
    assert Action.UPGRADE not in desk.done


def test_a_release_keeps_the_last_syllables_and_then_ends_the_turn() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.connect()
    assert desk.tell(Event.RELEASED) == []
    assert desk.at(Phase.LISTENING)
    assert desk.wait(0.2) == [Action.END]
    assert desk.at(Phase.THINKING)


def test_a_press_in_the_tail_continues_the_same_utterance() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.tell(Event.RELEASED)
    desk.wait(0.1)
    assert desk.tell(Event.PRESSED) == []
    assert desk.wait(1.0) == []
    assert desk.at(Phase.LISTENING)
    desk.tell(Event.RELEASED)
    assert desk.wait(0.2) == [Action.END]


def test_a_press_while_an_answer_sounds_stops_it_first_and_listens() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    assert desk.tell(Event.PRESSED) == [Action.CUT, Action.LISTEN]


def test_a_tap_while_an_answer_sounds_only_stops_it() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.PRESSED)
    assert desk.tell(Event.RELEASED) == [Action.DISCARD, Action.CALL_OFF]
    assert desk.at(Phase.RESTING)


def test_a_press_while_thinking_discards_the_awaited_answer() -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.TURN_SENT)
    assert desk.tell(Event.PRESSED) == [Action.CUT, Action.DROP_SENT, Action.LISTEN]


def test_a_press_while_connecting_appends_an_utterance_and_discards_nothing() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.tell(Event.RELEASED)
    desk.wait(0.2)
    assert desk.at(Phase.THINKING)
    assert desk.tell(Event.PRESSED) == [Action.LISTEN]


def test_a_press_while_hanging_up_keeps_sound_and_dials_when_it_is_closed() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.wait(20.0) == [Action.HANG_UP]
    assert desk.tell(Event.PRESSED) == [Action.LISTEN, Action.HURRY]
    assert desk.tell(Event.LINK_DOWN) == [Action.DIAL]
    assert desk.at(Phase.LISTENING)


def test_a_press_while_muted_stops_sound_and_dials_nothing() -> None:
    desk = Desk()
    desk.tell(Event.MUTED)
    assert desk.tell(Event.PRESSED) == []
    assert desk.at(Phase.ASLEEP)
    desk.tell(Event.RELEASED)
    desk.tell(Event.UNMUTED)
    desk.ask()
    desk.be_answered()
    desk.tell(Event.MUTED)
    assert desk.at(Phase.SPEAKING)
    assert Action.CUT in desk.tell(Event.PRESSED)
    assert desk.at(Phase.RESTING)


def test_muted_while_open_comes_back_it_gives_the_dial_up_until_it_is_unmuted() -> None:
    desk = in_open()
    desk.tell(Event.USER_TEXT)
    desk.ear.unanswered = False
    desk.tell(Event.LINK_LOST, Trouble.SERVER_ERROR)
    assert Action.DIAL in desk.wait(1.0)
    assert desk.at(Phase.TROUBLE)
    assert Action.ABORT in desk.tell(Event.MUTED)
    desk.tell(Event.LINK_DOWN)
    assert Action.DIAL not in desk.wait(500.0)
    assert desk.at(Phase.ASLEEP)
    assert Action.DIAL in desk.tell(Event.UNMUTED)


def test_in_tap_only_a_press_that_began_muted_unmutes_when_it_is_long() -> None:
    desk = Desk(Mode.TAP)
    desk.tell(Event.PRESSED)
    desk.tell(Event.MUTED)
    desk.wait(5.0)
    assert desk.is_muted()
    desk.tell(Event.RELEASED)
    desk.tell(Event.PRESSED)
    desk.wait(2.9)
    desk.tell(Event.RELEASED)
    desk.wait(5.0)
    assert desk.is_muted()
    desk.tell(Event.PRESSED)
    assert Action.FORGET not in desk.wait(3.0)
    assert not desk.is_muted()


def test_muted_while_held_unsent_sound_is_forgotten_and_the_dial_given_up() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    assert desk.tell(Event.MUTED) == [Action.CALL_OFF, Action.DISCARD, Action.ABORT]
    assert desk.at(Phase.ASLEEP)


def test_a_tap_while_thinking_calls_the_question_off() -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.TURN_SENT)
    desk.tell(Event.PRESSED)
    assert desk.tell(Event.RELEASED) == [Action.DISCARD, Action.CALL_OFF]
    assert desk.at(Phase.RESTING)
    desk.talk.handle(Event.USER_TEXT, desk.now_s)
    assert desk.at(Phase.RESTING)
    assert desk.wait(19.0) == []


def test_muted_while_held_what_was_sent_is_ended_and_its_answer_discarded() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.connect()
    desk.ear.sent = True
    assert desk.tell(Event.MUTED) == [Action.ERASE, Action.CUT]
    assert desk.at(Phase.RESTING)


def test_the_agent_hearing_the_user_hushes_and_does_not_change_to_listening() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    assert desk.tell(Event.USER_SPOKE) == [Action.CUT_BY_SERVER, Action.FINISH]
    assert desk.at(Phase.RESTING)


def test_an_answer_under_a_held_button_is_played_when_it_is_let_go() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.connect()
    desk.ear.heard_early = True
    desk.tell(Event.USER_TEXT)
    desk.mouth.withheld = True
    desk.tell(Event.ANSWER_BEGAN)
    assert desk.at(Phase.LISTENING)
    assert desk.tell(Event.RELEASED) == [Action.PLAY, Action.DISCARD]
    assert desk.at(Phase.SPEAKING)
    assert Action.END not in desk.wait(1.0)


def test_an_answer_to_earlier_words_gives_way_to_what_is_being_said() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.connect()
    desk.tell(Event.USER_TEXT)  # it took an earlier utterance
    desk.mouth.withheld = True
    desk.tell(Event.RELEASED)
    assert desk.wait(0.2) == [Action.CUT, Action.END]


def test_a_text_while_the_last_answer_is_played_already_thinks_and_does_not_stick() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.SPEAKER_DRY)
    desk.tell(Event.USER_TEXT)
    assert desk.at(Phase.THINKING)
    desk.wait(15.0)
    assert desk.talk.trouble is Trouble.NO_ANSWER


def test_a_full_conversation_ends_a_minute_later_whatever_goes_on() -> None:
    desk = Desk(max_conversation_s=30.0)
    desk.ask()
    desk.be_answered()
    desk.wait(30.0)
    assert desk.at(Phase.SPEAKING)
    assert Action.HANG_UP in desk.wait(60.0)
    assert desk.at(Phase.ASLEEP)


def test_muted_while_tap_thinks_nothing_more_leaves_the_box() -> None:
    desk = in_tap()
    desk.tell(Event.USER_TEXT)
    assert desk.tell(Event.MUTED) == [Action.DISCARD]
    assert desk.at(Phase.THINKING)
    desk.tell(Event.ANSWER_BEGAN)
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    desk.wait(1.0)
    assert desk.at(Phase.RESTING)
    assert desk.tell(Event.UNMUTED) == [Action.LISTEN, Action.SEND]


def test_no_text_the_end_is_said_again_and_then_nothing_was_heard() -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.TURN_SENT)
    assert desk.wait(2.499) == []
    assert desk.wait(0.002) == [Action.END_AGAIN]
    assert desk.wait(3.4) == []
    assert desk.wait(0.2) == [Action.DROP_SENT]
    assert desk.talk.trouble is Trouble.HEARD_NOTHING
    desk.wait(3.0)
    assert desk.at(Phase.RESTING)


def test_no_answer_after_15_seconds_and_a_late_one_still_sounds() -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.USER_TEXT)
    desk.wait(15.0)
    assert desk.talk.trouble is Trouble.NO_ANSWER
    desk.tell(Event.ANSWER_BEGAN)
    assert desk.at(Phase.SPEAKING)


def test_thinking_is_longer_for_each_sign_of_it_and_ends_after_a_minute() -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.USER_TEXT)
    began_s = desk.now_s
    for _ in range(50):
        desk.wait(1.0)
        desk.tell(Event.STILL_THINKING)
    desk.wait(9.9)
    assert desk.at(Phase.THINKING)
    desk.wait(0.2)
    assert desk.talk.trouble is Trouble.NO_ANSWER
    assert desk.now_s - began_s == pytest.approx(60.1)


def test_speaking_ends_with_the_last_sample_not_with_the_last_byte() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    assert desk.at(Phase.SPEAKING)
    assert desk.tell(Event.SPEAKER_DRY) == [Action.FINISH]
    assert desk.at(Phase.RESTING)


def test_speaking_ends_1_5_seconds_after_the_last_sample_if_no_end_was_told() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.SPEAKER_DRY)
    desk.wait(1.4)
    desk.tell(Event.ANSWER_BEGAN)  # it goes on
    desk.wait(10.0)
    assert desk.at(Phase.SPEAKING)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.wait(1.5) == [Action.FINISH]
    assert desk.at(Phase.RESTING)


def test_an_answer_without_sound_ends_thinking() -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.USER_TEXT)
    desk.tell(Event.AUDIO_DONE)
    assert desk.at(Phase.RESTING)


def test_the_end_of_a_dead_answer_does_not_end_thinking() -> None:
    desk = Desk()
    desk.ask()
    desk.mouth.discarding = True
    desk.tell(Event.AUDIO_DONE)
    assert desk.at(Phase.THINKING)


def test_an_utterance_that_is_too_long_ends_as_by_a_release() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.connect()
    assert Action.END in desk.wait(60.0)
    assert desk.at(Phase.THINKING)
    desk.tell(Event.RELEASED)
    assert desk.at(Phase.THINKING)


def test_a_conversation_that_is_too_long_hangs_up_after_the_answer() -> None:
    desk = Desk(max_conversation_s=30.0, hang_up_after_s=600.0)
    desk.ask()
    desk.wait(28.0)
    assert not desk.at(Phase.SPEAKING)
    desk.tell(Event.USER_TEXT)
    desk.tell(Event.ANSWER_BEGAN)
    desk.wait(10.0)
    assert desk.at(Phase.SPEAKING)
    desk.tell(Event.AUDIO_DONE)
    assert desk.tell(Event.SPEAKER_DRY) == [Action.FINISH, Action.HANG_UP]


# ── the link ─────────────────────────────────────────────────────────────────────────────────────


def test_a_held_button_redials_with_backoff_and_goes_on_listening() -> None:
    desk = Desk()
    desk.jitter = 0.999
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    waits = []
    for _ in range(9):
        assert desk.tell(Event.LINK_LOST, Trouble.UNREACHABLE) == []
        assert desk.at(Phase.LISTENING)
        waits.append(desk.talk.next_deadline_s - desk.now_s)
        desk.talk._deadlines[Event.TURN_FULL] += 100
        assert desk.wait(waits[-1]) == [Action.DIAL, Action.UPGRADE]
    assert waits == pytest.approx([0.4995, 0.999, 1.998, 3.996, 7.992, 15.984, 29.97, 29.97, 29.97])


def test_a_server_that_accepts_and_fails_is_not_dialled_in_a_loop() -> None:
    desk = Desk()
    desk.jitter = 0.999
    desk.ask()
    dials = 0
    until_s = desk.now_s + 29.0
    while desk.now_s < until_s:
        desk.tell(Event.LINK_LOST, Trouble.SERVER_ERROR)
        dials += desk.wait(min(desk.talk.next_deadline_s, until_s) - desk.now_s).count(Action.DIAL)
        desk.tell(Event.LINK_UP)
        desk.tell(Event.ANSWER_BEGAN)  # nor one that begins to answer each time
        desk.ear.pending = True
    assert dials <= 6


@pytest.mark.parametrize("why", [it for it in Trouble if it.retry is Retry.ON_PRESS])
def test_what_only_a_person_can_mend_waits_for_the_next_press(why: Trouble) -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.LINK_LOST, why)
    assert desk.at(Phase.TROUBLE)
    assert desk.talk.trouble is why
    desk.ear.pending = False  # it expires
    assert Action.DIAL not in desk.wait(1000.0)
    assert Action.DIAL in desk.tell(Event.PRESSED)


def test_too_many_connections_are_tried_each_second_while_words_wait() -> None:
    desk = Desk()
    desk.ask()
    for _ in range(5):
        desk.tell(Event.LINK_LOST, Trouble.TOO_MANY)
        assert desk.wait(0.99) == []
        assert Action.DIAL in desk.wait(0.02)


def test_a_server_that_goes_away_is_dialled_at_once_but_only_once_so() -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.LINK_LOST, Trouble.GOING_AWAY)
    assert Action.DIAL in desk.wait(0.0)
    desk.tell(Event.LINK_LOST, Trouble.GOING_AWAY)
    assert desk.wait(0.0) == []


def test_released_before_connected_it_thinks_for_30_seconds_and_then_gives_up() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.tell(Event.RELEASED)
    desk.wait(30.1)
    assert desk.at(Phase.THINKING)
    assert desk.wait(0.2) == [Action.DISCARD, Action.DROP_ALL, Action.ABORT]
    assert desk.talk.trouble is Trouble.NO_CONNECTION


def test_lost_while_resting_it_falls_asleep_silently() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert desk.at(Phase.ASLEEP)
    assert desk.talk.trouble is None


@pytest.mark.parametrize(("whole", "after"), [(True, Phase.ASLEEP), (False, Phase.TROUBLE)])
def test_lost_while_speaking_what_is_here_is_played(whole: bool, after: Phase) -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    if whole:
        desk.tell(Event.AUDIO_DONE)
    assert desk.tell(Event.LINK_LOST, Trouble.LINK_LOST) == []
    assert desk.at(Phase.SPEAKING)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.talk.phase is after


def test_it_hangs_up_when_nobody_talks() -> None:
    desk = Desk(hang_up_after_s=7.0)
    desk.ask()
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.wait(6.9) == []
    assert desk.wait(0.2) == [Action.HANG_UP]
    assert desk.at(Phase.ASLEEP)


# ── the cards ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lost", "found", "trouble"),
    [
        (Event.MICROPHONE_LOST, Event.MICROPHONE_FOUND, Trouble.MICROPHONE_MISSING),
        (Event.SPEAKER_LOST, Event.SPEAKER_FOUND, Trouble.SPEAKER_MISSING),
    ],
)
def test_a_missing_card_is_shown_until_it_is_back_and_dials_nothing(
    lost: Event, found: Event, trouble: Trouble
) -> None:
    desk = Desk()
    desk.tell(lost)
    assert desk.talk.trouble is trouble
    assert Action.DIAL not in desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.wait(1000.0)
    assert desk.talk.trouble is trouble
    desk.tell(found)
    assert desk.at(Phase.ASLEEP)
    assert Action.DIAL in desk.tell(Event.PRESSED)


def test_a_microphone_that_goes_while_held_acts_as_a_release() -> None:
    desk = Desk()
    desk.tell(Event.PRESSED)
    desk.wait(1.0)
    desk.connect()
    assert desk.tell(Event.MICROPHONE_LOST) == [Action.END]
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    assert Action.HANG_UP in desk.tell(Event.SPEAKER_DRY)
    assert desk.talk.trouble is Trouble.MICROPHONE_MISSING


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("half", [Event.MICROPHONE_LOST, Event.SPEAKER_LOST])
def test_nobody_pays_for_a_box_that_lost_half_of_itself_while_it_thought(
    half: Event, mode: Mode
) -> None:
    desk = Desk(mode)
    desk.talk.phase, desk.talk.link = Phase.THINKING, Link.UP
    desk.tell(half)
    desk.tell(Event.THINK_FAILED)
    desk.wait(3.0)
    assert (desk.talk.phase, desk.talk.link) == (Phase.TROUBLE, Link.CLOSING)
    assert desk.talk.trouble in HARDWARE


@pytest.mark.parametrize("lost", [Event.MICROPHONE_LOST, Event.SPEAKER_LOST])
def test_open_dials_nothing_without_a_card_and_comes_back_with_it(lost: Event) -> None:
    desk = Desk(Mode.OPEN)
    desk.tell(Event.STARTED)
    desk.connect()
    assert desk.at(Phase.LISTENING)
    assert {Action.DISCARD, Action.HANG_UP} <= set(desk.tell(lost))
    desk.tell(Event.LINK_DOWN)
    assert Action.DIAL not in desk.wait(600.0)
    assert (desk.talk.phase, desk.talk.link) == (Phase.TROUBLE, Link.DOWN)
    back = {Event.MICROPHONE_LOST: Event.MICROPHONE_FOUND, Event.SPEAKER_LOST: Event.SPEAKER_FOUND}
    desk.tell(back[lost])
    assert desk.wait(1.0) == [Action.DIAL, Action.UPGRADE]


def test_a_press_that_meets_a_missing_microphone_in_tap_leaves_nothing_open() -> None:
    desk = Desk(Mode.TAP)
    desk.talk.phase, desk.talk.link = Phase.THINKING, Link.UP
    desk.tell(Event.MICROPHONE_LOST)
    assert Action.DISCARD in desk.tell(Event.PRESSED)
    assert desk.talk.trouble is Trouble.MICROPHONE_MISSING


def test_a_speaker_that_goes_while_it_speaks_ends_the_connection() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    assert Action.HANG_UP in desk.tell(Event.SPEAKER_LOST)
    assert desk.talk.trouble is Trouble.SPEAKER_MISSING


# ── tap ──────────────────────────────────────────────────────────────────────────────────────────


def in_tap() -> Desk:
    desk = Desk(Mode.TAP)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.connect()
    return desk


def test_tap_listens_and_may_be_billed_at_once() -> None:
    desk = Desk(Mode.TAP)
    assert desk.tell(Event.PRESSED) == [Action.LISTEN, Action.SEND, Action.DIAL, Action.UPGRADE]
    assert desk.tell(Event.RELEASED) == []
    assert desk.at(Phase.LISTENING)


def test_tap_doubts_once_that_it_is_quiet_while_somebody_seems_to_speak() -> None:
    desk = in_tap()
    desk.ear.speaking, desk.ear.unheard = False, True
    assert desk.wait(20.0) == [Action.PROVE]
    assert desk.at(Phase.LISTENING)
    assert desk.wait(3.9) == []
    assert desk.wait(0.1) == [Action.DISCARD, Action.HANG_UP]
    assert desk.at(Phase.ASLEEP)


def test_tap_goes_on_listening_when_the_agent_speaks_of_what_was_doubted() -> None:
    desk = in_tap()
    desk.ear.unheard = True
    desk.wait(21.0)
    desk.tell(Event.USER_SPOKE)
    assert Action.HANG_UP not in desk.wait(30.0)
    desk.tell(Event.USER_TEXT)
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    assert Action.PROVE in desk.wait(20.0), "and doubts anew"


@pytest.mark.parametrize("why", [Trouble.LINK_LOST, Trouble.GOING_AWAY])
def test_tap_dials_again_for_what_may_be_words(why: Trouble) -> None:
    desk = in_tap()
    desk.ear.speaking, desk.ear.unheard = False, True
    desk.tell(Event.LINK_LOST, why)
    assert desk.at(Phase.LISTENING)
    assert Action.DIAL in desk.wait(1.0)


def test_tap_listens_again_after_an_answer_when_the_room_is_quiet() -> None:
    desk = in_tap()
    desk.tell(Event.USER_SPOKE)
    desk.tell(Event.USER_TEXT)
    assert desk.tell(Event.ANSWER_BEGAN) == [Action.SHUT]
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.at(Phase.RESTING)
    assert desk.wait(0.3) == [Action.HEAR, Action.LISTEN, Action.SEND]
    assert desk.at(Phase.LISTENING)


def test_full_duplex_leaves_the_microphone_open() -> None:
    desk = Desk(Mode.TAP, half_duplex=False)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.connect()
    desk.tell(Event.USER_TEXT)
    assert desk.tell(Event.ANSWER_BEGAN) == []
    assert desk.tell(Event.USER_SPOKE)[0] is Action.CUT_BY_SERVER
    assert desk.at(Phase.LISTENING)


def test_a_press_while_tap_listens_ends_the_conversation_when_let_go() -> None:
    desk = in_tap()
    desk.wait(5.0)
    assert desk.tell(Event.PRESSED) == []
    assert desk.tell(Event.RELEASED) == [Action.DISCARD, Action.DROP_ALL, Action.HANG_UP]
    assert desk.at(Phase.ASLEEP)


def test_an_impatient_second_press_after_a_stop_ends_nothing() -> None:
    desk = in_tap()
    desk.tell(Event.USER_TEXT)
    desk.tell(Event.ANSWER_BEGAN)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    assert desk.at(Phase.LISTENING)
    desk.wait(1.4)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    assert desk.at(Phase.LISTENING)
    desk.wait(1.6)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    assert desk.at(Phase.ASLEEP)


def test_a_second_press_while_tap_connects_is_ignored_and_a_later_one_cancels() -> None:
    desk = Desk(Mode.TAP)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.wait(1.0)
    desk.tell(Event.PRESSED)
    assert desk.tell(Event.RELEASED) == []
    desk.wait(0.6)
    desk.tell(Event.PRESSED)
    assert desk.tell(Event.RELEASED) == [Action.DISCARD, Action.DROP_ALL, Action.ABORT]


def test_tap_hangs_up_when_nobody_talks() -> None:
    desk = in_tap()
    assert desk.wait(20.0) == [Action.DISCARD, Action.HANG_UP]
    assert desk.at(Phase.ASLEEP)


def test_tap_does_not_hang_up_on_somebody_who_talks() -> None:
    desk = in_tap()
    desk.wait(19.0)
    desk.tell(Event.USER_SPOKE)
    assert desk.wait(59.0) == []
    assert Action.HANG_UP in desk.wait(2.0)


def test_tap_lost_amid_words_redials_and_lost_in_silence_falls_asleep() -> None:
    desk = in_tap()
    desk.ear.speaking = False
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert desk.at(Phase.ASLEEP)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    desk.connect()
    desk.tell(Event.USER_SPOKE)
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert desk.at(Phase.LISTENING)
    assert Action.DIAL in desk.wait(0.5)


def in_open() -> Desk:
    desk = Desk(Mode.OPEN)
    desk.tell(Event.STARTED)
    desk.connect()
    return desk


def test_open_connects_from_the_start_and_listens() -> None:
    desk = Desk(Mode.OPEN)
    assert desk.tell(Event.STARTED) == [Action.LISTEN, Action.SEND, Action.DIAL, Action.UPGRADE]
    desk.connect()
    assert desk.at(Phase.LISTENING)
    assert desk.wait(500.0) == []


def test_a_press_while_open_listens_mutes_when_let_go_and_the_next_unmutes() -> None:
    desk = in_open()
    desk.wait(5.0)
    desk.tell(Event.PRESSED)
    assert not desk.is_muted()
    desk.tell(Event.RELEASED)
    assert desk.is_muted()
    assert desk.at(Phase.RESTING)
    desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    assert not desk.is_muted()
    assert desk.at(Phase.LISTENING)


def test_a_long_press_forgets_and_open_comes_back() -> None:
    desk = in_open()
    desk.wait(5.0)
    desk.tell(Event.PRESSED)
    assert Action.FORGET in desk.wait(3.0)
    desk.tell(Event.RELEASED)
    assert not desk.talk.muted
    desk.tell(Event.LINK_DOWN)
    assert Action.DIAL in desk.wait(1.0)
    desk.connect()
    assert desk.at(Phase.LISTENING)


def test_a_long_press_in_tap_forgets_and_hangs_up() -> None:
    desk = in_tap()
    desk.wait(5.0)
    desk.tell(Event.PRESSED)
    assert desk.wait(3.0) == [
        Action.DISCARD,
        Action.DROP_ALL,
        Action.FORGET,
        Action.HANG_UP,
    ]
    assert desk.tell(Event.RELEASED) == []


def test_a_press_that_stops_an_answer_is_never_a_long_one() -> None:
    desk = in_tap()
    desk.tell(Event.USER_TEXT)
    desk.tell(Event.ANSWER_BEGAN)
    desk.tell(Event.PRESSED)
    assert Action.FORGET not in desk.wait(10.0)


def test_open_comes_back_by_itself_whatever_it_did() -> None:
    for loss_after in (Event.LINK_UP, Event.USER_TEXT, Event.ANSWER_BEGAN):
        desk = in_open()
        if loss_after is not Event.LINK_UP:
            desk.tell(Event.USER_TEXT)
        if loss_after is Event.ANSWER_BEGAN:
            desk.tell(Event.ANSWER_BEGAN)
        desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
        assert Action.DIAL in desk.wait(1.0)


def test_open_does_not_repeat_a_refused_key_until_a_press() -> None:
    desk = in_open()
    desk.tell(Event.LINK_LOST, Trouble.KEY_REFUSED)
    assert Action.DIAL not in desk.wait(500.0)
    assert Action.DIAL in desk.tell(Event.PRESSED)


def test_ask_wakes_the_box_and_says_its_words_when_connected() -> None:
    desk = Desk()
    assert desk.tell(Event.ASKED) == [Action.DIAL, Action.UPGRADE]
    assert desk.at(Phase.THINKING)
    assert desk.tell(Event.LINK_UP) == [Action.SAY]
    desk.tell(Event.ANSWER_BEGAN)
    assert desk.at(Phase.SPEAKING)


def test_ask_goes_at_once_where_it_is_connected_and_not_while_somebody_talks() -> None:
    desk = Desk()
    desk.ask()
    assert desk.tell(Event.ASKED) == []
    desk.be_answered()
    desk.tell(Event.AUDIO_DONE)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.tell(Event.ASKED) == [Action.SAY]


def test_words_whose_answer_was_lost_are_asked_again() -> None:
    desk = Desk()
    desk.ask()
    desk.tell(Event.TURN_SENT)
    desk.tell(Event.USER_TEXT)
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert desk.at(Phase.THINKING)
    assert Action.DIAL in desk.wait(0.5)
    assert desk.tell(Event.LINK_UP) == [Action.ASK_AGAIN]
    desk.tell(Event.ANSWER_BEGAN)
    assert desk.at(Phase.SPEAKING)


def test_an_answer_that_had_begun_is_not_repeated() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    desk.tell(Event.SPEAKER_DRY)
    assert desk.at(Phase.TROUBLE)
    assert Action.DIAL not in desk.wait(100.0)


def test_at_a_cap_the_answer_is_finished_and_then_nothing_is_dialled() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    assert desk.tell(Event.CAP_REACHED) == []
    desk.tell(Event.AUDIO_DONE)
    assert Action.HANG_UP in desk.tell(Event.SPEAKER_DRY)
    assert desk.talk.trouble is Trouble.CAP_REACHED
    desk.tell(Event.LINK_DOWN)
    assert Action.DIAL not in desk.tell(Event.PRESSED)
    desk.tell(Event.RELEASED)
    assert desk.talk.trouble is Trouble.CAP_REACHED
    desk.tell(Event.CAP_LIFTED)
    assert Action.DIAL in desk.tell(Event.PRESSED)


def test_a_session_is_renewed_between_turns() -> None:
    desk = Desk(hang_up_after_s=600.0, max_conversation_s=0.0)
    desk.ask()
    for _ in range(12):
        desk.be_answered()
        desk.tell(Event.AUDIO_DONE)
        desk.tell(Event.SPEAKER_DRY)
        assert desk.wait(550.0).count(Action.HANG_UP) == (desk.talk.link is Link.CLOSING)
        if desk.talk.link is Link.CLOSING:
            break
        desk.ask()
    assert desk.at(Phase.RESTING)
    assert desk.tell(Event.LINK_DOWN) == [Action.DIAL, Action.UPGRADE]
    desk.connect()
    assert desk.at(Phase.RESTING)


def test_a_press_gives_a_permission_and_means_nothing_else() -> None:
    desk = Desk()
    desk.ask()
    desk.be_answered()
    desk.tell(Event.PERMISSION_ASKED)
    assert desk.tell(Event.PRESSED) == [Action.ALLOW]
    desk.tell(Event.RELEASED)
    assert desk.at(Phase.SPEAKING)
    desk.tell(Event.PERMISSION_ASKED)
    assert desk.wait(10.0) == [Action.DENY]


# ── at random ────────────────────────────────────────────────────────────────────────────────────

BUSY = (Phase.LISTENING, Phase.THINKING, Phase.RESTING)
NEWS = (
    Event.TURN_SENT,
    Event.USER_SPOKE,
    Event.USER_TEXT,
    Event.STILL_THINKING,
    Event.THINK_FAILED,
    Event.SAY_REFUSED,
    Event.ANSWER_BEGAN,
    Event.AUDIO_DONE,
)


FINGERS = (
    Event.PRESSED,
    Event.RELEASED,
    Event.MUTED,
    Event.UNMUTED,
    Event.ASKED,
    Event.FORGOTTEN,
    Event.CAP_REACHED,
    Event.CAP_LIFTED,
    Event.PERMISSION_ASKED,
    Event.PERMISSION_OFF,
)


class Walk(RuleBasedStateMachine):
    """Whatever may happen, in any order, with the world answering as it must."""

    mode = Mode.HOLD

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(self.mode)
        self.sockets = 0

    def _tell(self, event: Event, why: Trouble | None = None) -> None:
        self.desk.done.clear()
        self.desk.tell(event, why)
        self._follow()

    def _follow(self) -> None:
        if self.desk.talk.muted:
            assert not {Action.LISTEN, Action.SEND} & set(self.desk.done), "heard while muted"
        for action in self.desk.done:
            if action is Action.DIAL:
                self.sockets += 1
                assert self.sockets == 1, "two sockets at once"
                assert not self.desk.talk.capped, "dialled for money that is spent"
        self.desk.done.clear()

    @rule(event=st.sampled_from(FINGERS))
    def a_finger(self, event: Event) -> None:
        self._tell(event)

    @rule(
        event=st.sampled_from(
            [
                Event.MICROPHONE_LOST,
                Event.MICROPHONE_FOUND,
                Event.SPEAKER_LOST,
                Event.SPEAKER_FOUND,
            ]
        )
    )
    def a_plug(self, event: Event) -> None:
        self._tell(event)

    @precondition(lambda self: self.desk.talk.link is Link.DIALING)
    @rule()
    def it_connects(self) -> None:
        self._tell(Event.LINK_UP)

    @precondition(lambda self: self.desk.talk.link in (Link.DIALING, Link.UP))
    @rule(why=st.sampled_from(sorted(set(Trouble) - HARDWARE, key=lambda it: it.slug)))
    def it_breaks(self, why: Trouble) -> None:
        self.sockets = 0
        self._tell(Event.LINK_LOST, why)

    @precondition(lambda self: self.desk.talk.link is Link.CLOSING)
    @rule()
    def it_closes(self) -> None:
        self.sockets = 0
        self._tell(Event.LINK_DOWN)

    @precondition(lambda self: self.desk.talk.link is Link.UP)
    @rule(event=st.sampled_from(NEWS))
    def the_agent_speaks(self, event: Event) -> None:
        self._tell(event)

    @precondition(lambda self: not self.desk.mouth.dry)
    @rule()
    def the_speaker_runs_dry(self) -> None:
        self._tell(Event.SPEAKER_DRY)

    @rule(sent=st.booleans(), withheld=st.booleans(), early=st.booleans(), unsent=st.booleans())
    def the_ear_moves_on(self, sent: bool, withheld: bool, early: bool, unsent: bool) -> None:
        self.desk.ear.unsent = unsent and self.desk.ear.pending
        self.desk.ear.sent = sent and self.desk.ear.speaking
        self.desk.ear.heard_early = early
        held = self.desk.talk.phase is Phase.LISTENING and self.mode is Mode.HOLD
        self.desk.mouth.withheld = withheld and held

    @rule(seconds=st.sampled_from([0.05, 0.25, 1.0, 5.0, 31.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.desk.wait(seconds)
        self._follow()

    @invariant()
    def every_busy_phase_ends(self) -> None:
        talk = self.desk.talk
        if talk.phase in BUSY:
            assert talk.next_deadline_s < float("inf"), talk.phase
        elif talk.phase is Phase.SPEAKING and self.desk.mouth.dry:
            assert talk.armed(Event.SOUND_OVER)

    @invariant()
    def no_phase_but_sleep_lasts_for_ever(self) -> None:
        talk = self.desk.talk
        if talk.phase is Phase.TROUBLE and not talk.missing and not self.waits_for_its_link():
            assert talk.next_deadline_s < float("inf")

    def waits_for_its_link(self) -> bool:
        """In `open`: what is shown then ends with the link, with the cap, or by a person."""
        return False

    @invariant()
    def trouble_has_a_name_and_sleep_has_none(self) -> None:
        talk = self.desk.talk
        if talk.phase is Phase.TROUBLE:
            assert talk.trouble is not None
        if talk.phase is Phase.ASLEEP:
            assert talk.trouble is None

    @invariant()
    def nothing_is_heard_while_muted(self) -> None:
        if self.desk.talk.muted:
            assert self.desk.talk.phase is not Phase.LISTENING

    @invariant()
    def in_half_duplex_it_is_shut_while_an_answer_sounds_and_soon_open_again(self) -> None:
        desk, talk = self.desk, self.desk.talk
        if not desk.is_open:
            return
        if desk.is_shut:
            assert not desk.mouth.dry or talk.armed(Event.ECHO_OVER)
        elif self.mode is not Mode.HOLD:
            assert talk.phase is not Phase.SPEAKING or desk.mouth.dry

    @invariant()
    def a_link_that_stands_has_no_trouble(self) -> None:
        talk = self.desk.talk
        if talk.link is Link.UP and talk.phase is not Phase.TROUBLE:
            assert talk.trouble is None

    @invariant()
    def who_rests_between_two_turns_will_listen(self) -> None:
        talk = self.desk.talk
        rests = talk.phase is Phase.RESTING and talk.link is Link.UP
        if self.mode is not Mode.HOLD and rests and not talk.muted:
            assert talk._echoes

    @invariant()
    def nobody_rests_without_a_card(self) -> None:
        assert self.desk.talk.phase is not Phase.RESTING or not self.desk.talk.missing

    @invariant()
    def asleep_nobody_pays(self) -> None:
        if self.desk.talk.phase is Phase.ASLEEP and self.mode is not Mode.OPEN:
            assert self.desk.talk.link in (Link.DOWN, Link.CLOSING)

    @invariant()
    def what_is_spent_is_not_spent_again(self) -> None:
        if self.desk.talk.capped and self.desk.talk.link is Link.DOWN:
            assert not self.desk.talk.armed(Event.REDIAL_DUE)


class TapWalk(Walk):
    """The same in the other profile."""

    mode = Mode.TAP


class OpenWalk(Walk):
    """And in the third, which begins by itself."""

    mode = Mode.OPEN

    def __init__(self) -> None:
        super().__init__()
        self.lost: Trouble | None = None  # and nobody has pressed or unmuted since
        self._tell(Event.STARTED)

    def _tell(self, event: Event, why: Trouble | None = None) -> None:
        talk = self.desk.talk
        acts = event is Event.PRESSED and not talk.held and not talk.asks_permission
        if event is Event.LINK_LOST:
            self.lost = why
        elif acts or event is Event.LINK_UP or (event is Event.UNMUTED and talk.muted):
            self.lost = None
        super()._tell(event, why)

    @property
    def is_wanted(self) -> bool:
        talk = self.desk.talk
        return talk._stands and not talk.muted and not talk.missing

    def waits_for_its_link(self) -> bool:
        talk = self.desk.talk
        return self.is_wanted and talk.link is not Link.UP and talk.trouble is not None

    @invariant()
    def it_is_connected_or_on_its_way_or_says_why_not(self) -> None:
        talk = self.desk.talk
        if not self.is_wanted or talk.link is not Link.DOWN:
            return
        if talk.phase is not Phase.TROUBLE:
            assert talk.armed(Event.REDIAL_DUE) or talk.capped
        elif not talk.capped and not talk.armed(Event.REDIAL_DUE):
            assert self.lost is not None
            assert self.lost.retry is Retry.ON_PRESS

    @invariant()
    def what_keeps_it_down_is_told(self) -> None:
        """Never asleep then, whatever was shown and has ended meanwhile."""
        talk = self.desk.talk
        if self.is_wanted and talk.link is not Link.UP and (talk.capped or self.lost):
            assert talk.phase is not Phase.ASLEEP
        if talk.phase is Phase.TROUBLE and talk.next_deadline_s == float("inf"):
            lasting = {Trouble.CAP_REACHED} if talk.capped else {self.lost, Trouble.NO_CONNECTION}
            assert talk.trouble in lasting | HARDWARE


TestWalk = Walk.TestCase
TestTapWalk = TapWalk.TestCase
TestOpenWalk = OpenWalk.TestCase
TestWalk.settings = TestTapWalk.settings = TestOpenWalk.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None
)


# ── half an answer ───────────────────────────────────────────────────────────────────────────────


def half_an_answer(mode: Mode) -> Desk:
    """The box rests after an answer that dried up before its end was told."""
    desk = Desk(mode)
    desk.talk.phase, desk.talk.link = Phase.SPEAKING, Link.UP
    desk.mouth.dry = True
    assert Action.PROVE in desk.tell(Event.SPEAKER_DRY)
    desk.wait(1.5)
    assert desk.talk.phase is (Phase.RESTING if mode is Mode.HOLD else Phase.LISTENING)
    desk.wait(0.5)
    desk.ear.speaking = False  # `tap` listens again, to nobody
    return desk


@pytest.mark.parametrize("mode", [Mode.HOLD, Mode.TAP])  # `open` listens on, and dials again
def test_a_link_that_dies_soon_after_half_an_answer_is_told(mode: Mode) -> None:
    desk = half_an_answer(mode)
    desk.wait(7.0)
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert (desk.talk.phase, desk.talk.trouble) == (Phase.TROUBLE, Trouble.LINK_LOST)


def test_a_link_that_is_lost_long_after_it_is_not() -> None:
    desk = half_an_answer(Mode.HOLD)
    desk.wait(11.0)
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert desk.talk.phase is Phase.ASLEEP


@pytest.mark.parametrize("sign", [Event.AUDIO_DONE, Event.USER_TEXT, Event.USER_SPOKE])
def test_a_sign_of_life_after_it_makes_the_answer_whole(sign: Event) -> None:
    desk = half_an_answer(Mode.HOLD)
    desk.tell(sign)
    desk.talk.phase = Phase.RESTING
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert desk.talk.phase is Phase.ASLEEP


def test_an_answer_whose_end_was_told_asks_for_no_proof() -> None:
    desk = Desk()
    desk.talk.phase, desk.talk.link = Phase.SPEAKING, Link.UP
    desk.mouth.dry = desk.mouth.done = True
    assert Action.PROVE not in desk.tell(Event.SPEAKER_DRY)
    desk.tell(Event.LINK_LOST, Trouble.LINK_LOST)
    assert desk.talk.phase is Phase.ASLEEP
