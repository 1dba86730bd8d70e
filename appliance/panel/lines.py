"""gpiozero's pins on the kernel's GPIO lines: a pin factory without a thread and without polling.

gpiozero's own way, lgpio, asks twice a millisecond whether an edge has come, for as long as a
button is armed: 5 % of a Raspberry Pi 4 that does nothing. Here an edge makes a descriptor
readable, and whoever owns the input waits on it (`GpiodPin.wait_edges`) in trio's own thread; the
kernel does the debouncing. Only what gpiozero's input and output devices ask of a pin is here; PWM,
which the kernel's lines do not have, is refused.

Decided here:
  * The chip is found by its label, never by its number: the header of a Pi 5 is gpiochip0 or
    gpiochip4, as its kernel likes. A chip with a label that we do not know is taken if it calls
    its line 17 "GPIO17", as the chip of every Pi's header does.
  * A board that gpiozero does not know, or that tells no revision at all, has the 40 pins that
    all boards since 2014 have: its GPIO numbers are all that is needed.
  * Each line is a request of its own, held from the first use of its pin until the pin is closed.
    What changes meanwhile (direction, pull, edges) reconfigures that request, so that a line is
    never let go of in between, where somebody else might take it.

Sources: linux/Documentation/userspace-api/gpio/chardev.rst (v2 of the interface); the labels from
drivers/pinctrl/bcm/pinctrl-bcm2835.c and drivers/pinctrl/pinctrl-rp1.c.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import gpiod
import trio
from gpiod.line import Bias, Direction, Edge, Value
from gpiozero import (
    GPIOPinInUse,
    PinFixedPull,
    PinInvalidFunction,
    PinInvalidPull,
    PinPWMUnsupported,
    PinSetInput,
    PinUnknownPi,
)
from gpiozero.pins.local import LocalPiFactory, LocalPiPin

from appliance.errors import DeviceError

CONSUMER = "voice-appliance"  # what `gpioinfo` shows beside our lines
LABELS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")  # Pi 5; Pi 4; all before
FORTY_PINS = 0x800FF0  # a revision of the new style, of no model that there is
HEADER_LINES = 28  # GPIO 0 to 27

BIASES = {"up": Bias.PULL_UP, "down": Bias.PULL_DOWN, "floating": Bias.DISABLED}
PULLS = {bias: pull for pull, bias in BIASES.items()}
EDGES = {"both": Edge.BOTH, "rising": Edge.RISING, "falling": Edge.FALLING}
EDGE_NAMES = {edge: name for name, edge in EDGES.items()}

OpenChip = Callable[[str], gpiod.Chip]


def chips() -> list[str]:
    """The devices of this machine's GPIO chips."""
    return sorted(map(str, Path("/dev").glob("gpiochip*")))


class GpiodFactory(LocalPiFactory):  # type: ignore[misc]  # gpiozero is untyped
    """A pin factory for gpiozero, on the chip that has the header's pins.

    Raises:
        DeviceError: none of the chips is that of a Raspberry Pi's header, or none may be opened.
    """

    def __init__(self, paths: list[str] | None = None, open_chip: OpenChip = gpiod.Chip) -> None:
        """A factory on one of the chips.

        Args:
            paths: the devices to look at; None for all of this machine.
            open_chip: opens one of them.
        """
        super().__init__()
        self.open_chip = open_chip
        self.path = _find_header(chips() if paths is None else paths, open_chip)
        self.pin_class = GpiodPin

    def _get_revision(self) -> int:
        try:
            return int(super()._get_revision())
        except (OSError, PinUnknownPi):
            return FORTY_PINS


def _find_header(paths: list[str], open_chip: OpenChip) -> str:
    reasons, advice = [], "; voice-appliance press does what a button does"
    for path in paths:
        try:
            with open_chip(path) as chip:
                label = chip.get_info().label
                if label in LABELS or _names_its_lines(chip):
                    return path
                reasons.append(f"{path} is {label}")
        except PermissionError as error:
            reasons.append(f"{path}: {error.strerror}")
            advice = "; its user has to be in the group that may open it"
        except OSError as error:
            reasons.append(f"{path}: {error.strerror}")
    found = ", ".join(reasons) or "there is no /dev/gpiochip*"
    raise DeviceError(f"no GPIO chip of a Raspberry Pi: {found}{advice}")


def _names_its_lines(chip: gpiod.Chip) -> bool:
    return chip.get_info().num_lines >= HEADER_LINES and chip.get_line_info(17).name == "GPIO17"


def _level(state: float) -> Value:
    return Value.ACTIVE if state else Value.INACTIVE


class GpiodPin(LocalPiPin):  # type: ignore[misc]  # gpiozero is untyped
    """One line. It is requested when it is first used, and let go of by `close`.

    Raises, from whatever uses the line:
        GPIOPinInUse: another program has it.
        OSError: it may not be used, or its chip is gone.
    """

    when_changed: Any  # gpiozero's

    def __init__(self, factory: GpiodFactory, info: Any) -> None:
        super().__init__(factory, info)
        bias = BIASES[info.pull or "floating"]
        self._unused = gpiod.LineSettings(direction=Direction.INPUT, bias=bias)
        self._settings = self._unused
        self._edges = Edge.BOTH
        self._request: gpiod.LineRequest | None = None

    def close(self) -> None:
        """Let go of the line. Who waits for its edges is told so by `trio.ClosedResourceError`."""
        request, self._request = self._request, None
        self.when_changed = None
        self._settings = self._unused
        if request is not None:
            if trio.lowlevel.in_trio_run():  # gpiozero closes at exit what is still open
                trio.lowlevel.notify_closing(request.fd)
            request.release()

    async def wait_edges(self) -> None:
        """Wait until there are edges, and call `when_changed` back for each, in their order.

        Raises:
            OSError: the chip is gone.
            trio.ClosedResourceError: the pin was closed meanwhile, or before.
        """
        if self._request is None:
            raise trio.ClosedResourceError
        await trio.lowlevel.wait_readable(self._request.fd)
        with self._saying_which():
            events = self._request.read_edge_events()
        for event in events:
            if self.when_changed is not None:  # a call back may close the pin
                level = event.event_type is gpiod.EdgeEvent.Type.RISING_EDGE
                self._call_when_changed(event.timestamp_ns / 1e9, level)

    def output_with_state(self, state: bool) -> None:
        """Make it an output that is at `state` from its first moment on."""
        self._change(
            direction=Direction.OUTPUT,
            bias=Bias.AS_IS,
            edge_detection=Edge.NONE,
            debounce_period=timedelta(),
            output_value=_level(state),
        )

    def _change(self, **settings: Any) -> None:
        self._settings = replace(self._settings, **settings)
        wanted: Any = {self._number: self._settings}
        with self._saying_which():
            if self._request is not None:
                self._request.reconfigure_lines(wanted)
                return
            with self._factory.open_chip(self._factory.path) as chip:
                self._request = self._take(chip, wanted)

    def _take(self, chip: gpiod.Chip, wanted: Any) -> gpiod.LineRequest:
        try:
            return chip.request_lines(wanted, consumer=CONSUMER)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            who = chip.get_line_info(self._number).consumer or "the kernel"
            raise GPIOPinInUse(f"taken by {who!r}") from error

    @contextmanager
    def _saying_which(self) -> Iterator[None]:
        """Let an error of the kernel's name the chip."""
        try:
            yield
        except OSError as error:
            number = error.errno or errno.EIO
            raise OSError(number, os.strerror(number), self._factory.path) from error

    @property
    def _line(self) -> gpiod.LineRequest:
        """The request; an unused pin becomes an input by being asked."""
        if self._request is None:
            self._change()
        assert self._request is not None
        return self._request

    # What gpiozero asks of its pins.

    def _get_function(self) -> str:
        return "output" if self._settings.direction is Direction.OUTPUT else "input"

    def _set_function(self, value: str) -> None:
        if value == "output":
            self.output_with_state(self._get_state())
        elif value == "input":
            self._change(direction=Direction.INPUT, output_value=Value.INACTIVE)
        else:
            raise PinInvalidFunction(f"{self!r} can be input or output, not {value!r}")

    def _get_state(self) -> bool:
        line = self._line
        with self._saying_which():
            return line.get_value(self._number) is Value.ACTIVE

    def _set_state(self, value: bool) -> None:
        if self._settings.direction is not Direction.OUTPUT:
            raise PinSetInput(f"{self!r} is an input")
        line, level = self._line, _level(value)
        with self._saying_which():
            line.set_value(self._number, level)
        self._settings = replace(self._settings, output_value=level)

    def _get_pull(self) -> str:
        return PULLS.get(self._settings.bias, "floating")

    def _set_pull(self, value: str) -> None:
        if self._settings.direction is not Direction.INPUT:
            raise PinFixedPull(f"{self!r} is no input")
        if self._info.pull not in {value, ""}:
            raise PinFixedPull(f"{self!r} has a pull-{self._info.pull} resistor on the board")
        if value not in BIASES:
            raise PinInvalidPull(f"{self!r} can be pulled {', '.join(BIASES)}, not {value!r}")
        self._change(bias=BIASES[value])

    def _get_frequency(self) -> None:
        return None

    def _set_frequency(self, value: float | None) -> None:
        if value is not None:
            raise PinPWMUnsupported(f"{self!r}: the kernel's lines have no PWM")

    def _get_bounce(self) -> float | None:
        return self._settings.debounce_period.total_seconds() or None

    def _set_bounce(self, value: float | None) -> None:
        self._change(debounce_period=timedelta(seconds=value or 0))

    def _get_edges(self) -> str:
        return EDGE_NAMES[self._edges]

    def _set_edges(self, value: str) -> None:
        self._edges = EDGES[value]
        if self._settings.edge_detection is not Edge.NONE:
            self._enable_event_detect()

    def _enable_event_detect(self) -> None:
        self._change(edge_detection=self._edges)

    def _disable_event_detect(self) -> None:
        if self._request is not None:
            self._change(edge_detection=Edge.NONE)
