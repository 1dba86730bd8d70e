"""How the stand-in agent behaves on one connection: two tasks and what they share.

`Session.receive` takes what the client sends and never waits for anything but the next message;
`Session.send` is the one task that sends. Between them is a `Voice`: the first puts in what shall
be said, the second asks it what is due. So the client is heard while an answer is being sent, its
pings are answered, and an interruption acts at once. A client that sends and does not read is cut
off when `BACKLOG_MAX` messages wait for it.

Decided here, where the protocol's sources leave room:
  * An `Error` is followed by a close frame without a status (1005), as was seen in the wild of V1.
  * Sound and injected messages that come between `Settings` and `SettingsApplied` are ignored.
  * An empty binary message is an `UNPARSABLE_CLIENT_MESSAGE`: the real server hangs up on it.
  * The text of a turn that has ended is sent even if the user has begun the next one.
  * An agent that does not stop when interrupted stops at the end of the next turn.
  * The agent is in its turn while it thinks, waits for functions and sends, not while the client
    still plays. While it waits it can say what is injected, but what is injected as `default` it
    says then in early access only.
  * It waits for functions as long as it takes, and calls them when the turn has surely ended. The
    next turn calls them off; so does the user who begins to speak.
"""

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.frame_protocol import CloseReason

from appliance.standin import calls
from appliance.standin.calls import Calls
from appliance.standin.ears import SAMPLE_BYTES, Ears, Turn
from appliance.standin.manners import Call, ForceEndTurn, Manners
from appliance.standin.terms import (
    Change,
    Fault,
    Injected,
    Message,
    Mind,
    Result,
    Terms,
    TurnEnded,
    Written,
    unparsable,
)
from appliance.standin.tongue import Called, Tongue
from appliance.standin.voice import Scripts, Voice

IDLE_LIMIT_S = 10.0  # the real one is not documented; 8 to 15 s were seen
BACKLOG_MAX = 256  # messages; a client that leaves so many unread does not read


@dataclass(frozen=True, slots=True)
class Request:
    """The HTTP request for an upgrade; the names of its headers are in lower case."""

    path: str
    headers: dict[str, str]


class Connection:
    """What happened on one connection, to be read at any time, and ways to meddle with it."""

    def __init__(
        self, number: int, request: Request, opened_s: float, stream: trio.abc.Stream
    ) -> None:
        self.number = number  # from 1
        self.request = request
        self.settings: Message | None = None
        self.remembered = 0  # statements of an earlier session, in the settings
        self.heard = bytearray()  # every byte of sound since SettingsApplied, as it came
        self.messages: list[Message] = []  # every JSON object received
        self.sent: list[tuple[float, str, int]] = []  # when, its type or "sound", bytes
        self.opened_s = opened_s
        self.closed_s: float | None = None
        self.close_code: int | None = None  # 1005: no status, as after an Error; 1006: no close
        self.session: Session | None = None  # None where the upgrade was refused
        self.over = trio.Event()
        self._stream = stream

    async def say(self, message: Message) -> None:
        """Send any JSON at once; nothing where the connection is over. Not to be cancelled."""
        await self._in_session().transmit(message)

    async def say_raw(self, frame: str | bytes) -> None:
        """Send any frame at once; nothing where the connection is over. Not to be cancelled."""
        await self._in_session().transmit(frame)

    async def fail(self, code: str, description: str) -> None:
        """Send an `Error` of the connection's dialect, and close as after any; do not wait."""
        self._in_session().send_away(Fault(code, description))
        await trio.lowlevel.checkpoint()

    async def cut(self) -> None:
        """Drop the stream, without a close frame."""
        await trio.aclose_forcefully(self._stream)

    async def interject(self, sound: bytes, text: str = "") -> None:
        """Speak unprompted, after what is being said: linear16 at the output rate.

        Does not wait until it is said.
        """
        self._in_session().interject(sound, text)
        await trio.lowlevel.checkpoint()

    def _in_session(self) -> "Session":
        assert self.session is not None, "the upgrade was refused"
        return self.session


class Session:
    """One conversation over an accepted connection: run `receive` and `send` beside each other.

    Args:
        connection: what happens is written down there.
        websocket: accepted.
        tongue: the dialect that is spoken.
        count_turn: gives each turn its number, from 1 over all connections.
        tell: takes a line of words for a person.
    """

    def __init__(
        self,
        connection: Connection,
        websocket: WebSocketConnection,
        *,
        tongue: Tongue,
        manners: Manners,
        chance: random.Random,
        count_turn: Callable[[], int],
        tell: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._websocket = websocket
        self._tongue = tongue
        self._manners = manners
        self._chance = chance
        self._count_turn = count_turn
        self._tell = tell
        self._terms: Terms | None = None  # from the settings on, as they are now
        self._scripts: Scripts | None = None  # from the settings on
        self._ears: Ears | None = None  # from SettingsApplied on
        self._voice = Voice()
        self._calls: tuple[Calls, str, bytes] | None = None  # then the answer: its words, its sound
        self._wake = trio.Event()
        self._is_over = False  # nothing more is taken; what is due now is the last to be sent
        self._close_reason = CloseReason.NO_STATUS_RCVD
        self._voice.note(tongue.welcome(self._new_id()))

    async def receive(self) -> None:
        """Take what the client sends, until it goes or is sent away. Never waits for sending."""
        try:
            while not self._is_over:
                with trio.fail_after(IDLE_LIMIT_S):
                    frame = await self._websocket.get_message()
                self._take(frame)
                if self._voice.backlog > BACKLOG_MAX:
                    self._tell("sends and does not read: cut off")
                    self._is_over = True
                    await self._connection.cut()
                self._wake.set()
        except trio.TooSlowError:
            self.send_away(self._tongue.too_late())
        except ConnectionClosed:
            self._is_over = True
        self._wake.set()

    async def send(self) -> None:
        """Send what is due, until the client has gone, or an `Error` is the last thing to say."""
        try:
            while True:
                self._wake = trio.Event()
                due = self._voice.next(trio.current_time())
                if not isinstance(due, float):
                    await self._transmit(due)
                elif not self._is_over:
                    with trio.move_on_at(due):
                        await self._wake.wait()
                else:
                    await self._websocket.aclose(self._close_reason)
                    return
        except ConnectionClosed:
            return

    async def transmit(self, frame: Message | str | bytes) -> None:
        """Send one frame past everything that waits; nothing if the connection is over."""
        try:
            await self._transmit(frame)
        except ConnectionClosed:
            return

    def interject(self, sound: bytes, text: str) -> None:
        """Speak unprompted, after what is being said."""
        assert self._scripts is not None, "there is no rate before the settings"
        self._voice.queue(self._scripts.speech(text, sound))
        self._wake.set()

    def send_away(self, fault: Fault) -> None:
        """Say no more but an `Error`, and close."""
        self._tell(f"is sent away: {fault}")
        self._voice.hush()
        self._voice.note(self._tongue.error(fault))
        self._is_over = True
        self._wake.set()

    def go_away(self) -> None:
        """Say no more, and close as a server that is being stopped does."""
        self._voice.hush()
        self._close_reason = CloseReason.GOING_AWAY
        self._is_over = True
        self._wake.set()

    async def _transmit(self, frame: Message | str | bytes) -> None:
        kind = "sound" if isinstance(frame, bytes) else "raw"
        if isinstance(frame, dict):
            kind = str(frame.get("type"))
            frame = msgspec.json.encode(frame).decode()
        size = len(frame if isinstance(frame, bytes) else frame.encode())
        self._connection.sent.append((trio.current_time(), kind, size))
        await self._websocket.send_message(frame)

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    # What comes in.

    def _take(self, frame: str | bytes) -> None:
        try:
            if isinstance(frame, bytes):
                self._take_sound(frame)
            else:
                self._take_text(frame)
        except Fault as fault:
            self.send_away(fault)

    def _take_sound(self, sound: bytes) -> None:
        if self._terms is None:
            raise self._tongue.too_early("binary message before settings")
        if not sound:
            raise unparsable("it is empty")
        if self._ears is None:
            return
        self._connection.heard += sound
        if self._manners.deaf:
            return
        for happening in self._ears.hear(self._terms.heard.to_linear(sound)):
            if isinstance(happening, Turn):
                self._end_turn(happening, self._terms)
            else:
                self._be_interrupted()

    def _take_text(self, text: str) -> None:
        self._write_down(text)
        said = self._tongue.read(text)
        if isinstance(said, Terms):
            self._take_terms(said)
        elif isinstance(said, Change):
            self._take_change(said)
        elif isinstance(said, TurnEnded):
            self._take_end()
        elif self._scripts is None or self._ears is None:
            return  # between the settings and SettingsApplied
        elif isinstance(said, Written):
            self._answer(said.text, f"You wrote: {said.text}", b"", written=said.text)
        elif isinstance(said, Injected):
            self._take_injected(said, self._ears, self._scripts)
        elif isinstance(said, Result):
            self._take_result(said)

    def _write_down(self, text: str) -> None:
        try:
            message = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return  # the tongue says what is wrong
        if isinstance(message, dict):
            self._connection.messages.append(message)

    def _take_terms(self, terms: Terms) -> None:
        self._connection.settings = self._connection.messages[-1]
        self._connection.remembered = terms.remembered
        self._terms = terms
        self._scripts = Scripts(terms, self._tongue, self._manners, self._chance, trio.current_time)

        def listen() -> None:
            memory = f", and remembers {terms.remembered}" if terms.remembered else ""
            self._tell(f"has its settings applied{memory}")
            now = self._terms or terms  # they may have been changed meanwhile
            self._ears = Ears(now.heard.rate_hz, now.pause_s)

        self._voice.say(self._scripts.opening(listen))

    def _take_change(self, change: Change) -> None:
        assert self._terms is not None, "the tongue keeps the order"
        self._terms = self._terms.changed(change)
        if self._ears is not None:
            self._ears.pause_s = self._terms.pause_s
        self._voice.note(change.answer)

    def _take_end(self) -> None:
        assert self._terms is not None, "the tongue keeps the order"
        manner = self._manners.force_end_turn
        if manner is ForceEndTurn.UNPARSABLE:
            raise unparsable("Invalid value 'ForceEndTurn' - at `$.type`")
        if manner is ForceEndTurn.WARN or (
            manner is ForceEndTurn.HONOUR and not self._terms.can_end_turn
        ):
            why = "ForceEndTurn needs a Flux listen model."
            self._voice.note(self._tongue.warning("FORCE_END_TURN_UNSUPPORTED", why))
        elif manner is ForceEndTurn.HONOUR and self._ears is not None:
            turn = self._ears.end_turn()
            if turn is not None:
                self._end_turn(turn, self._terms)

    def _take_injected(self, said: Injected, ears: Ears, scripts: Scripts) -> None:
        is_calling = self._calls is not None and not said.fits_between_calls
        if said.behavior == "interrupt":
            ears.startle()  # a user who goes on speaking interrupts in turn
            self._call_off()
            self._voice.say(scripts.speech(said.text))
        elif ears.is_turn_open:
            self._refuse("the user is speaking")
        elif said.behavior == "default" and (self._voice.is_speaking or is_calling):
            self._refuse("the agent is speaking")
        else:
            self._voice.queue(scripts.speech(said.text))

    def _refuse(self, why: str) -> None:
        self._voice.note(self._tongue.refusal(f"Injection refused: {why}."))

    # Turns.

    def _be_interrupted(self) -> None:
        is_busy = self._voice.is_speaking or self._calls is not None
        is_stopped = is_busy and self._manners.stops_when_interrupted
        self._tell("begins to speak; the answer stops" if is_stopped else "begins to speak")
        self._voice.note({"type": "UserStartedSpeaking"})
        if is_stopped:
            self._voice.hush()
            self._call_off()

    def _end_turn(self, turn: Turn, terms: Terms) -> None:
        spoken = f"{turn.speech_s:.1f} s"
        samples = slice(*(at // SAMPLE_BYTES * terms.heard.sample_bytes for at in turn.span))
        sound = terms.heard.to_linear(bytes(self._connection.heard[samples]))
        self._answer(f"you spoke for {spoken}", f"You said: {spoken} of sound.", sound)

    def _answer(self, heard: str, reply: str, sound: bytes, *, written: str = "") -> None:
        """Say what was heard, and answer when it has been thought of; what was said before ends."""
        assert self._terms is not None
        assert self._scripts is not None
        number = self._count_turn()
        now_s = trio.current_time()
        text_s = now_s + self._manners.text_delay_s
        self._voice.hush()
        self._call_off()
        for message in self._scripts.words("user", heard):
            self._voice.note(message, text_s)
        if self._manners.announces:
            self._voice.note({"type": "AgentThinking", "content": "I shall repeat it."}, text_s)
        if number in self._manners.mute_turns:
            self._tell(f"has ended turn {number}; there is no answer")
            return
        self._tell(f"has ended turn {number}: {heard}")
        answer_s = text_s + self._manners.think_s
        try:
            wanted = calls.planned(self._manners, self._terms.mind, number, written)
        except Fault as fault:
            self._voice.say(self._failing(fault, answer_s))
        else:
            if wanted:
                self._call(wanted, answer_s, reply, sound)
            else:
                self._voice.say(self._scripts.answer(reply, sound, answer_s))

    def _failing(self, fault: Fault, at_s: float) -> Iterator[float]:
        yield at_s
        self.send_away(fault)

    # Functions.

    def _call(self, wanted: list[Call], at_s: float, reply: str, sound: bytes) -> None:
        assert self._terms is not None
        assert self._scripts is not None
        called = [self._new_call(call, self._terms.mind) for call in wanted]

        def begin() -> None:
            self._tell(f"is to call {', '.join(call.name for call in called)}")
            self._calls = Calls(called), reply, sound

        self._voice.say(self._scripts.calling(called, at_s, begun=begin, ended=self._go_on))

    def _new_call(self, call: Call, mind: Mind) -> Called:
        function = mind.function(call.name)
        return Called(
            id=f"fc_{self._new_id()}",
            name=call.name,
            arguments=call.arguments,
            is_client_side=function is None or function.is_client_side,
            signature=call.signature,
        )

    def _take_result(self, result: Result) -> None:
        if self._calls is None or not self._calls[0].give(result.id, result.content):
            self._tell(f"answers a call that nobody waits for: {result.id!r}")
            return
        self._go_on()

    def _go_on(self) -> None:
        """Answer, if all functions have given what they were called for."""
        if self._calls is None or self._calls[0].awaited or self._scripts is None:
            return
        made, reply, sound = self._calls[0].made, *self._calls[1:]
        self._calls = None
        given = "".join(f" {call.name} gave: {content}" for call, content in made)
        answer_s = trio.current_time() + self._manners.think_s
        answer = self._scripts.answer(reply + given, sound, answer_s)
        self._voice.queue(self._scripts.called(made, answer))

    def _call_off(self) -> None:
        """Want no more what was called; an answer that comes all the same is dropped."""
        if self._calls is None:
            return
        for message in self._tongue.call_off(self._calls[0].awaited):
            self._voice.note(message)
        self._calls = None
