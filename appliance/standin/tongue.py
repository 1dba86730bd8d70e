"""A dialect as the agent has it: reads what the client says, and words what is said to it. Pure.

`Tongue` is what both dialects share; `converse` and `early` are the two. Above them nobody asks
which one is spoken. A tongue lives as long as its connection, for it knows what may be said next.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from appliance.standin.terms import Fault, Message, Said

LATE = "We waited too long for a websocket message. Please ensure that "
LATE_SOUND = LATE + "you're sending binary messages containing user speech."


@dataclass(frozen=True, slots=True)
class Called:
    """A function that has been called."""

    id: str
    name: str
    arguments: str
    is_client_side: bool
    signature: str | None = None


class Tongue(ABC):
    """One dialect, on one connection."""

    SETTINGS: ClassVar[str]  # the name of the message that comes first
    GREETS_BEFORE_APPLIED: ClassVar[bool]  # the greeting's text comes before SettingsApplied

    def __init__(self) -> None:
        self._has_settings = False

    @abstractmethod
    def read(self, text: str) -> Said:
        """Read one text frame.

        Raises:
            Fault: its shape, its place in the conversation or its values are not to be taken.
        """

    def _put_in_order(self, *, is_settings: bool) -> None:
        """Raise a `Fault` for settings that are not the first to be said, or not the first."""
        if is_settings and self._has_settings:
            raise Fault("SETTINGS_ALREADY_APPLIED", "The settings have already been applied.")
        if not is_settings and not self._has_settings:
            raise self.too_early(f"{self.SETTINGS} must be sent first.")

    @staticmethod
    def too_early(why: str) -> Fault:
        """The fault of what comes before the settings."""
        return Fault("NON_SETTINGS_MESSAGE_BEFORE_SETTINGS", why)

    def too_late(self) -> Fault:
        """The fault of a client that says nothing."""
        return Fault("CLIENT_MESSAGE_TIMEOUT", LATE_SOUND)

    @abstractmethod
    def welcome(self, session_id: str) -> Message:
        """The first thing that is said."""

    @abstractmethod
    def error(self, fault: Fault) -> Message:
        """The last thing that is said."""

    def warning(self, code: str, description: str) -> Message:
        """Something is not as it should be, and the session goes on."""
        return {"type": "Warning", "description": description, "code": code}

    @abstractmethod
    def refusal(self, why: str) -> Message:
        """Injected words will not be said."""

    def remembered(self, _role: str, _content: str) -> Iterable[Message]:
        """The server's own note of a statement, where it keeps one."""
        return ()

    def latencies(self, _seconds: dict[str, float]) -> Iterable[Message]:
        """How long the steps of a turn took, where they are told after it."""
        return ()

    def call_told(self) -> Iterable[Message]:
        """For people who look on: functions are at work. Not to be relied on."""
        return ()

    @abstractmethod
    def call(self, calls: Sequence[Called]) -> Iterable[Message]:
        """The client shall call these functions, or hear of it that the server does."""

    def call_off(self, _calls: Sequence[Called]) -> Iterable[Message]:
        """No answer to these is wanted any more, where that can be said."""
        return ()

    def served(self, _call: Called, _content: str) -> Iterable[Message]:
        """What a function gave that the server called itself, where that is told."""
        return ()

    def calls_remembered(self, _made: Sequence[tuple[Called, str]]) -> Iterable[Message]:
        """The server's own note of functions and what they gave, where it keeps one."""
        return ()
