"""Which lamp stands for which settings: the one place that knows all kinds."""

from typing import assert_never

from appliance.config_panel import Face
from appliance.panel.lamp import Lamp, Leds, Rgb
from appliance.panel.pixels import Pixels
from appliance.panel.player import Player


def open_lamp(face: Face) -> Player | None:
    """The lamp that `face` asks for, open and dark; None if there is to be none. Never waits.

    Raises:
        DeviceError: a pin or the device is not there, taken, or not ours to open.
    """
    lamp, dimmer, high = face.lamp, face.dimmer, face.lamp.active == "high"
    match lamp.kind:
        case "none":
            return None
        case "led":
            return Lamp(lamp.pin, active_high=high, dimmer=dimmer)
        case "rgb":
            pins = (lamp.red, lamp.green, lamp.blue)
            return Rgb(pins, active_high=high, dimmer=dimmer)
        case "leds":
            return Leds(lamp.pins_by_look, active_high=high, dimmer=dimmer)
        case "apa102":
            return Pixels(
                lamp.device,
                lamp.pixels,
                power_pin=lamp.power_pin,
                active_high=high,
                dimmer=dimmer,
            )
        case _:
            assert_never(lamp.kind)
