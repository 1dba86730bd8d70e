"""From an address to a stream, on real sockets of this machine: what is wrong is told by its name.

Nothing here runs on the virtual clock: it would fire a deadline before a real socket answers.
"""

import errno
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from appliance.agent import dialer
from appliance.agent.dialer import TCP_OPTIONS, Address, Dialer
from appliance.errors import AgentUnreachable, Retry, Trouble
from tests.far_end import CERTIFICATES, ROOT, serving, stay_silent

LIMIT_S = 5  # for what takes milliseconds

NOBODY = "255.255.255.255"  # Linux finds no way for TCP to it, whatever networks there are


class Names(trio.abc.HostnameResolver):
    """A telephone book: names that it does not have do not exist."""

    def __init__(self, book: dict[str, list[str]]) -> None:
        self.book = book

    async def getaddrinfo(  # noqa: PLR0917  # the interface has so many
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002  # its name in the interface
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        await trio.lowlevel.checkpoint()
        numbers = self.book.get((host or b"").decode())
        if numbers is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", (number, port)) for number in numbers]

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
    ) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def names() -> AsyncIterator[dict[str, list[str]]]:
    """The names that this machine knows, for one test."""
    book = {"agent.test": ["127.0.0.1"], "stranger.test": ["127.0.0.1"]}
    trio.socket.set_custom_hostname_resolver(Names(book))
    yield book
    trio.socket.set_custom_hostname_resolver(None)


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def plain(port: int, host: str = "127.0.0.1") -> Dialer:
    return Dialer(Address(host, port, "/", tls=False))


def secure(port: int, host: str = "127.0.0.1", ca_file: str = ROOT) -> Dialer:
    return Dialer(Address(host, port, "/", tls=True), ca_file=ca_file)


async def refused(dial: Dialer) -> AgentUnreachable:
    """Why there is no connection."""
    with trio.fail_after(LIMIT_S), pytest.raises(AgentUnreachable) as caught:
        await dial()
    return caught.value


async def close_at_once(stream: trio.abc.Stream) -> None:
    await stream.aclose()


async def reset(stream: trio.abc.Stream) -> None:
    """Break off with RST in the midst of what the client says."""
    await stream.receive_some(1)
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def shake_hands(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SSLStream)
    await stream.do_handshake()
    await stream.receive_some()


# ── addresses ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "address", "host_header"),
    [
        (
            "wss://agent.deepgram.com/v1/agent/converse",
            Address("agent.deepgram.com", 443, "/v1/agent/converse", tls=True),
            "agent.deepgram.com",
        ),
        (
            "wss://agent.deepgram.com:443/v1/agent/converse",
            Address("agent.deepgram.com", 443, "/v1/agent/converse", tls=True),
            "agent.deepgram.com",
        ),
        (
            "wss://agent.test:8443/v1?a=b&c=d",
            Address("agent.test", 8443, "/v1?a=b&c=d", tls=True),
            "agent.test:8443",
        ),
        (
            "ws://127.0.0.1:8080/v1/agent/converse",
            Address("127.0.0.1", 8080, "/v1/agent/converse", tls=False),
            "127.0.0.1:8080",
        ),
        ("ws://localhost", Address("localhost", 80, "/", tls=False), "localhost"),
        ("ws://localhost:443", Address("localhost", 443, "/", tls=False), "localhost:443"),
        ("ws://[::1]:8080/", Address("::1", 8080, "/", tls=False), "[::1]:8080"),
        ("wss://[::1]/", Address("::1", 443, "/", tls=True), "[::1]"),
    ],
)
def test_an_address_and_its_host_header_come_from_the_url(
    url: str, address: Address, host_header: str
) -> None:
    assert Address.of(url) == address
    assert address.host_header == host_header


# ── the way there ────────────────────────────────────────────────────────────────────────────────


async def test_a_name_that_nobody_knows_is_no_network(names: dict[str, list[str]]) -> None:
    error = await refused(plain(80, "nowhere.test"))
    assert error.trouble is Trouble.NO_NETWORK
    assert error.trouble.retry is Retry.BACKOFF
    assert "the name cannot be looked up" in str(error)


@pytest.mark.parametrize("host", ["agent..test", f"{'a' * 64}.test"])
async def test_a_name_that_cannot_be_one_is_not_found(host: str) -> None:
    error = await refused(plain(80, host))
    assert error.trouble is Trouble.NOT_FOUND
    assert error.trouble.retry is Retry.ON_PRESS


async def test_no_way_there_is_no_network() -> None:
    error = await refused(plain(80, NOBODY))
    assert error.trouble is Trouble.NO_NETWORK
    assert str(error) == "no way there: [Errno 101] Network is unreachable"


async def test_where_nobody_listens_is_unreachable() -> None:
    error = await refused(plain(free_port()))
    assert error.trouble is Trouble.UNREACHABLE
    assert error.trouble.retry is Retry.BACKOFF
    assert "Connection refused" in str(error)


async def test_a_network_where_one_of_two_ways_leads_somewhere_is_there(
    names: dict[str, list[str]],
) -> None:
    # As with a server that is down, and a box that has IPv4 alone.
    names["agent.test"] = [NOBODY, "127.0.0.1"]
    error = await refused(plain(free_port(), "agent.test"))
    assert error.trouble is Trouble.UNREACHABLE
    assert "Connection refused" in str(error)
    names["agent.test"].reverse()
    assert (await refused(plain(free_port(), "agent.test"))).trouble is Trouble.UNREACHABLE
    names["agent.test"] = [NOBODY, NOBODY]
    assert (await refused(plain(free_port(), "agent.test"))).trouble is Trouble.NO_NETWORK


async def test_the_second_of_two_ways_is_taken_where_the_first_is_barred(
    names: dict[str, list[str]],
) -> None:
    names["agent.test"] = [NOBODY, "127.0.0.1"]
    async with serving(stay_silent) as port:
        with trio.fail_after(LIMIT_S):
            await (await plain(port, "agent.test")()).aclose()


@pytest.mark.parametrize("number", sorted(dialer.UNROUTABLE))
def test_what_means_no_network_is_what_the_kernel_says_without_a_route(number: int) -> None:
    assert errno.errorcode[number] in {"ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "EADDRNOTAVAIL"}


async def test_a_first_packet_that_nobody_answers_is_unreachable_not_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialer, "REACH_LIMIT_S", 0.05)

    async def never(_host: str, _port: int) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", never)
    error = await refused(plain(80))
    assert error.trouble is Trouble.UNREACHABLE
    assert str(error) == "127.0.0.1 does not answer"


async def test_a_plain_connection_is_made_with_the_options_that_find_a_dead_link() -> None:
    async with serving(stay_silent) as port:
        with trio.fail_after(LIMIT_S):
            stream = await plain(port)()
        async with stream:
            assert isinstance(stream, trio.SocketStream)
            for level, name, value in TCP_OPTIONS:
                assert stream.getsockopt(level, name) == value
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_trusted_server_is_talked_to_over_tls_with_the_same_options(
    names: dict[str, list[str]],
) -> None:
    async with serving(shake_hands, "good") as port:
        with trio.fail_after(LIMIT_S):
            stream = await secure(port, "agent.test")()
        async with stream:
            assert isinstance(stream, trio.SSLStream)
            assert stream.server_hostname == "agent.test"
            assert stream.getpeercert()["subject"] == ((("commonName", "agent.test"),),)
            for level, name, value in TCP_OPTIONS:
                assert stream.transport_stream.getsockopt(level, name) == value


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        ("selfsigned", "not trusted: self-signed certificate"),
        ("late", "not trusted: certificate has expired"),
    ],
)
async def test_a_certificate_that_is_not_to_be_trusted_waits_for_a_person(
    certificate: str, words: str
) -> None:
    async with serving(shake_hands, certificate) as port:
        error = await refused(secure(port))
    assert error.trouble is Trouble.CERTIFICATE
    assert error.trouble.retry is Retry.ON_PRESS
    assert str(error) == words


async def test_a_certificate_of_the_future_says_that_the_clock_is_wrong() -> None:
    async with serving(shake_hands, "early") as port:
        error = await refused(secure(port))
    assert error.trouble is Trouble.CLOCK_WRONG
    assert error.trouble.retry is Retry.BACKOFF  # the time service may set it yet


async def test_another_name_than_the_certificates_is_not_trusted(
    names: dict[str, list[str]],
) -> None:
    async with serving(shake_hands, "good") as port:
        error = await refused(secure(port, "stranger.test"))
    assert error.trouble is Trouble.CERTIFICATE
    assert "Hostname mismatch" in str(error)


async def test_without_a_file_of_its_own_it_trusts_what_the_system_trusts() -> None:
    async with serving(shake_hands, "good") as port:
        error = await refused(secure(port, ca_file=""))
    assert error.trouble is Trouble.CERTIFICATE  # the system has never heard of our root


@pytest.mark.parametrize("ca_file", ["/nonexistent/root.pem", str(CERTIFICATES / "agent.key")])
async def test_a_file_of_certificates_that_cannot_be_used_is_a_named_trouble(ca_file: str) -> None:
    # It was looked at when the settings were read, and may have gone since.
    async with serving(shake_hands, "good") as port:
        error = await refused(secure(port, ca_file=ca_file))
    assert error.trouble is Trouble.CERTIFICATE
    assert str(error).startswith(f"{ca_file}: no certificates to trust: ")


async def test_a_server_that_speaks_no_tls_is_garbage() -> None:
    async def answer_http(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await stream.receive_some()

    async with serving(answer_http) as port:
        error = await refused(secure(port))
    assert error.trouble is Trouble.GARBAGE
    assert str(error).startswith("no TLS is spoken there: ")


@pytest.mark.parametrize("behave", [close_at_once, reset])
async def test_a_server_that_breaks_off_before_tls_stands_is_unreachable(behave: Any) -> None:
    async with serving(behave) as port:
        error = await refused(secure(port))
    assert error.trouble is Trouble.UNREACHABLE
    assert str(error).startswith("the server broke off: ")


async def test_a_dial_that_is_given_up_closes_its_socket() -> None:
    ended = trio.Event()

    async def wait_for_the_end(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            pass
        ended.set()

    async with serving(wait_for_the_end) as port:
        with trio.move_on_after(0.1):
            await secure(port)()
        with trio.fail_after(LIMIT_S):
            await ended.wait()


async def test_the_tls_context_is_built_once_and_not_in_the_thread_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builders = []
    build = ssl.create_default_context

    def watched(**how: Any) -> ssl.SSLContext:
        builders.append(threading.get_ident())
        return build(**how)

    monkeypatch.setattr(ssl, "create_default_context", watched)
    async with serving(shake_hands, "good") as port:
        dial = secure(port)
        with trio.fail_after(LIMIT_S):
            await dial.prepare()
            for _ in range(3):
                await (await dial()).aclose()
    assert len(builders) == 1
    assert builders[0] != threading.get_ident()


async def test_a_plain_address_wants_no_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ssl, "create_default_context")
    async with serving(stay_silent) as port:
        with trio.fail_after(LIMIT_S):
            await (await plain(port)()).aclose()
