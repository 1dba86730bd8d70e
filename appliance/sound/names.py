"""What an ALSA name says of its card, and which rate two cards share. Pure.

A card has a number, which changes when others come and go, and an id (`Device`, `PCH`), which does
not: `plughw:CARD=Device` finds its card wherever it was plugged in.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

RATES_HZ = (16000, 24000, 48000, 32000, 44100, 8000)  # the best first
ECHO_RATES_HZ = (8000, 16000, 32000, 48000)  # of WebRTC's canceller: others it would convert
_OF_CARDS = frozenset({"hw", "plughw", "default", "sysdefault", "front", "dmix", "dsnoop"})


@dataclass(frozen=True)
class Place:
    """The card of a name, by id or number ("" if it names none), and the device on it."""

    card: str = ""
    device: str = ""


def place_of(name: str) -> Place:
    """Where an ALSA name points: "plughw:CARD=Device,DEV=0" and "plughw:1,0" alike."""
    head, _, rest = name.partition(":")
    if head not in _OF_CARDS or not rest:
        return Place()
    found = dict(zip(("CARD", "DEV"), ("", ""), strict=True))
    for position, argument in enumerate(rest.split(",")):
        key, equals, value = argument.partition("=")
        if equals:
            found[key.strip().upper()] = value.strip()
        elif position < len(found):
            found[("CARD", "DEV")[position]] = argument.strip()
    return Place(found["CARD"], found["DEV"])


def bare(name: str) -> str:
    """The name of the same card without any conversion; "" where that cannot be told."""
    head, colon, rest = name.partition(":")
    return f"hw{colon}{rest}" if head in {"hw", "plughw"} else ""


def converting(name: str) -> str:
    """A name of the same card that converts rates and samples, quoted."""
    return repr(f"plug{bare(name)}") if bare(name) else f"\"plug:'{name}'\""


def missing(name: str, ids: Mapping[int, str]) -> str:
    """Why the card of a name is not here, if the cards here have these ids; "" if it is."""
    card = place_of(name).card
    if not card or card in ids.values() or (card.isdecimal() and int(card) in ids):
        return ""
    here = ", ".join(ids[number] for number in sorted(ids)) or "none"
    return f"there is no card {card!r}; the cards here: {here}"


def advice(name: str, ids: Mapping[int, str]) -> str:
    """What should be mended in a name, if the cards here have these ids; "" if nothing is."""
    place = place_of(name)
    if not place.card.isdecimal():
        return missing(name, ids)
    wanted = f"plughw:CARD={ids.get(int(place.card), '…')}"
    wanted += f",DEV={place.device}" if place.device else ""
    words = "names a card by its number, which changes when cards come and go"
    return f"{name!r} {words}; wanted {wanted!r}"


def best_rate(
    capture: Collection[int] | None, playback: Collection[int] | None, taken: Collection[int]
) -> int:
    """A rate both cards have natively and the far end takes.

    The same both ways, because many a codec has one clock. Where there is none that both have, the
    microphone's: a conversion hurts what is understood more than what is heard.

    Args:
        capture: the rates that the microphone's card has; None if that is not known.
        playback: the speaker's.
        taken: those that the far end takes; not empty.
    """
    both = None if capture is None or playback is None else set(capture) & set(playback)
    for has in (both, capture, playback, taken):
        for rate_hz in RATES_HZ:
            if has is not None and rate_hz in has and rate_hz in taken:
                return rate_hz
    raise AssertionError("the far end takes no rate at all")
