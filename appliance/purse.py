"""The money: what open sockets cost, the caps, and the file that it survives in.

The ledger counts; this part watches it. It is told of each opening and closing, writes the book
when something has changed (at most once a minute while a socket is open), and says when a cap is
reached, to the second, and when a new day has lifted it.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from appliance.config import Spend
from appliance.host.spend import Ledger, Tariff

WRITE_EACH_S = 60.0
LAST_WRITE_LIMIT_S = 0.3
LOOK_EACH_S = 30.0  # at a cap: a new day, or a clock that was set, lifts it

log = logging.getLogger("appliance")


class Book(Protocol):
    """Where it is written: `host.state.StateFile`."""

    def read(self) -> bytes | None:
        """What was written last."""

    def write(self, content: bytes) -> bool:
        """Write it, whole or not at all; whether the disk has it. Waits for the disk."""

    def set_aside(self, why: str) -> None:
        """What was read is of no use."""


class Purse:
    """Watches the ledger. `run` lives as long as the box; the other calls never wait.

    Args:
        figures: the owner's.
        book: where it is kept; None: nowhere.
        wall: seconds since 1970.
        capped: told True when a cap is reached, False when it is lifted.
    """

    def __init__(
        self,
        figures: Spend,
        book: Book | None,
        *,
        wall: Callable[[], float],
        capped: Callable[[bool], None],
    ) -> None:
        self._book = book
        self._wall = wall
        self._capped = capped
        self._is_capped = False
        self._to_watch = trio.Event()  # the ledger has changed: a cap may be nearer, or lifted
        self._to_write = trio.Event()  # the same, for the book
        self.ledger = self._opened(
            Tariff(figures.usd_per_hour, figures.usd_per_day_max, figures.usd_per_month_max)
        )

    def _opened(self, tariff: Tariff) -> Ledger:
        content = self._book.read() if self._book is not None else None
        if content is not None and self._book is not None:
            try:
                ledger = Ledger.from_bytes(content, tariff)
            except ValueError as error:
                self._book.set_aside(str(error))
            else:
                if ledger.was_cut:
                    log.warning("the power was cut amid a session: up to a minute is not counted")
                return ledger
        return Ledger(tariff)

    def opened(self, since_s: float) -> None:
        """A socket was opened."""
        self.ledger.opened(since_s)
        self._moved()

    def closed(self) -> None:
        """It was closed; if none was open nothing happens."""
        self.ledger.closed(trio.current_time(), self._wall())
        self._moved()

    def _moved(self) -> None:
        self._to_watch.set()
        self._to_write.set()

    def look(self) -> None:
        """Tell of a cap that is reached, or lifted, if that is news. Never waits."""
        is_capped = self.ledger.cap_reached(trio.current_time(), self._wall()) is not None
        if is_capped is not self._is_capped:
            self._is_capped = is_capped
            self._capped(is_capped)

    def report(self) -> dict[str, object]:
        """What `spend` tells."""
        return self.ledger.report(trio.current_time(), self._wall())

    async def run(self) -> None:
        """Write, and watch the caps, until cancelled; then write again, if the disk is quick."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            try:
                await self._keep_book()
            finally:
                with trio.move_on_after(LAST_WRITE_LIMIT_S, shield=True):
                    await self._write()

    async def _keep_book(self) -> None:
        while True:
            is_dirty = self.ledger.is_dirty  # a socket is open, or the disk has failed
            with trio.move_on_after(WRITE_EACH_S if is_dirty else float("inf")):
                await self._to_write.wait()
            self._to_write = trio.Event()
            await self._write()

    async def _write(self) -> None:
        """Write what has changed, in a thread: a card may take its time."""
        if self._book is None or not self.ledger.is_dirty:
            return
        content = self.ledger.to_bytes(trio.current_time(), self._wall())
        has_it = False
        try:
            write = self._book.write
            has_it = await trio.to_thread.run_sync(write, content, abandon_on_cancel=True)
        finally:
            if not has_it:  # also if the box stops meanwhile: the thread may not live to see it
                self.ledger.not_saved()

    async def _watch(self) -> None:
        while True:
            self.look()
            now_s, wall_s, is_capped = trio.current_time(), self._wall(), self._is_capped
            look_s = LOOK_EACH_S if is_capped else float("inf")
            if self.ledger.meter.is_open and not is_capped:
                look_s = min(self.ledger.reaches_cap_in_s(now_s, wall_s), WRITE_EACH_S)
            with trio.move_on_after(look_s):
                await self._to_watch.wait()
            self._to_watch = trio.Event()
