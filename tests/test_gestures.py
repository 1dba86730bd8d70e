"""What is believed of a contact, and what a finger means. Pure: times are arguments."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.panel.gestures import (
    CONFIRM_S,
    PAIR_S,
    SETTLE_S,
    Contact,
    Finger,
    Gesture,
    Habits,
    Touch,
)
from appliance.panel.pins import BOUNCE_S

PRESS, RELEASE, DOUBLE = Gesture.PRESS, Gesture.RELEASE, Gesture.DOUBLE
TALK = Habits(short_s=0.25)


# Contacts


class World:
    """A contact and what truly becomes of it: edges may be lost, and looks are taken when due."""

    def __init__(self, *, closed: bool = False) -> None:
        self.now_s = 0.0
        self.level = closed
        self.contact = Contact(self.now_s)
        self.told: list[tuple[float, Touch]] = []
        self.opened_s: float | None = None  # when it was told that it is open at the start

    def set(self, level: bool, *, lost: bool = False) -> None:
        if level is not self.level:
            self.level = level
            if not lost:
                self._tell(self.contact.edge(level, self.now_s))

    def pass_(self, seconds: float) -> int:
        """Let time pass; how often the contact was looked at."""
        end_s = self.now_s + seconds
        looks = 0
        while self.contact.next_look_s <= end_s:
            self.now_s = self.contact.next_look_s
            self._tell(self.contact.look(self.level, self.now_s))
            looks += 1
            assert self.contact.next_look_s > self.now_s
        self.now_s = end_s
        return looks

    def _tell(self, touch: Touch | None) -> None:
        if touch is Touch.OPEN:
            assert self.opened_s is None
            assert self.told == []
            self.opened_s = self.now_s
        elif touch is not None:
            self.told.append((round(self.now_s, 6), touch))

    @property
    def touches(self) -> list[Touch]:
        return [touch for _, touch in self.told]


def test_an_edge_is_believed_at_once() -> None:
    world = World()
    world.pass_(10)
    world.set(True)
    world.pass_(2)
    world.set(False)
    assert world.told == [(10.0, Touch.PRESSED), (12.0, Touch.RELEASED)]


def test_an_open_contact_is_not_looked_at() -> None:
    world = World()
    assert world.pass_(1) == 1, "once, when it starts"
    assert world.contact.next_look_s == inf
    world.set(True)
    world.set(False)
    assert world.pass_(3600) == 1, "once, after its edge"
    assert world.contact.next_look_s == inf


def test_a_contact_that_is_closed_for_days_is_hardly_looked_at() -> None:
    world = World(closed=True)
    assert world.pass_(60) < 40
    assert world.pass_(86_400) < 40
    assert world.pass_(86_400) < 5


@pytest.mark.parametrize("held_s", [0.1, 1.0, 5.0, 60.0])
def test_a_release_that_was_lost_is_noticed_within_a_quarter_of_the_press(held_s: float) -> None:
    world = World()
    world.pass_(1)
    world.set(True)
    world.pass_(held_s)
    world.set(False, lost=True)
    world.pass_(max(SETTLE_S, held_s / 4) + 2 * CONFIRM_S)
    assert world.touches == [Touch.PRESSED, Touch.RELEASED]
    world.set(True)
    assert world.touches[-1] is Touch.PRESSED, "the next press counts"


def test_an_edge_that_bounced_away_is_healed_by_the_look_after_it() -> None:
    world = World()
    world.pass_(1)
    world.set(True)
    world.set(False, lost=True)
    world.pass_(SETTLE_S + CONFIRM_S)
    assert world.touches == [Touch.PRESSED, Touch.RELEASED]
    world.set(True)
    world.set(False)
    world.set(True, lost=True)
    world.pass_(SETTLE_S + CONFIRM_S)
    assert world.touches[2:] == [Touch.PRESSED, Touch.RELEASED, Touch.PRESSED]


def test_a_spike_that_a_look_meets_is_nothing() -> None:
    assert CONFIRM_S > BOUNCE_S, "longer than what the debouncing keeps from us"
    contact = Contact(0.0)
    contact.look(False, SETTLE_S)
    assert contact.edge(True, 1.0) is Touch.PRESSED
    assert contact.look(False, 1.05) is None
    assert contact.next_look_s == pytest.approx(1.07)
    assert contact.look(True, 1.07) is None
    assert contact.is_closed
    assert contact.look(False, 1.2) is None, "the doubt of before is forgotten"


def test_an_edge_while_in_doubt_settles_it() -> None:
    contact = Contact(0.0)
    contact.edge(True, 1.0)
    assert contact.look(False, 1.05) is None
    assert contact.edge(False, 1.06) is Touch.RELEASED
    assert contact.look(False, 1.11) is None


def test_a_contact_that_is_open_at_the_start_is_told_once() -> None:
    world = World()
    world.pass_(1)
    assert world.opened_s == SETTLE_S
    world.set(True)
    world.set(False)
    world.pass_(1)
    assert world.touches == [Touch.PRESSED, Touch.RELEASED]


def test_a_contact_that_is_closed_at_the_start_is_stuck_and_then_as_any() -> None:
    world = World(closed=True)
    world.pass_(1)
    assert world.touches == [Touch.STUCK]
    world.set(False)
    world.set(True)
    assert world.touches == [Touch.STUCK, Touch.RELEASED, Touch.PRESSED]


def test_a_contact_that_opens_while_it_is_charged_is_not_stuck() -> None:
    world = World(closed=True)
    world.pass_(SETTLE_S - 0.01)
    world.set(False)
    world.pass_(1)
    assert world.touches == []
    assert world.opened_s is not None


def test_a_press_right_after_the_start_is_one() -> None:
    world = World()
    world.pass_(0.01)
    world.set(True)
    world.pass_(1)
    assert world.touches == [Touch.PRESSED]


@given(
    st.booleans(),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 30)), max_size=30),
)
def test_whatever_is_lost_what_is_believed_becomes_true(
    closed: bool, moves: list[tuple[bool, bool, float]]
) -> None:
    world = World(closed=closed)
    for level, lost, seconds in moves:
        # A press may be lost for good: it is the price of sleep. All else is healed.
        world.set(level, lost=lost and not (level and not world.contact.is_closed))
        world.pass_(seconds)
    world.pass_(world.now_s + 1)
    assert world.contact.is_closed is world.level
    pressed = [touch is not Touch.RELEASED for touch in world.touches]
    assert pressed == [n % 2 == 0 for n in range(len(pressed))], "in turn"
    assert Touch.STUCK not in world.touches[1:]


# Fingers


def play(habits: Habits, *taps: tuple[float, float]) -> list[Gesture]:
    """The gestures of taps: (begin, end), in seconds."""
    finger = Finger(habits)
    return [
        gesture
        for begin_s, end_s in taps
        for gesture in finger.press(begin_s) + finger.release(end_s)
    ]


def test_two_short_presses_are_a_double_press_when_the_second_has_ended() -> None:
    assert play(TALK, (1, 1.2), (1.5, 1.7)) == [PRESS, RELEASE, PRESS, RELEASE, DOUBLE]


@pytest.mark.parametrize(
    "taps",
    [
        ((1, 1.2), (1.2 + PAIR_S + 0.01, 1.7)),  # too late
        ((1, 1.3), (1.4, 1.5)),  # the first is no short one
        ((1, 1.2), (1.3, 3.0)),  # a tap that stops an answer, and the words that follow
        ((1, 1.2),),
    ],
)
def test_no_double_press(taps: tuple[tuple[float, float], ...]) -> None:
    assert DOUBLE not in play(TALK, *taps)


def test_a_third_short_press_begins_anew() -> None:
    taps = [(n, n + 0.2) for n in (1.0, 1.3, 1.6, 1.9)]
    assert [gesture for gesture in play(TALK, *taps) if gesture is DOUBLE] == [DOUBLE] * 2
    assert play(TALK, *taps[:3]).count(DOUBLE) == 1


def test_who_has_no_short_presses_has_no_pairs() -> None:
    assert DOUBLE not in play(Habits(), (1, 1.01), (1.02, 1.03), (1.04, 1.05))


def test_a_long_press_comes_once_while_it_is_held() -> None:
    finger = Finger(Habits(long_s=3.0))
    finger.press(10.0)
    assert finger.next_deadline_s == 13.0
    assert finger.due(12.9) == []
    assert finger.due(13.0) == [Gesture.LONG]
    assert finger.next_deadline_s == inf
    assert finger.due(99.0) == []
    assert finger.release(100.0) == [RELEASE]


def test_a_press_that_is_let_go_of_is_not_long() -> None:
    finger = Finger(Habits(long_s=3.0))
    finger.press(10.0)
    finger.release(12.9)
    assert finger.next_deadline_s == inf
    assert finger.due(20.0) == []


def test_it_repeats_while_it_is_held_and_never_in_a_burst() -> None:
    finger = Finger(Habits(repeat_after_s=0.5, repeat_every_s=0.3))
    finger.press(1.0)
    assert finger.next_deadline_s == 1.5
    assert finger.due(1.5) == [Gesture.REPEAT]
    assert finger.next_deadline_s == 1.8
    assert finger.due(9.0) == [Gesture.REPEAT]
    assert finger.next_deadline_s == 9.3
    finger.release(9.1)
    assert finger.due(99.0) == []


def test_a_release_without_a_press_is_nothing() -> None:
    finger = Finger(TALK)
    assert finger.release(1.0) == []
    finger.press(2.0)
    assert finger.release(2.1) == [RELEASE]
    assert finger.release(2.2) == []


@given(
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0.001, 1), st.floats(0, 1)), max_size=40),
)
def test_presses_and_releases_are_in_turn_and_pairs_are_pairs(
    short_s: float, taps: list[tuple[float, float]]
) -> None:
    finger, now_s = Finger(Habits(short_s=short_s)), 0.0
    shorts = doubles = 0
    for gap_s, held_s in taps:
        now_s += gap_s
        assert finger.press(now_s) == [PRESS]
        begun_s, now_s = now_s, now_s + held_s
        gestures = finger.release(now_s)
        assert gestures[0] is RELEASE
        is_short = now_s - begun_s < short_s
        shorts += is_short
        if gestures[1:]:
            assert gestures[1:] == [DOUBLE]
            assert is_short
            assert gap_s <= PAIR_S + 1e-9
            doubles += 1
    assert 2 * doubles <= shorts
