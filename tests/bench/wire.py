"""The barest WebSocket: whole frames over a blocking socket, by hand, and nothing else.

What the floor and the bench's server speak. Both ends are known to send unfragmented frames without
extensions, so there is nothing here but RFC 6455 §5.2 and an upgrade that is taken at its word.
"""

import base64
import contextlib
import hashlib
import os
import socket
import threading

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


class Wire:
    """Frames both ways over `connection`. Sending is safe from several threads; it may wait."""

    def __init__(self, connection: socket.socket, *, masks: bool) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._stream = connection.makefile("rb")
        self._masks = masks
        self._sending = threading.Lock()

    def ask_upgrade(self, path: str) -> None:
        """As the client: ask, and wait for the answer."""
        key = base64.b64encode(os.urandom(16)).decode()
        self._connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        assert b" 101 " in self._stream.readline()
        self._headers()

    def wait_upgrade(self) -> bytes:
        """As the server: the key of a client's request; empty if none came."""
        if not self._stream.readline():
            return b""
        return self._headers().get(b"sec-websocket-key", b"")

    def accept_upgrade(self, key: bytes) -> None:
        """As the server: grant it."""
        proof = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
        self._connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
        )

    def refuse_upgrade(self, status: int) -> None:
        """As the server: answer with an HTTP status in its place."""
        self._connection.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())

    def _headers(self) -> dict[bytes, bytes]:
        told = {}
        while line := self._stream.readline().strip():
            name, _, value = line.partition(b":")
            told[name.strip().lower()] = value.strip()
        return told

    def send(self, opcode: int, payload: bytes) -> None:
        """One whole frame."""
        size = len(payload)
        head = bytearray([0x80 | opcode])
        mask_bit = 0x80 if self._masks else 0
        if size < 126:
            head.append(mask_bit | size)
        else:
            head.append(mask_bit | 126)
            assert size < 65536
            head += size.to_bytes(2, "big")
        if self._masks:
            mask = os.urandom(4)
            head += mask
            payload = _masked(payload, mask)
        with self._sending:
            self._connection.sendall(bytes(head) + payload)

    def receive(self) -> tuple[int, bytes] | None:
        """The next frame: opcode and payload. None once the far end has gone."""
        try:
            head = self._stream.read(2)
            if len(head) < 2:
                return None
            size = head[1] & 0x7F
            if size == 126:
                size = int.from_bytes(self._stream.read(2), "big")
            elif size == 127:
                size = int.from_bytes(self._stream.read(8), "big")
            mask = self._stream.read(4) if head[1] & 0x80 else b""
            payload = self._stream.read(size)
        except OSError:
            return None
        if len(payload) < size:
            return None
        return head[0] & 0x0F, _masked(payload, mask) if mask else payload

    def cut(self) -> None:
        """Drop the connection, without a close frame."""
        with contextlib.suppress(OSError):  # it may have gone by itself
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def _masked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    stretched = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big")
