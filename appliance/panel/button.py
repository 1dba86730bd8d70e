"""The button: a contact on a pin, believed as `gestures.Contact` decides.

How long a press lasted and what it means is for others to say.
"""

from collections.abc import Callable
from typing import Literal

import trio

from appliance.panel.gestures import Contact, Touch
from appliance.panel.pins import InputPin


class Button:
    """Tells of each press and each release, in trio's thread and in their order.

    `tell` must not wait. Soon after `run` begins the contact is told once as open or stuck, unless
    a press was quicker.

    Raises:
        DeviceError: this machine has no pins, or this one is taken or not there.
    """

    def __init__(
        self,
        pin: int,
        tell: Callable[[Touch], None],
        *,
        active: Literal["low", "high"] = "low",
        pull: Literal["up", "down", "none"] = "up",
    ) -> None:
        self._tell = tell
        self._closed = False
        self._contact = Contact(trio.current_time())
        self._pin = InputPin(pin, changed=self._changed, active=active, pull=pull)

    async def run(self) -> None:
        """Watch the contact until cancelled or closed. Wakes for an edge, and while it is held.

        Raises:
            DeviceError: the pin failed.
        """
        while not self._closed:
            with trio.move_on_at(self._contact.next_look_s) as wait:
                await self._pin.wait_told()
            if wait.cancelled_caught and not self._closed:
                self._pass_on(self._contact.look(self._pin.is_active, trio.current_time()))

    def close(self) -> None:
        """Tell nothing more, and give the pin back. A second time does nothing."""
        self._closed = True
        self._pin.close()

    def _changed(self, is_closed: bool) -> None:
        self._pass_on(self._contact.edge(is_closed, trio.current_time()))

    def _pass_on(self, touch: Touch | None) -> None:
        if touch is not None:
            self._tell(touch)
