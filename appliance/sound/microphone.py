"""The ear: a supervised part that reads a capture card while it is wanted.

Asleep, the card is open and its stream stands still: opening may take half a second on USB and
holds the interpreter, so that is done at the start, not at the press.

A card from which nothing comes for 2 s has failed, whatever it says or brings then: a stalled
sound server raises nothing and delivers its backlog later, which is discarded by opening anew.

The backlog of a shorter stall is kept, all of it: it was recorded since the press (`start` drops
what is older), so it is the owner's words, and no word is lost for coming late. It goes out in its
order, faster than real time, as what was said before the connection stood does. Where the words
are not wanted (`duplex = "half"`, while an answer sounds) the speaker of the same server stood
still too, so the answer still sounds when the backlog comes, and it is zeros as well.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from appliance.errors import DeviceError
from appliance.sound.pcm import Chain, Format, to_mono
from appliance.sound.plug import Plug

STALL_S = 2.0


class Capture(Protocol):
    """An open capture stream of a card."""

    @property
    def form(self) -> Format:
        """What the card grants."""

    @property
    def chain(self) -> Chain:
        """What runs beneath it."""

    @property
    def xruns(self) -> int:
        """How often it ran full, so that sound was lost."""

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
        self._heard = heard
        self._stirred = trio.Event()
        self.plug = Plug("microphone", opens, self._record, found=found, lost=lost, stir=self._stir)

    def on(self) -> None:
        """Record from now on. Never waits."""
        if not self._is_on:
            self.plug.moved()  # nobody had anything to look after until now
        self._is_on = True
        self._stir()

    def off(self) -> None:
        """Hear nothing from now on. Never waits."""
        self._is_on = False

    def forget(self) -> None:
        """Hear nothing of what was said until now, not even the rest of a period. Never waits."""
        self._is_to_forget = True

    def is_alive(self) -> bool:
        """Whether somebody looks after the card while it is to record."""
        return self.plug.is_alive(busy=self._is_on)

    def cards_changed(self) -> None:
        """The kernel says that a card came or went, and will say so again. Never waits."""
        self.plug.cards_changed()

    def status(self) -> dict[str, object]:
        """What is known of the card; see `Plug.status`."""
        return self.plug.status()

    async def run(self) -> None:
        """Open, record, and open again when the card fails. Lives as long as the box."""
        await self.plug.run()

    def _stir(self) -> None:
        self._stirred.set()

    async def _record(self, card: Capture) -> None:
        while True:
            while not self._is_on:
                if self.plug.is_to_close:
                    return
                self._stirred = trio.Event()
                with trio.move_on_after(self.plug.look_s):
                    await self._stirred.wait()
                card.check()
            card.start()
            self._is_to_forget = False
            await self._record_on(card)
            card.stop()
            if self.plug.is_to_close:
                return

    async def _record_on(self, card: Capture) -> None:
        stalls_s = trio.current_time() + STALL_S
        while True:
            self.plug.moved()
            with trio.CancelScope(deadline=stalls_s):
                await card.wait()
            if not self._is_on or self._is_to_forget or self.plug.is_to_close:
                return
            if trio.current_time() >= stalls_s:  # what there may be by now is old
                raise DeviceError(f"nothing came for {STALL_S:.0f} s")
            sound = card.read()
            if sound:
                stalls_s = trio.current_time() + STALL_S
                self._heard(to_mono(sound, card.form))
