"""What can go wrong, named by who must act.

    ApplianceError
    ├─ ConfigError    the owner edits the file          exit 78
    ├─ DeviceError    a card, a pin or a path failed    waited out by the part that owns it
    └─ AgentError     the far end                       ends a connection, never the process

Our own mistakes are assertions; nobody catches them and the process ends.

A `Trouble` is what the box shows and says of a failure: one word for `status`, one sentence for
the owner, and when the link may be tried again. Every way in which a turn can fail has one.
Source of the classes of agent errors: the API's errors and warnings page (mid-2026 copy).
"""

from enum import Enum, auto


class Retry(Enum):
    """When the link may be dialled again after a trouble, provided that somebody waits for it."""

    BACKOFF = auto()  # full jitter, 0.5 s doubling to 30 s
    EACH_SECOND = auto()  # the far end counts connections and a place may come free
    AT_ONCE = auto()  # the far end asked us to come again
    ON_PRESS = auto()  # only a person can have changed anything: not before the next press


class Trouble(Enum):
    """A named failure: (its word in `status`, its sentence for the owner, its retry)."""

    NO_NETWORK = ("no-network", "no network: the agent's name cannot be looked up", Retry.BACKOFF)
    UNREACHABLE = ("unreachable", "the agent's server cannot be reached", Retry.BACKOFF)
    SILENT = ("silent", "the agent's server accepts and then says nothing", Retry.BACKOFF)
    GARBAGE = ("garbage", "the agent's server does not speak the protocol", Retry.BACKOFF)
    CLOCK_WRONG = ("clock-wrong", "the clock of this box is wrong", Retry.BACKOFF)
    CERTIFICATE = ("certificate", "the agent's certificate cannot be trusted", Retry.ON_PRESS)
    KEY_REFUSED = ("key-refused", "the API key was refused", Retry.ON_PRESS)
    KEY_COMMAND = ("key-command", "the command for the key failed", Retry.BACKOFF)
    NO_CREDIT = ("no-credit", "the account has no credit left", Retry.ON_PRESS)
    NOT_FOUND = ("not-found", "there is no agent at this URL", Retry.ON_PRESS)
    TOO_MANY = ("too-many", "the account has too many connections open", Retry.EACH_SECOND)
    SERVER_ERROR = ("server-error", "the agent's server failed", Retry.BACKOFF)
    SETTINGS_REFUSED = ("settings-refused", "the agent refused the settings", Retry.ON_PRESS)
    GOING_AWAY = ("going-away", "the agent's server is restarting", Retry.AT_ONCE)
    END_TURN_REFUSED = ("end-turn-refused", "the agent cannot be told the end", Retry.AT_ONCE)
    LINK_LOST = ("link-lost", "the connection was lost", Retry.BACKOFF)
    NO_CONNECTION = ("no-connection", "no connection in time: the words are gone", Retry.ON_PRESS)
    CAP_REACHED = ("cap-reached", "the money for this day or month is spent", Retry.ON_PRESS)
    HEARD_NOTHING = ("heard-nothing", "the agent heard nothing", Retry.ON_PRESS)
    NO_ANSWER = ("no-answer", "the agent did not answer", Retry.ON_PRESS)
    MICROPHONE_MISSING = ("microphone-missing", "the microphone is missing", Retry.ON_PRESS)
    SPEAKER_MISSING = ("speaker-missing", "the speaker is missing", Retry.ON_PRESS)
    PANEL_MISSING = ("panel-missing", "button or lamp is missing", Retry.ON_PRESS)
    BUTTON_STUCK = ("button-stuck", "a button has been held since the start", Retry.ON_PRESS)

    def __init__(self, slug: str, sentence: str, retry: Retry) -> None:
        self.slug = slug
        self.sentence = sentence
        self.retry = retry


class ApplianceError(Exception):
    """Never raised itself."""


class ConfigError(ApplianceError):
    """The settings cannot be used; `faults` are sentences, one for each thing to mend."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class DeviceError(ApplianceError):
    """A card, a pin or a path of this machine failed: the message says which and how.

    `details` is for whoever looks closer: it is not in the message.
    """

    def __init__(self, message: str, *, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class AgentError(ApplianceError):
    """The connection ended otherwise than by our own wish."""

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(message)
        self.trouble = trouble


class AgentUnreachable(AgentError):
    """There was no connection: not there, silent, or its certificate not to be trusted."""


class AgentRefused(AgentError):
    """The server answered and wants none of us: key, credit, place, address or settings."""


class AgentMisspoke(AgentError):
    """What came was not the protocol; the message carries its first 80 characters."""


class AgentLost(AgentError):
    """A connection that had stood broke, or the server ended it with an `Error`."""
