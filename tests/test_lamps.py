"""Lamps of more than one LED: three colours, one for each look, pixels; and nights."""

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import gpiozero
import pytest
import trio
import trio.testing
from gpiozero.pins.mock import MockFactory
from hypothesis import given
from hypothesis import strategies as st

from appliance import config
from appliance.conversation import Phase
from appliance.errors import DeviceError, Trouble
from appliance.panel import pixels
from appliance.panel.dimmer import Dimmer, hours, light_of
from appliance.panel.kinds import open_lamp
from appliance.panel.lamp import Lamp, Leds, Rgb
from appliance.panel.looks import (
    BLACK,
    BLINK,
    BLUE,
    DARK,
    EVERY_LOOK,
    FLUTTER,
    HALTING,
    HOLLOW,
    HURRIED,
    RED,
    STEADY,
    TRIPLE,
    WHITE,
    WINK,
    YELLOW,
    Color,
    Look,
)
from appliance.panel.pixels import Pixels, Spi, frame
from appliance.panel.player import RECHECK_S, Player, second_of_day
from tests.box import a_box, tone

RGB = (5, 6, 13)
NIGHT = hours("22:00-07:00")
DEVICE = "/dev/spidev0.0"


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockFactory]:
    """gpiozero on mock pins."""
    mock = MockFactory()
    monkeypatch.setattr(gpiozero.Device, "pin_factory", mock)
    yield mock
    mock.close()


def lit(factory: MockFactory, *pins: int) -> list[int]:
    """Those of the pins that are high."""
    return [pin for pin in pins if factory.pin(pin).state]


def lit_part(look: Look) -> Look:
    """`look`, as it is while it is lit."""
    if look is DARK:
        return DARK
    return Look(f"lit {look.name}", ((True, 1.0),), look.means, look.color, look.always)


# Three colours


@pytest.mark.parametrize(
    ("look", "wanted"),
    [
        (STEADY, [13]),
        (BLINK, [5, 6, 13]),
        (FLUTTER, [5, 6, 13]),
        (WINK, [5, 6, 13]),
        (HURRIED, [5, 6]),
        (HALTING, [5, 6]),
        (TRIPLE, [5]),
        (HOLLOW, [5]),
        (DARK, []),
    ],
    ids=lambda it: getattr(it, "means", ""),
)
def test_three_pins_show_the_color(factory: MockFactory, look: Look, wanted: list[int]) -> None:
    lamp = Rgb(RGB)
    lamp.show(lit_part(look))
    assert lit(factory, *RGB) == wanted
    lamp.close()


def test_a_common_anode_is_lit_by_low_pins(factory: MockFactory) -> None:
    lamp = Rgb(RGB, active_high=False)
    assert lit(factory, *RGB) == [5, 6, 13], "dark"
    lamp.show(STEADY)
    assert lit(factory, *RGB) == [5, 6]
    lamp.show(DARK)
    assert lit(factory, *RGB) == [5, 6, 13]


async def test_three_pins_play_the_rhythm(
    factory: MockFactory, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    lamp = Rgb(RGB)
    nursery.start_soon(lamp.run)
    lamp.show(TRIPLE)
    await trio.sleep(0.013)
    for step in range(60):
        assert lit(factory, *RGB) == ([5] if TRIPLE.is_lit(0.013 + step * 0.07) else [])
        await trio.sleep(0.07)


def test_a_pin_of_three_that_is_taken_gives_the_others_back(factory: MockFactory) -> None:
    other = Lamp(13)
    with pytest.raises(DeviceError, match=r"^GPIO 13: .*in use"):
        Rgb(RGB)
    other.close()
    Rgb(RGB).close()


# One for each look


def test_each_look_has_its_led(factory: MockFactory) -> None:
    pins = {it.means: 4 + number for number, it in enumerate(EVERY_LOOK) if it is not DARK}
    lamp = Leds(pins)
    for it in EVERY_LOOK:
        lamp.show(lit_part(it))
        assert lit(factory, *pins.values()) == ([] if it is DARK else [pins[it.means]])


def test_a_look_without_an_led_is_played_by_another(factory: MockFactory) -> None:
    lamp = Leds({"listening": 23, "trouble": 24})
    played = {it: 24 if it in {TRIPLE, HOLLOW, HALTING} else 23 for it in EVERY_LOOK}
    for it, pin in played.items():
        lamp.show(lit_part(it))
        assert lit(factory, 23, 24) == ([] if it is DARK else [pin])


def test_looks_may_share_an_led(factory: MockFactory) -> None:
    lamp = Leds({"listening": 23, "thinking": 24, "speaking": 24}, active_high=False)
    lamp.show(lit_part(FLUTTER))
    assert lit(factory, 23, 24) == [23]
    lamp.close()


# Pixels


class FakeBus:
    """A SPI device that keeps its frames, until it is unplugged."""

    def __init__(self, device: str = DEVICE) -> None:
        self.device = device
        self.frames: list[bytes] = []
        self.closed = 0
        self.unplugged = False

    def write(self, frame: bytes) -> None:
        if self.unplugged:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        self.frames.append(frame)

    def close(self) -> None:
        self.closed += 1


def test_a_frame_is_what_the_pixels_want() -> None:
    assert frame(RED, 1.0, 3) == bytes(4) + bytes([0xFF, 0, 0, 255]) * 3 + bytes(5)
    assert frame(BLUE, 1.0, 1) == bytes(4) + bytes([0xFF, 255, 0, 0]) + bytes(5)
    assert frame(BLACK, 1.0, 2) == bytes(4) + bytes([0xFF, 0, 0, 0]) * 2 + bytes(5)
    assert frame(WHITE, 0.0, 2) == bytes(4) + bytes([0xE0, 0, 0, 0]) * 2 + bytes(5)


@given(st.sampled_from([WHITE, BLUE, YELLOW, RED]), st.floats(0.001, 1.0), st.integers(1, 144))
def test_a_frame_has_the_light_and_the_color_it_should(
    color: Color, light: float, count: int
) -> None:
    sent = frame(color, light, count)
    assert sent[:4] == bytes(4)
    pixel = sent[4:8]
    assert sent[4 : 4 + 4 * count] == pixel * count
    assert (len(sent) - 4 - 4 * count) * 8 >= count / 2, "too few clocks to reach the last"
    steps, blue, green, red = pixel[0] & 31, *pixel[1:]
    assert pixel[0] >> 5 == 7
    assert 1 <= steps <= 31
    brightest = max(red, green, blue) / 255 * steps / 31
    assert brightest == pytest.approx(light, rel=0.07)
    full = frame(color, 1.0, 1)[5:8]
    for share, whole in zip((blue, green, red), full, strict=True):
        assert share / max(pixel[1:]) == pytest.approx(whole / 255, abs=0.07)


async def test_pixels_play_a_look_in_its_color(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    bus = FakeBus()
    lamp = Pixels(DEVICE, 3, open_bus=lambda _: bus)
    assert bus.frames == [frame(BLACK, 0.0, 3)], "dark, whatever was shown before"
    nursery.start_soon(lamp.run)
    await trio.testing.wait_all_tasks_blocked()
    bus.frames.clear()
    lamp.show(HOLLOW)
    assert bus.frames == [frame(RED, 1.0, 3)]
    await trio.sleep(1.9)
    assert bus.frames[-1] == frame(RED, 0.0, 3)
    lamp.close()
    assert (bus.frames[-1], bus.closed) == (frame(RED, 0.0, 3), 1)
    lamp.close()
    assert bus.closed == 1


def test_pixels_are_dimmed() -> None:
    bus = FakeBus()
    lamp = Pixels(DEVICE, 3, dimmer=Dimmer(40), open_bus=lambda _: bus)
    lamp.show(STEADY)
    assert bus.frames[-1] == frame(BLUE, light_of(40), 3)


async def test_pixels_that_are_unplugged_end_the_run_and_no_call() -> None:
    bus = FakeBus()
    lamp = Pixels(DEVICE, 3, open_bus=lambda _: bus)
    bus.unplugged = True
    lamp.show(STEADY)
    with pytest.raises(DeviceError, match=r"^/dev/spidev0\.0: No such device$"):
        await lamp.run()
    lamp.close()
    assert bus.closed == 1


def test_pixels_have_their_power_while_they_are_open(factory: MockFactory) -> None:
    for high in (True, False):
        lamp = Pixels(DEVICE, 12, power_pin=5, active_high=high, open_bus=FakeBus)
        assert factory.pin(5).state == high
        lamp.close()
        Lamp(5).close()


def test_a_power_pin_that_is_taken_gives_the_device_back(factory: MockFactory) -> None:
    bus, other = FakeBus(), Lamp(5)
    with pytest.raises(DeviceError, match=r"^GPIO 5: "):
        Pixels(DEVICE, 3, power_pin=5, open_bus=lambda _: bus)
    assert bus.closed == 1
    other.close()


def test_a_device_that_fails_at_once_is_given_back() -> None:
    bus = FakeBus()
    bus.unplugged = True
    with pytest.raises(DeviceError, match="No such device"):
        Pixels(DEVICE, 3, open_bus=lambda _: bus)
    assert bus.closed == 1


def test_a_device_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    words = r"spidev0.0: No such file or directory \(SPI is off: dtparam=spi=on in config.txt\)$"
    with pytest.raises(DeviceError, match=words):
        Pixels(str(tmp_path / "spidev0.0"), 3)


def test_a_file_that_is_no_spi_device_is_named_and_closed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(DeviceError, match=r"file: .*\(no SPI device\)$"):
        Pixels(str(tmp_path / "file"), 3)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_spi_device_is_set_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo = tmp_path / "spidev0.0"
    os.mkfifo(fifo)
    asked: dict[int, bytes] = {}
    monkeypatch.setattr(fcntl, "ioctl", lambda _file, what, value: asked.update({what: value}))
    spi = Spi(str(fifo))
    assert asked == {
        0x40016B01: b"\0",
        0x40016B03: b"\x08",
        0x40046B04: struct.pack("=I", pixels.SPEED_HZ),
    }
    with fifo.open("rb", buffering=0) as other_end:
        spi.write(frame(RED, 1.0, 3))
        assert other_end.read(100) == frame(RED, 1.0, 3)
    spi.close()
    spi.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        spi.write(b"")


# Brightness and night


class Levels(Player):
    """A lamp that keeps what light it gave, and when."""

    def __init__(self, dimmer: Dimmer, starts_s: float) -> None:
        self.jumped_s = 0.0
        self.given: list[tuple[float, float]] = []
        began_s = trio.current_time()
        super().__init__(
            dimmer, lambda: (starts_s + self.jumped_s + trio.current_time() - began_s) % 86_400
        )

    def _light(self, look: Look, light: float) -> None:
        self.given.append((trio.current_time(), light))

    def _let_go(self) -> None:
        pass

    @property
    def light(self) -> float:
        return self.given[-1][1]


DAY, DIM = light_of(100), light_of(10)


def test_the_time_of_day_is_that_of_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", lambda: time.gmtime(5 * 86_400 + 22 * 3600 + 61))
    assert second_of_day() == 22 * 3600 + 61


async def test_a_steady_lamp_dims_at_the_border(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    lamp = Levels(Dimmer(100, 10, NIGHT), starts_s=21.95 * 3600)
    nursery.start_soon(lamp.run)
    lamp.show(STEADY)
    await trio.sleep(0.05 * 3600 - 0.1)
    assert lamp.light == DAY
    await trio.sleep(0.2)
    assert lamp.light == DIM
    await trio.sleep(9 * 3600 - 0.2)
    assert lamp.light == DIM
    await trio.sleep(0.2)
    assert lamp.light == DAY


async def test_a_look_that_moves_dims_with_its_next_level(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    lamp = Levels(Dimmer(100, 10, NIGHT), starts_s=22 * 3600 - 1.05)
    nursery.start_soon(lamp.run)
    lamp.show(FLUTTER)
    await trio.sleep(2)
    lights = [light for _, light in lamp.given if light]
    assert lights == sorted(lights, reverse=True)
    assert set(lights) == {DAY, DIM}
    assert 18 <= len(lamp.given) <= 23, "woken by the look only"


async def test_a_dark_lamp_waits_for_nothing_and_a_steady_one_for_little(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    lamp = Levels(Dimmer(100, 10, NIGHT), starts_s=0)
    nursery.start_soon(lamp.run)
    await trio.sleep(10 * 86_400)
    assert len(lamp.given) <= 2
    lamp.show(STEADY)
    lamp.given.clear()
    await trio.sleep(86_400)
    assert len(lamp.given) <= 86_400 / RECHECK_S + 3, "far less than once a minute"


async def test_a_clock_that_jumps_is_followed(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    lamp = Levels(Dimmer(100, 10, NIGHT), starts_s=12 * 3600)
    nursery.start_soon(lamp.run)
    lamp.show(STEADY)
    await trio.sleep(1)
    lamp.jumped_s = 11 * 3600
    await trio.sleep(1)
    assert lamp.light == DAY, "nobody tells"
    await trio.sleep(RECHECK_S)
    assert lamp.light == DIM
    lamp.jumped_s = 0
    lamp.show(HOLLOW)
    assert lamp.light == DAY, "a new look asks"


@pytest.mark.parametrize("it", EVERY_LOOK, ids=lambda it: it.means)
async def test_at_zero_only_what_may_not_be_missed_is_shown(
    it: Look, factory: MockFactory, autojump_clock: trio.testing.MockClock
) -> None:
    led, deep = Lamp(25, dimmer=Dimmer(0)), Levels(Dimmer(100, 0, NIGHT), starts_s=0)
    for lamp in (led, deep):
        lamp.show(BLINK if it is DARK else DARK)
        lamp.show(lit_part(it))
    assert bool(factory.pin(25).state) == it.always
    assert (deep.light > 0) == it.always
    led.close()


# In a box


def test_the_lamp_is_of_the_kind_that_was_chosen(
    factory: MockFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    buses: list[FakeBus] = []

    def open_bus(device: str) -> FakeBus:
        buses.append(FakeBus(device))
        return buses[-1]

    defaults = Pixels.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "open_bus", open_bus)
    kinds: dict[str, type[Player]] = {
        "lamp = { kind = 'led', active = 'low' }": Lamp,
        "lamp = { kind = 'rgb', red = 2, green = 3, blue = 4 }": Rgb,
        "lamp = { kind = 'leds', listening = 23, trouble = 24 }": Leds,
        "lamp = { kind = 'apa102', device = '/dev/spidev0.1', power_pin = 5 }": Pixels,
    }
    for text, kind in kinds.items():
        lamp = open_lamp(config.parse(f"[panel]\n{text}", "test").panel)
        assert lamp is not None
        assert type(lamp) is kind
        lamp.show(STEADY)
        lamp.close()
    assert open_lamp(config.parse("panel.lamp.kind = 'none'", "test").panel) is None
    [bus] = buses
    assert bus.device == "/dev/spidev0.1"
    assert bus.frames == [frame(BLACK, 0.0, 3), frame(BLUE, 1.0, 3), frame(BLUE, 0.0, 3)]


async def test_a_lamp_that_fails_is_a_trouble_of_the_panel_and_the_box_works_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bus = FakeBus()
    lamp = Pixels(DEVICE, 3, open_bus=lambda _: bus)
    async with a_box() as box, trio.open_nursery() as nursery:
        nursery.start_soon(box.daemon._keep_lamp, lamp)
        await trio.testing.wait_all_tasks_blocked()
        bus.unplugged = True
        box.button.press()
        assert box.phase is Phase.LISTENING
        await trio.sleep(1)
        status = box.daemon.status()
        told = status["panel"]
        assert isinstance(told, dict)
        assert (told["state"], told["trouble"]) == ("missing", "/dev/spidev0.0: No such device")
        assert (told["kit"], told["lamp"]) == (None, "led")
        assert Trouble.PANEL_MISSING.sentence in str(status["sentence"])
        assert bus.closed == 1
        box.room.say(tone(1.0))
        await trio.sleep(1)
        box.button.release()
        await box.until(Phase.SPEAKING)
