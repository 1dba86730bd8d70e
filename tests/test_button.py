"""The button on mock pins, on the kernel's lines and as a stand-in; and the ways to the pins."""

import gc
import os
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gpiozero
import pytest
import trio
import trio.testing
from gpiozero.pins.mock import MockFactory

from appliance.errors import DeviceError
from appliance.panel import lines, pins
from appliance.panel.button import Button
from appliance.panel.gestures import SETTLE_S, Touch
from appliance.panel.lamp import Lamp
from appliance.standin.panel import StandinButton
from tests.fake_chip import FakeChips

LED_PIN = 25
BUTTON_PIN = 17
PRESSED, RELEASED, STUCK, OPEN = Touch.PRESSED, Touch.RELEASED, Touch.STUCK, Touch.OPEN


class Told(list[Touch]):
    """What a button tells, but for that it was open at the start."""

    def append(self, touch: Touch) -> None:
        if touch is not OPEN:
            super().append(touch)


@pytest.fixture
def no_factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """gpiozero as it is before anything was opened."""
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.delenv(pins.VARIABLE, raising=False)
    gc.collect()  # a device that could not be opened keeps its pin until it is collected
    yield
    if gpiozero.Device.pin_factory is not None:
        gpiozero.Device.pin_factory.close()


@pytest.fixture
def mock(no_factory: None, monkeypatch: pytest.MonkeyPatch) -> MockFactory:
    """gpiozero on mock pins, found the way that a box finds its own."""
    monkeypatch.setenv(pins.VARIABLE, "mock")
    assert pins.find_way() == "mock"
    return gpiozero.Device.pin_factory


@pytest.fixture
def chips(no_factory: None, monkeypatch: pytest.MonkeyPatch) -> FakeChips:
    """gpiozero on the kernel's lines."""
    chips = FakeChips()
    gpiozero.Device.pin_factory = lines.GpiodFactory(chips.paths, chips.open)
    assert pins.find_way() == "gpiod"
    return chips


# The button and its stand-in


@dataclass
class Rig:
    """A button that runs, and the finger on it."""

    button: Button | StandinButton
    press: Callable[[], None]
    release: Callable[[], None]
    told: list[Touch]

    async def hear(self, *expected: Touch) -> None:
        """Just that has been told, once everything has had its say."""
        await settle()
        assert self.told == list(expected)


MakeRig = Callable[[], Rig]


@pytest.fixture(params=["mock", "lines", "standin"])
def make(request: pytest.FixtureRequest) -> Iterator[MakeRig]:
    told = Told()
    made: list[Rig] = []

    def on_a_pin() -> Rig:
        mock: MockFactory = request.getfixturevalue("mock")
        button = Button(BUTTON_PIN, told.append)
        pin = mock.pin(BUTTON_PIN)
        return Rig(button, pin.drive_low, pin.drive_high, told)

    def on_a_line() -> Rig:
        chips: FakeChips = request.getfixturevalue("chips")
        button = Button(BUTTON_PIN, told.append)
        return Rig(button, lambda: chips.press(BUTTON_PIN), lambda: chips.release(BUTTON_PIN), told)

    def on_nothing() -> Rig:
        standin = StandinButton(told.append)
        return Rig(standin, standin.press, standin.release, told)

    def make() -> Rig:
        made.append({"mock": on_a_pin, "lines": on_a_line, "standin": on_nothing}[request.param]())
        return made[0]

    yield make
    for rig in made:
        rig.button.close()


async def test_presses_and_releases_come_in_their_order(
    make: MakeRig, nursery: trio.Nursery
) -> None:
    rig = make()
    nursery.start_soon(rig.button.run)
    for finger in (rig.press, rig.release, rig.press):
        finger()
    await rig.hear(PRESSED, RELEASED, PRESSED)
    rig.release()
    await rig.hear(PRESSED, RELEASED, PRESSED, RELEASED)


async def test_pressing_what_is_pressed_tells_nothing(make: MakeRig, nursery: trio.Nursery) -> None:
    rig = make()
    nursery.start_soon(rig.button.run)
    rig.release()
    rig.press()
    rig.press()
    await rig.hear(PRESSED)


async def test_a_closed_button_tells_nothing_and_its_run_ends(make: MakeRig) -> None:
    rig = make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.button.run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        rig.button.close()
        rig.button.close()
    await rig.hear()


def test_a_finger_on_a_closed_standin_is_not_told() -> None:
    told = Told()
    button = StandinButton(told.append)
    button.close()
    button.press()
    button.release()
    assert told == []


async def test_news_on_its_way_when_the_button_is_closed_is_dropped(
    make: MakeRig, nursery: trio.Nursery
) -> None:
    rig = make()
    if isinstance(rig.button, StandinButton):
        pytest.skip("it tells within the call")
    rig.press()
    rig.button.close()
    nursery.start_soon(rig.button.run)
    await rig.hear()


async def test_a_press_in_a_foreign_thread_is_told_in_ours(
    mock: MockFactory, nursery: trio.Nursery
) -> None:
    told: list[str] = []
    button = Button(BUTTON_PIN, lambda _: told.append(threading.current_thread().name))
    nursery.start_soon(button.run)
    pin = mock.pin(BUTTON_PIN)
    finger = threading.Thread(target=lambda: (pin.drive_low(), pin.drive_high()), name="finger")
    finger.start()
    await trio.to_thread.run_sync(finger.join)
    await trio.testing.wait_all_tasks_blocked(0.01)
    button.close()
    assert told == [threading.current_thread().name] * 2


def test_a_press_after_the_loop_has_ended_is_passed_over(mock: MockFactory) -> None:
    told = Told()

    async def make() -> Button:
        return Button(BUTTON_PIN, told.append)

    button = trio.run(make)
    mock.pin(BUTTON_PIN).drive_low()
    button.close()
    assert told == []


# What is believed of a contact, on virtual time. The kernel's lines are real descriptors and take
# real time to be told, so their edges are awaited before the clock goes on.


@pytest.fixture(params=["mock", "lines"])
def pin_rig(request: pytest.FixtureRequest) -> Callable[..., tuple[Any, list[Touch], Any]]:
    def make(tell: Callable[[Touch], None] | None = None) -> tuple[Any, list[Touch], Any]:
        told = Told()
        if request.param == "lines":
            chips: FakeChips = request.getfixturevalue("chips")
            return Button(BUTTON_PIN, tell or told.append), told, chips
        mock: MockFactory = request.getfixturevalue("mock")
        finger = _MockFinger(mock.pin(BUTTON_PIN))
        return Button(BUTTON_PIN, tell or told.append), told, finger

    return make


class _MockFinger:
    """Fingers as on a fake chip, on a mock pin."""

    def __init__(self, pin: Any) -> None:
        self._pin = pin

    def press(self, _: int, *, lost: bool = False) -> None:
        self.drive(0, False, lost=lost)

    def release(self, _: int, *, lost: bool = False) -> None:
        self.drive(0, True, lost=lost)

    def drive(self, _: int, level: bool, *, lost: bool = False) -> None:
        edges = self._pin.edges
        if lost:
            self._pin.edges = "none"
        (self._pin.drive_high if level else self._pin.drive_low)()
        self._pin.edges = edges


async def settle() -> None:
    """Let real descriptors and foreign threads have their say."""
    await trio.testing.wait_all_tasks_blocked(0.005)


async def test_a_release_that_was_lost_is_noticed(
    pin_rig: Callable[..., tuple[Any, list[Touch], Any]],
    nursery: trio.Nursery,
    mock_clock: trio.testing.MockClock,
) -> None:
    button, told, finger = pin_rig()
    nursery.start_soon(button.run)
    await pass_(mock_clock, 1)
    finger.press(BUTTON_PIN)
    await settle()
    await pass_(mock_clock, 2)
    finger.release(BUTTON_PIN, lost=True)
    await pass_(mock_clock, 0.6)
    assert told == [PRESSED, RELEASED]
    finger.press(BUTTON_PIN)
    await settle()
    assert told == [PRESSED, RELEASED, PRESSED], "gpiozero does not swallow it"
    button.close()


async def pass_(clock: trio.testing.MockClock, seconds: float) -> None:
    for _ in range(round(seconds / 0.01)):
        clock.jump(0.01)
        await settle_quickly()


async def settle_quickly() -> None:
    for _ in range(5):
        await trio.lowlevel.checkpoint()


async def test_a_button_that_is_held_at_the_start_is_stuck_until_it_is_let_go(
    pin_rig: Callable[..., tuple[Any, list[Touch], Any]],
    nursery: trio.Nursery,
    mock_clock: trio.testing.MockClock,
) -> None:
    button, told, finger = pin_rig()
    finger.press(BUTTON_PIN, lost=True)
    nursery.start_soon(button.run)
    await pass_(mock_clock, SETTLE_S + 0.1)
    assert told == [STUCK]
    finger.release(BUTTON_PIN)
    await settle()
    finger.press(BUTTON_PIN)
    await settle()
    assert told == [STUCK, RELEASED, PRESSED]
    button.close()


async def test_a_button_that_is_open_at_the_start_is_told_so_once(
    pin_rig: Callable[..., tuple[Any, list[Touch], Any]],
    nursery: trio.Nursery,
    mock_clock: trio.testing.MockClock,
) -> None:
    told: list[Touch] = []
    button, _, _ = pin_rig(tell=told.append)
    nursery.start_soon(button.run)
    await pass_(mock_clock, SETTLE_S + 1)
    assert told == [OPEN]
    button.close()


@pytest.mark.parametrize(
    ("active", "pull", "closed"),
    [("low", "up", False), ("high", "down", True), ("low", "none", False), ("high", "none", True)],
)
async def test_contacts_to_ground_and_to_the_supply(
    active: Literal["low", "high"],
    pull: Literal["up", "down", "none"],
    closed: bool,
    chips: FakeChips,
    nursery: trio.Nursery,
) -> None:
    chips.driven[BUTTON_PIN] = not closed
    told = Told()
    button = Button(BUTTON_PIN, told.append, active=active, pull=pull)
    nursery.start_soon(button.run)
    await settle()
    assert chips.requests[BUTTON_PIN].settings.debounce_period.total_seconds() == pins.BOUNCE_S
    chips.drive(BUTTON_PIN, closed)
    await settle()
    chips.drive(BUTTON_PIN, not closed)
    await settle()
    assert told == [PRESSED, RELEASED]
    button.close()


class StepsOfButton(trio.abc.Instrument):
    """Counts how often the tasks of buttons run."""

    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += task.name.endswith("wakes_nobody.<locals>.run")


async def test_a_button_that_nobody_touches_wakes_nobody(
    pin_rig: Callable[..., tuple[Any, list[Touch], Any]],
    nursery: trio.Nursery,
    mock_clock: trio.testing.MockClock,
) -> None:
    threads = threading.active_count()
    button, _, finger = pin_rig()
    ended = trio.Event()

    async def run() -> None:
        await button.run()
        ended.set()

    nursery.start_soon(run)
    await pass_(mock_clock, 1)
    counting = StepsOfButton()
    trio.lowlevel.add_instrument(counting)
    for _ in range(24):
        mock_clock.jump(3600)
        await settle()
    assert counting.steps == 0
    assert threading.active_count() == threads
    finger.press(BUTTON_PIN)
    await settle()
    assert counting.steps > 0, "it is counted"
    trio.lowlevel.remove_instrument(counting)
    finger.release(BUTTON_PIN)
    await pass_(mock_clock, 1)
    button.close()
    await settle()
    assert ended.is_set(), "nothing else would wake it"


async def test_a_button_may_be_closed_in_the_moment_when_it_is_looked_at(
    pin_rig: Callable[..., tuple[Any, list[Touch], Any]], autojump_clock: trio.testing.MockClock
) -> None:
    for _ in range(10):  # which of two tasks is the first is chance
        button, told, _ = pin_rig()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(button.run)
            await trio.sleep(SETTLE_S)
            button.close()
        assert told == []


async def test_a_chip_that_goes_while_a_button_waits_is_named(chips: FakeChips) -> None:
    button = Button(BUTTON_PIN, print)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            told = f"^GPIO {BUTTON_PIN}: /dev/gpiochip0: No such device$"
            with pytest.raises(DeviceError, match=told):
                await button.run()

        nursery.start_soon(run)
        await settle()
        chips.vanish()
    button.close()


# The ways to the pins


async def test_no_way_to_the_pins_is_one_error_that_says_what_to_do_and_the_rest_beside(
    no_factory: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lines, "chips", list)
    if has_pins():
        pytest.skip("this machine has pins")
    for opens in (lambda: Lamp(LED_PIN), lambda: Button(BUTTON_PIN, print)):
        with pytest.raises(DeviceError) as caught:
            opens()
        assert str(caught.value) == (
            "no way to the pins: no GPIO chip of a Raspberry Pi: there is no /dev/gpiochip*;"
            " voice-appliance press does what a button does"
        )
        assert re.search(r"lgpio: .*native: ", caught.value.details)
    assert capfd.readouterr().err == ""


def has_pins() -> bool:
    return any(Path("/dev").glob("gpiochip*")) or Path("/dev/gpiomem").exists()


def test_the_kernels_lines_are_the_first_choice(
    no_factory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = FakeChips()
    monkeypatch.setattr(
        pins, "_reach_lines", lambda: lines.GpiodFactory(chips.paths, open_chip=chips.open)
    )
    monkeypatch.setattr(gpiozero.Device, "_default_pin_factory", MockFactory)
    assert pins.find_way() == "gpiod"


def nobody() -> None:
    raise gpiozero.BadPinFactory("none")


def test_without_gpiod_the_way_is_gpiozeros_own(
    no_factory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    mock = MockFactory()
    monkeypatch.setitem(sys.modules, "appliance.panel.lines", None)  # as if gpiod were missing
    monkeypatch.setattr(gpiozero.Device, "_default_pin_factory", nobody)
    with pytest.raises(DeviceError, match=r"no way to the pins: .*; deploy/install.sh brings gp"):
        pins.find_way()
    monkeypatch.setattr(gpiozero.Device, "_default_pin_factory", lambda: mock)
    assert pins.find_way() == "mock"
    assert gpiozero.Device.pin_factory is mock


def test_a_way_that_was_asked_for_is_not_replaced_by_another(
    no_factory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "chips", list)
    monkeypatch.setattr(gpiozero.Device, "_default_pin_factory", MockFactory)
    with pytest.raises(DeviceError, match=r"no way to the pins: no GPIO chip .* no /dev/gpio"):
        pins.find_way("gpiod")
    with pytest.raises(DeviceError, match=r"gpiozero knows none .* 'nonsense'"):
        pins.find_way("nonsense")
    assert pins.find_way("auto") == "mock"
    assert pins.find_way("gpiod") == "mock", "it is found once"


def test_the_environment_beats_the_settings(
    no_factory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pins.VARIABLE, "Mock")
    assert pins.find_way("gpiod") == "mock"


@pytest.mark.parametrize("name", ["nonsense", "native"])
async def test_a_factory_that_was_asked_for_and_fails_is_named(
    name: str, no_factory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_pins():
        pytest.skip("this machine has pins")
    monkeypatch.setenv(pins.VARIABLE, name)
    with pytest.raises(DeviceError, match=f"no way to the pins: .*{name}"):
        Lamp(LED_PIN)


def test_lgpio_is_imported_without_leaving_its_traces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LG_WD", raising=False)

    def as_lgpio_does() -> str:
        folder = os.environ["LG_WD"]
        os.chdir(folder)
        os.mkfifo(".lgd-nfy0")
        return folder

    def fail() -> None:
        with pins.apart():
            folders.append(as_lgpio_does())
            raise ImportError

    folders: list[str] = []
    with pytest.raises(ImportError):
        fail()
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []
    assert not Path(folders[0]).exists()
    assert "LG_WD" not in os.environ

    monkeypatch.setenv("LG_WD", "/srv")
    with pins.apart():
        assert as_lgpio_does() != "/srv", "which may not be writable"
    assert os.environ["LG_WD"] == "/srv"


# What is wrong with a pin


async def test_a_pin_in_use_is_named(mock: MockFactory) -> None:
    lamp = Lamp(LED_PIN)
    with pytest.raises(DeviceError, match=f"GPIO {LED_PIN}: .*in use"):
        Lamp(LED_PIN)
    with pytest.raises(DeviceError, match=f"GPIO {LED_PIN}: .*in use"):
        Button(LED_PIN, print)
    lamp.close()
    Lamp(LED_PIN).close()


async def test_a_line_that_is_taken_is_named_with_its_taker(chips: FakeChips) -> None:
    chips.taken = {BUTTON_PIN: "gpio_ir_recv"}
    with pytest.raises(DeviceError, match=f"^GPIO {BUTTON_PIN}: taken by 'gpio_ir_recv'$"):
        Button(BUTTON_PIN, print)


async def test_a_pin_that_lgpio_finds_busy_is_named(
    mock: MockFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # lgpio raises a plain Exception of its own, whose text is the repr of its words.
    class LgpioError(Exception):
        def __str__(self) -> str:
            return "'GPIO busy'"

    def refuse(number: int) -> None:
        raise LgpioError(number)

    lgpio = types.ModuleType("lgpio")
    lgpio.error = LgpioError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lgpio", lgpio)
    monkeypatch.setattr(mock, "pin", refuse)
    with pytest.raises(DeviceError, match=f"^GPIO {LED_PIN}: GPIO busy$"):
        Lamp(LED_PIN)


def test_an_led_to_the_supply_is_dark_when_its_pin_is_high(chips: FakeChips) -> None:
    for active_high in (True, False):
        device = pins.output_pin(LED_PIN, active_high=active_high)
        assert not device.value
        assert chips.level(LED_PIN) is not active_high
        device.close()
