"""A lamp and a button without pins, on trio's clock. Both pass the tests of the real ones."""

from collections.abc import Callable

import trio

from appliance.panel.looks import DARK, Look


class StandinLamp:
    """Remembers what it was told to show: `shown` is [(time in seconds of trio's clock, look)]."""

    def __init__(self) -> None:
        self.shown: list[tuple[float, Look]] = []
        self._closed = trio.Event()

    @property
    def look(self) -> Look:
        """What it shows now."""
        return self.shown[-1][1] if self.shown else DARK

    @property
    def is_lit(self) -> bool:
        """Whether an LED in its place would be lit at this moment."""
        if not self.shown or self._closed.is_set():
            return False
        since_s, look = self.shown[-1]
        return look.is_lit(trio.current_time() - since_s)

    def show(self, look: Look) -> None:
        """Show `look` from now on, if it is another. Never waits."""
        if not self._closed.is_set() and look != self.look:
            self.shown.append((trio.current_time(), look))

    async def run(self) -> None:
        """Wait until cancelled or closed: there is nothing to play."""
        await self._closed.wait()

    def close(self) -> None:
        """Leave it dark. A second time does nothing."""
        self._closed.set()


class StandinButton:
    """A button for a script: `press` and `release` are its finger.

    They tell at once, within the call; a real button tells in the next turn of the loop. Pressing
    what is pressed does nothing, as with a finger.
    """

    def __init__(self, *, pressed: Callable[[], None], released: Callable[[], None]) -> None:
        self._pressed = pressed
        self._released = released
        self._closed = False
        self._down = False

    @property
    def is_pressed(self) -> bool:
        """Whether the finger is on it; False after `close`."""
        return self._down and not self._closed

    def press(self) -> None:
        """Put the finger down."""
        if not self._down:
            self._down = True
            if not self._closed:
                self._pressed()

    def release(self) -> None:
        """Lift the finger."""
        if self._down:
            self._down = False
            if not self._closed:
                self._released()

    def close(self) -> None:
        """Tell nothing more. A second time does nothing."""
        self._closed = True
