"""Every button of a whole box, in virtual time."""

import logging

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from appliance.conversation import Phase
from appliance.errors import DeviceError, Trouble
from appliance.panel.looks import DARK, HOLLOW, LOOKS, STEADY, TRIPLE
from appliance.parts import Touched
from appliance.sound.volume import LOWEST
from appliance.standin.panel import StandinButton
from tests.box import Box, a_box, tone
from tests.test_mute import kept

ALL = """
[panel.buttons]
mute = 22
volume_up = 5
volume_down = 6
forget = 13
"""
SWITCH = "[panel.buttons]\nmute = { pin = 22, kind = 'switch' }\n"


def double(what: str, mode: str = "hold") -> str:
    return f"[panel.gestures]\ndouble_press = '{what}'\n[talk]\nmode = '{mode}'"


async def tap(box: Box, name: str = "talk", held_s: float = 0.1) -> None:
    box.buttons[name].press()
    await trio.sleep(held_s)
    box.buttons[name].release()


def happened(box: Box, what: str) -> int:
    return sum(event["event"] == what for event in box.events)


def is_muted(box: Box) -> bool:
    return box.daemon.conversation.muted


def panel_of(box: Box) -> tuple[str, str | None]:
    """Its state, and its trouble, as `status` has them."""
    panel = box.daemon.status()["panel"]
    assert isinstance(panel, dict)
    assert panel["pins"] is None, "stand-ins have none"
    return panel["state"], panel["trouble"]


# Mute


async def test_a_mute_button_toggles_at_once(autojump_clock: MockClock) -> None:
    async with a_box(ALL) as box:
        box.buttons["mute"].press()
        assert is_muted(box)
        assert box.look is HOLLOW
        box.buttons["mute"].release()
        await trio.sleep(1)
        assert is_muted(box)
        await tap(box, "mute")
        assert not is_muted(box)
        assert box.look is DARK


async def test_a_mute_button_erases_what_is_being_said(autojump_clock: MockClock) -> None:
    async with a_box(ALL) as box:
        box.button.press()
        box.room.say(tone(2))
        await trio.sleep(1)
        await tap(box, "mute")
        box.button.release()
        await trio.sleep(10)
        assert is_muted(box)
        assert box.spoken().strip(b"\0") == b""


async def test_a_mute_switch_mutes_while_it_is_closed(autojump_clock: MockClock) -> None:
    async with a_box(SWITCH) as box:
        box.buttons["mute"].press()
        assert is_muted(box)
        await trio.sleep(3600)
        assert is_muted(box)
        box.buttons["mute"].release()
        assert not is_muted(box)


async def test_a_mute_switch_that_is_closed_at_the_start_counts(autojump_clock: MockClock) -> None:
    async with a_box(SWITCH, held=["mute"]) as box:
        assert is_muted(box)
        assert panel_of(box) == ("open", None)
        box.buttons["mute"].release()
        assert not is_muted(box)


async def test_a_mute_switch_that_is_open_at_the_start_counts_too(
    autojump_clock: MockClock,
) -> None:
    autojump_clock.autojump_threshold = 0.01  # a real thread writes
    async with a_box(ALL, knobs_book=kept(muted=True)) as box:
        assert is_muted(box), "a button has no position"
    async with a_box(SWITCH, knobs_book=kept(muted=True)) as box:
        assert not is_muted(box)
        assert happened(box, "mute") == 0
    async with a_box(SWITCH, knobs_book=kept(muted=True), held=["mute"]) as box:
        assert is_muted(box)


async def test_a_closed_mute_switch_beats_whatever_unmutes(autojump_clock: MockClock) -> None:
    async with a_box(SWITCH + "[talk]\nmode = 'open'", held=["mute"]) as box:
        box.daemon.commands()["unmute"]()
        assert is_muted(box)
        await tap(box)
        await trio.sleep(1)
        assert is_muted(box)
        assert box.look is not STEADY
        box.buttons["mute"].release()
        assert not is_muted(box)


# Volume


async def test_a_volume_button_steps_at_once_and_again_while_it_is_held(
    autojump_clock: MockClock,
) -> None:
    async with a_box(ALL) as box:
        levels: list[int] = []

        def hear(event: dict[str, object]) -> None:
            if event["event"] == "volume":
                assert isinstance(event["level"], int)
                levels.append(event["level"])

        box.daemon.subscribe(hear)
        box.buttons["volume_down"].press()
        assert levels == [90]
        await trio.sleep(0.49)
        assert levels == [90]
        await trio.sleep(0.02)
        assert levels == [90, 80]
        await trio.sleep(0.6)
        assert levels == [90, 80, 70, 60]
        box.buttons["volume_down"].release()
        await trio.sleep(10)
        await tap(box, "volume_up")
        assert levels == [90, 80, 70, 60, 70]


async def test_a_volume_button_stops_at_the_ends(autojump_clock: MockClock) -> None:
    async with a_box(ALL) as box:
        await tap(box, "volume_up", held_s=3)
        assert box.daemon.volume == 100
        await tap(box, "volume_down", held_s=10)
        assert box.daemon.volume == LOWEST


async def test_a_volume_button_leaves_the_conversation_alone(autojump_clock: MockClock) -> None:
    async with a_box(ALL) as box:
        box.button.press()
        await tap(box, "volume_down", held_s=2)
        assert box.phase is Phase.LISTENING
        box.button.release()


# Forget


async def test_a_forget_button_acts_on_a_long_press_only(autojump_clock: MockClock) -> None:
    async with a_box(ALL) as box:
        await tap(box, "forget", held_s=2.9)
        await trio.sleep(10)
        assert happened(box, "forget") == 0
        await tap(box, "forget", held_s=3.1)
        assert happened(box, "forget") == 1
        await tap(box, "forget", held_s=100)
        assert happened(box, "forget") == 2


# A double press


@pytest.mark.parametrize(("mode", "what"), [("hold", "mute"), ("tap", "mute"), ("hold", "forget")])
async def test_a_double_press_does_what_it_is_set_to(
    mode: str, what: str, autojump_clock: MockClock
) -> None:
    async with a_box(double(what, mode)) as box:
        await tap(box)
        await trio.sleep(0.2)
        assert happened(box, what) == 0
        await tap(box)
        assert happened(box, what) == 1
        await trio.sleep(10)
        assert happened(box, what) == 1


async def test_a_double_press_in_hold_opens_no_socket_and_sends_nothing(
    autojump_clock: MockClock,
) -> None:
    async with a_box(double("mute")) as box:
        await tap(box)
        await trio.sleep(0.2)
        await tap(box)
        await trio.sleep(30)
        assert box.agent.connections == []
        assert is_muted(box)


async def test_a_tap_and_the_words_after_it_are_no_double_press(autojump_clock: MockClock) -> None:
    async with a_box(double("mute")) as box:
        await tap(box)
        await trio.sleep(0.1)
        await box.say(tone(2))
        await box.until(Phase.SPEAKING)
        assert not is_muted(box)


async def test_two_taps_are_nothing_unless_they_are_set(autojump_clock: MockClock) -> None:
    async with a_box(ALL) as box:
        before = box.daemon.volume
        await tap(box)
        await tap(box)
        await trio.sleep(5)
        assert not is_muted(box)
        assert (box.daemon.volume, happened(box, "forget")) == (before, 0)


async def test_the_press_of_a_box_with_gestures_is_as_quick_as_any(
    autojump_clock: MockClock,
) -> None:
    async with a_box(double("volume_up")) as box:
        box.button.press()
        assert box.look is STEADY, "within the call"
        await trio.sleep(0.1)
        box.button.release()
        assert box.phase is Phase.ASLEEP
        await trio.sleep(0.1)
        await tap(box)


# A button that is stuck, missing, or fails


async def test_a_button_that_is_held_at_the_start_is_named_and_opens_no_session(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    with caplog.at_level(logging.INFO):
        async with a_box(held=["talk"]) as box:
            await trio.sleep(100)
            assert box.phase is Phase.ASLEEP
            assert box.network.dials == []
            assert not box.daemon.conversation.held
            assert box.look is TRIPLE
            told = "GPIO 17: the button 'talk' is held since the start"
            assert panel_of(box) == ("stuck", told)
            assert box.manager.told[-1] == f"asleep; {Trouble.BUTTON_STUCK.sentence}"
            assert f"{Trouble.BUTTON_STUCK.sentence}: {told}" in caplog.text
            box.button.release()
            assert box.phase is Phase.ASLEEP
            assert box.look is DARK
            assert panel_of(box) == ("open", None)
            assert "GPIO 17: the button 'talk' has been let go" in caplog.text
            await box.say(tone(1))
            await box.until(Phase.SPEAKING)


async def test_what_a_stuck_button_hides_no_longer_shows_while_somebody_talks(
    autojump_clock: MockClock,
) -> None:
    async with a_box(ALL, held=["volume_up"]) as box:
        assert box.look is TRIPLE
        await trio.sleep(10)
        assert box.daemon.volume == 100
        box.button.press()
        assert box.look is STEADY
        await trio.sleep(1)
        box.button.release()
        await box.until(Phase.THINKING)
        assert box.look is LOOKS[Phase.THINKING]


class FailingButton(StandinButton):
    """Its pin fails when it is told to."""

    def __init__(self, tell: Touched) -> None:
        super().__init__(tell)
        self.failed = trio.Event()

    async def run(self) -> None:
        await self.failed.wait()
        raise DeviceError("GPIO 17: /dev/gpiochip0: No such device")


async def test_a_button_whose_pin_fails_while_it_is_held_has_been_let_go_of(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("tests.box.StandinButton", lambda tell, is_down: FailingButton(tell))
    async with a_box() as box:
        button = box.button
        assert isinstance(button, FailingButton)
        button.press()
        box.room.say(tone(1))
        await trio.sleep(1)
        assert box.phase is Phase.LISTENING
        button.failed.set()
        await box.until(Phase.THINKING)
        assert panel_of(box) == ("missing", "GPIO 17: /dev/gpiochip0: No such device")
        await box.until(Phase.SPEAKING)
        box.daemon.commands()["press"]()
        assert box.phase is Phase.LISTENING, "a command still presses"


async def test_a_mute_switch_whose_pin_fails_leaves_the_box_muted_until_it_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr("tests.box.StandinButton", lambda tell, is_down: FailingButton(tell))
    async with a_box(SWITCH) as box:
        switch = box.buttons["mute"]
        assert isinstance(switch, FailingButton)
        switch.press()
        switch.failed.set()
        await trio.testing.wait_all_tasks_blocked()
        assert panel_of(box)[0] == "missing"
        assert is_muted(box)
        box.daemon.commands()["unmute"]()
        assert not is_muted(box)


async def test_a_button_that_cannot_be_had_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    def open_or_fail(tell: Touched, *, is_down: bool) -> StandinButton:
        if tell.args[0].name in {"mute", "forget"}:  # type: ignore[attr-defined]
            raise DeviceError(f"GPIO 22: {tell.args[0].name}: in use")  # type: ignore[attr-defined]
        return StandinButton(tell, is_down=is_down)

    monkeypatch.setattr("tests.box.StandinButton", open_or_fail)
    async with a_box(ALL) as box:
        assert panel_of(box) == ("missing", "GPIO 22: mute: in use; GPIO 22: forget: in use")
        assert box.look is TRIPLE
        await tap(box, "volume_down")
        assert box.daemon.volume == 90
        await box.say(tone(1))
        await box.until(Phase.SPEAKING)


# The box as a whole


async def test_a_box_without_any_button_lives_by_commands(autojump_clock: MockClock) -> None:
    async with a_box("[panel.buttons]\ntalk = 0") as box:
        assert box.buttons == {}
        box.daemon.commands()["press"]()
        assert box.phase is Phase.LISTENING
        box.daemon.commands()["release"]()


async def test_buttons_tell_nothing_after_the_box_was_stopped(autojump_clock: MockClock) -> None:
    async with a_box(ALL) as box:
        box.daemon.stop()
        await box.gone.wait()
        before = len(box.events)
        for button in box.buttons.values():
            button.press()
        assert len(box.events) == before


class StepsOfFingers(trio.abc.Instrument):
    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += "Fingers" in task.name or "Button" in task.name


async def test_fingers_that_rest_wake_nobody(autojump_clock: MockClock) -> None:
    async with a_box(ALL + double("mute"), held=["volume_up"]) as box:
        counting = StepsOfFingers()
        await trio.sleep(1)
        trio.lowlevel.add_instrument(counting)
        await trio.sleep(3600)
        assert counting.steps == 0
        await tap(box, "volume_down", held_s=1)
        assert counting.steps > 0, "it is counted"
        trio.lowlevel.remove_instrument(counting)
