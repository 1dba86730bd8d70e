"""How long a dead link goes unnoticed: `python -m tests.bench.half_open`, as root.

Two network namespaces joined by a cable. Boxes on stand-in cards hold conversations across it with
a stand-in agent on the far side, each in another state; then what goes to the far side goes to a
neighbour that is not there, as when a wireless link dies without a word. Told is the time until
each box knows. The floor is a bare connection with the system's own settings, in the same dark.
"""

import argparse
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import trio

from appliance.agent.dialer import Address, Dialer
from appliance.conversation import Event, Link, Phase
from appliance.standin.agent import Manners, StandinAgent
from tests.bench.table import at_most, figure, lines
from tests.box import Box, Network, a_box, tone

TOP = Path(__file__).parent.parent.parent
HERE, THERE, PORT = "10.97.41.1", "10.97.41.2", 9700
SPACE, NEAR, FAR = "voice-far", "voice-near0", "voice-far0"
NOBODY = "02:00:00:00:00:99"
WATCH_S = 30.0
TURN_LIMIT_S, REST_LIMIT_S = 6.0, 10.0
ANSWER = Manners(answer_s=60.0, pace=1.0)
LATE = Manners(text_delay_s=60.0)
PORTS = {"answer": (PORT, ANSWER), "late": (PORT + 1, LATE), "plain": (PORT + 2, Manners())}


def ip(*words: str) -> None:
    """A command of iproute2.

    Raises:
        subprocess.CalledProcessError: it failed; most likely this is not root.
    """
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def far_side() -> Iterator[None]:
    """The other namespace, with the agents in it."""
    ip("netns", "add", SPACE)
    try:
        ip("link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", SPACE)
        ip("addr", "add", f"{HERE}/24", "dev", NEAR)
        ip("link", "set", NEAR, "up")
        ip("-n", SPACE, "addr", "add", f"{THERE}/24", "dev", FAR)
        ip("-n", SPACE, "link", "set", FAR, "up")
        command = ["ip", "netns", "exec", SPACE, sys.executable, "-m", __spec__.name, "--serve"]
        with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE) as agents:
            assert agents.stdout is not None
            agents.stdout.readline()
            try:
                yield
            finally:
                agents.terminate()
    finally:
        with suppress(subprocess.CalledProcessError):
            ip("link", "del", NEAR)  # the namespace takes its time to go, and the cable with it
        ip("netns", "del", SPACE)


@contextmanager
def darkness() -> Iterator[None]:
    """What either side sends goes to nobody."""
    sides = (((), THERE, NEAR), (("-n", SPACE), HERE, FAR))
    for where, peer, device in sides:
        link = ("lladdr", NOBODY, "dev", device, "nud", "permanent")
        ip(*where, "neigh", "replace", peer, *link)
    try:
        yield
    finally:
        for where, peer, device in sides:
            ip(*where, "neigh", "del", peer, "dev", device)


async def serve() -> None:
    """The agents, in that namespace."""
    async with trio.open_nursery() as nursery:
        for port, manners in PORTS.values():
            agent = StandinAgent(manners)
            listeners = await trio.open_tcp_listeners(port, host=THERE)
            nursery.start_soon(trio.serve_listeners, agent.serve_stream, listeners)
        print("ready", flush=True)


def across(port: int) -> type[Network]:
    """The network of a box that has to cross the cable."""

    class Cable(Network):
        async def reach(self) -> trio.abc.Stream:
            return await Dialer(Address(THERE, port, "/", tls=False))()

    return Cable


# ── the states ───────────────────────────────────────────────────────────────────────────────────


async def talk(box: Box, seconds: float) -> None:
    box.button.press()
    box.room.say(tone(seconds))
    await trio.sleep(seconds)
    box.button.release()


async def holds_the_button(box: Box) -> None:
    box.button.press()
    box.room.say(tone(60.0))
    await trio.sleep(2.0)


async def waits_for_the_text(box: Box) -> None:
    await talk(box, 1.0)
    await trio.sleep(0.5)


async def hears_the_answer(box: Box) -> None:
    await talk(box, 1.0)
    await box.until(Phase.SPEAKING)


async def rests(box: Box) -> None:
    await talk(box, 1.0)
    await box.until(Phase.RESTING)


async def nothing_at_all(box: Box) -> None:
    """`open`, connected, and nobody says a word."""
    await box.until(Phase.LISTENING)
    await trio.sleep(1.0)


State = Callable[[Box], Awaitable[None]]
STATES: Mapping[str, tuple[str, str, State, float]] = {
    "in a turn, the button held": ("plain", "", holds_the_button, TURN_LIMIT_S),
    "in a turn, the text awaited": ("late", "", waits_for_the_text, TURN_LIMIT_S),
    "amid an answer": ("answer", "", hears_the_answer, TURN_LIMIT_S),
    "at rest": ("plain", "[talk]\nhang_up_after_s = 60", rests, REST_LIMIT_S),
    "`open`, nobody talks": ("plain", '[talk]\nmode = "open"', nothing_at_all, TURN_LIMIT_S),
}
FLOOR = "a bare connection"


async def round_of(measured: dict[str, list[float]]) -> None:
    """Each state once, all in the same dark."""
    dark = 0.0

    async def watch(name: str, box: Box) -> None:
        lost = trio.Event()

        def look(_event: object) -> None:
            if box.daemon.conversation.link is not Link.UP:
                lost.set()

        end = box.daemon.subscribe(look)
        with trio.move_on_after(WATCH_S):
            await lost.wait()
        end()
        measured.setdefault(name, []).append(trio.current_time() - dark)

    async def floor(stream: trio.SocketStream) -> None:
        """Settings of the system, pings of nobody: what a plain client would know."""
        with suppress(trio.BrokenResourceError), trio.move_on_after(WATCH_S):
            await stream.receive_some()
        measured.setdefault(FLOOR, []).append(trio.current_time() - dark)

    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(await trio.open_tcp_stream(THERE, PORT))
        boxes = {}
        for name, (agent, settings, _, _) in STATES.items():
            boxes[name] = await stack.enter_async_context(
                a_box(settings, between=across(PORTS[agent][0]))
            )
        async with trio.open_nursery() as settling:
            for name, box in boxes.items():
                settling.start_soon(STATES[name][2], box)
        dark = trio.current_time()
        with darkness():
            async with trio.open_nursery() as watching:
                watching.start_soon(floor, bare)
                for name, box in boxes.items():
                    watching.start_soon(watch, name, box)
        for box in boxes.values():
            box.daemon.tell(Event.RELEASED)


async def measure(rounds: int) -> dict[str, list[float]]:
    """By state, the seconds until the death of the link was known; `WATCH_S`: it was not."""
    random.seed(1)
    measured: dict[str, list[float]] = {}
    for _ in range(rounds):
        await round_of(measured)
    return measured


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--serve", action="store_true", help="the far side alone")
    words.add_argument("--rounds", type=int, default=3)
    given = words.parse_args()
    if given.serve:
        trio.run(serve)
        return
    with far_side():
        measured = trio.run(measure, given.rounds)
    floor = measured.pop(FLOOR)
    figures = [
        figure(f"dead link, {name}", "s", found, floor, at_most(STATES[name][3], "s"))
        for name, found in measured.items()
    ]
    print("\n".join(lines(figures)))


if __name__ == "__main__":
    main()
