"""The button: a contact between a pin and ground.

gpiozero calls back in threads of its own, where nothing of ours may be touched: a callback hands
the news to trio's thread and does nothing else. How long a press lasted is for others to say.
"""

from collections.abc import Callable
from contextlib import suppress

import trio

from appliance.panel.pins import input_pin, naming


class Button:
    """Tells of each press and each release, in trio's thread and in their order.

    `pressed` and `released` must not wait.

    Raises:
        DeviceError: this machine has no pins, or this one is taken or not there.
    """

    def __init__(
        self,
        pin: int,
        *,
        pressed: Callable[[], None],
        released: Callable[[], None],
        token: trio.lowlevel.TrioToken,
    ) -> None:
        self._pin = pin
        self._pressed = pressed
        self._released = released
        self._token = token
        self._closed = False
        self._device = input_pin(pin)
        self._device.when_activated = self._went_down
        self._device.when_deactivated = self._came_up

    @property
    def is_pressed(self) -> bool:
        """Whether the contact is closed now; False after `close`.

        Raises:
            DeviceError: the pin cannot be read any more.
        """
        if self._closed:
            return False
        with naming(self._pin):
            return bool(self._device.is_active)

    def close(self) -> None:
        """Tell nothing more, and give the pin back. A second time does nothing."""
        self._closed = True
        self._device.close()

    # These two run in threads of gpiozero's.

    def _went_down(self) -> None:
        self._soon(self._pressed)

    def _came_up(self) -> None:
        self._soon(self._released)

    def _soon(self, tell: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):  # a finger on the button of a box that has stopped
            self._token.run_sync_soon(self._unless_closed, tell)

    def _unless_closed(self, tell: Callable[[], None]) -> None:
        if not self._closed:
            tell()
