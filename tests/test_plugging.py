"""Cards pulled and put back under a whole box: in every phase, either card or both.

What is owed: it is told (status in words, the lamp), it is waited out without a restart, nothing of
ours stays behind, and the next press works. With and without a kernel that tells of cards.
"""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from appliance.conversation import Link, Phase
from appliance.errors import AgentUnreachable, Trouble
from appliance.parts import Tell
from appliance.standin.agent import Manners

from .box import Box, a_box, tone

LONG_S = 90.0  # every busy state has ended by then
BACK_S = 5.0  # a card that is back is tried within that,
TOLD_S = 0.1  # and within that where the kernel tells


class Kernel:
    """It tells of cards."""

    def __init__(self) -> None:
        self.changed: Tell | None = None

    async def watch(self, changed: Tell) -> None:
        self.changed = changed
        changed()
        await trio.sleep_forever()

    def tell(self) -> None:
        assert self.changed is not None
        self.changed()


async def asleep(box: Box) -> None:
    assert box.at(Phase.ASLEEP)


async def connecting(box: Box) -> None:
    box.network.delay_s = 1.0
    box.button.press()
    box.room.say(tone(3.0))
    await trio.sleep(0.8)
    box.network.delay_s = 0.0
    assert (box.phase, box.daemon.conversation.link) == (Phase.LISTENING, Link.DIALING)


async def listening(box: Box) -> None:
    box.button.press()
    box.room.say(tone(3.0))
    await trio.sleep(1.5)
    assert (box.phase, box.daemon.conversation.link) == (Phase.LISTENING, Link.UP)


async def thinking(box: Box) -> None:
    await box.say(tone(1.0))
    await box.until(Phase.THINKING)
    await trio.sleep(0.1)
    assert box.at(Phase.THINKING)


async def speaking(box: Box) -> None:
    await box.say(tone(1.0))
    await box.until(Phase.SPEAKING)
    await trio.sleep(1.0)
    assert box.at(Phase.SPEAKING)


async def resting(box: Box) -> None:
    await box.say(tone(1.0))
    await box.until(Phase.SPEAKING)
    await box.until(Phase.RESTING)
    await trio.sleep(1.0)


async def trouble(box: Box) -> None:
    box.network.fails = AgentUnreachable(Trouble.UNREACHABLE, "no way")
    await box.say(tone(1.0))
    await box.until(Phase.TROUBLE)
    box.network.fails = None


PHASES = (asleep, connecting, listening, thinking, speaking, resting, trouble)
CARDS = (("microphone",), ("speaker",), ("microphone", "speaker"))


def card_status(box: Box, which: str) -> dict[str, object]:
    status = box.daemon.status()[which]
    assert isinstance(status, dict)
    return status


@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
@pytest.mark.parametrize("which", CARDS, ids=["microphone", "speaker", "both"])
@pytest.mark.parametrize("reach", PHASES, ids=lambda one: one.__name__)
async def test_a_card_pulled_in_any_phase_is_told_and_put_back_the_next_press_works(
    reach: Callable[[Box], Awaitable[None]],
    which: tuple[str, ...],
    told: bool,
    autojump_clock: MockClock,
) -> None:
    kernel = Kernel()
    manners = Manners(answer_s=5.0, think_s=2.0)
    async with a_box(manners=manners, watch_cards=kernel.watch if told else None) as box:
        await reach(box)
        box.room.unplug(*which)
        if told:
            kernel.tell()
        await trio.sleep(TOLD_S if told else 2.1)
        for card in which:
            words = card_status(box, card)
            assert words["state"] == "missing"
            assert words["trouble"] == "the stand-in card is unplugged"
            assert words["rate_hz"] is None
        box.button.release()
        await trio.sleep(LONG_S)
        assert box.at(Phase.TROUBLE), "the lamp says so for as long as it is out"
        assert box.daemon.conversation.trouble is not None
        assert box.daemon.conversation.trouble.slug in {f"{card}-missing" for card in which}
        assert box.daemon.conversation.link is Link.DOWN, "nobody pays for a box that cannot talk"
        box.room.plug(*which)
        if told:
            kernel.tell()
        await trio.sleep(TOLD_S + 0.01 if told else BACK_S)
        assert box.at(Phase.ASLEEP)
        for card in which:
            assert card_status(box, card)["state"] == "open"
            assert card_status(box, card)["trouble"] is None
        await works(box)


async def works(box: Box) -> None:
    """A turn, from the press to the last sample."""
    before = len(box.spoken())
    connections = len(box.agent.connections)
    await box.say(tone(1.0, hz=700.0))
    await box.until(Phase.SPEAKING)
    await box.until(Phase.RESTING)
    assert len(box.agent.connections) == connections + 1
    assert tone(1.0, hz=700.0) in bytes(box.connection.heard)
    assert len(box.spoken()) > before
    assert len(box.room.streams) == 2


@pytest.mark.parametrize("which", CARDS, ids=["microphone", "speaker", "both"])
@pytest.mark.parametrize("reach", PHASES, ids=lambda one: one.__name__)
async def test_pulled_and_back_within_a_moment_the_next_press_works(
    reach: Callable[[Box], Awaitable[None]], which: tuple[str, ...], autojump_clock: MockClock
) -> None:
    kernel = Kernel()
    async with a_box(manners=Manners(answer_s=5.0, think_s=2.0), watch_cards=kernel.watch) as box:
        await reach(box)
        box.room.unplug(*which)
        kernel.tell()
        await trio.sleep(0.05)
        box.room.plug(*which)
        kernel.tell()
        await trio.sleep(0.2)
        box.button.release()
        assert all(card_status(box, card)["state"] == "open" for card in which)
        await trio.sleep(LONG_S)
        assert box.at(Phase.ASLEEP)
        await works(box)


async def test_a_press_while_a_card_is_out_dials_nothing_and_says_what_is_missing(
    autojump_clock: MockClock,
) -> None:
    async with a_box() as box:
        box.room.unplug("microphone")
        await trio.sleep(3.0)
        await box.say(tone(1.0))
        assert box.daemon.conversation.trouble is Trouble.MICROPHONE_MISSING
        assert box.network.dials == []


async def test_what_was_said_before_the_microphone_went_is_answered(
    autojump_clock: MockClock,
) -> None:
    async with a_box() as box:
        box.button.press()
        box.room.say(tone(3.0))
        await trio.sleep(2.0)
        box.room.unplug("microphone")
        await box.until(Phase.SPEAKING)
        heard = bytes(box.connection.heard)
        assert tone(3.0)[: len(tone(1.9))] in heard


async def test_a_stall_of_a_second_under_a_held_button_loses_no_word(
    autojump_clock: MockClock,
) -> None:
    async with a_box() as box:
        box.button.press()
        over_s = box.room.say(tone(4.0))
        await trio.sleep(1.0)
        box.room.stall()
        await trio.sleep(1.0)
        box.room.go_on()
        await trio.sleep_until(over_s)
        box.button.release()
        await box.until(Phase.SPEAKING)
        assert tone(4.0) in bytes(box.connection.heard)


async def test_what_piles_up_while_an_answer_sounds_is_not_taken_for_words(
    autojump_clock: MockClock,
) -> None:
    manners = Manners(answer_s=6.0)
    async with a_box('[talk]\nmode = "tap"', manners=manners) as box:
        box.button.press()
        box.button.release()
        await trio.sleep(0.5)
        await trio.sleep_until(box.room.say(tone(1.0)))
        await box.until(Phase.SPEAKING)
        await trio.sleep(1.0)
        heard = len(box.connection.heard)
        box.room.say(tone(1.0, hz=700.0))  # the answer's own echo
        box.room.stall()
        await trio.sleep(1.0)
        box.room.go_on()
        await trio.sleep(1.0)
        later = bytes(box.connection.heard[heard:])
        assert later
        assert later.strip(b"\0") == b""


async def test_after_a_thousand_plugs_nothing_is_left_open(autojump_clock: MockClock) -> None:
    kernel = Kernel()
    async with a_box(watch_cards=kernel.watch) as box:
        for _ in range(1000):
            box.room.unplug()
            kernel.tell()
            await trio.sleep(0.05)
            assert box.room.streams == []
            box.room.plug()
            kernel.tell()
            await trio.sleep(0.5)
            assert len(box.room.streams) == 2
        assert box.at(Phase.ASLEEP)
        assert box.room.opened == 2002
        await works(box)
