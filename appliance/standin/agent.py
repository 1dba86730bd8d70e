"""A Voice Agent on loopback: hears speech and its end, and answers by repeating what it heard.

It speaks V1 as the server of `/v1/agent/converse` does, and early access as that of `/agent` did,
and is as strict about order and shape. It needs no key, no network and no model. `voice-appliance
agent` runs it for people who want to try a box; tests join it to the daemon by memory streams, in
virtual time, where it is exact: the same sound and the same seed give the same bytes at the same
moments. `Manners` make it misbehave in the ways in which real servers do.

Rooms, from the wire inwards: `schema` reads what V1 clients send and `values` judge it, `converse`
has V1's words and `early` all of the other dialect; both are a `tongue`, and say the same `terms`
to those within. `ears` find speech in sound, `calls` know the functions, `echo` makes the sound of
an answer, `voice` says what is sent and when, `manners` how it behaves; `conduct` is one
conversation. `certificate` is for `wss://`. Here is the door.
"""

import ipaddress
import random
import ssl
import uuid
from collections.abc import Callable
from itertools import count
from types import MappingProxyType

import h11
import msgspec
import trio
import wsproto.utilities
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    wrap_server_stream,
)

from appliance.errors import DeviceError
from appliance.standin.conduct import Connection, Request, Session
from appliance.standin.converse import Converse
from appliance.standin.early import EarlyAccess
from appliance.standin.manners import EVERY_TURN, Call, ForceEndTurn, Manners
from appliance.standin.tongue import Tongue

__all__ = [
    "EVERY_TURN",
    "Call",
    "Connection",
    "ForceEndTurn",
    "Manners",
    "Request",
    "StandinAgent",
]

PATH = "/v1/agent/converse"
EARLY_PATH = "/agent"
HEAD_END = b"\r\n\r\n"
UPGRADE_LIMIT_S = 10.0  # from the stream to its request
CLOSE_LIMIT_S = 1.0  # for an Error and a close frame to be taken
MESSAGES_MAX = 64  # in trio-websocket's queue; they are taken out without waiting
KEPT_BYTES_MAX = 64 * 2**20  # of sound, over all connections; then the oldest are forgotten
KEPT_CONNECTIONS_MAX = 1000

# What the real server says before the upgrade. Source: its errors page, mid-2026 copy.
REFUSALS = MappingProxyType(
    {
        400: ("BAD_REQUEST", "Bad request."),
        401: ("INVALID_AUTH", "Invalid credentials."),
        402: ("PAYMENT_REQUIRED", "The project has no credit left."),
        403: ("INSUFFICIENT_PERMISSIONS", "The key may not do this."),
        404: ("NOT_FOUND", "There is nothing here."),
        429: ("TOO_MANY_REQUESTS", "Too many connections are open."),
    }
)

# The ways in which a client can break off or speak something else than HTTP and WebSocket:
# trio-websocket's reader lets wsproto's and h11's errors through, and a Host that is no name.
GONE = (
    ConnectionClosed,
    wsproto.utilities.ProtocolError,
    h11.ProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
    UnicodeError,
)


class StandinAgent:
    """The agent, for any number of connections at once.

    Args:
        manners: how it behaves; may be assigned anew, and holds for connections from then on.
        random: its dice; the default has a fixed seed.
        tell: takes a line of words for each thing that happens on a connection.
    """

    def __init__(
        self,
        manners: Manners = Manners(),  # noqa: B008  # frozen
        *,
        random: random.Random | None = None,
        tell: Callable[[Connection, str], None] | None = None,
    ) -> None:
        self.manners = manners
        self.connections: list[Connection] = []
        self._random = random or _seeded()
        self._tell = tell or (lambda _connection, _words: None)
        self._connection_numbers = count(1)
        self._turn_numbers = count(1)

    async def listen(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve TCP until cancelled; the port is told to `task_status`.

        Args:
            host: an address of loopback.
            port: 0 takes one that is free.
            tls: makes it `wss://`, with the certificate in there; see `certificate`.
            task_status: of the nursery that this is started in.

        Raises:
            DeviceError: the host is not this machine's loopback, or the port cannot be had.
        """
        address = _loopback(host)
        try:
            listeners = await trio.open_tcp_listeners(port, host=address)
        except OSError as error:
            raise DeviceError(f"cannot listen on {address} port {port}: {error}") from error
        port = listeners[0].socket.getsockname()[1]

        async def serve(stream: trio.abc.Stream) -> None:
            if tls is not None:
                stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
            await self.serve_stream(stream)

        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, serve, listeners)
            task_status.started(port)

    async def go_away(self) -> None:
        """Close what is open with 1001, and wait for it: a second at most."""
        still = [it for it in self.connections if it.session is not None and it.closed_s is None]
        for connection in still:
            assert connection.session is not None
            connection.session.go_away()
        with trio.move_on_after(CLOSE_LIMIT_S):
            for connection in still:
                await connection.over.wait()

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection; returns when it is over. Raises nothing for what a client does."""
        line = _Line(stream)
        try:
            async with trio.open_nursery() as nursery:
                request = await _upgrade_asked(nursery, line)
                if request is not None:
                    await self._answer(request, line)
                nursery.cancel_scope.cancel()
        except* GONE:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, request: WebSocketRequest, line: "_Line") -> None:
        connection = self._open(request.path, line)
        dice = random.Random(self._random.getrandbits(64))  # noqa: S311  # each its own
        marks = [(b"dg-request-id", str(uuid.UUID(int=dice.getrandbits(128))).encode())]
        tongue = self._tongue(request.path)
        status = 404 if tongue is None else self.manners.refuse_status
        try:
            if tongue is None or status is not None:
                self._tell(connection, f"is refused with HTTP {status}")
                await _reject(request, status or 404, marks)
            else:
                credentials = request.proposed_subprotocols
                scheme = next((s for s in credentials if s in {"token", "bearer"}), None)
                websocket = await request.accept(subprotocol=scheme, extra_headers=marks)
                await self._converse(connection, websocket, tongue, dice)
        finally:
            connection.closed_s = trio.current_time()
            connection.over.set()

    def _tongue(self, path: str) -> Tongue | None:
        """The dialect that is spoken at this address."""
        place = path.partition("?")[0]
        if place == PATH:
            return Converse(stored_agents=self.manners.stored_agents)
        return EarlyAccess() if place == EARLY_PATH else None

    async def _converse(
        self,
        connection: Connection,
        websocket: WebSocketConnection,
        tongue: Tongue,
        dice: random.Random,
    ) -> None:
        def tell(words: str) -> None:
            self._tell(connection, words)

        def count_turn() -> int:
            return next(self._turn_numbers)

        session = Session(
            connection,
            websocket,
            tongue=tongue,
            manners=self.manners,
            chance=dice,
            count_turn=count_turn,
            tell=tell,
        )
        connection.session = session
        tell("is connected")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.send)
                await session.receive()
                nursery.cancel_scope.deadline = trio.current_time() + CLOSE_LIMIT_S
        finally:
            connection.close_code = int(websocket.closed.code) if websocket.closed else 1006
            tell(f"is gone ({connection.close_code})")

    def _open(self, path: str, line: "_Line") -> Connection:
        number = next(self._connection_numbers)
        request = Request(path, line.headers())
        connection = Connection(number, request, trio.current_time(), line)
        self._forget_oldest()
        self.connections.append(connection)
        return connection

    def _forget_oldest(self) -> None:
        kept_bytes = sum(len(connection.heard) for connection in self.connections)
        while self.connections and self.connections[0].closed_s is not None:
            if kept_bytes <= KEPT_BYTES_MAX and len(self.connections) < KEPT_CONNECTIONS_MAX:
                return
            kept_bytes -= len(self.connections.pop(0).heard)


class _Line(trio.abc.Stream):
    """A stream that keeps its HTTP request as it came, and calls `at_end` when the client is gone.

    trio-websocket keeps `Host` and the credentials of browsers to itself, and waits for ever for
    the request of a client that connects and hangs up.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._head = b""
        self.at_end: Callable[[], None] = lambda: None

    def headers(self) -> dict[str, str]:
        """The headers of the request, their names in lower case; of two alike the last."""
        lines = self._head.partition(HEAD_END)[0].decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        return {name.strip().lower(): value.strip() for name, _, value in pairs}

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data: bytes | bytearray = b""
        try:
            data = await self._stream.receive_some(max_bytes)
        finally:
            if not data:
                self.at_end()
        if HEAD_END not in self._head:
            self._head += data
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self.at_end()
        await self._stream.aclose()


async def _upgrade_asked(nursery: trio.Nursery, line: _Line) -> WebSocketRequest | None:
    """The request for an upgrade, or None if none comes."""
    with trio.move_on_after(UPGRADE_LIMIT_S) as waiting:
        line.at_end = waiting.cancel
        return await wrap_server_stream(nursery, line, message_queue_size=MESSAGES_MAX)
    return None


async def _reject(request: WebSocketRequest, status: int, marks: list[tuple[bytes, bytes]]) -> None:
    code, words = REFUSALS.get(status, ("REFUSED", "This stand-in was told to refuse."))
    headers = [*marks, (b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"dg-error", words.encode()))
    body = msgspec.json.encode({"err_code": code, "err_msg": words})
    await request.reject(status, extra_headers=headers, body=body)


def _seeded() -> random.Random:
    return random.Random(0)  # noqa: S311


def _loopback(host: str) -> str:
    """The address of `host`, if it is loopback: this agent has no keys and takes everybody."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise DeviceError(f"{host!r} is no address of this machine's loopback") from None
    if not address.is_loopback:
        raise DeviceError(f"{host} is not loopback: the stand-in agent takes everybody who comes")
    return str(address)
