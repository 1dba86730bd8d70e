"""Whether the box has been updated, and when it says so.

Decided here:
  * The release that was told of last is kept over a restart; a box that starts with a newer one has
    something to say. It says so once, as the first use of it is over: when the box falls asleep,
    with nothing held, soon after a press. So somebody is there, and nothing talks at 3 at night. A
    box in mode `open`, which hardly sleeps, may keep it to itself for long.
  * What is on trial and put back before anybody pressed is never told of.
  * One that was set back says nothing, nor does a box that starts for the first time.
"""

import re
from collections.abc import Callable

import msgspec
import trio

from appliance.conversation import ATTENDED_S, Event, Phase
from appliance.purse import Book
from appliance.sound.sentences import UPDATED

VERSION = 1


class _Content(msgspec.Struct):
    """The file."""

    version: int
    release: str


def is_newer(release: str, than: str) -> bool:
    """Whether a release, such as 0.10.0, comes after another."""
    one, other = (tuple(map(int, re.findall(r"\d+", it))) for it in (release, than))
    return one > other


class Novelty:
    """What there is to say of the release that runs. Making one reads the file; `run` lives on.

    Args:
        book: the file; None: nowhere, and nothing is ever new.
        release: the one that runs.
        say: takes the name of a sentence, and never waits.
    """

    def __init__(self, book: Book | None, release: str, say: Callable[[str], None]) -> None:
        self._book = book
        self._release = release
        self._say = say
        self._pressed_s = float("-inf")
        self._told = trio.Event()
        kept = self._read()
        self.is_new = kept is not None and is_newer(release, kept)
        if kept != release and not self.is_new:
            self._told.set()

    def _read(self) -> str | None:
        content = self._book.read() if self._book is not None else None
        if content is None or self._book is None:
            return None
        try:
            kept = msgspec.json.decode(content, type=_Content)
        except (msgspec.MsgspecError, RecursionError):
            kept = None
        if kept is None or kept.version != VERSION:
            self._book.set_aside("is not what was written there")
            return None
        return kept.release

    def happened(self, event: Event, phase: Phase, *, held: bool) -> None:
        """Something happened, and now it is so: say it, if this is the time. Never waits."""
        now_s = trio.current_time()
        if event is Event.PRESSED:
            self._pressed_s = now_s
        is_attended = now_s - self._pressed_s <= ATTENDED_S
        if self.is_new and is_attended and phase is Phase.ASLEEP and not held:
            self.is_new = False
            self._say(UPDATED)
            self._told.set()

    async def run(self) -> None:
        """Write down what was told of, once, when it was."""
        await self._told.wait()
        if self._book is not None:
            content = msgspec.json.encode(_Content(VERSION, self._release))
            await trio.to_thread.run_sync(self._book.write, content, abandon_on_cancel=True)
