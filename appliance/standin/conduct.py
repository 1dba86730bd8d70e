"""How the stand-in agent behaves on one connection: two tasks and what they share.

`Session.receive` takes what the client sends and never waits for anything but the next message;
`Session.send` is the one task that sends. Between them is a `Voice`: the first puts in what shall
be said, the second asks it what is due. So the client is heard while an answer is being sent, its
pings are answered, and an interruption acts at once. A client that sends and does not read is cut
off when `BACKLOG_MAX` messages wait for it.

Decided here, where the protocol's sources leave room:
  * An `Error` is followed by a close frame without a status (1005), as was seen in the wild.
  * Sound and injected messages that come between `Settings` and `SettingsApplied` are ignored.
  * An empty binary message is an `UNPARSABLE_CLIENT_MESSAGE`: the real server hangs up on it.
  * The text of a turn that has ended is sent even if the user has begun the next one.
  * An agent that does not stop when interrupted stops at the end of the next turn.
  * The agent is in its turn while it thinks and sends, not while the client still plays.
"""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.frame_protocol import CloseReason

from appliance.standin import schema, values
from appliance.standin.ears import Ears, Turn
from appliance.standin.schema import Fault
from appliance.standin.voice import ForceEndTurn, Manners, Message, Scripts, Voice

IDLE_LIMIT_S = 10.0  # the real one is not documented; 8 to 15 s were seen
BACKLOG_MAX = 256  # messages; a client that leaves so many unread does not read

LATE = "We waited too long for a websocket message. Please ensure that "
LATE_SOUND = LATE + "you're sending binary messages containing user speech."
LATE_SETTINGS = LATE + "you send a 'Settings' message at the beginning of the session."


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
        self.heard = bytearray()  # every byte of sound since SettingsApplied
        self.messages: list[Message] = []  # every JSON object received
        self.sent: list[tuple[float, str, int]] = []  # when, its type or "sound", bytes
        self.opened_s = opened_s
        self.closed_s: float | None = None
        self.close_code: int | None = None  # 1005: no status, as after an Error; 1006: no close
        self.session: Session | None = None  # None where the upgrade was refused
        self._stream = stream

    async def say(self, message: Message) -> None:
        """Send any JSON at once; nothing where the connection is over. Not to be cancelled."""
        await self._in_session().transmit(message)

    async def say_raw(self, frame: str | bytes) -> None:
        """Send any frame at once; nothing where the connection is over. Not to be cancelled."""
        await self._in_session().transmit(frame)

    async def cut(self) -> None:
        """Drop the stream, without a close frame."""
        await trio.aclose_forcefully(self._stream)

    async def interject(self, sound: bytes, text: str = "") -> None:
        """Speak unprompted, after what is being said: linear16 at the output rate, as it is.

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
        count_turn: gives each turn its number, from 1 over all connections.
        tell: takes a line of words for a person.
    """

    def __init__(
        self,
        connection: Connection,
        websocket: WebSocketConnection,
        *,
        manners: Manners,
        chance: random.Random,
        count_turn: Callable[[], int],
        tell: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._websocket = websocket
        self._manners = manners
        self._chance = chance
        self._count_turn = count_turn
        self._tell = tell
        self._listen = schema.Listen(type="deepgram")
        self._scripts: Scripts | None = None  # from Settings on
        self._ears: Ears | None = None  # from SettingsApplied on
        self._voice = Voice()
        self._wake = trio.Event()
        self._is_over = False  # nothing more is taken; what is due now is the last to be sent
        request_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        self._voice.note({"type": "Welcome", "request_id": request_id})

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
            late = LATE_SETTINGS if self._scripts is None else LATE_SOUND
            self._send_away(Fault("CLIENT_MESSAGE_TIMEOUT", late))
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
                    await self._websocket.aclose(CloseReason.NO_STATUS_RCVD)
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
        assert self._scripts is not None, "there is no rate before Settings"
        self._voice.queue(self._scripts.speech(text, sound))
        self._wake.set()

    async def _transmit(self, frame: Message | str | bytes) -> None:
        kind = "sound" if isinstance(frame, bytes) else "raw"
        if isinstance(frame, dict):
            kind = str(frame.get("type"))
            frame = msgspec.json.encode(frame).decode()
        size = len(frame if isinstance(frame, bytes) else frame.encode())
        self._connection.sent.append((trio.current_time(), kind, size))
        await self._websocket.send_message(frame)

    # What comes in.

    def _take(self, frame: str | bytes) -> None:
        try:
            if isinstance(frame, bytes):
                self._take_sound(frame)
            else:
                self._take_text(frame)
        except Fault as fault:
            self._send_away(fault)

    def _send_away(self, fault: Fault) -> None:
        self._tell(f"is sent away: {fault}")
        self._voice.hush()
        self._voice.note({"type": "Error", "description": fault.description, "code": fault.code})
        self._is_over = True

    def _take_sound(self, sound: bytes) -> None:
        if self._scripts is None:
            raise Fault("NON_SETTINGS_MESSAGE_BEFORE_SETTINGS", "binary message before settings")
        if not sound:
            raise schema.unparsable("it is empty")
        if self._ears is None:
            return
        self._connection.heard += sound
        if self._manners.deaf:
            return
        for happening in self._ears.hear(sound):
            if isinstance(happening, Turn):
                self._end_turn(happening)
            else:
                self._be_interrupted()

    def _take_text(self, text: str) -> None:
        self._write_down(text)
        said = schema.read(text)
        if isinstance(said, schema.Settings):
            self._take_settings(said)
        elif self._scripts is None:
            raise Fault("NON_SETTINGS_MESSAGE_BEFORE_SETTINGS", "Settings must be sent first.")
        elif isinstance(said, schema.ForceEndTurn):
            self._take_force_end_turn()
        elif isinstance(said, schema.InjectUserMessage):
            if self._ears is not None:
                self._answer(said.content, f"You wrote: {said.content}", b"")
        elif isinstance(said, schema.InjectAgentMessage):
            if self._ears is not None:
                self._take_injected(said, self._ears, self._scripts)
        else:
            self._take_update(said)

    def _write_down(self, text: str) -> None:
        try:
            message = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return  # `schema.read` says what is wrong
        if isinstance(message, dict):
            self._connection.messages.append(message)

    def _take_settings(self, settings: schema.Settings) -> None:
        if self._scripts is not None:
            raise Fault("SETTINGS_ALREADY_APPLIED", "Settings have already been applied.")
        values.check(settings)
        self._connection.settings = self._connection.messages[-1]
        self._listen = settings.listen
        self._scripts = Scripts(settings, self._manners, self._chance, trio.current_time)

        def listen() -> None:
            self._tell("has its settings applied")
            self._ears = Ears(settings.audio.input.sample_rate, self._listen.pause_s)

        self._voice.say(self._scripts.opening(listen))

    def _take_force_end_turn(self) -> None:
        manner = self._manners.force_end_turn
        if manner is ForceEndTurn.UNPARSABLE:
            raise schema.unparsable("Invalid value 'ForceEndTurn' - at `$.type`")
        if manner is ForceEndTurn.WARN or (
            manner is ForceEndTurn.HONOUR and not self._listen.is_flux
        ):
            self._warn("FORCE_END_TURN_UNSUPPORTED", "ForceEndTurn needs a Flux listen model.")
        elif manner is ForceEndTurn.HONOUR and self._ears is not None:
            turn = self._ears.end_turn()
            if turn is not None:
                self._end_turn(turn)

    def _take_injected(self, said: schema.InjectAgentMessage, ears: Ears, scripts: Scripts) -> None:
        if said.behavior == "interrupt":
            ears.startle()  # a user who goes on speaking interrupts in turn
            self._voice.say(scripts.speech(said.message))
        elif ears.is_turn_open:
            self._refuse_injection("the user is speaking")
        elif said.behavior == "default" and self._voice.is_speaking:
            self._refuse_injection("the agent is speaking")
        else:
            self._voice.queue(scripts.speech(said.message))

    def _refuse_injection(self, why: str) -> None:
        self._voice.note({"type": "InjectionRefused", "message": f"Injection refused: {why}."})

    def _take_update(self, said: schema.Said) -> None:
        if isinstance(said, schema.UpdateListen):
            self._take_update_listen(said.listen.provider)
        elif isinstance(said, schema.UpdateThink):
            values.check_think(said.think)
            self._voice.note({"type": "ThinkUpdated"})
        elif isinstance(said, schema.UpdateSpeak):
            values.check_speak(said.speak)
            self._voice.note({"type": "SpeakUpdated"})
        elif isinstance(said, schema.UpdatePrompt):
            self._voice.note({"type": "PromptUpdated"})
        # `KeepAlive` and `FunctionCallResponse` have no answer.

    def _take_update_listen(self, listen: schema.Listen) -> None:
        values.check_listen(listen)
        if listen.version != self._listen.version:
            code = "UPDATE_LISTEN_UNSUPPORTED_FIELDS_CHANGED"
            self._warn(code, "The version of the listen provider stays as it was.")
            return
        self._listen = self._listen.updated(listen)
        if self._ears is not None:
            self._ears.pause_s = self._listen.pause_s
        self._voice.note({"type": "ListenUpdated"})

    def _warn(self, code: str, description: str) -> None:
        self._voice.note({"type": "Warning", "description": description, "code": code})

    # Turns.

    def _be_interrupted(self) -> None:
        is_stopped = self._voice.is_speaking and self._manners.stops_when_interrupted
        self._tell("begins to speak; the answer stops" if is_stopped else "begins to speak")
        if is_stopped:
            self._voice.hush()
        self._voice.note({"type": "UserStartedSpeaking"})

    def _end_turn(self, turn: Turn) -> None:
        spoken = f"{turn.speech_s:.1f} s"
        sound = bytes(self._connection.heard[turn.start_byte : turn.end_byte])
        self._answer(f"you spoke for {spoken}", f"You said: {spoken} of sound.", sound)

    def _answer(self, heard: str, reply: str, sound: bytes) -> None:
        """Say what was heard, and answer when it has been thought of; what was said before ends."""
        assert self._scripts is not None
        number = self._count_turn()
        text_s = trio.current_time() + self._manners.text_delay_s
        for message in self._scripts.words("user", heard):
            self._voice.note(message, text_s)
        if self._manners.announces:
            self._voice.note({"type": "AgentThinking", "content": "I shall repeat it."}, text_s)
        if number in self._manners.mute_turns:
            self._tell(f"has ended turn {number}; there is no answer")
            self._voice.hush()
        else:
            self._tell(f"has ended turn {number}: {heard}")
            self._voice.say(self._scripts.answer(reply, sound, text_s + self._manners.think_s))
