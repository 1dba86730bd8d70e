"""The level made true, by a card that obeys, one that does not, and one that is none."""

import logging

import pytest

from appliance.errors import DeviceError
from appliance.loudness import Loudness
from appliance.sound.volume import CUE_LEVEL_MIN, Gains, decibels_of, gains_of


class Card:
    """A card's control that reaches so far down."""

    name = "PCM"

    def __init__(self, least_db: float = -60.0) -> None:
        self.least_db = least_db
        self.at: list[float] = []
        self.fails = ""

    def attenuate(self, decibels: float) -> float:
        if self.fails:
            raise DeviceError(self.fails)
        self.at.append(max(decibels, self.least_db))
        return self.at[-1]


class Shelf:
    """A box with a card, or without."""

    def __init__(self, card: Card | None = None, level: int = 100) -> None:
        self.card = card
        self.missing = ""
        self.gains = Gains()
        self.loudness = Loudness(self._open, level, gains=self._take)

    def _open(self) -> Card | None:
        if self.missing:
            raise DeviceError(self.missing)
        return self.card

    def _take(self, gains: Gains) -> None:
        self.gains = gains


def test_without_a_control_it_is_a_gain() -> None:
    shelf = Shelf(level=50)
    assert shelf.gains == gains_of(50, 0.0)
    shelf.loudness.card_opened()
    shelf.loudness.set(25)
    assert shelf.gains == gains_of(25, 0.0)
    assert shelf.loudness.report() == {"volume": 25, "volume_db": -30.0, "mixer": "software"}


def test_a_control_takes_it_all_if_it_can() -> None:
    shelf = Shelf(Card(), level=50)
    shelf.loudness.card_opened()
    assert shelf.card is not None
    assert shelf.card.at == [-20.0]
    assert shelf.gains == Gains(1.0, 1.0)
    assert shelf.loudness.report() == {"volume": 50, "volume_db": -20.0, "mixer": "PCM"}


def test_what_a_control_cannot_do_is_left_to_the_gain() -> None:
    shelf = Shelf(Card(least_db=-12.0), level=50)
    shelf.loudness.card_opened()
    assert shelf.gains.answers == pytest.approx(10 ** (-8 / 20))


def test_a_control_leaves_room_for_cues() -> None:
    shelf = Shelf(Card(), level=5)
    shelf.loudness.card_opened()
    assert shelf.card is not None
    assert shelf.card.at == [decibels_of(CUE_LEVEL_MIN)]
    assert shelf.gains.cues == 1.0
    assert shelf.gains.answers == pytest.approx(10 ** (-10 / 20))


def test_level_0_is_silent_with_every_card() -> None:
    for card in (None, Card()):
        shelf = Shelf(card)
        shelf.loudness.card_opened()
        shelf.loudness.set(0)
        assert shelf.gains == Gains(0.0, 0.0)
        assert shelf.loudness.report()["volume_db"] is None


def test_a_control_that_fails_leaves_the_gain_and_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    card = Card()
    shelf = Shelf(card, level=50)
    with caplog.at_level(logging.WARNING, "appliance.sound"):
        shelf.loudness.card_opened()
        card.fails = "it went"
        for _ in range(3):
            shelf.loudness.set(50)
            shelf.loudness.set(25)
    assert shelf.gains == gains_of(25, 0.0)
    assert shelf.loudness.report()["mixer"] == "software"
    assert [it.getMessage() for it in caplog.records] == [
        "the volume is a software gain from now on: it went"
    ]
    card.fails = ""
    shelf.loudness.card_opened()
    assert card.at[-1] == decibels_of(CUE_LEVEL_MIN)
    assert shelf.gains == gains_of(25, decibels_of(CUE_LEVEL_MIN))


def test_a_card_without_a_control_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf(level=50)
    shelf.missing = "'default' has none"
    with caplog.at_level(logging.WARNING, "appliance.sound"):
        for _ in range(3):
            shelf.loudness.card_opened()
    assert len(caplog.records) == 1
    assert shelf.gains == gains_of(50, 0.0)


def test_a_card_that_was_changed_is_set_to_the_level() -> None:
    shelf = Shelf(Card(), level=50)
    shelf.loudness.card_opened()
    shelf.card = Card(least_db=-6.0)
    shelf.loudness.card_opened()
    assert shelf.card.at == [-6.0]
    assert shelf.gains.answers == pytest.approx(10 ** (-14 / 20))
