"""How loud: from the level that people say, 0 to 100, to decibels, and who makes them. Pure.

* Equal steps of the level are equal steps to the ear: 40 dB over the whole scale, four times
  half as loud. More would let a small speaker vanish at its lower end, and nothing is to be
  silent by accident: only level 0 is, and level 1 can still be heard in a quiet room.
* Only a command says 0. The buttons and the agent stop at `LOWEST`: whoever cannot be heard any
  more cannot be asked to speak up either.
* The card's own control makes the decibels as far as it goes, because what it does costs no
  bits; what it cannot do, or not finely enough, is left to a software gain. It is never set
  above 0 dB, where speech would be clipped; unless the owner named a control that has nothing
  below.
* Cues tell of trouble, so they are never softer than at `CUE_LEVEL_MIN`, but at level 0. That is
  why the control is not set below that level either: what it takes away nobody can give back.
"""

import re
from dataclasses import dataclass

LEVEL_MAX = 100
STEP = 10  # of a button
LOWEST = 10  # what buttons and the agent can reach
CUE_LEVEL_MIN = 30
RANGE_DB = 40.0  # from barely heard in a quiet room to full
AUDIBLE_DB = 1.0  # a smaller difference is not heard, and not worth the arithmetic

# What plays on every socket of a card first, what plays on one of them last. A card with several
# of the latter needs its owner's word.
CONTROLS = (
    *("Master", "PCM", "Digital", "DAC", "Playback"),
    *("Speaker", "Headphone", "Headset", "Line Out", "Lineout", "Line", "HP", "HDMI"),
)
OF_CARDS = frozenset(  # names of PCMs that are made of a card, which comes first in what follows
    {"hw", "plughw", "default", "sysdefault", "front", "dmix", "hdmi", "iec958"}
)


@dataclass(frozen=True)
class Gains:
    """The software's share: factors from 0 to 1."""

    answers: float = 1.0
    cues: float = 1.0


def decibels_of(level: int) -> float:
    """What a level above 0 means: 0 dB at 100, always less below."""
    assert 0 < level <= LEVEL_MAX
    return RANGE_DB * (level / LEVEL_MAX - 1)


def wanted_of_card(level: int) -> float:
    """The decibels that the card's control is asked for at a level; it may do less."""
    return decibels_of(max(level, CUE_LEVEL_MIN))


def gains_of(level: int, card_db: float) -> Gains:
    """What is left to do at a level when the card's control does `card_db`, 0 or less."""
    if level == 0:
        return Gains(0.0, 0.0)
    return Gains(
        _gain(decibels_of(level) - card_db),
        _gain(decibels_of(max(level, CUE_LEVEL_MIN)) - card_db),
    )


def _gain(decibels: float) -> float:
    return 10 ** (decibels / 20) if decibels <= -AUDIBLE_DB else 1.0


def full_db(least_db: float, most_db: float, *, is_named: bool) -> float | None:
    """Where in its range a control is set for level 100; None if it is of no use.

    Args:
        least_db: its range, as the card tells it: from here,
        most_db: to here. A card without decibels tells nonsense.
        is_named: the owner chose it.
    """
    if not least_db < most_db <= 100.0:
        return None
    if least_db < 0.0:
        return min(most_db, 0.0)
    return most_db if is_named else None


def control_device(playback: str) -> str:
    """The ALSA name of the controls that belong to a playback name: its card's, else its own."""
    kind, _, rest = playback.partition(":")
    if kind == "plug":
        return control_device(rest.removeprefix("SLAVE=").strip("'\""))
    if kind not in OF_CARDS or not rest:
        return kind
    named = re.search(r"\bCARD=([^,\s]+)", rest)
    return f"hw:CARD={named[1] if named else rest.split(',')[0]}"


# ── changes ──────────────────────────────────────────────────────────────────────────────────────


def moved(level: int, by: int) -> int:
    """A level after a relative command."""
    return min(max(level + by, 0), LEVEL_MAX)


def stepped(level: int, steps: int) -> int:
    """A level after so many steps of a button, down if negative. Lands on whole steps."""
    if steps < 0:
        whole = -(-level // STEP)  # 45 goes down to 40, not to 30
        return min(level, max((whole + steps) * STEP, LOWEST))
    return min((level // STEP + steps) * STEP, LEVEL_MAX) if steps else level


def asked(level: int, *, to: int | None, by: int | None) -> int:
    """A level after the agent asked for another. It silences nothing that was not silent."""
    if to is not None:
        level = max(to, LOWEST)
    if by is not None:
        level = max(moved(level, by), min(level, LOWEST))
    return level
