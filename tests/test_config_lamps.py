"""[panel]: what belongs to which kind of lamp, night hours, and what a kit lies beneath."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config import Settings, parse
from appliance.config_panel import KEYS, LOOKS, Lamp
from appliance.errors import ConfigError
from appliance.panel.dimmer import Dimmer
from appliance.panel.kits import KITS


def panel(text: str) -> Settings:
    return parse(f"[panel]\n{text}", "box.toml")


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        panel(text)
    return [fault.removeprefix("box.toml: ") for fault in caught.value.faults]


# Lamps

VALUES = {
    "active": "'low'",
    "device": "'/dev/spidev1.2'",
    "pixels": "12",
    **{
        name: str(pin)
        for pin, name in enumerate(("pin", "red", "green", "blue", "power_pin", *LOOKS), 2)
    },
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_lamp_takes_the_keys_of_its_kind(kind: str) -> None:
    given = "".join(f", {name} = {VALUES[name]}" for name in KEYS[kind])
    lamp = panel(f"lamp = {{ kind = '{kind}'{given} }}").panel.lamp
    assert lamp.kind == kind
    for name in KEYS[kind]:
        assert str(getattr(lamp, name)) == VALUES[name].strip("'")


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_that_has_no_effect_beside_the_kind_is_a_fault(kind: str) -> None:
    strange = {name for names in KEYS.values() for name in names} - set(KEYS[kind])
    for name in strange:
        [fault] = faults(f"lamp = {{ kind = '{kind}', {name} = {VALUES[name]} }}")
        said = VALUES[name].replace("'", '"')
        assert fault.startswith(f'[panel.lamp] {name} = {said}: kind = "{kind}" has ')
        assert fault.endswith("; wanted it left out")


def test_every_key_of_a_lamp_is_of_some_kind() -> None:
    known = {name for names in KEYS.values() for name in names}
    assert known == set(Lamp.__struct_fields__) - {"kind"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = 'rgb', gren = 6", "[panel.lamp] gren = 6: no such key; the nearest is green"),
        ("kind = 'rgb', red = 40", "red = 40: wanted a whole number from 0 to 27"),
        ("kind = 'leds', trouble = 40", "trouble = 40: wanted a whole number from 0 to 27"),
        ("kind = 'leds', muted = 'x'", 'muted = "x": wanted a whole number from 0 to 27'),
        ("kind = 'rgb', red = 6", "green = 6: another colour has this pin; wanted another"),
        ("kind = 'rgb', blue = 5", "blue = 5: another colour has this pin; wanted another"),
        ("kind = 'rgb', blue = 17", "[panel.buttons] talk = 17: [panel.lamp] has this pin"),
        ("kind = 'leds', muted = 17", "[panel.buttons] talk = 17: [panel.lamp] has this pin"),
        ("kind = 'apa102', power_pin = 17", "[panel.buttons] talk = 17: [panel.lamp] has"),
        ("kind = 'apa102', device = '/dev/spi'", "wanted a SPI device like /dev/spidev0.0"),
        ("kind = 'apa102', pixels = 145", "wanted a whole number from 1 to 144"),
        ("kind = 'apa102', active = 'low'", 'active = "low": wanted power_pin beside it'),
        ("active = 'up'", 'active = "up": wanted one of "high", "low"'),
    ],
)
def test_a_fault_of_a_lamp_says_what_was_wanted(text: str, words: str) -> None:
    [fault] = faults(f"lamp = {{ {text} }}")
    assert words in fault


def test_a_button_on_the_pins_of_the_pixels_is_a_fault() -> None:
    [fault] = faults("lamp = { kind = 'apa102' }\nbuttons = { talk = 11 }")
    assert fault == "[panel.buttons] talk = 11: [panel.lamp] has this pin; wanted another"


def test_the_pins_of_several_leds_are_those_that_were_given() -> None:
    lamp = panel("lamp = { kind = 'leds', listening = 23, trouble = 24, capped = 24 }").panel.lamp
    assert lamp.pins_by_look == {"listening": 23, "trouble": 24, "capped": 24}
    assert panel("lamp.kind = 'leds'").panel.lamp.pins_by_look == {"listening": 25}


# Brightness and night

PIXELS = "lamp.kind = 'apa102'\n"


def test_brightness_and_night() -> None:
    assert panel("").panel.dimmer == Dimmer(100, 10, None)
    dimmed = panel(f"{PIXELS}brightness = 40\nnight = '22:00-07:00'\nnight_brightness = 5")
    assert dimmed.panel.dimmer == Dimmer(40, 5, (79_200, 25_200))
    hidden = panel("night = '22:00-07:00'\nnight_brightness = 0")
    assert hidden.panel.dimmer == Dimmer(100, 0, (79_200, 25_200))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("brightness = 50", 'brightness = 50: [panel.lamp] kind = "led" is on or off; wanted 0'),
        (f"{PIXELS}brightness = 101", "wanted a whole number from 0 to 100"),
        (f"{PIXELS}night = '22-7'", 'night = "22-7": wanted hours like "22:00-07:00", or ""'),
        (f"{PIXELS}night_brightness = 5", 'wanted night beside it, as "22:00-07:00"'),
        ("night = '22:00-07:00'", "is on or off; wanted night_brightness = 0 beside it"),
        ("night = '22:00-07:00'\nnight_brightness = 9", "night_brightness = 9: [panel.lamp] kind"),
        (
            f"{PIXELS}brightness = 10\nnight = '22:00-07:00'",
            "night_brightness is the same as brightness",
        ),
        ("lamp.kind = 'none'\nbrightness = 0", 'kind = "none" shows nothing; wanted it left out'),
    ],
)
def test_a_brightness_that_a_lamp_has_not_is_a_fault(text: str, words: str) -> None:
    [fault] = faults(text)
    assert words in fault


# Kits


@pytest.mark.parametrize("name", KITS)
def test_a_kit_alone_is_a_working_box(name: str) -> None:
    kit, settings = KITS[name], panel(f"kit = '{name}'")
    card = f"plughw:CARD={kit.card}" if kit.card else "default"
    assert settings.panel.kit == name
    assert settings.audio.capture == card
    assert settings.audio.playback == (card if kit.plays else "default")
    assert settings.audio.rate_hz == kit.rate_hz
    assert settings.talk.duplex == kit.duplex
    assert settings.panel.buttons.talk.pin == kit.buttons.get("talk", 17)
    assert settings.panel.lamp.kind == kit.lamp.get("kind", "led")
    for key, value in kit.lamp.items():
        assert getattr(settings.panel.lamp, key) == value


def test_what_the_owner_gives_wins_over_the_kit() -> None:
    settings = parse(
        """
        [audio]
        playback = "plughw:CARD=Speaker"
        rate_hz = 48000
        [talk]
        duplex = "full"
        [panel]
        kit = "respeaker-2mic-v2"
        brightness = 20
        lamp = { pixels = 12 }
        buttons = { talk = 22 }
        """,
        "box.toml",
    )
    assert settings.audio.capture == "plughw:CARD=seeed2micvoicec"
    assert settings.audio.playback == "plughw:CARD=Speaker"
    assert (settings.audio.rate_hz, settings.talk.duplex) == (48000, "full")
    assert settings.panel.brightness == 20
    assert (settings.panel.lamp.kind, settings.panel.lamp.pixels) == ("apa102", 12)
    assert settings.panel.buttons.talk.pin == 22


@pytest.mark.parametrize("name", KITS)
@pytest.mark.parametrize("kind", KEYS)
def test_a_lamp_of_another_kind_takes_the_place_of_the_kits(name: str, kind: str) -> None:
    # GPIO 25 and 5, 6, 13 are free of buttons on all of them.
    lamp = panel(f"kit = '{name}'\nlamp.kind = '{kind}'").panel.lamp
    if kind != KITS[name].lamp.get("kind"):
        assert lamp == Lamp(kind=kind)  # type: ignore[arg-type]


def test_a_kit_that_is_not_known_is_refused_with_the_nearest() -> None:
    assert faults("kit = 'respeaker-2mics-v2'") == [
        '[panel] kit = "respeaker-2mics-v2": no such kit; the nearest is respeaker-2mic-v2'
    ]
    assert faults("kit = 3") == ["[panel] kit = 3: wanted text"]


def test_one_reading_does_not_change_the_kits() -> None:
    before = KITS["codec-zero"].settings
    panel("kit = 'codec-zero'\nlamp.trouble = 5\nbuttons.talk = 6")
    assert KITS["codec-zero"].settings == before


values = st.one_of(
    st.integers(-1, 200), st.booleans(), st.sampled_from(["'led'", "'rgb'", "'x'", "{}", "[]"])
)


@given(
    st.sampled_from(["", *KITS]),
    st.dictionaries(
        st.sampled_from(
            ["lamp", "buttons", "brightness", "night", "night_brightness", "kit", "lamp.kind"]
        ),
        values,
        max_size=3,
    ),
)
def test_any_panel_is_settings_or_faults(kit: str, given: dict[str, object]) -> None:
    text = "\n".join(f"{name} = {str(value).lower()}" for name, value in given.items())
    with suppress(ConfigError):
        panel(f"kit = '{kit}'\n{text}")
