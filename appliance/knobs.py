"""Where the knobs stand: volume and mute, as fingers and words have left them, over a restart.

Decided here:
  * The kept volume goes before `[audio] volume`, which is the level of the first start. But an
    owner who changes the setting means it: the file has the setting that the volume began with,
    and another one in its place begins anew.
  * A box that was muted starts muted.
  * A file that is damaged or newer than this program is set aside, and the box starts as a new
    one, not muted: its lamp and `status` say so, and a box with one button must not fall silent
    for good.
  * A change of the volume is written a second later, so that ten presses are one write; mute at
    once. Both in a thread, whole or not at all: an SD card may take its time, a plug may be pulled.
    What the disk has refused is written with the next change, and when the box stops.
"""

import msgspec
import trio

from appliance.purse import Book

VERSION = 1
SETTLE_S = 1.0
LAST_WRITE_LIMIT_S = 0.3


class _Content(msgspec.Struct):
    """The file."""

    version: int
    volume: int
    setting: int
    muted: bool


class Knobs:
    """Volume and mute as they are to be kept. Making one reads the file; `run` lives on.

    Args:
        book: the file; None: nowhere.
        setting: the owner's `[audio] volume`.
    """

    def __init__(self, book: Book | None, setting: int) -> None:
        self.volume = setting
        self.muted = False
        self._setting = setting
        self._book = book
        self._is_dirty = False
        self._changed = trio.Event()
        self._urgent = trio.Event()
        self._read()

    def _read(self) -> None:
        content = self._book.read() if self._book is not None else None
        if content is None or self._book is None:
            return
        try:
            kept = msgspec.json.decode(content, type=_Content)
        except (msgspec.MsgspecError, RecursionError):
            kept = None
        if kept is None or kept.version != VERSION or not 0 <= kept.volume <= 100:
            self._book.set_aside("is not what was written there")
            return
        self.muted = kept.muted
        if kept.setting == self._setting:
            self.volume = kept.volume

    def turn(self, volume: int) -> None:
        """The volume was changed."""
        if volume != self.volume:
            self.volume, self._is_dirty = volume, True
            self._changed.set()

    def mute(self, *, muted: bool) -> None:
        """The box was muted, or is not any more."""
        if muted is not self.muted:
            self.muted, self._is_dirty = muted, True
            self._changed.set()
            self._urgent.set()

    async def run(self) -> None:
        """Write what has changed, until cancelled; then once more, if the disk is quick."""
        try:
            while True:
                await self._changed.wait()
                with trio.move_on_after(SETTLE_S):
                    await self._urgent.wait()
                self._changed, self._urgent = trio.Event(), trio.Event()
                await self._write()
        finally:
            with trio.move_on_after(LAST_WRITE_LIMIT_S, shield=True):
                await self._write()

    async def _write(self) -> None:
        if self._book is None or not self._is_dirty:
            return
        self._is_dirty = False
        content = msgspec.json.encode(
            _Content(VERSION, self.volume, self._setting, self.muted),
        )
        has_it = False
        try:
            write = self._book.write
            has_it = await trio.to_thread.run_sync(write, content, abandon_on_cancel=True)
        finally:
            if not has_it:  # also if the box stops meanwhile: the thread may not live to see it
                self._is_dirty = True
