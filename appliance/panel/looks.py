"""Phase -> look, total. Pure.

One LED has to be told apart at a glance from across a room, so looks differ in what the eye sees
first: always on, always off, slow, quick, mostly off, mostly on, and a group with a pause.
A look that moves begins at once with the level that its predecessor most likely had not.
"""

from dataclasses import dataclass

from appliance.conversation import Phase
from appliance.errors import Trouble


@dataclass(frozen=True, slots=True)
class Look:
    """What a lamp does until it is told otherwise.

    `pattern` holds (lit, for how many seconds) and is repeated for ever. With a single entry the
    lamp stays as it is; the seconds then mean nothing and nobody has to wake up for them.
    """

    name: str
    pattern: tuple[tuple[bool, float], ...]

    @property
    def period_s(self) -> float:
        """How long the pattern lasts until it begins again."""
        return sum(lasts_s for _, lasts_s in self.pattern)

    def is_lit(self, elapsed_s: float) -> bool:
        """The level at `elapsed_s` after the look was first shown."""
        rest_s = elapsed_s % self.period_s
        for lit, lasts_s in self.pattern:
            if rest_s < lasts_s:
                return lit
            rest_s -= lasts_s
        return self.pattern[0][0]  # rounding carried us over the end


DARK = Look("dark", ((False, 1.0),))
STEADY = Look("steady", ((True, 1.0),))
BLINK = Look("slow even blink", ((False, 0.5), (True, 0.5)))
FLUTTER = Look("quick flutter", ((True, 0.1), (False, 0.1)))
WINK = Look("short wink", ((True, 0.1), (False, 1.9)))
TRIPLE = Look(
    "triple blink",
    ((True, 0.15), (False, 0.15), (True, 0.15), (False, 0.15), (True, 0.15), (False, 1.05)),
)
HOLLOW = Look("on with a dark wink", ((True, 1.8), (False, 0.2)))

HURRIED = Look("hurried, mostly on", ((True, 0.3), (False, 0.1)))
HALTING = Look("long and short", ((True, 0.6), (False, 0.2), (True, 0.2), (False, 1.1)))

LOOKS = {
    Phase.ASLEEP: DARK,
    Phase.LISTENING: STEADY,
    Phase.THINKING: BLINK,
    Phase.SPEAKING: FLUTTER,
    Phase.RESTING: WINK,  # connected: the meter runs
    Phase.TROUBLE: TRIPLE,
}

ANSWERING = frozenset({Phase.THINKING, Phase.SPEAKING})


def look(phase: Phase, *, muted: bool, trouble: Trouble | None, asks: bool = False) -> Look:
    """The look that tells the truth.

    A permission that is asked for shows first: it waits for a press. An answer that is awaited or
    sounds is a truth of its own, whatever else is the matter. A trouble beside a phase shows
    wherever no sound is kept; *muted* shows where nothing worse is to be told.
    """
    if asks:
        return HURRIED
    if phase in ANSWERING or (phase is Phase.LISTENING and not muted):
        return LOOKS[phase]
    if trouble is Trouble.CAP_REACHED:
        return HALTING
    if trouble is not None or phase is Phase.TROUBLE:
        return TRIPLE
    return HOLLOW if muted else LOOKS[phase]
