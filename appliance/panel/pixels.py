"""A lamp of APA102 pixels (also sold as DotStar or SK9822) on a SPI device of the kernel.

No library: the device is a file, which takes two settings and then whole frames. A frame is 32
zero bits, four bytes for each pixel (three 1 bits and 5 bits of common brightness, blue, green,
red), and zeros that clock it through to the last one. The light of a frame is split between the
5 bits and the colours, so that a faint colour is still the same colour.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from typing import Final, Protocol

from appliance.errors import DeviceError
from appliance.panel.dimmer import Dimmer
from appliance.panel.looks import BLACK, Color, Look
from appliance.panel.pins import naming, output_pin
from appliance.panel.player import FULL, Player

# Of linux/spi/spidev.h: _IOW('k', 1, __u8), _IOW('k', 3, __u8) and _IOW('k', 4, __u32).
SET_MODE: Final = 0x40016B01
SET_BITS: Final = 0x40016B03
SET_SPEED: Final = 0x40046B04
SPEED_HZ: Final = 4_000_000  # a frame of 144 pixels takes 1.2 ms; a flat cable carries it
STEPS: Final = 31  # of the common brightness
HINTS: Final = {
    errno.ENOENT: " (SPI is off: dtparam=spi=on in config.txt)",
    errno.EACCES: " (wanted this user in the group spi)",
    errno.ENOTTY: " (no SPI device)",
}


class Bus(Protocol):
    """Where frames go."""

    def write(self, frame: bytes) -> None:
        """Send it whole. Raises OSError."""

    def close(self) -> None:
        """Give the device back. A second time does nothing."""


class Spi:
    """`/dev/spidevB.C`, set to mode 0 and 8 bits. A frame goes out while `write` waits.

    Raises:
        OSError: it is not there, not ours to open, or no SPI device.
    """

    def __init__(self, device: str) -> None:
        self._file = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(self._file, SET_MODE, struct.pack("B", 0))
            fcntl.ioctl(self._file, SET_BITS, struct.pack("B", 8))
            fcntl.ioctl(self._file, SET_SPEED, struct.pack("=I", SPEED_HZ))
        except OSError:
            self.close()
            raise

    def write(self, frame: bytes) -> None:
        """Send it whole.

        Raises:
            OSError: the device failed.
        """
        os.write(self._file, frame)  # spidev takes all of it or fails

    def close(self) -> None:
        """Give the device back. A second time does nothing."""
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
            self._file = -1


class Pixels(Player):
    """`count` pixels, all of the look's colour; `power_pin` feeds them while the lamp is open.

    Raises:
        DeviceError: the device or the pin is not there, taken, or not ours to open.
    """

    def __init__(
        self,
        device: str,
        count: int,
        *,
        power_pin: int | None = None,
        active_high: bool = True,
        dimmer: Dimmer = FULL,
        open_bus: Callable[[str], Bus] = Spi,
    ) -> None:
        super().__init__(dimmer)
        self._name = device
        self._count = count
        try:
            self._bus = open_bus(device)
        except OSError as error:
            hint = HINTS.get(error.errno or 0, "")
            raise DeviceError(f"{device}: {_words(error)}{hint}") from error
        self._power = None
        try:
            if power_pin is not None:
                self._power = output_pin(power_pin, active_high=active_high)
                with naming(power_pin):
                    self._power.on()
            self._send(frame(BLACK, 0.0, count))  # pixels keep what an earlier program showed
        except DeviceError:
            self._let_go()
            raise

    def _light(self, look: Look, light: float) -> None:
        self._send(frame(look.color, light, self._count))

    def _send(self, words: bytes) -> None:
        try:
            self._bus.write(words)
        except OSError as error:
            raise DeviceError(f"{self._name}: {_words(error)}") from error

    def _let_go(self) -> None:
        self._bus.close()
        if self._power is not None:
            self._power.close()


def frame(color: Color, light: float, count: int) -> bytes:
    """The bytes that make `count` pixels shine so, with that share of full light (0.0 to 1.0)."""
    steps = ceil(light * STEPS)
    red, green, blue = (
        round(255 * _linear(share) * light * STEPS / steps) if steps else 0 for share in color
    )
    pixel = bytes([0xE0 | steps, blue, green, red])
    return bytes(4) + pixel * count + bytes(4 + ceil(count / 16))


def _linear(share: int) -> float:
    """The light, 0.0 to 1.0, of a share of sRGB, 0 to 255."""
    part = share / 255
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def _words(error: OSError) -> str:
    return error.strerror or str(error)
