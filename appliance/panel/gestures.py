"""What a finger does to a contact, and what it means by it. Pure: times come in as arguments.

`Contact` decides what is believed of a contact whose edges may be lost or bounce; `Finger` what its
presses and releases mean. What a gesture does is the household's (`fingers.py`).

Decided here:
  * An edge is believed at once, for the kernel or lgpio has waited until the contact was quiet.
    50 ms later the contact is looked at again, and from then on, as long as it is believed to be
    closed, whenever a quarter of the time has passed that it has been so. So a release that was
    lost ends soon, a contact that is open wakes nobody, and one that is closed for days hardly.
  * A look that contradicts what is believed is repeated after 20 ms, and believed if it still does:
    a single look could meet a spike that is shorter than the debouncing lets through.
  * A contact that is closed already when the box starts is no press: it is *stuck*, and means
    nothing until it has been open once. It gets 50 ms before it is judged, because a capacitor
    across the contact has to be charged by the pull-up first.
  * A press is short if it lasts less than `tap_ms`. Two short ones, the second begun within 0.4 s
    of the end of the first, are a double press when the second has ended: in `hold` an answer is
    stopped by a tap and the next words follow at once under a press that is none of a pair.
  * A third short press begins anew.
  * The long press of the talk button is not here: it depends on what the box does, and is the
    conversation's (`Event.LONG_PRESS`).
"""

from dataclasses import dataclass
from enum import Enum
from math import inf

SETTLE_S = 0.05  # after an edge, and after the start, until the contact is looked at
CONFIRM_S = 0.02  # twice the debouncing
LOOK_AGAIN = 0.25  # of the time for which the contact has been closed
PAIR_S = 0.4  # from the end of a short press to the beginning of the next


class Touch(Enum):
    """What is told of a contact."""

    PRESSED = "pressed"
    RELEASED = "released"
    STUCK = "closed since the start"
    OPEN = "open at the start"


class Contact:
    """What is believed of one contact, from its edges and from looks at its level."""

    def __init__(self, now_s: float) -> None:
        self.is_closed = False
        self.next_look_s = now_s + SETTLE_S  # when to look; infinity if there is no need
        self._since_s = now_s
        self._is_new = True  # nothing has been told of it
        self._doubted = False

    def edge(self, is_closed: bool, now_s: float) -> Touch | None:
        """An edge was told; what is new by it."""
        self._doubted = False
        self.next_look_s = now_s + SETTLE_S
        touch = self._believe(is_closed, now_s)
        self._is_new = self._is_new and touch is None
        return touch

    def look(self, is_closed: bool, now_s: float) -> Touch | None:
        """The level was read; what is new by it."""
        is_doubt = is_closed is not self.is_closed
        if is_doubt and not self._doubted:
            self._doubted = True
            self.next_look_s = now_s + CONFIRM_S
            return None
        self._doubted = False
        touch = self._believe(is_closed, now_s)
        closed_s = now_s - self._since_s
        self.next_look_s = now_s + max(SETTLE_S, LOOK_AGAIN * closed_s) if is_closed else inf
        if self._is_new:
            self._is_new = False
            return Touch.STUCK if is_closed else Touch.OPEN
        return touch

    def _believe(self, is_closed: bool, now_s: float) -> Touch | None:
        if is_closed is self.is_closed:
            return None
        self.is_closed = is_closed
        self._since_s = now_s
        return Touch.PRESSED if is_closed else Touch.RELEASED


class Gesture(Enum):
    """What a finger means."""

    PRESS = "press"
    RELEASE = "release"
    DOUBLE = "double press"
    LONG = "long press"
    REPEAT = "held on"


@dataclass(frozen=True)
class Habits:
    """What is looked for in a finger; seconds. Infinity: not that."""

    short_s: float = 0.0  # shorter presses can be half of a pair
    long_s: float = inf
    repeat_after_s: float = inf
    repeat_every_s: float = inf


class Finger:
    """One finger on one button: its gestures, in their order."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits
        self._pressed_s: float | None = None
        self._short_ended_s = -inf  # the first half of a pair
        self._is_second = False
        self._long_s = inf
        self._repeat_s = inf

    @property
    def next_deadline_s(self) -> float:
        """When `due` will have something; infinity if nothing is awaited."""
        return min(self._long_s, self._repeat_s)

    def press(self, now_s: float) -> list[Gesture]:
        """It went down."""
        self._pressed_s = now_s
        self._is_second = now_s - self._short_ended_s <= PAIR_S
        self._long_s = now_s + self._habits.long_s
        self._repeat_s = now_s + self._habits.repeat_after_s
        return [Gesture.PRESS]

    def release(self, now_s: float) -> list[Gesture]:
        """It came up. Nothing, if it was not known to be down."""
        if self._pressed_s is None:
            return []
        is_short = now_s - self._pressed_s < self._habits.short_s
        is_double = is_short and self._is_second
        self._short_ended_s = now_s if is_short and not is_double else -inf
        self._pressed_s = None
        self._long_s = self._repeat_s = inf
        return [Gesture.RELEASE, Gesture.DOUBLE] if is_double else [Gesture.RELEASE]

    def due(self, now_s: float) -> list[Gesture]:
        """What has come by waiting. However late it is asked, nothing comes in a burst."""
        gestures = []
        if self._long_s <= now_s:
            self._long_s = inf
            gestures.append(Gesture.LONG)
        if self._repeat_s <= now_s:
            self._repeat_s = now_s + self._habits.repeat_every_s
            gestures.append(Gesture.REPEAT)
        return gestures
