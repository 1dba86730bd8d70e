"""The meter: seconds of open socket, and their price."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host.spend import Meter


def test_a_meter_begins_at_nothing() -> None:
    meter = Meter(4.50)
    assert not meter.is_open
    assert meter.open_s(1000.0) == 0
    assert meter.usd(1000.0) == 0


def test_an_hour_costs_what_the_owner_says() -> None:
    meter = Meter(4.50)
    meter.opened(100.0)
    assert meter.is_open
    assert meter.usd(100.0 + 3600) == 4.50


def test_only_open_seconds_count() -> None:
    meter = Meter(3600)
    meter.opened(10.0)
    assert meter.open_s(12.0) == 2.0
    meter.closed(15.0)
    assert not meter.is_open
    assert meter.open_s(1000.0) == 5.0
    meter.opened(1000.0)
    assert meter.open_s(1000.5) == 5.5
    assert meter.usd(1000.5) == 5.5


def test_asking_does_not_change_the_count() -> None:
    meter = Meter(1)
    meter.opened(0.0)
    assert [meter.open_s(5.0) for _ in range(3)] == [5.0] * 3


def test_closing_what_is_closed_does_nothing() -> None:
    meter = Meter(1)
    meter.closed(5.0)
    meter.opened(6.0)
    meter.closed(7.0)
    meter.closed(100.0)
    assert meter.open_s(200.0) == 1.0


def test_two_sockets_at_once_are_our_mistake() -> None:
    meter = Meter(1)
    meter.opened(1.0)
    with pytest.raises(AssertionError, match="two sockets"):
        meter.opened(2.0)


def test_a_clock_that_goes_back_is_our_mistake() -> None:
    meter = Meter(1)
    meter.opened(2.0)
    with pytest.raises(AssertionError, match="time went back"):
        meter.open_s(1.0)


def test_a_meter_at_no_price_still_counts() -> None:
    meter = Meter(0)
    meter.opened(0.0)
    assert (meter.open_s(60.0), meter.usd(60.0)) == (60.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))))
def test_the_count_is_the_sum_of_all_sockets(spans: list[tuple[int, int]]) -> None:
    meter, now_s = Meter(1), 0
    for shut_s, open_s in spans:
        now_s += shut_s
        meter.opened(now_s)
        now_s += open_s
        meter.closed(now_s)
    assert meter.open_s(now_s) == sum(open_s for _, open_s in spans)
