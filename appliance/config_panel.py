"""What is known of [panel]: kinds of lamps, their keys, night hours, and what a kit stands for.

Pure. A key that has no effect beside the kind of lamp is a fault, as everywhere in the settings;
so what counts is what the owner gave, not what a kit gave beneath it (`Reader.gave`).

A kit lies beneath the whole file: whatever it says of cards, rate, duplex, lamp and buttons is a
default there, and any key that the owner gives wins. A lamp of another kind takes the place of
the kit's whole.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from appliance.config_reader import Reader, Table, rule, shown
from appliance.panel import dimmer, kits
from appliance.panel.looks import DARK, EVERY_LOOK

Pin = Annotated[int, Meta(ge=0, le=27)]  # BCM numbers of the 40-pin header
Percent = Annotated[int, Meta(ge=0, le=100)]

LOOKS: Final = tuple(look.means for look in EVERY_LOOK if look is not DARK)
# The keys of each kind of lamp, beside `kind`.
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "led": ("pin", "active"),
    "rgb": ("red", "green", "blue", "active"),
    "leds": (*LOOKS, "active"),
    "apa102": ("device", "pixels", "power_pin", "active"),
    "none": (),
}
ONE_BIT: Final = ("led", "rgb", "leds")
DAYTIME: Final = ("brightness", "night", "night_brightness")

LedPin = Pin | None  # None: the look has no LED of its own


def _spi(device: str) -> str:
    is_one = re.fullmatch(r"/dev/spidev\d+\.\d+", device)
    return "" if is_one else "wanted a SPI device like /dev/spidev0.0"


def _kit(name: str) -> str:
    return (
        "" if not name or name in kits.KITS else f"no such kit; the nearest is {kits.nearest(name)}"
    )


def _night(hours: str) -> str:
    return "" if not hours or dimmer.hours(hours) else 'wanted hours like "22:00-07:00", or ""'


class Lamp(Struct, frozen=True):
    """What stands for a face. Which keys count is told by `kind` (`KEYS`)."""

    kind: Literal["led", "rgb", "leds", "apa102", "none"] = "led"
    active: Literal["high", "low"] = "high"  # low: lit while the pin is low, as a common anode is
    pin: Pin = 25
    red: Pin = 5
    green: Pin = 6
    blue: Pin = 13
    listening: Pin = 25
    thinking: LedPin = None
    speaking: LedPin = None
    resting: LedPin = None
    trouble: LedPin = None
    muted: LedPin = None
    asking: LedPin = None
    capped: LedPin = None
    device: Annotated[str, rule(_spi)] = "/dev/spidev0.0"
    pixels: Annotated[int, Meta(ge=1, le=144)] = 3
    power_pin: LedPin = None  # what feeds the pixels, if that is switched

    @property
    def pins_by_look(self) -> dict[str, int]:
        """The pins of a lamp of several LEDs, by what looks mean."""
        found = {look: getattr(self, look) for look in LOOKS}
        return {look: pin for look, pin in found.items() if pin is not None}


class Face(Struct, frozen=True):
    """What the panel shows, and how brightly.

    `brightness` is counted as the eye counts. At 0 a lamp is dark but for what may not be missed:
    listening, asking, trouble, muted, capped. Lamps that are on or off know 0 and 100 only.
    """

    kit: Annotated[str, rule(_kit)] = ""  # of `voice-appliance kits`
    lamp: Lamp = field(default_factory=Lamp)
    brightness: Percent = 100
    night: Annotated[str, rule(_night)] = ""  # local time; "" no night
    night_brightness: Percent = 10

    @property
    def dimmer(self) -> dimmer.Dimmer:
        """How bright it is at what time."""
        return dimmer.Dimmer(self.brightness, self.night_brightness, dimmer.hours(self.night))


def beneath(given: Table, buttons: type[Struct]) -> Table:
    """What the kit that is `given` says of settings, for those `buttons` that there are."""
    panel = given.get("panel")
    name = panel.get("kit") if isinstance(panel, dict) else None
    kit = kits.KITS.get(name) if isinstance(name, str) else None
    if kit is None or not isinstance(panel, dict):
        return {}
    settings = kit.settings
    known = buttons.__struct_fields__
    pins = settings["panel"]["buttons"].items()
    settings["panel"]["buttons"] = {name: {"pin": pin} for name, pin in pins if name in known}
    lamp = panel.get("lamp")
    own = lamp.get("kind") if isinstance(lamp, dict) else None
    if own is not None and own != kit.lamp.get("kind"):
        settings["panel"].pop("lamp", None)
    return settings


def lamp_pins(lamp: Lamp) -> frozenset[int]:
    """The pins that the lamp takes."""
    match lamp.kind:
        case "led":
            pins = {lamp.pin}
        case "rgb":
            pins = {lamp.red, lamp.green, lamp.blue}
        case "leds":
            pins = set(lamp.pins_by_look.values())
        case "apa102":
            power = set() if lamp.power_pin is None else {lamp.power_pin}
            pins = power | ({10, 11} if lamp.device.startswith("/dev/spidev0.") else set())
        case "none":
            pins = set()
    return frozenset(pins)


def compare_face(reader: Reader, face: Face) -> None:
    """Tell what contradicts itself in [panel], of sound keys."""
    for fault in chain(_lamp_faults(reader, face.lamp), _light_faults(reader, face)):
        reader.tell(*fault)


Fault = tuple[str, str, object, str]


def _lamp_faults(reader: Reader, lamp: Lamp) -> Iterator[Fault]:
    at, kind, known = "[panel.lamp]", f"kind = {shown(lamp.kind)}", KEYS[lamp.kind]
    has = f"has {', '.join(known)}" if known else "has no other key"
    for name in Lamp.__struct_fields__[1:]:
        if name not in known and reader.gave(f"panel.lamp.{name}"):
            yield at, name, getattr(lamp, name), f"{kind} {has}; wanted it left out"
    if lamp.kind == "rgb":
        for name, others in (("green", {lamp.red}), ("blue", {lamp.red, lamp.green})):
            if (pin := getattr(lamp, name)) in others:
                yield at, name, pin, "another colour has this pin; wanted another"
    if lamp.kind == "apa102" and lamp.power_pin is None and reader.gave("panel.lamp.active"):
        yield at, "active", lamp.active, "wanted power_pin beside it: only that has a level"


def _light_faults(reader: Reader, face: Face) -> Iterator[Fault]:
    at, kind = "[panel]", face.lamp.kind
    given = [name for name in DAYTIME if reader.gave(f"panel.{name}")]
    beside = f"[panel.lamp] kind = {shown(kind)}"
    if kind == "none":
        for name in given:
            yield at, name, getattr(face, name), f"{beside} shows nothing; wanted it left out"
        return
    if kind in ONE_BIT:
        for name in given:
            value = getattr(face, name)
            if name != "night" and value not in (0, 100):
                yield at, name, value, f"{beside} is on or off; wanted 0 or 100"
    if "night_brightness" in given and not face.night:
        words = 'wanted night beside it, as "22:00-07:00"'
        yield at, "night_brightness", face.night_brightness, words
    if face.night and kind in ONE_BIT and "night_brightness" not in given:
        words = f"{beside} is on or off; wanted night_brightness = 0 beside it"
        yield at, "night", face.night, words
    elif face.night and face.night_brightness == face.brightness:
        words = "night_brightness is the same as brightness; wanted another, or no night"
        yield at, "night", face.night, words
