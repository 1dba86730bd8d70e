"""The line to the agent: one session after the other, what is said on it and what comes back.

One task lives with the sessions, so there cannot be two sockets. It takes a session when one is
dialled, lives with it to the end of its close, and only then says that the link is down. What the
agent says is brought here to those whom it concerns, in the order in which it was said; the
conversation decides what that means.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from appliance.agent.dialer import Address
from appliance.agent.messages import (
    AgentAudioDone,
    AgentStartedSpeaking,
    AgentText,
    Ask,
    Failed,
    FromAgent,
    FunctionsCancelled,
    FunctionsWanted,
    SayRefused,
    SettingsApplied,
    TurnSent,
    UserStartedSpeaking,
    UserText,
    Warned,
)
from appliance.agent.session import Session
from appliance.brief import Brief
from appliance.chronicle import Chronicle
from appliance.conversation import Action, Event, Link, Mode
from appliance.errors import AgentError, Trouble
from appliance.functions import Functions
from appliance.host.turns import Moment
from appliance.mind import Conversation
from appliance.parts import Parts
from appliance.purse import Purse
from appliance.sound.answer import Answers
from appliance.sound.utterance import Utterances

HURRY_S = 0.5  # a press may wait so long for an old connection to close
STOP_LIMIT_S = 0.3  # the close frame when the box is told to stop

log = logging.getLogger("appliance")


class Household(Protocol):
    """The daemon, as far as the line goes."""

    conversation: Conversation
    utterances: Utterances
    answers: Answers
    brief: Brief
    chronicle: Chronicle
    functions: Functions
    purse: Purse

    def tell(self, event: Event, why: Trouble | None = None) -> None:
        """Something happened."""

    def publish(self, event: str, **more: object) -> None:
        """Tell those who watch."""

    def answer_sent_whole(self) -> None:
        """The last byte of the answer has come."""


class Line:
    """The sessions. `run` lives as long as the box, `let_go` waits; nothing else does.

    Args:
        parts: how to connect, and who we are.
        house: whom to tell.
        hear: takes each piece of an answer's sound.
    """

    def __init__(self, parts: Parts, house: Household, *, hear: Callable[[bytes], None]) -> None:
        self.session: Session | None = None
        self.request_id = ""  # of the session that stands, or stood last
        self._parts = parts
        self._house = house
        self._hear = hear
        self._address = Address.of(parts.config.agent.url)
        self._dialled = trio.Event()
        self._idle = trio.Event()  # no session lives
        self._idle.set()
        self._leaving = trio.Event()
        self._question = ""  # what goes again as words, on the next connection

    # ── its life ─────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Live with one session after the other, until cancelled or let go."""
        while True:
            await self._dialled.wait()
            self._dialled = trio.Event()
            session = self.session
            assert session is not None
            why = None
            try:
                await session.run()
            except AgentError as error:
                why = error.trouble
                log.warning("%s: %s", why.sentence, error)
            self._put_away(session, why)
            if self._leaving.is_set():  # nobody is to dial again
                return
            if why is None or self._house.conversation.link is Link.CLOSING:
                self._house.tell(Event.LINK_DOWN)
            else:
                self._house.tell(Event.LINK_LOST, why)

    def _put_away(self, session: Session, why: Trouble | None) -> None:
        """A session has ended: what it leaves behind."""
        house = self._house
        if session.end_turn_refused:
            house.brief.can_force_end_turn = False
        if why is Trouble.KEY_REFUSED:
            self._parts.forget_authorization()
        self.session = None
        house.utterances.connection_over()
        if house.utterances.unanswered:  # its answer is text at most, which nobody has heard
            house.chronicle.history.answer_cut(0)
        house.chronicle.turns.connected("")
        house.functions.cancel_all()
        house.chronicle.save()
        self._idle.set()

    async def let_go(self) -> None:
        """Close it with a close frame, soon, and for good: the box is told to stop."""
        self._leaving.set()
        if self.session is not None:
            self.session.hang_up(STOP_LIMIT_S)
        with trio.move_on_after(STOP_LIMIT_S + 0.1):
            await self._idle.wait()

    # ── towards the agent ────────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """There may be something to send."""
        if self.session is not None:
            self.session.wake()

    def heard(self) -> None:
        """The microphone has brought a piece."""
        if self.session is not None:
            self.session.heard()

    def do(self, action: Action) -> None:
        """What the conversation wants of the line."""
        session = self.session
        if action is Action.END_AGAIN and self._house.utterances.pass_on():
            return
        if action is Action.DIAL:
            self._dial()
        elif session is not None:
            self._do_to(session, action)

    def _do_to(self, session: Session, action: Action) -> None:
        match action:
            case Action.END_AGAIN:
                session.end_turn_again()
            case Action.PROVE:
                session.want_proof()
            case Action.UPGRADE:
                session.allow_upgrade()
            case Action.HURRY:
                session.hang_up(HURRY_S)
            case Action.HANG_UP | Action.ABORT:
                session.hang_up()
            case Action.SAY:
                self._house.answers.expect_words()
                for words in self._house.brief.take_words():
                    session.say(words)
            case Action.ASK_AGAIN:
                self._house.answers.expect_words()
                if self._question:
                    session.say(Ask(self._question))
            case _:
                raise AssertionError(action)

    def _dial(self) -> None:
        assert self.session is None, "two sockets at once"
        house = self._house
        goes_again = house.utterances.unanswered
        self._question = house.chronicle.history.last_question
        if goes_again and not house.brief.dialect.can_ask():
            house.utterances.ask_again()
        house.answers.new_connection()
        house.utterances.new_connection()
        self.session = Session(
            settings=house.brief.settings(trio.current_time(), goes_again=goes_again),
            dialect=house.brief.dialect,
            uplink=house.utterances,
            connect=self._parts.connect,
            address=self._address,
            authorize=self._parts.authorize,
            message_s=self._parts.config.audio.message_ms / 1000,
            hear=self._hear,
            tell=self._news,
            billed=self._bill,
        )
        self._idle = trio.Event()
        self._dialled.set()

    def _bill(self, since_s: float | None) -> None:
        if since_s is None:
            self._house.purse.closed()
        else:
            self._house.purse.opened(since_s)

    # ── from the agent ───────────────────────────────────────────────────────────────────────

    def _news(self, message: FromAgent | TurnSent) -> None:
        """What the agent says, in the order in which it says it."""
        house = self._house
        match message:
            case SettingsApplied():
                self._applied()
            case TurnSent(number):
                house.chronicle.mark(Moment.TURN_END, number)
                house.tell(Event.TURN_SENT)
            case UserText(text):
                self._user_said(text)
            case AgentText(text):
                self._agent_said(text)
            case AgentStartedSpeaking():
                house.answers.agent_turns()
            case UserStartedSpeaking():
                house.tell(Event.USER_SPOKE)
            case AgentAudioDone():
                house.answer_sent_whole()
            case FunctionsWanted(calls):
                house.utterances.take(by_text=False, now_s=trio.current_time())
                house.functions.call(calls)
            case FunctionsCancelled(ids):
                house.functions.cancel(ids)
            case SayRefused(reason):
                log.info("the agent does not say it: %s", reason[:200])
                house.tell(Event.SAY_REFUSED)
            case Warned("SLOW_THINK_REQUEST"):
                house.tell(Event.STILL_THINKING)
            case Warned("MAXIMUM_SESSION_LENGTH_APPROACHING"):
                house.tell(Event.RENEWAL_DUE)
            case Failed("FAILED_TO_THINK"):
                house.tell(Event.THINK_FAILED)
            case _:
                pass

    def _applied(self) -> None:
        self.request_id = self.session.request_id if self.session else ""
        self._house.chronicle.turns.connected(self.request_id)
        log.info("connected, request %s", self.request_id)
        self._house.chronicle.history.session_began(trio.current_time())
        self._house.tell(Event.LINK_UP)
        for change in self._house.brief.changes:
            if self.session is not None:
                self.session.say(change)

    def _user_said(self, text: str) -> None:
        house = self._house
        about = house.utterances.take(by_text=True, now_s=trio.current_time())
        house.answers.user_text(about)
        house.chronicle.user_said(text, about)
        if self._parts.config.talk.mode != Mode.HOLD.value:
            house.chronicle.utterance(about, house.utterances.unanswered_sound)
        house.functions.turn_began()
        house.publish("you said", text=text)
        house.tell(Event.USER_TEXT)

    def _agent_said(self, text: str) -> None:
        answers = self._house.answers
        answers.agent_turns()
        self._house.chronicle.agent_said(text, answers.received_bytes, is_dead=answers.discarding)
        self._house.publish("agent says", text=text)
