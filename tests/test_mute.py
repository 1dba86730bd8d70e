"""Mute is stronger than everything else: whole boxes, in virtual time.

In the air of these tests every sample is even while the box may hear, and odd while it is muted.
So an odd sample at the agent is one that nobody was to hear, whichever way it took.
"""

import random
from array import array
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from appliance.agent.session import Session
from appliance.conversation import Phase
from appliance.errors import AgentError, AgentUnreachable, Trouble
from appliance.panel.looks import HOLLOW
from appliance.standin.agent import Manners
from tests.box import RATE_HZ, Box, a_box, tone
from tests.test_purse import Book

LONG_S = 100
EVEN, ODD = bytes(2 * RATE_HZ * LONG_S), b"\1\0" * (RATE_HZ * LONG_S)


def order(box: Box, name: str) -> None:
    box.daemon.commands()[name]()


def air(box: Box) -> None:
    """Let the air of a box be odd while it is muted, from the very moment."""
    was_muted = False

    def look(event: dict[str, object]) -> None:
        nonlocal was_muted
        if event["muted"] is not was_muted:
            was_muted = not was_muted
            box.room.say(ODD if was_muted else EVEN)

    box.daemon.subscribe(look)


def say(box: Box, seconds: float) -> None:
    """Say something, oddly if the box is muted."""
    odd = box.daemon.conversation.muted
    samples = array("h", tone(seconds, hz=300.0))
    box.room.say(array("h", ((one & ~1) | odd for one in samples)).tobytes())


def heard(box: Box) -> "array[int]":
    """All that the agent was given, on all connections."""
    return array("h", b"".join(bytes(one.heard) for one in box.agent.connections))


def overheard(box: Box) -> int:
    return sum(sample & 1 for sample in heard(box))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Callable[[Box], None]:
    """Watches what a box puts on the wire: nothing but zeros while it is muted."""
    to_wire = Session._to_wire
    boxes: list[Box] = []

    def watch(session: Session, sound: bytes) -> bytes:
        for box in boxes:
            assert not (box.daemon.conversation.muted and any(sound)), "sound, and muted"
        return to_wire(session, sound)

    monkeypatch.setattr(Session, "_to_wire", watch)
    return boxes.append


PROFILES = (
    '[talk]\nmode = "hold"',
    '[talk]\nmode = "hold"\npreroll_ms = 700',
    '[talk]\nmode = "tap"\npreroll_ms = 700',
    '[talk]\nmode = "tap"\nduplex = "full"',
    '[talk]\nmode = "open"',
    '[talk]\nmode = "open"\nduplex = "full"',
)


def fiddle(box: Box, dice: random.Random) -> None:
    """Do something that a finger, a voice or a network might."""
    match dice.choice(("press", "release", "mute", "unmute", "say", "say", "say", "net")):
        case "say":
            say(box, dice.uniform(0.2, 3.0))
        case "net":
            lost: AgentError = AgentUnreachable(Trouble.UNREACHABLE, "down")
            box.network.fails = lost if dice.random() < 0.5 else None
        case name:
            order(box, name)


@pytest.mark.parametrize("settings", PROFILES)
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_nothing_is_overheard(
    settings: str, seed: int, wire: Callable[[Box], None], autojump_clock: MockClock
) -> None:
    dice = random.Random(f"{seed} {settings}")
    async with a_box(settings, Manners(think_s=0.5, answer_s=3.0)) as box:
        wire(box)
        air(box)
        box.network.delay_s = 0.3
        for _ in range(60):
            fiddle(box, dice)
            if dice.random() < 0.1 and box.network.open:
                await box.connection.cut()
            await trio.sleep(dice.choice((0.0, 0.007, 0.05, 0.4, 2.0)))
        box.network.fails = None
        order(box, "unmute")
        await trio.sleep(40.0)
        assert overheard(box) == 0
        order(box, "release")
        order(box, "press")
        say(box, 2.0)
        await trio.sleep(2.0)
        assert any(heard(box)), "it heard nothing at all"


async def test_muted_for_less_than_a_period_nothing_of_it_is_heard(
    autojump_clock: MockClock,
) -> None:
    async with a_box("[talk]\npreroll_ms = 500") as box:
        air(box)
        say(box, 0.505)
        await trio.sleep(0.505)  # a quarter of a period
        order(box, "mute")
        await trio.sleep(0.01)
        order(box, "unmute")
        box.button.press()
        say(box, 1.0)
        await trio.sleep(1.0)
        box.button.release()
        await box.until(Phase.SPEAKING)
        assert any(heard(box))
        assert overheard(box) == 0


@pytest.mark.parametrize("mode", ["hold", "tap"])
async def test_muted_before_they_were_sent_words_are_not_sent_any_more(
    mode: str, autojump_clock: MockClock
) -> None:
    async with a_box(f'[talk]\nmode = "{mode}"') as box:
        box.network.delay_s = 5.0
        box.button.press()
        say(box, 1.0)
        await trio.sleep(1.0)
        box.button.release()
        await trio.sleep(1.0)
        order(box, "mute")
        assert box.at(Phase.ASLEEP)
        await trio.sleep(20.0)
        assert not box.agent.connections
        order(box, "unmute")
        box.network.delay_s = 0.1
        box.button.press()
        await trio.sleep(2.0)
        box.button.release()
        await trio.sleep(3.0)
        assert heard(box)
        assert not any(heard(box))


async def test_words_that_wait_for_their_turn_are_not_sent_by_a_muted_box(
    wire: Callable[[Box], None], autojump_clock: MockClock
) -> None:
    async with a_box(manners=Manners(text_delay_s=2.0)) as box:
        wire(box)
        box.network.delay_s = 4.0
        await box.say(tone(1.0, hz=300.0))
        await trio.sleep(0.5)
        await box.say(tone(1.0, hz=500.0))  # it goes out after the first one's text
        await trio.sleep(2.0)
        assert box.connection.heard
        order(box, "mute")
        assert box.at(Phase.RESTING)
        await trio.sleep(10.0)
        assert tone(0.5, hz=300.0) in bytes(box.connection.heard)
        assert tone(0.5, hz=500.0) not in bytes(box.connection.heard)
        assert box.room.heard == []


async def test_who_was_heard_before_the_mute_is_answered(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(think_s=2.0)) as box:
        await box.say(tone(1.0))
        await trio.sleep(1.0)
        order(box, "mute")
        assert box.at(Phase.THINKING)
        await box.until(Phase.SPEAKING)
        await box.until(Phase.RESTING)


async def test_who_was_heard_is_not_repeated_by_a_muted_box(autojump_clock: MockClock) -> None:
    async with a_box(manners=Manners(think_s=5.0)) as box:
        await box.say(tone(1.0))
        await trio.sleep(1.0)
        order(box, "mute")
        await box.connection.cut()
        await trio.sleep(60.0)
        assert len(box.agent.connections) == 1
        assert box.at(Phase.ASLEEP)


# ── over a restart ───────────────────────────────────────────────────────────────────────────────


def kept(*, muted: bool, volume: int = 100, setting: int = 100) -> Book:
    book = Book()
    words = f'{{"version":1,"volume":{volume},"setting":{setting},"muted":{str(muted).lower()}}}'
    book.content = words.encode()
    return book


@pytest.mark.parametrize("mode", ["hold", "tap", "open"])
async def test_a_box_that_was_muted_starts_muted_and_dials_nothing(
    mode: str, wire: Callable[[Box], None], autojump_clock: MockClock
) -> None:
    settings = f'[talk]\nmode = "{mode}"\npreroll_ms = 500'
    async with a_box(settings, knobs_book=kept(muted=True)) as box:
        wire(box)
        assert box.daemon.status()["muted"] is True
        assert box.look is HOLLOW
        say(box, 30.0)
        await trio.sleep(60.0)
        if mode != "open":
            box.button.press()
            await trio.sleep(1.0)
            box.button.release()
        assert box.look is HOLLOW
        assert box.network.dials == []
        assert box.daemon.utterances.heard_bytes == 0
        order(box, "unmute")
        await trio.sleep(1.0)
        assert len(box.network.dials) == (mode == "open")
        assert box.at(Phase.LISTENING if mode == "open" else Phase.ASLEEP)


async def test_a_press_wakes_an_open_box_that_started_muted(autojump_clock: MockClock) -> None:
    book = kept(muted=True)
    async with a_box('[talk]\nmode = "open"', knobs_book=book) as box:
        await trio.sleep(60.0)
        box.button.press()
        box.button.release()
        await trio.sleep(1.0)
        assert box.at(Phase.LISTENING)
        assert len(box.agent.connections) == 1


@pytest.mark.parametrize("muted", [True, False])
async def test_each_way_to_mute_is_kept(muted: bool, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.01  # a real thread writes
    book = kept(muted=not muted)
    async with a_box('[talk]\nmode = "open"', knobs_book=book) as box:
        await trio.sleep(3.0)
        box.button.press()
        box.button.release()
        assert box.daemon.conversation.muted is muted
        await trio.sleep(3.0)
    assert book.content == kept(muted=muted).content


# ── the way back ─────────────────────────────────────────────────────────────────────────────────


async def test_a_long_press_unmutes_and_forgets_nothing(autojump_clock: MockClock) -> None:
    async with a_box('[talk]\nmode = "tap"') as box:
        box.daemon.chronicle.history.user_said("Remember this.", trio.current_time())
        order(box, "mute")
        box.button.press()
        await trio.sleep(2.9)
        assert box.daemon.conversation.muted
        await trio.sleep(0.2)
        assert box.daemon.status()["muted"] is False
        box.button.release()
        await trio.sleep(1.0)
        assert box.at(Phase.ASLEEP)
        assert box.network.dials == []
        assert box.daemon.chronicle.history.last_question == "Remember this."


async def test_who_talks_to_a_muted_box_in_hold_is_not_heard_and_a_double_tap_unmutes(
    autojump_clock: MockClock,
) -> None:
    async with a_box() as box:
        order(box, "mute")
        await box.say(tone(8.0))
        await trio.sleep(1.0)
        assert box.daemon.conversation.muted
        for _ in range(2):
            box.button.press()
            await trio.sleep(0.1)
            box.button.release()
            await trio.sleep(0.2)
        assert box.daemon.status()["muted"] is False
        assert box.network.dials == []


async def test_open_hangs_up_while_it_is_muted_and_comes_back(autojump_clock: MockClock) -> None:
    async with a_box('[talk]\nmode = "open"') as box:
        await trio.sleep(3.0)
        order(box, "mute")
        assert box.network.open == 1
        await trio.sleep(25.0)
        assert box.network.open == 0
        await trio.sleep(500.0)
        assert len(box.network.dials) == 1
        assert box.look is HOLLOW
        order(box, "unmute")
        await trio.sleep(1.0)
        assert box.at(Phase.LISTENING)
        assert len(box.network.dials) == 2


async def test_a_muted_open_box_that_lost_its_link_does_not_redial(
    autojump_clock: MockClock,
) -> None:
    async with a_box('[talk]\nmode = "open"') as box:
        await trio.sleep(3.0)
        order(box, "mute")
        await box.connection.cut()
        await trio.sleep(100.0)
        assert len(box.network.dials) == 1
        order(box, "unmute")
        await trio.sleep(1.0)
        assert box.at(Phase.LISTENING)
