"""Phase -> look, total. Pure.

A look is a rhythm and a colour. The rhythm alone has to tell it: on one LED there is nothing else,
and one man in twelve sees colours otherwise. So rhythms differ in what the eye sees first, at a
glance from across a room: always on, always off, slow, quick, mostly off, mostly on, and a group
with a pause. A look that moves begins at once with the level that its predecessor most likely had
not.

The colour says of what kind the news is: blue, your words are being kept; white, the agent is at
it; yellow, it is your turn; red, it does not work, or does not hear. These four stay apart also to
eyes without one kind of cones, and on three pins that are on or off.

Decided here:
  * Rhythms have two levels, no fades: a fade would wake the box 25 times a second, and most lamps
    could not show it.
  * All pixels of a lamp show the same: with three of them a place tells nothing that a colour
    does not.
  * With a brightness of 0 a lamp is dark but for what its owner may not miss (`always`): that
    sound is kept, that a press means *yes*, and why a press does nothing (trouble, cap, mute).
  * A trouble that has no look of its own shows as the others do.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from appliance.conversation import Phase
from appliance.errors import Trouble


class Color(NamedTuple):
    """Red, green and blue as the eye weighs them (sRGB), each 0 to 255."""

    red: int
    green: int
    blue: int


BLACK: Final = Color(0, 0, 0)
BLUE: Final = Color(0, 0, 255)
WHITE: Final = Color(255, 255, 255)
YELLOW: Final = Color(255, 220, 0)
RED: Final = Color(255, 0, 0)


@dataclass(frozen=True, slots=True)
class Look:
    """What a lamp does until it is told otherwise.

    `pattern` holds (lit, for how many seconds) and is repeated for ever. With a single entry the
    lamp stays as it is; the seconds then mean nothing and nobody has to wake up for them. Lit is
    lit in `color`. `means` is the word by which a lamp of several LEDs knows which is wanted.
    """

    name: str
    pattern: tuple[tuple[bool, float], ...]
    means: str
    color: Color
    always: bool = False  # shown also at a brightness of 0

    @property
    def period_s(self) -> float:
        """How long the pattern lasts until it begins again."""
        return sum(lasts_s for _, lasts_s in self.pattern)

    @property
    def is_steady(self) -> bool:
        """Whether it never changes."""
        return len(self.pattern) == 1

    def is_lit(self, elapsed_s: float) -> bool:
        """The level at `elapsed_s` after the look was first shown."""
        rest_s = elapsed_s % self.period_s
        for lit, lasts_s in self.pattern:
            if rest_s < lasts_s:
                return lit
            rest_s -= lasts_s
        return self.pattern[0][0]  # rounding carried us over the end


DARK = Look("dark", ((False, 1.0),), "asleep", BLACK)
STEADY = Look("steady", ((True, 1.0),), "listening", BLUE, always=True)
BLINK = Look("slow even blink", ((False, 0.5), (True, 0.5)), "thinking", WHITE)
FLUTTER = Look("quick flutter", ((True, 0.1), (False, 0.1)), "speaking", WHITE)
WINK = Look("short wink", ((True, 0.1), (False, 1.9)), "resting", WHITE)
TRIPLE = Look(
    "triple blink",
    ((True, 0.15), (False, 0.15), (True, 0.15), (False, 0.15), (True, 0.15), (False, 1.05)),
    "trouble",
    RED,
    always=True,
)
HOLLOW = Look("on with a dark wink", ((True, 1.8), (False, 0.2)), "muted", RED, always=True)

HURRIED = Look("hurried, mostly on", ((True, 0.3), (False, 0.1)), "asking", YELLOW, always=True)
HALTING = Look(
    "long and short",
    ((True, 0.6), (False, 0.2), (True, 0.2), (False, 1.1)),
    "capped",
    YELLOW,
    always=True,
)

LOOKS = {
    Phase.ASLEEP: DARK,
    Phase.LISTENING: STEADY,
    Phase.THINKING: BLINK,
    Phase.SPEAKING: FLUTTER,
    Phase.RESTING: WINK,  # connected: the meter runs
    Phase.TROUBLE: TRIPLE,
}
EVERY_LOOK: Final = (*LOOKS.values(), HOLLOW, HURRIED, HALTING)

ANSWERING = frozenset({Phase.THINKING, Phase.SPEAKING})

# Where a look has no LED of its own, the LED of which other plays its rhythm.
PLAYED_BY: Final = {
    "thinking": "listening",
    "speaking": "listening",
    "resting": "listening",
    "asking": "listening",
    "trouble": "listening",
    "muted": "trouble",
    "capped": "trouble",
}


def look(phase: Phase, *, muted: bool, trouble: Trouble | None, asks: bool = False) -> Look:
    """The look that tells the truth.

    A permission that is asked for shows first: it waits for a press. An answer that is awaited or
    sounds is a truth of its own, whatever else is the matter. Then *muted*: who has shut the
    microphone has to see that it is shut, also while a trouble lasts; `status` tells both. A
    trouble beside a phase shows wherever no sound is kept.
    """
    if asks:
        return HURRIED
    if phase in ANSWERING or (phase is Phase.LISTENING and not muted):
        return LOOKS[phase]
    if muted:
        return HOLLOW
    if trouble is Trouble.CAP_REACHED:
        return HALTING
    return LOOKS[phase] if trouble is None else TRIPLE
