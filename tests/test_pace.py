"""Which cards keep no time, and which only stall, drift and count in lumps."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sound.pace import Pace

RATE_HZ = 16000
PERIOD = 320
BUFFER = 10 * PERIOD


def a_microphone() -> Pace:
    return Pace(RATE_HZ, burst_frames=RATE_HZ, spare_frames=2 * RATE_HZ)


def a_speaker() -> Pace:
    return Pace(RATE_HZ, burst_frames=2 * BUFFER)


def found_out_s(pace: Pace, speed: float, *, limit_s: float = 60.0) -> float:
    """When a card that runs so many times too fast is found out, looked at each 20 ms."""
    pace.start(0.0)
    for turn in range(1, round(limit_s * 50)):
        pace.move(round(speed * PERIOD))
        if pace.finds_out(turn / 50):
            return turn / 50
    return limit_s


@pytest.mark.parametrize("makes", [a_microphone, a_speaker])
@pytest.mark.parametrize(
    ("speed", "earliest_s", "latest_s"),
    [(1.0, 60.0, 60.0), (1.01, 60.0, 60.0), (1.9, 60.0, 60.0), (4.0, 0.0, 0.55), (18.0, 0.0, 0.1)],
)
def test_clearly_too_fast_is_found_out_soon_and_another_clock_never(
    makes: Callable[[], Pace], speed: float, earliest_s: float, latest_s: float
) -> None:
    assert earliest_s <= found_out_s(makes(), speed) <= latest_s


@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.booleans()), max_size=200))
def test_a_microphone_that_stalls_and_catches_up_at_once_is_none_of_them(
    stalls: list[tuple[float, bool]],
) -> None:
    pace, now_s, given_frames = a_microphone(), 0.0, 0
    pace.start(now_s)
    for stall_s, comes_in_pieces in stalls:
        now_s += stall_s
        while given_frames < now_s * RATE_HZ:
            pace.move(PERIOD)
            given_frames += PERIOD
            assert not comes_in_pieces or not pace.finds_out(now_s)
        assert not pace.finds_out(now_s)


@given(st.lists(st.floats(0.0, 1.0), max_size=200), st.integers(1, BUFFER))
def test_a_speaker_whose_count_moves_in_lumps_is_none_of_them(
    waits: list[float], lump: int
) -> None:
    pace, now_s, written, played = a_speaker(), 0.0, 0, 0.0
    pace.start(now_s)
    for wait_s in waits:
        now_s += wait_s
        pace.move(BUFFER - (written - round(played)))
        written += BUFFER - (written - round(played))
        played = min(written, played + wait_s * RATE_HZ)
        held = max(0, written - round(played + lump))  # it tells of a lump before it is out
        assert not pace.finds_out(now_s, held=held)


def test_what_the_clock_allows_is_counted_from_the_start() -> None:
    pace = a_speaker()
    assert pace.ahead(5.0) == 0
    pace.start(10.0)
    pace.move(BUFFER)
    assert pace.ahead(10.0) == BUFFER
    assert pace.ahead(10.02) == BUFFER - PERIOD
    assert pace.ahead(10.3) == BUFFER - round(0.3 * RATE_HZ)
    pace.stop()
    assert not pace.runs
    assert pace.ahead(11.0) == 0


def test_it_is_found_out_once_and_stays_so() -> None:
    pace = a_speaker()
    pace.start(0.0)
    pace.move(3 * BUFFER)
    assert pace.finds_out(0.0)
    assert not pace.finds_out(0.0)
    pace.stop()
    pace.start(9.0)
    assert pace.by_clock


def test_what_a_card_still_holds_has_not_passed() -> None:
    pace = a_speaker()
    pace.start(0.0)
    pace.move(3 * BUFFER)
    assert not pace.finds_out(0.0, held=BUFFER)
    assert pace.finds_out(0.01, held=0)
