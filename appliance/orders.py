"""What may be asked of a running daemon through its control socket, by name.

What a finger can do a command can do, and what only words can do besides. Three are for programs
and have no command line: `change` replaces a block of the agent's settings, `improvise` and
`to_think_provider` say what Deepgram offers by invitation.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from appliance.agent.messages import (
    Ask,
    Behavior,
    CannotSay,
    Improvise,
    Say,
    ToAgent,
    ToThinkProvider,
)
from appliance.brief import BLOCKS, Brief
from appliance.config_wire import refusals
from appliance.conversation import Event, Phase
from appliance.errors import Trouble
from appliance.host.remote import CommandError
from appliance.loudness import Loudness
from appliance.mind import Conversation
from appliance.purse import Purse
from appliance.sound.volume import moved
from appliance.words import level_fault, model_fault, text_fault

IDLE = (Phase.ASLEEP, Phase.RESTING, Phase.TROUBLE)


class Speaking(Protocol):
    """A session that can be told something."""

    def say(self, message: ToAgent) -> None:
        """Send it."""


class Household(Protocol):
    """The daemon, as far as orders go."""

    conversation: Conversation
    brief: Brief
    purse: Purse
    loudness: Loudness

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
            "muted": talk.muted,
            "trouble": talk.trouble.slug if talk.trouble else None,
        }

    def to_be_said(message: Say | Ask | Improvise) -> dict[str, object]:
        if house.conversation.phase not in IDLE:
            raise CommandError(f"not now: the box is {house.conversation.phase.value}")
        try:
            house.brief.keep(message)
        except CannotSay as error:
            raise CommandError(str(error)) from error
        return told(Event.ASKED)

    def volume(level: object = None, change: object = None) -> dict[str, object]:
        if level is not None and change is not None:
            raise CommandError("wanted a level or a change, not both")
        if level is not None:
            house.set_volume(_whole(level, is_change=False))
        if change is not None:
            house.set_volume(moved(house.loudness.level, _whole(change, is_change=True)))
        return house.loudness.report()

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
        "prompt": lambda text: _changed(house, house.brief.change_prompt(_words(text))),
        "voice": lambda model: _changed(house, house.brief.change_voice(_model(model))),
        "change": lambda block, table: _change(house, block, table),
        "improvise": lambda behavior="default": to_be_said(Improvise(_behavior(behavior))),
        "to_think_provider": lambda content: _to_think_provider(house, content),
    }


def _whole(number: object, *, is_change: bool) -> int:
    if fault := level_fault(number, is_change=is_change):
        raise CommandError(fault)
    assert isinstance(number, int)
    return number


def _changed(house: Household, message: ToAgent) -> dict[str, object]:
    """Also on the connection that stands, if one does."""
    session = house.session
    if session is not None:
        session.say(message)
    return {"now": session is not None}


def _change(house: Household, block: object, table: object) -> dict[str, object]:
    name = next((one for one in BLOCKS if one == block), None)
    if name is None:
        raise CommandError(f"wanted one of the blocks {', '.join(BLOCKS)}")
    if not isinstance(table, dict):
        raise CommandError(f"wanted the whole table of {name}")
    if name != "think_live":
        for refusal in refusals(house.brief.dialect.NAME, name, table):
            raise CommandError(f"{refusal.name}: {refusal.words}")
    try:
        return _changed(house, house.brief.change_block(name, table))
    except CannotSay as error:
        raise CommandError(str(error)) from error


def _to_think_provider(house: Household, content: object) -> dict[str, object]:
    session = house.session
    if session is None:
        raise CommandError("not now: there is no connection")
    try:
        session.say(ToThinkProvider(content))
    except CannotSay as error:
        raise CommandError(str(error)) from error
    return {}


def _words(text: object) -> str:
    if fault := text_fault(text):
        raise CommandError(fault)
    return str(text)


def _model(name: object) -> str:
    if fault := model_fault(name):
        raise CommandError(fault)
    return str(name)


def _behavior(name: object) -> Behavior:
    try:
        return Behavior(name)
    except ValueError:
        known = ", ".join(one.value for one in Behavior)
        raise CommandError(f"wanted a behavior: one of {known}") from None
