"""What an ALSA name says of its card, and which rate two cards share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sound.names import (
    RATES_HZ,
    Place,
    advice,
    bare,
    best_rate,
    converting,
    missing,
    place_of,
)

IDS = {0: "PCH", 1: "Device"}


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("default", Place()),
        ("lab_cap", Place()),
        ("pulse:foo", Place()),
        ("hw:1", Place("1")),
        ("plughw:1,0", Place("1", "0")),
        ("plughw:Device,2", Place("Device", "2")),
        ("plughw:CARD=Device", Place("Device")),
        ("plughw:CARD=Device,DEV=0", Place("Device", "0")),
        ("sysdefault:DEV=1,CARD=Device", Place("Device", "1")),
        ("default:CARD=vc4hdmi0", Place("vc4hdmi0")),
        ("hw:", Place()),
        ("hw:,,,,", Place()),
        ("plughw:CARD=Device,0", Place("Device", "0")),
    ],
)
def test_a_name_says_where_its_card_is(name: str, place: Place) -> None:
    assert place_of(name) == place


@given(st.text(max_size=40))
def test_no_name_is_too_strange(name: str) -> None:
    place_of(name)
    bare(name)
    missing(name, IDS)
    advice(name, IDS)


def test_a_bare_card_has_no_conversion_before_it() -> None:
    assert bare("plughw:CARD=Device,DEV=0") == "hw:CARD=Device,DEV=0"
    assert bare("hw:1") == "hw:1"
    assert bare("default:CARD=Device") == bare("pulse") == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hw:1", "'hw:1' names a card by its number, which changes when cards come and go; wanted"),
        ("hw:1", "wanted 'plughw:CARD=Device'"),
        ("plughw:1,0", "wanted 'plughw:CARD=Device,DEV=0'"),
        ("plughw:CARD=0", "wanted 'plughw:CARD=PCH'"),
        ("hw:7", "wanted 'plughw:CARD=…'"),
        ("plughw:CARD=device", "there is no card 'device'; the cards here: PCH, Device"),
    ],
)  # fmt: skip
def test_a_name_that_will_not_last_is_told_with_the_one_to_use(name: str, words: str) -> None:
    assert words in advice(name, IDS)


@pytest.mark.parametrize("name", ["default", "pulse", "plughw:CARD=Device", "hw:PCH,0"])
def test_a_good_name_needs_no_advice(name: str) -> None:
    assert advice(name, IDS) == missing(name, IDS) == ""


def test_a_card_that_is_not_here_is_missing_by_id_and_by_number() -> None:
    assert missing("hw:7", IDS) == "there is no card '7'; the cards here: PCH, Device"
    assert missing("hw:CARD=X", {}) == "there is no card 'X'; the cards here: none"
    assert missing("hw:1", IDS) == ""


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("hw:CARD=Device,DEV=0", "'plughw:CARD=Device,DEV=0'"),
        ("plughw:1", "'plughw:1'"),
        ("bluealsa:DEV=00:11", "\"plug:'bluealsa:DEV=00:11'\""),
    ],
)
def test_of_each_name_there_is_one_that_converts(name: str, quoted: str) -> None:
    assert converting(name) == quoted


ALL = set(RATES_HZ)


@pytest.mark.parametrize(
    ("capture", "playback", "taken", "found"),
    [
        (ALL, ALL, ALL, 16000),
        ({48000}, {48000}, ALL, 48000),
        ({44100, 48000}, {32000, 44100}, ALL, 44100),
        ({8000, 24000, 48000}, ALL, ALL, 24000),
        ({48000}, None, ALL, 48000),
        (None, {44100}, ALL, 44100),
        (None, None, ALL, 16000),
        ({48000}, {44100}, ALL, 48000),  # the microphone's, if none is shared
        ({48000}, {48000}, {8000, 16000}, 16000),  # nothing native is taken: converted
        ({8000, 48000}, {8000, 48000}, {8000, 16000}, 8000),
        (set(), {48000}, ALL, 48000),
    ],
)
def test_the_best_rate_is_one_that_both_cards_have_and_the_far_end_takes(
    capture: set[int] | None, playback: set[int] | None, taken: set[int], found: int
) -> None:
    assert best_rate(capture, playback, taken) == found
