"""The far end written out by hand: servers that do what a test wants, also what no library would.

`Peer` speaks HTTP and WebSocket to a client over any stream, byte by byte, and knows nothing of
the libraries that it tests: what it reads is held to RFC 6455 here. `serving` puts such a server
on a real socket of this machine, with or without TLS.
"""

import base64
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

CERTIFICATES = Path(__file__).parent / "certificates"
ROOT = str(CERTIFICATES / "root.pem")  # who trusts it trusts `good`

WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

APPLIED = {"type": "SettingsApplied"}

Message = dict[str, Any]
Behaviour = Callable[[trio.abc.Stream], Awaitable[None]]


@dataclass(frozen=True)
class Closed:
    """A close frame; 1005 if it has no code."""

    code: int


@dataclass(frozen=True)
class Pong:
    """The answer to a ping."""

    payload: bytes


@dataclass(frozen=True)
class Gone:
    """The stream ended."""


Frame = Message | bytes | Closed | Pong | Gone


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame of a server."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 2**16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + payload


class Peer:
    """A server at the end of one stream. What it `read`s is kept, with its time, in `got`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.got: list[tuple[float, Frame]] = []
        self.answers_close = True
        self._buffer = bytearray()
        self._came = trio.Event()

    # ── what comes ───────────────────────────────────────────────────────────────────────────

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def request(self) -> str:
        """The head of the HTTP request."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self._take(1)
        return head.decode("ascii")

    async def next(self) -> Frame:
        """The next thing that comes: one frame, for no client of ours may split a message."""
        try:
            first, second = await self._take(2)
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            return Gone()
        assert first & 0x80, "half a message"
        assert second & 0x80, "a frame of a client without a mask"
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self._take(2 if size == 126 else 8), "big")
        mask = await self._take(4)
        masked = await self._take(size)
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        match first & 0x7F:
            case 1:
                said = json.loads(payload)
                assert isinstance(said, dict)
                return said
            case 2:
                return payload
            case 8:
                return Closed(int.from_bytes(payload[:2], "big") if payload else 1005)
            case 9:
                await self.send(frame(PONG, payload))
                return await self.next()
            case 10:
                return Pong(payload)
            case opcode:
                raise AssertionError(f"a frame of kind {opcode}")

    async def read(self) -> None:
        """Keep what comes, to the end of the stream; a close frame is answered as it should be."""
        while True:
            came = await self.next()
            self._keep(came)
            match came:
                case Gone():
                    return
                case Closed(code) if self.answers_close:
                    await self.close(code)
                    await self.stream.aclose()
                    self._keep(Gone())
                    return

    def _keep(self, came: Frame) -> None:
        self.got.append((trio.current_time(), came))
        self._came.set()

    async def until(self, kind: str, limit_s: float = 60.0) -> None:
        """Wait until something of this kind has been read."""
        with trio.fail_after(limit_s):
            while kind not in self.kinds():
                self._came = trio.Event()
                await self._came.wait()

    def kinds(self) -> list[str]:
        """What was read, in words; runs of sound as one."""
        kinds: list[str] = []
        for _, came in self.got:
            match came:
                case bytes():
                    kind = "sound"
                case Closed(code):
                    kind = f"close {code}"
                case Pong():
                    kind = "pong"
                case Gone():
                    kind = "gone"
                case _:
                    kind = came["type"]
            if kind != "sound" or kinds[-1:] != ["sound"]:
                kinds.append(kind)
        return kinds

    def sound(self) -> bytes:
        """All the sound that was read."""
        return b"".join(came for _, came in self.got if isinstance(came, bytes))

    def times(self, kind: str | type[bytes]) -> list[float]:
        """When the messages of this type came, or the pieces of sound."""
        return [
            at_s
            for at_s, came in self.got
            if (kind is bytes and isinstance(came, bytes))
            or (isinstance(came, dict) and came["type"] == kind)
        ]

    # ── what goes ────────────────────────────────────────────────────────────────────────────

    async def send(self, data: bytes) -> None:
        """Send bytes as they are; to nobody, if the client has left."""
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)

    async def accept(self, *more: bytes) -> str:
        """Grant the upgrade, with `more` behind it in the same breath; the request."""
        head = await self.request()
        key = next(line for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key: "))
        digest = hashlib.sha1(key.partition(": ")[2].encode() + WEBSOCKET_GUID).digest()
        await self.send(
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n" + b"".join(more)
        )
        return head

    async def say(self, *messages: Message | bytes) -> None:
        """Send messages and pieces of sound."""
        for message in messages:
            if isinstance(message, bytes):
                await self.send(frame(BINARY, message))
            else:
                await self.send(frame(TEXT, json.dumps(message).encode()))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; with code 1005 one without a code."""
        payload = b"" if code == 1005 else code.to_bytes(2, "big") + reason.encode()
        await self.send(frame(CLOSE, payload))

    async def welcome(self) -> Message:
        """Accept, welcome, take the settings and apply them; the settings."""
        await self.accept()
        await self.say({"type": "Welcome", "request_id": "fc553ec9"})
        settings = await self.next()
        assert isinstance(settings, dict), settings
        await self.say(APPLIED)
        return settings


# ── servers on real sockets ──────────────────────────────────────────────────────────────────────


def _context(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{certificate}.pem", CERTIFICATES / "agent.key")
    return context


@asynccontextmanager
async def serving(behave: Behaviour, certificate: str = "") -> AsyncIterator[int]:
    """Serve on 127.0.0.1 for as long as the block lasts, with TLS if it has a certificate.

    A client that breaks off is no fault of the server's.

    Yields:
        The port.
    """
    context = _context(certificate) if certificate else None

    async def handle(stream: trio.abc.Stream) -> None:
        if context is not None:
            stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await behave(stream)
        except (EOFError, trio.BrokenResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def stay_silent(stream: trio.abc.Stream) -> None:
    """Accept, and say nothing for ever."""
    await trio.sleep_forever()


class Proxy:
    """An HTTP proxy that leads to this machine, whatever name it is asked for, by its port.

    Args:
        answer: the rest of its answer's first lines; nothing is led anywhere but by a 2xx.
    """

    def __init__(self, answer: bytes = b"200 OK") -> None:
        self.heads: list[str] = []
        self.carried = bytearray()  # both ways
        self._answer = answer

    async def __call__(self, near: trio.abc.Stream) -> None:
        """Serve one client."""
        head = await Peer(near).request()
        self.heads.append(head)
        answer = b"HTTP/1.1 " + self._answer + b"\r\n\r\n"
        if not self._answer.startswith(b"2"):
            await near.send_all(answer)
            await near.receive_some()
            return
        verb, place, _ = head.split(" ", 2)
        assert verb == "CONNECT"
        async with (
            await trio.open_tcp_stream("127.0.0.1", int(place.rpartition(":")[2])) as far,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._carry, near, far, b"")
            await self._carry(far, near, answer)
            nursery.cancel_scope.cancel()

    async def _carry(self, here: trio.abc.Stream, there: trio.abc.Stream, first: bytes) -> None:
        """To the end of what comes; with `first` before it, in one breath where that can be."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if first:
                with trio.move_on_after(0.02):  # for a server that speaks first
                    data = await here.receive_some()
                    self.carried += data
                    first += data
                await there.send_all(first)
            while data := await here.receive_some():
                self.carried += data
                await there.send_all(data)
            if isinstance(there, trio.SocketStream):
                await there.send_eof()
