"""From levels to decibels, whose they are, and how far which hand may turn. Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sound import volume
from appliance.sound.pcm import amplified
from appliance.sound.volume import (
    CUE_LEVEL_MIN,
    LOWEST,
    Gains,
    asked,
    control_device,
    decibels_of,
    full_db,
    gains_of,
    moved,
    stepped,
    wanted_of_card,
)

LEVELS = st.integers(0, 100)


def test_equal_steps_are_equal_decibels() -> None:
    assert [decibels_of(level) for level in (100, 75, 50, 25)] == [0, -10, -20, -30]
    assert decibels_of(1) == pytest.approx(-39.6)


@given(st.integers(1, 100))
def test_only_level_0_is_silent(level: int) -> None:
    loud = (20000).to_bytes(2, "little", signed=True)
    assert any(amplified(loud, gains_of(level, 0.0).answers))
    assert not any(amplified(loud, gains_of(0, 0.0).answers))


@given(st.integers(1, 100), st.floats(-40.0, 0.0))
def test_card_and_gain_together_make_the_level(level: int, card_db: float) -> None:
    """Or are softer by what a card does too much, and never louder."""
    at_db = max(card_db, wanted_of_card(level))
    gains = gains_of(level, at_db)
    assert 0.0 < gains.answers <= gains.cues <= 1.0
    wanted = decibels_of(level)
    if at_db >= wanted:
        assert gains.answers == pytest.approx(10 ** ((wanted - at_db) / 20), rel=0.13)


@given(st.integers(1, CUE_LEVEL_MIN))
def test_cues_are_heard_at_every_level_but_0(level: int) -> None:
    assert wanted_of_card(level) == decibels_of(CUE_LEVEL_MIN)
    assert gains_of(level, 0.0).cues == pytest.approx(10 ** (decibels_of(CUE_LEVEL_MIN) / 20))
    assert gains_of(level, wanted_of_card(level)).cues == 1.0
    assert gains_of(0, 0.0) == Gains(0.0, 0.0)


@pytest.mark.parametrize(
    ("least", "most", "named", "full"),
    [
        (-51.0, 0.0, False, 0.0),
        (-102.39, 4.0, False, 0.0),  # nothing above what the recording has
        (-99999.99, 6.0, True, 0.0),  # whose lowest step is silence
        (-37.0, -5.0, False, -5.0),
        (0.0, 30.0, False, None),  # an amplifier, or nonsense
        (0.0, 30.0, True, 30.0),
        (2.13, 2.13, True, None),  # memory of before: it has no decibels
        (-1.0, 1404788174807.52, True, None),
    ],
)
def test_where_a_control_is_full(
    least: float, most: float, named: bool, full: float | None
) -> None:
    assert full_db(least, most, is_named=named) == full


@pytest.mark.parametrize(
    ("playback", "device"),
    [
        ("default", "default"),
        ("plughw:CARD=Device,DEV=0", "hw:CARD=Device"),
        ("plughw:CARD=Device", "hw:CARD=Device"),
        ("hw:DEV=0,CARD=Device", "hw:CARD=Device"),
        ("hw:1,0", "hw:CARD=1"),
        ("plughw:Headphones", "hw:CARD=Headphones"),
        ("sysdefault:CARD=vc4hdmi0", "hw:CARD=vc4hdmi0"),
        ("sysdefault", "sysdefault"),
        ("dmix:CARD=Device,DEV=0", "hw:CARD=Device"),
        ("plug:'dmix:CARD=Device,DEV=0'", "hw:CARD=Device"),
        ("plug:SLAVE='hw:1,0'", "hw:CARD=1"),
        ("plug:box", "box"),
        ("pulse", "pulse"),
        ("pulse:kitchen", "pulse"),
        ("box", "box"),
    ],
)
def test_the_controls_are_those_of_the_card_that_plays(playback: str, device: str) -> None:
    assert control_device(playback) == device


# ── changes ──────────────────────────────────────────────────────────────────────────────────────


def test_a_relative_command_goes_anywhere_and_no_further() -> None:
    assert [moved(50, by) for by in (10, -10, 100, -100)] == [60, 40, 100, 0]


@pytest.mark.parametrize(
    ("level", "steps", "then"),
    [
        (50, 1, 60),
        (50, -1, 40),
        (45, 1, 50),
        (45, -1, 40),
        (95, 1, 100),
        (100, 3, 100),
        (20, -5, LOWEST),
        (5, -1, 5),
        (5, 1, 10),
        (0, -1, 0),
        (0, 1, 10),
        (33, 0, 33),
    ],
)
def test_a_button_steps_and_never_silences(level: int, steps: int, then: int) -> None:
    assert stepped(level, steps) == then


@given(LEVELS, st.one_of(st.none(), LEVELS), st.one_of(st.none(), st.integers(-100, 100)))
def test_the_agent_silences_nothing(level: int, to: int | None, by: int | None) -> None:
    then = asked(level, to=to, by=by)
    assert min(level, LOWEST) <= then <= 100
    if to is not None and by is None:
        assert then == max(to, LOWEST)
    if by is not None and to is None and level + by >= LOWEST:
        assert then == min(level + by, 100)


def test_the_agents_floor_is_the_one_that_it_is_told_of() -> None:
    from appliance.agent.tools import SET_VOLUME  # noqa: PLC0415

    assert f"Below {volume.LOWEST} it stays at {volume.LOWEST}" in str(SET_VOLUME.parameters)
