"""How bright a lamp is, by day and by night. Pure: what time it is comes in as an argument.

Brightness is counted as the eye counts: 50 looks half as bright as 100, and is a fifth of the
light. Of the time of day only the seconds since midnight, local time, are known here. Night begins
and ends by the clock on the wall: where that jumps (a box without a clock of its own learns the
time some seconds after its start), the next question is answered by the new time.
"""

import re
from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86_400
# Of full light: what a lamp shows at 0 of that which may not be hidden.
FAINTEST: Final = 0.001


def light_of(brightness: float) -> float:
    """The share of full light, 0.0 to 1.0, that looks like `brightness`, 0 to 100 (CIE L*)."""
    if brightness <= 8:
        return brightness / 903.3
    return float(((brightness + 16) / 116) ** 3)


def hours(text: str) -> tuple[int, int] | None:
    """(first, last) second of the day of a night like "22:00-07:00"; None if it is none."""
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", text)
    if found is None:
        return None
    from_h, from_min, until_h, until_min = map(int, found.groups())
    begins_s, ends_s = (from_h * 60 + from_min) * 60, (until_h * 60 + until_min) * 60
    return None if begins_s == ends_s else (begins_s, ends_s)


@dataclass(frozen=True, slots=True)
class Dimmer:
    """The owner's choice: `day` and `night`, 0 to 100; without `night_hours` it is always day."""

    day: int = 100
    night: int = 100
    night_hours: tuple[int, int] | None = None

    def brightness(self, second_of_day: float) -> int:
        """0 to 100, at that time."""
        return self.night if self._is_night(second_of_day) else self.day

    def light(self, second_of_day: float, *, always: bool) -> float:
        """The share of full light at that time; what is shown `always` is never quite dark."""
        light = light_of(self.brightness(second_of_day))
        return max(light, FAINTEST) if always else light

    def lasts_s(self, second_of_day: float) -> float:
        """For how many seconds of an even clock the brightness stays; infinite without a night."""
        if self.night_hours is None:
            return float("inf")
        return min((border_s - second_of_day) % DAY_S or DAY_S for border_s in self.night_hours)

    def _is_night(self, second_of_day: float) -> bool:
        if self.night_hours is None:
            return False
        begins_s, ends_s = self.night_hours
        if begins_s < ends_s:
            return begins_s <= second_of_day < ends_s
        return not ends_s <= second_of_day < begins_s
