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

A card that stands still may be wanted back, to be opened at another rate (`tuning.py`): it is
closed and opened again, of which nothing is told, because nothing was lost.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
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


async def _nothing() -> None:
    """Nothing is to be done first."""


class Plug(Generic[S]):
    """Keeps one card open, as far as there is one.

    Args:
        what: "microphone" or "speaker", for the journal.
        opens: opens the card, raising `DeviceError`; it may hold up everything for a while.
        use: uses an open card until it fails, raising `DeviceError`; it returns where the card
            stands still and `is_to_close`.
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
        self.what = what
        self.about_to_open: Callable[[], Awaitable[None]] = _nothing  # may raise DeviceError
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
        self._is_to_reopen = False
        self._is_given_back = False  # and not to be opened until that is over
        self._closed = trio.Event()
        self._closed.set()
        self._free = trio.Event()

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
            "paced_by": chain and chain.paced_by,
            "xruns": self._past_xruns + (self._card.xruns if self._card is not None else 0),
        }

    @property
    def is_open(self) -> bool:
        """Whether there is an open card."""
        return self._card is not None

    @property
    def is_to_close(self) -> bool:
        """Whether the open card is wanted back, as soon as it stands still."""
        return self._is_to_reopen or self._is_given_back

    def reopen(self) -> None:
        """Close the card where it stands still, and open it anew. Never waits."""
        if self.is_open:
            self._is_to_reopen = True
            self._stir()

    def stay(self) -> None:
        """Not now, if it has not been closed yet: it is wanted. Never waits."""
        self._is_to_reopen = False

    @asynccontextmanager
    async def given_back(self) -> AsyncIterator[None]:
        """No card is open within. Waits until one that is open stands still and was closed."""
        self._is_given_back = True
        self._stir()
        try:
            await self._closed.wait()
            yield
        finally:
            self._is_given_back = False
            self._free.set()

    async def run(self) -> None:
        """Open, have it used, and open again when it fails."""
        while True:
            while self._is_given_back:
                self._free = trio.Event()
                await self._free.wait()
            try:
                await self.about_to_open()
                card = self._opens()
            except DeviceError as error:
                self._lose(error)
            else:
                self._retry_s, self._soon = RETRY_MIN_S, []
                if await self._have_used(card):
                    continue
            await self._wait_for_next()

    async def _have_used(self, card: S) -> bool:
        """Whether the card has been given back, and had not failed."""
        self._closed = trio.Event()
        with closing(card):
            self._card, self._trouble = card, ""
            self._found()
            try:
                await self._use(card)
            except DeviceError as error:
                self._past_xruns += card.xruns
                self._lose(error)
                is_well = False
            else:
                self._past_xruns += card.xruns
                self._card, is_well = None, True
        self._is_to_reopen = False
        self._closed.set()
        return is_well

    def _lose(self, error: DeviceError) -> None:
        self._card = None
        is_news, self._trouble = not self._trouble, str(error)
        if is_news:
            log.warning("the %s is gone: %s", self.what, error)
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
