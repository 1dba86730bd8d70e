"""What may be said to a box: words, a voice, a level. Pure, and light: a command must not wait.

Judged where it is typed, so that wrong words are told as such, and where it arrives: others may
write to the socket too. Of a voice only the shape of its name is judged. Which voices there are is
the far end's affair: a new one needs no release.
"""

import re

from appliance.sound.volume import LEVEL_MAX

WORDS_MAX = 25_000  # characters, by the API's own limit
A_MODEL = "aura-2-thalia-en"
MODEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/@+-]{0,98}[A-Za-z0-9])?")


def text_fault(text: object) -> str:
    """What was wanted instead of this text, or ""."""
    if isinstance(text, str) and text.strip() and len(text) <= WORDS_MAX:
        return ""
    return f"wanted words, at most {WORDS_MAX} characters of them"


def model_fault(name: object) -> str:
    """What was wanted instead of this name of a voice, or ""."""
    if isinstance(name, str) and MODEL.fullmatch(name):
        return ""
    return (
        f"wanted a model's name, such as {A_MODEL}: letters, digits and ._:/@+- within, at most 100"
    )


def level_fault(level: object, *, is_change: bool) -> str:
    """What was wanted instead of this level, or change of it, or ""."""
    least = -LEVEL_MAX if is_change else 0
    if isinstance(level, int) and not isinstance(level, bool) and least <= level <= LEVEL_MAX:
        return ""
    return f"wanted a whole number from {least} to {LEVEL_MAX}"
