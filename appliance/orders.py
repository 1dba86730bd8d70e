"""What may be asked of a running daemon through its control socket, by name.

What a finger can do a command can do, and what only words can do besides.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from appliance.agent.messages import Ask, CannotSay, Say, ToAgent
from appliance.brief import PROMPT_MAX, Brief
from appliance.conversation import Conversation, Event, Phase
from appliance.errors import Trouble
from appliance.host.remote import CommandError
from appliance.purse import Purse

IDLE = (Phase.ASLEEP, Phase.RESTING, Phase.TROUBLE)
VOLUME_MAX = 100
WORDS_MAX = PROMPT_MAX  # of whatever is said


class Speaking(Protocol):
    """A session that can be told something."""

    def say(self, message: ToAgent) -> None:
        """Send it."""


class Household(Protocol):
    """The daemon, as far as orders go."""

    conversation: Conversation
    brief: Brief
    purse: Purse

    @property
    def session(self) -> Speaking | None:
        """The session that stands."""

    def set_volume(self, level: int) -> None:
        """How loud the box speaks, 0 to 100."""

    def tell(self, event: Event, why: Trouble | None = None) -> None:
        """Something happened."""


def commands(house: Household) -> Mapping[str, Callable[..., object]]:
    """Each command by its name; it takes its arguments by their names, and never waits."""

    def told(event: Event) -> dict[str, object]:
        house.tell(event)
        talk = house.conversation
        return {
            "phase": talk.phase.value,
            "link": talk.link.value,
            "trouble": talk.trouble.slug if talk.trouble else None,
        }

    def to_be_said(message: Say | Ask) -> dict[str, object]:
        if house.conversation.phase not in IDLE:
            raise CommandError(f"not now: the box is {house.conversation.phase.value}")
        try:
            house.brief.keep(message)
        except CannotSay as error:
            raise CommandError(str(error)) from error
        return told(Event.ASKED)

    def changed(message: ToAgent) -> dict[str, object]:
        session = house.session
        if session is not None:
            session.say(message)
        return {"now": session is not None}

    def volume(level: object) -> dict[str, object]:
        if not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= VOLUME_MAX:
            raise CommandError(f"wanted a level of 0 to {VOLUME_MAX}")
        house.set_volume(level)
        return {"level": level}

    return {
        "press": lambda: told(Event.PRESSED),
        "release": lambda: told(Event.RELEASED),
        "mute": lambda: told(Event.MUTED),
        "unmute": lambda: told(Event.UNMUTED),
        "forget": lambda: told(Event.FORGOTTEN),
        "volume": volume,
        "spend": house.purse.report,
        "say": lambda text: to_be_said(Say(_words(text))),
        "ask": lambda text: to_be_said(Ask(_words(text))),
        "prompt": lambda text: changed(house.brief.change_prompt(_words(text))),
        "voice": lambda model: changed(house.brief.change_voice(_words(model))),
    }


def _words(text: object) -> str:
    if not isinstance(text, str) or not text.strip() or len(text) > WORDS_MAX:
        raise CommandError(f"wanted words, at most {WORDS_MAX} characters of them")
    return text
