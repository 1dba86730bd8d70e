"""A GPIO chip without hardware: what `gpiod.Chip` offers, as far as the pin factory asks for it.

Its lines have a level that somebody drives or that their bias gives them; an armed edge makes a
real descriptor readable. Errors are those of the kernel.
"""

import errno
import os
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self

from gpiod import EdgeEvent, LineSettings
from gpiod.line import Bias, Direction, Edge, Value


@dataclass
class FakeChips:
    """The chips of a machine: (label, what its lines are called) by their paths."""

    labels: dict[str, str] = field(default_factory=lambda: {"/dev/gpiochip0": "pinctrl-bcm2711"})
    names: dict[str, str] = field(default_factory=dict)  # path -> what a line 17 is called
    taken: dict[int, str] = field(default_factory=dict)  # line -> who has it
    refused: dict[str, int] = field(default_factory=dict)  # path -> errno
    driven: dict[int, bool] = field(default_factory=dict)  # line -> level from outside
    requests: dict[int, "FakeRequest"] = field(default_factory=dict)
    gone: bool = False

    def open(self, path: str) -> Any:
        """As `gpiod.Chip`."""
        if path in self.refused:
            raise OSError(self.refused[path], os.strerror(self.refused[path]))
        return FakeChip(self, path)

    @property
    def paths(self) -> list[str]:
        return [*self.labels, *self.refused]

    def level(self, line: int) -> bool:
        settings = self.requests[line].settings
        if settings.direction is Direction.OUTPUT:
            return settings.output_value is Value.ACTIVE
        return self.driven.get(line, settings.bias is Bias.PULL_UP)

    def drive(self, line: int, level: bool | None, *, lost: bool = False) -> None:
        """A finger; None lets go. Its edge is `lost` if the kernel had no room for it."""
        before = self.level(line)
        if level is None:
            self.driven.pop(line, None)
        else:
            self.driven[line] = level
        if self.level(line) is not before and not lost:
            self.requests[line].edge(self.level(line))

    def press(self, line: int, *, lost: bool = False) -> None:
        self.drive(line, False, lost=lost)

    def release(self, line: int, *, lost: bool = False) -> None:
        self.drive(line, None, lost=lost)

    def vanish(self) -> None:
        """The chip is gone: its descriptors wake who waits, and nothing works any more."""
        self.gone = True
        for request in self.requests.values():
            request.hang_up()


@dataclass
class FakeChip:
    chips: FakeChips
    path: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_info(self) -> Any:
        return SimpleNamespace(label=self.chips.labels[self.path], num_lines=54)

    def get_line_info(self, line: int) -> Any:
        name = self.chips.names.get(self.path) if line == 17 else None
        return SimpleNamespace(name=name, consumer=self.chips.taken.get(line, ""))

    def request_lines(self, config: dict[int, LineSettings], consumer: str) -> "FakeRequest":
        assert consumer == "voice-appliance"
        (line,) = config
        if line in self.chips.taken or line in self.chips.requests:
            raise OSError(errno.EBUSY, "busy")
        if self.chips.gone:
            raise OSError(errno.ENODEV, "gone")
        request = FakeRequest(self.chips, line, config[line])
        self.chips.requests[line] = request
        return request


class FakeRequest:
    """As `gpiod.LineRequest`, of one line."""

    def __init__(self, chips: FakeChips, line: int, settings: LineSettings) -> None:
        self.settings = settings
        self.was = [settings]  # every configuration that it had
        self.fd, self._kernel = os.pipe()
        os.set_blocking(self.fd, False)
        self._chips = chips
        self._line = line
        self._count = 0

    def edge(self, level: bool) -> None:
        wanted = {Edge.RISING: [True], Edge.FALLING: [False], Edge.BOTH: [True, False]}
        if level in wanted.get(self.settings.edge_detection, []):
            os.write(self._kernel, bytes([level]))

    def hang_up(self) -> None:
        os.close(self._kernel)
        self._kernel = -1

    def reconfigure_lines(self, config: dict[int, LineSettings]) -> None:
        self._check()
        self.settings = config[self._line]
        self.was.append(self.settings)

    def get_value(self, line: int) -> Value:
        self._check()
        return Value.ACTIVE if self._chips.level(line) else Value.INACTIVE

    def set_value(self, line: int, value: Value) -> None:
        self._check()
        assert self.settings.direction is Direction.OUTPUT
        self.settings.output_value = value

    def read_edge_events(self) -> list[EdgeEvent]:
        self._check()
        types = EdgeEvent.Type
        return [
            EdgeEvent(
                (types.RISING_EDGE if level else types.FALLING_EDGE).value,
                1_000_000_000,
                self._line,
                0,
                0,
            )
            for level in os.read(self.fd, 16)
        ]

    def release(self) -> None:
        del self._chips.requests[self._line]
        os.close(self.fd)
        if self._kernel >= 0:
            os.close(self._kernel)

    def _check(self) -> None:
        assert self._chips.requests.get(self._line) is self, "used after its release"
        if self._chips.gone:
            raise OSError(errno.ENODEV, "gone")
