"""The level made true, by a card that obeys, one that does not, and one that is none."""

import logging
from array import array

import pytest
import trio
from trio.testing import MockClock

from appliance.conversation import Phase
from appliance.errors import DeviceError
from appliance.host.remote import CommandError
from appliance.loudness import Loudness
from appliance.sound.volume import CUE_LEVEL_MIN, Gains, decibels_of, gains_of
from appliance.standin.agent import Manners
from appliance.standin.manners import Call
from tests.box import Box, a_box, tone
from tests.test_purse import Book


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


# ── in a box ─────────────────────────────────────────────────────────────────────────────────────


def volume(box: Box, **words: object) -> object:
    return box.daemon.commands()["volume"](**words)


def kept(volume: int, setting: int = 100) -> Book:
    book = Book()
    words = f'{{"version":1,"volume":{volume},"setting":{setting},"muted":false}}'
    book.content = words.encode()
    return book


async def test_a_box_is_as_loud_as_it_was_left(autojump_clock: MockClock) -> None:
    async with a_box(knobs_book=kept(30)) as box:
        assert box.daemon.volume == 30
    async with a_box("[audio]\nvolume = 60", knobs_book=kept(30)) as box:
        assert box.daemon.volume == 60


async def test_the_card_is_set_when_it_is_opened_and_again_when_it_comes_back(
    autojump_clock: MockClock,
) -> None:
    card = Card()
    async with a_box("[audio]\nvolume = 50", mixer=card) as box:
        assert card.at == [-20.0]
        box.room.unplug()
        await trio.sleep(1.0)
        box.room.plug()
        await trio.sleep(5.0)
        assert card.at == [-20.0, -20.0]
        speaker = box.daemon.status()["speaker"]
        assert isinstance(speaker, dict)
        assert (speaker["volume"], speaker["volume_db"], speaker["mixer"]) == (50, -20.0, "PCM")


async def test_a_card_that_does_the_volume_is_given_the_sound_as_it_came(
    autojump_clock: MockClock,
) -> None:
    loudest = []
    for mixer in (None, Card()):
        async with a_box("[audio]\nvolume = 50", mixer=mixer) as box:
            await box.say(tone(1.0))
            await box.until(Phase.SPEAKING)
            await box.until(Phase.RESTING)
            loudest.append(max(array("h", box.spoken())))
    assert loudest[0] == pytest.approx(loudest[1] / 10, rel=0.01)


async def test_a_control_that_fails_in_an_answer_stops_nothing(autojump_clock: MockClock) -> None:
    card = Card()
    async with a_box(mixer=card) as box:
        await box.say(tone(2.0))
        await box.until(Phase.SPEAKING)
        card.fails = "it went"
        volume(box, level=50)
        await box.until(Phase.RESTING)
        assert len(box.spoken()) >= len(tone(2.0))


async def test_the_command_sets_moves_and_tells(autojump_clock: MockClock) -> None:
    async with a_box() as box:
        assert volume(box) == {"volume": 100, "volume_db": 0.0, "mixer": "software"}
        volume(box, level=50)
        volume(box, change=-20)
        assert box.daemon.volume == 30
        volume(box, change=-100)
        assert volume(box) == {"volume": 0, "volume_db": None, "mixer": "software"}
        told = [event["level"] for event in box.events if event["event"] == "volume"]
        assert told == [50, 30, 0]
        for words in ({"level": 101}, {"level": -1}, {"level": True}, {"change": "1"}):
            with pytest.raises(CommandError, match="wanted a whole number from"):
                volume(box, **words)
        with pytest.raises(CommandError, match="not both"):
            volume(box, level=1, change=1)
        assert box.daemon.volume == 0


async def test_a_button_steps(autojump_clock: MockClock) -> None:
    async with a_box("[audio]\nvolume = 45") as box:
        box.daemon.step_volume(1)
        assert box.daemon.volume == 50
        box.daemon.step_volume(-9)
        assert box.daemon.volume == 10


@pytest.mark.parametrize(
    ("arguments", "then"),
    [
        ('{"level": 0}', 10),
        ('{"level": 70}', 70),
        ('{"change": 20}', 60),
        ('{"change": -100}', 10),
        ('{"level": 20, "change": 5}', 40),
        ("{}", 40),
    ],
)
async def test_the_agent_turns_it_and_is_never_silenced(
    arguments: str, then: int, autojump_clock: MockClock
) -> None:
    manners = Manners(calls=(Call(1, "set_volume", arguments),))
    async with a_box("[audio]\nvolume = 40", manners) as box:
        await box.say(tone(1.0))
        await box.until(Phase.SPEAKING)
        assert box.daemon.volume == then
