"""What a dialect has to know, and what both of them share. Pure.

A dialect is a module (`v1`, `early_access`): functions without state, named as in `Dialect`. Above
it nobody asks which one it is, only what it can do.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from appliance.agent.messages import (
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentText,
    AgentThinking,
    Changed,
    FromAgent,
    Function,
    Misshapen,
    Settings,
    SettingsApplied,
    ToAgent,
    Unhandled,
    UserStartedSpeaking,
    UserText,
)
from appliance.errors import AgentMisspoke, Trouble

SAID_MAX = 80  # characters of a faulty frame that are worth telling

_WORDS = re.compile(  # up to the end of a string, or of all where they are in a table or a list
    r'("(?:content|arguments|response|thought|message|input|output)"\s*:\s*)'
    r'(?:"(?:[^"\\]|\\.)*|[\[{].*)',
    re.DOTALL,
)
_T = TypeVar("_T")
Reader = Callable[[str], FromAgent]


class Dialect(Protocol):
    """How our messages look on one kind of wire."""

    NAME: str
    WAITS_FOR_WELCOME: bool  # the settings are said after it, not at once

    def encode(self, message: ToAgent) -> str:
        """The text frame for a message; raises `CannotSay` where the wire has no words for it."""

    def decode(self, frame: str) -> FromAgent:
        """The message of a text frame; raises `AgentMisspoke` where it is no JSON."""

    def can_end_turn(self, settings: Settings) -> bool:
        """Whether the end of a turn can be said."""

    def refuses_end_turn(self, code: str, settings: Settings, *, applied: bool, said: bool) -> bool:
        """Whether this code may mean that the server cannot be told the end of a turn."""

    def trouble_of(self, code: str, description: str) -> Trouble:
        """What a `Failed` means for us."""

    def goes_on(self, code: str) -> bool:
        """Whether a session may live on after this `Failed`."""

    def think(self, settings: Settings) -> Mapping[str, object] | Sequence[Mapping[str, object]]:
        """The whole `think` of these settings: with prompt and functions."""

    def voice(self, model: str) -> Mapping[str, object]:
        """The `speak` table of a voice, by its name."""

    def can_ask(self) -> bool:
        """Whether words can be asked in place of sound."""


def is_early_access(url: str) -> bool:
    """Whether an address is that of the early-access API, by its path."""
    steps = [step for step in urlsplit(url).path.split("/") if step]
    return steps[-1:] == ["agent"] and "v1" not in steps


class _Named(msgspec.Struct):
    type: str


_decode_named = msgspec.json.Decoder(_Named).decode


def of(shape: type[_T], read: Callable[[_T], FromAgent]) -> Reader:
    """A reader of frames that have this shape."""
    decoder = msgspec.json.Decoder(shape)
    return lambda frame: read(decoder.decode(frame))


def worded(value: object) -> str:
    """What a session lives by, in whatever shape it comes: a string, or a number; else nothing."""
    return str(value) if isinstance(value, str | int) else ""


def always(message: FromAgent) -> Reader:
    """A reader of frames of which nothing but the type is of use."""
    return lambda _: message


def function_table(function: Function) -> dict[str, object]:
    """A function, as both wires name its parts."""
    return {
        "name": function.name,
        "description": function.description,
        "parameters": function.parameters,
    }


class _Text(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: str


class _Thought(msgspec.Struct):
    content: Any = ""


class _Started(msgspec.Struct):
    total_latency: float | None = None
    tts_latency: float | None = None
    ttt_latency: float | None = None


# What both dialects say in the same words.
SHARED: dict[str, Reader] = {
    "SettingsApplied": always(SettingsApplied()),
    "ConversationText": of(
        _Text, lambda it: UserText(it.content) if it.role == "user" else AgentText(it.content)
    ),
    "UserStartedSpeaking": always(UserStartedSpeaking()),
    "AgentThinking": of(
        _Thought, lambda it: AgentThinking(it.content if isinstance(it.content, str) else "")
    ),
    "AgentStartedSpeaking": of(
        _Started,
        lambda it: AgentStartedSpeaking(it.total_latency, it.tts_latency, it.ttt_latency),
    ),
    "AgentAudioDone": always(AgentAudioDone()),
    "SpeakUpdated": always(Changed("voice")),
}


def read(frame: str, readers: dict[str, Reader]) -> FromAgent:
    """The message of a text frame; `Misshapen` if it is JSON and no message, or not as we know it.

    Raises:
        AgentMisspoke: it is no JSON.
    """
    try:
        name = _decode_named(frame).type
        reader = readers.get(name)
        return Unhandled(name) if reader is None else reader(frame)
    except (msgspec.ValidationError, OverflowError) as error:
        return Misshapen(_complaint(frame, error))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise AgentMisspoke(Trouble.GARBAGE, _complaint(frame, error)) from error


def _complaint(frame: str, error: Exception) -> str:
    """With the frame's first 80 characters, but none that somebody spoke."""
    said = _WORDS.sub(r'\1"…', frame[: 10 * SAID_MAX])[:SAID_MAX]
    return f"the agent sent {said!r}: {error}"
