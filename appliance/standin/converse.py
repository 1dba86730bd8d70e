"""The V1 dialect, `/v1/agent/converse`: what `schema` read and `values` judged, and replies. Pure.

Sources: the official AsyncAPI of July 2026, and of functions that are called off the newest
official SDK for Python.
"""

from collections.abc import Iterable, Sequence

from msgspec import UNSET

from appliance.standin import schema, values
from appliance.standin.terms import (
    Change,
    Fault,
    Function,
    Injected,
    Message,
    Mind,
    Result,
    Said,
    Sound,
    StillThere,
    Terms,
    TurnEnded,
    Written,
)
from appliance.standin.tongue import LATE, Called, Tongue

LATE_SETTINGS = LATE + "you send a 'Settings' message at the beginning of the session."

# What a stored agent listens with is known to its owner only; Flux is what they are made with now.
STORED_LISTEN = schema.Listen(type="deepgram", version="v2", model="flux-general-en")


class Converse(Tongue):
    """V1 on one connection."""

    SETTINGS = "Settings"
    GREETS_BEFORE_APPLIED = True

    def __init__(self, *, stored_agents: bool) -> None:
        super().__init__()
        self._stored_agents = stored_agents
        self._listen = schema.Listen(type="deepgram")
        self._has_history = False

    def read(self, text: str) -> Said:
        """Read one text frame, or raise a `Fault`."""
        said = schema.read(text)
        self._put_in_order(is_settings=isinstance(said, schema.Settings))
        match said:
            case schema.Settings():
                return self._settings(said)
            case schema.KeepAlive():
                return StillThere()
            case schema.ForceEndTurn():
                return TurnEnded()
            case schema.InjectUserMessage():
                return Written(said.content)
            case schema.InjectAgentMessage():
                return Injected(said.message, said.behavior)
            case schema.FunctionCallResponse():
                return Result(said.id, said.content)
            case schema.UpdateListen():
                return self._update_listen(said.listen.provider)
            case schema.UpdateThink():
                values.check_think(said.think)
                return Change({"type": "ThinkUpdated"}, mind=_mind(said.think))
            case schema.UpdateSpeak():
                values.check_speak(said.speak)
                return Change({"type": "SpeakUpdated"})
            case schema.UpdatePrompt():
                return Change({"type": "PromptUpdated"}, more_prompt=said.prompt)

    def _settings(self, settings: schema.Settings) -> Terms:
        values.check(settings, stored_agents=self._stored_agents)
        self._has_settings = True
        self._has_history = settings.flags.history
        heard, spoken = settings.audio.input, settings.audio.output
        agent = settings.agent
        self._listen = STORED_LISTEN if isinstance(agent, str) else settings.listen
        if isinstance(agent, str):
            mind, remembered = Mind(knows_functions=False), 0
        else:
            mind = Mind() if agent.think is UNSET else _mind(agent.think)
            remembered = len(agent.context.messages)
        return Terms(
            heard=Sound(heard.sample_rate, heard.encoding),
            spoken=Sound(spoken.rate_hz, spoken.encoding),
            pause_s=self._listen.pause_s,
            can_end_turn=self._listen.is_flux,
            greeting=settings.greeting,
            mind=mind,
            remembered=remembered,
        )

    def _update_listen(self, listen: schema.Listen) -> Change:
        values.check_listen(listen)
        if listen.version != self._listen.version:
            code = "UPDATE_LISTEN_UNSUPPORTED_FIELDS_CHANGED"
            return Change(self.warning(code, "The version of the listen provider stays as it was."))
        self._listen = self._listen.updated(listen)
        return Change({"type": "ListenUpdated"}, pause_s=self._listen.pause_s)

    def too_late(self) -> Fault:
        """It names what is missing."""
        if self._has_settings:
            return super().too_late()
        return Fault("CLIENT_MESSAGE_TIMEOUT", LATE_SETTINGS)

    def welcome(self, session_id: str) -> Message:
        """The id is of the request that asked for the connection."""
        return {"type": "Welcome", "request_id": session_id}

    def error(self, fault: Fault) -> Message:
        """With its code."""
        return {"type": "Error", "description": fault.description, "code": fault.code}

    def refusal(self, why: str) -> Message:
        """With the reason."""
        return {"type": "InjectionRefused", "message": why}

    def remembered(self, role: str, content: str) -> Iterable[Message]:
        """`History`, unless the settings have declined it."""
        if self._has_history:
            yield {"type": "History", "role": role, "content": content}

    def latencies(self, seconds: dict[str, float]) -> Iterable[Message]:
        """All in one report."""
        yield {"type": "LatencyReport", **seconds}

    def call(self, calls: Sequence[Called]) -> Iterable[Message]:
        """All in one request; those that the server makes itself are marked."""
        functions = [
            {
                "id": call.id,
                "name": call.name,
                "arguments": call.arguments,
                "client_side": call.is_client_side,
                **_signature(call),
            }
            for call in calls
        ]
        yield {"type": "FunctionCallRequest", "functions": functions}

    def call_off(self, calls: Sequence[Called]) -> Iterable[Message]:
        """All in one message."""
        functions = [{"id": call.id, "name": call.name} for call in calls]
        yield {"type": "FunctionCallCancelled", "functions": functions}

    def served(self, call: Called, content: str) -> Iterable[Message]:
        """The client's own message, sent back; an id is not promised."""
        yield {"type": "FunctionCallResponse", "name": call.name, "content": content}

    def calls_remembered(self, made: Sequence[tuple[Called, str]]) -> Iterable[Message]:
        """`History`, unless the settings have declined it."""
        if self._has_history:
            function_calls = [
                {
                    "id": call.id,
                    "name": call.name,
                    "client_side": call.is_client_side,
                    "arguments": call.arguments,
                    "response": response,
                    **_signature(call),
                }
                for call, response in made
            ]
            yield {"type": "History", "function_calls": function_calls}


def _signature(call: Called) -> Message:
    return {} if call.signature is None else {"thought_signature": call.signature}


def _mind(think: schema.Think | list[schema.Think]) -> Mind:
    """Of several the first one thinks; the others are there in case it fails."""
    if isinstance(think, list):
        return _mind(think[0]) if think else Mind()
    functions = tuple(Function(one.name, one.endpoint is UNSET) for one in think.functions)
    return Mind(think.prompt, functions)
