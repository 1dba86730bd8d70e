"""The early-access dialect, `/agent`: reads and judges what clients say, and words replies. Pure.

It was spoken until May 2025. Unknown types and fields, missing ones and wrong types are errors;
`null` is taken where the official description has it nullable. Only silence ends a turn, an
injected statement has one behaviour, and errors have words and no code.

Sources: the official AsyncAPI of March 2025; the official SDKs of that time for Python (3.9) and
JavaScript, which have values where the AsyncAPI has only strings.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NoReturn

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

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
    parse,
)
from appliance.standin.tongue import Called, Tongue

PAUSE_S = 0.5  # of silence ends a turn; there is no knob for it
DEFAULT_HZ = 24000
INPUT_HZ_MIN = 1000  # 20 samples in the 20 ms that are judged at a time
INPUT_HZ_MAX = 192_000
OUTPUT_HZ = {
    "linear16": frozenset({8000, 16000, 24000, 32000, 48000}),
    "mulaw": frozenset({8000, 16000}),
    "alaw": frozenset({8000, 16000}),
}
MINDS = frozenset({"open_ai", "anthropic", "groq", "custom"})


class Part(Struct, forbid_unknown_fields=True, kw_only=True):
    """A JSON object without surprises."""


class _Input(Part):
    encoding: str = "linear16"
    sample_rate: int = DEFAULT_HZ


class _Output(Part):
    encoding: str = "linear16"
    sample_rate: int = DEFAULT_HZ
    bitrate: int | UnsetType = UNSET
    container: str = "none"


class _Audio(Part):
    input: _Input | None = None
    output: _Output | None = None


class _Listen(Part):
    model: str = "nova-3"
    keyterms: list[str] = []


class _Header(Part):
    key: str
    value: str


class _Provider(Part):
    type: str
    url: str = ""  # these three of `custom` only
    headers: list[_Header] = []
    key: str = ""


class _Function(Part):
    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    url: str = ""  # who calls it: with an address the server, without one the client
    method: str = "post"
    headers: list[_Header] = []


class _Think(Part):
    provider: _Provider
    model: str
    instructions: str | None = None
    functions: list[_Function] | None = None

    @property
    def mind(self) -> Mind:
        """What the agent was told to be and do."""
        functions = (Function(one.name, not one.url) for one in self.functions or ())
        return Mind(self.instructions or "", tuple(functions))


class _Speak(Part):
    model: str = "aura-asteria-en"
    provider: Literal["eleven_labs", "cartesia"] | UnsetType = UNSET
    voice_id: str | UnsetType = UNSET


class _Agent(Part):
    think: _Think
    listen: _Listen = field(default_factory=_Listen)
    speak: _Speak | None = None


class _Statement(Part):
    role: Literal["user", "assistant"]
    content: str


class _Context(Part):
    messages: list[_Statement] = []
    replay: bool = False


class SettingsConfiguration(Part, tag="SettingsConfiguration"):
    """The first message, and the only one of its kind on a connection."""

    audio: _Audio | None
    agent: _Agent
    context: _Context | None = None

    @property
    def replayed(self) -> str:
        """What the agent says first: the last it said before, if it shall say it again."""
        if self.context is None or not self.context.replay:
            return ""
        spoken = (one.content for one in reversed(self.context.messages) if one.role != "user")
        return next(spoken, "")


class UpdateInstructions(Part, tag="UpdateInstructions"):
    """More words for the prompt."""

    instructions: str


class UpdateSpeak(Part, tag="UpdateSpeak"):
    """Changes the voice."""

    model: str


class InjectAgentMessage(Part, tag="InjectAgentMessage"):
    """Words that the agent shall say."""

    message: str


class FunctionCallResponse(Part, tag="FunctionCallResponse"):
    """The result of a function that the client ran."""

    function_call_id: str
    output: str


class KeepAlive(Part, tag="KeepAlive"):
    """Nothing but a sign of life."""


Frame = (
    SettingsConfiguration
    | UpdateInstructions
    | UpdateSpeak
    | InjectAgentMessage
    | FunctionCallResponse
    | KeepAlive
)
_DECODER: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def read(text: str) -> Frame:
    """Read one text frame.

    Raises:
        Fault: it is not JSON, or not in the shape of any message.
    """
    return parse(_DECODER, text)


def check(settings: SettingsConfiguration) -> None:
    """Judge the values of settings that could be read.

    Raises:
        Fault: a value that the server does not take, or one that this stand-in does not have.
    """
    provider = settings.agent.think.provider
    if provider.type not in MINDS:
        _invalid(f"there is no think provider {provider.type!r}")
    if (provider.type == "custom") != bool(provider.url):
        _invalid("a think provider has a `url` if, and only if, it is `custom`")
    speak = settings.agent.speak
    if speak is not None and (speak.provider is UNSET) != (speak.voice_id is UNSET):
        _invalid("`provider` and `voice_id` of a voice belong together")
    _check_audio(settings.audio or _Audio())


def _check_audio(audio: _Audio) -> None:
    heard, spoken = audio.input or _Input(), audio.output or _Output()
    if heard.encoding not in OUTPUT_HZ:
        _invalid(f"audio input is linear16, mulaw or alaw, not {heard.encoding!r}")
    if not INPUT_HZ_MIN <= heard.sample_rate <= INPUT_HZ_MAX:
        _invalid(f"nothing is recorded at an input sample_rate of {heard.sample_rate}")
    if spoken.encoding not in OUTPUT_HZ:
        _invalid(f"this stand-in speaks linear16, mulaw and alaw only, not {spoken.encoding!r}")
    if spoken.sample_rate not in OUTPUT_HZ[spoken.encoding]:
        _invalid(f"{spoken.encoding} has no output sample_rate of {spoken.sample_rate}")
    if spoken.container != "none":
        _invalid(f"this stand-in has no container {spoken.container!r}")
    if spoken.bitrate is not UNSET:
        _invalid(f"{spoken.encoding} has no `bitrate`")


def _invalid(description: str) -> NoReturn:
    raise Fault("INVALID_SETTINGS", description)


class EarlyAccess(Tongue):
    """The early-access dialect on one connection."""

    SETTINGS = "SettingsConfiguration"
    GREETS_BEFORE_APPLIED = False

    def read(self, text: str) -> Said:
        """Read one text frame, or raise a `Fault`."""
        said = read(text)
        self._put_in_order(is_settings=isinstance(said, SettingsConfiguration))
        match said:
            case SettingsConfiguration():
                check(said)
                self._has_settings = True
                return _terms(said)
            case UpdateInstructions():
                return Change({"type": "InstructionsUpdated"}, more_prompt=said.instructions)
            case UpdateSpeak():
                return Change({"type": "SpeakUpdated"})
            case InjectAgentMessage():
                return Injected(said.message, fits_between_calls=True)
            case FunctionCallResponse():
                return Result(said.function_call_id, said.output)
            case KeepAlive():
                return StillThere()

    def welcome(self, session_id: str) -> Message:
        """The id is of the session."""
        return {"type": "Welcome", "session_id": session_id}

    def error(self, fault: Fault) -> Message:
        """Words only."""
        return {"type": "Error", "message": fault.description}

    def refusal(self, _why: str) -> Message:
        """Bare: its `message` is demanded, and nowhere described."""
        return {"type": "InjectionRefused"}

    def call_told(self) -> Iterable[Message]:
        """Bare: what else it had differed from model to model."""
        yield {"type": "FunctionCalling"}

    def call(self, calls: Sequence[Called]) -> Iterable[Message]:
        """One request for each; what the server calls itself is not told."""
        for call in calls:
            if call.is_client_side:
                yield {
                    "type": "FunctionCallRequest",
                    "function_name": call.name,
                    "function_call_id": call.id,
                    "input": _input(call.arguments),
                }


def _terms(settings: SettingsConfiguration) -> Terms:
    audio = settings.audio or _Audio()
    heard, spoken = audio.input or _Input(), audio.output or _Output()
    return Terms(
        heard=Sound(heard.sample_rate, heard.encoding),
        spoken=Sound(spoken.sample_rate, spoken.encoding),
        pause_s=PAUSE_S,
        greeting=settings.replayed,
        mind=settings.agent.think.mind,
        remembered=0 if settings.context is None else len(settings.context.messages),
    )


def _input(arguments: str) -> Any:
    """The arguments as an object; as they are, where they are none."""
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
