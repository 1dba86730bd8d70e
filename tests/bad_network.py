"""A network of ours between a box and an agent, as bad as a kitchen's Wi-Fi on a bad day.

`Air` is what lies between: it delays and jitters, loses packets (which TCP turns into a wait), is
thin, stands still, and breaks off. It joins any two streams: those of `BadNetwork`, in memory and
in virtual time, for a box of `tests.box`; or those of `proxying`, a TCP proxy on loopback, in
real time.

There is no TCP in memory, so `BadNetwork` does what the kernel does with the options that the
dialer sets: a link on which nothing moves is given up 6 s after the first byte that was not
acknowledged, at rest after 10 s, and a dial after 8 s. So a stall that is longer is what is left
of a half-open connection.
"""

import random
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair

from appliance.errors import AgentUnreachable, Trouble
from appliance.standin.agent import StandinAgent
from tests.box import Network

GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)

DEAD_IN_TURN_S = 6.0  # from the first byte that nobody acknowledges
DEAD_AT_REST_S = 10.0
REACH_LIMIT_S = 8.0
BUFFER_BYTES = 2**15  # of each direction: what a kernel takes that cannot send
PIECE_BYTES = 2**12


@dataclass(frozen=True)
class Weather:
    """How the air is. The defaults are those of a wire."""

    latency_s: float = 0.0  # each way
    jitter_s: float = 0.0  # at most so much more; nothing overtakes
    loss: float = 0.0  # of a piece; the next one waits behind it
    again_s: float = 0.25  # until what was lost is sent once more
    uplink_bytes_per_s: float = float("inf")  # of a thin link, or a server that reads slowly


class Air:
    """Joins streams, two by two, and does to all of them what happens to it.

    Nothing here waits but `carry` and `moves`.

    Args:
        weather: how it begins; may be assigned anew at any time.
        dice: for jitter and loss.
    """

    def __init__(self, weather: Weather = Weather(), dice: random.Random | None = None) -> None:
        self.weather = weather
        self.dice = dice or random.Random(0)
        self.still_since_s: float | None = None  # nothing moves
        self.changed = trio.Event()  # it has come to stand, or moves again
        self.carried_most = 0  # bytes that were under way at once, in one direction
        self._links: list[trio.CancelScope] = []

    def stall(self) -> None:
        """Let nothing move, and tell nobody."""
        if self.still_since_s is None:
            self.still_since_s = trio.current_time()
            self._change()

    def go_on(self) -> None:
        """Let all that waits move again."""
        if self.still_since_s is not None:
            self.still_since_s = None
            self._change()

    def cut(self) -> None:
        """Break every connection; both sides learn of it. What was under way is lost."""
        for link in self._links:
            link.cancel()

    def _change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def moves(self) -> None:
        """Wait until something can move."""
        while self.still_since_s is not None:
            await self.changed.wait()

    async def carry(self, near: trio.abc.Stream, far: trio.abc.Stream) -> None:
        """Join the box's stream to the agent's, until both have ended, or it is cut."""
        up, down = _Way(self, is_up=True), _Way(self, is_up=False)
        try:
            with trio.CancelScope() as scope:
                self._links.append(scope)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(up.take, near)
                    nursery.start_soon(up.give, far)
                    nursery.start_soon(down.take, far)
                    nursery.start_soon(down.give, near)
        finally:
            self._links.remove(scope)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(near)
                await trio.aclose_forcefully(far)


class _Way:
    """One direction of one connection: in order, bounded, and each piece at its time."""

    def __init__(self, air: Air, *, is_up: bool) -> None:
        self._air = air
        self._is_up = is_up
        self._pieces: deque[tuple[float, bytes]] = deque()  # (when it may arrive, what)
        self._bytes = 0
        self._newest_s = 0.0
        self._stirred = trio.Event()

    async def take(self, source: trio.abc.Stream) -> None:
        """Read the source to its end; the end travels, too."""
        with suppress(*GONE):
            while data := await source.receive_some(PIECE_BYTES):
                while self._bytes >= BUFFER_BYTES:
                    await self._stirred.wait()
                self._put(bytes(data))
        self._put(b"")

    def _put(self, data: bytes) -> None:
        weather, dice = self._air.weather, self._air.dice
        due_s = trio.current_time() + weather.latency_s + dice.random() * weather.jitter_s
        if dice.random() < weather.loss:
            due_s += weather.again_s
        self._newest_s = max(self._newest_s, due_s)
        self._pieces.append((self._newest_s, data))
        self._bytes += len(data)
        self._air.carried_most = max(self._air.carried_most, self._bytes)
        self._stir()

    async def give(self, sink: trio.abc.Stream) -> None:
        """Hand on what is due; with the end, the sink is closed."""
        with suppress(*GONE):
            while True:
                while not self._pieces:
                    await self._stirred.wait()
                due_s, data = self._pieces[0]
                await trio.sleep_until(due_s)
                if self._is_up:
                    await trio.sleep(len(data) / self._air.weather.uplink_bytes_per_s)
                await self._air.moves()
                self._pieces.popleft()
                self._bytes -= len(data)
                self._stir()
                if not data:
                    break
                await sink.send_all(data)
        await trio.aclose_forcefully(sink)

    def _stir(self) -> None:
        self._stirred.set()
        self._stirred = trio.Event()


# ── in virtual time ──────────────────────────────────────────────────────────────────────────────


class BadNetwork(Network):
    """The network of a box of `tests.box`: give the class to `a_box`."""

    def __init__(self, agent: StandinAgent, nursery: trio.Nursery) -> None:
        super().__init__(agent, nursery)
        self.air = Air()

    async def reach(self) -> trio.abc.Stream:
        """Reach the agent, or nobody: in a network that stands still, for as long as TCP tries."""
        with trio.move_on_after(REACH_LIMIT_S) as limit:
            await self.air.moves()
            await trio.sleep(2 * self.air.weather.latency_s)
        if limit.cancelled_caught:
            raise AgentUnreachable(Trouble.UNREACHABLE, "nobody answers in this network")
        ours, near = lockstep_stream_pair()
        far, theirs = memory_stream_pair()
        kernel = _Kernel(ours, self.air)
        self._nursery.start_soon(self._agent.serve_stream, theirs)
        self._nursery.start_soon(self._carry, kernel, near, far)
        return kernel

    async def _carry(self, kernel: "_Kernel", near: trio.abc.Stream, far: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kernel.watch)
            await self.air.carry(near, far)
            nursery.cancel_scope.cancel()


class _Kernel(trio.abc.Stream):
    """The box's end: gives a dead link up, as TCP does when it is told to."""

    def __init__(self, below: trio.abc.Stream, air: Air) -> None:
        self._below = below
        self._air = air
        self._waits: set[trio.CancelScope] = set()
        self._is_dead = False
        self._sent_s = float("-inf")
        self._patience = trio.CancelScope()

    async def watch(self) -> None:
        """Find out that nothing moves any more; returns when it has."""
        while not self._is_dead:
            since_s = self._air.still_since_s
            if since_s is None:
                await self._air.changed.wait()
                continue
            unanswered = self._sent_s + 2 * self._air.weather.latency_s >= since_s
            limit_s = since_s + (DEAD_IN_TURN_S if unanswered else DEAD_AT_REST_S)
            with trio.CancelScope(deadline=limit_s) as self._patience:
                await self._air.moves()
            self._is_dead = self._patience.cancelled_caught
        for wait in self._waits:
            wait.cancel()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._sent_s = trio.current_time()
        limit_s = self._sent_s + DEAD_IN_TURN_S
        self._patience.deadline = min(self._patience.deadline, limit_s)
        with self._wait():
            await self._below.send_all(data)
        self._check()

    async def wait_send_all_might_not_block(self) -> None:
        with self._wait():
            await self._below.wait_send_all_might_not_block()
        self._check()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data: bytes | bytearray = b""
        with self._wait():
            data = await self._below.receive_some(max_bytes)
        self._check()
        return data

    @contextmanager
    def _wait(self) -> Iterator[None]:
        self._check()
        with trio.CancelScope() as wait:
            self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

    def _check(self) -> None:
        if self._is_dead:
            raise trio.BrokenResourceError("timed out")

    async def aclose(self) -> None:
        await self._below.aclose()


# ── in real time ─────────────────────────────────────────────────────────────────────────────────


@dataclass
class Proxy:
    """A TCP proxy on loopback."""

    port: int
    air: Air = field(default_factory=Air)


@asynccontextmanager
async def proxying(port: int, air: Air) -> AsyncIterator[Proxy]:
    """Carry whoever connects through `air` to that port of loopback, while the block lasts."""

    async def carry(near: trio.SocketStream) -> None:
        with suppress(OSError):
            await air.carry(near, await trio.open_tcp_stream("127.0.0.1", port))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, carry, 0, host="127.0.0.1"))
        yield Proxy(listeners[0].socket.getsockname()[1], air)
        nursery.cancel_scope.cancel()
