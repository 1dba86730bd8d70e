"""Plays looks on a lamp of any kind: one task, no thread.

gpiozero could blink by itself, but with a thread for each lamp; a task wakes up only when the
level changes, and never while the look is steady.

Night hours cost no more: a look that moves asks the time whenever it changes its level, one that
is steadily lit waits for the next border, and one that is dark for nothing. The clock on the wall
may jump meanwhile, and nobody tells. So a steadily lit lamp that has a night looks again after
`RECHECK_S`, and every new look begins with the brightness of the hour.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import Final

import trio

from appliance.errors import DeviceError
from appliance.panel.dimmer import Dimmer
from appliance.panel.looks import DARK, Look

RECHECK_S: Final = 600.0
FULL: Final = Dimmer()


def second_of_day() -> float:
    """Seconds since midnight, by the clock on the wall and the time zone of this box."""
    now = time.localtime()
    return float(now.tm_hour * 3600 + now.tm_min * 60 + now.tm_sec)


class Player(ABC):
    """A lamp, dark until told otherwise. Kinds of lamps say how they light and go dark."""

    def __init__(self, dimmer: Dimmer = FULL, clock: Callable[[], float] = second_of_day) -> None:
        self._dimmer = dimmer
        self._clock = clock
        self._look = DARK
        self._changed = trio.Event()
        self._fault: DeviceError | None = None
        self._closed = False

    def show(self, look: Look) -> None:
        """Show `look` from now on: its first level at once, the rest as `run` plays it.

        Never waits and never fails: a device that fails ends `run`. What is shown already goes on
        undisturbed. After `close` nothing is shown.
        """
        if self._closed or look == self._look:
            return
        self._look = look
        try:
            self._set(look, lit=look.pattern[0][0])
        except DeviceError as fault:
            self._fault = fault
        self._changed.set()

    async def run(self) -> None:
        """Play looks until cancelled or closed.

        Raises:
            DeviceError: the device failed.
        """
        while not self._closed:
            self._changed = trio.Event()
            if self._fault is not None:
                raise self._fault
            await self._play(self._look, until=self._changed)

    def close(self) -> None:
        """Leave it dark and give the device back. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._changed.set()
        with suppress(DeviceError):  # a lamp that has failed is as dark as we can make it
            self._light(self._look, 0.0)
        self._let_go()

    @abstractmethod
    def _light(self, look: Look, light: float) -> None:
        """Light what `look` wants, with that share of full light; with 0.0 nothing is lit.

        Raises:
            DeviceError: the device failed.
        """

    @abstractmethod
    def _let_go(self) -> None:
        """Give the device back."""

    async def _play(self, look: Look, *, until: trio.Event) -> None:
        for lit, lasts_s in cycle(look.pattern):
            self._set(look, lit=lit)
            stays_s = self._stays_s(lit=lit) if look.is_steady else lasts_s
            with trio.CancelScope(relative_deadline=stays_s):
                await until.wait()
                return

    def _set(self, look: Look, *, lit: bool) -> None:
        self._light(look, self._dimmer.light(self._now(), always=look.always) if lit else 0.0)

    def _stays_s(self, *, lit: bool) -> float:
        """For how long nobody has to look after a level that no look changes."""
        if not lit or self._dimmer.night_hours is None:
            return float("inf")
        return min(self._dimmer.lasts_s(self._now()), RECHECK_S)

    def _now(self) -> float:
        return 0.0 if self._dimmer.night_hours is None else self._clock()
