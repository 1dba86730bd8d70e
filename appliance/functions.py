"""The functions of this box, as the agent may call them: the owner's commands and our own.

`agent.tools` runs them; here they meet the house: what the built-in ones do, who is asked for a
permission, and to which session an answer goes.
"""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import trio

from appliance.agent.messages import (
    Behavior,
    Call,
    Called,
    CannotSay,
    Function,
    FunctionAnswer,
    Say,
)
from appliance.agent.session import Session
from appliance.agent.tools import (
    END_CONVERSATION,
    GET_STATUS,
    MUTE_MICROPHONE,
    SET_VOLUME,
    Arguments,
    Tool,
    Tools,
)
from appliance.chronicle import Chronicle
from appliance.config import Tool as Setting
from appliance.conversation import THINK_MORE_S, Event
from appliance.errors import Trouble
from appliance.parts import Parts
from appliance.sound.recordings import permission
from appliance.sound.volume import asked


class Household(Protocol):
    """The daemon, as far as functions go."""

    chronicle: Chronicle

    @property
    def session(self) -> Session | None:
        """The session that stands."""

    def tell(self, event: Event, why: Trouble | None = None) -> None:
        """Something happened."""

    def publish(self, event: str, **more: object) -> None:
        """Tell those who watch."""

    @property
    def volume(self) -> int:
        """How loud it speaks now."""

    def set_volume(self, level: int) -> None:
        """How loud the box speaks, 0 to 100."""

    def status(self) -> Mapping[str, object]:
        """What is true now."""


class Functions:
    """Calls of functions, and their permissions. `serve` runs them; all else never waits."""

    def __init__(self, settings: Sequence[Setting], parts: Parts, house: Household) -> None:
        self._house = house
        self._language = parts.config.cues.language
        self._decide: Callable[[bool], None] = lambda _: None
        self._called = trio.Event()
        self._tools = Tools(
            [Tool(**msgspec.structs.asdict(one)) for one in settings],
            {
                SET_VOLUME.name: self._set_volume,
                END_CONVERSATION.name: self._end_conversation,
                MUTE_MICROPHONE.name: self._mute_microphone,
                GET_STATUS.name: lambda _: json.dumps(house.status()),
            },
            run=parts.run_command,
            environ=parts.environ,
            ask_confirmation=self._ask_permission,
            confirmation_over=lambda: house.tell(Event.PERMISSION_OFF),
        )

    async def serve(self) -> None:
        """Run what is called, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tools.serve)
            while True:
                await self._called.wait()
                self._called = trio.Event()
                while self._tools.is_busy:
                    await trio.sleep(THINK_MORE_S)
                    if self._tools.is_busy:
                        self._house.tell(Event.STILL_THINKING)

    def offered(self) -> tuple[Function, ...]:
        """What the agent is told of."""
        return self._tools.functions()

    def call(self, calls: Sequence[Call]) -> None:
        """The agent waits for these."""
        self._called.set()
        for call in calls:
            self._house.tell(Event.STILL_THINKING)
            self._tools.call(call, functools.partial(self._answer, self._house.session, call))

    def _answer(self, session: Session | None, call: Call, said: FunctionAnswer) -> None:
        """Only to the session that asked, while it stands; but what was done is remembered."""
        self._house.chronicle.history.called(
            Called(call.id, call.name, call.arguments, said.content, signature=call.signature)
        )
        if session is not None and session is self._house.session:
            session.say(said)
            self._house.tell(Event.STILL_THINKING)

    def turn_began(self) -> None:
        """The user said something else: what is called now is called anew."""
        self._tools.turn_began()

    def cancel(self, ids: Sequence[str]) -> None:
        """The agent does not wait for these any more."""
        self._tools.cancel(ids)

    def cancel_all(self) -> None:
        """The conversation is over: whatever runs is ended."""
        self._tools.cancel_all()

    def decide(self, *, allowed: bool) -> None:
        """A press has come, or none in time."""
        decide, self._decide = self._decide, lambda _: None
        decide(allowed)

    def _ask_permission(self, name: str, decide: Callable[[bool], None]) -> None:
        self._decide = decide
        session = self._house.session
        if session is not None:
            words = permission(name, self._language)
            try:
                session.say(Say(words, Behavior.QUEUE))
            except CannotSay:
                session.say(Say(words))
        self._house.publish("permission asked", function=name)
        self._house.tell(Event.PERMISSION_ASKED)

    def _set_volume(self, arguments: Arguments) -> str:
        level, change = arguments.get("level"), arguments.get("change")
        assert isinstance(level, int | None), "checked by its schema"
        assert isinstance(change, int | None), "checked by its schema"
        if (level is None) is (change is None):
            return "Not done: wanted one of `level` and `change`."
        self._house.set_volume(asked(self._house.volume, to=level, by=change))
        return f"The volume is now {self._house.volume} of 100."

    def _end_conversation(self, _: object) -> str:
        self._house.tell(Event.ENDED)
        return "The conversation ends after this answer."

    def _mute_microphone(self, _: object) -> str:
        self._house.tell(Event.MUTED)
        return "The microphone is off, until a person at this box switches it on."
