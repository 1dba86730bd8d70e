"""Lamps on plain pins: one LED, one of three colours, or an LED for each look.

A pin is on or off, so these lamps know no brightness but some light and none. Dimming them would
take a thread that switches some hundred times a second, and jitters.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from typing import Any

from appliance.panel.dimmer import Dimmer
from appliance.panel.looks import PLAYED_BY, Look
from appliance.panel.pins import naming, output_pin
from appliance.panel.player import FULL, Player

HALF = 128  # of 255: from here on a colour's share is a pin that is on


class _OnPins(Player):
    """LEDs on `pins`; a kind says which of them a look wants.

    Raises:
        DeviceError: this machine has no pins, or one of these is taken or not there.
    """

    def __init__(self, pins: Iterable[int], *, active_high: bool, dimmer: Dimmer) -> None:
        super().__init__(dimmer)
        self._device = _Outputs(pins, active_high=active_high)

    def _light(self, look: Look, light: float) -> None:
        self._device.light(self._wanted(look) if light else frozenset())

    def _let_go(self) -> None:
        self._device.close()

    @abstractmethod
    def _wanted(self, look: Look) -> AbstractSet[int]:
        """The pins that are on while `look` is lit."""


class Leds(_OnPins):
    """An LED for each look: `pins` by what looks mean; *listening* is among them.

    A look without an LED is played by another's, in its own rhythm (`PLAYED_BY`).
    """

    def __init__(
        self, pins: Mapping[str, int], *, active_high: bool = True, dimmer: Dimmer = FULL
    ) -> None:
        super().__init__(pins.values(), active_high=active_high, dimmer=dimmer)
        self._pins = dict(pins)

    def _wanted(self, look: Look) -> AbstractSet[int]:
        means = look.means
        while means not in self._pins:
            means = PLAYED_BY[means]
        return {self._pins[means]}


class Lamp(Leds):
    """One LED between `pin` and ground, or with `active_high` False between 3.3 V and `pin`."""

    def __init__(self, pin: int, *, active_high: bool = True, dimmer: Dimmer = FULL) -> None:
        super().__init__({"listening": pin}, active_high=active_high, dimmer=dimmer)


class Rgb(_OnPins):
    """One LED of three colours: common cathode, or with `active_high` False common anode."""

    def __init__(
        self, pins: tuple[int, int, int], *, active_high: bool = True, dimmer: Dimmer = FULL
    ) -> None:
        super().__init__(pins, active_high=active_high, dimmer=dimmer)
        self._pins = pins

    def _wanted(self, look: Look) -> AbstractSet[int]:
        return {pin for pin, share in zip(self._pins, look.color, strict=True) if share >= HALF}


class _Outputs:
    """Pins that are outputs: all of them, or none is kept."""

    def __init__(self, pins: Iterable[int], *, active_high: bool) -> None:
        self._devices: dict[int, Any] = {}
        with ExitStack() as opened:
            for pin in dict.fromkeys(pins):
                self._devices[pin] = output_pin(pin, active_high=active_high)
                opened.callback(self._devices[pin].close)
            self._opened = opened.pop_all()

    def light(self, wanted: AbstractSet[int]) -> None:
        """Put on the `wanted` and no other. Raises DeviceError."""
        for pin, device in self._devices.items():
            with naming(pin):
                device.value = pin in wanted

    def close(self) -> None:
        """Give them back. A second time does nothing."""
        self._opened.close()
