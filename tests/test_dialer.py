"""From an address to a stream, on real sockets of this machine: what is wrong is told by its name.

Nothing here runs on the virtual clock: it would fire a deadline before a real socket answers.
"""

import base64
import errno
import logging
import socket
import ssl
import struct
import threading
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from appliance.agent import dialer
from appliance.agent.dialer import TCP_OPTIONS, Address, Dialer
from appliance.errors import AgentUnreachable, Retry, Trouble
from tests.far_end import (
    CERTIFICATES,
    ROOT,
    Behaviour,
    Peer,
    Proxy,
    serving,
    stay_silent,
)

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


# ── through a proxy ──────────────────────────────────────────────────────────────────────────────

NAME, PASSWORD = "kitchen", "p:ss w/rd%"
PAIR = "kitchen:p%3Ass%20w%2Frd%25"


def through(proxy: str, address: Address) -> Dialer:
    return Dialer(address, ca_file=ROOT, proxy=proxy)


def far_away(port: int, *, tls: bool = True) -> Address:
    """A server whose name only the proxy knows."""
    return Address("agent.test", port, "/", tls=tls)


async def greet(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"hello")
    assert await stream.receive_some() in {b"goodbye", b""}


async def test_through_a_proxy_a_server_is_talked_to_over_tls_end_to_end() -> None:
    proxy = Proxy()
    async with serving(greet, "good") as far, serving(proxy) as near:
        with trio.fail_after(LIMIT_S):
            stream = await through(f"http://127.0.0.1:{near}", far_away(far))()
            async with stream:
                assert isinstance(stream, trio.SSLStream)
                assert stream.getpeercert()["subject"] == ((("commonName", "agent.test"),),)
                assert await stream.receive_some() == b"hello"
                await stream.send_all(b"goodbye")
                for level, name, value in TCP_OPTIONS:
                    assert stream.transport_stream.getsockopt(level, name) == value
    (head,) = proxy.heads
    assert head == f"CONNECT agent.test:{far} HTTP/1.1\r\nHost: agent.test:{far}\r\n\r\n"
    assert b"goodbye" not in proxy.carried  # it carries what it cannot read


async def test_the_first_words_of_the_server_are_not_taken_for_the_proxys() -> None:
    async with serving(greet) as far, serving(Proxy(b"200 Connection established")) as near:
        address = far_away(far, tls=False)
        with trio.fail_after(LIMIT_S):
            stream = await through(f"http://127.0.0.1:{near}", address)()
            async with stream:
                assert await stream.receive_some() == b"hello"
                await stream.send_all(b"goodbye")


@pytest.mark.parametrize("answer", [b"200 OK", b"200", b"201 Created\r\nVia: us", b"299 \xff"])
async def test_whatever_begins_with_a_two_opens_the_tunnel(answer: bytes) -> None:
    async with serving(greet) as far, serving(Proxy(answer)) as near:
        with trio.fail_after(LIMIT_S):
            stream = await through(f"http://127.0.0.1:{near}", far_away(far, tls=False))()
            async with stream:
                assert await stream.receive_some() == b"hello"


async def test_a_proxy_gets_its_name_and_password_and_nobody_else_is_told_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = Proxy()
    async with serving(greet, "good") as far, serving(proxy) as near:
        with trio.fail_after(LIMIT_S):
            stream = await through(f"http://{PAIR}@127.0.0.1:{near}", far_away(far))()
            await stream.aclose()
    (head,) = proxy.heads
    lines = head.split("\r\n")
    (given,) = (line for line in lines if line.startswith("Proxy-Authorization: "))
    kind, _, pair = given.removeprefix("Proxy-Authorization: ").partition(" ")
    assert (kind, base64.b64decode(pair).decode()) == ("Basic", f"{NAME}:{PASSWORD}")
    assert pair.encode() not in proxy.carried
    secrets = (PASSWORD, NAME, pair, PAIR)
    assert not any(secret in caplog.text for secret in secrets)


@pytest.mark.parametrize("answer", [b"407 Proxy Authentication Required", b"502 Bad Gateway"])
async def test_a_proxy_that_will_not_is_named_with_its_words_and_without_our_secrets(
    answer: bytes,
) -> None:
    proxy = Proxy(answer + b"\r\nProxy-Authenticate: Basic")
    async with serving(proxy) as near:
        error = await refused(through(f"http://{PAIR}@127.0.0.1:{near}", far_away(443)))
    assert error.trouble is Trouble.UNREACHABLE
    assert error.trouble.retry is Retry.BACKOFF
    assert str(error) == f"the proxy refuses: 'HTTP/1.1 {answer.decode()}'"
    told = "".join(traceback.format_exception(error))
    pair = base64.b64encode(f"{NAME}:{PASSWORD}".encode()).decode()
    assert not any(secret in told for secret in (PASSWORD, NAME, pair, PAIR))


@pytest.mark.parametrize("pair", ["", "@", "kitchen@", "kitchen:@"])
async def test_a_name_without_a_password_is_sent_as_it_is(pair: str) -> None:
    proxy = Proxy(b"403 Forbidden")
    async with serving(proxy) as near:
        await refused(through(f"http://{pair}127.0.0.1:{near}", far_away(443)))
    name = pair.partition("@")[0].partition(":")[0]
    basic = base64.b64encode(f"{name}:".encode()).decode()
    sent = [line for line in proxy.heads[0].split("\r\n") if "Authorization" in line]
    assert sent == ([f"Proxy-Authorization: Basic {basic}"] if pair else [])


async def test_a_proxy_is_asked_for_a_number_in_brackets_where_it_has_colons() -> None:
    proxy = Proxy(b"502 Bad Gateway")
    async with serving(proxy) as near:
        await refused(through(f"http://127.0.0.1:{near}", Address("::1", 8443, "/", tls=True)))
    assert proxy.heads[0].startswith("CONNECT [::1]:8443 HTTP/1.1\r\nHost: [::1]:8443\r\n")


def answering(answer: bytes, *, stays: bool = False) -> Behaviour:
    """A proxy that takes a request, says just this, and leaves or stays."""

    async def behave(stream: trio.abc.Stream) -> None:
        await Peer(stream).request()
        await stream.send_all(answer)
        if stays:
            await trio.sleep_forever()

    return behave


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (answering(b"SSH-2.0-OpenSSH_9.2p1\r\n", stays=True), "the proxy speaks no HTTP: 'SSH-"),
        (answering(b"220 mail.test\r\n\r\n"), "the proxy speaks no HTTP: '220 mail.test"),
        (answering(b"\x15\x03\x01\0\2\2\x46" * 20, stays=True), "the proxy speaks no HTTP: '\\x15"),
        (answering(b"HTTP/2 200 OK\r\n\r\n"), "the proxy speaks no HTTP: 'HTTP/2 200 OK"),
        (answering(b"\r\n\r\n"), "the proxy speaks no HTTP: '"),
        (answering(b"HTTP/1.1\r\n\r\n"), "the proxy refuses: 'HTTP/1.1'"),
        (answering(b"HTTP/1.1 two hundred\r\n\r\n"), "the proxy refuses: 'HTTP/1.1 two hundred'"),
        (answering(b"HTTP/1.1 " + b"\xff" * 300 + b"\r\n\r\n"), "the proxy refuses: 'HTTP/1.1 "),
        (
            answering(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 40_000, stays=True),
            "the proxy speaks no HTTP: 'HTTP/1.1 200 OK",
        ),
        (answering(b""), "the proxy closed before it answered"),
        (answering(b"HTTP/1.1 200 OK\r\n"), "the proxy closed before it answered"),
        (close_at_once, "the proxy "),  # closed, or broke off: as the kernel has it
        (reset, "the proxy broke off: "),
    ],
)
async def test_a_proxy_that_is_none_is_named(behave: Behaviour, words: str) -> None:
    async with serving(behave) as near:
        error = await refused(through(f"http://127.0.0.1:{near}", far_away(443)))
    assert error.trouble is Trouble.UNREACHABLE
    assert str(error).startswith(words)
    assert len(str(error)) < 400


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"SSH"])
async def test_a_proxy_that_says_nothing_more_is_named(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(dialer, "REACH_LIMIT_S", 0.2)
    async with serving(answering(answer, stays=True)) as near:
        error = await refused(through(f"http://127.0.0.1:{near}", far_away(443)))
    assert error.trouble is Trouble.UNREACHABLE
    assert str(error) == "the proxy gives no answer"


async def test_a_proxy_that_is_not_there_is_told_from_a_server_that_is_not(
    names: dict[str, list[str]],
) -> None:
    error = await refused(through(f"http://127.0.0.1:{free_port()}", far_away(443)))
    assert error.trouble is Trouble.UNREACHABLE
    assert str(error).startswith("the proxy: nobody answers there: ")
    error = await refused(through("http://proxy.test:3128", far_away(443)))
    assert error.trouble is Trouble.NO_NETWORK
    assert str(error).startswith("the proxy: the name cannot be looked up: ")


async def test_names_are_looked_up_by_the_proxy_alone(names: dict[str, list[str]]) -> None:
    names.clear()
    names["proxy.test"] = ["127.0.0.1"]
    proxy = Proxy()
    async with serving(shake_hands, "good") as far, serving(proxy) as near:
        with trio.fail_after(LIMIT_S):
            await (await through(f"http://proxy.test:{near}", far_away(far))()).aclose()
    assert len(proxy.heads) == 1


@pytest.mark.parametrize(
    ("certificate", "trouble"),
    [("selfsigned", Trouble.CERTIFICATE), ("early", Trouble.CLOCK_WRONG)],
)
async def test_what_is_wrong_with_a_server_behind_a_proxy_keeps_its_name(
    certificate: str, trouble: Trouble
) -> None:
    async with serving(shake_hands, certificate) as far, serving(Proxy()) as near:
        address = Address("127.0.0.1", far, "/", tls=True)
        error = await refused(through(f"http://127.0.0.1:{near}", address))
    assert error.trouble is trouble


async def test_a_dial_that_is_given_up_leaves_the_proxy_too() -> None:
    ended = trio.Event()

    async def wait_for_the_end(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            pass
        ended.set()

    async with serving(wait_for_the_end) as near:
        with trio.move_on_after(0.1):
            await through(f"http://127.0.0.1:{near}", far_away(443))()
        with trio.fail_after(LIMIT_S):
            await ended.wait()
