"""What is said between the box and the agent, in our words. Frozen values, both directions. Pure.

A dialect (`v1`, `early_access`) turns them into text frames and back. Sound is no message: it goes
beside them, as bare bytes. Tables that pass through from the owner's settings are in the words of
the wire; everything else is in ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

Table = Mapping[str, object]


class Side(Enum):
    """Who said it. The values are those of both dialects."""

    USER = "user"
    AGENT = "assistant"


@dataclass(frozen=True)
class Said:
    """One statement of one side."""

    who: Side
    text: str


@dataclass(frozen=True)
class Called:
    """A function that was called and answered, as it is told again; `arguments` as they came."""

    id: str
    name: str
    arguments: str
    response: str
    is_ours: bool = True
    signature: str | None = None


@dataclass(frozen=True)
class Function:
    """What the agent may call on this box; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Table
    defer_until_eot: bool = False  # not before the turn has surely ended: it cannot be undone


# ── from the box ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """The first thing said on a connection.

    `listen`, `think` and `speak` are the owner's tables; None leaves the choice to the dialect.
    `think_live` is by invitation, and absent unless the owner has one.
    """

    rate_hz: int
    prompt: str = ""
    listen: Table | None = None
    think: Table | Sequence[Table] | None = None
    speak: Table | Sequence[Table] | None = None
    encoding: str = "linear16"  # or "mulaw", "alaw"; both ways
    agent_id: str = ""  # a stored agent in place of listen, think and speak
    greeting: str = ""
    think_live: Table | None = None
    history: tuple[Said | Called, ...] = ()
    functions: tuple[Function, ...] = ()
    tags: tuple[str, ...] = ()
    mip_opt_out: bool = False
    experimental: bool = False
    flags: Table | None = None
    ends_are_ours: bool = False  # `hold`: a pause must end nothing, if the server can be told so
    force_end_turn: bool = True  # the server is thought to know `EndTurn`


@dataclass(frozen=True)
class KeepAlive:
    """We are still here."""


@dataclass(frozen=True)
class EndTurn:
    """The user's turn ends with the sound sent so far."""


@dataclass(frozen=True)
class ChangePrompt:
    """Another prompt from now on, or more of it: servers differ."""

    prompt: str


@dataclass(frozen=True)
class ChangeThink:
    """Another model, prompt and functions: the whole block."""

    think: Table | Sequence[Table]


@dataclass(frozen=True)
class ChangeVoice:
    """Another voice: a model's name, or a whole table."""

    speak: str | Table | Sequence[Table]


@dataclass(frozen=True)
class ChangeListen:
    """Other ears: the whole block."""

    listen: Table


@dataclass(frozen=True)
class ChangeThinkLive:
    """Other manners of Think Live, which is by invitation: the whole block."""

    think_live: Table


class Behavior(Enum):
    """What an injected statement does to one that is being made."""

    DEFAULT = "default"  # refused if either side is in the middle of a turn
    QUEUE = "queue"  # after what is being said; refused while the user speaks
    INTERRUPT = "interrupt"  # in its place


@dataclass(frozen=True)
class Say:
    """The agent is to say this."""

    text: str
    behavior: Behavior = Behavior.DEFAULT


@dataclass(frozen=True)
class Improvise:
    """The agent is to say something, in words of its own; by invitation, with Think Live."""

    behavior: Behavior = Behavior.DEFAULT


@dataclass(frozen=True)
class ToThinkProvider:
    """Anything that JSON knows, for the owner's own language model; the agent passes it on."""

    content: object


@dataclass(frozen=True)
class Ask:
    """As if the user had said this."""

    text: str


@dataclass(frozen=True)
class FunctionAnswer:
    """What a function gave; always words that the agent can make something of."""

    id: str
    name: str
    content: str
    signature: str | None = None  # of the call, given back


ToAgent = (
    Settings
    | KeepAlive
    | EndTurn
    | ChangePrompt
    | ChangeThink
    | ChangeVoice
    | ChangeListen
    | ChangeThinkLive
    | Say
    | Improvise
    | ToThinkProvider
    | Ask
    | FunctionAnswer
)


class CannotSay(Exception):
    """The dialect has no words for this; the message says which."""


# ── from the agent ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Welcome:
    """The connection stands; `request_id` is what support asks for."""

    request_id: str


@dataclass(frozen=True)
class SettingsApplied:
    """Sound may be sent."""


@dataclass(frozen=True)
class UserText:
    """What the user said, as the agent understood it: the turn was taken."""

    text: str


@dataclass(frozen=True)
class AgentText:
    """A part of the answer, in words; before or amid its sound."""

    text: str


@dataclass(frozen=True)
class UserStartedSpeaking:
    """The agent hears somebody, and has stopped its own answer."""


@dataclass(frozen=True)
class AgentThinking:
    """A thought that is not spoken. Often not sent at all."""

    thought: str = ""


@dataclass(frozen=True)
class Call:
    """One function that the agent wants called; `arguments` as it wrote them, hopefully JSON.

    Calls that the server makes itself are told as well: they are not for us.
    """

    id: str
    name: str
    arguments: str = "{}"
    is_ours: bool = True
    signature: str | None = None


@dataclass(frozen=True)
class FunctionsWanted:
    """The agent waits for these before it goes on."""

    calls: tuple[Call, ...]


@dataclass(frozen=True)
class FunctionsCancelled:
    """The user went on talking: no answer is wanted any more to the calls of these ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class FunctionAnswered:
    """What a function gave that the server called itself."""

    name: str
    content: str


@dataclass(frozen=True)
class FunctionCalling:
    """The agent is busy with functions; early access only, a help for people."""


@dataclass(frozen=True)
class AgentStartedSpeaking:
    """The first sound of an answer follows. Often not sent at all. Seconds, where they are told."""

    total_s: float | None = None
    speech_s: float | None = None
    text_s: float | None = None


@dataclass(frozen=True)
class AgentAudioDone:
    """The last sound of an answer was sent, long before it has been played. May be missing."""


@dataclass(frozen=True)
class TurnEnded:
    """The agent has found the end of the user's turn, by "model", "timeout" or "manual"."""

    trigger: str = ""


@dataclass(frozen=True)
class Frustrated:
    """The user loses patience, it seems; only with a conversation mode that is by invitation."""

    count: int = 0
    escalated: bool = False


@dataclass(frozen=True)
class FromThinkProvider:
    """What an owner's own model passes through; not documented, and of no use here."""


@dataclass(frozen=True)
class EndOfThought:
    """The agent has done thinking; early access, older than its general form."""


@dataclass(frozen=True)
class Remembered:
    """The server's own note of a statement, for a later session; we keep our own."""

    said: Said | None = None  # None: of function calls


@dataclass(frozen=True)
class Latencies:
    """How long the steps of a turn took, in seconds, by the names of the wire."""

    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Changed:
    """A change was taken: "prompt", "think", "think live", "voice" or "listen"."""

    what: str


@dataclass(frozen=True)
class SayRefused:
    """What was to be said will not be: somebody is in the middle of a turn."""

    reason: str


@dataclass(frozen=True)
class Metadata:
    """About the session; early access, never described."""


@dataclass(frozen=True)
class Warned:
    """Something is not as it should be, and the session goes on."""

    code: str
    description: str


@dataclass(frozen=True)
class Failed:
    """The session is over; the server closes soon."""

    code: str
    description: str


@dataclass(frozen=True)
class Closing:
    """The server is about to close; early access."""


@dataclass(frozen=True)
class Unhandled:
    """A message that means nothing to us: the set grows several times a year."""

    name: str


@dataclass(frozen=True)
class Misshapen:
    """Whole JSON, and not what we know: passed over, as whoever checks nothing would."""

    complaint: str  # without anything that somebody may have spoken


FromAgent = (
    Welcome
    | SettingsApplied
    | UserText
    | AgentText
    | UserStartedSpeaking
    | AgentThinking
    | FunctionsWanted
    | FunctionsCancelled
    | FunctionAnswered
    | FunctionCalling
    | AgentStartedSpeaking
    | AgentAudioDone
    | TurnEnded
    | Frustrated
    | FromThinkProvider
    | EndOfThought
    | Remembered
    | Latencies
    | Changed
    | SayRefused
    | Metadata
    | Warned
    | Failed
    | Closing
    | Unhandled
    | Misshapen
)


@dataclass(frozen=True)
class TurnSent:
    """Ours, not the wire's: an utterance and its end are out. News of the session itself."""

    number: int
