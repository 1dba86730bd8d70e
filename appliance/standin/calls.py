"""Which functions the stand-in agent calls, and what they have given so far. Pure.

A model decides this from what was said. Here it is decided by the test, in `Manners.calls`, or by
plain words: `call NAME {"some": "arguments"}` in the prompt calls that function in every turn, and
in a written question in that turn. Names that were not declared are words like any other.

    voice-appliance ask 'call set_volume {"percent": 30}'
"""

import json
import re
from collections.abc import Iterator, Sequence

from appliance.standin.manners import EVERY_TURN, Call, Manners
from appliance.standin.terms import Fault, Mind
from appliance.standin.tongue import Called

AT_ONCE_MAX = 16  # calls in one turn
SERVED = "The stand-in agent calls no other servers."

_ASKED = re.compile(r"\bcall ([A-Za-z_][\w-]*)\s*")
_JSON = json.JSONDecoder()


def planned(manners: Manners, mind: Mind, turn: int, written: str) -> list[Call]:
    """What to call in this turn, in place of answering at once.

    Raises:
        Fault: a function that was not declared.
    """
    calls = [call for call in manners.calls if call.turn in (EVERY_TURN, turn)]
    unknown = [call.name for call in calls if mind.function(call.name) is None]
    if unknown and mind.knows_functions and not manners.calls_undeclared:
        raise Fault(
            "NON_EXISTENT_FUNCTION_CALLED", f"The model called {unknown[0]!r}, which is no function"
        )
    for name, arguments in (*asked(mind.prompt), *asked(written)):
        if mind.function(name) is not None:
            calls.append(Call(turn, name, arguments))
    return calls[:AT_ONCE_MAX]


def asked(words: str) -> Iterator[tuple[str, str]]:
    """The calls that some words ask for: names, and arguments as they are written there."""
    for found in _ASKED.finditer(words):
        arguments = "{}"
        if words.startswith("{", found.end()):
            try:
                _, end = _JSON.raw_decode(words, found.end())
            except (ValueError, RecursionError):
                continue
            arguments = words[found.end() : end]
        yield found[1], arguments


class Calls:
    """The calls of one turn, and what they gave."""

    def __init__(self, calls: Sequence[Called]) -> None:
        self._calls = calls
        self._given = {call.id: SERVED for call in calls if not call.is_client_side}

    def give(self, call_id: str, content: str) -> bool:
        """Note what a function gave; whether anybody waited for it."""
        is_awaited = call_id not in self._given and call_id in {one.id for one in self._calls}
        if is_awaited:
            self._given[call_id] = content
        return is_awaited

    @property
    def awaited(self) -> list[Called]:
        """Those that have given nothing yet."""
        return [call for call in self._calls if call.id not in self._given]

    @property
    def made(self) -> list[tuple[Called, str]]:
        """Those that have given something, and what."""
        return [(call, self._given[call.id]) for call in self._calls if call.id in self._given]
