"""Looks and lamp. What a stand-in and its original share is tested once, on both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import gpiozero
import pytest
import trio
import trio.testing
from gpiozero.pins.mock import MockFactory

from appliance.conversation import Phase
from appliance.errors import DeviceError, Trouble
from appliance.panel.lamp import Lamp
from appliance.panel.looks import (
    BLINK,
    DARK,
    FLUTTER,
    HALTING,
    HOLLOW,
    HURRIED,
    LOOKS,
    STEADY,
    TRIPLE,
    WINK,
    Look,
    look,
)
from appliance.standin.panel import StandinLamp

ALL_LOOKS = [DARK, STEADY, BLINK, FLUTTER, WINK, TRIPLE, HOLLOW, HURRIED, HALTING]
TROUBLES = [None, *Trouble]
LED_PIN = 25


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockFactory]:
    """gpiozero on mock pins, found the way that a box finds its own."""
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    gpiozero.Device.ensure_pin_factory()
    mock = gpiozero.Device.pin_factory
    yield mock
    mock.close()


# Looks


def test_every_phase_has_a_look_whatever_else_is_true() -> None:
    for phase, muted, trouble in product(Phase, [False, True], TROUBLES):
        assert look(phase, muted=muted, trouble=trouble) in ALL_LOOKS


def test_one_look_per_phase() -> None:
    plain = [look(phase, muted=False, trouble=None) for phase in Phase]
    assert len(set(plain)) == len(Phase)
    assert plain == [LOOKS[phase] for phase in Phase]
    assert set(plain) | {HOLLOW, HURRIED, HALTING} == set(ALL_LOOKS)


def test_no_two_looks_are_alike() -> None:
    for one, other in product(ALL_LOOKS, ALL_LOOKS):
        if one is not other:
            assert one.name != other.name
            assert told_apart(one, other), f"{one.name} and {other.name}"


def told_apart(one: Look, other: Look) -> bool:
    """Different in what share of the time they are lit, or in how often they change."""
    return abs(share(one) - share(other)) >= 0.1 or (
        max(changes_per_s(one), changes_per_s(other))
        >= 2 * min(changes_per_s(one), changes_per_s(other))
    )


def share(it: Look) -> float:
    return sum(lasts_s for lit, lasts_s in it.pattern if lit) / it.period_s


def changes_per_s(it: Look) -> float:
    return 0 if len(it.pattern) == 1 else len(it.pattern) / it.period_s


@pytest.mark.parametrize("it", ALL_LOOKS, ids=lambda it: it.name)
def test_a_look_is_known_within_three_seconds(it: Look) -> None:
    assert 0 < it.period_s <= 3
    assert all(lasts_s >= 0.1 for _, lasts_s in it.pattern), "too short to be seen"
    levels = [lit for lit, _ in it.pattern]
    if len(levels) > 1:
        assert all(one != next_ for one, next_ in zip(levels, levels[1:] + levels[:1], strict=True))


def test_asleep_and_listening_wake_nobody() -> None:
    assert DARK.pattern == ((False, 1.0),)
    assert STEADY.pattern == ((True, 1.0),)


@pytest.mark.parametrize("phase", [Phase.ASLEEP, Phase.RESTING, Phase.TROUBLE])
def test_a_trouble_beats_sleep_and_mute_beats_both(phase: Phase) -> None:
    for trouble in Trouble:
        its_own = HALTING if trouble is Trouble.CAP_REACHED else TRIPLE
        assert look(phase, muted=False, trouble=trouble) is its_own
        assert look(phase, muted=True, trouble=trouble) is HOLLOW


def test_a_permission_that_is_asked_for_shows_first() -> None:
    for phase, muted, trouble in product(Phase, [False, True], TROUBLES):
        assert look(phase, muted=muted, trouble=trouble, asks=True) is HURRIED


@pytest.mark.parametrize("phase", [Phase.ASLEEP, Phase.RESTING, Phase.LISTENING])
def test_muted_shows(phase: Phase) -> None:
    assert look(phase, muted=True, trouble=None) is HOLLOW


@pytest.mark.parametrize("phase", [Phase.THINKING, Phase.SPEAKING])
def test_an_answer_is_shown_whatever_else_is_true(phase: Phase) -> None:
    for muted, trouble in product([False, True], TROUBLES):
        assert look(phase, muted=muted, trouble=trouble) is LOOKS[phase]


def test_listening_is_shown_while_sound_is_kept_whatever_the_link_does() -> None:
    for trouble in TROUBLES:
        assert look(Phase.LISTENING, muted=False, trouble=trouble) is STEADY
        assert look(Phase.LISTENING, muted=True, trouble=trouble) is not STEADY


def test_the_level_of_a_look_follows_its_pattern() -> None:
    assert [WINK.is_lit(at_s) for at_s in (0, 0.09, 0.11, 1.9, 2.0, 2.11)] == [
        *(True, True, False, False, True, False)
    ]
    assert STEADY.is_lit(12345.6)
    assert not DARK.is_lit(12345.6)


# The lamp and its stand-in


@dataclass
class LampRig:
    lamp: Lamp | StandinLamp
    is_lit: Callable[[], bool]


@pytest.fixture(params=["pin", "standin"])
def rig(request: pytest.FixtureRequest, factory: MockFactory) -> LampRig:
    if request.param == "pin":
        lamp = Lamp(LED_PIN)
        pin = factory.pin(LED_PIN)
        return LampRig(lamp, lambda: bool(pin.state))
    standin = StandinLamp()
    return LampRig(standin, lambda: standin.is_lit)


async def test_a_lamp_is_dark_until_told_otherwise(
    rig: LampRig, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(rig.lamp.run)
    await trio.sleep(10)
    assert not rig.is_lit()


@pytest.mark.parametrize("it", ALL_LOOKS, ids=lambda it: it.name)
async def test_the_first_level_is_set_within_the_call(rig: LampRig, it: Look) -> None:
    rig.lamp.show(BLINK if it is not BLINK else WINK)
    rig.lamp.show(it)
    assert rig.is_lit() == it.pattern[0][0]


@pytest.mark.parametrize("it", ALL_LOOKS, ids=lambda it: it.name)
async def test_a_lamp_plays_its_look(
    rig: LampRig, it: Look, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(rig.lamp.run)
    await trio.sleep(0.33)
    rig.lamp.show(it)
    await trio.sleep(0.013)  # between the borders, which are multiples of 50 ms
    for step in range(100):
        assert rig.is_lit() == it.is_lit(0.013 + step * 0.07)
        await trio.sleep(0.07)


async def test_a_new_look_begins_at_once(
    rig: LampRig, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(rig.lamp.run)
    rig.lamp.show(WINK)
    await trio.sleep(1.0)
    assert not rig.is_lit()
    rig.lamp.show(STEADY)
    assert rig.is_lit()
    await trio.sleep(5)
    assert rig.is_lit()


async def test_the_same_look_again_goes_on_undisturbed(
    rig: LampRig, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(rig.lamp.run)
    rig.lamp.show(HOLLOW)
    await trio.sleep(1.85)
    rig.lamp.show(HOLLOW)
    assert not rig.is_lit()


async def test_a_look_shown_before_the_lamp_runs_is_played(
    rig: LampRig, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    rig.lamp.show(FLUTTER)
    nursery.start_soon(rig.lamp.run)
    await trio.sleep(0.15)
    assert not rig.is_lit()
    await trio.sleep(0.1)
    assert rig.is_lit()


async def test_a_closed_lamp_is_dark_and_stays_so(
    rig: LampRig, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.lamp.run)
        rig.lamp.show(STEADY)
        await trio.sleep(1)
        rig.lamp.close()
        rig.lamp.close()
        rig.lamp.show(WINK)
        await trio.sleep(1)
        assert not rig.is_lit()
    # `run` has ended by itself


async def test_a_lamp_can_be_cancelled_and_run_again(
    rig: LampRig, autojump_clock: trio.testing.MockClock
) -> None:
    rig.lamp.show(FLUTTER)
    for _ in range(2):
        with trio.move_on_after(1.03):
            await rig.lamp.run()
    rig.lamp.show(DARK)
    assert not rig.is_lit()


async def test_a_standin_remembers_what_it_showed(autojump_clock: trio.testing.MockClock) -> None:
    lamp, start_s = StandinLamp(), trio.current_time()
    lamp.show(STEADY)
    await trio.sleep(2)
    lamp.show(STEADY)
    lamp.show(BLINK)
    assert lamp.shown == [(start_s, STEADY), (start_s + 2, BLINK)]
    assert lamp.look is BLINK


class StepsOf(trio.abc.Instrument):
    """Counts how often the tasks of one function run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += self.name in task.name


async def test_a_steady_lamp_wakes_nobody(
    factory: MockFactory, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    lamp, counting = Lamp(LED_PIN), StepsOf("Player.run")
    nursery.start_soon(lamp.run)
    for it, steps in [(STEADY, 0), (WINK, 100), (DARK, 0)]:
        lamp.show(it)
        await trio.sleep(0.01)
        counting.steps = 0
        trio.lowlevel.add_instrument(counting)
        await trio.sleep(100)
        trio.lowlevel.remove_instrument(counting)
        assert counting.steps == steps


async def test_a_pin_that_fails_ends_the_run_and_no_call(
    factory: MockFactory, autojump_clock: trio.testing.MockClock
) -> None:
    lamp = Lamp(LED_PIN)
    lamp.show(STEADY)
    lamp._device.close()
    lamp.show(WINK)
    with pytest.raises(DeviceError, match=f"GPIO {LED_PIN}: "):
        await lamp.run()
    lamp.close()
