"""A box that was updated says so once, to somebody. In virtual time; the file is memory."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from appliance import __version__
from appliance.conversation import Phase
from appliance.novelty import is_newer
from tests.box import Box, a_box, tone
from tests.test_cues import said, sentence
from tests.test_purse import Book


@pytest.fixture(autouse=True)
def _a_quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of its own would race with the virtual clock."""

    async def run_sync(write: Callable[[bytes], bool], content: bytes, **_: bool) -> bool:
        await trio.lowlevel.checkpoint()
        return write(content)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


def told_of(release: str) -> Book:
    book = Book()
    book.content = f'{{"version": 1, "release": "{release}"}}'.encode()
    return book


async def tap(box: Box) -> None:
    """Somebody presses, and has nothing to say."""
    box.button.press()
    await trio.sleep(0.1)
    box.button.release()
    await trio.sleep(5.0)


async def test_it_is_said_when_the_first_use_is_over_and_never_again(
    autojump_clock: MockClock,
) -> None:
    book = told_of("0.0.9")
    async with a_box(release_book=book) as box:
        await trio.sleep(3600.0)
        assert box.room.heard == []
        assert book.written == 0
        await tap(box)
        assert said(box) == ["updated"]
        assert sentence("updated")[-2000:] in box.spoken()
        assert book.written == 1
        await tap(box)
        assert said(box) == ["updated"]
    async with a_box(release_book=book) as box:
        await tap(box)
        assert said(box) == []


async def test_it_waits_for_the_end_of_a_conversation(autojump_clock: MockClock) -> None:
    async with a_box(release_book=told_of("0.0.9")) as box:
        await box.say(tone(1.0))
        await box.until(Phase.RESTING)
        assert said(box) == []
        await box.until(Phase.ASLEEP)
        await trio.sleep(1.0)
        assert said(box) == ["updated"]


async def test_nobody_is_told_who_is_not_there(autojump_clock: MockClock) -> None:
    settings = "[talk]\nhang_up_after_s = 300"
    async with a_box(settings, release_book=told_of("0.0.9")) as box:
        await box.say(tone(1.0))
        await box.until(Phase.RESTING)
        await box.until(Phase.ASLEEP, limit_s=400.0)
        await trio.sleep(5.0)
        assert said(box) == []
        await tap(box)
        assert said(box) == ["updated"]


async def test_a_press_silences_it(autojump_clock: MockClock) -> None:
    async with a_box(release_book=told_of("0.0.9")) as box:
        box.button.press()
        await trio.sleep(0.1)
        box.button.release()
        await trio.sleep(0.5)
        assert said(box) == ["updated"]
        pressed_s = trio.current_time()
        box.button.press()
        await trio.sleep(3.0)
        [(began_s, sound)] = box.room.heard
        assert began_s + len(sound) / 2 / 16000 <= pressed_s


@pytest.mark.parametrize("release", [__version__, "9.0.0", ""])
async def test_what_is_not_newer_is_no_news(release: str, autojump_clock: MockClock) -> None:
    book = told_of(release) if release else Book()
    async with a_box(release_book=book) as box:
        await tap(box)
        assert said(box) == []
    assert book.content is not None
    assert f'"{__version__}"'.encode() in book.content


async def test_without_a_language_it_is_not_said(autojump_clock: MockClock) -> None:
    book = told_of("0.0.9")
    async with a_box('[cues]\nlanguage = ""', release_book=book) as box:
        await tap(box)
        assert box.room.heard == []
    assert book.written == 1


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 2, "release": "0.0.1"}'])
async def test_a_file_that_is_not_ours_is_set_aside(
    content: bytes, autojump_clock: MockClock
) -> None:
    book = Book()
    book.content = content
    async with a_box(release_book=book) as box:
        await tap(box)
        assert said(box) == []
    assert book.aside


def test_ten_comes_after_nine() -> None:
    assert is_newer("0.10.0", "0.9.0")
    assert is_newer("1.0.1", "1.0")
    assert not is_newer("0.9.0", "0.9.0")
    assert not is_newer("0.9.0", "0.10.0")
