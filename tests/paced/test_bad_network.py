"""A handful of outages in real time: the daemon, real sockets, and a bad network between.

Stand-in cards on the real clock, so no sound server is needed; but the pace is real.
"""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from appliance.agent.dialer import Address, Dialer
from appliance.conversation import Phase
from appliance.standin.agent import Manners
from tests.bad_network import Air, BadNetwork, Weather, proxying
from tests.box import Box, a_box
from tests.test_bad_network import outcomes, runs, speech, texts, until_text, words

LIMIT_S = 20.0


class Loopback(BadNetwork):
    """Real sockets all the way: the box dials a proxy, the proxy dials the agent."""

    async def reach(self) -> trio.abc.Stream:
        port = await self._nursery.start(self._serve)
        return await Dialer(Address("127.0.0.1", port, "/", tls=False))()

    async def _serve(self, task_status: trio.TaskStatus[int]) -> None:
        port = await self._nursery.start(self._agent.listen)
        async with proxying(port, self.air) as proxy:
            task_status.started(proxy.port)
            await trio.sleep_forever()


@asynccontextmanager
async def a_box_behind(
    weather: Weather, manners: Manners | None = None
) -> AsyncIterator[tuple[Box, Air]]:
    with trio.fail_after(LIMIT_S):
        async with a_box("", manners, Loopback) as box:
            assert isinstance(box.network, Loopback)
            box.network.air.weather = weather
            box.network.air.dice = random.Random(1)
            yield box, box.network.air


async def say(box: Box, sound: bytes, length_s: float) -> None:
    """Press a little before and let go a little after: real clocks are not exact to the sample."""
    box.button.press()
    box.room.say(sound, after_s=0.1)
    await trio.sleep(length_s + 0.2)
    box.button.release()


def check(box: Box, said: bytes, length_s: float) -> None:
    """Heard whole by the connection that answered, and once; answered once."""
    assert runs(bytes(box.connection.heard)) == [said]
    for connection in box.agent.connections[:-1]:
        assert all(said.startswith(run) for run in runs(bytes(connection.heard)))
    assert texts(box) == [words(length_s)]
    assert said in box.spoken()
    assert outcomes(box) == ["answered"]
    assert box.network.open_most == 1
    assert box.daemon.utterances.lost_bytes == 0


async def test_latency_and_jitter_cost_no_word() -> None:
    said = speech(1.5, 1)
    async with a_box_behind(Weather(latency_s=0.3, jitter_s=0.2, loss=0.02)) as (box, _):
        await say(box, said, 1.5)
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        check(box, said, 1.5)
        assert len(box.agent.connections) == 1


async def test_a_cut_in_the_middle_of_an_utterance_costs_no_word() -> None:
    said = speech(2.0, 2)
    async with a_box_behind(Weather(latency_s=0.02)) as (box, air):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, box, said, 2.0)
            await trio.sleep(1.0)
            air.cut()
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        check(box, said, 2.0)
        assert len(box.agent.connections) == 2


async def test_a_stall_of_two_seconds_costs_no_word_and_no_connection() -> None:
    said = speech(1.5, 3)
    async with a_box_behind(Weather(latency_s=0.02)) as (box, air):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, box, said, 1.5)
            await trio.sleep(0.7)
            air.stall()
            await trio.sleep(2.0)
            air.go_on()
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        check(box, said, 1.5)
        assert len(box.agent.connections) == 1


async def test_words_whose_answer_was_lost_are_asked_again_in_words() -> None:
    said = speech(1.0, 4)
    async with a_box_behind(Weather(latency_s=0.02), Manners(think_s=1.0)) as (box, air):
        await say(box, said, 1.0)
        await until_text(box)
        air.cut()
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)
        first, second = box.agent.connections
        assert runs(bytes(first.heard)) == [said]
        assert not second.heard
        assert outcomes(box) == ["answered"]
