"""The dialect of `/v1/agent/converse`: our messages as its text frames, and back. Pure.

The server reads strictly: a field it does not know ends the session. We read loosely: unknown
types and fields are let pass, and only what we need has to have its shape.

Sources: the official AsyncAPI of July 2026 (which is older than `ForceEndTurn`), the pages on
settings, message flow, errors and warnings, and force-end-turn of Deepgram's documentation,
read in stored copies of 2026.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import msgspec

from appliance.agent.messages import (
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentText,
    AgentThinking,
    EndTurn,
    Failed,
    FromAgent,
    FunctionsWanted,
    KeepAlive,
    Settings,
    SettingsApplied,
    ToAgent,
    Unhandled,
    UserStartedSpeaking,
    UserText,
    Warned,
    Welcome,
)
from appliance.errors import AgentMisspoke, Trouble

# Under a held button a pause must not end the turn. 1.0 never ends it on the model's confidence;
# the timeout is independent of that, and 30 s the longest pause that we believe in.
EOT_THRESHOLD_HELD = 1.0
EOT_TIMEOUT_HELD_MS = 30_000
# Where the end cannot be said, silence must be able to end the turn: the server's own default.
EOT_THRESHOLD_BY_SILENCE = 0.7

_T = TypeVar("_T")

SAID_MAX = 80  # characters of a faulty frame that are worth telling

CODES: Mapping[str, Trouble] = {
    "INTERNAL_SERVER_ERROR": Trouble.SERVER_ERROR,
    "CLIENT_MESSAGE_TIMEOUT": Trouble.LINK_LOST,
    "UNPARSABLE_CLIENT_MESSAGE": Trouble.SETTINGS_REFUSED,
    "NON_SETTINGS_MESSAGE_BEFORE_SETTINGS": Trouble.SETTINGS_REFUSED,
    "SETTINGS_ALREADY_APPLIED": Trouble.SETTINGS_REFUSED,
    "INVALID_SETTINGS": Trouble.SETTINGS_REFUSED,
    "FAILED_TO_START_LISTENING": Trouble.SERVER_ERROR,
    "FAILED_TO_LISTEN": Trouble.SERVER_ERROR,
    "ASR_CONNECTION_CLOSED": Trouble.SERVER_ERROR,
    "ASR_DRIVER_TIMEOUT": Trouble.SERVER_ERROR,
    "USER_AUDIO_FORMAT": Trouble.SETTINGS_REFUSED,
    "INVALID_AUDIO_FORMAT": Trouble.SETTINGS_REFUSED,
    "FAILED_TO_SPEAK": Trouble.SERVER_ERROR,
    "FAILED_TO_THINK": Trouble.SERVER_ERROR,
    "SERVER_GOING_AWAY": Trouble.GOING_AWAY,
    "NON_EXISTENT_FUNCTION_CALLED": Trouble.SERVER_ERROR,
    "AGENT_ID_NOT_SUPPORTED": Trouble.SETTINGS_REFUSED,
    "INVALID_AGENT_ID": Trouble.SETTINGS_REFUSED,
    "MAXIMUM_SESSION_LENGTH_REACHED": Trouble.GOING_AWAY,
    "INVALID_AUTH": Trouble.KEY_REFUSED,
    "INSUFFICIENT_PERMISSIONS": Trouble.KEY_REFUSED,
}

# The model failed, and the turn gets no answer. The table of errors calls it fatal, newer notes
# say that the session goes on: so it is fatal only if the server closes.
GOES_ON = frozenset({"FAILED_TO_THINK"})


def trouble_of(code: str) -> Trouble:
    """What an `Error` of this code means for us; codes we do not know are the server's fault."""
    return CODES.get(code, Trouble.SERVER_ERROR)


def refuses_end_turn(code: str, settings: Settings, *, applied: bool, said: bool) -> bool:
    """Whether an `Error` or `Warning` may mean that this server cannot be told the end of a turn.

    An older server calls `ForceEndTurn` unparsable, or already the threshold that goes with it.

    Args:
        code: the code of the error or warning.
        settings: what was said first on this connection.
        applied: the settings were accepted.
        said: `EndTurn` has been said on this connection.
    """
    if code == "FORCE_END_TURN_UNSUPPORTED":
        return True
    if not can_end_turn(settings):
        return False
    if applied:
        return said and code == "UNPARSABLE_CLIENT_MESSAGE"
    return settings.ends_are_ours and code in ("UNPARSABLE_CLIENT_MESSAGE", "INVALID_SETTINGS")


# ── to the agent ─────────────────────────────────────────────────────────────────────────────────


def encode(message: ToAgent) -> str:
    """The text frame for a message."""
    match message:
        case Settings():
            return json.dumps(_settings(message))
        case KeepAlive():
            return '{"type": "KeepAlive"}'
        case EndTurn():
            return '{"type": "ForceEndTurn"}'


def can_end_turn(settings: Settings) -> bool:
    """Whether the end of a turn can be said: only Flux knows it, and not on every server."""
    return settings.force_end_turn and _is_flux(settings.listen)


def _is_flux(listen: Mapping[str, object]) -> bool:
    provider = listen.get("provider")
    return isinstance(provider, Mapping) and provider.get("version") == "v2"


def _settings(said: Settings) -> dict[str, object]:
    audio = {"encoding": "linear16", "sample_rate": said.rate_hz}
    whole: dict[str, object] = {
        "type": "Settings",
        "audio": {"input": audio, "output": {**audio, "container": "none"}},
        "agent": {
            "listen": _listen(said),
            "think": _prompted(said.think, said.prompt),
            "speak": said.speak,
        },
    }
    if said.tags:
        whole["tags"] = list(said.tags)
    return whole


def _listen(said: Settings) -> Mapping[str, object]:
    """The owner's table, and in `hold` what keeps a pause from ending the turn."""
    provider = said.listen.get("provider")
    if not (said.ends_are_ours and _is_flux(said.listen) and isinstance(provider, Mapping)):
        return said.listen
    ours: dict[str, object] = (
        {"eot_threshold": EOT_THRESHOLD_HELD, "eot_timeout_ms": EOT_TIMEOUT_HELD_MS}
        if said.force_end_turn
        else {"eot_threshold": EOT_THRESHOLD_BY_SILENCE}
    )
    return {**said.listen, "provider": {**ours, **provider}}


def _prompted(
    think: Mapping[str, object] | Sequence[Mapping[str, object]], prompt: str
) -> dict[str, object] | list[dict[str, object]]:
    """The prompt in each entry that has none of its own."""
    if isinstance(think, Mapping):
        return {"prompt": prompt, **think} if prompt else dict(think)
    return [{"prompt": prompt, **entry} if prompt else dict(entry) for entry in think]


# ── from the agent ───────────────────────────────────────────────────────────────────────────────


class _Named(msgspec.Struct):
    type: str


class _Welcome(msgspec.Struct):
    request_id: str = ""


class _Text(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: str


class _Function(msgspec.Struct):
    name: str


class _Functions(msgspec.Struct):
    functions: list[_Function]


class _Notice(msgspec.Struct):
    code: str | None = None
    description: str | None = None


def _of(shape: type[_T], read: Callable[[_T], FromAgent]) -> Callable[[str], FromAgent]:
    decoder = msgspec.json.Decoder(shape)
    return lambda frame: read(decoder.decode(frame))


_READERS: Mapping[str, Callable[[str], FromAgent]] = {
    "Welcome": _of(_Welcome, lambda it: Welcome(it.request_id)),
    "SettingsApplied": lambda _: SettingsApplied(),
    "ConversationText": _of(
        _Text, lambda it: UserText(it.content) if it.role == "user" else AgentText(it.content)
    ),
    "UserStartedSpeaking": lambda _: UserStartedSpeaking(),
    "AgentThinking": lambda _: AgentThinking(),
    "FunctionCallRequest": _of(
        _Functions, lambda it: FunctionsWanted(tuple(one.name for one in it.functions))
    ),
    "AgentStartedSpeaking": lambda _: AgentStartedSpeaking(),
    "AgentAudioDone": lambda _: AgentAudioDone(),
    "Warning": _of(_Notice, lambda it: Warned(it.code or "", it.description or "")),
    "Error": _of(_Notice, lambda it: Failed(it.code or "", it.description or "")),
}

# Known, and of no use: told several times a turn, so not worth a line of the journal.
_ASIDE = frozenset(
    {"History", "LatencyReport", "EndOfTurn", "FunctionCallResponse", "FunctionCallCancelled"}
    | {"PromptUpdated", "SpeakUpdated", "ThinkUpdated", "ListenUpdated", "InjectionRefused"}
)

_WORDS = re.compile(r'("(?:content|arguments|response)"\s*:\s*")(?:[^"\\]|\\.)*')

_decode_named = msgspec.json.Decoder(_Named).decode


def decode(frame: str) -> FromAgent:
    """The message of a text frame.

    Raises:
        AgentMisspoke: it is no JSON object with a `type`, or a message that we know has an
            impossible shape. It carries the frame's first 80 characters, but none
            that somebody spoke.
    """
    try:
        name = _decode_named(frame).type
        reader = _READERS.get(name)
        return Unhandled(name, name in _ASIDE) if reader is None else reader(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        said = _WORDS.sub(r"\1…", frame[: 10 * SAID_MAX])[:SAID_MAX]  # words stay out of journals
        raise AgentMisspoke(Trouble.GARBAGE, f"the agent sent {said!r}: {error}") from error
