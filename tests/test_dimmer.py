"""Brightness as the eye counts it, and nights."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.panel.dimmer import DAY_S, FAINTEST, Dimmer, hours, light_of

seconds = st.floats(min_value=0, max_value=DAY_S, exclude_max=True)
nights = st.tuples(*[st.integers(0, DAY_S // 60 - 1).map(lambda minute: minute * 60)] * 2).filter(
    lambda night: night[0] != night[1]
)


def test_half_as_bright_is_a_fifth_of_the_light() -> None:
    assert light_of(0) == 0
    assert light_of(100) == 1
    assert light_of(50) == pytest.approx(0.184, abs=0.001)
    lights = [light_of(level) for level in range(101)]
    assert lights == sorted(set(lights))
    assert light_of(8.001) == pytest.approx(light_of(8), abs=1e-4), "the two parts meet"


@pytest.mark.parametrize(
    ("text", "night"),
    [
        ("22:00-07:00", (79_200, 25_200)),
        ("7:05-07:06", (25_500, 25_560)),
        ("00:00-23:59", (0, 86_340)),
        ("22:00-22:00", None),
        ("24:00-07:00", None),
        ("22:60-07:00", None),
        ("22-7", None),
        ("22:00 - 07:00", None),
        ("", None),
    ],
)
def test_hours_of_a_night(text: str, night: tuple[int, int] | None) -> None:
    assert hours(text) == night


def test_a_night_over_midnight_and_one_within_a_day() -> None:
    over = Dimmer(100, 10, hours("22:00-07:00"))
    within = Dimmer(100, 10, hours("13:00-15:00"))
    at = [hour * 3600 for hour in (0, 6.99, 7, 13, 14.99, 15, 21.99, 22, 23.99)]
    assert [over.brightness(second) for second in at] == [10, 10, 100, 100, 100, 100, 100, 10, 10]
    assert [within.brightness(second) for second in at] == [
        *(100, 100, 100, 10, 10, 100, 100, 100, 100)
    ]


def test_without_a_night_it_is_always_day() -> None:
    dimmer = Dimmer(40)
    assert {dimmer.brightness(hour * 3600) for hour in range(24)} == {40}
    assert dimmer.lasts_s(0) == math.inf


def test_only_what_is_shown_always_is_never_quite_dark() -> None:
    dimmer = Dimmer(0)
    assert dimmer.light(0, always=False) == 0
    assert dimmer.light(0, always=True) == FAINTEST
    assert Dimmer(50).light(0, always=True) == light_of(50)


@given(nights, seconds, st.floats(0, 1, exclude_max=True))
def test_brightness_stays_for_as_long_as_it_says_and_then_changes(
    night: tuple[int, int], second: float, part: float
) -> None:
    dimmer = Dimmer(100, 10, night)
    lasts_s = dimmer.lasts_s(second)
    assert 0 < lasts_s <= DAY_S
    within = (second + part * lasts_s) % DAY_S
    if lasts_s * (1 - part) > 1e-6:
        assert dimmer.brightness(within) == dimmer.brightness(second)
    after = (second + lasts_s + 1e-6) % DAY_S
    assert dimmer.brightness(after) != dimmer.brightness(second)
