"""The money over a restart, and the caps in time. In virtual time; the book is memory."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from appliance.config import Spend
from appliance.purse import Purse

NOON = 1_790_000_000.0  # on a wall, in 2026


class Book:
    """A file that is memory; its disk can be told to fail."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.written = 0
        self.fails = False
        self.aside = ""

    def read(self) -> bytes | None:
        return self.content

    def write(self, content: bytes) -> bool:
        if not self.fails:
            self.content, self.written = content, self.written + 1
        return not self.fails

    def set_aside(self, why: str) -> None:
        self.aside = why


class Till:
    """A purse that runs, and what it said of its caps."""

    def __init__(self, book: Book | None = None, **figures: float) -> None:
        self.book = book or Book()
        self.told: list[tuple[float, bool]] = []
        self.purse = Purse(
            Spend(usd_per_hour=3600.0, **figures),  # a dollar a second
            self.book,
            wall=lambda: NOON + trio.current_time(),
            capped=lambda is_so: self.told.append((trio.current_time(), is_so)),
        )


async def test_a_cap_is_told_to_the_second_and_lifted_by_a_new_day(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    till = Till(usd_per_day_max=90.0)
    nursery.start_soon(till.purse.run)
    await trio.sleep(1.0)
    till.purse.opened(trio.current_time())
    await trio.sleep(100.0)
    till.purse.closed()
    await trio.sleep(86_400.0)
    first_s, _ = till.told[0]
    assert first_s == pytest.approx(91.0, abs=0.01)
    assert [is_so for _, is_so in till.told] == [True, False]
    nursery.cancel_scope.cancel()


async def test_the_book_is_written_at_the_close_and_each_minute(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.01  # real threads write
    till = Till()
    nursery.start_soon(till.purse.run)
    await trio.sleep(1.0)
    till.purse.opened(trio.current_time())
    await trio.sleep(130.0)
    assert till.book.written == 3
    till.purse.closed()
    await trio.sleep(600.0)
    assert till.book.written == 4
    again = Till(till.book)
    report = again.purse.report()["today"]
    assert report == {"seconds": pytest.approx(130.0, abs=0.1), "usd": pytest.approx(130, abs=0.1)}
    nursery.cancel_scope.cancel()


async def test_what_the_disk_did_not_take_is_written_later(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.01
    till = Till()
    till.book.fails = True
    nursery.start_soon(till.purse.run)
    till.purse.opened(trio.current_time())
    await trio.sleep(5.0)
    till.purse.closed()
    await trio.sleep(5.0)
    till.book.fails = False
    await trio.sleep(100.0)
    assert till.book.written == 1
    nursery.cancel_scope.cancel()


async def test_at_the_end_it_is_written_once_more(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.01
    till = Till()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(till.purse.run)
        await trio.sleep(1.0)
        till.purse.opened(trio.current_time())
        await trio.sleep(10.0)
        nursery.cancel_scope.cancel()
    assert Till(till.book).purse.ledger.was_cut


class SlowDisk:
    """Threads that are abandoned get no further, as where the process ends under them."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s

    async def run_sync(self, write: Callable[[bytes], bool], content: bytes, **_: bool) -> bool:
        await trio.sleep(self.takes_s)
        return write(content)


async def test_a_close_just_before_the_end_is_written_though_the_disk_is_slow(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", SlowDisk(0.1).run_sync)
    till = Till()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(till.purse.run)
        await trio.sleep(1.0)
        till.purse.opened(trio.current_time())
        await trio.sleep(10.0)
        till.purse.closed()
        await trio.sleep(0.05)  # it is being written
        nursery.cancel_scope.cancel()
    again = Till(till.book)
    assert not again.purse.ledger.was_cut
    assert again.purse.report()["today"] == {"seconds": 10.0, "usd": 10.0}


async def test_a_book_that_is_not_ours_is_set_aside(autojump_clock: MockClock) -> None:
    book = Book()
    book.content = b"{}"
    till = Till(book)
    assert book.aside
    assert till.purse.report()["open"] is False
