"""The lamp: one LED, and one task that plays what it should show.

gpiozero could blink by itself, but with a thread for each lamp; a task wakes up only when the
level changes, and never while the look is steady.
"""

from contextlib import suppress
from itertools import cycle

import trio

from appliance.errors import DeviceError
from appliance.panel.looks import DARK, Look
from appliance.panel.pins import naming, output_pin


class Lamp:
    """An LED between `pin` and ground, dark until told otherwise.

    Raises:
        DeviceError: this machine has no pins, or this one is taken or not there.
    """

    def __init__(self, pin: int) -> None:
        self._pin = pin
        self._look = DARK
        self._changed = trio.Event()
        self._fault: DeviceError | None = None
        self._closed = False
        self._device = output_pin(pin)

    def show(self, look: Look) -> None:
        """Show `look` from now on: its first level at once, the rest as `run` plays it.

        Never waits and never fails: a pin that fails ends `run`. What is shown already goes on
        undisturbed. After `close` nothing is shown.
        """
        if self._closed or look == self._look:
            return
        self._look = look
        try:
            self._light(look.pattern[0][0])
        except DeviceError as fault:
            self._fault = fault
        self._changed.set()

    async def run(self) -> None:
        """Play looks until cancelled or closed.

        Raises:
            DeviceError: the pin failed.
        """
        while not self._closed:
            self._changed = trio.Event()
            if self._fault is not None:
                raise self._fault
            await self._play(self._look, until=self._changed)

    def close(self) -> None:
        """Leave it dark and give the pin back. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._changed.set()
        with suppress(DeviceError):  # a lamp that has failed is as dark as we can make it
            self._light(lit=False)
        self._device.close()

    async def _play(self, look: Look, *, until: trio.Event) -> None:
        if len(look.pattern) == 1:
            await until.wait()
            return
        for lit, lasts_s in cycle(look.pattern):
            self._light(lit)
            with trio.move_on_after(lasts_s):
                await until.wait()
                return

    def _light(self, lit: bool) -> None:
        with naming(self._pin):
            self._device.value = lit
