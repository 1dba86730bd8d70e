"""The door to gpiozero: the way to the pins, the two kinds of pin that we have, what can be wrong.

The way is the kernel's lines (`lines.py`), which cost nothing while nothing happens. Where gpiod
is not installed or finds no chip it is gpiozero's own choice, lgpio before all others. The settings
may ask for one by its name, and GPIOZERO_PIN_FACTORY in the environment beats them; what was asked
for and fails is not replaced by another. Where there is no way gpiozero warns of each that it tried
and then raises one of many exceptions; here that becomes one `DeviceError` that says why not the
lines, which is what an owner can mend. The other ways' reasons are its details; nothing on stderr.

lgpio calls back in a thread of its own, where nothing of ours may be touched: its news are handed
to trio's thread. With the kernel's lines they are read there in the first place.

Importing gpiozero costs 50 ms on a PC and ten times that on a small board. So whoever assembles
the parts imports `button` and `lamp` only when there is a real panel to build.
"""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from typing import Any, Literal

import trio
from gpiozero import Device, GPIOZeroError, InputDevice, OutputDevice

from appliance.errors import DeviceError

VARIABLE = "GPIOZERO_PIN_FACTORY"
FACTORIES = "gpiozero_pin_factories"  # the entry points where gpiozero itself looks for a name

# Contacts bounce for 1 to 5 ms. An edge is told only when it has been stable for so long: by the
# kernel, or by lgpio.
BOUNCE_S = 0.01

PULLS = {"up": True, "down": False, "none": None}

log = logging.getLogger("appliance.panel")


class InputPin:
    """`pin` as an input: tells `changed` of every edge, in trio's thread and in their order.

    `changed` gets whether the pin is active now, and must not wait. Of edges that somebody lost on
    the way nothing is known here: the same news may come twice.

    With `pull` "up" it is active when low, with "down" when high, and with "none", where a resistor
    is outside, as `active` says.

    Raises:
        DeviceError: this machine has no pins, or this one is taken or not there.
    """

    def __init__(
        self,
        pin: int,
        *,
        changed: Callable[[bool], None],
        active: Literal["low", "high"] = "low",
        pull: Literal["up", "down", "none"] = "up",
    ) -> None:
        self._pin = pin
        self._changed = changed
        self._active_level = active == "high"
        self._token = trio.lowlevel.current_trio_token()
        self._told = trio.Event()
        self._read: list[bool] = []  # what was read in trio's thread and is to be told
        self._closed = False
        find_way()
        with naming(pin):
            # Not gpiozero's DigitalInputDevice: it keeps the last level to itself, so that after
            # an edge that was lost it would swallow the next one too.
            self._device = InputDevice(
                pin,
                pull_up=PULLS[pull],
                active_state=self._active_level if pull == "none" else None,
            )
            self._wait_edges = getattr(self._device.pin, "wait_edges", None)
            self._device.pin.bounce = BOUNCE_S
            self._device.pin.edges = "both"
            self._device.pin.when_changed = self._edge

    @property
    def is_active(self) -> bool:
        """Whether the pin is active now. Never waits.

        Raises:
            DeviceError: the pin cannot be read any more.
        """
        with naming(self._pin):
            return bool(self._device.is_active)

    async def wait_told(self) -> None:
        """Wait until `changed` has been told something, or the pin is closed.

        The kernel's edges are read only here; who does not wait is told of none.

        Raises:
            DeviceError: the pin cannot be read any more.
        """
        if self._wait_edges is None:
            self._told = trio.Event()
            await self._told.wait()
            return
        with naming(self._pin), suppress(trio.ClosedResourceError):
            await self._wait_edges()
        told, self._read = self._read, []
        for active in told:
            self._tell(active)

    def close(self) -> None:
        """Tell nothing more, and give the pin back. A second time does nothing."""
        self._closed = True
        self._told.set()
        self._device.close()

    def _edge(self, _ticks: float, level: float) -> None:
        """What gpiozero calls back: in trio's thread if we wait for edges, else in another."""
        active = bool(level) is self._active_level
        if self._wait_edges is not None:
            self._read.append(active)
            return
        with suppress(trio.RunFinishedError):  # a finger on the button of a box that has stopped
            self._token.run_sync_soon(self._tell, active)

    def _tell(self, active: bool) -> None:
        if not self._closed:
            self._told.set()
            self._changed(active)


def output_pin(pin: int, *, active_high: bool = True) -> OutputDevice:
    """`pin` as an output that is off: low, or high if it is not `active_high`. Never waits.

    The caller owns it and closes it.

    Raises:
        DeviceError: this machine has no pins, or this one is taken or not there.
    """
    find_way()
    with naming(pin):
        return OutputDevice(pin, active_high=active_high)


@contextmanager
def naming(pin: int) -> Iterator[None]:
    """Whatever the pin libraries raise within becomes a `DeviceError` that names `pin`."""
    try:
        yield
    except _library_errors() as error:
        raise DeviceError(f"GPIO {pin}: {_words(error)}") from error


def find_way(choice: str = "auto") -> str:
    """Reach the pins, if that has not been done; the name of what reaches them, as "gpiod".

    Args:
        choice: such a name, or "auto"; without effect where the environment says another.

    Raises:
        DeviceError: there is no way, or not the one that was asked for.
    """
    if Device.pin_factory is None:
        wanted = os.environ.get(VARIABLE) or choice
        try:
            Device.pin_factory = _reach(wanted)
        except DeviceError as error:
            raise DeviceError(f"no way to the pins: {error}", details=error.details) from error
        except _library_errors() as error:
            raise DeviceError(f"no way to the pins: {wanted}: {_words(error)}") from error
        log.info("The pins are reached through %s.", _name(Device.pin_factory))
    return _name(Device.pin_factory)


def _name(factory: Any) -> str:
    return type(factory).__name__.removesuffix("Factory").lower()


def _reach(wanted: str) -> Any:
    if wanted == "gpiod":
        return _reach_lines()
    if wanted != "auto":
        for entry in entry_points(group=FACTORIES):
            if entry.name in {wanted, wanted.lower()}:
                with apart():
                    return entry.load()()
        raise DeviceError(f"gpiozero knows none that is called {wanted!r}")
    try:
        return _reach_lines()
    except DeviceError as error:
        reason = str(error)
    except ImportError as error:
        reason = f"{error}; deploy/install.sh brings gpiod"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            with apart():
                Device.ensure_pin_factory()
        except _library_errors() as error:
            tried = [str(it.message).removeprefix("Falling back from ") for it in told]
            details = "; ".join([*tried, _words(error)])
            raise DeviceError(reason, details=details) from error
    return Device.pin_factory


def _reach_lines() -> Any:
    from appliance.panel.lines import GpiodFactory  # noqa: PLC0415  # gpiod may be missing

    return GpiodFactory()


@contextmanager
def apart() -> Iterator[None]:
    """Let lgpio be imported within, without leaving its traces.

    It moves the whole process into its working directory, and opens a FIFO there that nobody
    needs by its name afterwards. Where that folder cannot be written the import fails.
    """
    here = os.open(".", os.O_PATH)
    before = os.environ.get("LG_WD")
    try:
        with tempfile.TemporaryDirectory(prefix="voice-appliance-") as folder:
            os.environ["LG_WD"] = folder
            yield
    finally:
        if before is None:
            del os.environ["LG_WD"]
        else:
            os.environ["LG_WD"] = before
        os.fchdir(here)
        os.close(here)


def _library_errors() -> tuple[type[Exception], ...]:
    """What gpiozero lets through: its own errors, and those of the library beneath it.

    A busy pin is `lgpio.error`, a plain Exception that gpiozero does not translate; it can only
    have been raised if lgpio has been imported by then. RPi.GPIO raises RuntimeError.
    """
    ours = (GPIOZeroError, OSError, ImportError, RuntimeError)
    lgpio = sys.modules.get("lgpio")
    return ours if lgpio is None else (*ours, lgpio.error)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    words = str(error)
    if words[:1] == words[-1:] == "'":  # lgpio quotes its words as if they were a name
        words = words[1:-1]
    return words or type(error).__name__
