"""A lamp and a button without pins, on trio's clock. Both pass the tests of the real ones."""

from collections.abc import Callable

import trio

from appliance.panel.gestures import Touch
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
    what is pressed does nothing, as with a finger. Where `is_down` it is pressed from the start.
    """

    def __init__(self, tell: Callable[[Touch], None], *, is_down: bool = False) -> None:
        self._tell = tell
        self._down = self._is_stuck = is_down
        self._closed = False
        self._ended = trio.Event()

    async def run(self) -> None:
        """Tell whether it is stuck; then wait until cancelled or closed: the rest tells itself."""
        if self._is_stuck:
            self._tell(Touch.STUCK)
        elif not self._down and not self._closed:
            self._tell(Touch.OPEN)
        await self._ended.wait()

    def press(self) -> None:
        """Put the finger down."""
        if not self._down:
            self._down = True
            if not self._closed:
                self._tell(Touch.PRESSED)

    def release(self) -> None:
        """Lift the finger."""
        if self._down:
            self._down = self._is_stuck = False
            if not self._closed:
                self._tell(Touch.RELEASED)

    def close(self) -> None:
        """Tell nothing more. A second time does nothing."""
        self._closed = True
        self._ended.set()
