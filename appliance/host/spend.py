"""Seconds -> money. Pure: time comes in as an argument.

The far end bills from the opening of a socket to its closing, whatever is said meanwhile. How long
that was is told by a clock that never goes back (`now_s`); on which day it was, by the clock on
the wall (`wall_s`, seconds since 1970), and the days are those of the box's own zone.

The `Meter` counts since the start of the program. The `Ledger` has it by days, and is what
survives: `to_bytes` belongs into a `StateFile` when a socket was closed, every 60 s while one is
open, and at the end of the program. A cut of the power then loses the seconds since, no more, and
none is booked that nobody has seen pass.

No box has a clock that can be trusted at all times: many have none that runs without power. So

  * how much was spent never depends on it: a wall clock that jumps moves no second and no cent;
  * seconds are booked on the days that it says when they are booked, counted back from there;
  * what is booked stays booked. What lies on a day that the clock has not reached yet, but will in
    two days, counts already: a clock that was set back, or came up late after a cut, opens no
    cap. Further ahead lies only what a clock that was far out has left: it counts when its day
    comes;
  * before 2025 there was no such box: a clock that says so has not been set. Then the newest day
    in the book counts as well.

Seconds are kept, not dollars: a price that is mended later is right for the whole month.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Annotated

import msgspec

VERSION = 1  # of what `to_bytes` gives
SET_SINCE = date(2025, 1, 1)  # a clock that says less has not been set
AHEAD = timedelta(days=2)  # zones differ by 26 h; a clock that is kept over a cut lags by an hour
DAYS_MAX = 64  # booked last: a month, and as much that clocks have left which were far out
REACHED_S = 0.001  # nearer to a cap is there: a deadline must not be armed for nothing, over again
A_DAY = timedelta(days=1)


class Meter:
    """Counts the seconds for which a socket was open, at `usd_per_hour`.

    All times are seconds of one clock that never goes back.
    """

    def __init__(self, usd_per_hour: float) -> None:
        assert usd_per_hour >= 0
        self._usd_per_hour = usd_per_hour
        self._closed_s = 0.0  # of all sockets that are closed again
        self._since_s: float | None = None  # when the open one was opened

    @property
    def is_open(self) -> bool:
        """Whether a socket is open, and billed."""
        return self._since_s is not None

    def opened(self, now_s: float) -> None:
        """A socket was opened at `now_s`. There is never a second one."""
        assert self._since_s is None, "two sockets at once"
        self._since_s = now_s

    def closed(self, now_s: float) -> None:
        """The socket was closed at `now_s`; if none was open nothing happens.

        So every way out of a connection may say it, also one that never came to be.
        """
        self._closed_s = self.open_s(now_s)
        self._since_s = None

    def open_s(self, now_s: float) -> float:
        """For how many seconds, up to `now_s`, a socket was open."""
        if self._since_s is None:
            return self._closed_s
        assert now_s >= self._since_s, "time went back"
        return self._closed_s + now_s - self._since_s

    def usd(self, now_s: float) -> float:
        """What `open_s` costs, in US dollars, by the owner's figure."""
        return self.open_s(now_s) * self._usd_per_hour / 3600


@dataclass(frozen=True)
class Tariff:
    """The owner's figures, in US dollars. A cap of 0 is none."""

    usd_per_hour: float
    usd_per_day_max: float = 0.0
    usd_per_month_max: float = 0.0

    def usd(self, seconds: float) -> float:
        """What so much of an open socket costs."""
        return seconds * self.usd_per_hour / 3600

    def seconds(self, usd_max: float) -> float:
        """How long a socket may be open until that is spent; infinity if it never is."""
        if not usd_max or not self.usd_per_hour:
            return float("inf")
        return usd_max * 3600 / self.usd_per_hour


@dataclass(frozen=True)
class _Period:
    """A day, or a month, as a cap sees it."""

    name: str
    left_s: float  # of its cap
    ends_in_s: float
    next_left_s: float  # of the cap of the one after it
    next_s: float  # how long that one is

    @property
    def is_full(self) -> bool:
        return self.left_s < REACHED_S

    def full_in_s(self) -> float:
        """When it is, if a socket stays open; looks no further than the period after this one."""
        if self.left_s <= self.ends_in_s:
            return max(self.left_s, 0.0)
        if self.next_left_s <= self.next_s:
            return self.ends_in_s + max(self.next_left_s, 0.0)
        return float("inf")


_Days = dict[date, float]  # seconds of open socket, by their day, in the order of booking


class _File(msgspec.Struct):
    """How it survives. Times are of the wall clock: no other does."""

    version: int
    written_s: float
    is_open: bool  # a socket was, when this was written
    days: list[tuple[date, Annotated[float, msgspec.Meta(ge=0)]]]


class Ledger:
    """What was spent, by days, and what may still be. Nothing here waits.

    Args:
        tariff: the owner's figures.
        zone: where the days begin and end; None is wherever this machine thinks it is.
    """

    def __init__(self, tariff: Tariff, zone: tzinfo | None = None) -> None:
        self.meter = Meter(tariff.usd_per_hour)
        self.was_cut = False  # the program before this one was ended while a socket was open
        self._tariff = tariff
        self._zone = zone
        self._days: _Days = {}
        self._booked_s = 0.0  # of what the meter has counted
        self._is_dirty = False

    # ── what happens ─────────────────────────────────────────────────────────────────────────

    def opened(self, now_s: float) -> None:
        """A socket was opened at `now_s`, which may be a little while ago."""
        self.meter.opened(now_s)

    def closed(self, now_s: float, wall_s: float) -> None:
        """The socket was closed just now; if none was open nothing happens."""
        self._is_dirty = self.is_dirty
        self.meter.closed(now_s)
        self._book(now_s, wall_s)

    # ── what is asked ────────────────────────────────────────────────────────────────────────

    def cap_reached(self, now_s: float, wall_s: float) -> str | None:
        """Which cap is reached, "day" or "month", whether a socket is open or not; None if none.

        Both: the month's, because it lasts longer.
        """
        full = [
            one.name for one in self._periods(self._days_at(now_s, wall_s), wall_s) if one.is_full
        ]
        return full[-1] if full else None

    def reaches_cap_in_s(self, now_s: float, wall_s: float) -> float:
        """When a cap is reached if the open socket stays open; 0 if one is.

        Infinity if none is open, or none is reached before the end of the next day and month: no
        socket lives that long. To be asked again when the wall clock may have been set.
        """
        if not self.meter.is_open:
            return float("inf")
        days = self._days_at(now_s, wall_s)
        return min(one.full_in_s() for one in self._periods(days, wall_s))

    def report(self, now_s: float, wall_s: float) -> dict[str, object]:
        """What `spend` tells, as JSON: what counts today and this month, and the owner's figures.

        A cap of 0 is none.
        """
        today_s, month_s = self._spent(self._days_at(now_s, wall_s), self._day(wall_s))
        return {
            "today": self._told(today_s),
            "month": self._told(month_s),
            "caps": {
                "usd_per_day_max": self._tariff.usd_per_day_max,
                "usd_per_month_max": self._tariff.usd_per_month_max,
                "reached": self.cap_reached(now_s, wall_s),
            },
            "open": self.meter.is_open,
            "usd_per_hour": self._tariff.usd_per_hour,
        }

    def _told(self, seconds: float) -> dict[str, float]:
        return {"seconds": round(seconds, 3), "usd": round(self._tariff.usd(seconds), 6)}

    # ── over a restart ───────────────────────────────────────────────────────────────────────

    @property
    def is_dirty(self) -> bool:
        """Whether `to_bytes` would give something that it has not given yet."""
        return self._is_dirty or self.meter.is_open

    def to_bytes(self, now_s: float, wall_s: float) -> bytes:
        """What `from_bytes` takes. Clean afterwards, unless a socket is open."""
        self._book(now_s, wall_s)
        self._is_dirty = False
        days = list(self._days.items())
        return msgspec.json.encode(_File(VERSION, wall_s, self.meter.is_open, days))

    def not_saved(self) -> None:
        """What `to_bytes` gave last did not reach the disk: it is wanted again."""
        self._is_dirty = True

    @classmethod
    def from_bytes(cls, content: bytes, tariff: Tariff, zone: tzinfo | None = None) -> "Ledger":
        """The ledger that `to_bytes` gave, with the figures of today and no socket open.

        If a socket was open then, the power was cut or the program killed: it is billed up to when
        that was written, which is the last that anybody knows, and `was_cut` says so.

        Raises:
            ValueError: it is not ours, or of a version that is newer than ours.
        """
        try:
            file = msgspec.json.decode(content, type=_File)
        except RecursionError as error:
            raise ValueError("nested too deeply to be ours") from error
        if not 1 <= file.version <= VERSION:
            raise ValueError(f"version {file.version} is not ours, which is {VERSION}")
        ledger = cls(tariff, zone)
        for day, seconds in file.days[-DAYS_MAX:]:
            ledger._days[day] = ledger._days.get(day, 0.0) + seconds
        ledger.was_cut = ledger._is_dirty = file.is_open
        return ledger

    # ── days ─────────────────────────────────────────────────────────────────────────────────

    def _book(self, now_s: float, wall_s: float) -> None:
        """Write down what the meter has counted since the last time."""
        self._days = self._days_at(now_s, wall_s)
        self._booked_s = self.meter.open_s(now_s)
        for day in list(self._days)[:-DAYS_MAX]:
            del self._days[day]

    def _days_at(self, now_s: float, wall_s: float) -> _Days:
        """The days with what is not booked yet: counted back from the time that it is now."""
        days = dict(self._days)
        unbooked_s = self.meter.open_s(now_s) - self._booked_s
        if unbooked_s > 0:
            for day, seconds in reversed(list(self._by_day(unbooked_s, wall_s))):
                if seconds:
                    days[day] = days.pop(day, 0.0) + seconds  # to the end: booked last
        return days

    def _by_day(self, seconds: float, until_s: float) -> Iterator[tuple[date, float]]:
        """So many seconds up to `until_s`, parted at the midnights, newest day first."""
        day, left_s = self._day(until_s), seconds
        while left_s > 0:
            begins_s = self._midnight(day)
            part_s = min(left_s, max(until_s - begins_s, 0.0))
            yield day, part_s
            until_s, day, left_s = begins_s, day - A_DAY, left_s - part_s

    def _day(self, wall_s: float) -> date:
        return datetime.fromtimestamp(wall_s, self._zone).date()

    def _midnight(self, day: date) -> float:
        """When that day begins, by the wall clock. Where it has no 00:00, when its clocks jump."""
        return datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()

    def _periods(self, days: _Days, wall_s: float) -> Iterable[_Period]:
        """The day and the month in which `wall_s` lies."""
        today = self._day(wall_s)
        tomorrow, month = today + A_DAY, _month_after(today)
        begins = (self._midnight(tomorrow), self._midnight(month))
        ends = (self._midnight(tomorrow + A_DAY), self._midnight(_month_after(month)))
        caps = (self._tariff.usd_per_day_max, self._tariff.usd_per_month_max)
        spent = self._spent(days, today)
        spent_next = (self._spent(days, tomorrow)[0], self._spent(days, month)[1])
        for n, name in enumerate(("day", "month")):
            cap_s = self._tariff.seconds(caps[n])
            yield _Period(
                name,
                left_s=cap_s - spent[n],
                ends_in_s=begins[n] - wall_s,
                next_left_s=cap_s - spent_next[n],
                next_s=ends[n] - begins[n],
            )

    @staticmethod
    def _spent(days: _Days, today: date) -> tuple[float, float]:
        """Seconds that count for a day, and for its month."""
        known = today if today >= SET_SINCE else max(days, default=today)
        ahead = {day for day in days if known <= day <= known + AHEAD}
        months = {one.replace(day=1) for one in (today, known)}
        of_month = {day for day in days if day.replace(day=1) in months}
        return (
            sum(days[day] for day in ahead | ({today} & days.keys())),
            sum(days[day] for day in ahead | of_month),
        )


def _month_after(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1)
