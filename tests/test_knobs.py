"""Volume and mute over a restart. In virtual time; the file is memory, once a real one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from appliance.host.state import StateFile
from appliance.knobs import VERSION, Knobs
from tests.test_purse import Book, SlowDisk


@pytest.fixture(autouse=True)
def _a_quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of its own would race with the virtual clock."""

    async def run_sync(write: Callable[[bytes], bool], content: bytes, **_: bool) -> bool:
        await trio.lowlevel.checkpoint()
        return write(content)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


async def test_ten_presses_are_one_write_a_second_later(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    book = Book()
    knobs = Knobs(book, 100)
    nursery.start_soon(knobs.run)
    await trio.sleep(5.0)
    for level in range(90, -1, -10):
        knobs.turn(level)
        await trio.sleep(0.05)
    assert book.written == 0
    await trio.sleep(1.0)
    assert book.written == 1
    knobs.turn(0)
    await trio.sleep(5.0)
    assert book.written == 1
    assert Knobs(book, 100).volume == 0


async def test_mute_is_written_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    book = Book()
    knobs = Knobs(book, 100)
    nursery.start_soon(knobs.run)
    knobs.turn(40)
    await trio.sleep(0.5)
    knobs.mute(muted=True)
    await trio.sleep(0.01)
    again = Knobs(book, 100)
    assert (again.muted, again.volume) == (True, 40)
    await trio.sleep(5.0)
    knobs.mute(muted=False)
    await trio.sleep(0.01)
    assert not Knobs(book, 100).muted
    assert book.written == 2


async def test_what_was_turned_last_is_written_when_the_box_stops(
    autojump_clock: MockClock,
) -> None:
    book = Book()
    knobs = Knobs(book, 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(knobs.run)
        await trio.sleep(1.0)
        knobs.turn(30)
        nursery.cancel_scope.cancel()
    assert Knobs(book, 100).volume == 30


async def test_a_mute_just_before_the_end_is_written_though_the_disk_is_slow(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", SlowDisk(0.1).run_sync)
    book = Book()
    knobs = Knobs(book, 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(knobs.run)
        await trio.sleep(1.0)
        knobs.mute(muted=True)
        await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert Knobs(book, 100).muted


async def test_what_the_disk_refused_is_written_with_the_next_change(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    book = Book()
    book.fails = True
    knobs = Knobs(book, 100)
    nursery.start_soon(knobs.run)
    knobs.mute(muted=True)
    await trio.sleep(1.0)
    assert book.content is None
    book.fails = False
    knobs.turn(50)
    await trio.sleep(2.0)
    assert Knobs(book, 100).muted


async def test_a_setting_that_was_changed_begins_anew(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    book = Book()
    knobs = Knobs(book, 100)
    nursery.start_soon(knobs.run)
    knobs.turn(30)
    knobs.mute(muted=True)
    await trio.sleep(2.0)
    assert (Knobs(book, 100).volume, Knobs(book, 60).volume) == (30, 60)
    assert Knobs(book, 60).muted


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"[" * 100_000,
        b'{"version": 1, "volume": 101, "setting": 1, "muted": true}',
        b'{"version": 2, "volume": 10, "setting": 1, "muted": true}',
        b'{"version": 1, "volume": "10", "setting": 1, "muted": true}',
    ],
)
def test_what_is_of_no_use_is_set_aside(content: bytes) -> None:
    book = Book()
    book.content = content
    knobs = Knobs(book, 70)
    assert (knobs.volume, knobs.muted) == (70, False)
    assert book.aside


async def test_a_real_file_is_for_its_owner_only(
    tmp_path: Path, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    path = tmp_path / "knobs"
    knobs = Knobs(StateFile(path, VERSION), 100)
    nursery.start_soon(knobs.run)
    knobs.mute(muted=True)
    await trio.sleep(1.0)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Knobs(StateFile(path, VERSION), 100).muted
