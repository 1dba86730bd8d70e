"""The stream below the WebSocket, and what an HTTP answer in place of the upgrade means.

trio-websocket waits for ever for a server that closes before it answers, and for the end of a
refusal's body, which many a proxy marks by closing. So the stream below it remembers how the
answer began and whether it has ended, and what is wrong is read from that.
"""

from collections.abc import Iterable

import h11
import trio

from appliance.agent.dialect import SAID_MAX
from appliance.errors import AgentError, AgentMisspoke, AgentRefused, AgentUnreachable, Trouble

HTTP = b"HTTP/1."
HEAD_BYTES_MAX = 2**14  # of an HTTP answer; h11 takes no longer ones either

STATUS: dict[int, Trouble] = {
    401: Trouble.KEY_REFUSED,
    402: Trouble.NO_CREDIT,
    403: Trouble.KEY_REFUSED,
    404: Trouble.NOT_FOUND,
    429: Trouble.TOO_MANY,
}


def rejected(status: int, headers: Iterable[tuple[bytes, bytes]]) -> AgentError:
    """What an HTTP answer in place of the upgrade means."""
    told = {bytes(name).lower(): bytes(value) for name, value in headers}
    reason = told.get(b"dg-error", b"").decode("ascii", "replace")
    request = told.get(b"dg-request-id", b"").decode("ascii", "replace")
    words = f"the server answered HTTP {status}"
    words += f" ({reason})" if reason else ""
    words += f", request {request}" if request else ""
    if status in STATUS:
        return AgentRefused(STATUS[status], words)
    if status >= 500:
        return AgentRefused(Trouble.SERVER_ERROR, words)
    return AgentMisspoke(Trouble.GARBAGE, f"{words} in place of the upgrade")


class Below(trio.abc.Stream):
    """The stream below the WebSocket: it knows whether it has ended, and how the answer began."""

    def __init__(self, below: trio.abc.Stream) -> None:
        self.ended = trio.Event()
        self.head = bytearray()
        self._below = below

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send it; a stream that cannot has ended."""
        try:
            await self._below.send_all(data)
        except (OSError, trio.BrokenResourceError):
            self.ended.set()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait as the stream below does."""
        await self._below.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What comes; the first of it is remembered."""
        try:
            data = await self._below.receive_some(max_bytes)
        except (OSError, trio.BrokenResourceError):
            self.ended.set()
            raise
        if not data:
            self.ended.set()
        self.head += data[: HEAD_BYTES_MAX - len(self.head)]
        return data

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._below.aclose()

    def why_no_upgrade(self) -> AgentError:
        """What is wrong with a server that has not answered, from what it did send."""
        head = bytes(self.head)
        if not head.startswith(HTTP[: len(head)]):
            said = head[:SAID_MAX].decode("ascii", "replace")
            return AgentMisspoke(Trouble.GARBAGE, f"the server answered {said!r}, which is no HTTP")
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method="GET", target="/", headers=[("Host", "")]))
        reader.receive_data(head)
        answer = reader.next_event() if head else None
        if isinstance(answer, h11.Response):
            return rejected(answer.status_code, answer.headers)
        if self.ended.is_set():
            return AgentUnreachable(Trouble.UNREACHABLE, "the server closed before it answered")
        return AgentUnreachable(Trouble.SILENT, "the server did not answer the upgrade")
