"""A card that comes and goes: opened, used, waited for, and opened again. Lives as long as the box.

A card that fails is announced once, closed, and tried again after 1 s, 2 s, … 5 s, by its name.
Where the kernel tells that cards changed, it is tried 0.1 s later, and again a few times: until the
system has set the new device's permissions it does not open. However often the kernel tells, a try
is never put off for longer than that.

A sound server that hangs holds up whoever opens or closes its cards, so what is told is told
before the close.

A stream that stands still is looked at now and then, because a card that is pulled out while
nobody wants it says nothing: every 2 s, unless it is the kernel's and the kernel tells. Then every
30 s, in case it does not (in some containers nothing is ever told); a sound server's end is told
by nobody, so its streams are looked at as before.
"""

import logging
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Generic, Protocol, TypeVar

import trio

from appliance.errors import DeviceError
from appliance.sound.pcm import Chain

log = logging.getLogger("appliance.sound")

RETRY_MIN_S = 1.0
RETRY_MAX_S = 5.0
SOON_S = (0.1, 0.2, 0.4, 0.8)  # the tries after the kernel told of a card
LOOK_S = 2.0
DEAD_S = 10.0  # nobody looks after a stream that runs: the loop, or we, have gone wrong
LOOK_RARELY_S = 30.0


class Stream(Protocol):
    """An open stream of a card."""

    @property
    def chain(self) -> Chain:
        """What runs beneath it."""

    @property
    def xruns(self) -> int:
        """How often it ran full or empty, so that sound was lost."""

    def close(self) -> None:
        """Give the card back."""


S = TypeVar("S", bound=Stream)


class Plug(Generic[S]):
    """Keeps one card open, as far as there is one.

    Args:
        what: "microphone" or "speaker", for the journal.
        opens: opens the card, raising `DeviceError`; it may hold up everything for a while.
        use: uses an open card until it fails, raising `DeviceError`.
        found: told when the card is open.
        lost: told when it failed, once each time.
        stir: wakes `use` where it stands still, so that it looks at the card.
    """

    def __init__(
        self,
        what: str,
        opens: Callable[[], S],
        use: Callable[[S], Awaitable[None]],
        *,
        found: Callable[[], None],
        lost: Callable[[], None],
        stir: Callable[[], None],
    ) -> None:
        self._what = what
        self._opens = opens
        self._use = use
        self._found = found
        self._lost = lost
        self._stir = stir
        self._card: S | None = None
        self._past_xruns = 0  # of the cards before this one
        self._trouble = ""  # why there is none, once that was told
        self._is_told = False  # the kernel tells when cards come and go
        self._retry_s = RETRY_MIN_S
        self._soon: list[float] = []  # the next waits, if not that
        self._changed = trio.Event()
        self._moved_s = 0.0

    def cards_changed(self) -> None:
        """The kernel says that a card came or went, and will say so again. Never waits."""
        self._is_told = True
        self._soon = list(SOON_S)
        self._changed.set()
        self._stir()

    def moved(self) -> None:
        """The stream is being looked after, right now. Never waits."""
        self._moved_s = trio.current_time()

    def is_alive(self, *, busy: bool) -> bool:
        """Whether a stream that is to run is looked after; a card that is missing is waited for.

        A card that stands still is no death: whoever looks after it finds that out in 2 s.
        """
        return not busy or self._card is None or trio.current_time() < self._moved_s + DEAD_S

    @property
    def look_s(self) -> float:
        """How long the open card may stand still before it is looked at."""
        told = self._is_told and self._card is not None and self._card.chain.is_kernels
        return LOOK_RARELY_S if told else LOOK_S

    def status(self) -> dict[str, object]:
        """What is known of the card, for people: `trouble` in words; rates in Hz."""
        chain = self._card.chain if self._card is not None else None
        return {
            "trouble": self._trouble or None,
            "rate_hz": chain and chain.rate_hz,
            "format": chain and chain.sample,
            "channels": chain and chain.channels,
            "converter": chain and chain.converter,
            "xruns": self._past_xruns + (self._card.xruns if self._card is not None else 0),
        }

    async def run(self) -> None:
        """Open, have it used, and open again when it fails."""
        while True:
            try:
                card = self._opens()
            except DeviceError as error:
                self._lose(error)
            else:
                self._retry_s, self._soon = RETRY_MIN_S, []
                with closing(card):
                    await self._have_used(card)
            await self._wait_for_next()

    async def _have_used(self, card: S) -> None:
        self._card, self._trouble = card, ""
        self._found()
        try:
            await self._use(card)
        except DeviceError as error:
            self._past_xruns += card.xruns
            self._lose(error)

    def _lose(self, error: DeviceError) -> None:
        self._card = None
        is_news, self._trouble = not self._trouble, str(error)
        if is_news:
            log.warning("the %s is gone: %s", self._what, error)
            self._lost()

    async def _wait_for_next(self) -> None:
        """Wait until it is time for the next try."""
        if not self._soon:
            self._changed = trio.Event()
            with trio.move_on_after(self._retry_s):
                await self._changed.wait()
            self._retry_s = min(self._retry_s * 2, RETRY_MAX_S)
        if self._soon:
            await trio.sleep(self._soon.pop(0))
