"""What is known of [panel.buttons] and [panel.gestures]. Pure."""

from typing import ClassVar, Literal, Protocol

from msgspec import Struct, field

from appliance.config_panel import Lamp, Pin, lamp_pins
from appliance.config_reader import Reader, shown


class PushButton(Struct, frozen=True, kw_only=True):
    """A contact between `pin` and ground (active low) or 3.3 V (active high); pin 0: there is none.

    May be written as its pin alone. `pull` "auto" pulls away from what closing it connects to;
    "none" says that a resistor outside does.
    """

    SHORT: ClassVar = "pin"

    pin: Pin
    active: Literal["low", "high"] = "low"
    pull: Literal["auto", "up", "down", "none"] = "auto"

    @property
    def pulled(self) -> Literal["up", "down", "none"]:
        """What `pull` comes to."""
        if self.pull == "auto":
            return "up" if self.active == "low" else "down"
        return self.pull


class TalkButton(PushButton, frozen=True, kw_only=True):
    """The button that there is without being named."""

    pin: Pin = 17


class MuteButton(PushButton, frozen=True, kw_only=True):
    """A button that toggles, or a switch that is muted while it is closed."""

    kind: Literal["push", "switch"] = "push"


def _no_button() -> PushButton:
    return PushButton(pin=0)


class Buttons(Struct, frozen=True):
    """What fingers can do."""

    talk: TalkButton = field(default_factory=TalkButton)
    mute: MuteButton = field(default_factory=lambda: MuteButton(pin=0))
    volume_up: PushButton = field(default_factory=_no_button)
    volume_down: PushButton = field(default_factory=_no_button)
    forget: PushButton = field(default_factory=_no_button)

    def present(self) -> dict[str, PushButton]:
        """Those that there are, by their names."""
        every = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: button for name, button in every.items() if button.pin}


class Gestures(Struct, frozen=True):
    """What the talk button means besides talking."""

    double_press: Literal["none", "mute", "forget", "volume_up", "volume_down"] = "none"


class Talk(Protocol):
    """[talk], as far as gestures go."""

    @property
    def mode(self) -> str:
        """Its profile."""

    @property
    def tap_ms(self) -> int:
        """Shorter presses are short."""


def compare_buttons(reader: Reader, lamp: Lamp, buttons: Buttons) -> None:
    """Tell of pins that two parts would have, and of contacts that nobody could read."""
    takers = dict.fromkeys(lamp_pins(lamp), "[panel.lamp]")
    for name, button in buttons.present().items():
        if (taker := takers.setdefault(button.pin, name)) != name:
            words = f"{taker} has this pin; wanted another"
            reader.tell("[panel.buttons]", name, button.pin, words)
        if (button.active, button.pull) in {("low", "down"), ("high", "up")}:
            words = f"active = {shown(button.active)} would never be seen; wanted another"
            reader.tell(f"[panel.buttons.{name}]", "pull", button.pull, words)


def compare_gestures(reader: Reader, gestures: Gestures, buttons: Buttons, talk: Talk) -> None:
    """Tell of a double press that could never come, or does what a single one does."""
    double, fault = gestures.double_press, ""
    if double == "none":
        return
    if not buttons.talk.pin:
        fault = "[panel.buttons] talk = 0 is no button; wanted one of the two"
    elif not talk.tap_ms and reader.is_sound("talk.tap_ms"):
        fault = "[talk] tap_ms = 0 calls no press short; wanted one of the two"
    elif talk.mode == "open" and double == "mute" and reader.is_sound("talk.mode"):
        fault = '[talk] mode = "open" mutes by a single press; wanted another'
    if fault:
        reader.tell("[panel.gestures]", "double_press", double, fault)
