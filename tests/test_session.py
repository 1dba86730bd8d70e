"""One connection's life: against servers of every kind of badness, and exact on the virtual clock.

The first half runs over memory streams in virtual time; times compare with `==`. The second half
runs over real sockets on the real clock, with deadlines made short. After each test the key has
to be in no log record, and it may be in no error either.
"""

import logging
import random
import socket
import struct
import traceback
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import (
    MockClock,
    lockstep_stream_pair,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

from appliance.agent import early_access, v1
from appliance.agent import session as session_room
from appliance.agent.dialect import Dialect
from appliance.agent.dialer import Address, Dialer
from appliance.agent.messages import (
    AgentAudioDone,
    AgentText,
    Ask,
    Behavior,
    CannotSay,
    Changed,
    ChangePrompt,
    Closing,
    FromAgent,
    FunctionAnswer,
    FunctionsCancelled,
    FunctionsWanted,
    Latencies,
    Misshapen,
    Remembered,
    Said,
    Say,
    SayRefused,
    Settings,
    SettingsApplied,
    Side,
    TurnSent,
    Unhandled,
    UserStartedSpeaking,
    UserText,
    Warned,
    Welcome,
)
from appliance.agent.messages import Call as FunctionCall
from appliance.agent.session import Session
from appliance.errors import (
    AgentError,
    AgentLost,
    AgentMisspoke,
    AgentRefused,
    AgentUnreachable,
    Retry,
    Trouble,
)
from appliance.sound.companding import compress, expand
from appliance.sound.pcm import Format
from appliance.sound.utterance import EndOfTurn, Utterances
from appliance.standin.agent import ForceEndTurn, Manners, StandinAgent
from tests.far_end import (
    APPLIED,
    BINARY,
    CLOSE,
    PING,
    ROOT,
    TEXT,
    Closed,
    Gone,
    Peer,
    Pong,
    Proxy,
    frame,
    serving,
    stay_silent,
)

KEY = "1f0c5a7d0e"  # of nobody
RATE_HZ = 16000
PIECE = 1280  # bytes of 40 ms
LIMIT_S = 8  # of a test on the real clock; what it waits for takes a fraction of a second
URL = "wss://agent.test/v1/agent/converse"

FLUX: dict[str, object] = {"type": "deepgram", "version": "v2", "model": "flux-general-en"}
NOVA: dict[str, object] = {"type": "deepgram", "model": "nova-3"}
HOLD = Settings(
    rate_hz=RATE_HZ,
    listen={"provider": FLUX},
    think={"provider": {"type": "open_ai", "model": "gpt-4o-mini"}},
    speak={"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
    prompt="Be brief.",
    ends_are_ours=True,
)
NOVA_HOLD = Settings(**{**vars(HOLD), "listen": {"provider": NOVA}})
REFUSED_HOLD = Settings(**{**vars(HOLD), "force_end_turn": False})

USER_TEXT = {"type": "ConversationText", "role": "user", "content": "Hello."}


def sound(seconds: float, *, begins: int = 0) -> bytes:
    """Sound in which each sample is another than its neighbours, and none is zero."""
    samples = range(begins, begins + round(seconds * RATE_HZ))
    return b"".join((1 + n % 32000).to_bytes(2, "little") for n in samples)


class Words:
    """An uplink of what a test puts in; sound goes out in pieces, each as it was put in."""

    def __init__(self, *pieces: bytes | EndOfTurn) -> None:
        self.waiting = deque(pieces)
        self.connections = 0

    def new_connection(self) -> None:
        self.connections += 1

    def fills(self, message_bytes: int) -> bool:
        return bool(self.waiting)

    def read(self, message_bytes: int, now_s: float) -> bytes | EndOfTurn | None:
        assert message_bytes == PIECE
        return self.waiting.popleft() if self.waiting else None


class Call:
    """A session, and all that it hands on."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[trio.abc.Stream]],
        *,
        url: str = URL,
        settings: Settings = HOLD,
        uplink: Words | Utterances | None = None,
        authorization: str | None = f"Token {KEY}",
        authorize: Callable[[], Awaitable[str | None]] | None = None,
        dialect: Dialect = v1,
    ) -> None:
        async def at_once() -> str | None:
            await trio.lowlevel.checkpoint()
            return authorization

        self.words = uplink if isinstance(uplink, Words) else Words()
        self.heard: list[bytes] = []
        self.told: list[FromAgent | TurnSent] = []
        self.bills: list[float | None] = []
        self.error: AgentError | None = None
        self.ended_s = 0.0
        self.over = trio.Event()
        self.hear: Callable[[bytes], None] = self.heard.append
        self._news = trio.Event()
        self.session = Session(
            settings=settings,
            dialect=dialect,
            uplink=uplink or self.words,
            connect=connect,
            address=Address.of(url),
            authorize=authorize or at_once,
            message_s=0.04,
            hear=lambda piece: self.hear(piece),  # noqa: PLW0108  # a test may put in its own
            tell=self._tell,
            billed=self.bills.append,
        )

    async def run(self) -> None:
        """Live, and keep the error that it ended with; our own bugs go through."""
        try:
            await self.session.run()
        except AgentError as error:
            self.error = error
        self.ended_s = trio.current_time()
        self.over.set()
        assert KEY not in "".join(traceback.format_exception(self.error))

    def _tell(self, message: FromAgent | TurnSent) -> None:
        self.told.append(message)
        self._news.set()

    async def until(self, message: FromAgent, limit_s: float = 60.0) -> None:
        """Wait until the agent has said that."""
        with trio.fail_after(limit_s):
            while message not in self.told:
                self._news = trio.Event()
                await self._news.wait()

    def say(self, *pieces: bytes | EndOfTurn) -> None:
        """Something more is to be sent."""
        self.words.waiting.extend(pieces)
        self.session.wake()

    async def ended(self, limit_s: float = 60.0) -> AgentError | None:
        """Why it ended, when it has."""
        with trio.fail_after(limit_s):
            await self.over.wait()
        return self.error

    async def failed(self, limit_s: float = 60.0) -> AgentError:
        """The error that it ended with."""
        error = await self.ended(limit_s)
        assert error is not None
        return error


@asynccontextmanager
async def calling(
    *,
    allowed: bool = True,
    pair: Callable[[], tuple[Any, Any]] = memory_stream_pair,
    **how: Any,
) -> AsyncIterator[tuple[Call, Peer]]:
    """A session that is on its way to a peer who has done nothing yet."""
    near, far = pair()

    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        stream: trio.abc.Stream = near
        return stream

    call, peer = Call(connect, **how), Peer(far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.run)
        if allowed:
            call.session.allow_upgrade()
        yield call, peer
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def talking(**how: Any) -> AsyncIterator[tuple[Call, Peer]]:
    """A session whose settings have just been accepted, by a peer who reads all that comes."""
    async with calling(**how) as (call, peer):
        await peer.welcome()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            await call.until(SettingsApplied())
            yield call, peer
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _the_key_is_in_no_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert KEY not in caplog.text
    assert not any(KEY in repr(vars(record)) for record in caplog.records)


# ── in order ─────────────────────────────────────────────────────────────────────────────────────


async def test_it_is_welcome_then_settings_then_their_acceptance_then_sound(
    autojump_clock: MockClock,
) -> None:
    async with calling(uplink=Words(sound(0.04), sound(0.02))) as (call, peer):
        await peer.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            await trio.sleep(2)
            assert peer.kinds() == []
            await peer.say({"type": "Welcome", "request_id": "fc553ec9"})
            await trio.sleep(1)
            assert peer.kinds() == ["Settings"]
            assert call.session.request_id == "fc553ec9"
            assert call.words.connections == 0
            await trio.sleep(2)
            # The text of a greeting comes before.
            await peer.say(
                {"type": "ConversationText", "role": "assistant", "content": "Hi."}, APPLIED
            )
            await trio.sleep(1)
            assert peer.kinds() == ["Settings", "sound"]
            assert peer.times(bytes) == [5.0, 5.0]
            assert call.words.connections == 1
            assert call.told == [Welcome("fc553ec9"), AgentText("Hi."), SettingsApplied()]
            nursery.cancel_scope.cancel()


async def test_the_upgrade_is_asked_for_at_the_address_with_the_key(
    autojump_clock: MockClock,
) -> None:
    async with calling() as (_, peer):
        lines = (await peer.request()).split("\r\n")
    assert lines[0] == "GET /v1/agent/converse HTTP/1.1"
    assert f"Authorization: Token {KEY}" in lines
    assert "User-Agent: voice-appliance" in lines
    assert not any(line.lower().startswith("sec-websocket-extensions") for line in lines)


async def test_without_a_key_there_is_no_authorization(autojump_clock: MockClock) -> None:
    async with calling(authorization=None) as (_, peer):
        assert "authorization" not in (await peer.request()).lower()


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("wss://agent.deepgram.com/v1/agent/converse", "agent.deepgram.com"),
        ("wss://agent.deepgram.com:443/v1/agent/converse", "agent.deepgram.com"),
        ("wss://agent.test:8443/v1/agent/converse", "agent.test:8443"),
        ("ws://127.0.0.1/v1/agent/converse", "127.0.0.1"),
        ("ws://127.0.0.1:8080/v1/agent/converse", "127.0.0.1:8080"),
        ("ws://[::1]:8080/v1/agent/converse", "[::1]:8080"),
    ],
)
async def test_the_host_header_has_a_port_only_where_it_is_not_the_usual_one(
    autojump_clock: MockClock, url: str, host: str
) -> None:
    async with calling(url=url) as (_, peer):
        assert f"Host: {host}" in (await peer.request()).split("\r\n")


async def test_each_sample_goes_out_once_a_connection_and_in_order(
    autojump_clock: MockClock,
) -> None:
    words = Utterances(Format(RATE_HZ), streams=False)
    whole = sound(3.01)
    words.begin(sendable=True)
    words.hear(whole[:40_000], 0.0)
    async with talking(uplink=words) as (call, peer):
        words.hear(whole[40_000:60_000], 0.0)
        call.session.wake()
        await trio.sleep(1)
        assert peer.sound() == whole[: 60_000 // PIECE * PIECE]  # the last message is filled first
        await peer.stream.aclose()
        assert (await call.failed()).trouble is Trouble.LINK_LOST
    async with talking(uplink=words) as (call, peer):
        words.hear(whole[60_000:], 0.0)
        words.end(trio.current_time())
        call.session.wake()
        await trio.sleep(1)
        assert peer.sound() == whole
        assert peer.kinds() == ["sound", "ForceEndTurn"]
        sizes = [len(came) for _, came in peer.got if isinstance(came, bytes)]
        assert sizes == [PIECE] * (len(whole) // PIECE) + [len(whole) % PIECE]
        assert set(peer.times(bytes)) <= {1.0, trio.current_time() - 1}  # as fast as it goes


async def test_settings_that_are_applied_twice_send_nothing_twice(
    autojump_clock: MockClock,
) -> None:
    words = Utterances(Format(RATE_HZ), streams=False)
    words.begin(sendable=True)
    words.hear(sound(0.4), 0.0)
    async with talking(uplink=words) as (_, peer):
        await trio.sleep(1)
        await peer.say(APPLIED)
        await trio.sleep(1)
        assert peer.sound() == sound(0.4)


async def test_whatever_the_agent_says_is_told_in_its_order(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        call.told.clear()
        await peer.say(
            {"type": "UserStartedSpeaking"},
            USER_TEXT,
            {"type": "Clairvoyance", "vision": [1, 2]},
            {"type": "Warning", "code": "SLOW_THINK_REQUEST", "description": "slow"},
            b"\1\2",
            {"type": "AgentAudioDone"},
        )
        await trio.sleep(1)
        assert call.told == [
            UserStartedSpeaking(),
            UserText("Hello."),
            Unhandled("Clairvoyance"),
            Warned("SLOW_THINK_REQUEST", "slow"),
            AgentAudioDone(),
        ]
        assert not call.over.is_set()


async def test_what_has_another_shape_is_told_in_the_journal_and_passed_over(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with talking() as (call, peer):
        call.told.clear()
        await peer.say({"type": "ConversationText", "role": "system", "content": "secret"})
        await peer.send(frame(TEXT, b"[]"))
        await peer.say({"type": "AgentAudioDone"})
        await trio.sleep(1)
        assert isinstance(call.told[0], Misshapen)
        assert call.told[-1] == AgentAudioDone()
        assert not call.over.is_set()
    assert "Invalid enum value 'system'" in caplog.text
    assert "it is passed over" in caplog.text
    assert "secret" not in caplog.text


async def test_who_is_welcomed_twice_says_the_settings_once(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        await peer.say({"type": "Welcome", "request_id": "another"})
        await trio.sleep(1)
        assert "Settings" not in peer.kinds(), "they were read before"
        assert call.session.request_id != "another"


async def test_settings_that_are_accepted_twice_are_news_once(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        call.told.clear()
        await peer.say(APPLIED)
        await trio.sleep(1)
        assert call.told == []
        assert call.words.connections == 1


async def test_half_a_message_wakes_nobody(autojump_clock: MockClock) -> None:
    uplink = Utterances(Format(16000), streams=False)
    async with talking(uplink=uplink) as (call, peer):
        uplink.begin(sendable=True)
        for heard_ms in (20, 40):
            uplink.hear(sound(0.02), trio.current_time())
            call.session.heard()
            await trio.sleep(1)
            assert bool(peer.sound()) is (heard_ms == 40)


async def test_sound_is_handed_on_as_it_comes_odd_pieces_too(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        pieces = [b"\1", b"\2\3\4", b"\5" * 70_001, b"\6\7"]
        await peer.say(*pieces)
        await trio.sleep(1)
        assert call.heard == pieces


async def test_a_message_in_parts_is_one_message(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        parts = [b"\x02\x02\1\2", frame(PING, b"x"), b"\x00\x01\3", b"\x80\x01\4"]
        for part in parts:
            await peer.send(part)
        await trio.sleep(1)
        assert call.heard == [b"\1\2\3\4"]
        assert [came for _, came in peer.got] == [Pong(b"x")]


async def test_a_thousand_messages_at_once_are_all_taken_and_pings_among_them_answered(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (call, peer):
        await peer.send(frame(BINARY, b"\1\2") * 1000 + frame(PING, b"still here?"))
        await trio.sleep(1)
        assert len(call.heard) == 1000
        assert peer.got == [(0.0, Pong(b"still here?"))]


# ── signs of life ────────────────────────────────────────────────────────────────────────────────


async def test_a_sign_of_life_goes_out_every_four_seconds(autojump_clock: MockClock) -> None:
    async with talking() as (_, peer):
        await trio.sleep(21)
        assert peer.got == [(at_s, {"type": "KeepAlive"}) for at_s in (4, 8, 12, 16, 20)]


async def test_signs_of_life_keep_their_time_while_sound_flows(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        for _ in range(300):
            call.say(sound(0.04))
            await trio.sleep(0.04)
        assert peer.times("KeepAlive") == [4, 8]
        assert len(peer.times(bytes)) == 300


async def test_nothing_but_settings_goes_out_before_they_are_accepted(
    autojump_clock: MockClock,
) -> None:
    async with calling(uplink=Words(sound(0.04), EndOfTurn(1))) as (call, peer):
        await peer.accept()
        await peer.say({"type": "Welcome", "request_id": ""})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            await trio.sleep(5)
            call.session.end_turn_again()
            await trio.sleep(4)
            assert peer.kinds() == ["Settings"]
            await peer.say(APPLIED)
            await trio.sleep(4)
            assert peer.kinds() == ["Settings", "sound", "ForceEndTurn", "KeepAlive"]
            assert peer.times("KeepAlive") == [12]
            nursery.cancel_scope.cancel()


async def test_signs_of_life_do_not_pile_up_for_a_peer_who_does_not_read(
    autojump_clock: MockClock,
) -> None:
    async with calling(pair=lockstep_stream_pair) as (call, peer):
        await peer.welcome()
        call.say(*(sound(0.04) for _ in range(3)))
        await trio.sleep(17)
        assert call.told[-1] == SettingsApplied()
        came = [await peer.next() for _ in range(4)]
        assert came == [sound(0.04), {"type": "KeepAlive"}, sound(0.04), sound(0.04)]
        assert await peer.next() == {"type": "KeepAlive"}
        assert trio.current_time() == 20  # the timer went on by itself


# ── hanging up ───────────────────────────────────────────────────────────────────────────────────


async def test_hanging_up_ends_it_with_a_close_frame(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        await trio.sleep(1)
        call.session.hang_up()
        assert await call.ended() is None
        assert peer.kinds() == ["close 1000", "gone"]
        assert call.ended_s == 1
        assert call.bills == [0.0, None]


async def test_a_peer_who_never_answers_the_close_frame_is_left_after_a_second(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (call, peer):
        peer.answers_close = False
        call.session.hang_up()
        assert await call.ended() is None
        assert call.ended_s == 1
        await wait_all_tasks_blocked()
        assert [came for _, came in peer.got] == [Closed(1000), Gone()]
        assert call.bills == [0.0, None]


@asynccontextmanager
async def stalled() -> AsyncIterator[tuple[Call, Peer]]:
    """A conversation whose peer has stopped reading, in the midst of sound."""
    async with calling(pair=lockstep_stream_pair) as (call, peer):
        await peer.welcome()
        call.say(*(sound(0.04) for _ in range(100)))
        await trio.sleep(10)
        yield call, peer


@pytest.mark.parametrize(
    ("calls", "took_s"),
    [
        ([(0, 1.0)], 1.0),
        ([(0, 0.3)], 0.3),
        ([(0, 60.0)], 1.0),
        ([(0, 1.0), (0.25, 0.5)], 0.75),
        ([(0, 1.0), (0.75, 0.5)], 1.0),
        ([(0, 0.5), (0.25, 1.0)], 0.5),
        ([(0, 1.0), (0, 0.3)], 0.3),
        ([(0, 1.0), (0.25, 0.5), (0.125, 0.0)], 0.375),
    ],
)
async def test_the_close_of_a_stalled_connection_is_bounded_and_can_only_be_shortened(
    autojump_clock: MockClock, calls: list[tuple[float, float]], took_s: float
) -> None:
    async with stalled() as (call, _):
        for after_s, limit_s in calls:
            await trio.sleep(after_s)
            call.session.hang_up(limit_s)
        assert await call.ended() is None
        assert call.ended_s == 10 + took_s
        assert call.bills == [0.0, None]


async def test_nothing_is_heard_after_hanging_up(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        peer.answers_close = False
        await peer.say(b"\1\2")
        await trio.sleep(0.5)
        told = list(call.told)
        call.session.hang_up()
        await peer.say(b"\3\4", USER_TEXT)
        await peer.say(b"\5\6", {"type": "UserStartedSpeaking"}, {"type": "Error", "code": "X"})
        await trio.sleep(0.5)
        await peer.say(b"\7\7")
        assert await call.ended() is None
        assert call.heard == [b"\1\2"]
        assert call.told == told


async def test_hanging_up_from_within_what_is_told_ends_it_there(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (call, peer):

        def enough(piece: bytes) -> None:
            call.heard.append(piece)
            call.session.hang_up()

        call.hear = enough
        await peer.say(b"\1\2", b"\3\4")
        assert await call.ended() is None
        assert call.heard == [b"\1\2"]


@pytest.mark.parametrize(
    "late",
    [
        frame(PING, b"are you there?"),  # trio-websocket would answer it, and may not any more
        frame(TEXT, b"\xff"),
        b"\xff\xff\xff\xff",
        frame(CLOSE, b"\3"),
    ],
)
async def test_whatever_comes_while_it_is_closed_is_no_trouble(
    autojump_clock: MockClock, late: bytes
) -> None:
    async with talking() as (call, peer):
        peer.answers_close = False
        call.session.hang_up()
        await trio.sleep(0.5)
        await peer.send(late)
        assert await call.ended() is None
        assert peer.kinds()[0] == "close 1000"


async def test_nothing_is_sent_after_hanging_up(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        peer.answers_close = False
        call.session.hang_up()
        call.say(sound(0.04), EndOfTurn(1))
        await call.ended()
        await wait_all_tasks_blocked()
        assert peer.kinds() == ["close 1000", "gone"]


# ── before the bill begins ───────────────────────────────────────────────────────────────────────


async def test_nothing_is_asked_for_before_it_is_allowed(autojump_clock: MockClock) -> None:
    async with calling(allowed=False) as (call, peer):
        with trio.move_on_after(100):
            await peer.stream.receive_some()
            raise AssertionError
        assert call.bills == []
        call.session.allow_upgrade()
        await peer.accept()
        await trio.sleep(0.5)
        assert call.bills == [100.0]


async def test_the_wait_to_be_allowed_takes_nothing_from_the_time_to_connect(
    autojump_clock: MockClock,
) -> None:
    _, far = memory_stream_pair()

    async def slowly() -> trio.abc.Stream:
        await trio.sleep(3)
        return far

    call = Call(slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.run)
        await trio.sleep(50)
        call.session.allow_upgrade()
        error = await call.failed()
    assert error.trouble is Trouble.SILENT
    assert call.ended_s == 50 + 7


async def test_a_bill_begins_when_the_upgrade_was_asked_for_once_it_is_granted(
    autojump_clock: MockClock,
) -> None:
    async with calling() as (call, peer):
        await trio.sleep(3)
        assert call.bills == []
        await peer.accept()
        await trio.sleep(1)
        assert call.bills == [0.0]
        call.session.hang_up(0.5)
        await call.ended()
        assert call.bills == [0.0, None]


async def test_an_upgrade_that_was_refused_costs_nothing(autojump_clock: MockClock) -> None:
    async with calling() as (call, peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n")
        await call.failed()
        assert call.bills == [None]


async def test_hanging_up_while_it_dials_ends_the_dial(autojump_clock: MockClock) -> None:
    given_up = trio.Event()

    async def never() -> trio.abc.Stream:
        try:
            await trio.sleep_forever()
        finally:
            given_up.set()
        raise AssertionError

    call = Call(never)
    call.session.allow_upgrade()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.run)
        await trio.sleep(2)
        call.session.hang_up()
        assert await call.ended() is None
    assert given_up.is_set()
    assert call.ended_s == 2
    assert call.bills == []


@pytest.mark.parametrize("then_allowed", [False, True])
async def test_hanging_up_before_it_is_allowed_asks_for_nothing(
    autojump_clock: MockClock, then_allowed: bool
) -> None:
    async with calling(allowed=False) as (call, peer):
        await trio.sleep(2)
        call.session.hang_up()
        if then_allowed:
            call.session.allow_upgrade()
        assert await peer.stream.receive_some() == b""
        assert await call.ended() is None
        assert call.ended_s == 2
        assert call.bills == []


async def test_hanging_up_in_the_turn_in_which_it_was_allowed_asks_for_nothing(
    autojump_clock: MockClock,
) -> None:
    async with calling(allowed=False) as (call, peer):
        await trio.sleep(2)
        call.session.allow_upgrade()
        call.session.hang_up()
        assert await peer.stream.receive_some() == b""
        assert await call.ended() is None
        assert call.bills == []


async def test_hanging_up_before_it_runs_leaves_nothing_to_do(autojump_clock: MockClock) -> None:
    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise AssertionError

    call = Call(connect)
    call.session.allow_upgrade()
    call.session.hang_up()
    await call.run()
    assert call.error is None
    assert call.bills == []


async def test_hanging_up_before_the_upgrade_is_answered_lets_go_at_once(
    autojump_clock: MockClock,
) -> None:
    async with calling() as (call, peer):
        await peer.request()
        await trio.sleep(2)
        call.session.hang_up()
        assert await call.ended() is None
        assert call.ended_s == 2
        assert call.bills == [None]


async def test_a_dial_that_fails_fails_the_session_with_its_own_words(
    autojump_clock: MockClock,
) -> None:
    why = AgentUnreachable(Trouble.NO_NETWORK, "the name cannot be looked up")

    async def connect() -> trio.abc.Stream:
        await trio.sleep(1)
        raise why

    call = Call(connect)
    await call.run()
    assert call.error is why
    assert call.bills == []


async def test_a_dial_that_takes_too_long_is_given_up(autojump_clock: MockClock) -> None:
    async def never() -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    call = Call(never)
    await call.run()
    assert call.error is not None
    assert call.error.trouble is Trouble.SILENT
    assert str(call.error) == "no connection to agent.test within 10 s"
    assert call.ended_s == 10


# ── the end of a turn ────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def standing_in(
    manners: Manners, settings: Settings = HOLD, **how: Any
) -> AsyncIterator[tuple[Call, Utterances, StandinAgent]]:
    """A session with the stand-in agent, and real utterances."""
    agent = StandinAgent(manners)
    near, far = memory_stream_pair()

    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    words = Utterances(Format(RATE_HZ), streams=False)
    call = Call(connect, uplink=words, settings=settings, **how)
    call.session.allow_upgrade()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.serve_stream, far)
        nursery.start_soon(call.run)
        yield call, words, agent
        nursery.cancel_scope.cancel()


def speak(call: Call, words: Utterances, seconds: float) -> bytes:
    """Say something whole, now."""
    said = sound(seconds)
    words.begin(sendable=True)
    words.hear(said, trio.current_time())
    words.end(trio.current_time())
    call.session.wake()
    return said


async def test_the_end_of_a_turn_is_said_after_its_last_sample_and_told(
    autojump_clock: MockClock,
) -> None:
    async with standing_in(Manners()) as (call, words, agent):
        said = speak(call, words, 1.5)
        await trio.sleep(5)
        (connection,) = agent.connections
        assert connection.heard == said
        assert [one["type"] for one in connection.messages] == [
            "Settings",
            "ForceEndTurn",
            "KeepAlive",
        ]
        assert TurnSent(1) in call.told
        assert UserText("you spoke for 1.5 s") in call.told
        assert call.told.index(TurnSent(1)) < call.told.index(UserText("you spoke for 1.5 s"))
        assert len(b"".join(call.heard)) == len(said)
        call.session.hang_up()
        assert await call.ended() is None
        await wait_all_tasks_blocked()
        assert connection.close_code == 1000
        assert not call.session.end_turn_refused


async def test_after_the_end_was_said_there_is_no_more_sound(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        call.say(sound(0.04), EndOfTurn(1))
        await trio.sleep(3.5)
        assert peer.kinds() == ["sound", "ForceEndTurn"]
        assert call.told[-1] == TurnSent(1)


async def test_where_the_end_cannot_be_said_silence_is_sent_until_the_text(
    autojump_clock: MockClock,
) -> None:
    async with talking(settings=NOVA_HOLD) as (call, peer):
        call.say(sound(0.04), EndOfTurn(1))
        await trio.sleep(0.99)
        await peer.say(USER_TEXT)
        await trio.sleep(10)
        assert call.told[-2:] == [TurnSent(1), UserText("Hello.")]
        pieces = [came for _, came in peer.got if isinstance(came, bytes)]
        assert pieces == [sound(0.04)] + [bytes(PIECE)] * 25
        paced = peer.times(bytes)[1:]
        assert paced == pytest.approx([n * 0.04 for n in range(25)])
        assert "ForceEndTurn" not in peer.kinds()
        assert not call.session.end_turn_refused


async def test_silence_without_a_text_lasts_six_seconds(autojump_clock: MockClock) -> None:
    async with talking(settings=NOVA_HOLD) as (call, peer):
        call.say(sound(0.04), EndOfTurn(1))
        await trio.sleep(20)
        zeros = peer.times(bytes)[1:]
        assert len(zeros) == 150
        assert zeros[-1] == pytest.approx(5.96)


async def test_nova_ends_a_turn_by_the_silence(autojump_clock: MockClock) -> None:
    async with standing_in(Manners(), NOVA_HOLD) as (call, words, agent):
        said = speak(call, words, 1.5)
        await trio.sleep(5)
        assert UserText("you spoke for 1.5 s") in call.told
        heard = agent.connections[0].heard
        assert heard.startswith(said)
        assert not any(heard[len(said) :])
        assert 0.5 <= (len(heard) - len(said)) / (2 * RATE_HZ) <= 0.6


async def test_a_server_that_warns_of_the_end_gets_silence_and_is_remembered(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (call, peer):
        call.say(sound(0.04), EndOfTurn(1))
        await trio.sleep(0.5)
        await peer.say({"type": "Warning", "code": "FORCE_END_TURN_UNSUPPORTED"})
        await trio.sleep(0.99)
        assert call.session.end_turn_refused
        await peer.say(USER_TEXT)
        await trio.sleep(1.01)
        zeros = peer.times(bytes)[1:]
        assert zeros == pytest.approx([0.5 + n * 0.04 for n in range(25)])
        # The next turn ends so from the start.
        call.say(sound(0.04), EndOfTurn(2))
        await trio.sleep(0.5)
        assert peer.kinds() == ["sound", "ForceEndTurn", "sound"]
        assert peer.times(bytes)[27] == 2.5
        assert not call.over.is_set()


async def test_a_server_that_warns_and_never_answers_gets_six_seconds_of_silence(
    autojump_clock: MockClock,
) -> None:
    async with standing_in(Manners(force_end_turn=ForceEndTurn.WARN)) as (call, words, agent):
        said = speak(call, words, 1.0)
        await trio.sleep(20)
        assert len(agent.connections[0].heard) - len(said) == 150 * PIECE
        assert call.session.end_turn_refused


async def test_a_server_that_cannot_parse_the_end_is_remembered_and_dialled_at_once(
    autojump_clock: MockClock,
) -> None:
    async with standing_in(Manners(force_end_turn=ForceEndTurn.UNPARSABLE)) as (call, words, _):
        speak(call, words, 1.0)
        error = await call.failed()
        assert isinstance(error, AgentLost)
        assert error.trouble is Trouble.END_TURN_REFUSED
        assert error.trouble.retry is Retry.AT_ONCE
        assert call.session.end_turn_refused
        assert call.ended_s < 1.5


@pytest.mark.parametrize("code", ["UNPARSABLE_CLIENT_MESSAGE", "INVALID_SETTINGS"])
@pytest.mark.parametrize(
    ("settings", "trouble", "remembered"),
    [
        (HOLD, Trouble.END_TURN_REFUSED, True),
        (REFUSED_HOLD, Trouble.SETTINGS_REFUSED, False),  # it was not the threshold, then
        (NOVA_HOLD, Trouble.SETTINGS_REFUSED, False),
    ],
)
async def test_settings_that_are_refused_may_be_so_for_their_threshold_once(
    autojump_clock: MockClock, settings: Settings, code: str, trouble: Trouble, remembered: bool
) -> None:
    async with calling(settings=settings) as (call, peer):
        await peer.accept()
        await peer.say({"type": "Welcome", "request_id": ""})
        await peer.next()
        await peer.say({"type": "Error", "code": code, "description": "unknown field"})
        error = await call.failed()
        assert error.trouble is trouble
        assert str(error) == f"the agent failed: {code}: unknown field"
        assert call.session.end_turn_refused is remembered


async def test_what_cannot_be_parsed_before_an_end_was_said_is_not_for_the_end(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (call, peer):
        await peer.say({"type": "Error", "code": "UNPARSABLE_CLIENT_MESSAGE"})
        assert (await call.failed()).trouble is Trouble.SETTINGS_REFUSED
        assert not call.session.end_turn_refused


async def test_the_end_once_more_comes_after_a_second_of_paced_silence(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (call, peer):
        call.say(sound(0.04), EndOfTurn(1))
        await trio.sleep(2.5)
        call.session.end_turn_again()
        await trio.sleep(3)
        assert peer.kinds() == ["sound", "ForceEndTurn", "sound", "ForceEndTurn", "KeepAlive"]
        assert peer.times(bytes)[1:] == pytest.approx([2.5 + n * 0.04 for n in range(25)])
        assert peer.times("ForceEndTurn") == pytest.approx([0.0, 3.5])
        assert peer.sound() == sound(0.04) + bytes(25 * PIECE)


async def test_the_text_stops_the_silence_and_the_end_once_more(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        call.say(sound(0.04), EndOfTurn(1))
        await trio.sleep(2.5)
        call.session.end_turn_again()
        await trio.sleep(0.1)
        await peer.say(USER_TEXT)
        await trio.sleep(1.3)
        assert peer.kinds() == ["sound", "ForceEndTurn", "sound"]
        assert len(peer.times(bytes)) == 1 + 3


async def test_the_end_once_more_is_not_said_where_it_cannot_be(autojump_clock: MockClock) -> None:
    async with talking(settings=NOVA_HOLD) as (call, peer):
        call.say(sound(0.04), EndOfTurn(1))
        await trio.sleep(2.5)
        call.session.end_turn_again()
        await trio.sleep(7)
        assert len(peer.times(bytes)) == 1 + 150
        assert "ForceEndTurn" not in peer.kinds()


@pytest.mark.parametrize("settings", [HOLD, NOVA_HOLD])
async def test_new_sound_takes_the_place_of_silence(
    autojump_clock: MockClock, settings: Settings
) -> None:
    async with talking(settings=settings) as (call, peer):
        call.say(EndOfTurn(1))
        await trio.sleep(0.49)
        call.session.end_turn_again()
        await trio.sleep(0.1)
        zeros = len(peer.times(bytes))
        assert zeros > 0
        call.say(sound(0.04))
        await trio.sleep(3)
        assert peer.sound() == bytes(zeros * PIECE) + sound(0.04)
        assert peer.kinds().count("ForceEndTurn") == (settings is HOLD)


# ── the key ──────────────────────────────────────────────────────────────────────────────────────


async def test_the_key_is_asked_for_before_anybody_is_dialled(autojump_clock: MockClock) -> None:
    steps: list[str] = []
    near, far = memory_stream_pair()

    async def authorize() -> str:
        steps.append("key")
        await trio.sleep(2)
        return f"Bearer {KEY}"

    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        steps.append(f"dial at {trio.current_time():.0f} s")
        return near

    call = Call(connect, authorize=authorize)
    call.session.allow_upgrade()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.run)
        assert f"Authorization: Bearer {KEY}" in (await Peer(far).request()).split("\r\n")
        nursery.cancel_scope.cancel()
    assert steps == ["key", "dial at 2 s"]


async def never_dialled() -> trio.abc.Stream:
    await trio.lowlevel.checkpoint()
    raise AssertionError


async def test_without_a_key_nobody_is_dialled(autojump_clock: MockClock) -> None:
    why = AgentRefused(Trouble.KEY_COMMAND, "the command printed nothing")

    async def authorize() -> str:
        await trio.lowlevel.checkpoint()
        raise why

    call = Call(never_dialled, authorize=authorize)
    call.session.allow_upgrade()
    await call.run()
    assert call.error is why
    assert call.bills == []


async def test_a_key_that_does_not_come_takes_its_time_from_the_connection(
    autojump_clock: MockClock,
) -> None:
    async def authorize() -> str:
        await trio.sleep(7)
        return KEY

    async def connect() -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    call = Call(connect, authorize=authorize)
    call.session.allow_upgrade()
    await call.run()
    assert call.error is not None
    assert call.error.trouble is Trouble.SILENT
    assert call.ended_s == 10


async def test_hanging_up_while_the_key_is_fetched_ends_it(autojump_clock: MockClock) -> None:
    given_up = trio.Event()

    async def authorize() -> str:
        try:
            await trio.sleep_forever()
        finally:
            given_up.set()
        raise AssertionError

    call = Call(never_dialled, authorize=authorize)
    call.session.allow_upgrade()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.run)
        await trio.sleep(2)
        call.session.hang_up()
        assert await call.ended() is None
    assert given_up.is_set()
    assert call.ended_s == 2
    assert call.bills == []


# ── words of ours ────────────────────────────────────────────────────────────────────────────────


async def test_words_go_out_before_the_sound_that_waits_and_in_their_order(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (call, peer):
        call.say(sound(0.04), EndOfTurn(1))
        call.session.say(ChangePrompt("Be kind."))
        call.session.say(Say("One moment.", Behavior.QUEUE))
        call.session.say(FunctionAnswer("fc_1", "weather", "sunny"))
        call.session.say(Ask("What time is it?"))
        await trio.sleep(1)
        assert peer.kinds() == [
            "UpdatePrompt",
            "InjectAgentMessage",
            "FunctionCallResponse",
            "InjectUserMessage",
            "sound",
            "ForceEndTurn",
        ]


async def test_what_the_dialect_has_no_words_for_is_told_at_once_and_harms_nothing(
    autojump_clock: MockClock,
) -> None:
    async with early_talking() as (call, peer):
        with pytest.raises(CannotSay, match="Ask"):
            call.session.say(Ask("What time is it?"))
        await trio.sleep(1)
        assert peer.kinds() == []
        assert not call.over.is_set()


async def test_words_that_nobody_takes_do_not_pile_up_for_ever(autojump_clock: MockClock) -> None:
    async with stalled() as (call, _):
        for _ in range(session_room.MESSAGES_MAX + 2):
            call.session.say(ChangePrompt("Be kind."))
        error = await call.failed()
        assert error.trouble is Trouble.LINK_LOST
        assert str(error) == "64 messages could not be sent"


async def test_news_of_every_kind_is_told(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        call.told.clear()
        await peer.say(
            {
                "type": "FunctionCallRequest",
                "functions": [{"id": "fc_1", "name": "weather", "arguments": "{}"}],
            },
            {"type": "FunctionCallCancelled", "functions": [{"id": "fc_1", "name": "weather"}]},
            {"type": "History", "role": "user", "content": "Hello."},
            {"type": "LatencyReport", "total_latency": 1.5},
            {"type": "InjectionRefused", "message": "busy"},
            {"type": "PromptUpdated"},
        )
        await trio.sleep(1)
        assert call.told == [
            FunctionsWanted((FunctionCall("fc_1", "weather"),)),
            FunctionsCancelled(("fc_1",)),
            Remembered(Said(Side.USER, "Hello.")),
            Latencies({"total_latency": 1.5}),
            SayRefused("busy"),
            Changed("prompt"),
        ]


# ── thin links ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
async def test_companded_sound_is_half_as_many_bytes_both_ways(
    autojump_clock: MockClock, encoding: str
) -> None:
    settings = replace(HOLD, encoding=encoding)
    whole = sound(0.1)  # two messages and a half
    words = Words(whole[:PIECE], whole[PIECE : 2 * PIECE], whole[2 * PIECE :], EndOfTurn(1))
    async with talking(settings=settings, uplink=words) as (call, peer):
        await trio.sleep(1)
        assert peer.sound() == compress(whole, encoding)
        assert [len(came) for _, came in peer.got if isinstance(came, bytes)] == [640, 640, 320]
        codes = bytes(range(256))
        await peer.say(codes, codes[:1], codes[1:4])
        await trio.sleep(1)
        # However odd its pieces, sound comes out in whole samples.
        assert call.heard == [
            expand(codes, encoding),
            expand(codes[:1], encoding),
            expand(codes[1:4], encoding),
        ]


@pytest.mark.parametrize(("encoding", "zero"), [("mulaw", 0xFF), ("alaw", 0xD5)])
async def test_the_silence_that_ends_a_turn_is_companded_too(
    autojump_clock: MockClock, encoding: str, zero: int
) -> None:
    settings = replace(NOVA_HOLD, encoding=encoding)
    async with talking(settings=settings, uplink=Words(EndOfTurn(1))) as (_, peer):
        await trio.sleep(0.99)
        await peer.say(USER_TEXT)
        await trio.sleep(1)
        pieces = [came for _, came in peer.got if isinstance(came, bytes)]
        assert pieces == [bytes([zero]) * (PIECE // 2)] * 25


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
@pytest.mark.parametrize("early", [False, True])
async def test_a_whole_turn_over_a_thin_link(
    autojump_clock: MockClock, encoding: str, early: bool
) -> None:
    settings = replace(EARLY if early else HOLD, encoding=encoding)
    how: dict[str, Any] = {"url": EARLY_URL, "dialect": early_access} if early else {}
    async with standing_in(Manners(), settings, **how) as (call, words, agent):
        said = speak(call, words, 1.5)
        await trio.sleep(5)
        (connection,) = agent.connections
        assert connection.heard.startswith(compress(said, encoding))
        assert UserText("you spoke for 1.5 s") in call.told
        # It repeats what it heard; companding what was companded changes nothing any more.
        assert b"".join(call.heard).startswith(expand(compress(said, encoding), encoding))


# ── the early-access dialect ─────────────────────────────────────────────────────────────────────

EARLY_URL = "wss://agent.test/agent"
EARLY = Settings(rate_hz=RATE_HZ, prompt="Be brief.", ends_are_ours=True)


@asynccontextmanager
async def early_talking(settings: Settings = EARLY) -> AsyncIterator[tuple[Call, Peer]]:
    """A session in the other dialect, whose settings have been accepted."""
    how: dict[str, Any] = {"dialect": early_access, "url": EARLY_URL, "settings": settings}
    async with calling(**how) as (call, peer):
        await peer.accept()
        assert isinstance(await peer.next(), dict)
        await peer.say(APPLIED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            await call.until(SettingsApplied())
            yield call, peer
            nursery.cancel_scope.cancel()


async def test_in_early_access_the_settings_do_not_wait_for_the_welcome(
    autojump_clock: MockClock,
) -> None:
    how: dict[str, Any] = {"dialect": early_access, "url": EARLY_URL, "settings": EARLY}
    async with calling(uplink=Words(sound(0.04)), **how) as (call, peer):
        head = await peer.accept()
        assert head.startswith("GET /agent HTTP/1.1\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            await trio.sleep(2)
            assert peer.kinds() == ["SettingsConfiguration"]
            await peer.say({"type": "Welcome", "session_id": "fc553ec9"})
            await trio.sleep(1)
            # … which changes nothing, before or after they are applied.
            assert peer.kinds() == ["SettingsConfiguration"]
            assert call.session.request_id == "fc553ec9"
            await peer.say(APPLIED)
            await trio.sleep(1)
            assert peer.kinds() == ["SettingsConfiguration", "sound"]
            assert peer.times(bytes) == [3.0]
            assert peer.times("SettingsConfiguration") == [0.0]
            nursery.cancel_scope.cancel()


async def test_in_early_access_history_and_greeting_go_with_the_context(
    autojump_clock: MockClock,
) -> None:
    how: dict[str, Any] = {"dialect": early_access, "url": EARLY_URL}
    settings = replace(
        EARLY,
        history=(Said(Side.USER, "My name is Ada."), Said(Side.AGENT, "Hello, Ada.")),
        greeting="There you are again.",
    )
    async with calling(settings=settings, **how) as (_, peer):
        await peer.accept()
        said = await peer.next()
        assert isinstance(said, dict)
        assert said["context"] == {
            "messages": [
                {"role": "user", "content": "My name is Ada."},
                {"role": "assistant", "content": "Hello, Ada."},
                {"role": "assistant", "content": "There you are again."},
            ],
            "replay": True,
        }


async def test_in_early_access_a_greeting_is_heard_before_anybody_spoke(
    autojump_clock: MockClock,
) -> None:
    settings = replace(EARLY, greeting="Good morning.")
    how: dict[str, Any] = {"url": EARLY_URL, "dialect": early_access}
    async with standing_in(Manners(), settings, **how) as (call, _, agent):
        await trio.sleep(5)
        assert AgentText("Good morning.") in call.told
        assert b"".join(call.heard)
        assert agent.connections[0].messages[0]["type"] == "SettingsConfiguration"


async def test_in_early_access_silence_ends_a_turn(autojump_clock: MockClock) -> None:
    how: dict[str, Any] = {"url": EARLY_URL, "dialect": early_access}
    async with standing_in(Manners(), EARLY, **how) as (call, words, agent):
        said = speak(call, words, 1.5)
        await trio.sleep(5)
        (connection,) = agent.connections
        assert [one["type"] for one in connection.messages] == [
            "SettingsConfiguration",
            "KeepAlive",
        ]
        assert UserText("you spoke for 1.5 s") in call.told
        assert connection.heard.startswith(said)
        tail = connection.heard[len(said) :]
        assert not any(tail)
        assert 0.5 <= len(tail) / (2 * RATE_HZ) <= 0.6
        assert not call.session.end_turn_refused
        call.session.hang_up()
        assert await call.ended() is None
        await wait_all_tasks_blocked()
        assert connection.close_code == 1000


async def test_in_early_access_silence_without_a_text_lasts_six_seconds_and_is_not_repeated(
    autojump_clock: MockClock,
) -> None:
    async with early_talking() as (call, peer):
        call.say(sound(0.04), EndOfTurn(1))
        await trio.sleep(2.5)
        call.session.end_turn_again()
        await trio.sleep(20)
        assert len(peer.times(bytes)) == 1 + 150
        assert peer.sound() == sound(0.04) + bytes(150 * PIECE)
        assert set(peer.kinds()) == {"sound", "KeepAlive"}
        assert not call.over.is_set()


@pytest.mark.parametrize(
    ("said", "trouble", "words"),
    [
        (
            {"message": "We waited too long for a websocket message."},
            Trouble.LINK_LOST,
            "We waited too long for a websocket message.",
        ),
        ({"message": "x" * 500}, Trouble.SERVER_ERROR, "x" * 200),
        ({"description": "as the SDK has it"}, Trouble.SERVER_ERROR, "as the SDK has it"),
        ({}, Trouble.SERVER_ERROR, ""),
    ],
)
async def test_in_early_access_every_error_ends_it(
    autojump_clock: MockClock, said: dict[str, Any], trouble: Trouble, words: str
) -> None:
    async with early_talking() as (call, peer):
        await peer.say({"type": "Error", **said})
        error = await call.failed()
        assert isinstance(error, AgentLost)
        assert error.trouble is trouble
        assert str(error).endswith(f": {words}")
        assert peer.kinds()[0] == "close 1000"


async def test_in_early_access_a_warning_ends_nothing(autojump_clock: MockClock) -> None:
    async with early_talking() as (call, peer):
        code = "API_CUTOVER_SOON"
        await peer.say({"type": "Warning", "code": code, "description": "It goes away."})
        await peer.say({"type": "Close"})
        await trio.sleep(3)
        assert call.told[-2:] == [Warned(code, "It goes away."), Closing()]
        assert not call.over.is_set()
        await peer.close(1000)
        assert (await call.failed()).trouble is Trouble.LINK_LOST


# ── what servers do wrong ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (frame(TEXT, b'{"type": "Welc'), 'the agent sent \'{"type": "Welc\': '),
        (frame(TEXT, b'{"a":' + b"[" * 90), f"the agent sent '{{\"a\":{'[' * 75}': "),
        (frame(TEXT, b"\xff\xfe"), "the connection is no WebSocket any more: 1007 "),
        (frame(BINARY, bytes(5 * 2**20)), "the connection is no WebSocket any more: 1009 "),
        (frame(TEXT, b" " * 5 * 2**20), "the connection is no WebSocket any more: 1009 "),
        (frame(3, b"reserved"), "the connection is no WebSocket any more: 1002 "),
        (b"\xc1\x00", "the connection is no WebSocket any more: 1002 "),
        (b"HTTP/1.1 200 OK\r\n\r\n", "the connection is no WebSocket any more: 1002 "),
        (frame(CLOSE, b"\3"), "the connection is no WebSocket any more: 1002 "),
    ],
)
async def test_garbage_in_a_conversation_is_named_so(
    autojump_clock: MockClock, bad: bytes, words: str
) -> None:
    async with talking() as (call, peer):
        await peer.send(bad)
        error = await call.failed(limit_s=2)
        assert isinstance(error, AgentMisspoke)
        assert error.trouble is Trouble.GARBAGE
        assert str(error).startswith(words)
        assert call.bills == [0.0, None]


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1000, "", "the server closed: 1000"),
        (1001, "", "the server closed: 1001"),
        (1005, "", "the server closed: 1005"),
        (1011, "NET-0001", "the server closed: 1011 NET-0001"),
        (4242, "for reasons", "the server closed: 4242 for reasons"),
    ],
)
async def test_a_server_that_closes_loses_the_link_and_gets_its_answer(
    autojump_clock: MockClock, code: int, reason: str, words: str
) -> None:
    async with talking() as (call, peer):
        await trio.sleep(1)
        await peer.close(code, reason)
        error = await call.failed()
        assert isinstance(error, AgentLost)
        assert error.trouble is Trouble.LINK_LOST
        assert str(error) == words
        assert call.ended_s == 1
        await wait_all_tasks_blocked()
        assert peer.kinds()[0] == f"close {code}"


async def test_a_stream_that_just_ends_loses_the_link(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        await peer.stream.aclose()
        error = await call.failed()
        assert isinstance(error, AgentLost)
        assert error.trouble is Trouble.LINK_LOST
        assert str(error) == "the connection ended without a close frame"


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("INTERNAL_SERVER_ERROR", Trouble.SERVER_ERROR),
        ("CLIENT_MESSAGE_TIMEOUT", Trouble.LINK_LOST),
        ("SERVER_GOING_AWAY", Trouble.GOING_AWAY),
        ("INVALID_SETTINGS", Trouble.SETTINGS_REFUSED),
        ("SOMETHING_NEW", Trouble.SERVER_ERROR),
        (None, Trouble.SERVER_ERROR),
    ],
)
async def test_an_error_message_ends_it_and_the_close_after_it_changes_nothing(
    autojump_clock: MockClock, code: str | None, trouble: Trouble
) -> None:
    async with talking() as (call, peer):
        await peer.say({"type": "Error", "code": code, "description": "x" * 500})
        await peer.close(1005)
        error = await call.failed()
        assert isinstance(error, AgentLost)
        assert error.trouble is trouble
        assert str(error) == f"the agent failed: {code or ''}: {'x' * 200}"


async def test_a_model_that_fails_is_fatal_only_if_the_server_closes(
    autojump_clock: MockClock,
) -> None:
    async with talking() as (call, peer):
        await peer.say({"type": "Error", "code": "FAILED_TO_THINK", "description": "busy"})
        await trio.sleep(3)
        assert not call.over.is_set()
        await peer.close(1005)
        assert (await call.failed()).trouble is Trouble.LINK_LOST


async def test_an_error_message_is_answered_with_a_close_frame(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        await peer.say({"type": "Error", "code": "INTERNAL_SERVER_ERROR", "description": ""})
        await call.failed()
        await wait_all_tasks_blocked()
        assert peer.kinds()[0] == "close 1000"


async def test_a_server_that_is_welcoming_and_then_silent_is_left(
    autojump_clock: MockClock,
) -> None:
    async with calling() as (call, peer):
        await peer.accept()
        await trio.sleep(4)
        await peer.say({"type": "Welcome", "request_id": ""})
        await peer.next()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read)
            error = await call.failed()
            await wait_all_tasks_blocked()
        assert isinstance(error, AgentUnreachable)
        assert error.trouble is Trouble.SILENT
        assert call.ended_s == 10
        assert peer.kinds() == ["close 1000", "gone"]
        assert call.bills == [0.0, None]


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n"
HEAD = b"HTTP/1.1 401 Unauthorized\r\ndg-error: INVALID_AUTH\r\n"


@pytest.mark.parametrize(
    ("answer", "closes", "trouble", "ended_s"),
    [
        (HEAD + b"Content-Length: 2\r\n\r\nno", False, Trouble.KEY_REFUSED, 0),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, Trouble.KEY_REFUSED, 0),
        # Proxies say no so; trio-websocket waits for ever for the end of such a body.
        (HEAD + b"Connection: close\r\n\r\nno", True, Trouble.KEY_REFUSED, 0),
        (HEAD.replace(b"1.1", b"1.0") + b"\r\nno", True, Trouble.KEY_REFUSED, 0),
        (HEAD + b"Content-Length: 200\r\n\r\nno", True, Trouble.KEY_REFUSED, 0),
        (HEAD + b"Content-Length: 200\r\n\r\nno", False, Trouble.KEY_REFUSED, 10),
        (HEAD + b"Connection: close\r\n\r\nno", False, Trouble.KEY_REFUSED, 10),
        (HEAD, True, Trouble.UNREACHABLE, 0),
        (HEAD, False, Trouble.SILENT, 10),
        (b"", True, Trouble.UNREACHABLE, 0),
        (b"", False, Trouble.SILENT, 10),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", False, Trouble.GARBAGE, 0),
        (SWITCHING + b"\r\n", False, Trouble.GARBAGE, 0),
        (SWITCHING + b"Connection: \xff\r\n\r\n", False, Trouble.GARBAGE, 0),
        (
            SWITCHING + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: c29tZXRoaW5nIGVsc2U=\r\n\r\n",
            False,
            Trouble.GARBAGE,
            0,
        ),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", False, Trouble.GARBAGE, 10),
        (b"\x15\x03\x01\x00\x02\x02\x46", True, Trouble.GARBAGE, 0),
        (bytes(1000), False, Trouble.GARBAGE, 0),
        (b"x" * 100_000, False, Trouble.GARBAGE, 0),
    ],
)
async def test_whatever_comes_in_place_of_the_upgrade_has_its_name(
    autojump_clock: MockClock, answer: bytes, closes: bool, trouble: Trouble, ended_s: float
) -> None:
    async with calling() as (call, peer):
        await peer.request()
        await peer.send(answer)
        if closes:
            await peer.stream.aclose()
        error = await call.failed()
        assert error.trouble is trouble
        assert call.ended_s == ended_s
        assert call.bills == [None]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (SWITCHING + b"\r\n", "Missing header, 'Connection: Upgrade'"),
        (b"HTTP/1.1 nonsense\r\n\r\n", "illegal status line: bytearray(b'HTTP/1.1 nonsense')"),
        (b"!" * 2000 + b"\r\n\r\n", "illegal status line: bytearray(b'" + "!" * 167),
    ],
)
async def test_what_is_wrong_with_an_answer_is_told_in_few_words(
    autojump_clock: MockClock, answer: bytes, words: str
) -> None:
    async with calling() as (call, peer):
        await peer.request()
        await peer.send(answer)
        assert str(await call.failed()) == f"the server speaks no WebSocket: {words}"


async def test_a_peer_who_left_while_it_waited_to_be_allowed_is_found_out_at_once(
    autojump_clock: MockClock,
) -> None:
    async with calling(allowed=False) as (call, peer):
        await trio.sleep(0.1)
        await peer.stream.aclose()
        await trio.sleep(0.1)
        call.session.allow_upgrade()
        error = await call.failed()
        assert error.trouble is Trouble.UNREACHABLE
        assert call.ended_s == 0.2


@pytest.mark.parametrize("seed", range(60))
async def test_garbage_of_any_kind_at_any_time_ends_in_one_of_our_errors(
    autojump_clock: MockClock, seed: int
) -> None:
    dice = random.Random(seed)

    def garbage() -> bytes:
        kind = dice.randrange(4)
        if kind == 0:
            return dice.randbytes(dice.randrange(1, 300))
        if kind == 1:
            return bytes([dice.randrange(256), dice.randrange(128)]) + dice.randbytes(200)
        if kind == 2:
            return frame(dice.choice([TEXT, CLOSE, PING, 0, 10]), dice.randbytes(100))
        return frame(TEXT, b'{"type": "%s"' % dice.choice([b"Error", b"Welcome"])) * 2

    async with calling() as (call, peer):
        stage = dice.randrange(4)
        if stage == 0:
            await peer.request()
        elif stage == 1:
            await peer.accept(garbage())
        elif stage == 2:
            await peer.accept()
            await peer.say({"type": "Welcome", "request_id": ""})
        else:
            await peer.welcome()
        for _ in range(dice.randrange(1, 20)):
            await peer.send(garbage())
            await trio.sleep(dice.choice([0, 0.1]))
        await peer.stream.aclose()
        await call.failed(limit_s=12)


# ── ends that are not the agent's ────────────────────────────────────────────────────────────────


async def test_a_bug_of_ours_in_what_hears_ends_in_that_bug(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    peer = Peer(far)

    async def connect() -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return near

    call = Call(connect)
    call.hear = lambda piece: call.heard.append(piece[: 1 // 0])
    call.session.allow_upgrade()

    async def answer() -> None:
        await peer.welcome()
        await peer.say(b"\1\2")

    async def live() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            await call.run()

    with trio.fail_after(5), pytest.raises(BaseExceptionGroup) as caught:
        await live()
    assert caught.group_contains(ZeroDivisionError)
    assert not caught.group_contains(AgentError)
    assert call.bills == [0.0, None]
    assert await peer_sees_the_end(peer)


async def peer_sees_the_end(peer: Peer) -> bool:
    with trio.fail_after(5):
        while not isinstance(await peer.next(), Gone):
            pass
    return True


async def test_an_agent_error_of_what_hears_is_how_it_ends(autojump_clock: MockClock) -> None:
    async with talking() as (call, peer):
        why = AgentLost(Trouble.GARBAGE, "more sound than can be kept")

        def refuse(_piece: bytes) -> None:
            raise why

        call.hear = refuse
        await peer.say(b"\1\2")
        assert await call.failed() is why
        assert peer.kinds()[0] == "close 1000"


@pytest.mark.parametrize("stage", ["dialling", "waiting", "upgrading", "talking", "closing"])
async def test_cancelled_from_outside_it_leaves_at_once_and_closes_its_stream(
    autojump_clock: MockClock, stage: str
) -> None:
    near, far = lockstep_stream_pair() if stage == "closing" else memory_stream_pair()
    peer = Peer(far)

    async def connect() -> trio.abc.Stream:
        if stage == "dialling":
            await near.aclose()
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        return near

    call = Call(connect)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            if stage != "waiting":
                call.session.allow_upgrade()
            if stage == "upgrading":
                await peer.request()
            elif stage in {"talking", "closing"}:
                await peer.welcome()
            await trio.sleep(1)
            if stage == "closing":
                call.session.hang_up()
                await trio.sleep(0.5)
            cancelled_s = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() == cancelled_s
        assert not call.over.is_set()
        assert await peer_sees_the_end(peer)
    assert call.bills[-1:] == ([] if stage in {"dialling", "waiting"} else [None])


# ── over real sockets ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_room, "OPEN_LIMIT_S", 0.4)
    monkeypatch.setattr(session_room, "CLOSE_LIMIT_S", 0.2)


async def really(port: int, *, tls: bool = False, **how: Any) -> Call:
    """Call a real server, and live with it to the end, which must come soon."""
    url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/v1/agent/converse"
    call = Call(Dialer(Address.of(url), ca_file=ROOT), url=url, **how)
    call.session.allow_upgrade()
    with trio.fail_after(LIMIT_S):
        await call.run()
    return call


async def shake_hands_only(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SSLStream)
    await stream.do_handshake()
    await trio.sleep_forever()


async def take_the_request_only(stream: trio.abc.Stream) -> None:
    await Peer(stream).request()
    await trio.sleep_forever()


async def begin_an_answer_only(stream: trio.abc.Stream) -> None:
    await Peer(stream).request()
    await stream.send_all(b"HTTP/1.1 101 Swi")
    await trio.sleep_forever()


async def accept_only(stream: trio.abc.Stream) -> None:
    await Peer(stream).accept()
    await trio.sleep_forever()


async def welcome_only(stream: trio.abc.Stream) -> None:
    peer = Peer(stream)
    await peer.accept()
    await peer.say({"type": "Welcome", "request_id": ""})
    await trio.sleep_forever()


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("behave", "certificate", "tls", "words"),
    [
        (stay_silent, "", True, "no connection to 127.0.0.1 within 0 s"),
        (shake_hands_only, "good", True, "the server did not answer the upgrade"),
        (stay_silent, "", False, "the server did not answer the upgrade"),
        (take_the_request_only, "good", True, "the server did not answer the upgrade"),
        (take_the_request_only, "", False, "the server did not answer the upgrade"),
        (begin_an_answer_only, "", False, "the server did not answer the upgrade"),
        (accept_only, "good", True, "the agent did not accept the settings"),
        (accept_only, "", False, "the agent did not accept the settings"),
        (welcome_only, "good", True, "the agent did not accept the settings"),
        (welcome_only, "", False, "the agent did not accept the settings"),
    ],
)
async def test_a_server_that_falls_silent_is_named_silent_within_the_deadline(
    behave: Any, certificate: str, tls: bool, words: str
) -> None:
    async with serving(behave, certificate) as port:
        call = await really(port, tls=tls)
    assert isinstance(call.error, AgentUnreachable)
    assert call.error.trouble is Trouble.SILENT
    assert call.error.trouble.retry is Retry.BACKOFF
    assert str(call.error) == words


@pytest.mark.usefixtures("_impatient")
async def test_a_silent_real_server_is_let_go_when_it_is_hung_up() -> None:
    async with serving(take_the_request_only) as port:
        url = f"ws://127.0.0.1:{port}/"
        call = Call(Dialer(Address.of(url)), url=url)
        call.session.allow_upgrade()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await trio.sleep(0.05)
            call.session.hang_up()
            assert await call.ended(LIMIT_S) is None


async def take_the_request_and_close(stream: trio.abc.Stream) -> None:
    await Peer(stream).request()


async def take_the_request_and_reset(stream: trio.abc.Stream) -> None:
    await stream.receive_some(1)  # what is left unread makes it a reset
    assert isinstance(stream, trio.SocketStream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def close_at_once(stream: trio.abc.Stream) -> None:
    await stream.aclose()


@pytest.mark.parametrize(
    ("behave", "certificate"),
    [
        (close_at_once, ""),
        (take_the_request_and_close, ""),
        (take_the_request_and_close, "good"),
        (take_the_request_and_reset, ""),
    ],
)
async def test_a_server_that_closes_before_it_answers_is_unreachable_at_once(
    behave: Any, certificate: str
) -> None:
    async with serving(behave, certificate) as port:
        call = await really(port, tls=bool(certificate))
    assert isinstance(call.error, AgentUnreachable)
    assert call.error.trouble is Trouble.UNREACHABLE
    assert call.bills == [None]


async def test_a_real_server_that_left_while_it_waited_to_be_allowed_is_found_out() -> None:
    left = trio.Event()

    async def reset(stream: trio.abc.Stream) -> None:
        await take_the_reset(stream)
        left.set()

    async def take_the_reset(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SocketStream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await stream.aclose()

    async with serving(reset) as port:
        url = f"ws://127.0.0.1:{port}/"
        call = Call(Dialer(Address.of(url)), url=url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            with trio.fail_after(LIMIT_S):
                await left.wait()
            await trio.sleep(0.05)
            call.session.allow_upgrade()
            error = await call.failed(LIMIT_S)
    assert error.trouble is Trouble.UNREACHABLE


@pytest.mark.parametrize(
    ("status", "kind", "trouble", "retry"),
    [
        (401, AgentRefused, Trouble.KEY_REFUSED, Retry.ON_PRESS),
        (402, AgentRefused, Trouble.NO_CREDIT, Retry.ON_PRESS),
        (403, AgentRefused, Trouble.KEY_REFUSED, Retry.ON_PRESS),
        (404, AgentRefused, Trouble.NOT_FOUND, Retry.ON_PRESS),
        (429, AgentRefused, Trouble.TOO_MANY, Retry.EACH_SECOND),
        (500, AgentRefused, Trouble.SERVER_ERROR, Retry.BACKOFF),
        (503, AgentRefused, Trouble.SERVER_ERROR, Retry.BACKOFF),
        (302, AgentMisspoke, Trouble.GARBAGE, Retry.BACKOFF),
        (200, AgentMisspoke, Trouble.GARBAGE, Retry.BACKOFF),
    ],
)
@pytest.mark.parametrize("certificate", ["", "good"])
async def test_each_http_answer_has_its_name_and_its_retry(
    status: int, kind: type[AgentError], trouble: Trouble, retry: Retry, certificate: str
) -> None:
    async def answer(stream: trio.abc.Stream) -> None:
        await Peer(stream).request()
        await stream.send_all(
            b"HTTP/1.1 %d Something\r\nContent-Type: text/html\r\nLocation: /elsewhere\r\n"
            b"DG-Error: SOME_REASON\r\nDG-Request-Id: fc553ec9\r\nContent-Length: 6\r\n\r\n<html>"
            % status
        )
        await stream.receive_some()

    async with serving(answer, certificate) as port:
        call = await really(port, tls=bool(certificate))
    assert type(call.error) is kind
    assert call.error.trouble is trouble
    assert call.error.trouble.retry is retry
    words = f"the server answered HTTP {status} (SOME_REASON), request fc553ec9"
    assert str(call.error).startswith(words)
    assert call.bills == [None]


async def test_an_answer_without_reasons_is_told_without_them() -> None:
    async def answer(stream: trio.abc.Stream) -> None:
        await Peer(stream).request()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await stream.receive_some()

    async with serving(answer) as port:
        call = await really(port)
    assert str(call.error) == "the server answered HTTP 404"


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2p1\r\n", b"\0\1\2\3" * 100, b"220 mail\r\n"]
)
async def test_a_server_of_something_else_is_garbage(answer: bytes) -> None:
    async def behave(stream: trio.abc.Stream) -> None:
        await Peer(stream).request()
        await stream.send_all(answer)
        await stream.receive_some()

    async with serving(behave) as port:
        call = await really(port)
    assert isinstance(call.error, AgentMisspoke)
    assert call.error.trouble is Trouble.GARBAGE


@pytest.mark.parametrize(
    ("said", "kind", "trouble"),
    [
        (frame(TEXT, b'{"type": '), AgentMisspoke, Trouble.GARBAGE),
        (frame(TEXT, b"\xc3\x28"), AgentMisspoke, Trouble.GARBAGE),
        (frame(BINARY, bytes(5 * 2**20)), AgentMisspoke, Trouble.GARBAGE),
        (frame(CLOSE, b"\x03\xe8"), AgentLost, Trouble.LINK_LOST),
        (frame(CLOSE, b"\x03\xe9going"), AgentLost, Trouble.LINK_LOST),
        (frame(CLOSE, b""), AgentLost, Trouble.LINK_LOST),
        (frame(CLOSE, b"\x03\xf3NET-0001"), AgentLost, Trouble.LINK_LOST),
        (
            frame(TEXT, b'{"type": "Error", "code": "SERVER_GOING_AWAY", "description": ""}'),
            AgentLost,
            Trouble.GOING_AWAY,
        ),
        (b"", AgentLost, Trouble.LINK_LOST),
    ],
)
@pytest.mark.parametrize("certificate", ["", "good"])
async def test_what_goes_wrong_in_a_real_conversation_has_its_name(
    said: bytes, kind: type[AgentError], trouble: Trouble, certificate: str
) -> None:
    async def behave(stream: trio.abc.Stream) -> None:
        peer = Peer(stream)
        await peer.welcome()
        await stream.send_all(said)
        if said:
            await peer.read()

    async with serving(behave, certificate) as port:
        call = await really(port, tls=bool(certificate))
    assert type(call.error) is kind
    assert call.error.trouble is trouble
    assert SettingsApplied() in call.told
    assert len(call.bills) == 2
    assert call.bills[1] is None


@pytest.mark.parametrize("certificate", ["", "good"])
async def test_a_real_server_that_stops_reading_does_not_hold_up_the_end(certificate: str) -> None:
    async def behave(stream: trio.abc.Stream) -> None:
        await Peer(stream).welcome()
        await trio.sleep_forever()

    async with serving(behave, certificate) as port:
        url = f"{'wss' if certificate else 'ws'}://127.0.0.1:{port}/"
        words = Words(*([bytes(2**20)] * 50))  # more than any buffer between them
        call = Call(Dialer(Address.of(url), ca_file=ROOT), url=url, uplink=words)
        call.session.allow_upgrade()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await call.until(SettingsApplied(), LIMIT_S)
            await trio.sleep(0.1)
            call.session.hang_up(0.2)
            assert await call.ended(LIMIT_S) is None
    assert words.waiting  # it was stuck


@pytest.mark.parametrize("certificate", ["", "good"])
async def test_a_whole_conversation_over_a_real_socket(certificate: str) -> None:
    peers: list[Peer] = []

    async def behave(stream: trio.abc.Stream) -> None:
        peer = Peer(stream)
        peers.append(peer)
        await peer.welcome()
        await peer.say(USER_TEXT, b"\1\2\3", {"type": "AgentAudioDone"})
        await peer.read()

    async with serving(behave, certificate) as port:
        url = f"{'wss' if certificate else 'ws'}://127.0.0.1:{port}/"
        words = Words(sound(0.04), sound(0.02), EndOfTurn(1))
        call = Call(Dialer(Address.of(url), ca_file=ROOT), url=url, uplink=words)
        call.session.allow_upgrade()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await call.until(AgentAudioDone(), LIMIT_S)
            await peers[0].until("ForceEndTurn", LIMIT_S)
            call.session.hang_up()
            assert await call.ended(LIMIT_S) is None
            await peers[0].until("gone", LIMIT_S)
    assert call.heard == [b"\1\2\3"]
    assert peers[0].kinds() == ["sound", "ForceEndTurn", "close 1000", "gone"]
    assert peers[0].sound() == sound(0.04) + sound(0.02)


async def test_a_proxy_carries_a_conversation_and_never_sees_the_key() -> None:
    peers: list[Peer] = []

    async def behave(stream: trio.abc.Stream) -> None:
        peer = Peer(stream)
        peers.append(peer)
        await peer.accept()
        await peer.say({"type": "Welcome", "request_id": ""}, APPLIED, USER_TEXT)
        await peer.read()

    proxy = Proxy()
    async with serving(behave, "good") as far, serving(proxy) as near:
        url = f"wss://agent.test:{far}/v1/agent/converse"
        dialer = Dialer(Address.of(url), ca_file=ROOT, proxy=f"http://127.0.0.1:{near}")
        call = Call(dialer, url=url, uplink=Words(sound(0.04), EndOfTurn(1)))
        call.session.allow_upgrade()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await call.until(UserText("Hello."), LIMIT_S)
            await peers[0].until("ForceEndTurn", LIMIT_S)
            call.session.hang_up()
            assert await call.ended(LIMIT_S) is None
            await peers[0].until("gone", LIMIT_S)
    assert proxy.heads == [f"CONNECT agent.test:{far} HTTP/1.1\r\nHost: agent.test:{far}\r\n\r\n"]
    assert KEY.encode() not in proxy.carried


@pytest.mark.usefixtures("_impatient")
async def test_a_proxy_that_will_not_is_how_it_ends() -> None:
    async with serving(Proxy(b"502 Bad Gateway")) as near:
        url = "wss://agent.test/v1/agent/converse"
        dialer = Dialer(Address.of(url), ca_file=ROOT, proxy=f"http://127.0.0.1:{near}")
        call = Call(dialer, url=url)
        call.session.allow_upgrade()
        with trio.fail_after(LIMIT_S):
            await call.run()
    assert isinstance(call.error, AgentUnreachable)
    assert str(call.error) == "the proxy refuses: 'HTTP/1.1 502 Bad Gateway'"
    assert call.bills == []
