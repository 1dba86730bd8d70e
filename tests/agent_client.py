"""A client of the stand-in agent, and what it needs to talk: settings, voice, silence."""

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from appliance.standin.agent import PATH, Connection, StandinAgent

RATE_HZ = 16000
FLUX: dict[str, Any] = {"type": "deepgram", "version": "v2", "model": "flux-general-en"}
MANUAL = {**FLUX, "eot_threshold": 1.0, "eot_timeout_ms": 30000}
NOVA = {"type": "deepgram", "model": "nova-3"}
AURA = {"type": "deepgram", "model": "aura-2-thalia-en"}
FLUX_VOICE = {"type": "deepgram", "version": "v2", "model": "flux-kit-en"}
MINI = {"type": "open_ai", "model": "gpt-4o-mini"}


def settings(
    listen: dict[str, Any] | None = None,
    *,
    out_hz: int = RATE_HZ,
    in_hz: int = RATE_HZ,
    agent: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    **top: Any,
) -> dict[str, Any]:
    return {
        "type": "Settings",
        "audio": {
            "input": {"encoding": "linear16", "sample_rate": in_hz},
            "output": {"encoding": "linear16", "sample_rate": out_hz, **(output or {})},
        },
        "agent": {
            "listen": {"provider": listen or MANUAL},
            "think": {"provider": MINI, "prompt": "Be brief."},
            "speak": {"provider": AURA},
            **(agent or {}),
        },
        **top,
    }


def voice(seconds: float, rate_hz: int = RATE_HZ) -> bytes:
    """Loud, and no two stretches alike: every sample tells where it belongs."""
    count = round(seconds * rate_hz)
    return struct.pack(f"<{count}h", *(3000 + number * 7919 % 9001 for number in range(count)))


def hush(seconds: float, rate_hz: int = RATE_HZ) -> bytes:
    return bytes(round(seconds * rate_hz) * 2)


class Client:
    """A client that reads at once and writes down what came, and when."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self.websocket = websocket
        self.log: list[tuple[float, Any]] = []
        self._came = trio.Event()

    async def read(self) -> None:
        try:
            while True:
                frame = await self.websocket.get_message()
                came = json.loads(frame) if isinstance(frame, str) else frame
                self.log.append((trio.current_time(), came))
                self._came.set()
        except ConnectionClosed:
            self._came.set()

    async def send(self, *messages: dict[str, Any] | bytes) -> None:
        for message in messages:
            frame = message if isinstance(message, bytes) else json.dumps(message)
            await self.websocket.send_message(frame)

    async def speak(self, sound: bytes, message_s: float = 0.04, rate_hz: int = RATE_HZ) -> None:
        """Send sound in real time."""
        step = round(message_s * rate_hz) * 2
        for start in range(0, len(sound), step):
            await self.websocket.send_message(sound[start : start + step])
            await trio.sleep(message_s)

    async def converse(self) -> None:
        """Settings, one turn, and the answer, which is what was said: the shortest conversation."""
        await self.send(settings())
        await self.until("SettingsApplied")
        await self.send(voice(1.0), {"type": "ForceEndTurn"})
        await self.until("AgentAudioDone")
        assert self.sound() == voice(1.0)

    async def until(self, kind: str, times: int = 1) -> dict[str, Any]:
        """The message of this type that came as the so-manieth, when it has come."""
        with trio.fail_after(60):
            while len(found := self.all(kind)) < times:
                assert not self.websocket.closed, f"closed before {kind}: {self.kinds()}"
                self._came = trio.Event()
                await self._came.wait()
        return found[times - 1]

    async def until_closed(self) -> int:
        """The close code, when the agent has closed."""
        with trio.fail_after(60):
            while not self.websocket.closed:
                self._came = trio.Event()
                await self._came.wait()
        return int(self.websocket.closed.code)

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [m for _, m in self.log if isinstance(m, dict) and m["type"] == kind]

    def kinds(self) -> list[str]:
        """What came, with runs of sound as one."""
        kinds: list[str] = []
        for _, message in self.log:
            kind = "sound" if isinstance(message, bytes) else message["type"]
            if kind != "sound" or kinds[-1:] != ["sound"]:
                kinds.append(kind)
        return kinds

    def time_of(self, kind: str) -> float:
        return next(
            at_s
            for at_s, message in self.log
            if ("sound" if isinstance(message, bytes) else message["type"]) == kind
        )

    def pieces(self) -> list[bytes]:
        return [message for _, message in self.log if isinstance(message, bytes)]

    def sound(self) -> bytes:
        return b"".join(self.pieces())

    def clear(self) -> None:
        self.log.clear()


@asynccontextmanager
async def connected(
    agent: StandinAgent, path: str = PATH
) -> AsyncIterator[tuple[Client, Connection]]:
    """A client that has got its Welcome, over memory streams."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.serve_stream, far)
        websocket = await wrap_client_stream(nursery, near, "agent", path, message_queue_size=99)  # type: ignore[arg-type]
        client = Client(websocket)
        nursery.start_soon(client.read)
        await client.until("Welcome")
        yield client, agent.connections[-1]
        with trio.move_on_after(1):
            await websocket.aclose()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def talking(
    agent: StandinAgent, applied: dict[str, Any] | None = None, path: str = PATH
) -> AsyncIterator[tuple[Client, Connection]]:
    """A client whose settings are applied and who has forgotten all that came before."""
    async with connected(agent, path) as (client, connection):
        await client.send(applied or settings())
        await client.until("SettingsApplied")
        client.clear()
        yield client, connection
