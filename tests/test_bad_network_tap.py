"""No word is lost (promise 1) where the microphone stays open: words that nobody was there to hear.

In `tap` the agent says that somebody speaks, and from then on words are kept as in `hold`. Here the
network fails before it has said so.
"""

import random

import pytest
import trio
from trio.testing import MockClock

from appliance.conversation import DOUBT_S, Link, Phase
from appliance.errors import AgentUnreachable, Trouble
from tests.bad_network import Weather
from tests.box import Box, tone

from .test_bad_network import a_bad_box, air_of, speech, texts, trouble_makes, until, words

TAP = '[talk]\nmode = "tap"'
HANG_UP_S = 20.0


async def tapped(box: Box) -> None:
    """A conversation in which nobody has said anything yet."""
    box.button.press()
    await trio.sleep(0.1)
    box.button.release()
    await trio.sleep(2.0)


def is_whole_somewhere(box: Box, said: bytes) -> bool:
    """Whether some connection was given all of it, in one."""
    return any(said in bytes(one.heard) for one in box.agent.connections)


@pytest.mark.parametrize("before_s", [0.0, 0.05, 2.0, 5.0])
async def test_words_said_over_a_dead_link_go_again_from_the_first(
    before_s: float, autojump_clock: MockClock
) -> None:
    said = speech(2.0, 1)
    async with a_bad_box(TAP) as box:
        await tapped(box)
        await trio.sleep(5.0)
        air_of(box).stall()
        await trio.sleep(before_s)
        box.room.say(said)
        await trio.sleep(9.0)
        air_of(box).go_on()
        await box.until(Phase.SPEAKING, limit_s=30.0)
        assert texts(box) == [words(2.0)]
        assert is_whole_somewhere(box, said)
        assert box.network.open_most == 1


async def test_words_that_were_cut_off_before_the_agent_spoke_of_them_go_again(
    autojump_clock: MockClock,
) -> None:
    said = speech(2.0, 1)
    async with a_bad_box(TAP) as box:
        await tapped(box)
        box.room.say(said)
        await trio.sleep(0.05)
        air_of(box).cut()
        await box.until(Phase.SPEAKING, limit_s=30.0)
        assert texts(box) == [words(2.0)]
        assert is_whole_somewhere(box, said)
        assert len(box.network.dials) == 2


async def test_they_go_again_as_often_as_need_be_and_after_any_time(
    autojump_clock: MockClock,
) -> None:
    said = speech(2.0, 1)
    async with a_bad_box(TAP) as box:
        air_of(box).weather = Weather(latency_s=0.3)
        await tapped(box)
        box.room.say(said)
        for _ in range(3):
            await trio.sleep(0.2)
            air_of(box).cut()
            box.network.fails = AgentUnreachable(Trouble.NO_NETWORK, "test")
            await trio.sleep(8.0)
            box.network.fails = None
            await until(lambda: box.daemon.conversation.link is Link.UP, 35.0)
            assert texts(box) == []
        await box.until(Phase.SPEAKING, limit_s=30.0)
        assert texts(box) == [words(2.0)]
        assert is_whole_somewhere(box, said)


async def test_a_lost_link_over_which_nobody_spoke_is_not_dialled_again(
    autojump_clock: MockClock,
) -> None:
    async with a_bad_box(TAP) as box:
        await tapped(box)
        await trio.sleep(5.0)
        air_of(box).cut()
        await trio.sleep(0.5)
        assert box.at(Phase.ASLEEP)
        await trio.sleep(60.0)
        assert len(box.network.dials) == 1


async def test_words_that_were_answered_are_not_said_again_when_the_link_is_lost_soon_after(
    autojump_clock: MockClock,
) -> None:
    said = speech(0.5, 1)
    async with a_bad_box(TAP) as box:
        await tapped(box)
        box.room.say(said)
        await box.until(Phase.SPEAKING, limit_s=30.0)
        await box.until(Phase.LISTENING, limit_s=30.0)
        air_of(box).cut()
        await trio.sleep(60.0)
        assert box.at(Phase.ASLEEP)
        assert len(box.network.dials) == 1
        assert texts(box) == [words(0.5)]


@pytest.mark.parametrize("early_s", [0.05, 0.3])
async def test_words_that_begin_as_the_box_would_hang_up_are_answered(
    early_s: float, autojump_clock: MockClock
) -> None:
    said = speech(2.0, 1)
    async with a_bad_box(TAP) as box:
        air_of(box).weather = Weather(latency_s=0.3)
        await tapped(box)
        [up_s] = [float(str(it["t"])) for it in box.events if it["event"] == "link ready"]
        await trio.sleep_until(up_s + HANG_UP_S - early_s)
        box.room.say(said)
        await box.until(Phase.SPEAKING, limit_s=30.0)
        assert is_whole_somewhere(box, said)
        assert texts(box) == [words(2.0)]
        assert len(box.network.dials) == 1


async def test_words_that_begin_as_the_box_would_hang_up_over_a_dead_link_are_answered_too(
    autojump_clock: MockClock,
) -> None:
    said = speech(2.0, 1)
    async with a_bad_box(TAP) as box:
        await tapped(box)
        [up_s] = [float(str(it["t"])) for it in box.events if it["event"] == "link ready"]
        await trio.sleep_until(up_s + HANG_UP_S - 0.5)
        air_of(box).stall()
        box.room.say(said)
        await trio.sleep(9.0)
        air_of(box).go_on()
        await box.until(Phase.SPEAKING, limit_s=30.0)
        assert is_whole_somewhere(box, said)
        assert texts(box) == [words(2.0)]


async def test_a_noise_that_is_no_speech_puts_the_end_off_once(autojump_clock: MockClock) -> None:
    """The agent, who is there, says nothing of it."""
    async with a_bad_box(TAP) as box:
        await tapped(box)
        [up_s] = [float(str(it["t"])) for it in box.events if it["event"] == "link ready"]
        for _ in range(60):  # clicks: loud, and too short for a word
            box.room.say(tone(0.01))
            await trio.sleep(0.5)
            if box.at(Phase.ASLEEP):
                break
        asleep_s = trio.current_time()
        assert asleep_s == pytest.approx(up_s + HANG_UP_S + DOUBT_S, abs=0.6)
        assert texts(box) == []


@pytest.mark.parametrize("ten", range(5))
async def test_random_outages_lose_no_word_in_tap(ten: int, autojump_clock: MockClock) -> None:
    for seed in range(10 * ten, 10 * ten + 10):
        dice = random.Random(seed)
        said = [speech(length_s, 100 * seed + n) for n, length_s in enumerate((0.7, 1.5))]
        async with a_bad_box(TAP) as box:
            air_of(box).dice = dice
            air_of(box).weather = Weather(dice.choice([0.0, 0.2]), dice.choice([0.0, 0.1]))
            for sound in said:
                if box.phase in (Phase.ASLEEP, Phase.TROUBLE):
                    await tapped(box)
                    await trio.sleep(dice.choice([0.0, 3.0]))
                async with trio.open_nursery() as nursery:
                    over_s = box.room.say(sound)
                    await trio.sleep(0.05)  # the microphone has heard of it
                    nursery.start_soon(trouble_makes, box, dice, trio.current_time() + 8.0)
                    await trio.sleep_until(over_s)
                await trio.sleep(dice.choice([20.0, 60.0]))
                await until(lambda: box.phase not in (Phase.THINKING, Phase.SPEAKING))
            for sound in said:
                assert is_whole_somewhere(box, sound), (seed, len(sound))
            assert box.network.open_most == 1
