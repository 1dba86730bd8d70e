"""The dialect of the early-access API (`/agent`, `SettingsConfiguration`), until May 2025. Pure.

The endpoint is said to be gone; servers of one's own may still speak it. It knows no end of a
turn but silence, no words in place of sound, and its errors carry no code.

Sources: the "Getting Started" pages the project began from, the official AsyncAPI of March 2025,
and the official SDKs for Python (3.8 to 3.11) and JavaScript (3.9 to 3.13).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from appliance.agent.dialect import SHARED, Reader, always, function_table, of, read, worded
from appliance.agent.messages import (
    Behavior,
    Call,
    CannotSay,
    Changed,
    ChangePrompt,
    ChangeVoice,
    Closing,
    EndOfThought,
    Failed,
    FromAgent,
    FunctionAnswer,
    FunctionCalling,
    FunctionsWanted,
    KeepAlive,
    Metadata,
    Said,
    Say,
    SayRefused,
    Settings,
    Table,
    ToAgent,
    Warned,
    Welcome,
)
from appliance.errors import Trouble

NAME = "early-access"
WAITS_FOR_WELCOME = False  # "Welcome does not wait for the settings", nor they for it

LISTEN: Table = {"model": "nova-3"}
THINK: Table = {"provider": {"type": "open_ai"}, "model": "gpt-4o-mini"}
SPEAK: Table = {"model": "aura-asteria-en"}

WAITED_TOO_LONG = "waited too long"  # of the one error text that was seen in the wild


def trouble_of(code: str, description: str) -> Trouble:  # there are no codes
    """What an `Error` means for us, by its words."""
    if WAITED_TOO_LONG in description:
        return Trouble.LINK_LOST
    return Trouble.SERVER_ERROR


def goes_on(code: str) -> bool:  # there are no codes
    """Every error ends the session."""
    return False


def can_ask() -> bool:
    """There are no words in place of sound."""
    return False


def can_end_turn(settings: Settings) -> bool:  # whatever they are
    """Only silence ends a turn."""
    return False


def refuses_end_turn(
    code: str,
    settings: Settings,
    *,
    applied: bool,
    said: bool,
) -> bool:
    """It is never told one."""
    return False


# ── to the agent ─────────────────────────────────────────────────────────────────────────────────


def encode(message: ToAgent) -> str:
    """The text frame for a message.

    Raises:
        CannotSay: there are no words for it.
    """
    return json.dumps(_table(message))


def _table(message: ToAgent) -> Table:
    match message:
        case Settings():
            return _settings(message)
        case KeepAlive():
            return {"type": "KeepAlive"}
        case ChangePrompt(prompt):
            return {"type": "UpdateInstructions", "instructions": prompt}
        case ChangeVoice(str(model)):
            return {"type": "UpdateSpeak", "model": model}
        case Say(text, Behavior.DEFAULT):
            return {"type": "InjectAgentMessage", "message": text}
        case FunctionAnswer(id=call, content=content):
            return {"type": "FunctionCallResponse", "function_call_id": call, "output": content}
        case _:
            raise CannotSay(f"the early-access dialect has no words for {type(message).__name__}")


def voice(model: str) -> Table:
    """The `speak` table of a voice, by its name."""
    return {"model": model}


def _settings(said: Settings) -> Table:
    audio = {"encoding": said.encoding, "sample_rate": said.rate_hz}
    whole: dict[str, object] = {
        "type": "SettingsConfiguration",
        "audio": {"input": audio, "output": {**audio, "container": "none"}},
        "agent": {
            "listen": LISTEN if said.listen is None else said.listen,
            "think": think(said),
            "speak": SPEAK if said.speak is None else said.speak,
        },
    }
    messages = [
        {"role": one.who.value, "content": one.text}
        for one in said.history
        if isinstance(one, Said)
    ]
    if said.greeting:  # there is no greeting but the last statement, spoken again
        messages.append({"role": "assistant", "content": said.greeting})
    if messages:
        whole["context"] = {"messages": messages, "replay": bool(said.greeting)}
    return whole


def think(said: Settings) -> Table:
    """The whole `think` table of these settings."""
    given: Table | Sequence[Table] = THINK if said.think is None else said.think
    first = given if isinstance(given, Mapping) else given[0]  # it knows no fallbacks
    ours: dict[str, object] = {}
    if said.prompt:
        ours["instructions"] = said.prompt
    if said.functions:
        ours["functions"] = [function_table(one) for one in said.functions]
    return {**ours, **first}


# ── from the agent ───────────────────────────────────────────────────────────────────────────────


class _Welcome(msgspec.Struct):
    session_id: Any = ""


class _Call(msgspec.Struct):
    function_name: str
    function_call_id: str = ""
    input: Any = None


class _Error(msgspec.Struct):
    message: Any = None
    description: Any = None  # the SDK's classes have these as well
    code: Any = None


def _wanted(call: _Call) -> FromAgent:
    arguments = json.dumps({} if call.input is None else call.input)
    return FunctionsWanted((Call(call.function_call_id, call.function_name, arguments),))


_READERS: dict[str, Reader] = {
    **SHARED,
    "Welcome": of(_Welcome, lambda it: Welcome(worded(it.session_id))),
    "FunctionCalling": always(FunctionCalling()),
    "FunctionCallRequest": of(_Call, _wanted),
    "EndOfThought": always(EndOfThought()),
    "Metadata": always(Metadata()),
    "InjectionRefused": of(_Error, lambda it: SayRefused(worded(it.message))),
    "InstructionsUpdated": always(Changed("prompt")),
    "Warning": of(_Error, lambda it: Warned(worded(it.code), worded(it.description or it.message))),
    "Error": of(_Error, lambda it: Failed(worded(it.code), worded(it.message or it.description))),
    "Close": always(Closing()),
}


def decode(frame: str) -> FromAgent:
    """The message of a text frame.

    Raises:
        AgentMisspoke: it is no JSON.
    """
    return read(frame, _READERS)
