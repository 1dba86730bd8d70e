"""What is typed behind a command: judged word by word, and what is wrong with it told.

Whoever wants JSON is told in JSON, on stderr, also of wrong words.
"""

import argparse
import json
import sys
from typing import NoReturn

WRONG_WORDS = 2


class Parser(argparse.ArgumentParser):
    """One that tells of wrong words as of all that fails."""

    is_json = False  # whether `--json` is among the words, be they right or wrong

    def error(self, message: str) -> NoReturn:
        """Tell it, with the usage for people, and exit."""
        tell_error(message, f"{self.format_usage()}{self.prog}: error: {message}")
        sys.exit(WRONG_WORDS)


def tell_error(told: str, to_people: str, **more: object) -> None:
    """Say on stderr what went wrong: for programs, or for people."""
    it = json.dumps({"error": told, **more}) if Parser.is_json else to_people
    print(it, file=sys.stderr)


def port(text: str) -> int:
    """The number of a port; 0 finds one."""
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("wanted 0 to 65535")
    return number


def level(text: str) -> dict[str, int]:
    """A level of the volume, or a change of it: the arguments of its command."""
    from appliance import words

    name = "change" if text[:1] in ("+", "-") else "level"
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError("wanted N, +N or -N") from None
    _refuse(words.level_fault(number, is_change=name == "change"))
    return {name: number}


def text(said: str) -> str:
    """Words for the agent."""
    from appliance import words

    _refuse(words.text_fault(said))
    return said


def model(name: str) -> str:
    """The name of a voice."""
    from appliance import words

    _refuse(words.model_fault(name))
    return name


def kit(name: str) -> str:
    """The name of a board that we know."""
    from appliance.panel import kits

    if name not in kits.KITS:
        _refuse(f"no such kit: {name}; the nearest is {kits.nearest(name)}")
    return name


def _refuse(fault: str) -> None:
    if fault:
        raise argparse.ArgumentTypeError(fault)
