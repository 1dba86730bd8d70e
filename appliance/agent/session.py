"""One connection's life, from the first packet to the close frame. Alone imports trio_websocket.

The stream comes from `dialer`; the WebSocket on it, and all that can be wrong with it, from here.
All that this library, h11, wsproto and sockets raise becomes one of our `AgentError`s at this door.

The laws of a session:

  * Nothing is billed before the upgrade, so TCP and TLS may be made on a mere suspicion; the
    upgrade waits to be allowed.
  * One task sends; nothing cancels it but the end, because a cancelled send leaves half a frame.
  * The receive loop never waits: what it hands on is taken by plain calls.
  * However a conversation ends, a close frame is tried first, and for a bounded time. (Not if we
    are cancelled from outside, or the frames of the far end cannot be read any more.)
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import h11
import trio
import trio_websocket
import wsproto.utilities

from appliance.agent.dialect import Dialect
from appliance.agent.dialer import Address
from appliance.agent.messages import (
    EndTurn,
    Failed,
    FromAgent,
    KeepAlive,
    Misshapen,
    Settings,
    SettingsApplied,
    ToAgent,
    TurnSent,
    Unhandled,
    UserText,
    Warned,
    Welcome,
)
from appliance.agent.upgrade import Below, rejected
from appliance.errors import AgentError, AgentLost, AgentMisspoke, AgentUnreachable, Trouble
from appliance.sound.companding import LINEAR, compress, expand
from appliance.sound.utterance import EndOfTurn

log = logging.getLogger("appliance.agent")

OPEN_LIMIT_S = 10.0  # from the dial to the accepted settings, without the wait to be allowed
CLOSE_LIMIT_S = 1.0
KEEP_ALIVE_S = 4.0  # documented are 8; at 8 to 10 sessions were seen to die (deepgram-js-sdk#419)
MESSAGES_MAX = 64  # words that wait to be sent; sound does not wait here
TAIL_LIMIT_S = 6.0  # zeros that end a turn where the end cannot be said
TAIL_AGAIN_S = 1.0  # zeros before the end is said once more
PROOF_LIMIT_S = 3.4  # for a pong when a text is late: less than until it is taken for missing

# Close codes of either side for what is no WebSocket, no text or endless; and of the bare end.
MISSPOKEN, ABNORMAL = (1002, 1007, 1009), 1006

FOREIGN = (
    OSError,
    UnicodeError,  # wsproto decodes headers as if they were always ASCII
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    h11.ProtocolError,
    wsproto.utilities.ProtocolError,
)


class Uplink(Protocol):
    """What is to be sent: the utterances."""

    def new_connection(self) -> None:
        """Begin with the first sample that is kept."""

    def fills(self, message_bytes: int) -> bool:
        """Whether what is being heard fills a message by now."""

    def read(self, message_bytes: int, now_s: float) -> bytes | EndOfTurn | None:
        """The next piece, the end of a turn, or None."""


class Session:
    """One connection. `run` lives as long as it; all else are plain calls that never wait.

    Args:
        settings: what is said first.
        dialect: how it is said.
        uplink: where the sound comes from.
        connect: makes the stream below the WebSocket; raises `AgentError`.
        address: for the request; not looked up here.
        authorize: gives the header's value, or None on loopback without a key; may wait.
        message_s: how much sound goes into one message.
        hear: takes a piece of sound of the agent's.
        tell: takes what the agent says, and `TurnSent`.
        billed: told when the upgrade was asked for, once it was granted; and None at the end.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        dialect: Dialect,
        uplink: Uplink,
        connect: Callable[[], Awaitable[trio.abc.Stream]],
        address: Address,
        authorize: Callable[[], Awaitable[str | None]],
        message_s: float,
        hear: Callable[[bytes], None],
        tell: Callable[[FromAgent | TurnSent], None],
        billed: Callable[[float | None], None],
    ) -> None:
        self.request_id = ""
        self.end_turn_refused = False
        self._settings = settings
        self._dialect = dialect
        self._uplink = uplink
        self._connect = connect
        self._address = address
        self._authorize = authorize
        self._authorization: str | None = None
        self._message_s = message_s
        self._message_bytes = 2 * round(message_s * settings.rate_hz)
        self._hear = hear
        self._tell = tell
        self._billed = billed
        self._allowed = trio.Event()
        self._over = trio.Event()
        self._failure: AgentError | None = None
        self._close_limit_s = CLOSE_LIMIT_S
        self._close_scope: trio.CancelScope | None = None
        self._dial_scope = trio.CancelScope()
        self._wake = trio.Event()
        self._messages: deque[str] = deque()  # frames
        self._alive = dialect.encode(KeepAlive())
        self._settings_said = False
        self._applied = False
        self._can_end_turn = dialect.can_end_turn(settings)
        self._end_turn_said = False
        self._tail_until_s: float | None = None
        self._tail_next_s = 0.0
        self._end_after_tail = False
        self._doubted = trio.Event()

    # ── plain calls ──────────────────────────────────────────────────────────────────────────

    def allow_upgrade(self) -> None:
        """From here on it may cost."""
        self._allowed.set()

    def hang_up(self, limit_s: float = CLOSE_LIMIT_S) -> None:
        """End it with a close frame, in at most `limit_s`; a second call can only shorten that.

        A connection that has not been upgraded needs no close frame and is let go at once.
        """
        self._close_limit_s = min(self._close_limit_s, limit_s)
        if self._close_scope is not None:
            limit = trio.current_time() + limit_s
            self._close_scope.deadline = min(self._close_scope.deadline, limit)
        self._dial_scope.cancel()
        self._over.set()

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def say(self, message: ToAgent) -> None:
        """Send a message before any more sound.

        Raises:
            CannotSay: the dialect has no words for it.
        """
        frame = self._dialect.encode(message)
        if len(self._messages) >= MESSAGES_MAX:
            self._end(AgentLost(Trouble.LINK_LOST, f"{MESSAGES_MAX} messages could not be sent"))
        else:
            self._messages.append(frame)
            self.wake()

    def heard(self) -> None:
        """The microphone has brought a piece: half a message is not worth a wake."""
        if self._uplink.fills(self._message_bytes):
            self.wake()

    def want_proof(self) -> None:
        """Whoever is there has to prove it, within `PROOF_LIMIT_S`: by a pong."""
        self._doubted.set()

    def end_turn_again(self) -> None:
        """A second of silence and the end once more.

        Where it cannot be said silence goes already. If that has not ended the turn, because the
        settings of this connection keep silence from ending any, only another connection will.
        Whoever is there has to prove it: a link that is dead must not pass for an agent that has
        heard nothing.
        """
        self.want_proof()
        if self._applied and self._can_end_turn:
            self._start_tail(TAIL_AGAIN_S)
            self._end_after_tail = True
        elif self.end_turn_refused and self._settings.ends_are_ours:
            words = "silence does not end a turn, and the end cannot be said"
            self._end(AgentLost(Trouble.END_TURN_REFUSED, words))

    # ── its life ─────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Connect, converse, close. Waits for all of it; returns after `hang_up`.

        Raises:
            AgentError: it ended otherwise.
        """
        opened_s = trio.current_time()
        with self._dial_scope:
            stream = await self._dial()
            try:
                waited_s = trio.current_time()
                await self._allowed.wait()
                await trio.lowlevel.checkpoint_if_cancelled()  # hung up in the very same turn
                waited_s = trio.current_time() - waited_s
            except trio.Cancelled:
                await trio.aclose_forcefully(stream)
                raise
        if self._dial_scope.cancelled_caught:
            return
        # From here on `hang_up` goes through the close frame.
        self._dial_scope = trio.CancelScope()
        deadline_s = opened_s + waited_s + OPEN_LIMIT_S
        watched = Below(stream)
        try:
            with _our_errors(lost=lambda: self._applied):
                async with trio.open_nursery() as nursery:
                    await self._live(nursery, watched, deadline_s)
        except AgentError:
            if not self._over.is_set():  # while it is closed, a ping is enough for the library
                raise
        finally:
            self._billed(None)
            await trio.aclose_forcefully(stream)
        if self._failure is not None:
            raise self._failure

    async def _dial(self) -> trio.abc.Stream:
        with trio.move_on_after(OPEN_LIMIT_S):
            self._authorization = await self._authorize()
            return await self._connect()
        raise AgentUnreachable(
            Trouble.SILENT, f"no connection to {self._address.host} within {OPEN_LIMIT_S:.0f} s"
        )

    async def _live(self, nursery: trio.Nursery, stream: Below, deadline_s: float) -> None:
        asked_s = trio.current_time()
        ws = await self._upgrade(nursery, stream, deadline_s)
        if ws is None:
            nursery.cancel_scope.cancel()
            return
        self._billed(asked_s)
        if not self._dialect.WAITS_FOR_WELCOME:
            self._say_settings()
        nursery.start_soon(self._receive, ws)
        nursery.start_soon(self._send, ws)
        nursery.start_soon(self._keep_alive)
        nursery.start_soon(self._want_proof, ws)
        nursery.start_soon(self._expect_ready, deadline_s)
        await self._over.wait()
        with trio.move_on_after(self._close_limit_s) as self._close_scope:
            await ws.aclose(1000)
        nursery.cancel_scope.cancel()

    async def _upgrade(
        self, nursery: trio.Nursery, stream: Below, deadline_s: float
    ) -> trio_websocket.WebSocketConnection | None:
        """The HTTP request and its answer; None if it was hung up meanwhile or the server left."""
        headers = [(b"User-Agent", b"voice-appliance")]
        if self._authorization is not None:
            headers.append((b"Authorization", self._authorization.encode()))
        ws: trio_websocket.WebSocketConnection | None = None
        with trio.CancelScope(deadline=deadline_s) as scope:

            async def give_up(event: trio.Event) -> None:
                await event.wait()
                scope.cancel()

            async with trio.open_nursery() as waiting:
                waiting.start_soon(give_up, stream.ended)
                waiting.start_soon(give_up, self._over)
                ws = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,  # type: ignore[arg-type]  # any trio Stream will do, says its manual
                    self._address.host_header,
                    self._address.path,
                    extra_headers=headers,
                    message_queue_size=512,
                    receive_buffer_size=None,
                    max_message_size=4 * 2**20,
                )
                waiting.cancel_scope.cancel()
        if ws is None and not self._over.is_set():
            self._end(stream.why_no_upgrade())
        return ws

    def _end(self, failure: AgentError) -> None:
        """It is over, and not by our wish; the first reason counts."""
        if not self._over.is_set():
            self._failure = failure
            self._over.set()

    async def _expect_ready(self, deadline_s: float) -> None:
        await trio.sleep_until(deadline_s)
        if not self._applied:
            self._end(AgentUnreachable(Trouble.SILENT, "the agent did not accept the settings"))

    # ── receiving ────────────────────────────────────────────────────────────────────────────

    async def _receive(self, ws: trio_websocket.WebSocketConnection) -> None:
        try:
            while True:
                frame = await ws.get_message()
                if self._over.is_set():
                    continue  # nothing of a session that was hung up is heard
                if isinstance(frame, bytes):
                    with _OUR_OWN:
                        self._hear(self._from_wire(frame))
                else:
                    self._understand(self._dialect.decode(frame))
        except trio_websocket.ConnectionClosed as closed:
            self._end(_closed(closed.reason))
        except AgentError as error:
            self._end(error)

    def _from_wire(self, sound: bytes) -> bytes:
        encoding = self._settings.encoding
        return sound if encoding == LINEAR else expand(sound, encoding)

    def _understand(self, message: FromAgent) -> None:
        match message:
            case Welcome(request_id):
                self.request_id = self.request_id or request_id
                self._say_settings()
            case SettingsApplied():
                if self._applied:
                    return  # once is news
                self._uplink.new_connection()
                self._applied = True
                self.wake()
            case UserText():
                self._stop_tail()
            case Warned(code, description):
                log.warning("the agent warns: %s: %s", code, description)
                if self._refuses_end_turn(code):
                    self._can_end_turn = False
                    self._start_tail(TAIL_LIMIT_S)
            case Failed(code, description):
                self._fail(code, description)
            case Unhandled(name):
                log.info("the agent said %s, which means nothing to us", name[:80])
            case Misshapen(complaint):
                log.warning("%s: it is passed over", complaint)
            case _:
                pass
        with _OUR_OWN:
            self._tell(message)

    def _say_settings(self) -> None:
        """Once, whoever says `Welcome` twice: nobody may say them again."""
        if not self._settings_said:
            self._settings_said = True
            self.say(self._settings)

    def _refuses_end_turn(self, code: str) -> bool:
        refused = self._dialect.refuses_end_turn(
            code, self._settings, applied=self._applied, said=self._end_turn_said
        )
        self.end_turn_refused = self.end_turn_refused or refused
        return refused

    def _fail(self, code: str, description: str) -> None:
        words = f"the agent failed: {code}: {description[:200]}"
        if self._refuses_end_turn(code):
            self._end(AgentLost(Trouble.END_TURN_REFUSED, words))
        elif self._dialect.goes_on(code):
            log.warning("%s", words)
        else:
            self._end(AgentLost(self._dialect.trouble_of(code, description), words))

    # ── sending ──────────────────────────────────────────────────────────────────────────────

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(KEEP_ALIVE_S)
            if self._applied and self._alive not in self._messages:
                self.say(KeepAlive())

    async def _want_proof(self, ws: trio_websocket.WebSocketConnection) -> None:
        """Ping when in doubt. The library sends it between two frames, as it does its pongs."""
        with suppress(trio_websocket.ConnectionClosed):
            while not self._over.is_set():
                await self._doubted.wait()
                self._doubted = trio.Event()
                with trio.move_on_after(PROOF_LIMIT_S) as limit:
                    await ws.ping()
                if limit.cancelled_caught:
                    self._close_limit_s = 0.0  # nobody would read it
                    words = f"no answer to a ping in {PROOF_LIMIT_S} s"
                    self._end(AgentLost(Trouble.LINK_LOST, words))

    async def _send(self, ws: trio_websocket.WebSocketConnection) -> None:
        """The only task that sends; between two frames it looks for what is most urgent."""
        try:
            while not self._over.is_set():
                self._wake = trio.Event()
                frame = self._next_frame(trio.current_time())
                if frame is not None:
                    await ws.send_message(frame)
                elif self._tail_until_s is None:
                    await self._wake.wait()
                else:
                    with trio.move_on_at(self._tail_next_s):
                        await self._wake.wait()
        except trio_websocket.ConnectionClosed:
            pass  # `_receive` learns it too, and why

    def _next_frame(self, now_s: float) -> str | bytes | None:
        if self._messages:
            return self._messages.popleft()
        if not self._applied:
            return None
        piece = self._uplink.read(self._message_bytes, now_s)
        if isinstance(piece, EndOfTurn):
            return self._end_turn(piece.number)
        if piece is not None:
            self._stop_tail()
            return self._to_wire(piece)
        return self._tail(now_s)

    def _end_turn(self, number: int) -> str | None:
        with _OUR_OWN:
            self._tell(TurnSent(number))
        if self._can_end_turn:
            self._end_turn_said = True
            return self._dialect.encode(EndTurn())
        self._start_tail(TAIL_LIMIT_S)
        return None

    def _start_tail(self, length_s: float) -> None:
        now_s = trio.current_time()
        self._tail_until_s, self._tail_next_s = now_s + length_s, now_s
        self._end_after_tail = False
        self.wake()

    def _stop_tail(self) -> None:
        self._tail_until_s, self._end_after_tail = None, False

    def _tail(self, now_s: float) -> str | bytes | None:
        """Zeros at the pace of sound: only silence that is heard can end a turn."""
        if self._tail_until_s is None or now_s < self._tail_next_s:
            return None
        if now_s >= self._tail_until_s:
            again = self._end_after_tail
            self._stop_tail()
            return self._dialect.encode(EndTurn()) if again else None
        self._tail_next_s += self._message_s
        return self._to_wire(bytes(self._message_bytes))

    def _to_wire(self, sound: bytes) -> bytes:
        encoding = self._settings.encoding
        return sound if encoding == LINEAR else compress(sound, encoding)


def _closed(reason: trio_websocket.CloseReason | None) -> AgentError:
    """What it means that the connection was closed, and not by us."""
    if reason is None or reason.code == ABNORMAL:
        return AgentLost(Trouble.LINK_LOST, "the connection ended without a close frame")
    words = f"{reason.code} {reason.reason or ''}".strip()
    if reason.code in MISSPOKEN:
        return AgentMisspoke(Trouble.GARBAGE, f"the connection is no WebSocket any more: {words}")
    return AgentLost(Trouble.LINK_LOST, f"the server closed: {words}")


class _OurOwn:
    """What goes wrong in the rest of the house is no fault of the link."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FOREIGN):
            msg = "what was told of the link has failed"
            raise AssertionError(msg) from error  # noqa: TRY004  # no type is wrong


_OUR_OWN = _OurOwn()  # one for all: it is entered with each piece of sound


@contextmanager
def _our_errors(lost: Callable[[], bool]) -> Iterator[None]:
    """Turn everything foreign, in groups or not, into one of ours; our own bugs go through."""
    try:
        yield
    except FOREIGN as error:
        raise _ours(error, lost=lost()) from error
    except BaseExceptionGroup as group:
        foreign, rest = group.split((*FOREIGN, AgentError, trio.Cancelled))
        if rest is not None or foreign is None:
            raise
        leaves = list(_leaves(foreign))
        ours = [_ours(one, lost=lost()) for one in leaves if not isinstance(one, trio.Cancelled)]
        if not ours:
            raise
        raise ours[0] from group


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def _ours(error: BaseException, *, lost: bool) -> AgentError:
    if isinstance(error, AgentError):
        return error
    if isinstance(error, trio_websocket.ConnectionRejected):
        return rejected(error.status_code, error.headers or ())
    if isinstance(error, h11.ProtocolError | wsproto.utilities.ProtocolError | UnicodeError):
        while error.__context__ is not None:  # it stumbled over its own answer to what it found
            error = error.__context__
        return AgentMisspoke(Trouble.GARBAGE, f"the server speaks no WebSocket: {error!s:.200}")
    if lost:
        return AgentLost(Trouble.LINK_LOST, f"the connection broke: {error!r}")
    return AgentUnreachable(Trouble.UNREACHABLE, f"the connection broke early: {error!r}")
