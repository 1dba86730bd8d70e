"""What clients say, whichever dialect they say it in. Frozen values. Pure."""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import msgspec

from appliance.sound.companding import LINEAR, compress, expand

Message = dict[str, Any]

LINEAR_SAMPLE_BYTES = 2

_T = TypeVar("_T")


class Fault(Exception):
    """What the client said cannot be taken: becomes an `Error`, and the end of the connection."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code  # early access does not tell it
        self.description = description


def unparsable(why: str) -> Fault:
    """The fault of a message that is not in the shape of any."""
    return Fault("UNPARSABLE_CLIENT_MESSAGE", f"Error parsing client message: {why}")


def parse(decoder: msgspec.json.Decoder[_T], text: str) -> _T:
    """What a text frame says, to a decoder of all that may be said in a dialect.

    Raises:
        Fault: it is not JSON, or not in the shape of any message.
    """
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:  # ValidationError is a DecodeError
        raise unparsable(str(error)) from error


@dataclass(frozen=True, slots=True)
class Sound:
    """How sound lies on the wire: bare, one channel."""

    rate_hz: int
    encoding: str = LINEAR  # or "mulaw", "alaw"

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return LINEAR_SAMPLE_BYTES if self.encoding == LINEAR else 1

    def to_linear(self, sound: bytes) -> bytes:
        """Sound from the wire as linear16."""
        return sound if self.encoding == LINEAR else expand(sound, self.encoding)

    def from_linear(self, sound: bytes) -> bytes:
        """Linear16, whole samples, as it goes on the wire."""
        return sound if self.encoding == LINEAR else compress(sound, self.encoding)


@dataclass(frozen=True, slots=True)
class Function:
    """A function that may be called."""

    name: str
    is_client_side: bool = True  # else the server has an address to call


@dataclass(frozen=True, slots=True)
class Mind:
    """What the agent was told to be and do."""

    prompt: str = ""
    functions: tuple[Function, ...] = ()
    knows_functions: bool = True  # False: a stored agent's, which nobody has told us

    def with_more(self, prompt: str) -> "Mind":
        """The same, and `prompt` besides."""
        return replace(self, prompt=f"{self.prompt}\n{prompt}")

    def function(self, name: str) -> Function | None:
        """The function of this name, if it was declared."""
        return next((one for one in self.functions if one.name == name), None)


@dataclass(frozen=True, slots=True)
class Change:
    """Something is otherwise from now on, or the answer says why not."""

    answer: Message
    more_prompt: str = ""
    mind: Mind | None = None
    pause_s: float | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings, as far as they matter here."""

    heard: Sound
    spoken: Sound
    pause_s: float  # of silence, ends a turn
    can_end_turn: bool = False  # by a message
    greeting: str = ""
    mind: Mind = Mind()
    remembered: int = 0  # statements of an earlier session

    def changed(self, by: Change) -> "Terms":
        """The same, but for what `by` changes."""
        mind = by.mind or self.mind
        if by.more_prompt:
            mind = mind.with_more(by.more_prompt)
        return replace(self, mind=mind, pause_s=by.pause_s or self.pause_s)


@dataclass(frozen=True, slots=True)
class StillThere:
    """Nothing but a sign of life."""


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The user has finished: end the turn with the sound so far."""


@dataclass(frozen=True, slots=True)
class Written:
    """A turn of the user in writing."""

    text: str


@dataclass(frozen=True, slots=True)
class Injected:
    """Words that the agent shall say."""

    text: str
    behavior: Literal["default", "queue", "interrupt"] = "default"
    fits_between_calls: bool = False  # also `default`, while functions are being called


@dataclass(frozen=True, slots=True)
class Result:
    """What a function gave that the client called."""

    id: str
    content: str


Said = Terms | StillThere | TurnEnded | Written | Injected | Result | Change
