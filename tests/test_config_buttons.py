"""The settings of the panel: buttons, gestures, the way to the pins."""

import pytest

from appliance.config import parse
from appliance.config_buttons import MuteButton, PushButton, TalkButton
from appliance.errors import ConfigError


def only_fault(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "box.toml")
    (fault,) = caught.value.faults
    return fault


def test_a_box_has_a_button_to_talk_and_no_other() -> None:
    panel = parse("", "box.toml").panel
    assert panel.buttons.present() == {"talk": TalkButton(pin=17)}
    assert (panel.pins, panel.gestures.double_press) == ("auto", "none")


def test_a_button_is_a_pin_or_a_table() -> None:
    buttons = parse(
        """
        [panel.buttons]
        talk = { active = "high" }
        mute = { pin = 22, kind = "switch" }
        volume_up = 5
        volume_down = { pin = 6, active = "high", pull = "none" }
        forget = 0
        """,
        "box.toml",
    ).panel.buttons
    assert buttons.present() == {
        "talk": TalkButton(pin=17, active="high"),
        "mute": MuteButton(pin=22, kind="switch"),
        "volume_up": PushButton(pin=5),
        "volume_down": PushButton(pin=6, active="high", pull="none"),
    }
    assert {name: it.pulled for name, it in buttons.present().items()} == {
        "talk": "down",
        "mute": "up",
        "volume_up": "up",
        "volume_down": "none",
    }


def test_a_kit_gives_pins_and_its_owner_may_say_more_of_them_or_other_ones() -> None:
    kit = "[panel]\nkit = 'satellite1'\n"
    assert parse(kit, "box.toml").panel.buttons.present() == {
        "talk": TalkButton(pin=23),
        "mute": MuteButton(pin=22),
        "volume_up": PushButton(pin=17),
        "volume_down": PushButton(pin=27),
    }
    more = "buttons.mute = { kind = 'switch' }\nbuttons.talk = 5\nbuttons.volume_up = 0"
    assert parse(kit + more, "box.toml").panel.buttons.present() == {
        "talk": TalkButton(pin=5),
        "mute": MuteButton(pin=22, kind="switch"),
        "volume_down": PushButton(pin=27),
    }


def test_a_pin_of_0_is_no_button() -> None:
    assert (
        parse("[panel.buttons]\ntalk = 0\nmute.pin = 0", "box.toml").panel.buttons.present() == {}
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[panel.buttons]\nmute = 'x'", 'mute = "x": wanted a whole number from 0 to 27'),
        ("[panel.buttons]\nforget = 28", "forget = 28: wanted a whole number from 0 to 27"),
        (
            "[panel.buttons]\nforget = { active = 'low' }",
            "[panel.buttons.forget] pin: missing; wanted a whole number from 0 to 27",
        ),
        (
            "[panel.buttons]\nforget = { pin = 5, kind = 'switch' }",
            'forget] kind = "switch": no such key; it belongs in [panel.lamp]',
        ),
        (
            "[panel.buttons]\nmute = { pin = 5, kind = 'toggle' }",
            '[panel.buttons.mute] kind = "toggle": wanted one of "push", "switch"',
        ),
        (
            "[panel.buttons]\nmute = 17",
            "[panel.buttons] mute = 17: talk has this pin; wanted another",
        ),
        (
            "[panel.buttons]\nvolume_up = 5\nvolume_down = { pin = 5 }",
            "[panel.buttons] volume_down = 5: volume_up has this pin; wanted another",
        ),
        (
            "[panel.buttons]\nforget = 25",
            "[panel.buttons] forget = 25: [panel.lamp] has this pin; wanted another",
        ),
        (
            "[panel.buttons]\nmute = { pin = 5, pull = 'down' }",
            '[panel.buttons.mute] pull = "down": active = "low" would never be seen',
        ),
        (
            "[panel.buttons]\nmute = { pin = 5, active = 'high', pull = 'up' }",
            '[panel.buttons.mute] pull = "up": active = "high" would never be seen',
        ),
        (
            "[panel]\npins = 'mock'",
            '[panel] pins = "mock": wanted one of "auto", "gpiod", "lgpio", "native", "pigpio"',
        ),
        (
            "[panel.gestures]\ndouble_press = 'talk'",
            'double_press = "talk": wanted one of "forget", "mute", "none"',
        ),
        (
            "[panel.gestures]\ndouble_press = 'mute'\n[panel.buttons]\ntalk = 0",
            'double_press = "mute": [panel.buttons] talk = 0 is no button',
        ),
        (
            "[panel.gestures]\ndouble_press = 'forget'\n[talk]\ntap_ms = 0",
            'double_press = "forget": [talk] tap_ms = 0 calls no press short',
        ),
        (
            "[panel.gestures]\ndouble_press = 'mute'\n[talk]\nmode = 'open'",
            'double_press = "mute": [talk] mode = "open" mutes by a single press',
        ),
    ],
)
def test_what_is_wrong_is_told_with_what_was_wanted(text: str, told: str) -> None:
    assert told in only_fault(text)


@pytest.mark.parametrize("mode", ["hold", "tap", "open"])
def test_a_double_press_may_forget_in_every_mode(mode: str) -> None:
    text = f"[talk]\nmode = '{mode}'\n[panel.gestures]\ndouble_press = 'forget'"
    assert parse(text, "box.toml").panel.gestures.double_press == "forget"


def test_what_is_wrong_itself_is_not_compared() -> None:
    text = "[talk]\ntap_ms = -1\n[panel.gestures]\ndouble_press = 'mute'"
    assert "tap_ms = -1: wanted" in only_fault(text)
    assert "lamp" in only_fault("[panel]\nlamp.pin = 17\nlamp.kind = 3")
