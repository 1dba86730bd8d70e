"""Who is heard while an answer sounds: half and full duplex, whole boxes in virtual time."""

from array import array

import pytest
import trio
from trio.testing import MockClock

from appliance.conversation import ECHO_S, Phase
from appliance.standin.agent import Manners
from tests.box import RATE_HZ, Box, a_box, tone

PERIOD_S = 0.02
HALF = '[talk]\nmode = "tap"'
FULL = '[talk]\nmode = "tap"\nduplex = "full"'


def when(box: Box, event: str) -> float:
    """The time of the newest event of that name."""
    return next(float(str(one["t"])) for one in reversed(box.events) if one["event"] == event)


async def until_told(box: Box, event: str) -> None:
    """Wait for the next event of that name."""
    told = trio.Event()
    end = box.daemon.subscribe(lambda one: told.set() if one["event"] == event else None)
    await told.wait()
    end()


def silent_s(box: Box) -> float:
    """When the last sample left the speaker."""
    began_s, sound = box.room.heard[-1]
    padding = len(sound) - len(sound.rstrip(b"\0"))
    return began_s + (len(sound) - padding) / 2 / RATE_HZ


def first_heard(box: Box, since: int) -> int:
    """The first byte that is no zero, of what the agent has heard since it had so many."""
    sound = bytes(box.connection.heard[since:])
    found = next(at for at, value in enumerate(array("h", sound)) if value)
    return since + found * 2


async def be_answered(box: Box) -> None:
    """Begin a conversation and ask; the answer has just begun."""
    box.button.press()
    box.button.release()
    await trio.sleep(0.5)
    box.room.say(tone(1.0))
    await box.until(Phase.SPEAKING)


def counting(seconds: float) -> bytes:
    """Samples that say where they are: no two of a second are the same."""
    return array("h", (1 + n % 30_000 for n in range(round(seconds * RATE_HZ)))).tobytes()


async def reopened_s(box: Box, *, limit_s: float = 20.0) -> float:
    """Speak without a pause from now on; the time of the first sample that the agent hears."""
    begun_s, begun = trio.current_time(), len(box.connection.heard)
    box.room.say(counting(limit_s))
    with trio.fail_after(limit_s):
        while not any(box.connection.heard[begun:]):  # noqa: ASYNC110  # nobody tells of it
            await trio.sleep(PERIOD_S)
    at = first_heard(box, begun)
    (sample,) = array("h", bytes(box.connection.heard[at : at + 2]))
    second = round((trio.current_time() - begun_s) * RATE_HZ) // 30_000
    earliest = [(turn * 30_000 + sample - 1) / RATE_HZ for turn in range(second + 1)]
    return begun_s + max(time for time in earliest if begun_s + time <= trio.current_time())


def is_in_period(heard_s: float, opened_s: float) -> bool:
    """Heard from the period on in which it was opened: a card gives whole ones."""
    return opened_s - PERIOD_S <= heard_s <= opened_s


async def test_half_shuts_until_the_card_has_been_silent_for_300_ms(
    autojump_clock: MockClock,
) -> None:
    async with a_box(HALF, Manners(answer_s=3.0)) as box:
        await be_answered(box)
        await trio.sleep(0.1)
        heard_s = await reopened_s(box)
        assert when(box, "last sample played") == pytest.approx(silent_s(box), abs=1 / RATE_HZ)
        assert when(box, "room is quiet") == when(box, "last sample played") + ECHO_S
        assert is_in_period(heard_s, when(box, "room is quiet"))


async def test_half_does_not_wait_for_an_end_that_is_never_told(autojump_clock: MockClock) -> None:
    async with a_box(HALF, Manners(answer_s=3.0, audio_done=False)) as box:
        await be_answered(box)
        await trio.sleep(0.1)
        heard_s = await reopened_s(box)
        assert box.at(Phase.SPEAKING)
        assert is_in_period(heard_s, silent_s(box) + ECHO_S)


async def test_half_hears_from_the_period_of_the_press_on(autojump_clock: MockClock) -> None:
    async with a_box(HALF, Manners(answer_s=5.0)) as box:
        await be_answered(box)
        await trio.sleep(0.113)

        async def press() -> None:
            await trio.sleep(1.007)
            box.button.press()
            box.button.release()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(press)
            heard_s = await reopened_s(box)
        assert is_in_period(heard_s, when(box, "press"))


@pytest.mark.parametrize("after_s", [0.1, 0.29, 0.7])
async def test_half_shuts_again_for_an_answer_that_goes_on(
    after_s: float, autojump_clock: MockClock
) -> None:
    async with a_box(HALF, Manners(answer_s=1.0, audio_done=False)) as box:
        await be_answered(box)
        await trio.sleep(0.1)
        await until_told(box, "last sample played")
        await trio.sleep_until(silent_s(box) + after_s)
        assert box.daemon.utterances.shut is (after_s < ECHO_S)
        resumed_s = trio.current_time()
        await box.connection.interject(tone(2.0))
        await trio.sleep(0.1)
        assert box.at(Phase.SPEAKING)
        heard_s = await reopened_s(box)
        assert silent_s(box) >= resumed_s + 2.0
        assert is_in_period(heard_s, silent_s(box) + ECHO_S)


async def test_half_is_open_again_after_the_link_was_lost_in_an_answer(
    autojump_clock: MockClock,
) -> None:
    async with a_box('[talk]\nmode = "open"', Manners(answer_s=5.0)) as box:
        await trio.sleep(0.5)
        box.room.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        await trio.sleep(2.0)
        box.network.delay_s = 6.0
        await box.connection.cut()
        await box.until(Phase.LISTENING)
        assert len(box.agent.connections) == 1
        await trio.sleep(5.0)
        now_s = trio.current_time()
        assert is_in_period(await reopened_s(box), now_s + PERIOD_S)


async def test_half_unmuted_in_an_answer_stays_shut_until_it_is_over(
    autojump_clock: MockClock,
) -> None:
    async with a_box(HALF, Manners(answer_s=3.0)) as box:
        await be_answered(box)
        await trio.sleep(0.5)
        box.daemon.commands()["mute"]()
        await trio.sleep(0.5)
        box.daemon.commands()["unmute"]()
        heard_s = await reopened_s(box)
        assert is_in_period(heard_s, silent_s(box) + ECHO_S)


@pytest.mark.parametrize("after_s", [0.1, 0.5])
async def test_half_unmuted_after_an_answer_opens_when_the_room_is_quiet(
    after_s: float, autojump_clock: MockClock
) -> None:
    async with a_box(HALF, Manners(answer_s=3.0)) as box:
        await be_answered(box)
        await trio.sleep(0.5)
        box.daemon.commands()["mute"]()
        await box.until(Phase.RESTING)
        await trio.sleep(after_s)
        box.daemon.commands()["unmute"]()
        unmuted_s = trio.current_time()
        await box.until(Phase.LISTENING)
        assert trio.current_time() == max(unmuted_s, when(box, "last sample played") + ECHO_S)


async def test_full_hears_over_an_answer_and_who_speaks_silences_it_at_once(
    autojump_clock: MockClock,
) -> None:
    async with a_box(FULL, Manners(answer_s=10.0)) as box:
        await be_answered(box)
        await trio.sleep(1.0)
        begun = len(box.connection.heard)
        said = tone(1.0, hz=900)
        box.room.say(said)
        await box.until(Phase.LISTENING)
        began_s, sound = box.room.heard[-1]
        hushed_s = when(box, "user started speaking")
        assert began_s + len(sound) / 2 / RATE_HZ == pytest.approx(hushed_s, abs=1 / RATE_HZ)
        await trio.sleep(2.0)
        assert said in bytes(box.connection.heard[begun:])
