"""From an address to a stream: TCP and TLS, and what can be wrong with them.

Why our own connector: trio-websocket's `open_websocket(connect_timeout=…)` never returns from a
server that accepts and stays silent (its reader task is not under the timeout), waits the whole
timeout for one that closes early, and builds a TLS context (25 ms here, 0.3 s on a Zero) each
time. So we connect ourselves, under the session's one deadline, and hand the stream over.

Nothing here is billed: the WebSocket upgrade is the session's business, and waits to be allowed.

Measured with these options (`tests/bench/half_open.py`): a link that has died is known within 6 s
in a turn and within 7 s at rest; without them nothing was noticed in 30 s. What was sent may be
unanswered for 4 s: 5 s, as was first designed, took up to 6.4 s to be noticed.
"""

import errno
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

import trio

from appliance.agent.dialect import SAID_MAX
from appliance.agent.upgrade import HTTP
from appliance.errors import AgentUnreachable, Trouble

# A dead peer: probes after 5 s of quiet, two of them 2 s apart, and 4 s for what was sent.
TCP_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 4000),
)

# For the name and the first packet, out of the session's 10 s: who has not been reached by then is
# not one who accepts and says nothing. A lookup without a network takes 5 to 30 s.
REACH_LIMIT_S = 8.0

# What OpenSSL calls it when the far end leaves during the handshake; older ones have no word.
BROKEN_OFF = (None, "UNEXPECTED_EOF_WHILE_READING")

PROXY_PORT = 3128  # where none is named
PROXY_HEAD_MAX = 2**14

NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID
UNROUTABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


@dataclass(frozen=True)
class Address:
    """Where the agent is."""

    host: str
    port: int
    path: str
    tls: bool

    @classmethod
    def of(cls, url: str) -> "Address":
        """The address in a checked `ws://` or `wss://` URL."""
        parts = urlsplit(url)
        tls = parts.scheme == "wss"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), path, tls)

    @property
    def host_header(self) -> str:
        """The port is left out where it is the usual one: with `:443` the server answers 404."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Dialer:
    """Makes connections to one address, up to and without the upgrade."""

    def __init__(
        self, address: Address, *, ca_file: str | None = None, proxy: str | None = None
    ) -> None:
        self.address = address
        self._proxy = urlsplit(proxy) if proxy else None
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    async def prepare(self) -> None:
        """Build the TLS context, once and in a thread: it takes long on a small box.

        Raises:
            AgentUnreachable: the file of certificates cannot be used.
        """
        if self.address.tls and self._context is None:
            try:
                self._context = await trio.to_thread.run_sync(self._build_context)
            except OSError as error:  # an SSLError is one
                raise AgentUnreachable(
                    Trouble.CERTIFICATE, f"{self._ca_file}: no certificates to trust: {error}"
                ) from error

    def _build_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self._ca_file or None)

    async def __call__(self) -> trio.abc.Stream:
        """Connect, with TLS if the address wants it. Waits; bounded by its caller.

        Raises:
            AgentUnreachable: no such name, nobody there, or a certificate not to be trusted.
        """
        await self.prepare()
        tcp = await self._reach()
        for option in TCP_OPTIONS:
            tcp.setsockopt(*option)
        if self._context is None:
            return tcp
        tls = trio.SSLStream(
            tcp, self._context, server_hostname=self.address.host, https_compatible=True
        )
        try:
            await tls.do_handshake()
        except (OSError, trio.BrokenResourceError) as error:
            await trio.aclose_forcefully(tls)
            raise _untrusted(error) from error
        except trio.Cancelled:
            await trio.aclose_forcefully(tls)
            raise
        return tls

    async def _reach(self) -> trio.SocketStream:
        """TCP to the agent, through the proxy if there is one."""
        proxy = self._proxy
        if proxy is None:
            return await _open(self.address.host, self.address.port)
        try:
            tcp = await _open(proxy.hostname or "", proxy.port or PROXY_PORT)
        except AgentUnreachable as error:
            raise AgentUnreachable(error.trouble, f"the proxy: {error}") from error
        try:
            with trio.fail_after(REACH_LIMIT_S):
                await _ask_proxy(tcp, self.address, proxy)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            await trio.aclose_forcefully(tcp)
            is_silent = isinstance(error, trio.TooSlowError)
            words = "gives no answer" if is_silent else f"broke off: {error}"
            raise AgentUnreachable(Trouble.UNREACHABLE, f"the proxy {words}") from error
        except (AgentUnreachable, trio.Cancelled):
            await trio.aclose_forcefully(tcp)
            raise
        return tcp


async def _open(host: str, port: int) -> trio.SocketStream:
    try:
        with trio.fail_after(REACH_LIMIT_S):
            return await trio.open_tcp_stream(host, port)
    except trio.TooSlowError as error:
        raise AgentUnreachable(Trouble.UNREACHABLE, f"{host} does not answer") from error
    except UnicodeError as error:  # a label that is empty or too long
        raise AgentUnreachable(Trouble.NOT_FOUND, f"{host!r} is no name: {error}") from error
    except OSError as error:
        raise _unreachable(error) from error


async def _ask_proxy(tcp: trio.SocketStream, address: Address, proxy: SplitResult) -> None:
    """HTTP CONNECT (RFC 9110, 9.3.6). Nothing is read beyond the answer's head: TLS speaks first.

    Raises:
        AgentUnreachable: the proxy will not, or is none.
    """
    host = f"[{address.host}]" if ":" in address.host else address.host
    lines = [f"CONNECT {host}:{address.port} HTTP/1.1", f"Host: {host}:{address.port}"]
    if proxy.username is not None:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}")
    await tcp.send_all("\r\n".join([*lines, "", ""]).encode())
    head = bytearray()
    while b"\r\n\r\n" not in head:
        data = await tcp.receive_some(1)  # not a byte of the tunnel
        head += data
        has_line = b"\n" in head or len(head) >= SAID_MAX
        if (has_line and not head.startswith(HTTP)) or len(head) > PROXY_HEAD_MAX:
            said = head[:SAID_MAX].decode("ascii", "replace")
            raise AgentUnreachable(Trouble.UNREACHABLE, f"the proxy speaks no HTTP: {said!r}")
        if not data:
            raise AgentUnreachable(Trouble.UNREACHABLE, "the proxy closed before it answered")
    line = bytes(head.split(b"\r\n", 1)[0])
    if not line.partition(b" ")[2].startswith(b"2"):  # any 2xx opens the tunnel
        said = line[:SAID_MAX].decode("ascii", "replace")
        raise AgentUnreachable(Trouble.UNREACHABLE, f"the proxy refuses: {said!r}")


def _unreachable(error: OSError) -> AgentUnreachable:
    if isinstance(error, socket.gaierror):
        return AgentUnreachable(Trouble.NO_NETWORK, f"the name cannot be looked up: {error}")
    # One for each address of the name. A box without IPv6 has no way to half of them.
    ways = error.__cause__.exceptions if isinstance(error.__cause__, ExceptionGroup) else [error]
    found = [one for one in ways if not (isinstance(one, OSError) and one.errno in UNROUTABLE)]
    if not found:
        return AgentUnreachable(Trouble.NO_NETWORK, f"no way there: {ways[-1]}")
    return AgentUnreachable(Trouble.UNREACHABLE, f"nobody answers there: {found[-1]}")


def _untrusted(error: Exception) -> AgentUnreachable:
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code == NOT_YET_VALID:
            return AgentUnreachable(
                Trouble.CLOCK_WRONG, "the server's certificate is not valid yet: is the clock set?"
            )
        return AgentUnreachable(Trouble.CERTIFICATE, f"not trusted: {cause.verify_message}")
    if isinstance(cause, ssl.SSLError) and cause.reason not in BROKEN_OFF:
        return AgentUnreachable(Trouble.GARBAGE, f"no TLS is spoken there: {cause.reason}")
    return AgentUnreachable(Trouble.UNREACHABLE, f"the server broke off: {cause or error!r}")
