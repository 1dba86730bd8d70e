"""A whole box in one process: the daemon on stand-ins, joined to the stand-in agent by memory.

On the virtual clock, so a minute of conversation takes a moment and times compare with `==`.
"""

import math
import random
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from trio.testing import memory_stream_pair

from appliance import config
from appliance.agent.tools import Run
from appliance.conversation import Phase
from appliance.daemon import Daemon
from appliance.errors import AgentError
from appliance.host import command
from appliance.loudness import Mixer
from appliance.panel.looks import Look
from appliance.parts import Parts, Tell, Touched
from appliance.purse import Book
from appliance.sound.echo import Canceller
from appliance.standin.agent import Connection, Manners, StandinAgent
from appliance.standin.card import Room
from appliance.standin.panel import StandinButton, StandinLamp

RATE_HZ = 16000


def tone(seconds: float, *, hz: float = 440.0, level: float = 0.3) -> bytes:
    """A sine; each sample differs from its neighbours, so that a lost one is seen."""
    step = 2 * math.pi * hz / RATE_HZ
    peak = 32767 * level
    return array(
        "h", (int(peak * math.sin(step * n)) for n in range(round(seconds * RATE_HZ)))
    ).tobytes()


class Manager:
    """A service manager that remembers."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def ready(self) -> None:
        self.told.append("READY")

    def status(self, words: str) -> None:
        self.told.append(words)

    def stopping(self) -> None:
        self.told.append("STOPPING")

    async def run_watchdog(self, is_alive: Callable[[], bool]) -> None:
        assert is_alive()


@dataclass
class Box:
    """The box, and what a person and a wall would know of it."""

    daemon: Daemon
    agent: StandinAgent
    room: Room
    buttons: dict[str, StandinButton]
    lamp: StandinLamp
    manager: Manager
    network: "Network"
    gone: trio.Event = field(default_factory=trio.Event)  # the daemon has ended
    events: list[dict[str, object]] = field(default_factory=list)

    @property
    def button(self) -> StandinButton:
        """The one for talking."""
        return self.buttons["talk"]

    @property
    def phase(self) -> Phase:
        return self.daemon.conversation.phase

    @property
    def connection(self) -> Connection:
        """The newest connection, as the agent saw it."""
        return self.agent.connections[-1]

    @property
    def look(self) -> Look:
        return self.lamp.look

    def at(self, phase: Phase) -> bool:
        return self.phase is phase

    async def until(self, phase: Phase, *, limit_s: float = 60.0) -> float:
        """Wait for a phase; when it was reached."""
        moved = trio.Event()

        def look(_event: object) -> None:
            if self.phase is phase:
                moved.set()

        end = self.daemon.subscribe(look)
        look(None)
        with trio.fail_after(limit_s):
            await moved.wait()
        end()
        return trio.current_time()

    async def say(self, sound: bytes) -> None:
        """Press, speak and let go: for the whole of the sound."""
        self.button.press()
        over_s = self.room.say(sound)
        await trio.sleep_until(over_s)
        self.button.release()

    def spoken(self) -> bytes:
        """Everything that left the speaker."""
        return b"".join(bytes(sound) for _, sound in self.room.heard)


class Network:
    """What lies between: it may be down, slow, or be cut."""

    def __init__(self, agent: StandinAgent, nursery: trio.Nursery) -> None:
        self.delay_s = 0.0
        self.fails: AgentError | None = None
        self.dials: list[float] = []
        self.open = 0
        self.open_most = 0
        self._agent = agent
        self._nursery = nursery

    async def connect(self) -> trio.abc.Stream:
        self.dials.append(trio.current_time())
        await trio.sleep(self.delay_s)
        if self.fails is not None:
            raise self.fails
        return _Counted(await self.reach(), self)

    async def reach(self) -> trio.abc.Stream:
        """A stream with the agent at its other end."""
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._agent.serve_stream, theirs)
        return ours


class _Counted(trio.abc.Stream):
    """A stream that counts, while it is open, in its network."""

    def __init__(self, below: trio.abc.Stream, network: Network) -> None:
        self._below = below
        self._network = network
        self._is_open = True
        network.open += 1
        network.open_most = max(network.open_most, network.open)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._below.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._below.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._below.receive_some(max_bytes)

    async def aclose(self) -> None:
        self._network.open -= self._is_open
        self._is_open = False
        await self._below.aclose()


@asynccontextmanager
async def a_box(
    settings: str = "",
    manners: Manners | None = None,
    between: type[Network] = Network,
    run_command: Run = command.run,
    *,
    knobs_book: Book | None = None,
    release_book: Book | None = None,
    mixer: Mixer | None = None,
    watch_cards: Callable[[Tell], Awaitable[None]] | None = None,
    canceller: Canceller | None = None,
    held: Iterable[str] = (),
    room: Room | None = None,
) -> AsyncIterator[Box]:
    """A box that runs, asleep. `settings` is TOML; `held` are buttons that are closed by then."""
    agent = StandinAgent(manners or Manners())
    room = room or Room(RATE_HZ)
    lamp = StandinLamp()
    manager = Manager()
    buttons: dict[str, StandinButton] = {}

    def open_button(name: str, tell: Touched) -> StandinButton:
        buttons[name] = StandinButton(tell, is_down=name in held)
        return buttons[name]

    async def authorize() -> str:
        return "Token test"

    async with trio.open_nursery() as nursery:
        network = between(agent, nursery)
        daemon = Daemon(
            Parts(
                config=config.parse(settings, "test"),
                connect=network.connect,
                authorize=authorize,
                open_microphone=room.open_microphone,
                open_speaker=room.open_speaker,
                native_rates=room.native_rates,
                open_lamp=lambda: lamp,
                open_button=open_button,
                random=random.Random(1).random,
                manager=manager,
                name="test",
                run_command=run_command,
                knobs_book=knobs_book,
                release_book=release_book,
                open_mixer=lambda: mixer,
                watch_cards=watch_cards,
                canceller=canceller,
            )
        )
        gone = trio.Event()

        async def live(task_status: trio.TaskStatus[None]) -> None:
            await daemon.run(task_status=task_status)
            gone.set()

        await nursery.start(live)
        await trio.testing.wait_all_tasks_blocked()
        box = Box(daemon, agent, room, buttons, lamp, manager, network, gone)
        daemon.subscribe(box.events.append)
        yield box
        daemon.stop()
        with trio.fail_after(30):
            await gone.wait()
        nursery.cancel_scope.cancel()
