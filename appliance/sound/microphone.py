"""The ear: a supervised part that reads a capture card while it is wanted.

Asleep, the card is open and its stream stands still: opening may take half a second on USB and
holds the interpreter, so that is done at the start, not at the press.

A card that fails is announced once, closed, and tried again after 1 s, 2 s, … 5 s. Nothing else
of the box stops for it; but a sound server that hangs holds up whoever opens or closes its cards,
so the announcement comes first. A card that stands still is looked at now and then, because one
that is pulled out while nobody wants it says nothing.

A card from which nothing comes for 2 s has failed, whatever it says or brings then: a stalled
sound server raises nothing and delivers its backlog later, which is discarded by opening anew.
"""

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

import trio

from appliance.errors import DeviceError
from appliance.sound.pcm import Format, first_channel

log = logging.getLogger("appliance.sound")

STALL_S = 2.0
RETRY_MIN_S = 1.0
RETRY_MAX_S = 5.0
LOOK_S = 2.0  # so often at a card that stands still: what was pulled out is known before a press


class Capture(Protocol):
    """An open capture stream of a card."""

    @property
    def form(self) -> Format:
        """What the card grants."""

    def start(self) -> None:
        """Begin to record, or begin anew."""

    def read(self) -> bytes:
        """The whole periods that are there; empty if there are none. Never waits."""

    async def wait(self) -> None:
        """Wait until there may be something to read. May wake for nothing."""

    def stop(self) -> None:
        """Stand still and forget what was not read."""

    def check(self) -> None:
        """Fail if it is known to be gone. Never waits."""

    def close(self) -> None:
        """Give the card back."""


class Microphone:
    """Records while it is on.

    Args:
        opens: opens the card, raising `DeviceError`; it may hold up everything for a while.
        heard: takes each piece, one channel at the card's rate.
        found: told when the card is open.
        lost: told when it failed, once each time.
    """

    def __init__(
        self,
        opens: Callable[[], Capture],
        *,
        heard: Callable[[bytes], None],
        found: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self._is_on = False
        self._is_to_forget = False  # what the card has by now is not to be heard
        self._is_lost = False  # and that was told
        self._opens = opens
        self._heard = heard
        self._found = found
        self._lost = lost
        self._switched_on = trio.Event()

    def on(self) -> None:
        """Record from now on. Never waits."""
        self._is_on = True
        self._switched_on.set()

    def off(self) -> None:
        """Hear nothing from now on. Never waits."""
        self._is_on = False

    def forget(self) -> None:
        """Hear nothing of what was said until now, not even the rest of a period. Never waits."""
        self._is_to_forget = True

    async def run(self) -> None:
        """Open, record, and open again when the card fails. Lives as long as the box."""
        retry_s = RETRY_MIN_S
        while True:
            try:
                card = self._opens()
            except DeviceError as error:
                self._lose(error)
            else:
                retry_s = RETRY_MIN_S
                with closing(card):
                    await self._use(card)
            await trio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MAX_S)

    async def _use(self, card: Capture) -> None:
        """Record with a card until it fails; told before the close, which may take its time."""
        self._is_lost = False
        self._found()
        try:
            await self._record(card)
        except DeviceError as error:
            self._lose(error)

    def _lose(self, error: DeviceError) -> None:
        if not self._is_lost:
            self._is_lost = True
            log.warning("the microphone is gone: %s", error)
            self._lost()

    async def _record(self, card: Capture) -> None:
        while True:
            while not self._is_on:
                self._switched_on = trio.Event()
                with trio.move_on_after(LOOK_S):
                    await self._switched_on.wait()
                card.check()
            card.start()
            self._is_to_forget = False
            await self._record_on(card)
            card.stop()

    async def _record_on(self, card: Capture) -> None:
        channels = card.form.channels
        stalls_s = trio.current_time() + STALL_S
        while True:
            with trio.move_on_at(stalls_s):
                await card.wait()
            if not self._is_on or self._is_to_forget:
                return
            if trio.current_time() >= stalls_s:  # what there may be by now is old
                raise DeviceError(f"nothing came for {STALL_S:.0f} s")
            sound = card.read()
            if sound:
                stalls_s = trio.current_time() + STALL_S
                self._heard(first_channel(sound, channels))
