"""The meter: seconds of open socket, and their price; the ledger: by days, with caps, on a disk."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.host import spend
from appliance.host.spend import Ledger, Meter, Tariff
from appliance.host.state import StateFile

ZONE = timezone(timedelta(hours=1))
HOUR_S, DAY_S = 3600.0, 86400.0
INF = float("inf")
A_DOLLAR_A_SECOND = 3600.0


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


# ── the ledger ───────────────────────────────────────────────────────────────────────────────────


def at(text: str) -> float:
    """A time of the wall clock, as it is read in `ZONE`."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


NOON = at("2026-11-20 12:00")


def ledger(day: float = 0, month: float = 0, usd_per_hour: float = A_DOLLAR_A_SECOND) -> Ledger:
    return Ledger(Tariff(usd_per_hour, day, month), ZONE)


def use(it: Ledger, seconds: float, until_s: float) -> None:
    """Have a socket open for so long, until then."""
    it.opened(0.0)
    it.closed(seconds, until_s)
    it.meter = Meter(1)  # whose clock begins at 0 again
    it._booked_s = 0.0


def days(it: Ledger) -> dict[str, float]:
    return {str(day): seconds for day, seconds in it._days.items()}


def spent(it: Ledger, wall_s: float) -> tuple[float, float]:
    told = json.loads(json.dumps(it.report(0.0, wall_s)))
    return told["today"]["seconds"], told["month"]["seconds"]


def test_seconds_are_booked_on_their_day() -> None:
    it = ledger()
    use(it, 90.0, NOON)
    use(it, 10.0, NOON + HOUR_S)
    use(it, 5.0, NOON + DAY_S)
    assert days(it) == {"2026-11-20": 100.0, "2026-11-21": 5.0}
    assert spent(it, NOON) == (105.0, 105.0)  # a clock that was set back opens no cap
    assert spent(it, NOON + DAY_S) == (5.0, 105.0)
    assert spent(it, NOON + 30 * DAY_S) == (0.0, 0.0)


def test_a_socket_over_midnight_counts_on_both_days() -> None:
    it = ledger()
    use(it, 100.0, at("2026-12-01 00:01"))
    assert days(it) == {"2026-11-30": 40.0, "2026-12-01": 60.0}
    assert spent(it, at("2026-12-01 00:01")) == (60.0, 60.0)


def test_an_open_socket_counts_as_it_goes() -> None:
    it = ledger()
    it.opened(1000.0)
    assert it.report(1060.0, NOON)["today"] == {"seconds": 60.0, "usd": 60.0}
    assert it.report(1061.0, NOON + 1)["month"] == {"seconds": 61.0, "usd": 61.0}
    assert days(it) == {}  # asking books nothing


def test_what_is_told_is_json_in_the_words_of_the_settings() -> None:
    it = ledger(day=2.0, usd_per_hour=4.5)
    use(it, 1600.0, NOON)
    assert it.report(0.0, NOON) == {
        "today": {"seconds": 1600.0, "usd": 2.0},
        "month": {"seconds": 1600.0, "usd": 2.0},
        "caps": {"usd_per_day_max": 2.0, "usd_per_month_max": 0, "reached": "day"},
        "open": False,
        "usd_per_hour": 4.5,
    }


def test_a_new_price_is_right_for_what_was_used_before() -> None:
    it = ledger(usd_per_hour=4.5)
    use(it, HOUR_S, NOON)
    again = Ledger.from_bytes(it.to_bytes(0.0, NOON), Tariff(3.0), ZONE)
    assert again.report(0.0, NOON)["today"] == {"seconds": HOUR_S, "usd": 3.0}


# ── caps ─────────────────────────────────────────────────────────────────────────────────────────


def test_without_caps_everything_may_be_spent() -> None:
    it = ledger()
    use(it, 1e6, NOON)
    assert it.cap_reached(0.0, NOON) is None
    it.opened(0.0)
    assert it.cap_reached(1e6, NOON) is None
    assert it.reaches_cap_in_s(1e6, NOON) == INF


def test_without_a_price_no_cap_is_ever_reached() -> None:
    it = ledger(day=1, month=1, usd_per_hour=0)
    it.opened(0.0)
    assert it.reaches_cap_in_s(HOUR_S, NOON) == INF
    assert it.cap_reached(HOUR_S, NOON) is None


def test_a_cap_of_the_day_is_reached_while_a_socket_is_open_and_lasts_till_midnight() -> None:
    it = ledger(day=100)
    it.opened(0.0)
    assert it.reaches_cap_in_s(0.0, NOON) == 100.0
    assert it.reaches_cap_in_s(40.0, NOON + 40) == 60.0
    assert it.cap_reached(99.0, NOON + 99) is None
    assert it.cap_reached(100.0, NOON + 100) == "day"
    assert it.reaches_cap_in_s(130.0, NOON + 130) == 0.0
    it.closed(130.0, NOON + 130)
    assert it.cap_reached(500.0, NOON + 500) == "day"
    assert it.cap_reached(0.0, NOON + 500) is not None
    assert it.cap_reached(0.0, at("2026-11-20 23:59:59")) is not None
    assert it.cap_reached(0.0, at("2026-11-21 00:00")) is None


def test_a_cap_of_the_month_lasts_till_the_next() -> None:
    it = ledger(month=100)
    use(it, 60.0, NOON)
    use(it, 30.0, NOON + 3 * DAY_S)
    it.opened(0.0)
    assert it.reaches_cap_in_s(0.0, NOON + 5 * DAY_S) == 10.0
    it.closed(10.0, NOON + 5 * DAY_S)
    assert it.cap_reached(10.0, NOON + 5 * DAY_S) == "month"
    assert it.cap_reached(0.0, at("2026-11-30 23:59:59")) is not None
    assert it.cap_reached(0.0, at("2026-12-01 00:00")) is None


def test_of_two_caps_the_one_that_lasts_is_told_and_the_first_one_counts() -> None:
    it = ledger(day=50, month=80)
    use(it, 40.0, NOON)
    it.opened(0.0)
    assert it.reaches_cap_in_s(0.0, NOON) == 10.0
    assert it.cap_reached(10.0, NOON) == "day"
    assert it.cap_reached(40.0, NOON) == "month"


def test_midnight_gives_a_new_day_to_a_socket_that_is_open() -> None:
    it = ledger(day=100)
    it.opened(0.0)
    assert it.reaches_cap_in_s(0.0, at("2026-11-20 23:59")) == 160.0
    assert it.cap_reached(110.0, at("2026-11-21 00:00:50")) is None
    assert it.reaches_cap_in_s(110.0, at("2026-11-21 00:00:50")) == 50.0


def test_midnight_gives_no_more_than_a_clock_that_was_set_back_has_left_of_the_day() -> None:
    it = ledger(day=100)
    use(it, 30.0, at("2026-11-21 12:00"))
    it.opened(0.0)
    assert it.reaches_cap_in_s(0.0, at("2026-11-20 23:59")) == 60.0 + 70.0


def test_a_cap_that_no_day_is_long_enough_for_is_never_reached() -> None:
    it = ledger(day=2 * DAY_S)
    it.opened(0.0)
    assert it.reaches_cap_in_s(0.0, NOON) == INF


def test_while_no_socket_is_open_no_cap_draws_near() -> None:
    it = ledger(day=1)
    assert it.reaches_cap_in_s(0.0, NOON) == INF


def test_at_its_deadline_a_cap_is_reached_whatever_the_clocks_round() -> None:
    it = Ledger(Tariff(4.50, 0.07), ZONE)
    now_s, wall_s = 123456.789, NOON + 0.123
    it.opened(now_s)
    left_s = it.reaches_cap_in_s(now_s + 1.1, wall_s + 1.1)
    assert it.cap_reached(now_s + 1.1 + left_s, wall_s + 1.1 + left_s) == "day"


@given(
    day=st.floats(0, 2 * DAY_S),
    month=st.floats(0, 3 * DAY_S),
    begun=st.lists(st.tuples(st.floats(0, DAY_S), st.floats(-40, 0)), max_size=4),
    wall_s=st.floats(NOON, NOON + 30 * DAY_S),
)
def test_a_deadline_is_neither_early_nor_late(
    day: float, month: float, begun: list[tuple[float, float]], wall_s: float
) -> None:
    it = ledger(day, month)
    for seconds, days_ago in sorted(begun, key=lambda one: one[1]):
        use(it, seconds, wall_s + days_ago * DAY_S)
    it.opened(0.0)
    left_s = it.reaches_cap_in_s(0.0, wall_s)
    if left_s < INF:
        assert it.cap_reached(left_s + 0.01, wall_s + left_s + 0.01)
    for part in (0.0, 0.5, 0.99):
        early_s = part * min(left_s, DAY_S)
        if left_s - early_s > 0.01:
            assert it.cap_reached(early_s, wall_s + early_s) is None


# ── clocks ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("jump_s", [-400 * DAY_S, -DAY_S, -HOUR_S, 0.0, HOUR_S, DAY_S, 400 * DAY_S])
def test_a_wall_clock_that_jumps_moves_no_second(jump_s: float) -> None:
    it = ledger()
    it.opened(0.0)
    it.to_bytes(60.0, NOON + 60)
    it.to_bytes(120.0, NOON + 120 + jump_s)
    it.closed(180.0, NOON + 180 + jump_s)
    assert sum(days(it).values()) == 180.0
    day = datetime.fromtimestamp(NOON + jump_s, ZONE).date()
    assert days(it)[str(day)] == (180.0 if abs(jump_s) < DAY_S else 120.0)


def test_a_clock_that_is_set_back_opens_no_cap() -> None:
    it = ledger(day=100, month=100)
    use(it, 100.0, at("2026-12-01 00:30"))
    for back_s in (0.0, 60.0, HOUR_S, DAY_S):
        assert it.cap_reached(0.0, at("2026-12-01 00:30") - back_s)
        assert it.cap_reached(0.0, at("2026-12-01 00:30") - back_s) is not None


def test_a_day_that_the_clock_comes_back_to_is_as_it_was() -> None:
    it = ledger(day=100)
    use(it, 100.0, NOON)
    use(it, 1.0, NOON - 20 * DAY_S)
    use(it, 1.0, NOON + 20 * DAY_S)
    assert it.cap_reached(0.0, NOON) is not None
    assert spent(it, NOON) == (100.0, 100.0)


def test_a_clock_that_was_years_ahead_shuts_the_box_for_no_day_but_that() -> None:
    it = ledger(day=100)
    use(it, 100.0, at("2031-05-05 12:00"))
    assert it.cap_reached(0.0, NOON) is None
    assert it.cap_reached(0.0, at("2031-05-05 13:00")) is not None


def test_a_clock_that_has_not_been_set_opens_no_cap_and_has_a_day_of_its_own() -> None:
    it = ledger(day=100, month=150)
    use(it, 100.0, NOON)
    unset_s = at("1970-01-01 02:00")
    assert it.cap_reached(0.0, unset_s) is not None
    assert it.cap_reached(0.0, NOON + DAY_S) is None
    use(it, 20.0, unset_s)
    assert days(it) == {"2026-11-20": 100.0, "1970-01-01": 20.0}
    assert spent(it, unset_s) == (120.0, 120.0)


def test_before_a_clock_is_set_the_newest_month_counts_whole() -> None:
    it = ledger(month=100)
    use(it, 80.0, NOON - 5 * DAY_S)
    use(it, 20.0, NOON)
    assert spent(it, at("1970-01-01 02:00")) == (20.0, 100.0)
    assert it.cap_reached(0.0, at("1970-01-01 02:00")) is not None


def test_a_box_whose_clock_was_never_set_has_caps_too() -> None:
    it = ledger(day=100)
    unset_s = at("1970-01-01 02:00")
    assert it.cap_reached(0.0, unset_s) is None
    use(it, 100.0, unset_s)
    assert it.cap_reached(0.0, unset_s) is not None


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(("day", "hours"), [("03-28", 24), ("03-29", 23), ("10-25", 25)])
def test_days_are_those_of_the_box_and_as_long_as_they_are(
    berlin: None, day: str, hours: int
) -> None:
    begins_s = datetime.fromisoformat(f"2026-{day}").timestamp()
    it = Ledger(Tariff(1.0))
    use(it, DAY_S * 3, begins_s + DAY_S * 2)
    assert days(it)[f"2026-{day}"] == hours * HOUR_S
    assert sum(days(it).values()) == DAY_S * 3


@given(
    uses=st.lists(
        st.tuples(st.floats(0, 3 * DAY_S), st.floats(-30 * DAY_S, 30 * DAY_S)), max_size=20
    )
)
def test_nothing_is_ever_unspent(uses: list[tuple[float, float]]) -> None:
    it, total_s = ledger(), 0.0
    for seconds, wall_s in uses:
        before = it._days.copy()
        use(it, seconds, NOON + wall_s)
        total_s += seconds
        assert all(it._days[day] >= booked for day, booked in before.items())
        assert sum(it._days.values()) == pytest.approx(total_s)


def test_the_book_has_bounds_and_no_month_is_too_long_for_it() -> None:
    it = ledger()
    for day in range(400):
        wall_s = NOON + day * DAY_S
        use(it, 1.0, wall_s)
        assert spent(it, wall_s) == (1.0, min(day + 1, datetime.fromtimestamp(wall_s, ZONE).day))
        if day % 12 == 0:  # and a clock that is out now and then
            use(it, 1.0, NOON - (day + 100) * DAY_S)
    assert len(days(it)) == spend.DAYS_MAX


def test_the_book_forgets_the_day_that_was_booked_longest_ago() -> None:
    it = ledger()
    use(it, 1.0, NOON)
    for day in range(100, 220):  # a clock that is far out
        use(it, 1.0, NOON + day * DAY_S)
        if day % 50 == 0:
            use(it, 1.0, NOON)
    assert spent(it, NOON) == (4.0, 4.0)


# ── over a restart ───────────────────────────────────────────────────────────────────────────────


def test_what_was_spent_survives_a_restart() -> None:
    it = ledger(day=100)
    use(it, 100.0, NOON)
    use(it, 3.25, NOON + DAY_S)
    again = Ledger.from_bytes(it.to_bytes(0.0, NOON + DAY_S), Tariff(A_DOLLAR_A_SECOND, 100), ZONE)
    assert days(again) == days(it)
    assert again.cap_reached(0.0, NOON) is not None
    assert not again.was_cut
    assert not again.meter.is_open
    assert not again.is_dirty


def test_it_is_dirty_while_a_socket_is_open_and_until_that_was_written() -> None:
    it = ledger()
    was_dirty = [it.is_dirty]
    for happens in (
        lambda: it.closed(1.0, NOON),  # none was open
        lambda: it.opened(2.0),
        lambda: it.to_bytes(3.0, NOON),
        lambda: it.closed(4.0, NOON),
        lambda: it.to_bytes(4.0, NOON),
        it.not_saved,
        lambda: it.to_bytes(5.0, NOON),
    ):
        happens()
        was_dirty.append(it.is_dirty)
    assert was_dirty == [False, False, True, True, True, False, True, False]


def test_a_cut_in_the_middle_loses_what_came_after_the_last_write_and_books_no_more() -> None:
    it = ledger()
    it.opened(0.0)
    written = it.to_bytes(60.0, NOON)
    it.report(119.0, NOON + 59)  # and here the power goes
    again = Ledger.from_bytes(written, Tariff(A_DOLLAR_A_SECOND), ZONE)
    assert again.was_cut
    assert again.is_dirty
    assert spent(again, NOON + HOUR_S) == (60.0, 60.0)
    third = Ledger.from_bytes(again.to_bytes(0.0, NOON + HOUR_S), Tariff(1), ZONE)
    assert not third.was_cut
    assert spent(third, NOON + HOUR_S) == (60.0, 60.0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"version": 2, "written_s": 0, "is_open": false, "days": []}',
        b'{"version": 0, "written_s": 0, "is_open": false, "days": []}',
        b'{"version": 1, "written_s": 0, "is_open": false, "days": [["2026-11-20", -1]]}',
        b'{"version": 1, "written_s": 0, "is_open": false, "days": [["yesterday", 1]]}',
        b'{"version": 1, "written_s": 0, "is_open": false, "days": [["2026-11-20", 1e999]]}',
        b'{"x": ' + b"[" * 100_000,
    ],
)
def test_what_is_not_ours_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        Ledger.from_bytes(content, Tariff(1), ZONE)


def test_a_day_that_is_written_twice_counts_twice() -> None:
    content = (
        b'{"version":1,"written_s":0,"is_open":false,"days":[["2026-11-20",1],["2026-11-20",2]]}'
    )
    assert days(Ledger.from_bytes(content, Tariff(1), ZONE)) == {"2026-11-20": 3.0}


class PowerCut(BaseException):
    """Nobody catches it: nothing more is done."""


CALLS = ("open", "fchmod", "write", "fsync", "close", "replace")


def cut(patch: pytest.MonkeyPatch, after: int) -> None:
    """Let so many more calls into the system happen, and then none."""
    left = [after]

    def limited(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            left[0] -= 1
            if left[0] >= 0 or name == "close":
                return real(*args)
            if left[0] == -1 and name == "write":
                real(args[0], bytes(args[1])[: len(bytes(args[1])) // 2])  # type: ignore[call-overload]
            raise PowerCut

        return call

    for name in CALLS:
        patch.setattr(os, name, limited(name, getattr(os, name)))


def test_killed_at_any_write_the_meter_reads_back_whole(tmp_path: Path) -> None:
    """Five writes of a session, each killed at each of its steps: the last or the one before."""
    path = tmp_path / "spend"
    tariff = Tariff(A_DOLLAR_A_SECOND)
    for killed in range(1, 6):
        for step in range(9):
            path.unlink(missing_ok=True)
            it, file = Ledger(tariff, ZONE), StateFile(path, spend.VERSION)
            it.opened(0.0)
            for n in range(1, killed):
                assert file.write(it.to_bytes(60.0 * n, NOON + 60.0 * n))
            content = it.to_bytes(60.0 * killed, NOON + 60.0 * killed)
            with pytest.MonkeyPatch.context() as patch, suppress(PowerCut):
                cut(patch, after=step)
                file.write(content)
            found = StateFile(path, spend.VERSION).read()
            if found is None:
                assert killed == 1
                assert step <= 5
                continue
            again = Ledger.from_bytes(found, tariff, ZONE)
            is_new = step > 5  # the sixth call gives it its name
            assert spent(again, NOON)[0] == 60.0 * (killed if is_new else killed - 1)
            assert again.was_cut
    assert {one.name for one in tmp_path.iterdir()} <= {"spend", "spend.new"}


def test_a_file_of_a_newer_program_is_kept_and_the_book_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "spend"
    StateFile(path, spend.VERSION + 1).write(b"who knows")
    assert StateFile(path, spend.VERSION).read() is None
    assert (tmp_path / "spend.newer").exists()


def test_times_are_of_the_zone_that_is_handed_in() -> None:
    it = Ledger(Tariff(1), UTC)
    use(it, 10.0, at("2026-11-21 00:30"))
    assert days(it) == {"2026-11-20": 10.0}
