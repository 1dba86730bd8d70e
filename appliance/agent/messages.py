"""What is said between the box and the agent, in our words. Frozen values, both directions. Pure.

A dialect (`v1`) turns them into text frames and back. Sound is no message: it goes beside them,
as bare bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# ── from the box ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """The first thing said on a connection.

    `listen`, `think` and `speak` are the owner's tables, in the words of the wire.
    """

    rate_hz: int
    listen: Mapping[str, object]
    think: Mapping[str, object] | Sequence[Mapping[str, object]]
    speak: Mapping[str, object] | Sequence[Mapping[str, object]]
    prompt: str
    tags: tuple[str, ...] = ()
    ends_are_ours: bool = False  # `hold`: a pause must end nothing, if the server can be told so
    force_end_turn: bool = True  # the server is thought to know `EndTurn`


@dataclass(frozen=True)
class KeepAlive:
    """We are still here."""


@dataclass(frozen=True)
class EndTurn:
    """The user's turn ends with the sound sent so far."""


ToAgent = Settings | KeepAlive | EndTurn


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


@dataclass(frozen=True)
class FunctionsWanted:
    """The agent waits for something before it goes on; `names` of functions."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class AgentStartedSpeaking:
    """The first sound of an answer follows. Often not sent at all."""


@dataclass(frozen=True)
class AgentAudioDone:
    """The last sound of an answer was sent, long before it has been played. May be missing."""


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
class Unhandled:
    """A message that we have no use for, `is_known` or not: the set grows several times a year."""

    name: str
    is_known: bool = False


FromAgent = (
    Welcome
    | SettingsApplied
    | UserText
    | AgentText
    | UserStartedSpeaking
    | AgentThinking
    | FunctionsWanted
    | AgentStartedSpeaking
    | AgentAudioDone
    | Warned
    | Failed
    | Unhandled
)


@dataclass(frozen=True)
class TurnSent:
    """Ours, not the wire's: an utterance and its end are out. News of the session itself."""

    number: int
