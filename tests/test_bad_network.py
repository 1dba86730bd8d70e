"""No word is lost (promise 1): the box in a network that delays, loses, stalls and breaks off."""

import random
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.conversation import BACKOFF_MAX_S, BACKOFF_MIN_S, WAIT_S, Phase
from appliance.errors import AgentLost, AgentUnreachable, Trouble
from appliance.sound.pcm import Format
from appliance.standin.agent import Call, Manners
from tests.bad_network import BadNetwork, Weather
from tests.box import RATE_HZ, Box, a_box, tone

FORM = Format(RATE_HZ)
EARLY = '[agent]\nurl = "ws://127.0.0.1:9/agent"\n'
TEXT = "you said"
BEGAN = "answer's first sound"


def speech(seconds: float, seed: int) -> bytes:
    """Noise without a silent sample: what lies between two of them in a stream is seen."""
    dice = random.Random(seed)
    samples = array("h", dice.randbytes(round(seconds * RATE_HZ) * 2))
    return array("h", (sample // 2 | 1 for sample in samples)).tobytes()


def words(seconds: float) -> str:
    """What the agent makes of it."""
    return f"you spoke for {seconds:.1f} s"


def runs(heard: bytes) -> list[bytes]:
    """The stretches of sound without a silent sample."""
    samples = array("h", heard[: len(heard) // 2 * 2])
    split = groupby(samples, key=bool)
    return [array("h", run).tobytes() for is_loud, run in split if is_loud]


def asked(box: Box, number: int = -1) -> list[str]:
    """What was asked in words on a connection."""
    messages = box.agent.connections[number].messages
    return [it["content"] for it in messages if it["type"] == "InjectUserMessage"]


def texts(box: Box) -> list[str]:
    return [str(event["text"]) for event in box.events if event["event"] == TEXT]


def times(box: Box, name: str) -> list[float]:
    return [float(str(event["t"])) for event in box.events if event["event"] == name]


def outcomes(box: Box) -> list[object]:
    return [event["outcome"] for event in box.events if event["event"] == "turn"]


def air_of(box: Box) -> Any:
    assert isinstance(box.network, BadNetwork)
    return box.network.air


def a_bad_box(settings: str = "", manners: Manners | None = None) -> Any:
    return a_box(settings, manners, BadNetwork)


async def until_text(box: Box) -> None:
    count = len(texts(box))
    while len(texts(box)) == count:
        await trio.sleep(0.01)


async def until_settled(box: Box, limit_s: float = 120.0) -> None:
    """Until nobody waits for anything."""
    with trio.fail_after(limit_s):
        while box.phase in (Phase.LISTENING, Phase.THINKING, Phase.SPEAKING):
            await trio.sleep(0.05)


# ── the invariant ────────────────────────────────────────────────────────────────────────────────


async def trouble_makes(box: Box, dice: random.Random, until_s: float) -> None:
    """Outages of all kinds, none for ever, and none after `until_s`."""
    air = air_of(box)
    while trio.current_time() < until_s:
        await trio.sleep(dice.expovariate(0.7))
        length_s = dice.choice([0.3, 1.0, 3.0, 5.0, 8.0, 11.0])
        length_s = max(0.0, min(length_s, until_s - trio.current_time()))
        match dice.choice(["cut", "cut", "stall", "down", "still and cut", "thin"]):
            case "cut":
                air.cut()
            case "stall":
                air.stall()
                await trio.sleep(length_s)
                air.go_on()
            case "still and cut":
                air.stall()
                await trio.sleep(length_s / 2)
                air.cut()
                air.go_on()
            case "down":
                box.network.fails = AgentUnreachable(Trouble.NO_NETWORK, "test")
                air.cut()
                await trio.sleep(length_s)
                box.network.fails = None
            case "thin":
                calm = air.weather
                air.weather = Weather(calm.latency_s, calm.jitter_s, calm.loss, 0.25, 40_000)
                await trio.sleep(length_s)
                air.weather = calm


def check(box: Box, said: dict[str, bytes], given_up: set[str]) -> None:
    """Promise 1, from what the agent was given, and from what the box was answered.

    Args:
        box: the box.
        said: all that was said, in order, by what the agent makes of it.
        given_up: those for which nobody was reached in 30 s.
    """
    assert box.network.open_most <= 1, "two sockets"
    assert box.daemon.utterances.lost_bytes == 0
    order = list(said)
    whole: dict[str, list[float]] = {name: [] for name in said}
    for connection in box.agent.connections:
        heard = runs(bytes(connection.heard))
        names = []
        for at, run in enumerate(heard):
            [name] = [name for name, sound in said.items() if sound.startswith(run[:400])]
            names.append(name)
            if run == said[name]:
                whole[name].append(connection.opened_s)
            else:
                assert at == len(heard) - 1, f"{name}: a part, and then more"
                assert said[name].startswith(run), name
        assert names == sorted(set(names), key=order.index), "out of order, or twice"
        in_words = asked(box, connection.number - 1)
        assert len(set(in_words)) == len(in_words)
        for name in in_words:
            assert whole[name], "asked again what it never heard"

    answered: dict[str, list[float]] = {name: [] for name in said}
    about, is_begun = "", False
    for event in box.events:
        if event["event"] in ("link ready", TEXT):  # what sounds then is another answer
            about, is_begun = str(event.get("text", about)), False
        elif event["event"] == BEGAN and not is_begun:
            assert about in said, "an answer to nothing"
            answered[about].append(float(str(event["t"])))
            is_begun = True
    for name in order:
        if name in given_up:
            continue
        assert whole[name], f"{name}: not received whole"
        assert len(answered[name]) == 1, f"{name}: answered {len(answered[name])} times"
        assert max(whole[name]) <= answered[name][0], f"{name}: said again though answered"


@pytest.mark.parametrize("settings", ["", EARLY], ids=["v1", "early access"])
@pytest.mark.parametrize("hundred", range(3))
async def test_random_outages_lose_no_word(
    hundred: int, settings: str, autojump_clock: MockClock
) -> None:
    for seed in range(100 * hundred, 100 * hundred + 10):
        await a_conversation_in_trouble(seed, settings)


async def a_conversation_in_trouble(seed: int, settings: str = "") -> None:
    dice = random.Random(seed)
    manners = Manners(think_s=dice.choice([0.1, 0.5, 2.0]), text_delay_s=dice.choice([0.0, 0.5]))
    said: dict[str, bytes] = {}
    given_up: set[str] = set()
    async with a_bad_box(settings, manners) as box:
        air = air_of(box)
        air.dice = dice
        air.weather = Weather(dice.choice([0, 0.02, 0.2]), dice.choice([0, 0.1]), loss=0.01)
        for number in range(dice.randint(1, 3)):
            length_s = round(0.5 + 0.3 * number + dice.choice([0.0, 0.1, 1.2, 2.4]) , 1)
            sound = speech(length_s, seed * 10 + number)
            while words(length_s) in said:
                length_s = round(length_s + 0.1, 1)
                sound = speech(length_s, seed * 10 + number)
            said[words(length_s)] = sound
            async with trio.open_nursery() as nursery:
                over_s = trio.current_time() + length_s + dice.choice([0.0, 1.0, 4.0])
                nursery.start_soon(trouble_makes, box, dice, over_s)
                await box.say(sound)
                ended_s = trio.current_time()
            await until_settled(box)
            if box.daemon.conversation.trouble is Trouble.NO_CONNECTION:
                assert trio.current_time() >= ended_s + WAIT_S
                given_up.add(words(length_s))
            await trio.sleep(dice.choice([0.0, 1.0, 25.0]))
        try:
            check(box, said, given_up)
        except (AssertionError, KeyError):
            print(f"seed {seed}", manners, [len(s) for s in said.values()])
            for event in box.events:
                print(f"{event['t']:8.3f} {event['event']:25} {event['phase']:10} {event['link']:8} {event.get('trouble')} {event.get('text','')} {event.get('outcome','')}")
            for c in box.agent.connections:
                print(c.number, c.opened_s, c.closed_s, c.close_code, len(c.heard), [m['type'] for m in c.messages], [s for s in c.sent if s[1]!='sound'])
            raise
