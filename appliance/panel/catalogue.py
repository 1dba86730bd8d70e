"""The known boards in words: a table of all, one of them whole, and both for programs. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from appliance.panel.kits import KITS, Kit

UNTRIED: Final = "None of them was tried on hardware by us: what is known is from documents."
HEADS: Final = ("KIT", "CARD", "UNVERIFIED", "BOARD")


def overview() -> list[str]:
    """Lines of a table of all kits, and what to think of it."""
    rows = [HEADS]
    rows += [
        (kit.name, kit.card or "-", ", ".join(map(_word, kit.unverified)) or "-", kit.title)
        for kit in KITS.values()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    return [
        *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows),
        "",
        UNTRIED,
        "UNVERIFIED has no document behind it. All of one: voice-appliance kits KIT",
    ]


def details(kit: Kit) -> list[str]:
    """Lines that say all that is known of one kit, with where it is from."""
    lines = [kit.title, "", "It stands for these settings; any key that you give wins."]
    lines += _indented(_toml(kit.settings))
    lines += ["", "Lines for /boot/firmware/config.txt"]
    lines += _indented(kit.config_txt or ["none"])
    if kit.rates_hz:
        lines += ["", f"Rates of the hardware, in Hz: {', '.join(map(str, kit.rates_hz))}"]
    if kit.mixer:
        lines += ["", "Mixer"]
        lines += _indented(f"amixer -c {kit.card} sset '{name}' {to}" for name, to in kit.mixer)
    if kit.alsa_state:
        lines += ["", f"Mixer, whole: {kit.alsa_state}"]
    lines += ["", "Notes"]
    lines += _indented(kit.notes)
    lines += ["", "Where it is from (not tried on hardware by us)"]
    lines += _indented(f"{_word(name)}: {source}" for name, source in kit.sources.items())
    lines += _indented(f"{_word(name)}: UNVERIFIED" for name in kit.unverified)
    return lines


def told(kit: Kit) -> dict[str, object]:
    """One kit for programs."""
    return {
        "name": kit.name,
        "title": kit.title,
        "card": kit.card or None,
        "config_txt": list(kit.config_txt),
        "rates_hz": list(kit.rates_hz),
        "settings": kit.settings,
        "mixer": [list(one) for one in kit.mixer],
        "alsa_state": kit.alsa_state or None,
        "notes": list(kit.notes),
        "sources": dict(kit.sources),
        "verified": kit.is_verified,
        "unverified": list(kit.unverified),
        "tried": False,
    }


def _indented(lines: Iterator[str] | list[str] | tuple[str, ...]) -> list[str]:
    return [f"  {line}" for line in lines]


def _word(field: str) -> str:
    return field.replace("_", " ").replace("config txt", "config.txt").removesuffix(" hz")


def _toml(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for section, keys in settings.items():
        said = [f"{name} = {_value(value)}" for name, value in keys.items() if value != {}]
        lines += [f"[{section}]", *said] if said else []
    return lines


def _value(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_value(one)}' for name, one in value.items())} }}"
    return json.dumps(value)
