"""The ear: a supervised part that reads a capture card while it is wanted.

Asleep, the card is open and its stream stands still: opening may take half a second on USB and
holds the interpreter, so that is done at the start, not at the press.

A card that fails is closed, announced once, and tried again after 1 s, 2 s, … 5 s. Nothing else
of the box stops for it. A card from which nothing comes for 2 s has failed, whatever it says: a
stalled sound server raises nothing and delivers its backlog later, which is discarded by opening
anew.
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
        self._switched_on = trio.Event()

    async def run(self) -> None:
        """Open, record, and open again when the card fails. Lives as long as the box."""
        retry_s = RETRY_MIN_S
        is_lost = False
        while True:
            try:
                with closing(self._opens()) as card:
                    is_lost, retry_s = False, RETRY_MIN_S
                    self._found()
                    await self._record(card)
            except DeviceError as error:
                if not is_lost:
                    log.warning("the microphone is gone: %s", error)
                    self._lost()
                is_lost = True
            await trio.sleep(retry_s)
            retry_s = min(retry_s * 2, RETRY_MAX_S)

    async def _record(self, card: Capture) -> None:
        while True:
            await self._switched_on.wait()
            card.start()
            await self._record_on(card)
            card.stop()

    async def _record_on(self, card: Capture) -> None:
        channels = card.form.channels
        stalls_s = trio.current_time() + STALL_S
        while True:
            with trio.move_on_at(stalls_s) as scope:
                await card.wait()
            if not self._is_on:
                return
            sound = card.read()
            if sound:
                stalls_s = trio.current_time() + STALL_S
                self._heard(first_channel(sound, channels))
            elif scope.cancelled_caught or trio.current_time() >= stalls_s:
                raise DeviceError(f"nothing came for {STALL_S:.0f} s")
