"""The record of a turn: what begins and ends one, in either profile, and what is noted of it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from appliance.conversation import Event, Phase
from appliance.errors import Trouble
from appliance.host.turns import Moment, Outcome, Record, Turns, line

A, L, T, S, R, X = (
    Phase.ASLEEP,
    Phase.LISTENING,
    Phase.THINKING,
    Phase.SPEAKING,
    Phase.RESTING,
    Phase.TROUBLE,
)


class House:
    """What the daemon does with `Turns`: a second passes before each thing that happens."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.phase = A
        self.now_s = 0.0
        self.told: list[Record] = []
        self.number = 0

    def on(self, event: Event, after: Phase, trouble: Trouble | None = None) -> None:
        self.now_s += 1
        before, self.phase = self.phase, after
        if after is L and before is not L:
            self.number += 1
        record = self.turns.handled(
            event, before, after, self.now_s, number=self.number, trouble=trouble
        )
        if record is not None:
            self.told.append(record)

    def mark(self, moment: Moment, number: int | None = None) -> None:
        self.now_s += 1
        self.turns.mark(moment, self.now_s, number)

    def answered(self) -> None:
        """From the release in `hold` to the middle of the answer: ends at 10 s if it began at 1."""
        self.mark(Moment.FIRST_BYTE_SENT)
        self.on(Event.TAIL_OVER, T)
        self.mark(Moment.TURN_END, self.number)
        self.mark(Moment.USER_TEXT, self.number)
        self.on(Event.USER_TEXT, T)
        self.mark(Moment.FIRST_ANSWER_BYTE, self.number)
        self.on(Event.ANSWER_BEGAN, S)
        self.mark(Moment.FIRST_SAMPLE)

    def outcomes(self) -> list[object]:
        return [record["outcome"] for record in self.told]


def record(**known: Any) -> Record:
    return {
        "turn": 1,
        "request_id": None,
        "outcome": "answered",
        **dict.fromkeys((moment.value for moment in Moment), None),
        **known,
    }


# ── hold ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_turn_in_hold_from_the_press_to_the_last_sample() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.turns.connected("r-1")
    it.answered()
    it.on(Event.AUDIO_DONE, S)
    assert it.told == []
    it.on(Event.SPEAKER_DRY, R)
    assert it.told == [
        record(
            request_id="r-1",
            press_s=1.0,
            first_byte_sent_s=2.0,
            turn_end_s=4.0,
            user_text_s=5.0,
            first_answer_byte_s=7.0,
            first_sample_s=9.0,
            last_sample_s=11.0,
        )
    ]
    it.on(Event.QUIET_OVER, A)
    it.on(Event.LINK_DOWN, A)
    assert len(it.told) == 1


def test_an_answer_that_dries_and_goes_on_ends_with_its_very_last_sample() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.answered()
    it.on(Event.SPEAKER_DRY, S)
    it.on(Event.ANSWER_BEGAN, S)
    it.mark(Moment.FIRST_ANSWER_BYTE, 1)
    it.mark(Moment.FIRST_SAMPLE)
    it.on(Event.SPEAKER_DRY, S)
    it.on(Event.SOUND_OVER, R)
    assert it.told[0]["first_answer_byte_s"] == 7.0
    assert it.told[0]["first_sample_s"] == 9.0
    assert it.told[0]["last_sample_s"] == it.now_s - 1


def test_a_press_in_the_answer_ends_its_turn_and_its_sound_and_begins_another() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.answered()
    it.on(Event.PRESSED, L)
    pressed_s = it.now_s
    assert it.outcomes() == ["interrupted"]
    assert it.told[0]["last_sample_s"] == pressed_s
    it.answered()
    it.on(Event.SPEAKER_DRY, R)
    assert it.outcomes() == ["interrupted", "answered"]
    assert (it.told[1]["turn"], it.told[1]["press_s"]) == (2, pressed_s)


def test_a_press_while_it_thinks_supersedes_the_question() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.mark(Moment.FIRST_BYTE_SENT)
    it.on(Event.TAIL_OVER, T)
    it.on(Event.PRESSED, L)
    assert it.told == [record(outcome="superseded", press_s=1.0, first_byte_sent_s=2.0)]


def test_what_belongs_to_an_older_question_is_not_noted() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.on(Event.TAIL_OVER, T)
    it.on(Event.PRESSED, L)  # both wait for a connection
    it.on(Event.TAIL_OVER, T)
    for moment in (Moment.TURN_END, Moment.USER_TEXT, Moment.FIRST_ANSWER_BYTE):
        it.mark(moment, 1)
    it.mark(Moment.FIRST_ANSWER_BYTE)
    it.mark(Moment.FIRST_SAMPLE)
    it.on(Event.SPEAKER_DRY, T)
    it.mark(Moment.USER_TEXT, 2)
    it.on(Event.THINK_OVER, X, Trouble.NO_ANSWER)
    assert it.told[1] == record(turn=2, outcome="no-answer", press_s=3.0, user_text_s=it.now_s - 1)


def test_a_mere_tap_is_withdrawn() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.on(Event.RELEASED, A)
    assert it.told == [record(outcome="withdrawn", press_s=1.0)]


def test_a_press_within_the_tail_goes_on_with_the_same_turn() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.on(Event.RELEASED, L)
    it.on(Event.PRESSED, L)
    it.on(Event.RELEASED, L)
    it.answered()
    it.on(Event.SPEAKER_DRY, R)
    assert len(it.told) == 1
    assert it.told[0]["press_s"] == 1.0


def test_a_press_that_opens_no_ear_is_no_turn() -> None:
    it = House()
    it.on(Event.PRESSED, A)  # muted
    it.on(Event.RELEASED, A)
    it.on(Event.PRESSED, X, Trouble.MICROPHONE_MISSING)
    assert it.told == []


def test_muted_in_the_answer_a_press_ends_the_turn_and_begins_none() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.answered()
    it.on(Event.PRESSED, R)
    assert it.outcomes() == ["interrupted"]
    assert it.told[0]["last_sample_s"] == it.now_s
    it.on(Event.RELEASED, R)
    it.on(Event.QUIET_OVER, A)
    assert len(it.told) == 1


def test_every_trouble_ends_a_turn_by_its_own_word() -> None:
    it = House()
    for trouble in Trouble:
        it.on(Event.PRESSED, L)
        it.on(Event.TAIL_OVER, T)
        it.on(Event.WAIT_OVER, X, trouble)
    assert it.outcomes() == [trouble.slug for trouble in Trouble]


def test_a_trouble_that_is_waited_out_is_no_outcome() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.on(Event.LINK_LOST, L, Trouble.NO_NETWORK)
    it.answered()
    it.on(Event.SPEAKER_DRY, R, Trouble.NO_NETWORK)
    assert it.outcomes() == ["answered"]


def test_words_that_are_answered_after_the_trouble_are_a_turn_without_a_press() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.on(Event.TAIL_OVER, T)
    it.on(Event.TEXT_MISSING, X, Trouble.HEARD_NOTHING)
    it.mark(Moment.USER_TEXT, 1)
    it.on(Event.USER_TEXT, T)
    it.mark(Moment.FIRST_ANSWER_BYTE, 1)
    it.on(Event.ANSWER_BEGAN, S)
    it.on(Event.SPEAKER_DRY, R)
    assert it.outcomes() == ["heard-nothing", "answered"]
    assert it.told[1]["press_s"] is None
    assert (it.told[1]["turn"], it.told[1]["user_text_s"]) == (1, 5.0)


def test_words_that_are_understood_when_nobody_waits_for_an_answer_are_no_turn() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.on(Event.TAIL_OVER, T)
    it.on(Event.PRESSED, L)
    it.on(Event.RELEASED, R)  # a tap has called it off
    it.mark(Moment.USER_TEXT, 1)
    it.on(Event.USER_TEXT, R)
    it.on(Event.QUIET_OVER, A)
    assert it.outcomes() == ["superseded", "withdrawn"]


def test_an_answer_without_words_or_sound_of_its_own_is_none() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.mark(Moment.FIRST_BYTE_SENT)
    it.on(Event.TAIL_OVER, T)
    it.on(Event.AUDIO_DONE, R)
    assert it.outcomes() == ["unanswered"]


def test_an_answer_before_any_text_counts_once_the_end_was_sent() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.mark(Moment.FIRST_ANSWER_BYTE, 1)  # of whatever: nobody had heard all of it
    it.on(Event.TAIL_OVER, T)
    it.mark(Moment.TURN_END, 1)
    it.mark(Moment.FIRST_ANSWER_BYTE)
    it.on(Event.ANSWER_BEGAN, S)
    it.on(Event.SPEAKER_DRY, R)
    assert it.told[0]["first_answer_byte_s"] == 5.0


def test_what_nobody_asked_for_is_no_turn() -> None:
    it = House()
    it.mark(Moment.FIRST_ANSWER_BYTE, 0)
    it.on(Event.ANSWER_BEGAN, S)
    it.mark(Moment.FIRST_SAMPLE)
    it.on(Event.SPEAKER_DRY, R)
    it.on(Event.QUIET_OVER, A)
    assert it.told == []


def test_a_turn_has_the_session_that_served_it() -> None:
    it = House()
    it.turns.connected("r-1")
    it.on(Event.PRESSED, L)
    it.turns.connected("")  # lost
    it.on(Event.TAIL_OVER, T)
    it.turns.connected("r-2")
    it.on(Event.THINK_OVER, X, Trouble.NO_ANSWER)
    it.turns.connected("")
    it.on(Event.PRESSED, L)
    it.on(Event.RELEASED, A)
    it.turns.connected("r-3")
    it.on(Event.PRESSED, L)
    it.turns.connected("")
    it.on(Event.WAIT_OVER, X, Trouble.NO_CONNECTION)
    assert [one["request_id"] for one in it.told] == ["r-2", None, "r-3"]


# ── tap ──────────────────────────────────────────────────────────────────────────────────────────


def test_in_tap_the_first_turn_begins_with_the_press_and_the_next_with_the_voice() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.on(Event.RELEASED, L)
    it.mark(Moment.FIRST_BYTE_SENT)
    it.on(Event.USER_SPOKE, L)
    it.mark(Moment.USER_TEXT, 1)
    it.on(Event.USER_TEXT, T)
    it.mark(Moment.FIRST_ANSWER_BYTE, 2)  # a stream counts on with each thing that was taken
    it.on(Event.ANSWER_BEGAN, S)
    it.mark(Moment.FIRST_SAMPLE)
    it.on(Event.SPEAKER_DRY, R)  # until the room is quiet
    assert it.told == [
        record(
            press_s=1.0,
            first_byte_sent_s=3.0,
            user_text_s=5.0,
            first_answer_byte_s=7.0,
            first_sample_s=9.0,
            last_sample_s=10.0,
        )
    ]
    it.on(Event.ECHO_OVER, L)
    it.on(Event.USER_SPOKE, L)
    it.mark(Moment.FIRST_BYTE_SENT)  # a stream has none that is the turn's
    it.mark(Moment.USER_TEXT, 3)
    it.on(Event.USER_TEXT, T)
    it.on(Event.THINK_OVER, X, Trouble.NO_ANSWER)
    assert it.told[1] == record(turn=2, outcome="no-answer", user_text_s=14.0)


def test_in_full_duplex_a_turn_ends_where_it_listens_again() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.mark(Moment.USER_TEXT, 1)
    it.on(Event.USER_TEXT, T)
    it.mark(Moment.FIRST_ANSWER_BYTE, 2)
    it.on(Event.ANSWER_BEGAN, S)
    it.on(Event.SPEAKER_DRY, L)
    assert it.outcomes() == ["answered"]
    it.on(Event.QUIET_OVER, A)
    assert len(it.told) == 1


def test_who_speaks_into_an_answer_ends_it_and_begins_a_turn() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.mark(Moment.USER_TEXT, 1)
    it.on(Event.USER_TEXT, T)
    it.on(Event.USER_SPOKE, L)
    it.mark(Moment.USER_TEXT, 2)
    it.on(Event.USER_TEXT, T)
    it.mark(Moment.FIRST_ANSWER_BYTE, 3)
    it.on(Event.ANSWER_BEGAN, S)
    it.mark(Moment.FIRST_SAMPLE)
    it.on(Event.USER_SPOKE, L)
    assert it.outcomes() == ["superseded", "interrupted"]
    assert [one["turn"] for one in it.told] == [1, 2]
    assert it.told[1]["last_sample_s"] == it.now_s
    it.on(Event.LINK_LOST, X, Trouble.LINK_LOST)
    assert it.told[2] == record(turn=3, outcome="link-lost")


def test_who_speaks_into_an_answer_in_hold_ends_it_and_begins_none() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.answered()
    it.on(Event.USER_SPOKE, R)
    it.on(Event.QUIET_OVER, A)
    assert it.outcomes() == ["interrupted"]


def test_a_press_that_asks_for_the_end_begins_nothing() -> None:
    it = House()
    it.on(Event.PRESSED, L)
    it.mark(Moment.FIRST_BYTE_SENT)
    it.on(Event.PRESSED, L)
    it.on(Event.RELEASED, A)
    assert it.told == [record(outcome="unanswered", press_s=1.0, first_byte_sent_s=2.0)]


# ── always ───────────────────────────────────────────────────────────────────────────────────────


def test_a_line_of_the_journal_has_seconds_since_the_press_and_no_holes() -> None:
    it = House()
    it.turns.connected("r-1")
    it.on(Event.PRESSED, L)
    it.answered()
    it.on(Event.SPEAKER_DRY, R)
    assert line(it.told[0]) == (
        "turn 1: answered, sent +1.000 s, end +3.000 s, text +4.000 s, answer +6.000 s, "
        "sound +8.000 s, silence +9.000 s; request r-1"
    )
    assert line(record(outcome="withdrawn", press_s=5.0)) == "turn 1: withdrawn"
    assert line(record(outcome="withdrawn")) == "turn 1: withdrawn"
    assert line(record(user_text_s=5.0, first_sample_s=5.5)) == (
        "turn 1: answered, text +0.000 s, sound +0.500 s"
    )


WORDS = {outcome.value for outcome in Outcome} | {trouble.slug for trouble in Trouble}


@given(st.data())
def test_whatever_happens_each_turn_is_told_once_and_in_order(data: st.DataObject) -> None:
    turns, now_s, begun, told = Turns(), 0.0, 0, []
    phases = st.sampled_from(Phase)
    phase = Phase.ASLEEP
    for _ in range(data.draw(st.integers(0, 30))):
        now_s += 1
        was_open = turns._turn is not None
        if data.draw(st.booleans()):
            moment = data.draw(st.sampled_from(list(Moment)[1:]))
            turns.mark(moment, now_s, data.draw(st.none() | st.integers(0, 9)))
            begun += turns._turn is not None and not was_open
        else:
            before, phase = phase, data.draw(phases)
            trouble = data.draw(st.sampled_from(Trouble)) if phase is Phase.TROUBLE else None
            one = turns.handled(
                data.draw(st.sampled_from(Event)),
                before,
                phase,
                now_s,
                number=data.draw(st.integers(0, 9)),
                trouble=trouble,
            )
            assert (one is not None) <= was_open
            told += [one] if one else []
            begun += turns._turn is not None and (not was_open or one is not None)
    assert len(told) == begun - (turns._turn is not None)
    for one in told:
        assert one.keys() == record().keys()
        assert one["outcome"] in WORDS
        first, last = one["first_sample_s"], one["last_sample_s"]
        assert last is None or (isinstance(last, float) and isinstance(first, float))
        times = [at for at in (one[moment.value] for moment in Moment) if isinstance(at, float)]
        assert all(0 < at <= now_s for at in times)
        assert line(one).startswith(f"turn {one['turn']}: ")
