"""Reads what clients of the V1 API send, as strictly as the real server does. Pure.

Unknown types, unknown fields, missing ones and wrong types are `UNPARSABLE_CLIENT_MESSAGE`, and so
is a field that belongs to another version of its provider. What can be read is judged by `values`.

Source: the official AsyncAPI (deepgram-api-specs, 22 Jul 2026), and beyond it what newer official
clients send: `ForceEndTurn`, `eot_threshold` up to 1.0, Flux voices, `defer_until_eot`. Think Live
is by invitation, and refused here as the server refuses who was not invited. Names of models are
not held to a list: the official ones change every few weeks.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from appliance.standin.terms import parse

NOVA_PAUSE_S = 0.5  # V1 has no knob for it
FLUX_PAUSE_S = 0.7  # roughly what a confidence below 1.0 comes to on plain silence
DEFAULT_HZ = 24000
DEFAULT_COMPANDED_HZ = 8000
DEFAULT_EOT_TIMEOUT_MS = 5000


class Part(Struct, forbid_unknown_fields=True, kw_only=True):
    """A JSON object without surprises. `null` is a wrong type everywhere."""


class Listen(Part):
    """Speech recognition: Nova (`v1`, also when no version is named) or Flux (`v2`)."""

    type: Literal["deepgram"]
    version: Literal["v1", "v2"] = "v1"
    model: str = ""
    keyterms: list[str] = []
    language: str | UnsetType = UNSET
    smart_format: bool | UnsetType = UNSET
    language_hints: list[str] | UnsetType = UNSET
    eot_threshold: float | UnsetType = UNSET
    eager_eot_threshold: float | UnsetType = UNSET
    eot_timeout_ms: int | UnsetType = UNSET

    def __post_init__(self) -> None:
        nova = ("language", "smart_format")
        flux = ("language_hints", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms")
        _refuse_fields(self, nova if self.is_flux else flux)
        if self.is_flux and not self.model:
            raise ValueError("Object missing required field `model`")

    @property
    def is_flux(self) -> bool:
        """Whether turns are found by Flux, which can be told that one has ended."""
        return self.version == "v2"

    @property
    def pause_s(self) -> float:
        """How much silence ends a turn."""
        if not self.is_flux:
            return NOVA_PAUSE_S
        timeout_ms = DEFAULT_EOT_TIMEOUT_MS if self.eot_timeout_ms is UNSET else self.eot_timeout_ms
        is_sure = self.eot_threshold is not UNSET and self.eot_threshold >= 1.0
        return timeout_ms / 1000 if is_sure else min(FLUX_PAUSE_S, timeout_ms / 1000)

    def updated(self, by: "Listen") -> "Listen":
        """These settings with what `by` says; what it leaves out stays, but for hints."""
        kept = (
            "language",
            "smart_format",
            "eot_threshold",
            "eager_eot_threshold",
            "eot_timeout_ms",
        )
        left_out = [name for name in kept if getattr(by, name) is UNSET]
        return msgspec.structs.replace(by, **{name: getattr(self, name) for name in left_out})


class _Endpoint(Part):
    url: str
    headers: dict[str, str] = {}


class _FunctionEndpoint(Part):
    url: str = ""
    method: str = "post"
    headers: dict[str, str] = {}


class _Function(Part):
    name: str = ""
    description: str = ""
    parameters: dict[str, Any] = {}
    defer_until_eot: bool = False
    endpoint: _FunctionEndpoint | UnsetType = UNSET


class _Credentials(Part):
    type: Literal["sts", "iam"] = "iam"
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""


class _PollyCredentials(Part):
    type: Literal["sts", "iam"]
    region: str
    access_key_id: str
    secret_access_key: str
    session_token: str = ""


class _Mind(Part, tag_field="type"):
    model: str
    temperature: float = 0.0


class _OpenAi(_Mind, tag="open_ai"):
    version: Literal["v1"] = "v1"
    reasoning_mode: Literal["none", "minimal", "low", "medium", "high"] = "none"


class Anthropic(_Mind, tag="anthropic"):
    """The one that is never hotter than 1."""

    version: Literal["v1"] = "v1"


class _Google(_Mind, tag="google"):
    version: Literal["v1beta", "ai-studio-v1beta", "gemini-enterprise-agent-v1"] = "v1beta"


class Groq(_Mind, tag="groq"):
    """Only by an own endpoint."""

    version: Literal["v1"] = "v1"
    reasoning_mode: Literal["none", "minimal", "low", "medium", "high"] = "none"


class Bedrock(_Mind, tag="aws_bedrock"):
    """Only by an own endpoint."""

    credentials: _Credentials | UnsetType = UNSET


class _Nvidia(_Mind, tag="nvidia"):
    pass


class _DeepgramMind(_Mind, tag="deepgram"):
    version: Literal["v1"] = "v1"
    reasoning_mode: Literal["none", "minimal", "low", "medium", "high"] = "none"
    voice_prompt_opt_out: bool = False


class Think(Part):
    """What thinks, and how: a language model, its prompt and its functions."""

    provider: _OpenAi | Anthropic | _Google | Groq | Bedrock | _Nvidia | _DeepgramMind
    endpoint: _Endpoint | UnsetType = UNSET
    functions: list[_Function] = []
    prompt: str = ""
    context_length: Literal["max"] | float | UnsetType = UNSET


class Deepgram(Part, tag_field="type", tag="deepgram"):
    """A voice of the house: Aura (`v1`, also when no version is named) or Flux (`v2`)."""

    model: str
    version: Literal["v1", "v2"] = "v1"
    speed: float = 1.0
    expressivity: int | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.version == "v1":
            _refuse_fields(self, ("expressivity",))


class _ElevenLabs(Part, tag_field="type", tag="eleven_labs"):
    model_id: str
    version: Literal["v1"] = "v1"
    language: str = ""
    language_code: str = ""


class _CartesiaVoice(Part):
    mode: str
    id: str


class Cartesia(Part, tag_field="type", tag="cartesia"):
    """The one vendor's voice that needs no endpoint."""

    model_id: str
    voice: _CartesiaVoice
    version: Literal["2025-03-17"] = "2025-03-17"
    language: str = ""
    volume: float = 1.0


class _OpenAiVoice(Part, tag_field="type", tag="open_ai"):
    model: str
    voice: str
    version: Literal["v1"] = "v1"


class _Polly(Part, tag_field="type", tag="aws_polly"):
    voice: str
    language: str
    engine: Literal["generative", "long-form", "standard", "neural"]
    credentials: _PollyCredentials
    language_code: str = ""


class Speak(Part):
    """What speaks."""

    provider: Deepgram | _ElevenLabs | Cartesia | _OpenAiVoice | _Polly
    endpoint: _Endpoint | UnsetType = UNSET


class _FunctionCall(Part):
    id: str
    name: str
    client_side: bool
    arguments: str
    response: str
    thought_signature: str = ""


class _History(Part):
    type: Literal["History"]
    role: Literal["user", "assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    function_calls: list[_FunctionCall] | UnsetType = UNSET

    def __post_init__(self) -> None:
        has_role, has_content = self.role is not UNSET, self.content is not UNSET
        has_calls = self.function_calls is not UNSET
        if has_role != has_content or has_role == has_calls:
            raise ValueError("a History has either `role` and `content`, or `function_calls`")


class _Context(Part):
    messages: list[_History] = []


class _ListenBlock(Part):
    provider: Listen | UnsetType = UNSET


class _Agent(Part):
    language: str = "en"
    greeting: str = ""
    context: _Context = field(default_factory=_Context)
    listen: _ListenBlock = field(default_factory=_ListenBlock)
    think: Think | list[Think] | UnsetType = UNSET
    speak: Speak | list[Speak] | UnsetType = UNSET


class Input(Part):
    """The sound that the client sends."""

    encoding: Literal[
        "linear16",
        "linear32",
        "flac",
        "alaw",
        "mulaw",
        "amr-nb",
        "amr-wb",
        "opus",
        "ogg-opus",
        "speex",
        "g729",
    ]
    sample_rate: int


class Output(Part):
    """The sound that the client wants."""

    encoding: Literal["linear16", "mulaw", "alaw", "mp3", "opus", "flac", "aac"] = "linear16"
    sample_rate: int | UnsetType = UNSET
    bitrate: int | UnsetType = UNSET
    container: Literal["none", "wav", "ogg"] = "none"

    @property
    def rate_hz(self) -> int:
        """The rate; where none is named, the usual one of the encoding."""
        if self.sample_rate is not UNSET:
            return self.sample_rate
        return DEFAULT_COMPANDED_HZ if self.encoding in ("mulaw", "alaw") else DEFAULT_HZ


class _Audio(Part):
    input: Input = field(default_factory=lambda: Input(encoding="linear16", sample_rate=DEFAULT_HZ))
    output: Output = field(default_factory=Output)


class _Flags(Part):
    history: bool = True


class Settings(Part, tag="Settings"):
    """The first message, and the only one of its kind on a connection."""

    audio: _Audio
    agent: _Agent | str
    tags: list[str] = []
    experimental: bool = False
    flags: _Flags = field(default_factory=_Flags)
    mip_opt_out: bool = False

    @property
    def listen(self) -> Listen:
        """How speech is heard; Nova where nothing is said of it."""
        if isinstance(self.agent, str) or self.agent.listen.provider is UNSET:
            return Listen(type="deepgram")
        return self.agent.listen.provider

    @property
    def greeting(self) -> str:
        """What the agent says first; empty: nothing."""
        return "" if isinstance(self.agent, str) else self.agent.greeting


class _UpdatedListen(Part):
    provider: Listen


class UpdateListen(Part, tag="UpdateListen"):
    """Changes how speech is heard, within the version of the session."""

    listen: _UpdatedListen


class UpdateThink(Part, tag="UpdateThink"):
    """Replaces the whole think block."""

    think: Think | list[Think]


class UpdateSpeak(Part, tag="UpdateSpeak"):
    """Changes the voice."""

    speak: Speak | list[Speak]


class UpdatePrompt(Part, tag="UpdatePrompt"):
    """More words for the prompt."""

    prompt: str


class InjectUserMessage(Part, tag="InjectUserMessage"):
    """A turn of the user in writing."""

    content: str


class InjectAgentMessage(Part, tag="InjectAgentMessage"):
    """Words that the agent shall say."""

    message: str
    behavior: Literal["default", "queue", "interrupt"] = "default"


class FunctionCallResponse(Part, tag="FunctionCallResponse"):
    """The result of a function that the client ran."""

    name: str
    content: str
    id: str = ""
    thought_signature: str = ""


class KeepAlive(Part, tag="KeepAlive"):
    """Nothing but a sign of life."""


class ForceEndTurn(Part, tag="ForceEndTurn"):
    """The user has finished: end the turn with the sound so far."""


Said = (
    Settings
    | UpdateListen
    | UpdateThink
    | UpdateSpeak
    | UpdatePrompt
    | InjectUserMessage
    | InjectAgentMessage
    | FunctionCallResponse
    | KeepAlive
    | ForceEndTurn
)
_DECODER: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)


def _refuse_fields(part: Struct, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(part, name) is not UNSET:
            raise ValueError(f"Object contains unknown field `{name}`")


def read(text: str) -> Said:
    """Read one text frame.

    Raises:
        Fault: it is not JSON, or not in the shape of any message.
    """
    return parse(_DECODER, text)
