"""The dialect of `/v1/agent/converse`: our messages as its text frames, and back. Pure.

The server reads strictly: a field it does not know ends the session. We read loosely: unknown
types and fields are let pass, and a message that has not the shape that we know is told in the
journal and passed over: its makers change them, and their own SDKs check nothing.

Sources: the official AsyncAPI of July 2026 (which is older than `ForceEndTurn`), the pages on
settings, message flow, functions, errors and warnings, and force-end-turn of Deepgram's
documentation, and the newest official SDK for Python, read in stored copies of 2026. Where they
differ the choice is told beside the field.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from appliance.agent.dialect import SHARED, Reader, always, function_table, of, read, worded
from appliance.agent.messages import (
    Ask,
    Call,
    Called,
    Changed,
    ChangeListen,
    ChangePrompt,
    ChangeThink,
    ChangeThinkLive,
    ChangeVoice,
    EndTurn,
    Failed,
    FromAgent,
    FromThinkProvider,
    Frustrated,
    Function,
    FunctionAnswer,
    FunctionAnswered,
    FunctionsCancelled,
    FunctionsWanted,
    Improvise,
    KeepAlive,
    Latencies,
    Remembered,
    Said,
    Say,
    SayRefused,
    Settings,
    Side,
    Table,
    ToAgent,
    ToThinkProvider,
    TurnEnded,
    Warned,
    Welcome,
)
from appliance.errors import Trouble

NAME = "v1"
WAITS_FOR_WELCOME = True

# Stated, although they could be left out: the server's defaults move.
LISTEN: Table = {"provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}}
THINK: Table = {"provider": {"type": "open_ai", "model": "gpt-4o-mini"}}
SPEAK: Table = {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}}

# Under a held button a pause must not end the turn. 1.0 never ends it on the model's confidence;
# the timeout is independent of that, and 30 s the longest pause that we believe in.
EOT_THRESHOLD_HELD = 1.0
EOT_TIMEOUT_HELD_MS = 30_000
# Where the end cannot be said, silence must be able to end the turn: the server's own default.
EOT_THRESHOLD_BY_SILENCE = 0.7

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


def trouble_of(code: str, description: str) -> Trouble:  # another dialect needs it
    """What an `Error` of this code means for us; codes we do not know are the server's fault."""
    return CODES.get(code, Trouble.SERVER_ERROR)


def goes_on(code: str) -> bool:
    """Whether the session may live on after an `Error` of this code."""
    return code in GOES_ON


def can_ask() -> bool:
    """Words can be asked in place of sound."""
    return True


def can_end_turn(settings: Settings) -> bool:
    """Whether the end of a turn can be said: only Flux knows it, and not on every server.

    Of a stored agent nobody knows what it listens with; a warning would tell.
    """
    return settings.force_end_turn and (bool(settings.agent_id) or _is_flux(_listen_of(settings)))


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
    return json.dumps(_table(message))


def _table(message: ToAgent) -> Table:
    match message:
        case Settings():
            return _settings(message)
        case KeepAlive():
            return {"type": "KeepAlive"}
        case EndTurn():
            return {"type": "ForceEndTurn"}
        case ChangePrompt(prompt):
            return {"type": "UpdatePrompt", "prompt": prompt}
        case ChangeThink(block):
            return {"type": "UpdateThink", "think": block}
        case ChangeVoice(speak):
            return {
                "type": "UpdateSpeak",
                "speak": voice(speak) if isinstance(speak, str) else speak,
            }
        case ChangeListen(listen):
            return {"type": "UpdateListen", "listen": listen}
        case ChangeThinkLive(think_live):
            return {"type": "UpdateThink_Live", "think_live": think_live}
        case Improvise(behavior):
            return {"type": "InjectAgentMessage", "is_dynamic": True, "behavior": behavior.value}
        case ToThinkProvider(content):
            return {"type": "__customToThinkProvider", "content": content}
        case Say(text, behavior):  # `content` in the migration guide; `message` everywhere else
            return {"type": "InjectAgentMessage", "message": text, "behavior": behavior.value}
        case Ask(text):
            return {"type": "InjectUserMessage", "content": text}
        case FunctionAnswer():
            return _answer(message)


def voice(model: str) -> Table:
    """The `speak` table of a voice, by its name: the Flux family has a version of its own."""
    version = {"version": "v2"} if model.startswith("flux-") else {}
    return {"provider": {"type": "deepgram", **version, "model": model}}


def _answer(answer: FunctionAnswer) -> Table:
    signature = {} if answer.signature is None else {"thought_signature": answer.signature}
    return {
        "type": "FunctionCallResponse",
        "id": answer.id,
        "name": answer.name,
        "content": answer.content,
        **signature,
    }


def _settings(said: Settings) -> Table:
    audio = {"encoding": said.encoding, "sample_rate": said.rate_hz}
    whole: dict[str, object] = {
        "type": "Settings",
        "audio": {"input": audio, "output": {**audio, "container": "none"}},
        "agent": said.agent_id or _agent(said),
    }
    if said.tags:
        whole["tags"] = list(said.tags)
    if said.mip_opt_out:
        whole["mip_opt_out"] = True
    if said.experimental:
        whole["experimental"] = True
    if said.flags is not None:  # at the top: the documentation wraps it, schema and SDK do not
        whole["flags"] = said.flags
    return whole


def _agent(said: Settings) -> Table:
    agent: dict[str, object] = {
        "listen": _listen(said),
        "think": think(said),
        "speak": SPEAK if said.speak is None else said.speak,
    }
    if said.think_live is not None:
        agent["think_live"] = said.think_live
    if said.greeting:
        agent["greeting"] = said.greeting
    if said.history:
        agent["context"] = {"messages": [_told_again(one) for one in said.history]}
    return agent


def _told_again(one: Said | Called) -> Table:
    if isinstance(one, Said):
        return {"type": "History", "role": one.who.value, "content": one.text}
    signature = {} if one.signature is None else {"thought_signature": one.signature}
    call = {
        "id": one.id,
        "name": one.name,
        "client_side": one.is_ours,
        "arguments": one.arguments,
        "response": one.response,
        **signature,
    }
    return {"type": "History", "function_calls": [call]}


def _listen_of(said: Settings) -> Table:
    return LISTEN if said.listen is None else said.listen


def _is_flux(listen: Table) -> bool:
    provider = listen.get("provider")
    return isinstance(provider, Mapping) and provider.get("version") == "v2"


def _listen(said: Settings) -> Table:
    """The owner's table, and in `hold` what keeps a pause from ending the turn."""
    listen = _listen_of(said)
    provider = listen.get("provider")
    if not (said.ends_are_ours and _is_flux(listen) and isinstance(provider, Mapping)):
        return listen
    ours: dict[str, object] = (
        {"eot_threshold": EOT_THRESHOLD_HELD, "eot_timeout_ms": EOT_TIMEOUT_HELD_MS}
        if said.force_end_turn
        else {"eot_threshold": EOT_THRESHOLD_BY_SILENCE}
    )
    return {**listen, "provider": {**ours, **provider}}


def think(said: Settings) -> Table | Sequence[Table]:
    """The prompt and the functions in each entry that has none of its own."""
    ours: dict[str, object] = {}
    if said.prompt:
        ours["prompt"] = said.prompt
    if said.functions:
        ours["functions"] = [_function(one) for one in said.functions]
    given = THINK if said.think is None else said.think
    if isinstance(given, Mapping):
        return {**ours, **given}
    return [{**ours, **entry} for entry in given]


def _function(function: Function) -> Table:
    deferred = {"defer_until_eot": True} if function.defer_until_eot else {}
    return {**function_table(function), **deferred}


# ── from the agent ───────────────────────────────────────────────────────────────────────────────


class _Welcome(msgspec.Struct):
    request_id: Any = ""


class _Call(msgspec.Struct):
    name: str
    id: str = ""
    arguments: Any = "{}"
    client_side: bool = True
    thought_signature: str | None = None


class _Calls(msgspec.Struct):
    functions: list[_Call]


class _Answered(msgspec.Struct):
    name: str = ""
    content: Any = ""


class _History(msgspec.Struct):
    role: str | None = None
    content: str | None = None


class _Ended(msgspec.Struct):
    trigger: str = ""


class _Frustrated(msgspec.Struct):
    count: int = 0
    escalated: bool = False


class _Refused(msgspec.Struct):
    message: str | None = None


class _Notice(msgspec.Struct):
    code: Any = None
    description: Any = None


def _call(call: _Call) -> Call:
    arguments = call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
    return Call(call.id, call.name, arguments, call.client_side, call.thought_signature)


def _remembered(note: _History) -> FromAgent:
    if note.content is None or note.role not in ("user", "assistant"):
        return Remembered()
    return Remembered(Said(Side(note.role), note.content))


def _latencies(report: dict[str, Any]) -> FromAgent:
    return Latencies(
        {
            name: float(value)
            for name, value in report.items()
            if name.endswith("_latency")
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        }
    )


_READERS: dict[str, Reader] = {
    **SHARED,
    "Welcome": of(_Welcome, lambda it: Welcome(worded(it.request_id))),
    "FunctionCallRequest": of(_Calls, lambda it: FunctionsWanted(tuple(map(_call, it.functions)))),
    "FunctionCallCancelled": of(
        _Calls, lambda it: FunctionsCancelled(tuple(one.id for one in it.functions))
    ),
    "FunctionCallResponse": of(_Answered, lambda it: FunctionAnswered(it.name, str(it.content))),
    "History": of(_History, _remembered),
    "LatencyReport": of(dict[str, Any], _latencies),
    "PromptUpdated": always(Changed("prompt")),
    "ThinkUpdated": always(Changed("think")),
    "ListenUpdated": always(Changed("listen")),
    "ThinkLiveUpdated": always(Changed("think live")),
    "EndOfTurn": of(_Ended, lambda it: TurnEnded(it.trigger)),
    "FrustrationDetected": of(_Frustrated, lambda it: Frustrated(it.count, it.escalated)),
    "__customFromThinkProvider": always(FromThinkProvider()),
    "InjectionRefused": of(_Refused, lambda it: SayRefused(it.message or "")),
    "Warning": of(_Notice, lambda it: Warned(worded(it.code), worded(it.description))),
    "Error": of(_Notice, lambda it: Failed(worded(it.code), worded(it.description))),
}


def decode(frame: str) -> FromAgent:
    """The message of a text frame.

    Raises:
        AgentMisspoke: it is no JSON.
    """
    return read(frame, _READERS)
