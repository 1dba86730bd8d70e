"""What the kernel tells of its sound cards, in files. Nothing here waits, or asks ALSA.

So few and small files, and only when a card is opened, that no thread is worth its while: who holds
a card is told by the card itself, and no process needs to be searched for it.

ALSA's own lists hold the interpreter for tens of milliseconds, and it does not tell what runs at
the end of a chain of plugins: `/proc/asound` does (`hw_params`, and in `status` who holds a card,
for everybody to read). Whether alsa-lib converts rates well or linearly it tells nobody; but a
good converter is a library of its own, so it is among what is mapped into this process. (Which
quality of that library is not seen, nor whose: all of alsa-lib's streams mostly have one default.)
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.sound.names import place_of

SYS = Path("/sys/class/sound")
PROC = Path("/proc")
_CONVERTER = "libasound_module_rate_"


def card_ids(sys: Path = SYS) -> dict[int, str]:
    """The cards of this machine: their numbers and ids."""
    found = {}
    for folder in sys.glob("card[0-9]*"):
        with suppress(OSError, ValueError):  # pulled out just now
            found[int(folder.name.removeprefix("card"))] = (folder / "id").read_text().strip()
    return found


@dataclass(frozen=True)
class Hardware:
    """How the hardware behind an open stream runs; `sample` is its format, by ALSA's name."""

    rate_hz: int
    channels: int
    sample: str


def hardware(
    card: int, device: int, subdevice: int, *, capture: bool, proc: Path = PROC
) -> Hardware | None:
    """How the hardware behind an open stream runs; None if there is none, or it does not say."""
    stream = f"card{card}/pcm{device}{'c' if capture else 'p'}/sub{subdevice}"
    told = _pairs(proc / "asound" / stream / "hw_params")
    try:
        return Hardware(int(told["rate"].split()[0]), int(told["channels"]), told["format"])
    except (KeyError, ValueError):  # "closed" is all that is told of a stream that nobody has
        return None


def has_card(card: int, proc: Path = PROC) -> bool:
    """Whether there is a card of that number."""
    return (proc / "asound" / f"card{card}").is_dir()


def converter(proc: Path = PROC) -> str:
    """What alsa-lib converts rates with in this process, if it does: "linear" is its own."""
    with suppress(OSError):
        for line in (proc / "self" / "maps").read_text().splitlines():
            _, found, rest = line.partition(_CONVERTER)
            if found:
                return rest.partition(".")[0]
    return "linear"


def holder(name: str, *, capture: bool, proc: Path = PROC, sys: Path = SYS) -> str:
    """Who holds the card of an ALSA name, in words; "another program" where that is not told."""
    for pid in _owners(name, capture=capture, proc=proc, sys=sys):
        process = _pairs(proc / str(pid) / "status").get("Tgid", str(pid))  # a thread opened it
        try:
            return f"{(proc / process / 'comm').read_text().strip()} (process {process})"
        except OSError:
            return f"another program (process {process})"
    return "another program"


def _owners(name: str, *, capture: bool, proc: Path, sys: Path) -> Iterator[int]:
    """The processes that hold streams of the card of a name, or of any card if it names none."""
    place = place_of(name)
    numbers = {card: number for number, card in card_ids(sys).items()}
    card = str(numbers.get(place.card, place.card)) or "*"
    streams = f"card{card}/pcm{place.device or '*'}{'c' if capture else 'p'}/sub*/status"
    for path in sorted((proc / "asound").glob(streams)):
        owner = _pairs(path).get("owner_pid", "0")
        if owner.isdecimal() and owner not in {"0", str(os.getpid())}:
            yield int(owner)


def _pairs(path: Path) -> dict[str, str]:
    """A file of lines "name: value"; empty if it cannot be read."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}
