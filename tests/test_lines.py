"""The pin factory on the kernel's lines, beneath gpiozero's devices, on a chip that is none."""

import errno
import gc
import threading
from collections.abc import Iterator
from datetime import timedelta

import gpiozero
import pytest
import trio
from gpiod.line import Bias, Direction, Edge, Value
from gpiozero import DigitalInputDevice, InputDevice, OutputDevice

from appliance.errors import DeviceError
from appliance.panel import lines
from appliance.panel.lines import GpiodFactory
from tests.fake_chip import FakeChips


@pytest.fixture
def chips() -> FakeChips:
    return FakeChips()


@pytest.fixture
def factory(chips: FakeChips) -> Iterator[GpiodFactory]:
    gc.collect()  # a device that could not be opened keeps its pin until it is collected
    made = factory_on(chips)
    yield made
    made.close()
    assert chips.requests == {}, "a line that was not given back"


def factory_on(chips: FakeChips) -> GpiodFactory:
    return GpiodFactory(chips.paths, chips.open)


# The chip


@pytest.mark.parametrize("label", ["pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1"])
def test_the_chip_is_found_by_its_label_wherever_it_is(label: str) -> None:
    for path in ("/dev/gpiochip0", "/dev/gpiochip4"):
        chips = FakeChips({"/dev/gpiochip1": "gpio-brcmstb@107d508500", path: label})
        assert factory_on(chips).path == path


def test_a_chip_of_a_pi_to_come_is_known_by_the_name_of_its_line() -> None:
    chips = FakeChips({"/dev/gpiochip0": "raspberrypi-exp-gpio", "/dev/gpiochip9": "pinctrl-rp7"})
    chips.names = {"/dev/gpiochip0": "LED_GREEN", "/dev/gpiochip9": "GPIO17"}
    assert factory_on(chips).path == "/dev/gpiochip9"


def test_where_no_chip_fits_all_that_there_are_are_told() -> None:
    chips = FakeChips({"/dev/gpiochip0": "INT3452:00"}, refused={"/dev/gpiochip1": errno.EACCES})
    told = "INT3452:00, /dev/gpiochip1: Permission denied; its user has to be in the group"
    with pytest.raises(
        DeviceError, match=f"no GPIO chip of a Raspberry Pi: /dev/gpiochip0 is {told}"
    ):
        factory_on(chips)
    with pytest.raises(DeviceError, match=r"there is no /dev/gpiochip\*"):
        GpiodFactory([])


def test_the_chips_of_this_machine_are_looked_at_unless_others_are_given(
    monkeypatch: pytest.MonkeyPatch, chips: FakeChips
) -> None:
    monkeypatch.setattr(lines, "chips", lambda: chips.paths)
    assert GpiodFactory(open_chip=chips.open).path == "/dev/gpiochip0"


def test_a_board_that_gpiozero_does_not_know_has_the_pins_that_all_have(
    monkeypatch: pytest.MonkeyPatch, factory: GpiodFactory
) -> None:
    def tell_nothing(_: object) -> int:
        raise gpiozero.PinUnknownPi

    monkeypatch.setattr("gpiozero.pins.local.LocalPiFactory._get_revision", tell_nothing)
    for number in range(28):
        assert factory.pin(number).info.name == f"GPIO{number}"


def test_a_board_that_gpiozero_knows_is_that(
    monkeypatch: pytest.MonkeyPatch, factory: GpiodFactory
) -> None:
    monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", lambda: 0xC03111)
    assert factory.board_info.model == "4B"


# Inputs


def test_an_input_is_one_request_with_its_pull(chips: FakeChips, factory: GpiodFactory) -> None:
    for pull_up, active, bias in [
        (True, None, Bias.PULL_UP),
        (False, None, Bias.PULL_DOWN),
        (None, True, Bias.DISABLED),
    ]:
        device = InputDevice(17, pull_up=pull_up, active_state=active, pin_factory=factory)
        settings = chips.requests[17].settings
        assert (settings.direction, settings.bias) == (Direction.INPUT, bias)
        assert settings.edge_detection is Edge.NONE
        assert device.pull_up is pull_up
        device.close()
        assert chips.requests == {}


def test_gpiozeros_own_input_device_has_kernel_debounce_and_both_edges(
    chips: FakeChips, factory: GpiodFactory
) -> None:
    device = DigitalInputDevice(17, pull_up=True, bounce_time=0.01, pin_factory=factory)
    settings = chips.requests[17].settings
    assert settings.debounce_period == timedelta(milliseconds=10)
    assert settings.edge_detection is Edge.BOTH
    assert settings.bias is Bias.PULL_UP
    assert (device.pin.bounce, device.pin.edges, device.pin.pull) == (0.01, "both", "up")
    assert not device.is_active
    chips.press(17)
    assert device.is_active
    device.close()


async def test_edges_come_in_trios_thread_and_in_their_order(
    chips: FakeChips, factory: GpiodFactory
) -> None:
    told: list[str] = []
    device = DigitalInputDevice(17, pull_up=True, pin_factory=factory)
    device.when_activated = lambda: told.append(f"down {threading.current_thread().name}")
    device.when_deactivated = lambda: told.append(f"up {threading.current_thread().name}")
    before = threading.active_count()
    with trio.fail_after(5):
        chips.press(17)
        chips.release(17)
        await device.pin.wait_edges()
        chips.press(17)
        await device.pin.wait_edges()
    here = threading.current_thread().name
    assert told == [f"down {here}", f"up {here}", f"down {here}"]
    assert threading.active_count() == before, "a thread"
    device.close()


@pytest.mark.parametrize(("edges", "told"), [("rising", [1]), ("falling", [0]), ("both", [0, 1])])
async def test_only_the_edges_that_are_wanted_are_told(
    edges: str, told: list[int], chips: FakeChips, factory: GpiodFactory
) -> None:
    heard: list[int] = []

    def hear(_ticks: float, level: float) -> None:
        heard.append(int(level))

    pin = factory.pin(17)
    pin.input_with_pull("up")
    pin.when_changed = hear
    pin.edges = edges
    assert pin.edges == edges
    chips.press(17)
    chips.release(17)
    await pin.wait_edges()
    assert heard == told
    pin.when_changed = None
    assert chips.requests[17].settings.edge_detection is Edge.NONE


async def test_who_waits_for_a_pin_that_is_closed_is_told(
    chips: FakeChips, factory: GpiodFactory, nursery: trio.Nursery
) -> None:
    device = DigitalInputDevice(17, pull_up=True, pin_factory=factory)
    pin = device.pin
    ended = trio.Event()

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await pin.wait_edges()
        ended.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked(0.01)
    device.close()
    device.close()
    with trio.fail_after(5):
        await ended.wait()
    with pytest.raises(trio.ClosedResourceError):
        await pin.wait_edges()


async def test_a_call_back_that_closes_its_pin_is_the_last(
    chips: FakeChips, factory: GpiodFactory
) -> None:
    told: list[str] = []
    device = DigitalInputDevice(17, pull_up=True, pin_factory=factory)
    pin = device.pin

    def close() -> None:
        told.append("down")
        device.close()

    device.when_activated = close
    device.when_deactivated = lambda: told.append("up")
    chips.press(17)
    chips.release(17)
    await pin.wait_edges()
    assert told == ["down"]


def test_a_pin_can_be_opened_again(chips: FakeChips, factory: GpiodFactory) -> None:
    DigitalInputDevice(17, pull_up=True, bounce_time=0.01, pin_factory=factory).close()
    device = OutputDevice(17, pin_factory=factory)
    settings = chips.requests[17].settings
    assert (settings.direction, settings.edge_detection) == (Direction.OUTPUT, Edge.NONE)
    assert settings.debounce_period == timedelta()
    device.close()


# Outputs


@pytest.mark.parametrize(("active_high", "off"), [(True, Value.INACTIVE), (False, Value.ACTIVE)])
def test_an_output_is_off_from_its_first_moment(
    active_high: bool, off: Value, chips: FakeChips, factory: GpiodFactory
) -> None:
    device = OutputDevice(25, active_high=active_high, pin_factory=factory)
    first = chips.requests[25].was[0]
    assert (first.direction, first.output_value) == (Direction.OUTPUT, off)
    device.on()
    assert chips.requests[25].settings.output_value is not off
    assert device.is_active
    device.off()
    assert chips.requests[25].settings.output_value is off
    assert len(chips.requests[25].was) == 1, "reconfigured for a level"
    device.close()


def test_a_pin_changes_its_direction_and_keeps_its_level(
    chips: FakeChips, factory: GpiodFactory
) -> None:
    pin = factory.pin(25)
    pin.input_with_pull("up")
    with pytest.raises(gpiozero.PinSetInput):
        pin.state = 1
    pin.function = "output"
    assert (pin.function, pin.state) == ("output", True)
    with pytest.raises(gpiozero.PinFixedPull):
        pin.pull = "up"
    pin.function = "input"
    assert pin.function == "input"
    assert len(chips.requests) == 1


# What is refused


def test_what_lines_do_not_have_is_refused(factory: GpiodFactory) -> None:
    pin = factory.pin(25)
    assert pin.frequency is None
    pin.frequency = None
    for what, value, error in [
        ("frequency", 100, gpiozero.PinPWMUnsupported),
        ("function", "alt0", gpiozero.PinInvalidFunction),
        ("pull", "sideways", gpiozero.PinInvalidPull),
    ]:
        with pytest.raises(error):
            setattr(pin, what, value)
    with pytest.raises(gpiozero.PinFixedPull, match="GPIO2 has a pull-up resistor on the board"):
        InputDevice(2, pull_up=False, pin_factory=factory)
    with pytest.raises(gpiozero.PinFixedPull):
        InputDevice(2, pull_up=None, active_state=False, pin_factory=factory)
    InputDevice(2, pull_up=True, pin_factory=factory).close()


def test_a_line_that_is_taken_is_told_with_its_taker(
    chips: FakeChips, factory: GpiodFactory
) -> None:
    chips.taken = {17: "lirc", 25: ""}
    with pytest.raises(gpiozero.GPIOPinInUse, match="taken by 'lirc'"):
        InputDevice(17, pull_up=True, pin_factory=factory)
    with pytest.raises(gpiozero.GPIOPinInUse, match="taken by 'the kernel'"):
        OutputDevice(25, pin_factory=factory)
    chips.taken = {}
    OutputDevice(25, pin_factory=factory).close()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENODEV])
def test_a_chip_that_refuses_is_named(number: int, chips: FakeChips, factory: GpiodFactory) -> None:
    chips.refused = {"/dev/gpiochip0": number}
    with pytest.raises(OSError, match="/dev/gpiochip0") as caught:
        OutputDevice(25, pin_factory=factory)
    assert caught.value.errno == number


async def test_a_chip_that_goes_wakes_who_waits(chips: FakeChips, factory: GpiodFactory) -> None:
    device = DigitalInputDevice(17, pull_up=True, pin_factory=factory)
    led = OutputDevice(25, pin_factory=factory)
    chips.vanish()
    for use in (lambda: device.is_active, led.on):
        with pytest.raises(OSError, match="No such device: '/dev/gpiochip0'"):
            use()
    with trio.fail_after(5), pytest.raises(OSError, match="No such device"):
        await device.pin.wait_edges()
    device.close()
    led.close()


def test_what_is_still_open_at_exit_is_closed_without_trio(chips: FakeChips) -> None:
    factory = factory_on(chips)
    device = DigitalInputDevice(17, pull_up=True, pin_factory=factory)
    factory.close()
    assert chips.requests == {}
    device.close()
