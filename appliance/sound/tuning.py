"""Which rate the box runs at, where its owner leaves that to the cards (`[audio] rate_hz = 0`).

The rate is one for all: microphone, speaker and wire. So it changes only in the quiet: no
connection, nothing kept or to be sent, nothing sounds. What it is is asked of the cards whenever
one of them is opened: at the start, when one is put in later, when another takes its place.

  * A card tells all that it can only while neither half of it is open: many a codec has one clock,
    and a stream that is open leaves the other half no choice. So a rate is *found* with both cards
    closed. One that is put in is asked alone first, and the other one is disturbed only where it
    would have to change: it is given back, both are asked, both are opened at the rate found.
  * A card that is opened while it is not quiet is not asked. It runs at the box's rate, converted,
    or it is refused in words and waited for; `status` says which, and that it has not been asked.
    In the next quiet moment it is opened anew.
  * A card that is missing, or tells nothing, changes nothing.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from appliance.errors import DeviceError
from appliance.sound.names import best_rate
from appliance.sound.pcm import Format
from appliance.sound.plug import Plug, log

MICROPHONE, SPEAKER = HALVES = ("microphone", "speaker")

Native = Callable[[str], Collection[int] | None]


class Tuning:
    """The box's rate. Opening and asking a card may hold up everything; nothing else waits.

    Args:
        rate_hz: the owner's; 0: the cards are asked.
        taken: the rates that the far end takes.
        native: those that the card of a half (`HALVES`) has by itself, none of whose streams of
            ours is open; None if it does not tell; it may raise `DeviceError`.
        is_quiet: whether the rate may change now.
        retune: told of another rate, within the call.
    """

    def __init__(
        self,
        rate_hz: int,
        taken: Collection[int],
        *,
        native: Native,
        is_quiet: Callable[[], bool],
        retune: Callable[[Format], None],
    ) -> None:
        self.form = Format(rate_hz or best_rate(None, None, taken))
        self._asks = not rate_hz
        self._taken = taken
        self._native = native
        self._is_quiet = is_quiet
        self._retune = retune
        self._plugs: dict[str, Plug[Any]] = {}
        self._known: dict[str, Collection[int] | None] = {}  # what each open card has told
        self._fresh: set[str] = set()  # of those, the ones that are about to be opened

    def join(self, plug: Plug[Any]) -> None:
        """This is what keeps the card of one half open."""
        self._plugs[plug.what] = plug
        if self._asks:
            plug.about_to_open = partial(self._prepare, plug)

    def status(self) -> dict[str, object]:
        """What is known of the rate, for people."""
        return {
            "rate_hz": self.form.rate_hz,
            "found": self._asks,
            "unasked": ", ".join(plug.what for plug in self._unasked) or None,
        }

    def start(self) -> None:
        """Find a rate before any card is opened, so that also the first connection has it."""
        if self._asks:
            try:
                self._find(MICROPHONE)
            except DeviceError as error:  # who opens it next meets it too, and tells
                log.debug("no rate is found: %s", error)

    def look(self) -> None:
        """It may be quiet now: a card that has not been asked is opened anew."""
        unasked = self._unasked
        if unasked and self._is_quiet():
            unasked[0].reopen()
        else:
            for plug in self._plugs.values():
                plug.stay()

    @property
    def _unasked(self) -> list[Plug[Any]]:
        if not self._asks:
            return []
        return [one for one in self._plugs.values() if one.is_open and one.what not in self._known]

    async def _prepare(self, plug: Plug[Any]) -> None:
        """Its card is about to be opened: see to it that the rate is right."""
        half = plug.what
        if half in self._fresh:
            self._fresh.discard(half)
            return
        self._known.pop(half, None)
        if not self._is_quiet():
            return
        other = next(one for one in self._plugs.values() if one is not plug)
        if not other.is_open:
            self._find(half)
        elif not self._suits(half, other.what):
            async with other.given_back():
                if self._is_quiet():
                    self._find(half)
                else:
                    self._known.pop(half)
        self._fresh.discard(half)

    def _suits(self, half: str, other: str) -> bool:
        """Whether what the card of this half tells leaves the rate as it is.

        One that has no rate at all may have none for the sake of the other half.
        """
        told = self._known[half] = self._native(half)
        if told is None:
            return True
        return bool(told) and other in self._known and self._best == self.form.rate_hz

    def _find(self, first: str) -> None:
        """Both cards are closed: ask them, that of the half `first` first, and run at the best.

        Raises:
            DeviceError: the first one does not open.
        """
        self._known.clear()
        self._fresh.clear()
        for half in sorted(HALVES, key=lambda half: half != first):
            try:
                self._known[half] = self._native(half)
            except DeviceError:
                if half == first:
                    raise
                self._known[half] = None
        self._fresh = {half for half, told in self._known.items() if told}
        if self._best != self.form.rate_hz and any(self._known.values()):
            self.form = Format(self._best)
            log.info("the cards, and the wire, run at %d Hz from now on", self.form.rate_hz)
            self._retune(self.form)

    @property
    def _best(self) -> int:
        return best_rate(self._known.get(MICROPHONE), self._known.get(SPEAKER), self._taken)
