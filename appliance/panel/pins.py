"""The door to gpiozero: the two kinds of pin that we have, and what can be wrong with them.

gpiozero chooses its way to the pins itself, or is told by GPIOZERO_PIN_FACTORY. Where there is no
way it warns of each that it tried and then raises one of many exceptions; here that becomes one
`DeviceError` with all the reasons, and nothing on stderr.

Importing gpiozero costs 50 ms on a PC and ten times that on a small board. So whoever assembles
the parts imports `button` and `lamp` only when there is a real panel to build.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from gpiozero import Device, DigitalInputDevice, GPIOZeroError, OutputDevice

from appliance.errors import DeviceError

# Contacts bounce for 1 to 5 ms. lgpio reports an edge only when it has been stable for so long.
BOUNCE_S = 0.01

log = logging.getLogger("appliance.panel")


def input_pin(pin: int) -> DigitalInputDevice:
    """`pin` as an input pulled up, active when a contact to ground is closed. Never waits.

    The caller owns it and closes it.

    Raises:
        DeviceError: this machine has no pins, or this one is taken or not there.
    """
    _find_factory(pin)
    with naming(pin):
        return DigitalInputDevice(pin, pull_up=True, bounce_time=BOUNCE_S)


def output_pin(pin: int, *, active_high: bool = True) -> OutputDevice:
    """`pin` as an output that is off: low, or high with `active_high` False. Never waits.

    The caller owns it and closes it.

    Raises:
        DeviceError: this machine has no pins, or this one is taken or not there.
    """
    _find_factory(pin)
    with naming(pin):
        return OutputDevice(pin, active_high=active_high)


@contextmanager
def naming(pin: int) -> Iterator[None]:
    """Whatever the pin libraries raise within becomes a `DeviceError` that names `pin`."""
    try:
        yield
    except _library_errors() as error:
        raise DeviceError(f"GPIO {pin}: {_words(error)}") from error


def _library_errors() -> tuple[type[Exception], ...]:
    """What gpiozero lets through: its own errors, and those of the library beneath it.

    A busy pin is `lgpio.error`, a plain Exception that gpiozero does not translate; it can only
    have been raised if lgpio has been imported by then. RPi.GPIO raises RuntimeError.
    """
    ours = (GPIOZeroError, OSError, ImportError, RuntimeError)
    lgpio = sys.modules.get("lgpio")
    return ours if lgpio is None else (*ours, lgpio.error)


def _words(error: Exception) -> str:
    return str(error).strip("'") or type(error).__name__


def _find_factory(pin: int) -> None:
    if Device.pin_factory is not None:
        return
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            Device.ensure_pin_factory()
        except _library_errors() as error:
            tried = [str(it.message).removeprefix("Falling back from ") for it in told]
            reasons = "; ".join([_words(error), *tried])
            raise DeviceError(f"GPIO {pin}: no way to the pins: {reasons}") from error
    log.info("The pins are reached through %s.", type(Device.pin_factory).__name__)
